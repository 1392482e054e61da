"""What a pass over the images has gathered so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from benchmark.metrics import PixelEvaluator, PixelProtocol, SegmentationEvaluator
from benchmark.run.journal import Journal


@dataclass
class Tally:
    """What the pass has gathered so far; all of it survives a kill."""

    pixels: dict[str, PixelEvaluator]  # method label -> its metrics
    segmentation: SegmentationEvaluator | None
    batch_size: int  # images per forward
    journal: Journal  # holds the state until the records are written
    done: int = 0  # images evaluated
    timed: int = 0  # images whose cost was measured
    seconds: dict[str, float] = field(default_factory=dict)  # "method label" or "network key" -> seconds
    anomalous: int = 0  # pixels
    valid: int = 0  # pixels that are not void
    ignored: int = 0  # pixels that are
    calibration: tuple[PixelProtocol, ...] = ()  # evaluated per fold, for thresholds of a second pass
    folds: dict[str, dict[str, PixelEvaluator]] = field(default_factory=dict)  # method label -> fold -> calibration
    marks: dict[str, str] = field(default_factory=dict)  # method label -> what tells its states from another setting's

    def update(self, label: str, image_id: str, scores: Tensor, labels: Tensor, prediction: Tensor | None) -> None:
        """Add an image of a method."""
        pixels = self.pixels[label]
        pixels.update(image_id, scores, labels, prediction)
        if self.calibration:
            folds, fold = self.folds.setdefault(label, {}), fold_of(image_id)
            if fold not in folds:
                folds[fold] = PixelEvaluator(self.calibration, classes=pixels.classes, method=label)
            folds[fold].update(image_id, scores, labels)

    def drop(self, label: str) -> None:
        """Forget a method that has failed: of its last images, it has some and not the others."""
        for part in (self.pixels, self.folds, self.marks):
            part.pop(label, None)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers for the journal."""
        numbers = {k: getattr(self, k) for k in ("done", "timed", "seconds", "anomalous", "valid", "ignored")}
        parts: dict[str, Any] = {f"pixels/{label}": e.state() for label, e in self.pixels.items()}
        for label, folds in self.folds.items():
            parts |= {f"folds/{label}/{fold}": e.state() for fold, e in folds.items()}
        if self.segmentation is not None:
            parts["segmentation"] = self.segmentation.state()
        return {"numbers": numbers, "marks": self.marks, **parts}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        for key, value in state["numbers"].items():
            setattr(self, key, value)
        self.pixels = {label: PixelEvaluator.from_state(state[f"pixels/{label}"]) for label in self.pixels}
        for part in (key for key in state if key.startswith("folds/")):
            label, _, fold = part.removeprefix("folds/").rpartition("/")
            self.folds.setdefault(label, {})[fold] = PixelEvaluator.from_state(state[part])
        if self.segmentation is not None:
            self.segmentation = SegmentationEvaluator.from_state(state["segmentation"])


def fold_of(image_id: str) -> str:
    """The part of a dataset (in StreetHazards the town) that an image belongs to: "t5" of "t5/12"."""
    return image_id.rpartition("/")[0].partition("/")[0]
