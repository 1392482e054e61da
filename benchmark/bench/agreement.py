"""Whether every method gives on a GPU what it gives on the CPU: contracts, and scores of the same fit side by side."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import PRECISIONS
from benchmark.records.device import DeviceRow, Gap
from benchmark.registry import METHODS
from benchmark.run.contract import (
    TOLERANCE,
    check_method,
    prepared,
    rehearsal,
    scores_of,
    toy_batch,
    toy_workshop,
    trial_call,
)

HEADS = ("Method", "contract", "precision", "largest difference", "of the range", "rank correlation", "AUROC")


def bench_agreement(
    methods: Sequence[str],
    device: str = "cuda",
    precisions: Sequence[str] = PRECISIONS,
    say: Callable[[str], None] = print,
    deadline: float = math.inf,
) -> list[DeviceRow]:
    """Try methods on a device: their contract there in float32, then a fit made on the CPU in each precision.

    Args:
        methods: names with options; "all" is every registered one.
        device: to compare with the CPU.
        precisions: of the device; the CPU computes in float32.
        say: prints a line.
        deadline: time on :func:`time.monotonic` from which no method is begun; those that are left have no row.
    """
    rows = []
    for call in methods:
        if time.monotonic() > deadline:
            break
        row = DeviceRow(trial_call(call), tolerance=TOLERANCE)
        try:
            row.broken = [f"{f.clause}: {f.wrong}" for f in check_method(row.call, device) if f.wrong]
        except BaseException as error:  # whatever a plugin raises
            row.broken = [in_words(error)]
        _compare(row, device, precisions)
        rows.append(row)
        problems = [*row.broken, *(f"{precision}: {error}" for precision, error in row.errors.items())]
        say(f"{row.call}: {'; '.join(problems) or 'ok'}")
    return rows


def _compare(row: DeviceRow, device: str, precisions: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        method = METHODS.create(row.call)
        tasks, arch = tuple(method.recipes), rehearsal(method)
        workshop = toy_workshop(Path(folder), tasks, arch=arch)
        entry = prepared(workshop, METHODS.create(row.call), untrained=True)
        if entry.error:
            row.errors["cpu"] = entry.error
            return
        batch = toy_batch(workshop)
        expected = scores_of(workshop, entry, batch)
        for precision in precisions:
            try:
                other = toy_workshop(Path(folder), tasks, device, precision, arch)
                entry = prepared(other, METHODS.create(row.call))
                if entry.error:
                    raise BenchmarkError(entry.error)
                row.gaps[precision] = gap(expected, scores_of(other, entry, toy_batch(other)), batch.labels)
            except BaseException as error:  # whatever a plugin or the device raises
                row.errors[precision] = in_words(error)


def gap(expected: torch.Tensor, found: torch.Tensor, labels: torch.Tensor) -> Gap:
    """How far scores are from expected ones; labels tell anomalies from the rest.

    Raises:
        BenchmarkError: scores that are NaN.
    """
    from scipy.stats import rankdata

    known = (labels != IGNORE).numpy()
    a, b = (scores.cpu().double().numpy()[known] for scores in (expected, found))
    if np.isnan(b).any():
        raise BenchmarkError("Some scores are NaN.")
    ranks = [rankdata(scores) for scores in (a, b)]
    anomaly = (labels == ANOMALY).numpy()[known]
    count = int(anomaly.sum())

    def auroc(ranked: np.ndarray) -> float:
        return (ranked[anomaly].sum() - count * (count + 1) / 2) / (count * (len(ranked) - count))

    absolute = float(np.abs(a - b).max())
    return Gap(
        absolute=absolute,
        relative=absolute / max(float(a.max() - a.min()), 1e-12),
        rank=float(np.corrcoef(*ranks)[0, 1]),
        auroc=100 * (auroc(ranks[1]) - auroc(ranks[0])),
    )


def terminal(rows: Sequence[DeviceRow], machine: str) -> str:
    """The table, and what it says."""
    from tabulate import tabulate

    lines = []
    for row in rows:
        name, contract = row.call, f"{len(row.broken)} broken" if row.broken else "ok"
        for precision, found in row.gaps.items():
            numbers = (f"{found.absolute:.1e}", f"{found.relative:.1e}", f"{found.rank:.6f}", f"{found.auroc:+.3f}")
            lines.append([name, contract, precision, *numbers])
            name = contract = ""
        for precision, error in row.errors.items():
            lines.append([name, contract, precision, error, "", "", ""])
            name = contract = ""
    failed = [row.call for row in rows if row.failed]
    return (
        f"{tabulate(lines, HEADS, disable_numparse=True)}\n\n"
        f"{machine} beside the CPU, torch {torch.__version__}; toy images, untrained networks, the same fit; AUROC: "
        f"difference in points. Float32 must agree to {TOLERANCE:g} of the range of the scores: "
        f"{'it does not, or something broke: ' + ', '.join(failed) if failed else 'it does, and nothing broke'}."
    )
