"""Types what the pages say, in an empty folder, as somebody who has installed the wheel."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.files import noise, write

HOME = Path(__file__).resolve().parents[2]


def text_of(page: str) -> str:
    """The text of a page of the project."""
    return (HOME / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.M | re.S)


def commands(page: str) -> set[str]:
    """What a page tells the reader to type, each on one line."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    typed = {part for line in lines for part in re.sub(r"\s# .*", "", line).split(" && ")}
    return {" ".join(part.split()) for part in typed | set(re.findall(r"(?<!`)`([^`]+)`(?!`)", text_of(page)))}


@dataclass
class Walk:
    """A folder, and a shell in it.

    Args:
        folder: where the commands are typed; nothing is in it at first.
        programs: folder with the installed programs, which come before all others.
    """

    folder: Path
    programs: Path
    err: str = ""
    """What the last command said on standard error."""

    def type(self, page: str, command: str, *more: str, instead: tuple[str, str] = ("", "")) -> str:
        """What a command of a page prints on standard output; it must stand there, and succeed.

        Args:
            page: on which it stands.
            command: as it stands there, on one line.
            more: words behind it, which make it quick.
            instead: a part of the command, and what the reader puts in its place.
        """
        assert command in commands(page), f"{page} does not tell anybody to type: {command}"
        done = self.run(f"{command.replace(*instead) if instead[0] else command} {shlex.join(more)}")
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.err = done.stderr
        return done.stdout

    def run(self, line: str) -> subprocess.CompletedProcess:
        """Run a line in the shell, however it ends."""
        return subprocess.run(
            line, shell=True, cwd=self.folder, env=self._variables(), capture_output=True, text=True, timeout=300
        )

    def json(self, page: str, command: str, *more: str, instead: tuple[str, str] = ("", "")) -> Any:
        """As `type`, of a command whose standard output is one JSON object."""
        return json.loads(self.type(page, command, *more, instead=instead))

    def copy(self, page: str, language: str) -> list[Path]:
        """Save the examples of a page that begin with the name of a file."""
        named = [(re.match(r"# (\S+)\n", block), block) for block in blocks(page, language)]
        made = {self.folder / name[1]: block for name, block in named if name}
        for path, block in made.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)
        return list(made)

    def harbour(self) -> tuple[str, str]:
        """Lay out the dataset ``harbour_folder`` of the datasets' page, of short trainings, and say how it is named."""
        self.copy("datasets/README.md", "toml")
        home = self.folder / "harbour_folder"
        declared = (home / "dataset.toml").read_text()
        assert declared.count("epochs = 40") == 1
        (home / "dataset.toml").write_text(declared.replace("epochs = 40", "epochs = 1"))
        for split in ("train", "val", "test"):
            values = np.array((0, 1, 2, 9) if split == "test" else (0, 1, 2), np.uint8)
            for n in range(4):
                labels = values[np.arange(48 * 64).reshape(48, 64) // 7 % len(values)]
                image = (60 * labels[..., None].clip(0, 3) + noise(n, size=(48, 64)) // 4).astype(np.uint8)
                write(home / split / "images" / f"{n}.png", image)
                write(home / split / "labels" / f"{n}.png", labels)
        return ("--dataset", "folder:path=harbour_folder")

    def photos(self, folder: str, count: int = 2) -> None:
        """Photos of 64x48 pixels."""
        for n in range(count):
            write(self.folder / folder / f"{n}.jpg", noise(n, size=(48, 64)))

    def _variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANOMALY_", "PYTHONPATH", "PYTEST_"))}
        alone = {"PET_STANDALONE": "1"}  # torchrun takes a free port, and not always the same
        return {**kept, **alone, "OMP_NUM_THREADS": "1", "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}
