"""Environment variables that numpy, torch and OpenCV read once, when they are first imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from importlib.metadata import version
from pathlib import Path

ZEN4 = (range(0x10, 0x20), range(0x60, 0x80), range(0xA0, 0xB0))
"""Models of AMD's family 25 that are Zen 4; the others are Zen 3, which has no AVX-512."""


def prepare(environment: MutableMapping[str, str] = os.environ, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Set what this machine needs; what the user has set stays. Call it before numpy and torch are imported.

    Args:
        environment: where the variables are set.
        cpuinfo: Linux' description of the processor; elsewhere nothing is known of it.
    """
    # OpenMP threads that wait by spinning make a training beside any other busy process ten times slower; a short spin
    # costs next to nothing on an idle machine.
    environment.setdefault("GOMP_SPINCOUNT", "1000")
    # A video that OpenCV cannot open is named in one sentence; FFmpeg and OpenCV would print more beside it.
    environment.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    environment.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    # numpy's AVX-512 sort stores with an instruction that Zen 4 has only in microcode: 921,600 scores take 29 ms, with
    # the AVX2 sort 5 ms (`bench metrics`).
    if _is_zen4(cpuinfo):
        environment.setdefault("NPY_DISABLE_CPU_FEATURES", " ".join(_avx512_of_numpy()))


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank of this process, and how many ``torchrun`` has started; (0, 1) without it."""
    rank, processes = (environment.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return (int(rank), int(processes)) if rank.isdecimal() and processes.isdecimal() else (0, 1)


def _is_zen4(cpuinfo: Path) -> bool:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return False
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    family, model = found.get("cpu family", ""), found.get("model", "")
    return (
        found.get("vendor_id") == "AuthenticAMD"
        and family == "25"
        and model.isdecimal()
        and any(int(model) in models for models in ZEN4)
    )


def _avx512_of_numpy() -> tuple[str, str]:
    """What the installed numpy calls the instructions; it warns of names that it does not know."""
    major, minor = (int(part) for part in version("numpy").split(".")[:2])
    return ("X86_V4" if (major, minor) >= (2, 4) else "AVX512_SKX"), "AVX512_ICL"
