r"""Calibration of the segmentation network: whether its probabilities are frequencies. No method's score takes part.

With p_c the probabilities of a pixel of the known class y, over all labelled pixels of known classes at once:

    ECE    sum over 15 equal-width bins b of max p:  n_b / N |accuracy_b - mean max p_b|
    NLL    mean of -log p_y
    Brier  mean of sum_c (p_c - [c = y])^2

Most pixels of a segmentation fall into the last bin, so adaptive ECE is reported, too: the same with 15 bins of equally
many pixels, by the ranks of 1 - max p; equal probabilities stay in one bin.

Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017); Nixon et al., Measuring Calibration in Deep
Learning (CVPRW 2019) for adaptive ECE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import to_array
from benchmark.metrics.pooled import PooledSketch
from benchmark.metrics.ranking import runs_of, scores_of
from benchmark.metrics.sorted_image import SortedImage
from benchmark.metrics.strata import ANOMALY, IGNORE, Strata

BINS = 15
BUDGET = (6_500_000, 6_500_000)
"""Most numbers of 4 bytes that are kept of the wrongly and of the correctly classified pixels: 52 MiB together."""
_ALL = Strata.of([(IGNORE,)])


@dataclass(frozen=True, eq=False)
class Confidences:
    """What calibration reads of a network's probabilities of one image: four values a pixel, however many classes.

    Attributes:
        outputs: number of classes that the probabilities are of.
        highest: float (H, W), the largest of the log p_c.
        right: bool (H, W), whether that is the labelled class.
        labelled: float (H, W), log p_y; of the first class where the label is none of them.
        squares: float (H, W), sum_c p_c^2.
    """

    outputs: int
    highest: Any
    right: Any
    labelled: Any
    squares: Any

    @classmethod
    def of(cls, log_probabilities: Any, labels: Any) -> Self:
        """Made where the log-probabilities are, so that of those on a GPU no stack of classes has to leave it.

        Args:
            log_probabilities: float (C, H, W), the logarithm of the network's softmax.
            labels: uint8 (H, W).
        Raises:
            BenchmarkError: the two are of other shapes.
        """
        import torch

        log_p = torch.as_tensor(log_probabilities)
        true = torch.as_tensor(labels, device=log_p.device).long()
        if log_p.ndim != 3 or log_p.shape[1:] != true.shape:
            shapes = f"{tuple(log_p.shape)} and {tuple(true.shape)}"
            raise BenchmarkError(f"Log-probabilities and labels are (C, H, W) and (H, W), not {shapes}.")
        true = true.where(true < len(log_p), 0)
        highest = log_p.max(dim=0)
        squares = (2 * log_p).exp().sum(dim=0)
        return cls(len(log_p), highest.values, highest.indices == true, log_p.gather(0, true[None])[0], squares)

    @property
    def maps(self) -> tuple[Any, Any, Any, Any]:
        """The four."""
        return self.highest, self.right, self.labelled, self.squares

    def map(self, function: Callable[[Any], Any]) -> Self:
        """The same with every map changed by a function."""
        return type(self)(self.outputs, *(function(each) for each in self.maps))


@dataclass(frozen=True)
class CalibrationProtocol(Protocol):
    """Calibration of the shared network on the known pixels of the test images."""

    family: ClassVar = "calibration"
    predictions: ClassVar = True
    headlines: ClassVar[Mapping[str, str]] = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier"}
    of_network: ClassVar = True

    def network_evaluator(self, classes: Sequence[str], label: str) -> CalibrationEvaluator:
        if not classes:
            raise BenchmarkError("The dataset does not label the known classes.")
        return CalibrationEvaluator(self, classes, method=label)


@dataclass(frozen=True)
class ValidationCalibration(CalibrationProtocol):
    """The same on the validation images, which are like those that the network was trained on."""

    validates: ClassVar = True


CALIBRATION_PROTOCOLS = (
    CalibrationProtocol("calibration", 1, "Guo et al., ICML 2017; torchmetrics' default bins"),
    ValidationCalibration("calibration-val", 1, "as calibration, on the validation images"),
)


class CalibrationEvaluator(Evaluator[Measurements]):
    """Streaming calibration of a network.

    Args:
        protocol: names the measurement.
        classes: names of the known classes; label id = position. Further outputs (void) are classes that no pixel has.
        method: named in messages.
    """

    protocol_type = CalibrationProtocol

    def __init__(self, protocol: CalibrationProtocol, classes: Sequence[str], *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self.classes = tuple(classes)
        # Of every image, so that no order of the images moves a last digit: pixels, right ones and the sum of max p in
        # every bin, and in a fourth row the sums of -log p_y and of the squared differences.
        self._sums: dict[str, np.ndarray] = {}
        self._doubt = PooledSketch(1, BUDGET)  # 1 - max p of the wrong pixels ("anomalous") and of the right ones

    def _add(self, view: View, where: str) -> None:
        given = view.confidences
        if given is None:
            raise BenchmarkError(f"{where}: there are no confidences, which calibration needs.")
        labels = to_array(view.labels, "labels", where)
        maps = given.map(lambda each: to_array(each, "confidences", where)).maps
        if given.outputs < len(self.classes) or any(each.shape != labels.shape for each in maps):
            raise BenchmarkError(
                f"{where}: confidences are {maps[0].shape} of {given.outputs} classes; labels are {labels.shape} "
                f"of {len(self.classes)}."
            )
        # The largest of values is NaN where one of them is.
        if np.isnan(maps[0]).any():
            raise BenchmarkError(f"{where}: a log-probability is NaN.")
        known = labels < len(self.classes)
        top, right, of_true, squares = (each[known] for each in maps)
        top, of_true = top.astype(np.float64), of_true.astype(np.float64)
        confidence = np.exp(top)
        # Bins are open to the left, as those of the sources: .2 belongs to (.1333, .2].
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        sums = np.zeros((4, BINS))
        for row, weights in enumerate((None, right.astype(np.float64), confidence)):
            sums[row] = np.bincount(bins, weights, BINS)
        sums[3, 0] = -of_true.sum()
        sums[3, 1] = (squares - 2 * np.exp(of_true) + 1).sum()
        self._sums[view.image] = sums
        doubt = -np.expm1(np.minimum(top, 0.0)).astype(np.float32)
        kinds = np.where(right, np.uint8(0), np.uint8(ANOMALY))
        self._doubt.add(view.image, SortedImage(doubt, kinds, _ALL, where), [(0, 0)])

    def _merge(self, other: Self) -> None:
        self._sums |= other._sums
        self._doubt.merge(other._doubt)

    def measurement(self) -> Measurements:
        """``ece``, ``adaptive_ece``, ``nll`` (in nats), ``brier``, and the ``pixels`` that they rest on."""
        sums = np.sum([self._sums[image] for image in sorted(self._sums)] or [np.zeros((4, BINS))], axis=0)
        pixels = sums[0].sum()
        if not pixels:
            return self.protocol.unmeasured("there is no pixel of a known class")
        extra: dict[str, float | None] = {
            "ece": float(np.abs(sums[1] - sums[2]).sum() / pixels),
            "adaptive_ece": self._adaptive(),
            "nll": float(sums[3, 0] / pixels),
            "brier": float(sums[3, 1] / pixels),
            "pixels": float(pixels),
        }
        return self.protocol.says(len(self._sums), extra)

    def _adaptive(self) -> float:
        """ECE with bins of equally many pixels."""
        keys, pixels, right = [], [], []
        for row, correct in ((-1, 0), (0, 1)):
            for part, weights in self._doubt.parts([row]):
                mass = np.concatenate((weights, part.lengths.astype(np.int64)))
                keys.append(np.concatenate((part.keys, part.runs)))
                pixels.append(mass)
                right.append(mass * correct)
        everything = np.concatenate(keys)
        order = np.argsort(everything, kind="stable")
        starts, _ = runs_of(everything[order])
        distinct = everything[order][starts]
        masses, hits = (np.add.reduceat(np.concatenate(parts)[order], starts) for parts in (pixels, right))
        confidence = 1 - scores_of(distinct).astype(np.float64)
        # A group of equal values belongs to the bin of its first pixel.
        total = int(masses.sum())
        bins = (np.concatenate(([0], masses.cumsum()[:-1])) * BINS) // total
        gaps = np.bincount(bins, hits - masses * confidence, BINS)
        return float(np.abs(gaps).sum() / total)

    def _state(self) -> dict[str, Any]:
        sums = np.stack(list(self._sums.values())) if self._sums else np.zeros((0, 4, BINS))
        return {"names": list(self._sums), "sums": sums, **self._doubt.state()}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._sums = dict(zip(kept.pop("names"), kept.pop("sums"), strict=True))
        self._doubt = PooledSketch.from_state(kept, BUDGET)
