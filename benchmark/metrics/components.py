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

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.inputs import as_maps, to_array
from benchmark.metrics.protocols import ComponentProtocol, protocol
from benchmark.metrics.ranking import runs_of
from benchmark.metrics.strata import ANOMALY

VOID = 255


@dataclass(frozen=True)
class ComponentResult:
    """Fractions over all components of the dataset; NaN where there is none to count.

    Attributes:
        protocol: name and version.
        siou: mean sIoU of the true components.
        ppv: mean PPV of the predicted components.
        f1: mean F1 over the protocol's thresholds.
        f1_at: F1 per threshold.
        true_components, predicted_components: numbers after dropping small ones.
        threshold: score from which a pixel was called anomalous.
        images: images evaluated.
    """

    protocol: str
    siou: float
    ppv: float
    f1: float
    f1_at: dict[float, float]
    true_components: int
    predicted_components: int
    threshold: float
    images: int


class ComponentEvaluator:
    """Streaming component metrics at one score threshold.

    The threshold is the one of the best pixel F1 of the whole dataset (``PixelEvaluator.best_f1_threshold``), hence
    known only after a first pass. Pixels at the threshold are anomalous, as they are in that F1 (the reference leaves
    them out, which empties a binary score map).

    Args:
        threshold: score.
        protocol: name or object.
        method: named in messages.
    """

    def __init__(
        self, threshold: float, protocol_: str | ComponentProtocol = "smiyc-components", *, method: str = ""
    ) -> None:
        chosen = protocol(protocol_)
        if not isinstance(chosen, ComponentProtocol):
            raise BenchmarkError(f"Protocol '{chosen.name}' is not about components; take 'smiyc-components'.")
        self.protocol = chosen
        self.threshold = float(threshold)
        self.method = method
        self._images: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def update(self, image_id: str, scores: Any, labels: Any) -> None:
        """Add one image; arguments and errors as for ``PixelEvaluator.update``."""
        where = f"{self.method}: image '{image_id}'" if self.method else f"Image '{image_id}'"
        if image_id in self._images:
            raise BenchmarkError(f"{where} was given twice; every image counts once.")
        scores, labels, _ = as_maps(to_array(scores), labels, None, where)
        if np.isnan(scores.min()):
            raise BenchmarkError(f"{where}: {np.isnan(scores).sum()} of {scores.size} scores are NaN.")
        mask = scores >= np.float32(self.threshold)
        self._images[image_id] = match_components(mask, labels, self.protocol)

    def merge(self, other: ComponentEvaluator) -> None:
        """Add the images of another evaluator with the same protocol and threshold."""
        if (self.protocol, self.threshold) != (other.protocol, other.threshold):
            raise BenchmarkError("Component evaluators merge only if protocol and threshold are the same.")
        if shared := self._images.keys() & other._images.keys():
            raise BenchmarkError(
                f"{self.method}: image '{min(shared)}' is in both evaluators; every image counts once."
            )
        self._images |= other._images

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays."""
        images = {name: [part.tolist() for part in self._images[name]] for name in sorted(self._images)}
        header = {"threshold": self.threshold, "protocol": self.protocol.as_dict(), "method": self.method}
        return {"header": np.array(json.dumps(header | {"images": images}))}

    @classmethod
    def from_state(cls, state: Any) -> ComponentEvaluator:
        """The evaluator whose :meth:`state` this is."""
        header = json.loads(str(state["header"]))
        fields = header["protocol"] | {"thresholds": tuple(header["protocol"]["thresholds"])}
        evaluator = cls(header["threshold"], ComponentProtocol(**fields), method=header["method"])
        evaluator._images = {name: (np.array(a), np.array(b)) for name, (a, b) in header["images"].items()}
        return evaluator

    def result(self) -> ComponentResult:
        """The metrics of everything added so far."""
        ordered = [self._images[name] for name in sorted(self._images)]
        siou = np.concatenate([np.zeros(0), *(part for part, _ in ordered)])
        ppv = np.concatenate([np.zeros(0), *(part for _, part in ordered)])
        f1_at = {t: _f1(siou, ppv, t) for t in self.protocol.thresholds}
        return ComponentResult(
            protocol=self.protocol.label,
            siou=float(siou.mean()) if len(siou) else float("nan"),
            ppv=float(ppv.mean()) if len(ppv) else float("nan"),
            f1=float(np.mean(list(f1_at.values()))),
            f1_at=f1_at,
            true_components=len(siou),
            predicted_components=len(ppv),
            threshold=self.threshold,
            images=len(ordered),
        )


def match_components(mask: np.ndarray, labels: np.ndarray, rules: ComponentProtocol) -> tuple[np.ndarray, np.ndarray]:
    """sIoU of the true and PPV of the predicted components of one image.

    Args:
        mask: bool (H, W), pixels called anomalous.
        labels: uint8 (H, W), 254 anomaly, 255 void; void belongs to no component.
        rules: minimal sizes.
    Returns:
        float64 (number of true components), float64 (number of predicted components).
    """
    predicted, area = _components(mask & (labels != VOID))
    area = np.where(area >= rules.min_predicted, area, 0)
    true, size = _components(labels == ANOMALY)
    keep_true = size >= max(rules.min_true, 1)  # the background has no size
    g, p, overlap = _contingency(true, predicted, len(area))
    # Small true components become void, and void takes its pixels out of the predictions.
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


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _f1(siou: np.ndarray, ppv: np.ndarray, threshold: float) -> float:
    tp = int((siou >= threshold).sum())
    total = 2 * tp + (len(siou) - tp) + int((ppv < threshold).sum())
    return 2 * tp / total if total else float("nan")
