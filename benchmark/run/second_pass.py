"""The second pass over the images, for protocols whose thresholds are known only after the first.

The maps of the first pass are not kept (StreetHazards alone has 5 GB of them per method) but made again by the same
methods and networks. As there, metrics are computed beside the forwards; nobody reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmark.data import Batch, Dataset
from benchmark.distributed import everywhere, rank, shared, world
from benchmark.errors import BenchmarkError
from benchmark.io.words import quantity
from benchmark.metrics import Measurements, SecondPass, network_evaluators, network_measurements, protocol
from benchmark.metrics.evaluator import Evaluator
from benchmark.progress import Progress
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.scoring import BatchSize, Counting, Halving, Sent, Spoiled, nothing, score, views
from benchmark.run.setup import Setup
from benchmark.run.shares import add_up, agree_on_failures, received, sent
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop
from benchmark.training import native_batches


def has_second_pass(setup: Setup) -> bool:
    """Whether a wanted protocol takes its thresholds from a first pass."""
    return any(protocol(name).passes == 2 for name in setup.protocols)


def second_pass(workshop: Workshop, steps: Sequence[Step], tally: Tally) -> dict[str, Measurements]:
    """Score every image once more where a wanted protocol needs it.

    A protocol that cannot be evaluated on this dataset is reported once, and its measurement says why it is empty, so
    that the record need not be made again. Methods that fail are treated as in the first pass; where one has changed
    the process while others were measured beside it, the others begin this pass again.

    Args:
        workshop: of the first pass.
        steps: its methods.
        tally: what it gathered.
    Returns:
        method label -> protocol name -> measurement, for the methods that did not fail.
    """
    while True:
        try:
            return _second_pass(workshop, steps, tally)
        except Spoiled as error:
            if world() > 1:
                raise
            workshop.say(f"{str(error).partition(';')[0]}; the others begin the second pass again.")


def _second_pass(workshop: Workshop, steps: Sequence[Step], tally: Tally) -> dict[str, Measurements]:
    """As :func:`second_pass`, until what was measured can no longer be trusted.

    Raises:
        Spoiled: that is the case.
    """
    entries = [s.entry for s in steps if not s.entry.error]
    batch_size, setup = shared(lambda: tally.batch_size), workshop.setup
    asked, device = setup.options.batch_size, setup.machine.device
    size = BatchSize(batch_size)
    if any(protocol(name).passes == 2 or protocol(name).validates for name in setup.protocols):
        size = everywhere(lambda: BatchSize.chosen(workshop.test_images()[0], asked, device, batch_size))
    network = everywhere(lambda: _validate(workshop, entries, tally, batch_size, size))
    agree_on_failures(workshop, entries, {})
    entries = [entry for entry in entries if not entry.error]
    normal = {e.label: found for e in entries if (found := tally.methods[e.label].validation) is not None}
    add_up({**normal, **{f"network/{name}": each for name, each in network.items()}})
    passes = _begun(entries, tally)
    for chosen, reason in {p: reason for each in passes.values() for p, reason in each.reasons.items()}.items():
        workshop.say(f"Protocol {chosen.name} does not apply here: {reason}")
    if any(each.evaluators for each in passes.values()):
        everywhere(lambda: _pass(workshop, entries, passes, batch_size, size))
        agree_on_failures(workshop, entries, {})
        left = {entry.label: passes[entry.label] for entry in entries if not entry.error}
        add_up({f"{label}/{p.name}": each for label, found in left.items() for p, each in found.evaluators.items()})
    of_network = network_measurements(workshop.setup.protocols, network, validation=True)
    return {entry.label: passes[entry.label].measurement() | of_network for entry in entries if not entry.error}


def _validate(
    workshop: Workshop, entries: Sequence[Entry], tally: Tally, batch_size: int, size: BatchSize
) -> dict[str, Evaluator[Measurements]]:
    """Score normal validation images with the methods, for protocols that take their thresholds from them.

    Every process scores its own of the batches, in parts as its memory holds them. A state may come from a second pass
    that was interrupted, so that what it has of these images is left.

    Returns:
        protocol name -> what it says of the network on these images.
    """
    setup, normal = workshop.setup, {}
    for entry in entries:
        first = tally.methods[entry.label]
        if first.validation is not None:
            first.validation = normal[entry.label] = first.validation.empty()
    if not any(protocol(name).validates for name in setup.protocols):
        return {}
    try:
        images = workshop.validation_images()
    except BenchmarkError as error:
        workshop.say(str(error))
        return {}
    classes = images.classes if images.card.class_labels else ()
    network = network_evaluators(setup.protocols, classes, setup.base.arch, validation=True)

    def turn(entry: Entry | None, sent: Sent, counting: Counting) -> Callable[[], None]:
        if entry is None:
            return counting.shared(sent, _network_views(network.values(), sent)) if network else nothing
        if entry.error or entry.label not in normal:
            return nothing
        return counting.scored(entry, sent, score(workshop, entry, sent.batch)[0], normal[entry.label].update, False)

    _over(workshop, images, "scoring validation images", [None, *entries], batch_size, size, turn)
    return network


def _begun(entries: Sequence[Entry], tally: Tally) -> dict[str, SecondPass]:
    """What rank 0 makes of its tally, which is that of all images, with evaluators of its own for every process."""

    def made() -> dict[str, SecondPass]:
        return {entry.label: tally.methods[entry.label].second_pass() for entry in entries}

    if world() == 1:
        return made()
    packed = shared(
        lambda: {
            label: ([(p, sent(evaluator)) for p, evaluator in each.evaluators.items()], dict(each.reasons))
            for label, each in made().items()
        }
    )
    return {
        label: SecondPass({p: received(state) for p, state in evaluators}, reasons)
        for label, (evaluators, reasons) in packed.items()
    }


def _pass(
    workshop: Workshop, entries: Sequence[Entry], passes: Mapping[str, SecondPass], batch_size: int, size: BatchSize
) -> None:
    predicted = any(each.predictions for each in passes.values())

    def turn(entry: Entry | None, sent: Sent, counting: Counting) -> Callable[[], None]:
        if entry is None or entry.error:
            return nothing
        scores = score(workshop, entry, sent.batch)[0]
        return counting.scored(entry, sent, scores, passes[entry.label].update, predicted)

    title = f"second pass of {quantity(len(entries), 'method')}"
    _over(workshop, workshop.test_images(), title, entries, batch_size, size, turn)


def _over(
    workshop: Workshop,
    images: Dataset,
    title: str,
    items: Sequence[Entry | None],
    batch_size: int,
    size: BatchSize,
    turn: Callable[[Entry | None, Sent, Counting], Callable[[], None]],
) -> None:
    """Everyone's turn on this process's batches of some images, in parts as its memory holds them.

    Args:
        workshop: with the networks.
        images: a split.
        title: of the progress bar.
        items: the methods; None stands for the shared network.
        batch_size: as many images are one process's turn.
        size: of the parts.
        turn: as of :class:`~benchmark.run.scoring.Halving`, with what counts.
    """
    setup, pool, done = workshop.setup, workshop.pool, 0
    entries = [entry for entry in items if entry is not None]
    beside: Beside[tuple[str, ...]] = Beside(setup.machine.workers)
    counting = Counting(workshop, entries, size, beside, dropped=lambda label: None)

    def take(item: Entry | None, sent: Sent) -> Callable[[], None]:
        counting.before()
        return turn(item, sent, counting)

    halving = Halving(workshop, size, lambda batch: Sent(workshop, batch), take, counting.failed)
    pool.time(False)
    try:
        with Progress(title, 0, len(images), setup.machine) as progress:
            for batch in native_batches(images, setup.machine, batch_size, share=(rank(), world())):
                halving.whole(items, batch)
                size.warmed(pool, entries)
                counting.check()
                done += len(batch)
                progress.update(min(done * world(), len(images)))
            counting.settle()
    finally:
        beside.close()
        pool.forget()
        pool.time(True)


def _network_views(evaluators: Iterable[Evaluator[Measurements]], sent: Sent) -> Callable[[], None]:
    """What gives evaluators of the network its views of a batch, as soon as that is on the CPU."""
    batch, labels, confidences = sent.batch, sent.labels, sent.confidences

    def work() -> None:
        given = Batch(batch.ids, batch.images, labels())
        for view in views(given, None, None, confidences()):
            for evaluator in evaluators:
                evaluator.update(view)

    return work
