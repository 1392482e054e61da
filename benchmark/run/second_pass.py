"""The second pass over the images, for protocols whose thresholds are known only after the first.

The maps of the first pass are not kept (StreetHazards alone has 5 GB of them per method) but made again by the same
methods and networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from torch import Tensor

from benchmark.data import Batch, Dataset
from benchmark.distributed import everywhere, rank, shared, world
from benchmark.errors import BenchmarkError
from benchmark.io.words import quantity
from benchmark.metrics import Confidences, Measurements, SecondPass, network_evaluators, network_measurements, protocol
from benchmark.metrics.evaluator import Evaluator
from benchmark.progress import Progress
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.scoring import BatchSize, Halving, Sent, drop, nothing, score, to_cpu, views
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
    that the record need not be made again. Methods that fail are treated as in the first pass.

    Args:
        workshop: of the first pass.
        steps: its methods.
        tally: what it gathered.
    Returns:
        method label -> protocol name -> measurement, for the methods that did not fail.
    """
    entries = [s.entry for s in steps if not s.entry.error]
    batch_size = shared(lambda: tally.batch_size)
    size = BatchSize(batch_size)
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

    def turn(entry: Entry | None, sent: Sent) -> Callable[[], None]:
        if entry is None:
            return _keeping(network.values(), sent, confidences=sent.confidences) if network else nothing
        if entry.error or entry.label not in normal:
            return nothing
        return _keeping([normal[entry.label]], sent, to_cpu(score(workshop, entry, sent.batch)[0]))

    _take_turns(workshop, [None, *entries], images, "scoring validation images", batch_size, size, turn)
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
    predicts = any(each.predictions for each in passes.values())

    def turn(entry: Entry | None, sent: Sent) -> Callable[[], None]:
        if entry is None or entry.error:
            return nothing
        scores = to_cpu(score(workshop, entry, sent.batch)[0])
        return _keeping([passes[entry.label]], sent, scores, sent.predictions if predicts else None)

    title = f"second pass of {quantity(len(entries), 'method')}"
    _take_turns(workshop, entries, workshop.test_images(), title, batch_size, size, turn)


def _take_turns(
    workshop: Workshop,
    entries: Sequence[Entry | None],
    images: Dataset,
    title: str,
    batch_size: int,
    size: BatchSize,
    turn: Callable[[Entry | None, Sent], Callable[[], None]],
) -> None:
    """All methods on this process's images, as in the first pass; None stands for the images themselves."""
    machine, done = workshop.setup.machine, 0
    halving = Halving(workshop, size, lambda batch: Sent(workshop, batch), turn, partial(drop, workshop))
    try:
        with Progress(title, 0, len(images), machine) as progress:
            for batch in native_batches(images, machine, batch_size, share=(rank(), world())):
                halving.whole(entries, batch)
                done += len(batch)
                progress.update(min(done * world(), len(images)))
    finally:
        workshop.pool.forget()


def _keeping(
    evaluators: Iterable[Evaluator[Measurements] | SecondPass],
    sent: Sent,
    scores: Callable[[], Tensor] | None = None,
    predictions: Callable[[], Tensor] | None = None,
    confidences: Callable[[], Sequence[Confidences]] | None = None,
) -> Callable[[], None]:
    """What gives evaluators the views of a batch, as soon as that is on the CPU."""
    labels = sent.labels

    def keep() -> None:
        batch = Batch(sent.batch.ids, sent.batch.images, labels())
        for view in views(batch, scores and scores(), predictions and predictions(), confidences and confidences()):
            for evaluator in evaluators:
                evaluator.update(view)

    return keep
