"""A tiny dataset and a method in files of their own, as given with ``--plugin``, and a way to run commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from benchmark.cli import main as cli
from benchmark.registry import BROKEN, DATASETS, METHODS, NETWORKS

_WITH_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=_WITH_CUDA)]
"""Where contracts are tried: on a GPU, too, where there is one."""

# Four images of 64x48 pixels; a file DIR/damaged holds the position of a test image that cannot be read.
TOWN = """
from dataclasses import replace
from benchmark.run.contract import Toy
from benchmark.errors import BenchmarkError

class Town(Toy):
    card = replace(Toy.card, title="Town", licence="none", citation="none")
    policy = replace(
        Toy.policy,
        recipes={
            task: {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2}
            for task in ("segmentation", "distillation", "sum")
        },
    )

    def __init__(self, split, root, edition=1):
        super().__init__(split, root)
        self.edition = edition

    def __getitem__(self, index):
        mark = self.root / "damaged"
        if self.split == "test" and mark.exists() and index == int(mark.read_text()):
            raise BenchmarkError(f"{self.root}/town/{index}.png is truncated; fetch it again.")
        return super().__getitem__(index)

    def fingerprint(self):
        mark = self.root / "edition"
        return super().fingerprint() + (mark.read_text() if mark.exists() else "")
"""

METHOD = """
import torch
from benchmark.method import Method

class Plain(Method):
    title = "Plain"

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = gain

    def score(self, batch, networks):
        return -self.gain * networks["base"](batch).logits().amax(dim=1)
"""
"""The least that a method must be."""


FAILING = """
import pathlib
import torch
from benchmark.method import Method

class Failing(Method):
    def __init__(self, how: str = "hole", at: str = "toy/2"):
        super().__init__()
        self.how, self.at = how, at

    def score(self, batch, networks):
        scores = -networks["base"](batch).logits().amax(dim=1)
        if self.at not in batch.ids:
            return scores
        if self.how == "raise":
            raise RuntimeError("the prototypes are gone")
        if self.how == "interrupt":
            if not pathlib.Path("mended").exists():
                raise KeyboardInterrupt
            return scores
        scores[:, 5, 7] = float("nan")
        return {"hole": scores, "shape": scores[:, :-1], "type": scores.numpy()}[self.how]
"""
"""Fails at one image, in one of several ways; ``interrupt`` until there is a file "mended"."""

NUMBERED = """
import torch
from benchmark.method import Method

class Numbered(Method):
    def score(self, batch, networks):
        ramp = torch.linspace(0, 1, 64).expand(len(batch), 48, 64)
        return ramp + torch.tensor([10.0 * int(i.rpartition("/")[2]) for i in batch.ids]).view(-1, 1, 1)
"""
"""The scores of image n are n * 10 .. n * 10 + 1."""


@contextmanager
def fresh_registries():
    """Inside, plugins may be registered; afterwards the registries are what they were."""
    kept = [(r, r._sources and dict(r._sources), dict(r._loaded)) for r in (METHODS, DATASETS, NETWORKS)]
    modules, broken = set(sys.modules), dict(BROKEN)
    try:
        yield
    finally:
        BROKEN.clear()
        BROKEN.update(broken)
        for registry, sources, loaded in kept:
            registry._sources, registry._loaded = sources, loaded
        for name in set(sys.modules) - modules:
            if name.startswith("plugin_"):
                del sys.modules[name]


_RETURNED: dict[Path, Any] = {}


@dataclasses.dataclass
class Bench:
    """A folder with plugins, data and runs, and the command line in it.

    Args:
        folder: empty one.
        capsys: pytest's, to read what was printed.
        kept: folder of this process for what :meth:`once` makes.
    """

    folder: Path
    capsys: object
    kept: Path
    plugins: list[Path] = dataclasses.field(default_factory=list)
    out: str = ""
    err: str = ""
    device: str = "cpu"
    report: bool = False
    """Whether ``run`` leaves its page behind, which takes as long as a small run."""

    def __post_init__(self) -> None:
        self.data, self.runs = self.folder / "data", self.folder / "runs"
        self.data.mkdir(parents=True, exist_ok=True)
        self.plugin("town", TOWN)

    def plugin(self, name: str, text: str) -> Path:
        """Write a plugin file that every command is given."""
        path = self.folder / f"{name}.py"
        path.write_text(dedent(text))
        if path not in self.plugins:
            self.plugins.append(path)
        return path

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` leaves in the empty folder, and what it returns, made for the first test of a process that asks.

        Args:
            name: what is made; every later test that says it gets a copy of that folder.
            make: runs commands.
        """
        place = self.kept / name
        if place.exists():
            shutil.copytree(place, self.folder, dirs_exist_ok=True)
        else:
            _RETURNED[place] = make()
            shutil.copytree(self.folder, place)
        return _RETURNED[place]

    def arguments(self, verb: str, *rest: str) -> list[str]:
        """A command line with all plugins, on the town for verbs that take a dataset."""
        plugins = [part for path in self.plugins for part in ("--plugin", str(path))]
        where = []
        if verb in ("run", "train", "retime", "infer", "show"):
            where = ["--dataset", "town", "--data", str(self.data), "--out", str(self.runs), "--quiet"]
            where += ["--device", self.device, *(["--batch-size", "1"] if verb in ("run", "retime", "infer") else [])]
        if verb == "run" and not self.report:
            where.append("--no-report")
        kind, rest = (rest[:1], rest[1:]) if verb in ("bench", "weights") else ((), rest)
        return [verb, *kind, *plugins, *where, *map(str, rest)]

    def __call__(self, verb: str, *rest: str) -> int:
        """Run a command as a new process would, and keep what it printed in `out` and `err`."""
        return self.type(*self.arguments(verb, *rest))

    def type(self, *line: str) -> int:
        """As the call, of a whole command line with nothing added."""
        self.capsys.readouterr()
        try:
            with fresh_registries():
                return cli.main(list(line))
        finally:
            self.out, self.err = self.capsys.readouterr()

    def record(self, label: str, network: str = "pspnet-small", dataset: str = "town") -> dict:
        """The stored record of a method."""
        return json.loads((self.runs / "records" / dataset / network / f"{label}.json").read_text())

    def records(self) -> set[str]:
        """Names of the stored records."""
        return {path.stem for path in (self.runs / "records").rglob("*.json")}

    def rows(self, label: str) -> bytes:
        """The stored rows per image of a method, unpacked."""
        import gzip

        (path,) = (self.runs / "records").rglob(f"{label}.rows.csv.gz")
        return gzip.decompress(path.read_bytes())


def measured(record: dict) -> dict:
    """The part of a record that must not depend on how the run went."""
    return {key: record[key] for key in ("metrics", "segmentation", "dataset")}
