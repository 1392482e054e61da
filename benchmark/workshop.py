"""The workshop trains networks and fits methods, each once, and keeps what it made in the weights store."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmark.config import Setup
from benchmark.data import Dataset
from benchmark.errors import BenchmarkError
from benchmark.method import Method
from benchmark.network import Network, NetworkSpec
from benchmark.networks import build_network
from benchmark.pool import Need, Networks, Pool
from benchmark.provenance import gather
from benchmark.recipe import Recipe, digest
from benchmark.registry import defaults_of, label_of
from benchmark.training import FitData, Report, Segmentation, cached, seeded, train
from benchmark.weights import WeightsStore


@dataclass
class Entry:
    """A method on its way through a run."""

    method: Method
    base: NetworkSpec  # the shared network in the setting of this method
    needs: Mapping[str, Need]
    recipes: Mapping[str, Recipe]
    fit_key: str  # stem of the file of its fit; empty for a method without fit
    networks: Networks | None = None
    error: str = ""  # one sentence once it has failed
    mendable: bool = False  # whether the user can mend that (a damaged file), as opposed to the method's author
    seconds: float = 0.0  # spent in score(), shared work excluded

    @property
    def label(self) -> str:
        """The method's name with its options."""
        return self.method.label

    @property
    def specs(self) -> list[NetworkSpec]:
        """The networks that it runs."""
        return list(dict.fromkeys(need.network for need in self.needs.values()))


@dataclass
class Workshop:
    """Trains, fits, loads.

    Args:
        setup: datasets, shared network and settings.
        say: prints a line.
    """

    setup: Setup
    say: Callable[[str], None] = print
    store: WeightsStore = field(init=False)
    pool: Pool = field(init=False)
    _splits: tuple[Dataset, ...] = ()

    def __post_init__(self) -> None:
        self.store = WeightsStore(self.setup.options.out / "weights")
        self.pool = Pool(self.load_network, self.setup.settings.device, self.setup.options.precision)

    def entry(self, method: Method) -> Entry:
        """What a method needs and what its fit is called."""
        recipes = {task: self.setup.recipe(recipe) for task, recipe in type(method).recipes.items()}
        method.recipes = recipes  # needs() may put one of them into a spec
        base = self.setup.base
        if self.setup.options.preset == "paper" and method.single_scale:
            base = base.native()
        needs = method.needs(base)
        key = ""
        if method.fitted:
            # What only score() reads has its default here, so that the default configuration names every such fit.
            defaults = defaults_of(type(method))
            config = {k: defaults[k] if k in method.score_options else v for k, v in method.config.items()}
            parts = {
                "config": config,
                "version": method.version,
                "networks": {role: dataclasses.asdict(need.network) for role, need in needs.items()},
                "recipes": {task: recipe.as_dict() for task, recipe in recipes.items()},
                "data": self.setup.base.data,
                "repetition": self.setup.options.repetition,
            }
            label = label_of(type(method), config).replace(":", "+")
            key = f"{self.setup.base.dataset}/{label}-{digest(parts)}"
        return Entry(method, base, needs, recipes, key)

    def load_network(self, spec: NetworkSpec) -> Network:
        """A trained network from the store."""
        network = build_network(spec.arch, spec.classes, dict(spec.options), initial=False)
        self.store.load_into(spec.key, network)
        return network

    def prepare(self, entries: list[Entry]) -> None:
        """Train what is missing and fit what is not fitted; an entry that fails keeps the sentence in `error`."""
        for spec in dict.fromkeys(spec.checkpoint for entry in entries for spec in entry.specs):
            if not self.store.has(spec.key):
                users = [e for e in entries if any(spec == s.checkpoint for s in e.specs)]
                self._guard(users, lambda s=spec: self.train_network(s))
        for entry in entries:
            self._guard([entry], lambda e=entry: self.connect(e))
        unfitted = [e for e in entries if e.fit_key and not e.error and not self.store.has(e.fit_key)]
        sharing: dict[str, list[Entry]] = {}  # the first of each fits, the others load what it made
        for entry in unfitted:
            sharing.setdefault(entry.fit_key, []).append(entry)
        self._observe([users for users in sharing.values() if users[0].method.observes])
        for users in sharing.values():
            self._guard(users, lambda e=users[0]: self._fit(e))
        fitted = [users[0] for users in sharing.values()]
        for entry in entries:
            if entry.fit_key and entry not in fitted and not entry.error:
                self._guard([entry], lambda e=entry: self.store.load_into(e.fit_key, e.method))
            self.settle(entry)

    def train_network(self, spec: NetworkSpec) -> None:
        """Train one segmentation network and store it."""
        setup, recipe = self.setup, spec.recipe
        with seeded(recipe):
            network = build_network(spec.arch, spec.classes, dict(spec.options))
            task = Segmentation(network, setup.train.classes)
        member = f" member {recipe.member}" if recipe.member else ""
        state = self.store.path(spec.key).with_suffix(".state")
        report = train(task, recipe, *self._data(), setup.settings, state, f"{spec.arch}{member} on {spec.dataset}")
        self._save(spec.key, network.state_dict(), recipe.as_dict(), [report], network=spec.arch, options=spec.options)
        state.unlink(missing_ok=True)

    def connect(self, entry: Entry) -> None:
        """Give a method its networks and let it build what depends on them."""
        entry.networks = self.pool.view(entry.needs)
        with seeded(next(iter(entry.recipes.values()), self.setup.base.recipe)):
            entry.method.build(entry.networks)
        entry.method.to(self.setup.settings.device)

    def settle(self, entry: Entry) -> None:
        """Make a fitted method ready to score."""
        # A layout for all: what was just trained and what comes from a file give the same bits.
        entry.method.eval().requires_grad_(False)
        entry.method.to(device=self.setup.settings.device, memory_format=torch.channels_last)

    def _data(self) -> tuple[Dataset, Dataset]:
        """Training and validation split, decoded once for all that is trained."""
        if not self._splits:
            settings = self.setup.settings
            self._splits = (cached(self.setup.train, settings), cached(self.setup.val, settings))
        return self._splits

    def _fit_data(self, entry: Entry) -> FitData:
        states = self.store.path(entry.fit_key).with_suffix("")
        return FitData(*self._data(), self.setup.settings, entry.recipes, states, entry.label)

    def _observe(self, sharing: list[list[Entry]]) -> None:
        """One pass over the training images; of the entries that share a fit, the first observes."""
        if not sharing:
            return
        self.say(f"Statistics of the training images for {', '.join(users[0].label for users in sharing)}")
        with torch.no_grad():
            for batch in self._fit_data(sharing[0][0]).batches():
                for users in sharing:
                    self._guard(users, lambda e=users[0], b=batch: e.method.observe(b, e.networks))
        self.pool.forget()

    def _fit(self, entry: Entry) -> None:
        data = self._fit_data(entry)
        began = time.perf_counter()
        entry.method.fit(data, entry.networks)
        recipes = {task: recipe.as_dict() for task, recipe in entry.recipes.items()}
        seconds = sum(r.seconds for r in data.reports) or time.perf_counter() - began
        self._save(entry.fit_key, entry.method.state_dict(), recipes, data.reports, method=entry.label, seconds=seconds)
        data.clean()

    def _save(self, key: str, state: Mapping[str, Any], recipe: Any, reports: Sequence[Report], **more: Any) -> None:
        sidecar = {
            **more,
            "recipe": recipe,
            "data": self.setup.base.data,
            "reports": [dataclasses.asdict(report) for report in reports],
            "provenance": dataclasses.asdict(gather(str(self.setup.settings.device), self.setup.settings.precision)),
        }
        self.store.save(key, dict(state), sidecar)

    def _guard(self, entries: list[Entry], work: Callable[[], None]) -> None:
        """Do something on which some entries depend; where it fails, they fail and nobody else."""
        if all(e.error for e in entries):
            return
        try:
            work()
        except Exception as error:  # whatever a plugin raises must not take the others down
            sentence = str(error) if isinstance(error, BenchmarkError) else f"{type(error).__name__}: {error}"
            for entry in entries:
                if not entry.error:
                    entry.error, entry.mendable = sentence, isinstance(error, BenchmarkError)
            self.say(f"{', '.join(e.label for e in entries)}: {sentence}")
