"""Which pixels are normal, under several protocols at once.

Protocols differ in what they leave out: void, a class. Pixels are divided into disjoint strata by label, each stratum
is sorted once, and the negatives of a protocol are a union of strata, whose counts simply add. One sort therefore
serves every protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ANOMALY, IGNORE = 254, 255  # those of benchmark.data, repeated because that module imports torch


@dataclass(frozen=True)
class Strata:
    """Division of the labels other than 254.

    Attributes:
        special: label ids that some set leaves out, one stratum each, after stratum 0 with all other labels.
        members: bool (sets, strata): the strata that make up the negatives of each set.
    """

    special: tuple[int, ...]
    members: np.ndarray

    @classmethod
    def of(cls, ignored: Sequence[tuple[int, ...]]) -> Strata:
        """The division that serves several sets of ignored labels."""
        special = tuple(sorted({label for labels in ignored for label in labels}))
        members = np.ones((len(ignored), 1 + len(special)), bool)
        for row, labels in enumerate(ignored):
            for column, label in enumerate(special, start=1):
                members[row, column] = label not in labels
        return cls(special, members)

    @property
    def used(self) -> tuple[int, ...]:
        """The strata that at least one set needs."""
        return tuple(int(i) for i in np.flatnonzero(self.members.any(0)))
