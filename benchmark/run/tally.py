"""What a pass over the images has gathered so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmark.metrics import FirstPass, SegmentationEvaluator
from benchmark.run.journal import Journal


@dataclass
class Tally:
    """What the pass has gathered so far; all of it survives a kill."""

    methods: dict[str, FirstPass]  # method label -> what is measured of it
    segmentation: SegmentationEvaluator | None  # of the shared network; None without labels of the known classes
    batch_size: int  # images per forward
    journal: Journal  # holds the state until the records are written
    done: int = 0  # images evaluated
    timed: int = 0  # images whose cost was measured
    seconds: dict[str, float] = field(default_factory=dict)  # "method label" or "network key" -> seconds
    anomalous: int = 0  # pixels
    valid: int = 0  # pixels that are not ignored
    ignored: int = 0  # pixels that are
    marks: dict[str, str] = field(default_factory=dict)  # method label -> what tells its states from other setups'

    def drop(self, label: str) -> None:
        """Forget a method that has failed: of its last images, it has some and not the others."""
        self.methods.pop(label, None)
        self.marks.pop(label, None)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers for the journal."""
        numbers = {k: getattr(self, k) for k in ("done", "timed", "seconds", "anomalous", "valid", "ignored")}
        parts: dict[str, Any] = {f"methods/{label}": each.state() for label, each in self.methods.items()}
        if self.segmentation is not None:
            parts["segmentation"] = self.segmentation.state()
        return {"numbers": numbers, "marks": self.marks, **parts}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        for key, value in state["numbers"].items():
            setattr(self, key, value)
        self.methods = {label: FirstPass.from_state(state[f"methods/{label}"]) for label in self.methods}
        if self.segmentation is not None:
            self.segmentation = SegmentationEvaluator.from_state(state["segmentation"])
