"""Component-level metrics of SegmentMeIfYouCan: sIoU of true components, PPV of predicted ones, mean F1.

With K(k) the union of the predicted components that touch a true component k, and A(k) the pixels of the other true
components,

    sIoU(k) = |k & K(k)| / |(k | K(k)) \\ A(k)|,

so that one prediction over two neighbouring obstacles is not punished twice. With K(p) the true components that touch
a predicted one, PPV(p) = |p & K(p)| / |p|. At a threshold t, TP = #{sIoU >= t}, FN = #{sIoU < t}, FP = #{PPV < t} and
F1 = 2 TP / (2 TP + FN + FP), all counted over the dataset.

Source: Chan et al., SegmentMeIfYouCan (NeurIPS 2021 datasets track); road-anomaly-benchmark, instance_segmentation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import check_threshold, scores_and_labels
from benchmark.metrics.pixel_protocols import POOLED
from benchmark.metrics.ranking import runs_of
from benchmark.metrics.strata import ANOMALY, IGNORE

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass


@dataclass(frozen=True)
class ComponentProtocol(Protocol):
    """Connected components (8 neighbours) of the score map thresholded where the pooled pixel F1 is best.

    Attributes:
        min_predicted: predicted components of fewer pixels are dropped.
        min_true: anomalous components of fewer pixels are ignored.
        thresholds: values of sIoU and PPV from which a component counts as found.
    """

    min_predicted: int
    min_true: int
    thresholds: tuple[float, ...] = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)

    family: ClassVar = "components"
    rankings: ClassVar = (POOLED,)
    headlines: ClassVar = {"siou": "sIoU", "ppv": "PPV", "mean_f1": "mean F1"}
    passes: ClassVar = 2

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> ComponentEvaluator:
        return ComponentEvaluator(self, first.pixels.best_f1_threshold(POOLED), method=method)


COMPONENT_PROTOCOLS = (
    ComponentProtocol("smiyc-components", 2, "SegmentMeIfYouCan, anomaly track", min_predicted=500, min_true=100),
    ComponentProtocol("smiyc-obstacles", 2, "SegmentMeIfYouCan, obstacle track", min_predicted=50, min_true=10),
)


class ComponentEvaluator(Evaluator[Measurements]):
    """Streaming component metrics at one score threshold.

    The threshold is the one of the best pixel F1 of the whole dataset (``PixelEvaluator.best_f1_threshold``), hence
    known only after a first pass. Pixels at the threshold are anomalous, as they are in that F1 (the reference leaves
    them out, which empties a binary score map).

    Args:
        protocol: minimal sizes and thresholds of F1.
        threshold: score.
        method: named in messages.
    """

    protocol_type = ComponentProtocol

    def __init__(self, protocol: ComponentProtocol, threshold: float, *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self.threshold = check_threshold(threshold)
        self._matched: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # image -> sIoU, PPV

    def _add(self, view: View, where: str) -> None:
        scores, labels = scores_and_labels(view, where)
        self._matched[view.image] = match_components(scores >= np.float32(self.threshold), labels, self.protocol)

    def _merge(self, other: Self) -> None:
        self._matched |= other._matched

    def measurement(self) -> Measurements:
        """Means over all components of the dataset, F1 over the protocol's thresholds, and the numbers of components.

        ``siou``: mean over the true components; ``ppv``: over the predicted ones, small ones dropped; ``mean_f1``;
        ``threshold``: score from which a pixel was called anomalous.
        """
        ordered = [self._matched[image] for image in sorted(self._matched)]  # so that no order moves a last digit
        siou, ppv = (np.concatenate([np.zeros(0), *(parts[i] for parts in ordered)]) for i in (0, 1))
        extra: dict[str, float | None] = {
            "siou": float(siou.mean()) if len(siou) else float("nan"),
            "ppv": float(ppv.mean()) if len(ppv) else float("nan"),
            "mean_f1": float(np.mean([component_f1(siou, ppv, t) for t in self.protocol.thresholds])),
            "threshold": self.threshold,
            "true_components": len(siou),
            "predicted_components": len(ppv),
        }
        return self.protocol.says(len(self._matched), extra)

    def _state(self) -> dict[str, Any]:
        return {"matched": {image: [part.tolist() for part in parts] for image, parts in self._matched.items()}}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._matched = {image: (np.array(siou), np.array(ppv)) for image, (siou, ppv) in kept["matched"].items()}


def match_components(mask: np.ndarray, labels: np.ndarray, rules: ComponentProtocol) -> tuple[np.ndarray, np.ndarray]:
    """sIoU of the true and PPV of the predicted components of one image.

    Args:
        mask: bool (H, W), pixels called anomalous.
        labels: uint8 (H, W), 254 anomaly, 255 ignore; ignored pixels belong to no component.
        rules: minimal sizes.
    Returns:
        float64 (number of true components), float64 (number of predicted components).
    """
    predicted, area = components_of(mask & (labels != IGNORE))
    area = np.where(area >= rules.min_predicted, area, 0)
    true, size = components_of(labels == ANOMALY)
    keep_true = size >= max(rules.min_true, 1)  # the background has no size
    g, p, overlap = _contingency(true, predicted, len(area))
    # Small true components are ignored, which takes their pixels out of the predictions, too.
    np.subtract.at(area, p[~keep_true[g]], overlap[~keep_true[g]])
    area = np.maximum(area, 0)
    touching = keep_true[g] & (area[p] > 0)
    g, p, overlap = g[touching], p[touching], overlap[touching]
    covered = np.bincount(p, overlap, len(area))  # pixels of any true component in each predicted one
    hit = np.bincount(g, overlap, len(size))
    # K(k) without A(k): of every predicted component that touches k, what lies in no other true component.
    outside = np.bincount(g, area[p] - covered[p] + overlap, len(size))
    siou = hit[keep_true] / (size + outside - hit)[keep_true]
    return siou, covered[area > 0] / area[area > 0]


def components_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-connected components (0 is the background, of size 0) and their sizes in pixels, int64."""
    import cv2

    # cv2's own statistics take five times as long as the components; the foreground alone is soon counted.
    count, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return components, np.bincount(components[mask], minlength=count)


def _contingency(true: np.ndarray, predicted: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of overlapping components and the number of shared pixels."""
    inside = (true > 0) & (predicted > 0)
    pairs = true[inside].astype(np.int64) * stride + predicted[inside]
    starts, lengths = runs_of(pairs)  # along a row of pixels the pair rarely changes: far fewer runs than pixels
    unique, group = np.unique(pairs[starts], return_inverse=True)
    shared = np.bincount(group, lengths, len(unique)).astype(np.int64)
    return unique // stride, unique % stride, shared


def component_f1(siou: np.ndarray, ppv: np.ndarray, threshold: float) -> float:
    """2 TP / (2 TP + FN + FP) with TP = #{sIoU >= t}, FN = #{sIoU < t}, FP = #{PPV < t}; NaN without components."""
    tp = int((siou >= threshold).sum())
    total = 2 * tp + (len(siou) - tp) + int((ppv < threshold).sum())
    return 2 * tp / total if total else float("nan")
