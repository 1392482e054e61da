"""What a pass over the images has gathered so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmark.data import chained_digest
from benchmark.errors import BenchmarkError
from benchmark.metrics import FirstPass, SegmentationEvaluator
from benchmark.metrics.evaluator import Evaluator, Measurements
from benchmark.run.journal import Journal

COUNTS = ("done", "timed", "anomalous", "valid", "ignored")
_NUMBERS = (*COUNTS, "seconds", "fingerprint", "seen")
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
    digests: list[str] | None = None  # of a part's images in their order, which are chained later; None chains at once
    dropped: dict[str, int] = field(default_factory=dict)  # method label -> images of the part before it failed

    def evaluators(self) -> dict[str, Evaluator[Any]]:
        """All that see the images, by name."""
        found: dict[str, Evaluator[Any]] = {f"methods/{label}": each for label, each in self.methods.items()}
        found |= {f"network/{name}": each for name, each in self.network.items()}
        return found | ({"segmentation": self.segmentation} if self.segmentation is not None else {})

    def part(self) -> Tally:
        """A tally for some of the images from here on, to be added to this one."""
        return Tally(
            methods={label: each.empty() for label, each in self.methods.items()},
            segmentation=None if self.segmentation is None else self.segmentation.empty(),
            batch_size=self.batch_size,
            journal=self.journal,
            network={name: each.empty() for name, each in self.network.items()},
            done=self.done,
            digests=[],
        )

    def see(self, digest: str) -> None:
        """Take note of the digest of an image."""
        if self.digests is None:
            self.seen = chained_digest(self.seen, digest)
        else:
            self.digests.append(digest)

    def drop(self, label: str) -> None:
        """Forget a method that has failed: of its last images, it has some and not the others."""
        self.dropped.setdefault(label, len(self.digests or ()))
        for part in (self.methods, self.marks, self.records):
            part.pop(label, None)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers for the journal."""
        parts = {name: each.state() for name, each in self.evaluators().items()}
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
    if name in COUNTS:
        valid = type(value) is int and value >= 0
    elif name == "seconds":
        valid = all(type(v) is float and math.isfinite(v) and v >= 0 for v in value.values())
    else:
        valid = isinstance(value, str)
    if not valid:
        raise ValueError(name)
    return value
