"""The second pass over the images, for protocols whose thresholds are known only after the first.

The maps of the first pass are not kept (StreetHazards alone has 5 GB of them per method) but made again by the same
methods and networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.distributed import collected, everywhere, rank, shared, world
from benchmark.errors import BenchmarkError
from benchmark.metrics import Measurements, SecondPass, network_evaluators, network_measurements, protocol
from benchmark.progress import Progress
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.scoring import drop, score, views
from benchmark.run.setup import Setup
from benchmark.run.shares import agree_on_failures, received, sent
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
    network = everywhere(lambda: _validate(workshop, entries, tally))
    agree_on_failures(workshop, entries, {})
    entries = [entry for entry in entries if not entry.error]
    passes = _begun(entries, tally)
    for chosen, reason in {p: reason for each in passes.values() for p, reason in each.reasons.items()}.items():
        workshop.say(f"Protocol {chosen.name} does not apply here: {reason}")
    if any(each.evaluators for each in passes.values()):
        batch_size = shared(lambda: tally.batch_size)
        everywhere(lambda: _pass(workshop, entries, passes, batch_size))
        agree_on_failures(workshop, entries, {})
        _add_up(entries, passes)
    return {entry.label: passes[entry.label].measurement() | network for entry in entries if not entry.error}


def _validate(workshop: Workshop, entries: Sequence[Entry], tally: Tally) -> Measurements:
    """Score normal validation images with the methods, for protocols that take their thresholds from them.

    They are few: every process scores all of them, and rank 0 takes the thresholds.

    Returns:
        what is measured of the network on these images.
    """
    setup, pool, done = workshop.setup, workshop.pool, 0
    if not any(protocol(name).validates for name in setup.protocols):
        return {}
    normal = {entry.label: found for entry in entries if (found := tally.methods[entry.label].validation) is not None}
    try:
        images = workshop.validation_images()
    except BenchmarkError as error:
        workshop.say(str(error))
        return network_measurements(setup.protocols, {}, validation=True)
    classes = images.classes if images.card.class_labels else ()
    network = network_evaluators(setup.protocols, classes, setup.base.arch, validation=True)
    progress = Progress("scoring validation images", 0, len(images), setup.machine)
    try:
        for batch in native_batches(images, setup.machine, tally.batch_size):
            log_p = pool.outputs(setup.base, batch.blind).log_probabilities() if network else None
            for view in views(batch, None, None, log_p):
                for each in network.values():
                    each.update(view)
            for entry in (e for e in entries if not e.error and e.label in normal):
                try:
                    for view in views(batch, score(workshop, entry, batch)[0], None):
                        normal[entry.label].update(view)
                except BaseException as error:  # whatever a plugin raises must not take the others down
                    drop(workshop, entry, batch.ids, error)
            done += len(batch)
            progress.update(done, "")
    finally:
        progress.close()
        pool.forget()
    return network_measurements(setup.protocols, network, validation=True)


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


def _add_up(entries: Sequence[Entry], passes: Mapping[str, SecondPass]) -> None:
    """Give rank 0 what the other processes have."""
    own = {e.label: [sent(each) for each in passes[e.label].evaluators.values()] for e in entries if not e.error}
    for others in collected(own)[1:]:
        for label, states in others.items():
            for evaluator, state in zip(passes[label].evaluators.values(), states, strict=True):
                evaluator.merge(received(state))


def _pass(workshop: Workshop, entries: Sequence[Entry], passes: Mapping[str, SecondPass], batch_size: int) -> None:
    setup, pool, done = workshop.setup, workshop.pool, 0
    predicts = any(each.predictions for each in passes.values())
    progress = Progress(
        f"second pass of {len(entries)} method{'s' * (len(entries) > 1)}", 0, len(setup.test), setup.machine
    )
    try:
        turns = rank(), world()
        for batch in native_batches(workshop.test_images(), setup.machine, batch_size, share=turns):
            predictions = (
                pool.outputs(setup.base, batch.blind).prediction(len(setup.test.classes)) if predicts else None
            )
            for entry in (e for e in entries if not e.error):
                try:
                    for view in views(batch, score(workshop, entry, batch)[0], predictions):
                        passes[entry.label].update(view)
                except BaseException as error:  # whatever a plugin raises must not take the others down
                    drop(workshop, entry, batch.ids, error)
            done += len(batch)
            progress.update(min(done * world(), len(setup.test)), "")
    finally:
        progress.close()
        pool.forget()
