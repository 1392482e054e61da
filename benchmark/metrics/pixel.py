"""Pixel metrics of one method on one dataset: exact per image and pooled over all images, in one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.curves import Curves, thin_curves
from benchmark.metrics.inputs import as_maps
from benchmark.metrics.keys import scores_of
from benchmark.metrics.pooled import PooledHistogram, PooledKeys
from benchmark.metrics.protocols import FPR_RULES, PixelProtocol, pixel_protocol
from benchmark.metrics.ranking import Ranking
from benchmark.metrics.result import PixelResult, per_image_result, pooled_result
from benchmark.metrics.rows import join_equal
from benchmark.metrics.sorted_image import SortedImage, failures
from benchmark.metrics.strata import Strata

if TYPE_CHECKING:
    from pandas import DataFrame

DEFAULT_PROTOCOLS = ("per-image", "pooled")


class PixelEvaluator:
    """Streaming evaluation under several protocols at once.

    Every image is sorted once; that gives its exact row and its increment of the pooled accumulator. Evaluators of
    disjoint sets of images merge exactly, in any order. Memory: at most 32 MiB and one row per image, unless
    ``exact_pooled``.

    Args:
        protocols: names or objects.
        classes: names of the known classes, for protocols that ignore some.
        method: named in messages.
        exact_pooled: keep every score (4 bytes a pixel) instead of a histogram.

    Example:
        >>> evaluator = PixelEvaluator(["streethazards", "pooled"], classes=dataset.classes, method="msp")
        >>> for sample in dataset:
        ...     evaluator.update(sample.id, score_map, sample.labels)
        >>> evaluator.result("streethazards").aupr
    """

    def __init__(
        self,
        protocols: Sequence[str | PixelProtocol] = DEFAULT_PROTOCOLS,
        *,
        classes: Sequence[str] = (),
        method: str = "",
        exact_pooled: bool = False,
    ) -> None:
        self.protocols = tuple(pixel_protocol(p) for p in protocols)
        self.classes = tuple(classes)
        self.method = method
        self._names: dict[str, tuple[int, ...]] = {p.negatives: p.ignored_labels(classes) for p in self.protocols}
        self._sets = list(dict.fromkeys(self._names.values()))
        self._split = {p.ignored_labels(classes) for p in self.protocols if p.split}
        self._strata = Strata.of(self._sets)
        self._tables: list[list[tuple]] = [[] for _ in self._sets]
        self._ids: set[str] = set()
        self._plan_pooled()
        self._pooled = (PooledKeys if exact_pooled else PooledHistogram)(len(self._row_of_kind))

    def update(self, image_id: str, scores: Any, labels: Any, prediction: Any = None) -> None:
        """Add one image.

        Args:
            image_id: unique; named in messages and in its row.
            scores: (H, W) numpy array or tensor of any device, higher is more anomalous, compared as float32.
                Infinities are allowed.
            labels: uint8 (H, W): known classes, 254 anomaly, 255 void.
            prediction: (H, W) class ids, needed by protocols with ``split`` and otherwise unused.
        Raises:
            BenchmarkError: a NaN, shapes that differ, an image given twice; names method and image.
        """
        where = f"{self.method}: image '{image_id}'" if self.method else f"Image '{image_id}'"
        if image_id in self._ids:
            raise BenchmarkError(f"{where} was given twice; every image counts once.")
        scores, labels, prediction = as_maps(scores, labels, prediction if self._split else None, where)
        if isinstance(scores, np.ndarray):
            image: Any = SortedImage(scores, labels, self._strata, where)
        else:
            from benchmark.metrics.sorted_image_torch import TorchImage

            image = TorchImage(scores, labels, self._strata, where)
        rows, anomalous = self._measure(image_id, image, scores, labels, prediction)
        rows_of_strata = [
            (stratum, self._row_of_kind[kind])
            for stratum in self._strata.used
            if any(kind := self._kind(stratum, anomalous == 0))
        ]
        if self._row_of_kind:
            self._pooled.add(image, rows_of_strata)
        for table, row in zip(self._tables, rows, strict=True):
            table.append(row)
        self._ids.add(image_id)

    def merge(self, other: PixelEvaluator) -> None:
        """Add the images of another evaluator with the same protocols, classes and pooling.

        Raises:
            BenchmarkError: they differ in these, or share an image.
        """
        if self._configuration() != other._configuration() or type(self._pooled) is not type(other._pooled):
            raise BenchmarkError("Evaluators merge only if protocols, classes, method and pooling are the same.")
        if shared := self._ids & other._ids:
            raise BenchmarkError(
                f"{self.method}: image '{min(shared)}' is in both evaluators; every image counts once."
            )
        for mine, others in zip(self._tables, other._tables, strict=True):
            mine.extend(others)
        self._ids |= other._ids
        self._pooled.merge(other._pooled)

    @property
    def pooled_bytes(self) -> int:
        """Memory of the pooled accumulator, which no number of images exceeds unless it keeps every key."""
        return self._pooled.nbytes

    def rows(self) -> DataFrame:
        """One row per image and set of negatives, ordered by image id."""
        ordered = [sorted(table) for table in self._tables]
        return join_equal({name: ordered[self._sets.index(ignored)] for name, ignored in self._names.items()})

    def result(self, protocol: str | PixelProtocol) -> PixelResult:
        """The metrics under one of the evaluator's protocols."""
        chosen = self._own(protocol)
        if chosen.aggregation == "per-image":
            return per_image_result(chosen, self.rows())
        pure = sum(anomalous == 0 for _, anomalous, *_ in self._tables[0])
        skipped = pure if chosen.pure_images == "excluded" else 0
        return pooled_result(chosen, self.ranking(chosen), len(self._ids) - skipped, skipped, self._pooled.exact)

    def ranking(self, protocol: str | PixelProtocol) -> Ranking:
        """The pooled ranking under one of the evaluator's pooled protocols."""
        chosen = self._own(protocol)
        if chosen.aggregation != "pooled":
            raise BenchmarkError(f"Protocol '{chosen.name}' is per image; curves and thresholds need a pooled one.")
        at = [p for p in self.protocols if p.aggregation == "pooled"].index(chosen)
        return self._pooled.ranking([row for kind, row in self._row_of_kind.items() if kind[at]])

    def curves(self, protocol: str | PixelProtocol = "pooled", points: int = 512) -> Curves:
        """Precision-recall and ROC curve of the pooled pixels, thinned to about this many points."""
        return thin_curves(self.ranking(protocol), points)

    def best_f1_threshold(self, protocol: str | PixelProtocol = "pooled") -> float:
        """The score at or above which pixels must be called anomalous for the best pooled F1."""
        return float(scores_of(self.ranking(protocol).best_f1()[1]))

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays for ``np.savez``, to continue later with :meth:`from_state`."""
        header = {**self._configuration(), "exact_pooled": isinstance(self._pooled, PooledKeys), "tables": self._tables}
        return {"header": np.array(json.dumps(header)), **self._pooled.state()}

    @classmethod
    def from_state(cls, state: Any) -> PixelEvaluator:
        """The evaluator whose :meth:`state` (or an ``NpzFile`` of it) this is."""
        header = json.loads(str(state["header"]))
        evaluator = cls(
            [PixelProtocol(**{**p, "ignored_classes": tuple(p["ignored_classes"])}) for p in header["protocols"]],
            classes=header["classes"],
            method=header["method"],
            exact_pooled=header["exact_pooled"],
        )
        evaluator._tables = [[tuple(row) for row in table] for table in header["tables"]]
        evaluator._ids = {row[0] for table in evaluator._tables for row in table}
        evaluator._pooled = type(evaluator._pooled).from_state({key: state[key] for key in state if key != "header"})
        return evaluator

    def _own(self, protocol: str | PixelProtocol) -> PixelProtocol:
        chosen = pixel_protocol(protocol)
        if chosen not in self.protocols:
            raise BenchmarkError(
                f"Protocol '{chosen.name}' was not evaluated; name it when the evaluation starts "
                f"(now {', '.join(p.name for p in self.protocols)})."
            )
        return chosen

    def _configuration(self) -> dict[str, Any]:
        return {
            "protocols": [p.as_dict() for p in self.protocols],
            "classes": list(self.classes),
            "method": self.method,
        }

    def _plan_pooled(self) -> None:
        """Number the rows of the accumulator: one per kind of normal pixel that pooled protocols tell apart."""
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

    def _measure(self, image_id: str, image: Any, scores: Any, labels: Any, prediction: Any) -> tuple[list[tuple], int]:
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
    def _threshold(image: Any, ranking: Ranking, members: np.ndarray, at_or_below: np.ndarray) -> float:
        """The score at the nearest rule's point: the lowest of any pixel above the next lower anomalous score."""
        at = ranking.cut("nearest")
        key = int(ranking.keys[at])
        if at:
            following = (image.normal_key(row, int(at_or_below[row, at - 1])) for row in members)
            key = min([key, *(found for found in following if found is not None)])
        return float(scores_of(key))

    def _failure_rates(
        self, scores: Any, labels: Any, prediction: Any, ignored: tuple[int, ...], threshold: float
    ) -> list[float]:
        if prediction is None or ignored not in self._split:
            return [float("nan")] * 2
        hits, right, wrong_hits, wrong = failures(scores, labels, prediction, ignored, threshold)
        return [wrong_hits / wrong if wrong else float("nan"), hits / right if right else float("nan")]
