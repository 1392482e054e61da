"""The workshop trains networks and fits methods, each once, and keeps what it made in the weights store."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.cost_meter import out_of_memory
from benchmark.data import Dataset
from benchmark.derived import Resized, VoidAsClass
from benchmark.distributed import agreed, gathered, rank, shared
from benchmark.encoders import OPTION, find
from benchmark.errors import BenchmarkError, PluginError, UnmetNeed, in_words
from benchmark.io.jsonfile import to_plain
from benchmark.io.names import file_name
from benchmark.machine import products
from benchmark.method import Method
from benchmark.network import Network, NetworkSpec
from benchmark.networks import begun, network_of
from benchmark.pool import Need, Pool
from benchmark.recipe import LightRecipe, digest
from benchmark.records.provenance import gather
from benchmark.run.command import training_again
from benchmark.run.declaration import check_declaration, check_needs, check_returned
from benchmark.run.entry import Entry, check_saved, made_anew
from benchmark.run.normal import check_labels
from benchmark.run.outline import Outline
from benchmark.run.setup import Setup
from benchmark.run.statistics import gather_statistics
from benchmark.source import source_of
from benchmark.training import FitData, Report, Segmentation, cached, clear_states, seeded, train
from benchmark.weights.store import WeightsStore


@dataclass
class Workshop:
    """Trains, fits, loads.

    Args:
        setup: datasets, shared network and machine.
        say: prints a line.
    """

    setup: Setup
    say: Callable[[str], None] = print
    store: WeightsStore = field(init=False)
    pool: Pool = field(init=False)
    outline: Outline = field(init=False)
    _splits: tuple[Dataset, ...] = ()
    _normal: tuple[Dataset, Dataset | None] | tuple[()] = ()

    def __post_init__(self) -> None:
        setup = self.setup
        self.store = WeightsStore(setup.options.out / "weights", training_again(setup.options))
        self.outline = Outline(setup)
        self.pool = Pool(self.load_network, setup.machine.device, setup.options.precision, setup.class_names)

    def entry(self, method: Method) -> Entry:
        """A method with this run's recipes, its needs and the key of its fit."""
        check_declaration(method)
        recipes = {
            task: self.setup.recipe(recipe, method.light.get(task, LightRecipe()), method.fitted)
            for task, recipe in method.recipes.items()
        }
        changes = {
            key: value
            for task, recipe in method.recipes.items()
            for key, value in self.setup.changes(recipe, method.light.get(task, LightRecipe()), method.fitted).items()
        }
        # needs() may put one of them into the spec of a network.
        method = made_anew(method, recipes=recipes)
        base = self.setup.base
        if self.setup.options.preset == "paper" and method.single_scale:
            base = base.native()
        needs = self._needs(method, base)
        instead = {key: value for key, value in method.elsewhere.items() if key not in method.stated}
        if instead and not self.outline.offered(needs):
            method = made_anew(method, config={**method.config, **instead})
            needs = self._needs(method, base)
        key = ""
        if method.fitted:
            # What only score() reads has its default here, so that the default configuration names every such fit.
            spec = method.spec.with_defaults(method.score_options)
            parts = {
                "config": self.outline.stated(spec.config, needs),
                "version": method.version,
                "networks": {role: dataclasses.asdict(need.network) for role, need in needs.items()},
                "recipes": {task: recipe.as_dict() for task, recipe in recipes.items()},
                "data": self._fit_fingerprint(),
                "repetition": self.setup.options.repetition,
                **({"precision": self.pool.precision} if method.observes and self.pool.precision != "fp32" else {}),
            }
            if beside := method.reads(self.setup.options.root):
                parts["beside"] = beside
            folder = file_name(self.setup.base.dataset, colon=":")
            key = f"{folder}/{file_name(spec.label)}-{digest(parts)}"
        # A method may be one around another, whose file its own does not import.
        inside = [part for part in method.modules() if isinstance(part, Method)]
        source = {file: code for part in inside for file, code in source_of(type(part)).items()}
        normal = self.setup.normal.label if self.setup.normal and method.fitted else ""
        return Entry(
            method, base, needs, recipes, self.outline.stated(method.config, needs), key, source, changes, normal
        )

    def _needs(self, method: Method, base: NetworkSpec) -> dict[str, Need]:
        return {role: self._begun(need) for role, need in check_needs(method, method.needs(base)).items()}

    def _begun(self, need: Need) -> Need:
        """A need whose network a method has changed, with the pretrained weights that its options now ask for."""
        base, spec = self.setup.base, need.network
        asked = [dict(each.options).get(OPTION, "none") for each in (spec, base)]
        if spec.frozen or self.setup.own or (spec.arch, asked[0]) == (base.arch, asked[1]):
            return need
        return dataclasses.replace(need, network=begun(spec))

    def has(self, spec: NetworkSpec) -> bool:
        """Whether the weights of a network are here."""
        return spec.frozen or self.setup.given(spec) or self.store.has(spec.key)

    def digest(self, spec: NetworkSpec) -> str | None:
        """SHA-256 of a network's weights, None where they are not on this machine."""
        if spec.frozen:
            return spec.pretrained or None
        return self.setup.own.sha256 if self.setup.given(spec) else self.store.digest(spec.key)

    def load_network(self, spec: NetworkSpec) -> Network:
        """A trained network from the store, or with the user's weights, or a frozen encoder."""
        if spec.frozen:
            with seeded(spec.recipe):
                return network_of(spec)
        network = network_of(spec, initial=False, folder=self.setup.folder(spec))
        if self.setup.given(spec):
            self.setup.own.load(network, self.store, self.say, self.setup.class_names)
        else:
            self.store.load_into(spec.key, network, spec.recipe.as_dict())
        return network

    def test_images(self) -> Dataset:
        """The test images at the size at which they are evaluated."""
        return self._evaluated(self.setup.test)

    def validation_images(self) -> Dataset:
        """Normal images for the protocols that take thresholds from them, at the same size.

        Raises:
            BenchmarkError: there are none.
        """
        found = self.setup.validation
        if found is None:
            assert self.setup.normal is not None
            raise BenchmarkError(f"{self.setup.normal.label} has no validation split to take thresholds from.")
        if not len(found):  # which also says why a split is missing
            raise BenchmarkError(f"The validation split of {found.label} is empty.")
        return self._evaluated(found)

    def _evaluated(self, images: Dataset) -> Dataset:
        if self.setup.options.label_size == "image":
            return images
        network = self.pool.network(self.setup.base)
        if network.size is None:
            raise BenchmarkError(
                f"{self.setup.base.arch} takes images of any size; --label-size network is for a network that resizes "
                f"every image to one size, External(size=(H, W))."
            )
        return Resized(images, network)

    def to_train(self, entries: Sequence[Entry]) -> list[NetworkSpec]:
        """Networks that the entries need and whose weights are not here; all of ours where --retrain asks for it."""
        specs = dict.fromkeys(spec.checkpoint for entry in entries for spec in entry.specs)
        retrain = self.setup.options.retrain
        return [
            spec for spec in specs if not self.has(spec) or (retrain and not spec.frozen and not self.setup.given(spec))
        ]

    def to_fit(self, entries: Sequence[Entry]) -> list[Entry]:
        """Methods whose fit is not in the store or rests on other weights; all with a fit where --retrain asks for it.

        A retraining may be killed between a network and what is fitted to it.
        """
        return [e for e in entries if e.fit_key and (self.setup.options.retrain or not self._fitted(e))]

    def prepare(self, entries: list[Entry]) -> None:
        """Train what is missing and fit what is not fitted; an entry that fails keeps the sentence in `error`.

        What is trained anew replaces the old weights when it is finished, not before. Several processes share the
        trainings, and each sees all training images for statistics, whose sums would depend on the order; rank 0
        stores, and the others load what it has stored.
        """
        specs = shared(lambda: self.to_train(entries))
        for spec in specs:
            users = [e for e in entries if any(spec == s.checkpoint for s in e.specs)]
            self.guard(users, "the training of a network", lambda s=spec: self.train_network(s))
        for entry in entries:
            self.guard([entry], "build()", lambda e=entry: self.connect(e))
        labels = shared(lambda: [e.label for e in self.to_fit([e for e in entries if not e.error])])
        missing = [e for e in entries if e.label in labels]
        for entry in missing:
            self.guard([entry], "fit()", lambda e=entry: check_labels(self.setup, e.method))
        missing = [e for e in missing if not e.error]
        self.guard(missing, "reading the training images", self._fit_splits)
        sharing: dict[str, list[Entry]] = {}  # the first of each fits, the others load what it made
        for entry in (e for e in missing if not e.error):
            sharing.setdefault(entry.fit_key, []).append(entry)
        gather_statistics(self, [users for users in sharing.values() if users[0].method.observes])
        for users in sharing.values():
            self.guard(users, "fit()", lambda e=users[0]: self._fit(e))
        fitted = [users[0] for users in sharing.values()]
        for entry in entries:
            if entry.fit_key and not entry.error:
                self.guard([entry], "loading", lambda e=entry: self._load_fit(e, e in fitted))
            self.guard([entry], "eval()", lambda e=entry: self.settle(e))

    def train_network(self, spec: NetworkSpec) -> None:
        """Train one segmentation network and store it."""
        setup, recipe = self.setup, spec.recipe
        if setup.own and setup.own.weights:
            further = f"It needs a further network ({spec.label}, member {spec.recipe.member})"
            if setup.own.imported:
                raise UnmetNeed(f"{further}, and only one was imported; take another --out to train all.")
            raise UnmetNeed(f"{further}, and --weights gives one; leave it out to have all of them trained.")
        data = self._data()
        if spec.classes == len(setup.train.classes) + 1:
            data = tuple(VoidAsClass(split) for split in data)
        with seeded(recipe):
            network = network_of(spec)
            task = Segmentation(network, data[0].classes)
        member = f" member {recipe.member}" if recipe.member else ""
        states = self._states(spec.key)
        state = states.with_name(f"{states.name}.state")
        report = train(task, recipe, *data, setup.machine, state, f"{spec.arch}{member} on {spec.dataset}")
        origin = find(network.pretrained).as_dict() if network.pretrained else {}
        more = {"network": spec.arch, "options": spec.options, "pretrained": origin}
        self._save(spec.key, network.state_dict(), recipe.as_dict(), [report], **more)

    def _fitted(self, entry: Entry) -> bool:
        if not self.store.has(entry.fit_key):
            return False
        sidecar = self.store.sidecar(entry.fit_key)
        made_with, source = sidecar.get("networks", {}), sidecar.get("source")
        if source and entry.source and source != entry.source:
            return False
        # Weights that are not here yet may become the same again.
        return all(made_with.get(key, now) == now for key, now in self._weights(entry).items() if now)

    def _weights(self, entry: Entry) -> dict[str, str | None]:
        """Digests of the weights of a method's networks, by key."""
        return {spec.key: self.digest(spec) for spec in entry.specs}

    def _states(self, key: str, networks: Mapping[str, str | None] | None = None) -> Path:
        """Prefix of the paths of the resume states of what is trained under a key.

        What it replaces and the weights that it rests on are part of the name: a training that replaces weights must
        not go on from the finished one that made them, nor a fit to new networks from a fit to the old.
        """
        stem = self.store.path(key).with_suffix("")
        replaced = self.store.saving(key)
        return stem.with_name(f"{stem.name}.{digest([replaced, networks])}") if replaced or networks else stem

    def connect(self, entry: Entry) -> None:
        """Give a method its networks and let it build what depends on them."""
        entry.networks = self.pool.view(entry.needs)
        with seeded(next(iter(entry.recipes.values()), self.setup.base.recipe)):
            check_returned(entry.method.build(entry.networks), "build()")
        entry.method.to(self.setup.machine.device)

    def settle(self, entry: Entry) -> None:
        """Make a fitted method ready to score."""
        # One memory layout for all: what was just trained and what comes from a file give the same bits.
        entry.method.eval().requires_grad_(False)
        entry.method.to(device=self.setup.machine.device, memory_format=torch.channels_last)

    def _data(self) -> tuple[Dataset, Dataset]:
        """Training and validation split, decoded once for all that is trained."""
        if not self._splits:
            machine = self.setup.machine
            self._splits = (cached(self.setup.train, machine), cached(self.setup.val, machine))
        return self._splits

    def fit_data(self, entry: Entry) -> FitData:
        """What a method's ``fit`` is given."""
        states = self._states(entry.fit_key, self._weights(entry))
        machine, root = self.setup.machine, self.setup.options.root
        return FitData(*self._fit_splits(), machine, entry.recipes, states, entry.label, root=root)

    def _fit_splits(self) -> tuple[Dataset, Dataset | None]:
        """What methods are fitted to and validated on, decoded once for all of them."""
        if self.setup.normal is None:
            return self._data()
        if not self._normal:
            train, val = self.setup.fit_splits
            self._normal = (cached(train, self.setup.machine), val)
        return self._normal

    def _fit_fingerprint(self) -> str:
        """Digest of the images to which methods are fitted."""
        if self.setup.normal is not None:
            return self.setup.normal.fingerprint()
        return self.setup.base.data or self.setup.train.fingerprint()

    def begin_again(self, entry: Entry) -> None:
        """Put a new instance of a method, which has seen nothing, in the place of the old one."""
        entry.method = made_anew(entry.method)
        self.connect(entry)

    def _fit(self, entry: Entry) -> None:
        data, began = self.fit_data(entry), time.perf_counter()
        check_returned(entry.method.fit(data, entry.networks), "fit()")
        recipes = {task: recipe.as_dict() for task, recipe in entry.recipes.items()}
        seconds = sum(r.seconds for r in data.reports) or time.perf_counter() - began
        more = {"method": entry.label, "source": entry.source, "networks": self._weights(entry), "seconds": seconds}
        more["data"] = self._fit_fingerprint()
        self._save(entry.fit_key, entry.method.state_dict(), recipes, data.reports, **more)

    def _load_fit(self, entry: Entry, made_it: bool = False) -> None:
        made = entry.method
        if made_it:  # it scores with what was saved, today as tomorrow
            self.begin_again(entry)
        recipes = {task: recipe.as_dict() for task, recipe in entry.recipes.items()}
        self.store.load_into(entry.fit_key, entry.method, recipes)
        check_saved(made, entry)

    def _save(self, key: str, state: Mapping[str, Any], recipe: Any, reports: Sequence[Report], **more: Any) -> None:
        if rank() > 0:
            return
        # Statistics are gathered at the evaluation's precision; only what was trained has a precision of training.
        precision = self.setup.machine.precision if reports else self.pool.precision
        sidecar = {
            "recipe": recipe,
            "data": self.setup.base.data or self.setup.train.fingerprint(),
            **more,
            "reports": [dataclasses.asdict(report) for report in reports],
            "provenance": to_plain(gather(str(self.setup.machine.device), precision, any(r.compiled for r in reports))),
        }
        self.store.save(key, dict(state), sidecar)
        clear_states(self.store.path(key).with_suffix(""))

    def guard(
        self,
        entries: list[Entry],
        what: str,
        work: Callable[[], None],
        copies: Sequence[tuple[Tensor, Tensor]] = (),
        again: bool = False,
    ) -> bool:
        """Do something on which some entries depend; where it fails, they fail and nobody else.

        Args:
            entries: that fail with it; nothing is done if all of them have failed already.
            what: is done, for the sentence.
            work: does it.
            copies: as of :meth:`~benchmark.pool.Pool.border`.
            again: it will be done anew where memory does not suffice, so that this is no failure.
        Returns:
            Whether that is the case.
        """
        if all(e.error for e in entries):
            return False
        failure: BaseException | None = None
        try:
            with (
                products(self.pool.device, self.pool.precision),  # a training sets its own
                self.pool.border(what, lambda: [e.networks for e in entries], copies),
            ):
                work()
        except BaseException as found:  # whatever a plugin raises must not take the others down
            failure = found
        if (error := agreed(failure)) is None:
            return False
        if again and any(gathered(failure is not None and out_of_memory(failure))):
            return True
        sentence = in_words(error)
        for entry in entries:
            if not entry.error:
                entry.error = sentence
                entry.mendable = isinstance(error, BenchmarkError) and not isinstance(error, PluginError)
                entry.left_out = entry.unasked and isinstance(error, UnmetNeed)
        out = "left out: " if all(e.left_out for e in entries) else ""
        self.say(f"{', '.join(e.label for e in entries)}: {out}{sentence}")
        return False
