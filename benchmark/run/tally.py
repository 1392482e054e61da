"""What a pass over the images has gathered so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmark.errors import BenchmarkError
from benchmark.metrics import FirstPass, SegmentationEvaluator
from benchmark.metrics.evaluator import Evaluator, Measurements
from benchmark.run.journal import Journal

_COUNTS = ("done", "timed", "anomalous", "valid", "ignored")
_NUMBERS = (*_COUNTS, "seconds", "fingerprint", "seen")
_Any = TypeVar("_Any", bound=Evaluator)


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
    network: dict[str, Evaluator[Measurements]] = field(default_factory=dict)  # protocol -> what it says of the network
    records: dict[str, str] = field(default_factory=dict)  # method label -> where its record will be, below the output
    fingerprint: str = ""  # of the images, all of them
    seen: str = ""  # digest of the images evaluated
    kept: int = 0  # images in the state that was written last

    def drop(self, label: str) -> None:
        """Forget a method that has failed: of its last images, it has some and not the others."""
        for part in (self.methods, self.marks, self.records):
            part.pop(label, None)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers for the journal."""
        parts: dict[str, Any] = {f"methods/{label}": each.state() for label, each in self.methods.items()}
        if self.segmentation is not None:
            parts["segmentation"] = self.segmentation.state()
        parts |= {f"network/{name}": each.state() for name, each in self.network.items()}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {"numbers": numbers, "marks": self.marks, "records": self.records, **parts}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`, into a tally that has seen no image.

        Raises:
            BenchmarkError: it is no state of these methods, or its parts contradict each other; then the tally is
                unchanged.
        """
        try:
            numbers = {name: _checked(name, state["numbers"][name]) for name in _NUMBERS}
            methods = {label: _restored(each, state[f"methods/{label}"]) for label, each in self.methods.items()}
            segmentation = _restored(self.segmentation, state["segmentation"]) if self.segmentation else None
            network = {name: _restored(each, state[f"network/{name}"]) for name, each in self.network.items()}
        except Exception as error:  # what is not as state() makes it fails in many ways
            raise BenchmarkError(f"{self.journal.path} is not a whole state of these methods.") from error
        parts = [*methods.values(), *network.values(), *([segmentation] if segmentation else [])]
        if any(part.images != numbers["done"] for part in parts) or numbers["timed"] > numbers["done"]:
            raise BenchmarkError(f"{self.journal.path} contradicts itself.")
        for name, value in numbers.items():
            setattr(self, name, value)
        self.kept = self.done
        self.methods, self.segmentation, self.network = methods, segmentation, network


def _restored(empty: _Any, state: dict[str, Any]) -> _Any:
    """The evaluator of a state, which must have been made like an empty one."""
    made = type(empty).from_state(state)
    made.merge(empty)  # refuses another configuration
    return made


def _checked(name: str, value: Any) -> Any:
    """A number of a state.

    Raises:
        ValueError: it is none.
    """
    if name in _COUNTS:
        valid = type(value) is int and value >= 0
    elif name == "seconds":
        valid = all(type(v) is float and math.isfinite(v) and v >= 0 for v in value.values())
    else:
        valid = isinstance(value, str)
    if not valid:
        raise ValueError(name)
    return value
