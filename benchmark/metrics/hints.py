"""Advice where numbers look like a common mistake: a sentence each, never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmark.metrics.measurement import Measurement

LOW = 0.35
"""AUROC below which scores look inverted: no better than a coin is .5."""
_PROBABILITIES = (
    "The network's outputs are probabilities (they sum to 1 over the classes) and are taken for logits, to which "
    "methods apply a softmax of their own; return what stands before the network's last softmax."
)


def hints(
    pixels: Mapping[str, int] | None = None,
    auroc: float | None = None,
    aupr: float | None = None,
    constant_aupr: float | None = None,
    probabilities: bool = False,
) -> tuple[str, ...]:
    """What somebody who sees these numbers should look at, most telling first; nothing for what looks as usual.

    Args:
        pixels: numbers of "anomalous", "normal" and "ignored" ones.
        auroc, aupr: of any protocol that ranks pixels, 0..1.
        constant_aupr: AUPR of a constant score under the same protocol.
        probabilities: whether what a network gives for logits are probabilities.
    """
    found = [_labels(**pixels)] if pixels else []
    if auroc is not None and aupr is not None and constant_aupr is not None:
        found.append(_scores(auroc, aupr, constant_aupr))
    if probabilities:
        found.append(_PROBABILITIES)
    return tuple(filter(None, found))


def hints_of(measurements: Mapping[str, Measurement], pixels: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """The same of what a record stores, by its first measurement that ranks pixels."""
    first = next((m for m in measurements.values() if m.auroc is not None), None)
    if first is None:
        return hints(pixels)
    return hints(pixels, first.auroc, first.aupr, first.constant_aupr)


def _labels(anomalous: int, normal: int, ignored: int) -> str:
    if anomalous and normal:
        return ""
    if not (anomalous or normal or ignored):
        return "There is no pixel at all, so nothing was measured; look at what was given."
    if not anomalous and not normal:
        return (
            "Every pixel is labelled 255 (ignore), so nothing was measured; look at the values in the label files: "
            "known classes lie below 254, 254 is the anomaly."
        )
    if not anomalous and ignored:
        share = 100 * ignored / (normal + ignored)
        return (
            f"No pixel is labelled as anomaly, and {share:.2g} % are ignored (255), so nothing was ranked; if 255 "
            f'marks the anomalies in these label files, map it: in dataset.toml 255 = "anomaly", in arrays 254.'
        )
    kind = "anomaly" if not anomalous else "normal"
    return (
        f"No pixel is labelled as {kind}, so nothing was ranked; look at the split and the values in the label files."
    )


def _scores(auroc: float, aupr: float, constant_aupr: float) -> str:
    if auroc == 0.5 and math.isclose(aupr, constant_aupr, rel_tol=1e-9):
        return "All pixels have the same score, so the values are those of a constant; look at what made the scores."
    if auroc < LOW:
        return (
            f"AUROC is {100 * auroc:.1f}, far below the 50 of chance: the scores look inverted. Higher must mean more "
            f"anomalous; a confidence is to be negated."
        )
    return ""
