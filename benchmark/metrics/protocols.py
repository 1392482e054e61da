"""Every protocol by its name. Each family has a file of its own, which says what its numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from benchmark.errors import BenchmarkError
from benchmark.metrics.calibration import CALIBRATION_PROTOCOLS
from benchmark.metrics.component_ap import COMPONENT_AP_PROTOCOLS
from benchmark.metrics.components import COMPONENT_PROTOCOLS
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol
from benchmark.metrics.fixed_fpr import FIXED_FPR_PROTOCOLS
from benchmark.metrics.openset import OPEN_SET_PROTOCOLS
from benchmark.metrics.operating import OPERATING_PROTOCOLS
from benchmark.metrics.pixel_protocols import PIXEL_PROTOCOLS
from benchmark.metrics.sizes import SIZE_PROTOCOLS

_PROTOCOLS: tuple[Protocol, ...] = (
    *PIXEL_PROTOCOLS,
    *COMPONENT_PROTOCOLS,
    *OPEN_SET_PROTOCOLS,
    *FIXED_FPR_PROTOCOLS,
    *OPERATING_PROTOCOLS,
    *SIZE_PROTOCOLS,
    *COMPONENT_AP_PROTOCOLS,
    *CALIBRATION_PROTOCOLS,
)
PROTOCOLS: dict[str, Protocol] = {p.name: p for p in _PROTOCOLS}
"""Every protocol by its name."""


def network_evaluators(
    names: Iterable[str], classes: Sequence[str], label: str, validation: bool = False
) -> dict[str, Evaluator[Measurements]]:
    """Protocol name -> evaluator, for those that measure the shared network and can be evaluated on this dataset.

    Args:
        names: of protocols.
        classes: names of the known classes; empty where the labels do not tell them apart.
        label: of the network, for messages.
        validation: whether those that do it on validation images are wanted, or the others.
    """
    found = {}
    for chosen in (protocol(name) for name in names):
        if chosen.of_network and chosen.validates == validation:
            with suppress(BenchmarkError):  # why, :func:`network_measurements` says
                found[chosen.name] = chosen.network_evaluator(classes, label)
    return found


def network_measurements(
    names: Iterable[str], evaluators: Mapping[str, Evaluator[Measurements]], validation: bool = False
) -> Measurements:
    """What the evaluators of :func:`network_evaluators` say; where there is none, why."""
    found: Measurements = {}
    for chosen in (protocol(name) for name in names):
        if not chosen.of_network or chosen.validates != validation:
            continue
        if chosen.name in evaluators:
            found |= evaluators[chosen.name].measurement()
        else:
            images = "There are no validation images, or they do" if validation else "The dataset does"
            found |= chosen.unmeasured(f"{images} not label the known classes.")
    return found


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
