"""Who measured a number, with what and when, so that it can be refuted; nothing that names a person or a machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmark import HOME
from benchmark.io.jsonfile import OMITTED
from benchmark.values import Amount

_CODE = ("benchmark", "methods", "datasets", "pyproject.toml")
_PACKAGES = ("torch", "torchvision", "timm", "numpy")
BUSY = 1.25
"""Processes per processor above which some of them wait."""


@dataclass(frozen=True)
class Provenance:
    """Where a measurement comes from."""

    commit: str | None = None  # git commit of this project; null where its folder is not a repository
    dirty: bool | None = None  # whether the code (not the results) differed from that commit; null without git
    versions: dict[str, str] = field(default_factory=dict)  # package -> version; "python" and "benchmark" among them
    device: str = ""  # accelerator as its driver calls it, or "cpu"
    cpu: str = ""  # processor model
    precision: str = "fp32"  # arithmetic of the forward passes: "fp32", "tf32" or "bf16" (autocast)
    threads: int = 1  # CPU threads of torch
    date: str = ""  # UTC, ISO 8601, seconds
    command: str = ""  # command line as typed; absolute paths are cut to ".../name"
    load: Amount | None = None  # processes that ran or waited to per processor of the machine, mean of the last
    # minute; null where the system does not say or an older record does not state it
    processes: int = field(default=0, metadata=OMITTED)  # that shared the work; left out where there was one
    compiled: bool = field(default=False, metadata=OMITTED)  # whether torch.compile took part in a training

    @property
    def accelerated(self) -> bool:
        """Whether it was measured on something else than the processor."""
        return self.device not in ("", "cpu")

    @property
    def hardware(self) -> str:
        """The accelerator, or the processor where there is none, as its maker calls it."""
        return self.device if self.accelerated else self.cpu


def device_stem(hardware: str) -> str:
    """Stem of a machine's files: ``nvidia-h100-80gb-hbm3`` of "NVIDIA H100 80GB HBM3"."""
    return re.sub("[^a-z0-9]+", "-", hardware.lower()).strip("-") or "cpu"


def gather(device: str = "cpu", precision: str = "fp32", compiled: bool = False) -> Provenance:
    """The provenance of this process.

    Args:
        device: torch device the networks run on ("cpu", "cuda", "cuda:1").
        precision: "fp32", "tf32" or "bf16".
        compiled: whether a compiled network took part.
    """
    import torch

    from benchmark.distributed import world

    commit, dirty = git_state(HOME)
    return Provenance(
        commit=commit,
        dirty=dirty,
        versions=versions(),
        device=torch.cuda.get_device_name(device) if str(device).startswith("cuda") else str(device),
        cpu=cpu_model(),
        precision=precision,
        threads=torch.get_num_threads(),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        load=machine_load(),
        processes=world() if world() > 1 else 0,
        compiled=compiled,
        command=command_line(sys.argv),
    )


def machine_load() -> float | None:
    """Processes that ran or waited to per processor of the machine, mean of the last minute; None where unknown."""
    try:
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    except (AttributeError, OSError):
        return None


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the repository whose top is `folder`, and whether its code has uncommitted changes.

    Results do not count as code: a run that writes its second record is as clean as the one that wrote the first.
    (None, None) without git, without a repository, or where `folder` merely lies inside somebody else's.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or not Path(top).exists() or not Path(top).samefile(folder):
        return None, None
    changes = _git(folder, "status", "--porcelain", "--", *_CODE)
    return _git(folder, "rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks "git status" does not rewrite the index under a user's own git command.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python, of this project and of the packages that can change a number."""
    found = {"python": platform.python_version(), "benchmark": _version("anomaly-benchmark")}
    for package in _PACKAGES:
        # A loaded module knows its build ("+cu128"), the package's metadata may not.
        found[package] = str(getattr(sys.modules.get(package), "__version__", None) or _version(package))
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "source tree" if package == "anomaly-benchmark" else "not installed"


def cpu_model() -> str:
    """Processor model in the maker's words, or at least the instruction set."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine() or "unknown"


def command_line(arguments: Sequence[str]) -> str:
    """The command as it would be typed again; ``/home/somebody/data`` becomes ``.../data``."""
    program = Path(arguments[0]).name if arguments else ""
    start = ["python", "-m", "benchmark"] if program == "__main__.py" else [program]
    return shlex.join([*start, *(_without_home(a) for a in arguments[1:])])


def _without_home(argument: str) -> str:
    def shorten(match: re.Match[str]) -> str:
        name = re.split(r"[/\\]", match[2].rstrip("/\\"))[-1]
        return f"{match[1]}.../{name}"

    return re.sub(r"(^|[=,:])((?:/|~|[A-Za-z]:[\\/])[^=,:]*)", shorten, argument)
