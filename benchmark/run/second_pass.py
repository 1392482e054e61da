"""The second pass over the images, for protocols whose thresholds are known only after the first.

Component metrics threshold a method's scores where its pooled pixel F1 is best, open-set segmentation at a
true-positive rate calibrated on the other folds. Both thresholds come from the tally of the first pass; the maps are
not kept (StreetHazards alone has 5 GB of them per method) but made again by the same methods and networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from benchmark.data import ANOMALY, Batch
from benchmark.errors import BenchmarkError
from benchmark.metrics import (
    ComponentEvaluator,
    ComponentProtocol,
    OpenSetEvaluator,
    OpenSetProtocol,
    PixelEvaluator,
    cross_thresholds,
    protocol,
)
from benchmark.progress import Progress
from benchmark.records.record import HEADLINES, Measurement
from benchmark.run.plan import Step
from benchmark.run.scoring import drop, score
from benchmark.run.setup import Setup
from benchmark.run.tally import Tally, fold_of
from benchmark.run.workshop import Entry, Workshop
from benchmark.training import native_batches

Evaluator = ComponentEvaluator | OpenSetEvaluator


def protocols_of_second_pass(setup: Setup) -> list[ComponentProtocol | OpenSetProtocol]:
    """The wanted protocols that the first pass cannot evaluate."""
    wanted = [protocol(name) for name in setup.protocols]
    return [p for p in wanted if isinstance(p, ComponentProtocol | OpenSetProtocol)]


def second_pass(workshop: Workshop, steps: Sequence[Step], tally: Tally) -> dict[str, dict[str, Measurement]]:
    """Score every image once more and evaluate what :func:`protocols_of_second_pass` names; nothing if it names none.

    A protocol that has no threshold on this dataset is reported once, and its measurement says why it is empty, so
    that the record need not be made again. Methods that fail are treated as in the first pass.

    Args:
        workshop: of the first pass.
        steps: its methods.
        tally: what it gathered.
    Returns:
        method label -> protocol name -> measurement, for the methods that did not fail.
    """
    setup = workshop.setup
    wanted, entries = protocols_of_second_pass(setup), [s.entry for s in steps if not s.entry.error]
    if not wanted or not entries:
        return {}
    evaluators: dict[str, list[Evaluator]] = {entry.label: [] for entry in entries}
    empty: dict[str, dict[str, Measurement]] = {entry.label: {} for entry in entries}
    for p in wanted:
        reason = ""
        for entry in entries:
            try:
                evaluators[entry.label].append(_evaluator(tally, entry.label, p, setup.test.classes))
            except BenchmarkError as error:
                reason = str(error)
                empty[entry.label][p.name] = _empty(p, reason)
        if reason:
            workshop.say(f"Protocol {p.name} does not apply here: {reason}")
    # Rejecting exactly the anomalous pixels leaves the segmentation of the known ones: the bound of open-mIoU.
    rejecting = {e.protocol: e.thresholds for each in evaluators.values() for e in each if _opens(e)}
    closed = {p: OpenSetEvaluator(setup.test.classes, dict.fromkeys(t, 0.5), p) for p, t in rejecting.items()}
    if any(evaluators.values()):
        _pass(workshop, entries, evaluators, list(closed.values()), tally.batch_size)
    bounds = {p: evaluator.result().open_miou for p, evaluator in closed.items()}
    return {
        entry.label: empty[entry.label] | {e.protocol.name: _measurement(e, bounds) for e in evaluators[entry.label]}
        for entry in entries
        if not entry.error
    }


def _evaluator(
    tally: Tally, label: str, chosen: ComponentProtocol | OpenSetProtocol, classes: Sequence[str]
) -> Evaluator:
    if isinstance(chosen, ComponentProtocol):
        return ComponentEvaluator(_best_f1_threshold(tally.pixels[label]), chosen, method=label)
    if tally.segmentation is None:
        raise BenchmarkError("The dataset does not label the known classes.")
    thresholds = cross_thresholds(tally.folds.get(label, {}), chosen)
    return OpenSetEvaluator(classes, thresholds, chosen, method=label)


def _best_f1_threshold(pixels: PixelEvaluator) -> float:
    if not pixels.ranking("pooled").defined:
        raise BenchmarkError("There is no anomalous or no normal pixel to find the best F1 with.")
    return pixels.best_f1_threshold("pooled")


def _opens(evaluator: Evaluator) -> bool:
    return isinstance(evaluator, OpenSetEvaluator)


def _pass(
    workshop: Workshop,
    entries: Sequence[Entry],
    evaluators: dict[str, list[Evaluator]],
    closed: Sequence[OpenSetEvaluator],
    batch_size: int,
) -> None:
    setup, pool, done = workshop.setup, workshop.pool, 0
    progress = Progress(f"second pass of {len(entries)} methods", 0, len(setup.test), setup.machine)
    try:
        for batch in native_batches(workshop.test_images(), setup.machine, batch_size):
            known = len(setup.test.classes)
            predictions = pool.outputs(setup.base, batch).prediction(known) if closed else batch.labels
            for entry in (e for e in entries if not e.error):
                try:
                    scores, _ = score(workshop, entry, batch)
                    for evaluator in evaluators[entry.label]:
                        _update(evaluator, batch, scores, predictions)
                except Exception as error:  # whatever a plugin raises must not take the others down
                    drop(workshop, entry, batch, error)
            for evaluator in closed:
                _update(evaluator, batch, (batch.labels == ANOMALY).float(), predictions)
            done += len(batch)
            progress.update(done, "")
    finally:
        progress.close()
        pool.forget()


def _update(evaluator: Evaluator, batch: Batch, scores: Tensor, predictions: Tensor) -> None:
    for index, image_id in enumerate(batch.ids):
        if isinstance(evaluator, ComponentEvaluator):
            evaluator.update(image_id, scores[index], batch.labels[index])
        else:
            evaluator.update(fold_of(image_id), image_id, scores[index], batch.labels[index], predictions[index])


def _measurement(evaluator: Evaluator, bounds: dict[OpenSetProtocol, float]) -> Measurement:
    version = evaluator.protocol.version
    if isinstance(evaluator, ComponentEvaluator):
        found = evaluator.result()
        extra = {
            "siou": found.siou,
            "ppv": found.ppv,
            "mean_f1": found.f1,
            "threshold": found.threshold,
            "true_components": found.true_components,
            "predicted_components": found.predicted_components,
        }
        return Measurement(version, "components", found.images, extra=extra)
    result = evaluator.result()
    extra = {
        "open_miou": result.open_miou,
        "closed_miou": bounds[evaluator.protocol],
        "anomaly_iou": result.anomaly_iou,
        **{f"open_miou_{fold}": value for fold, value in result.fold_miou.items()},
        **{f"threshold_{fold}": value for fold, value in result.thresholds.items()},
    }
    return Measurement(version, "open-set", sum(result.images.values()), extra=extra)


def _empty(chosen: ComponentProtocol | OpenSetProtocol, reason: str) -> Measurement:
    family = "components" if isinstance(chosen, ComponentProtocol) else "open-set"
    first = next(iter(HEADLINES[family]))
    return Measurement(chosen.version, family, 0, extra={first: None}, missing={first: reason.rstrip(".")})
