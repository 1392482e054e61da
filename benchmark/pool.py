"""The pool runs each network once per batch, however many methods use it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark.cost_meter import Clock, MemoryMeter
from benchmark.data import Batch
from benchmark.errors import BenchmarkError, PluginError, UnmetNeed
from benchmark.isolation.seals import ModuleSeal, Verdict, any_of, differ
from benchmark.isolation.settings import settings_kept
from benchmark.machine import arithmetic
from benchmark.network import ALIASES, PENULTIMATE, Network, NetworkSpec, Outputs
from benchmark.networks import as_network, network_of
from benchmark.recipe import Recipe

if TYPE_CHECKING:
    from benchmark.method import Method


@dataclass(frozen=True)
class Need:
    """What a method needs of a network.

    Attributes:
        network: which one.
        taps: intermediate features; PENULTIMATE asks for those that the classifier sees, DROPOUT for those on which the
            last dropout works, whatever the network calls them.
        otherwise: what the user can do where the network has no such features, for the message.
    """

    network: NetworkSpec
    taps: tuple[str, ...] = ()
    otherwise: str = ""


class Pool:
    """Loaded networks and their latest outputs.

    Args:
        load: gives the trained network of a spec, in eval mode.
        device: where they run.
        precision: one of :data:`benchmark.machine.PRECISIONS`.
        class_names: of the outputs, those beyond the classes left out; None where nobody says.
    """

    def __init__(
        self,
        load: Callable[[NetworkSpec], Network],
        device: torch.device,
        precision: str = "fp32",
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self._load = load
        self.device = torch.device(device)
        self.precision = precision
        self.class_names = class_names
        self.clocks: dict[NetworkSpec, Clock] = {}
        self._waits = True
        self.forwards: Counter[NetworkSpec] = Counter()
        self.memory_mib: dict[NetworkSpec, float] = {}  # of the shared forwards on a GPU, beyond the weights
        self.latest_mib: dict[NetworkSpec, float] = {}  # of the latest forward of each
        self._networks: dict[NetworkSpec, Network] = {}
        self._seals: dict[NetworkSpec, ModuleSeal] = {}  # of the networks whose module a method has had in hand
        self._taps: dict[NetworkSpec, set[str]] = {}
        self._batch: Batch | None = None
        self._outputs: dict[NetworkSpec, Outputs] = {}

    def view(self, needs: Mapping[str, Need]) -> Networks:
        """The networks of one method, by role. Taps of all views are merged, so that one forward serves everyone.

        Raises:
            UnmetNeed: the network has no such tap.
        """
        handles = {}
        for role, need in needs.items():
            network = self.network(need.network)
            for alias in (alias for alias in ALIASES if alias in need.taps and not network.tap(alias)):
                raise UnmetNeed(
                    f"needs {ALIASES[alias]} of its network '{role}', and {need.network.arch} does not say which these "
                    f"are; it offers {', '.join(network.channels) or 'none'}."
                )
            missing = [t for t in need.taps if network.tap(t) not in network.channels]
            if missing:
                alias = f", and {PENULTIMATE} for {network.penultimate}" if network.penultimate else ""
                raise UnmetNeed(
                    f"needs the features {', '.join(missing)} of its network '{role}', "
                    f"but {need.network.arch} only offers {', '.join(network.channels) or 'none'}{alias}"
                    f"{need.otherwise and '; '}{need.otherwise}."
                )
            self._taps.setdefault(need.network, set()).update(need.taps)
            handles[role] = Handle(self, need.network)
        return Networks(handles)

    def network(self, spec: NetworkSpec) -> Network:
        """The module behind a spec; specs that differ only in test scales share it."""
        key = spec.checkpoint
        if key not in self._networks:
            self._networks[key] = self._loaded(key)
            self._seals.pop(key, None)
        return self._networks[key]

    def sealed(self, spec: NetworkSpec) -> Network:
        """The module behind a spec for a method to use; what it does to it, :meth:`undo` finds."""
        key, network = spec.checkpoint, self.network(spec)
        if key not in self._seals:
            self._seals[key] = ModuleSeal(network)
        return network

    @contextmanager
    def border(
        self,
        what: str,
        networks: Callable[[], Iterable[Networks | None]],
        copies: Sequence[tuple[Tensor, Tensor]] = (),
        turn: int | None = None,
    ) -> Iterator[None]:
        """Code of a plugin runs inside; whatever it changes that others are measured on is put back, and it is named.

        That is what is set for the whole process (:data:`benchmark.isolation.settings.SETTINGS`), the modules of the
        networks that it has had in hand, the networks' outputs, and the batch. Its own state is its own affair.

        Args:
            what: runs inside, for the sentence.
            networks: gives those of the methods whose code it is, which may have come to them inside.
            copies: pairs of a tensor of the batch that it is given, which the next method is given, too, and the
                original.
            turn: number of the batch, where a part of the copies is enough to look at; None looks at all of them, and
                lets what anybody but a plugin has changed since the last time stand.
        Raises:
            PluginError: something was changed. What is raised inside comes first.
        """
        versions = [given._version for given, _ in copies]

        def undo() -> list[str]:
            # What it has no handle of is out of its reach.
            handles = [handle for each in networks() if each for handle in each.values()]
            with MemoryMeter.paused():
                written: list[Verdict] = [
                    given._version != version or differ(given, original, turn)
                    for (given, original), version in zip(copies, versions, strict=True)
                ]
                # Nearly always nothing has changed, and a GPU is waited for once to know that.
                if not any_of([*written, *self._verdicts(handles)]):
                    return []
                return self._undo(handles, [each for each, wrong in zip(copies, written, strict=True) if wrong])

        try:
            with settings_kept(what, again=turn is not None):
                yield
        except BaseException:
            undo()
            self.forget()  # maps that all share may have been made inside, with what was changed there
            raise
        if changed := undo():
            raise PluginError(
                f"{what} changes {' and '.join(changed)}, which all methods share; let it change a copy of its own."
            )

    def _verdicts(self, handles: Sequence[Handle]) -> Iterator[Verdict]:
        """Of everything behind the handles that is sealed, whether it has been changed."""
        for spec in dict.fromkeys(handle.spec for handle in handles):
            if spec in self._outputs:
                yield from self._outputs[spec].verdicts()
        for key in self._in_hand(handles):
            yield from self._seals[key].verdicts()

    def _in_hand(self, handles: Sequence[Handle]) -> list[NetworkSpec]:
        """The sealed networks whose modules somebody has asked for."""
        keys = dict.fromkeys(handle.spec.checkpoint for handle in handles if handle.in_hand)
        return [key for key in keys if key in self._networks and key in self._seals]

    def _undo(self, handles: Sequence[Handle], written: Sequence[tuple[Tensor, Tensor]]) -> list[str]:
        """Make what methods share what it was before the latest of them had its turn; in words, what it had changed."""
        found = []
        if any(any_of(self._outputs[h.spec].verdicts()) for h in handles if h.spec in self._outputs):
            found.append("outputs of a network")
            self.forget()
        for key in self._in_hand(handles):
            if changes := self._seals[key].changes():
                found.append(f"the network {key.arch} ({', '.join(changes)})")
                self._seals[key].restore(self._loaded(key))
                self._seals[key] = ModuleSeal(self._networks[key])
                self.forget()
        for given, original in written:
            if given.shape != original.shape:
                given.resize_(original.shape)
            given.copy_(original)
            self.forget()
        return [*found, "the images or labels of the batch"] if written else found

    def _loaded(self, key: NetworkSpec) -> Network:
        network = self._load(key).to(self.device).eval().requires_grad_(False)
        return network.to(memory_format=network.memory_format)

    def outputs(self, spec: NetworkSpec, batch: Batch) -> Outputs:
        """Outputs of a network for a batch; computed at the first call for that batch object, then kept."""
        if batch is not self._batch:
            self._batch, self._outputs = batch, {}
        if spec not in self._outputs:
            with self.clock(spec).shared(), torch.no_grad():
                with MemoryMeter(self.device) as memory:
                    self._outputs[spec] = self.run(spec, batch.images, self._taps.get(spec, ()))
                if memory.mib is not None:
                    self.latest_mib[spec] = memory.mib
                    self.memory_mib[spec] = max(self.memory_mib.get(spec, 0.0), memory.mib)
                self._outputs[spec].seal(whole=not self.forwards[spec], turn=self.forwards[spec])
            self.forwards[spec] += 1
        return self._outputs[spec]

    def run(self, spec: NetworkSpec, images: Tensor, taps: Collection[str] = ()) -> Outputs:
        """A forward that is not kept, of any images (uint8 or float 0..255); gradients flow where they are enabled."""
        network = self.network(spec)
        with arithmetic(self.device, self.precision):
            scales = [network.segment(images, scale, spec.max_size, taps) for scale in spec.scales or (0,)]
        height, width = images.shape[-2:]
        return Outputs(scales, (height, width), self.clock(spec))

    def clock(self, spec: NetworkSpec) -> Clock:
        """Time spent in the forwards of a spec and in the full-size maps that methods share."""
        if spec not in self.clocks:
            self.clocks[spec] = Clock(self.device)
            self.clocks[spec].waits = self._waits
        return self.clocks[spec]

    def time(self, wanted: bool) -> None:
        """Whether the seconds of networks and methods are read; without, no clock waits for the device."""
        self._waits = wanted
        for clock in self.clocks.values():
            clock.waits = wanted

    def seconds(self) -> float:
        """Shared time of all networks together."""
        return sum(clock.seconds for clock in self.clocks.values())

    def release(self, kept: Collection[NetworkSpec] = ()) -> None:
        """Drop the networks behind all specs but these; whoever asks for one again has it loaded."""
        wanted = {spec.checkpoint for spec in kept}
        self._networks = {spec: network for spec, network in self._networks.items() if spec in wanted}

    def forget(self) -> None:
        """Drop the outputs of the latest batch."""
        self._batch, self._outputs = None, {}


class Handle:
    """One network as a method sees it: call it with a batch."""

    def __init__(self, pool: Pool, spec: NetworkSpec) -> None:
        self._pool = pool
        self.spec = spec
        self.in_hand = False
        """Whether somebody has asked for the module."""

    @property
    def module(self) -> Network:
        """The network itself, in eval mode and frozen; all methods share it, and who changes it is left out."""
        self.in_hand = True
        return self._pool.sealed(self.spec)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._pool.device

    @property
    def precision(self) -> str:
        """In which arithmetic, one of :data:`benchmark.machine.PRECISIONS`."""
        return self._pool.precision

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of its classes in the order of the outputs, of which it may have more; None where nobody says."""
        return self._pool.class_names

    def channels(self, tap: str) -> int:
        """Number of channels of a tap."""
        network = self._pool.network(self.spec)
        return network.channels[network.tap(tap)]

    def untrained(self) -> Network:
        """A new network of this kind with initial weights; draw them inside ``with seeded(recipe):``."""
        return network_of(self.spec)

    def __call__(self, batch: Batch) -> Outputs:
        """Outputs for the batch, shared with every other method."""
        return self._pool.outputs(self.spec, batch)

    def run(self, images: Tensor, taps: Collection[str] = (), scales: tuple[int, ...] | None = None) -> Outputs:
        """Outputs for other images (a synthesis, a perturbed input), not shared and not kept."""
        spec = self.spec if scales is None else dataclasses.replace(self.spec, scales=scales)
        return self._pool.run(spec, images, taps)


class Networks(Mapping[str, Handle]):
    """A method's networks by role."""

    def __init__(self, handles: Mapping[str, Handle]) -> None:
        self._handles = dict(handles)

    def __getitem__(self, role: str) -> Handle:
        if role not in self._handles:
            raise BenchmarkError(f"asks for the network '{role}', but its needs() names {', '.join(self._handles)}.")
        return self._handles[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)


def networks_for(method: Method, base: nn.Module, classes: int = 0, **others: nn.Module) -> Networks:
    """The networks of a method from modules at hand: no weights store, no recipe, no run. For notebooks and tests.

    In ten lines, for a model that maps normalised images (B, 3, H, W) to logits (B, 19, h, w)::

        from benchmark.data import Batch
        from benchmark.pool import networks_for
        from benchmark.methods.msp import MSP

        method = MSP(double_softmax=True)
        networks = networks_for(method, model, classes=19)
        batch = Batch.unlabelled(images)  # uint8 RGB (B, 3, H, W)
        with torch.no_grad():
            scores = method.score(batch, networks)  # float32 (B, H, W), higher = more anomalous
        print(method.label, scores.amax(dim=(1, 2)))

    A method that needs more is served in the order of a run: ``build(networks)``, ``observe(batch, networks)`` for
    every training batch, ``fit(None, networks)``.

    Args:
        method: says what it needs.
        base: the network that all methods share. A bare module is taken with the defaults of
            :class:`~benchmark.networks.External`, ImageNet's normalisation among them. It is put into eval mode and
            frozen.
        classes: number of its classes C; a :class:`~benchmark.network.Network` knows it.
        others: networks of the method's own, by role.
    Raises:
        BenchmarkError: the number of classes is missing, or a network that the method needs, or it needs none of that
            role.
    """
    if not isinstance(base, Network) and (type(classes) is not int or classes < 1):
        raise BenchmarkError(f"Say how many classes the {type(base).__name__} has: networks_for(..., classes=C).")
    network = as_network(base, classes, "by hand")
    spec = NetworkSpec("by-hand", "by-hand", network.classes, Recipe())
    modules, needs = {spec: network}, method.needs(spec)
    for role, need in needs.items():
        if need.network.checkpoint not in modules:
            if role not in others:
                raise BenchmarkError(
                    f"{method.label} needs a network of its own as '{role}': networks_for(..., {role}=module)."
                )
            modules[need.network.checkpoint] = as_network(others[role], need.network.classes, role)
    if unknown := others.keys() - needs.keys():
        raise BenchmarkError(f"{method.label} needs no network as '{min(unknown)}'; it needs {', '.join(needs)}.")
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    return Pool(modules.__getitem__, device).view(needs)
