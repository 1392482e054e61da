"""Every protocol by its name. Each family has a file of its own, which says what its numbers mean."""

from __future__ import annotations

from difflib import get_close_matches

from benchmark.errors import BenchmarkError
from benchmark.metrics.components import COMPONENT_PROTOCOLS
from benchmark.metrics.evaluator import Protocol
from benchmark.metrics.openset import OPEN_SET_PROTOCOLS
from benchmark.metrics.pixel_protocols import PIXEL_PROTOCOLS

_PROTOCOLS: tuple[Protocol, ...] = (*PIXEL_PROTOCOLS, *COMPONENT_PROTOCOLS, *OPEN_SET_PROTOCOLS)
PROTOCOLS: dict[str, Protocol] = {p.name: p for p in _PROTOCOLS}
"""Every protocol by its name."""


def protocol(which: str | Protocol) -> Protocol:
    """Look a protocol up by name; a protocol passes through.

    Raises:
        BenchmarkError: no such name; the sentence suggests one.
    """
    if isinstance(which, Protocol):
        return which
    if which not in PROTOCOLS:
        near = get_close_matches(which, PROTOCOLS, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(PROTOCOLS)}."
        raise BenchmarkError(f"There is no protocol '{which}'{hint}")
    return PROTOCOLS[which]
