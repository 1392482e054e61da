"""Metrics by the size of the anomaly, so that a few large objects do not hide that small ones are missed.

The 8-connected components of the anomalous pixels are divided by their number of pixels. For a class of sizes all
normal pixels are negative, the pixels of its components positive, and those of other components are ignored: one pooled
ranking per class, with AUROC, AUPR and FPR95 as under ``pooled``, and beside them what a constant score gets.

Component metrics are those of SegmentMeIfYouCan (``components.py``) at the threshold of the best pooled pixel F1 of all
anomalies. Components of other classes are void, and of the predicted ones those count that have from half the class's
lower bound to twice its upper bound of pixels, void ones not counted.

Source: Vojir et al., benchmark_issu, instance_segmentation.py (bounds and component metrics).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.metrics.components import ComponentProtocol, component_f1, components_of, match_components
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import check_threshold, scores_and_labels
from benchmark.metrics.measurement import METRICS
from benchmark.metrics.pixel_protocols import POOLED
from benchmark.metrics.pooled import BUDGET, PooledSketch
from benchmark.metrics.sampling_error import sampling_error
from benchmark.metrics.sorted_image import SortedImage
from benchmark.metrics.strata import ANOMALY, IGNORE, Strata

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass

_ANY = ComponentProtocol("any", 1, "", min_predicted=1, min_true=1)
_KNOWN = Strata.of([(IGNORE,)])


@dataclass(frozen=True)
class SizeProtocol(Protocol):
    """Pixel and component metrics for every class of sizes.

    Attributes:
        bounds: ascending; a component belongs to the class from the last bound that its size reaches.
        relative: whether the bounds are shares of the image's pixels instead of pixels.
    """

    bounds: tuple[float, ...]
    relative: bool = False

    family: ClassVar = "sizes"
    rankings: ClassVar = (POOLED,)
    headlines: ClassVar = {
        "mean_aupr": "AUPR over sizes",
        "mean_fpr95": "FPR95 over sizes",
        "mean_f1": "mean F1 over sizes",
    }
    passes: ClassVar = 2

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of sizes: ``0-49``, ``49-256``, ..., ``12544+``; shares in percent."""
        ends = [f"{100 * bound:g}%" if self.relative else f"{bound:g}" for bound in self.bounds]
        lows, highs = ["0", *ends], [*ends, ""]
        return tuple(f"{low}-{high}" if high else f"{low}+" for low, high in zip(lows, highs, strict=True))

    def limits(self, pixels: int) -> list[tuple[float, float]]:
        """Lower and upper bound of every class in an image of so many pixels."""
        bounds = [bound * pixels if self.relative else bound for bound in self.bounds]
        return list(zip([0.0, *bounds], [*bounds, float("inf")], strict=True))

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> SizeEvaluator:
        return SizeEvaluator(self, first.pixels.best_f1_threshold(POOLED), method=method)


SIZE_PROTOCOLS = (
    SizeProtocol("sizes", 1, "benchmark_issu, instance_segmentation.py", (49, 256, 2304, 12544)),
    SizeProtocol("sizes-relative", 1, "as sizes, by shares of the image", (0.0001, 0.001, 0.01), relative=True),
)


class SizeEvaluator(Evaluator[Measurements]):
    """Streaming metrics of every class of sizes.

    The normal pixels are sorted and kept once for all classes. Memory: 84 MiB at most, and the components.

    Args:
        protocol: the classes of sizes.
        threshold: score from which a pixel belongs to a predicted component.
        method: named in messages.
    """

    protocol_type = SizeProtocol

    def __init__(self, protocol: SizeProtocol, threshold: float, *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self.threshold = check_threshold(threshold)
        budget = (BUDGET[0] // len(protocol.classes), BUDGET[1])
        self._normal = PooledSketch(1, budget)
        self._anomalous = [PooledSketch(0, budget) for _ in protocol.classes]
        # Image -> for every class sIoU of its true and PPV of its predicted components.
        self._matched: dict[str, list[list[list[float]]]] = {}

    def _add(self, view: View, where: str) -> None:
        scores, labels = scores_and_labels(view, where)
        components, sizes = components_of(labels == ANOMALY)
        normal = np.where(labels == ANOMALY, np.uint8(IGNORE), labels)
        self._normal.add(view.image, SortedImage(scores, normal, _KNOWN, where), [(0, 0)])
        mask = scores >= np.float32(self.threshold)
        matched = []
        for sketch, (low, high) in zip(self._anomalous, self.protocol.limits(labels.size), strict=True):
            chosen = (sizes >= low) & (sizes < high)
            chosen[0] = False  # the background
            own = chosen[components]
            positive = np.full(int(np.count_nonzero(own)), ANOMALY, np.uint8)
            sketch.add(view.image, SortedImage(scores[own], positive, _KNOWN, where), [])
            others = np.where((labels == ANOMALY) & ~own, np.uint8(IGNORE), labels)
            predicted, area = components_of(mask & (others != IGNORE))
            kept = (area >= low / 2) & (area <= 2 * high)
            kept[0] = False
            matched.append([part.tolist() for part in match_components(kept[predicted], others, _ANY)])
        self._matched[view.image] = matched

    def _merge(self, other: Self) -> None:
        self._normal.merge(other._normal)
        for mine, others in zip(self._anomalous, other._anomalous, strict=True):
            mine.merge(others)
        self._matched |= other._matched

    def measurement(self) -> Measurements:
        """For every class of sizes, ``METRIC_CLASS``, and means over the classes that occur, ``mean_METRIC``.

        The metrics are ``auroc``, ``aupr`` and ``fpr95``, pooled; ``siou``, ``ppv`` and ``f1`` (over the thresholds of
        sIoU) of components; ``constant_aupr``, the AUPR of a constant score; ``components``, the number of true ones;
        and where the pixels are a sample ``sampling_METRIC_CLASS``, the bound of its error. ``threshold`` is the score
        from which a pixel belongs to a predicted component.
        """
        protocol = self.protocol
        found: dict[str, dict[str, float]] = {}
        ordered = [self._matched[image] for image in sorted(self._matched)]
        for index, name in enumerate(protocol.classes):
            siou, ppv = (np.array([v for image in ordered for v in image[index][part]]) for part in (0, 1))
            pixels = self._anomalous[index].among(self._normal)
            ranking = pixels.ranking([0])
            values: dict[str, float] = {"components": len(siou)}
            if ranking.defined:
                values |= {"auroc": ranking.auroc(), "aupr": ranking.average_precision()}
                values |= {"fpr95": ranking.fpr("first_ge")}
                error = sampling_error(pixels, [0], ranking, "first_ge")
                values |= {f"sampling_{m}": bound for m in METRICS if (bound := getattr(error, m))}
                values["constant_aupr"] = ranking.anomalous / (ranking.anomalous + ranking.normal)
                values |= {"siou": float(siou.mean()), "ppv": float(ppv.mean()) if len(ppv) else float("nan")}
                values["f1"] = float(np.mean([component_f1(siou, ppv, t) for t in _ANY.thresholds]))
            found[name] = values
        extra: dict[str, float | None] = {"threshold": self.threshold}
        for metric in (*METRICS, "siou", "f1"):
            known = [values[metric] for values in found.values() if metric in values]
            extra[f"mean_{metric}"] = float(np.mean(known)) if known else float("nan")
        extra |= {f"{metric}_{name}": value for name, values in found.items() for metric, value in values.items()}
        return protocol.says(len(self._matched), extra)

    def _state(self) -> dict[str, Any]:
        sketches = {"normal": self._normal, **{str(i): sketch for i, sketch in enumerate(self._anomalous)}}
        kept = {f"{name} {key}": value for name, sketch in sketches.items() for key, value in sketch.state().items()}
        return {"matched": self._matched, **kept}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._matched = kept.pop("matched")
        parts: dict[str, dict[str, Any]] = {}
        for name, value in kept.items():
            sketch, _, key = name.partition(" ")
            parts.setdefault(sketch, {})[key] = value
        budget = self._normal.budget
        self._normal = PooledSketch.from_state(parts["normal"], budget)
        self._anomalous = [PooledSketch.from_state(parts[str(i)], budget) for i in range(len(self._anomalous))]
