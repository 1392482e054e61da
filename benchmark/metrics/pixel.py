"""Pixel metrics of one method on one dataset: exact per image and pooled over all images, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.bootstrap import bootstrap_interval
from benchmark.metrics.curves import POINTS, Curves, thin_curves
from benchmark.metrics.evaluator import Evaluator, Measurements, View
from benchmark.metrics.hints import hints
from benchmark.metrics.inputs import as_maps, more_digits
from benchmark.metrics.measurement import METRICS, Measurement
from benchmark.metrics.pixel_protocols import FPR_RULES, PixelProtocol, pixel_protocol
from benchmark.metrics.pooled import BUDGET, Kept, PooledSketch
from benchmark.metrics.ranking import Ranking, scores_of
from benchmark.metrics.result import PixelResult, per_image_result, pooled_result
from benchmark.metrics.rounding import Rounding
from benchmark.metrics.rows import join_equal
from benchmark.metrics.sampling_error import SamplingError, sampling_error
from benchmark.metrics.sorted_image import SortedImage, failures
from benchmark.metrics.strata import IGNORE, Strata

if TYPE_CHECKING:
    from pandas import DataFrame

DEFAULT_PROTOCOLS = ("per-image", "pooled")


class PixelEvaluator(Evaluator[Measurements]):
    """Streaming evaluation under several protocols at once.

    Every image is sorted once; that gives its exact row and its part of the pooled sketch. Evaluators of disjoint sets
    of images merge exactly, in any order. Memory: at most 84 MiB and one row per image, unless ``exact_pooled``.
    Predictions are needed by protocols with ``split`` and otherwise unused.

    Args:
        protocols: names or objects.
        classes: names of the known classes, for protocols that ignore some.
        method: named in messages.
        exact_pooled: keep every score (4 bytes a pixel) of sets of any size.
        budget: otherwise, most numbers of 4 bytes kept of the anomalous and of the normal pixels (default: 84 MiB).

    Example:
        >>> evaluator = PixelEvaluator(["streethazards", "pooled"], classes=dataset.classes, method="msp")
        >>> for sample in dataset:
        ...     evaluator.update(View(sample.id, score_map, sample.labels))
        >>> evaluator.result("streethazards").aupr
    """

    protocol_type = PixelProtocol

    def __init__(
        self,
        protocols: Sequence[str | PixelProtocol] = DEFAULT_PROTOCOLS,
        *,
        classes: Sequence[str] = (),
        method: str = "",
        exact_pooled: bool = False,
        budget: Sequence[int] = (),
    ) -> None:
        super().__init__(method)
        self.protocols = tuple(pixel_protocol(p) for p in protocols)
        self.classes = tuple(classes)
        self._names: dict[str, tuple[int, ...]] = {p.negatives: p.ignored_labels(classes) for p in self.protocols}
        self._sets = list(dict.fromkeys(self._names.values()))
        self._split = {p.ignored_labels(classes) for p in self.protocols if p.split}
        self._strata = Strata.of(self._sets)
        self._tables: list[list[tuple]] = [[] for _ in self._sets]
        self._plan_pooled()
        self.exact_pooled, self.budget = exact_pooled, () if exact_pooled else tuple(budget or BUDGET)
        self._pooled = PooledSketch(len(self._row_of_kind), self.budget or None)
        self._rounding = Rounding()

    def _add(self, view: View, where: str) -> None:
        used = replace(view, prediction=view.prediction if self._split else None)
        scores, labels, prediction = as_maps(used, where, len(self.classes))
        image = SortedImage(scores, labels, self._strata, where)
        rows, anomalous = self._measure(view.image, image, scores, labels, prediction)
        rows_of_strata = [
            (stratum, self._row_of_kind[kind])
            for stratum in self._strata.used
            if any(kind := self._kind(stratum, anomalous == 0))
        ]
        if self._row_of_kind:
            self._pooled.add(view.image, image, rows_of_strata)
            if (wide := more_digits(view, where)) is not None:
                self._rounding.add(view.image, *wide)
        for table, row in zip(self._tables, rows, strict=True):
            table.append(row)

    def _merge(self, other: Self) -> None:
        for mine, others in zip(self._tables, other._tables, strict=True):
            mine.extend(others)
        self._pooled.merge(other._pooled)
        self._rounding.merge(other._rounding)

    @property
    def pooled_bytes(self) -> int:
        """Memory of the pooled sketch."""
        return self._pooled.nbytes

    def rows(self) -> DataFrame:
        """One row per image and set of negatives, ordered by image id."""
        ordered = [sorted(table) for table in self._tables]
        return join_equal({name: ordered[self._sets.index(ignored)] for name, ignored in self._names.items()})

    def result(self, protocol: str | PixelProtocol) -> PixelResult:
        """The metrics under one of the evaluator's protocols."""
        chosen = self._own(protocol)
        if chosen.aggregation == "per-image":
            result = per_image_result(chosen, self.rows())
        else:
            pure = sum(anomalous == 0 for _, anomalous, *_ in self._tables[0])
            skipped = pure if chosen.pure_images == "excluded" else 0
            images = len(self._images) - skipped
            ranking, error = self.ranking(chosen), SamplingError()
            if ranking.defined:
                error = sampling_error(self._pooled, self._rows_of(chosen), ranking, chosen.fpr_rule)
            result = pooled_result(chosen, ranking, images, skipped, error)
        return replace(result, hints=hints(self.pixels(), result.auroc, result.aupr, result.prevalence))

    def pixels(self) -> dict[str, int]:
        """Numbers of anomalous, normal and ignored pixels, those of ignored classes among the last where all are."""
        table: list[tuple] = []
        if self._sets:
            best = min(self._sets, key=lambda ignored: (IGNORE not in ignored, len(ignored)))
            table = self._tables[self._sets.index(best)]
        names = ("anomalous", "normal", "ignored")
        return {name: sum(row[column] for row in table) for column, name in enumerate(names, start=1)}

    def ranking(self, protocol: str | PixelProtocol) -> Ranking:
        """The pooled ranking under one of the evaluator's pooled protocols."""
        chosen = self._own(protocol)
        if chosen.aggregation != "pooled":
            raise BenchmarkError(f"Protocol '{chosen.name}' is per image; curves and thresholds need a pooled one.")
        self.check()
        return self._pooled.ranking(self._rows_of(chosen))

    def check(self) -> None:
        """Refuse scores whose order between images is lost in float32.

        Raises:
            BenchmarkError: as :meth:`benchmark.metrics.rounding.Rounding.check`.
        """
        self._rounding.check(f"{self.method}: " if self.method else "")

    def _rows_of(self, chosen: PixelProtocol) -> list[int]:
        """The rows of the sketch whose union is normal under a pooled protocol."""
        at = [p for p in self.protocols if p.aggregation == "pooled"].index(chosen)
        return [row for kind, row in self._row_of_kind.items() if kind[at]]

    def parts(self, protocol: str | PixelProtocol) -> tuple[list[Kept], list[Kept]]:
        """What the sketch keeps of every image's anomalous and normal pixels under a pooled protocol, with the weights
        of its keys."""
        rows = self._rows_of(self._own(protocol))
        return list(self._pooled.parts([-1])), list(self._pooled.parts(rows))

    def curves(self, protocol: str | PixelProtocol = "pooled", points: int = POINTS) -> Curves:
        """Precision-recall and ROC curve of the pooled pixels, thinned to about this many points."""
        return thin_curves(self._defined(protocol), points)

    def best_f1_threshold(self, protocol: str | PixelProtocol = "pooled") -> float:
        """The score at or above which pixels must be called anomalous for the best pooled F1."""
        return float(scores_of(self._defined(protocol).best_f1()))

    def _defined(self, protocol: str | PixelProtocol) -> Ranking:
        ranking = self.ranking(protocol)
        if not ranking.defined:
            raise BenchmarkError("There is no anomalous or no normal pixel, so there is neither a curve nor a best F1.")
        return ranking

    def measurement(self) -> Measurements:
        """A measurement for each protocol; those per image have 95 % bootstrap intervals over the images."""
        return {chosen.name: self._measurement(chosen) for chosen in self.protocols}

    def _measurement(self, chosen: PixelProtocol) -> Measurement:
        result, intervals = self.result(chosen), {}
        if chosen.aggregation == "per-image" and result.images:
            rows = self.rows()
            for metric in METRICS:
                interval = bootstrap_interval(rows, metric, chosen)
                intervals[metric] = [interval.low, interval.high]
        extra = {"efpr": result.efpr, "cfpr": result.cfpr}
        if result.sampling is not None and result.sampling != SamplingError():
            extra |= {f"sampling_{m}": getattr(result.sampling, m) for m in METRICS}
        return Measurement(
            version=chosen.version,
            aggregation=chosen.aggregation,
            images=result.images,
            auroc=result.auroc,
            aupr=result.aupr,
            fpr95=result.fpr95,
            constant_aupr=result.prevalence,
            skipped=result.skipped,
            intervals=intervals,
            extra={k: v for k, v in extra.items() if v is not None},
        )

    def _own(self, protocol: str | PixelProtocol) -> PixelProtocol:
        chosen = pixel_protocol(protocol)
        if chosen not in self.protocols:
            raise BenchmarkError(
                f"Protocol '{chosen.name}' was not evaluated; name it when the evaluation starts "
                f"(now {', '.join(p.name for p in self.protocols)})."
            )
        return chosen

    def _state(self) -> dict[str, Any]:
        return {"tables": [sorted(table) for table in self._tables], **self._pooled.state(), **self._rounding.state()}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._tables = [[tuple(row) for row in table] for table in kept.pop("tables")]
        self._rounding = Rounding.taken_from(kept)
        self._pooled = PooledSketch.from_state(kept, self._pooled.budget)

    def _plan_pooled(self) -> None:
        """Number the rows of the sketch: one per kind of normal pixel that pooled protocols tell apart."""
        kinds = [self._kind(stratum, pure) for stratum in self._strata.used for pure in (False, True)]
        self._row_of_kind = {kind: row for row, kind in enumerate(dict.fromkeys(k for k in kinds if any(k)))}

    def _kind(self, stratum: int, pure: bool) -> tuple[bool, ...]:
        """Per pooled protocol, whether it counts the normal pixels of a stratum of a (pure) image."""
        return tuple(
            bool(self._strata.members[self._sets.index(p.ignored_labels(self.classes)), stratum])
            and not (pure and p.pure_images == "excluded")
            for p in self.protocols
            if p.aggregation == "pooled"
        )

    def _measure(
        self, image_id: str, image: SortedImage, scores: np.ndarray, labels: np.ndarray, prediction: np.ndarray | None
    ) -> tuple[list[tuple], int]:
        """The row of every set of negatives, and the number of anomalous pixels."""
        anomalous, normal_counts = image.counts()
        keys, anomalies, below, at_or_below = image.rank()
        rows = []
        for ignored, members in zip(self._sets, self._strata.members, strict=True):
            normal = int(normal_counts[members].sum())
            numbers = [float("nan")] * (5 + len(FPR_RULES))
            if anomalous and normal:
                ranking = Ranking(keys, anomalies, below[members].sum(0), at_or_below[members].sum(0), normal)
                threshold = self._threshold(image, ranking, np.flatnonzero(members), at_or_below)
                numbers = [ranking.auroc(), ranking.average_precision(), *map(ranking.fpr, FPR_RULES), threshold]
                numbers += self._failure_rates(scores, labels, prediction, ignored, threshold)
            rows.append((image_id, anomalous, normal, image.pixels - anomalous - normal, *numbers))
        return rows, anomalous

    @staticmethod
    def _threshold(image: SortedImage, ranking: Ranking, members: np.ndarray, at_or_below: np.ndarray) -> float:
        """The score at the nearest rule's point: the lowest of any pixel above the next lower anomalous score."""
        at = ranking.cut("nearest")
        key = int(ranking.keys[at])
        if at:
            following = (image.normal_key(row, int(at_or_below[row, at - 1])) for row in members)
            key = min([key, *(found for found in following if found is not None)])
        return float(scores_of(key))

    def _failure_rates(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        prediction: np.ndarray | None,
        ignored: tuple[int, ...],
        threshold: float,
    ) -> list[float]:
        if prediction is None or ignored not in self._split:
            return [float("nan")] * 2
        hits, right, wrong_hits, wrong = failures(scores, labels, prediction, ignored, threshold)
        return [wrong_hits / wrong if wrong else float("nan"), hits / right if right else float("nan")]
