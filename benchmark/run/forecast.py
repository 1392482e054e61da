"""How long a plan will take on this device, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from functools import cached_property

from benchmark.derived import AbsentSplit
from benchmark.distributed import world
from benchmark.errors import BenchmarkError
from benchmark.io.words import duration, quantity
from benchmark.network import NetworkSpec
from benchmark.networks import pretrained_of
from benchmark.records.device import known_costs
from benchmark.records.published import RESULTS
from benchmark.run.entry import Entry
from benchmark.run.plan import Step, to_fit, to_train
from benchmark.run.second_pass import has_second_pass
from benchmark.run.timing import BEFORE, GUESSED, Time, Timing
from benchmark.run.workshop import Workshop
from benchmark.training import fits_in_memory


@dataclass(frozen=True)
class Hours:
    """Seconds that something takes, by what they are spent on."""

    networks: float = 0.0  # training the segmentation networks
    training: float = 0.0  # the method's own
    statistics: float = 0.0  # a pass over the training images
    evaluation: float = 0.0  # a pass over the test images
    images: float = 0.0  # reading or rendering them

    @property
    def seconds(self) -> float:
        """All of them."""
        return sum(astuple(self))

    def __str__(self) -> str:
        words = {"training": "own training", "images": "reading"}
        shown = [f"{words.get(name, name)} {duration(spent)}" for name, spent in asdict(self).items() if spent >= 1]
        return f"about {duration(self.seconds)}" + (f" ({', '.join(shown)})" if len(shown) > 1 else "")


@dataclass(frozen=True)
class Forecast:
    """What a plan still lacks, and how long that takes (:class:`~benchmark.run.timing.Timing`).

    Not included: what a fit does after its training (less than a hundredth of it for TRADI).

    Args:
        workshop: datasets, device, and what is stored.
        steps: what is not current.
        evaluates: whether the test images are scored.
    """

    workshop: Workshop
    steps: Sequence[Step]
    evaluates: bool = True

    @cached_property
    def timing(self) -> Timing:
        """Seconds of the pieces."""
        return Timing(self.workshop.setup)

    @cached_property
    def networks(self) -> dict[NetworkSpec, Time]:
        """The networks that are not in the store, with the time of their training."""
        return {spec: self.timing.network(spec) for spec in to_train(self.workshop, self.steps)}

    @cached_property
    def fits(self) -> dict[str, tuple[Entry, Time]]:
        """The methods that are not fitted, by the key of the fit, with the time of their own trainings."""
        return {entry.fit_key: (entry, self.timing.fit(entry)) for entry in to_fit(self.workshop, self.steps)}

    def row(self, entry: Entry) -> Hours:
        """What a row of the table takes alone."""
        return self._hours([entry])

    @property
    def whole(self) -> Hours:
        """What all rows take together, where shared networks are trained and run once."""
        return self._hours([step.entry for step in self.steps])

    @property
    def known(self) -> bool:
        """Whether durations are known.

        A network that is given with its weights is not built before it runs, and images that are not here have no size.
        """
        own = self.workshop.setup.own
        return not (own and own.weights) and not isinstance(self.workshop.setup.train, AbsentSplit)

    def words(self, hours: Hours) -> str:
        """As printed: a duration, unless a CPU would take more than a month."""
        return "too long for a CPU" if self.timing.hopeless(hours.seconds) else str(hours)

    def summary(self) -> str:
        """What all rows take together, or which machine they need instead of a CPU."""
        whole, device = self.whole, self.workshop.setup.machine.device
        if not self.timing.hopeless(whole.seconds):
            return f"All together {self.words(whole)} on {device}."
        setup, labels = self.workshop.setup, {step.entry.label for step in self.steps}
        text = "A CPU is out of the question for all of this together"
        for costs in known_costs(RESULTS):
            if (costs.dataset, costs.network) == (setup.dataset, setup.base.arch):
                known = labels & {method.label for method in costs.methods}
                hours = costs.together(known)
                if known and hours is not None:
                    number = "they" if known == labels else f"{len(known)} of the {len(labels)} methods"
                    return (
                        f"{text}; on {costs.machine} {number} take about {hours:.0f} h from nothing, by "
                        f"`bench costs`; run it where there is a GPU."
                    )
        return f"{text}; run it where there is a GPU, on which `bench costs` says how long it takes."

    def _about(self, time: Time) -> str:
        hopeless = self.timing.hopeless(time.seconds)
        return "too long for a CPU" if hopeless else f"about {duration(time.seconds)}, {time.source}"

    def evaluation(self) -> str:
        """The line of the pass over the test images."""
        setup, count = self.workshop.setup, len(self.steps)
        passes = ", in two passes" if has_second_pass(setup) else ""
        images = quantity(len(setup.test), "image")
        before = sum(self.timing.scored_before(step.entry) for step in self.steps) if self.known else 0
        source = f"{before} of them {BEFORE}, else {GUESSED}" if 0 < before < count else BEFORE if before else GUESSED
        return f"evaluate {quantity(count, 'method')} on {images}{passes}{f', {source}' if self.known else ''}"

    def trainings(self) -> list[str]:
        """A line for every pretrained encoder, every network that is trained and every method that is fitted."""
        lines = self._origins()
        for spec in to_train(self.workshop, self.steps):
            member = f" member {spec.recipe.member}" if spec.recipe.member else ""
            lines.append(f"train {spec.label}{member} on {spec.dataset}{self._network_words(spec)}")
        for entry in to_fit(self.workshop, self.steps):
            lines.append(f"fit {entry.label}, {self._fit_words(entry)}")
        return lines

    def _origins(self) -> list[str]:
        """A line for every network whose encoder is pretrained: where its weights come from."""
        own, base = self.workshop.setup.own, self.workshop.setup.base
        lines = []
        for spec in dict.fromkeys(spec.checkpoint for step in self.steps for spec in step.entry.specs):
            if own and spec.arch == base.arch:
                continue  # nothing of the user's code is run before it is needed
            try:
                found = pretrained_of(spec.arch, dict(spec.options))
            except BenchmarkError as error:
                lines.append(f"{spec.arch} cannot be had: {error}")
                continue
            if found:
                lines.append(f"{spec.arch} {'is' if spec.frozen else 'begins with'} {found.encoder} of {found}")
        return list(dict.fromkeys(lines))

    def _network_words(self, spec: NetworkSpec) -> str:
        if self.known:
            return f", {self._about(self.networks[spec])}"
        own = self.workshop.setup.own
        if own is None:
            return ", for which the training images are not here"
        return ", which was not imported" if own.imported else ", which --weights rules out"

    def _fit_words(self, entry: Entry) -> str:
        setup = self.workshop.setup
        if isinstance(setup.fit_splits[0], AbsentSplit):
            return "for which the training images are not here"
        if not entry.recipes:
            normal = f"{len(setup.normal)} normal images of {setup.normal.label}" if setup.normal else ""
            return f"one pass over the {normal or 'training images'}"
        return (
            self._about(self.fits[entry.fit_key][1])
            if self.known
            else "of a duration not known for a network of your own"
        )

    def _hours(self, entries: Sequence[Entry]) -> Hours:
        setup = self.workshop.setup
        checkpoints = {spec.checkpoint for entry in entries for spec in entry.specs}
        keys = {entry.fit_key for entry in entries} & set(self.fits)
        observing = [entry for entry in entries if entry.fit_key in keys and entry.method.observes]
        trained = {spec: time for spec, time in self.networks.items() if spec in checkpoints}
        evaluation = images = 0.0
        if trained or keys:
            images += self._read(trained, [self.fits[key][0] for key in keys])
        if self.evaluates and entries:
            passes = (2 if has_second_pass(setup) else 1) / world()
            evaluation = self._shared(entries, len(setup.test)) + sum(map(self.timing.scoring, entries))
            evaluation *= passes
            images += passes * self.timing.reading(setup.test) * len(setup.test)
        statistics = 0.0
        if observing:
            train = len(setup.fit_splits[0])
            statistics = self._shared(observing, train) + len(observing) * self.timing.observing(train)
        return Hours(
            networks=sum(time.seconds for time in trained.values()),
            training=sum(self.fits[key][1].seconds for key in keys),
            statistics=statistics,
            evaluation=evaluation,
            images=images,
        )

    def _read(self, networks: Iterable[NetworkSpec], fits: Iterable[Entry]) -> float:
        """Seconds in which the images of trainings, statistics and validations are read.

        Those of splits that fit in memory are read once for all.
        """
        setup = self.workshop.setup
        recipes = [spec.recipe for spec in networks]
        splits = {id(split): split for split in (setup.train, setup.val) if recipes and split is not None}
        for entry in fits:
            recipes += entry.recipes.values()
            splits |= {id(split): split for split in setup.fit_splits if split is not None}
        seconds = 0.0
        for split in splits.values():
            times = 1
            with suppress(Exception):
                if not fits_in_memory(split):
                    times = sum(recipe.epochs for recipe in recipes) or 1
            seconds += times * len(split) * self.timing.reading(split)
        return seconds

    def _shared(self, entries: Iterable[Entry], images: int) -> float:
        """Seconds of the forwards that entries share."""
        return sum(self.timing.forwards(spec, images) for spec in {spec for entry in entries for spec in entry.specs})
