"""Measured records into the results: chosen, held against what is stored beside them, and copied all or none."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import in_use, unfinished
from benchmark.io.jsonfile import to_plain
from benchmark.io.names import file_name
from benchmark.records.audit import contradictions
from benchmark.records.record import Record, read

ABSOLUTE = re.compile(r"(?:^|[\s=:,'\"])((?:/[^/\s]+/|~/|[A-Za-z]:[\\/](?!/))[^\s,'\"]*)")
"""A path that begins at the root of somebody's disk or home."""

ADOPTING, NEW, COMPLETE = "adopting", "new", "complete"
"""Names of the folder of an adoption, of its copies, and of the mark that all of them are there."""


@dataclass(frozen=True)
class Candidate:
    """A record that is to be adopted."""

    record: Record
    folder: Path  # where it and its files lie
    target: Path  # its path in the results
    old: Record | None  # what lies there now, None where that is none

    @property
    def files(self) -> list[str]:
        """Names of the record, its rows and its curves."""
        return [name for name in (self.target.name, self.record.rows, self.record.curves) if name]

    @property
    def name(self) -> str:
        """Dataset, network and method with its seed, as the path of the record has them."""
        return "/".join(self.target.with_suffix("").parts[-3:])


def candidates(runs: Path, results: Path, labels: Collection[str] = ()) -> list[Candidate]:
    """The complete records of a run folder, each read and audited.

    Args:
        runs: the run folder.
        results: where they go.
        labels: of the methods that are wanted, with their options; empty is all of them.
    Raises:
        BenchmarkError: no such record; one that is none, that its files contradict, or that holds an absolute path.
    """
    wanted = {file_name(label): label for label in labels}
    found, seen = [], set()
    for path in sorted((Path(runs) / "records").rglob("*.json")):
        stem = re.sub(r"(\+seed\d+)?(\+first\d+)?$", "", path.stem)
        if wanted and stem not in wanted:
            continue
        record = read(path)
        if path != record.path(runs):
            raise BenchmarkError(f"{path} is the record of {record.path(runs)}; move it there or delete it.")
        if not record.dataset.whole:
            continue
        _check(record, path)
        target = record.path(results)
        found.append(Candidate(record, path.parent, target, _old(target)))
        seen.add(stem)
    if missing := [label for name, label in wanted.items() if name not in seen]:
        raise BenchmarkError(f"{runs} holds no complete record of {' or '.join(missing)}; `run --methods` makes it.")
    if not found:
        raise BenchmarkError(f"{runs} holds no complete record; `python -m benchmark run` makes some.")
    return found


def adopt(chosen: Sequence[Candidate], results: Path) -> None:
    """Copy records with their rows and curves: all of them, or nothing has changed.

    Raises:
        BenchmarkError: the disk is full or the folder cannot be written.
    """
    staged = None
    with _writing(results):
        try:
            results.mkdir(parents=True, exist_ok=True)
            finish(results)
            staged = Path(tempfile.mkdtemp(dir=results, prefix=unfinished(ADOPTING), suffix=".tmp"))
            for each in chosen:
                for name in each.files:
                    new = staged / NEW / each.target.with_name(name).relative_to(results)
                    new.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(each.folder / name, new)
            (staged / COMPLETE).touch()
            _move(staged, results)
        finally:
            if staged:
                shutil.rmtree(staged, ignore_errors=True)


def finish(results: Path) -> int:
    """Finish what a kill interrupted: copies that were complete take their places, others are swept.

    Returns:
        How many adoptions were finished.
    """
    found = 0
    with _writing(results):
        for staged in interrupted(results):
            if (staged / COMPLETE).exists():
                _move(staged, results)
                found += 1
            shutil.rmtree(staged, ignore_errors=True)
    return found


def interrupted(results: Path) -> list[Path]:
    """Folders of adoptions that were killed."""
    return sorted(path for path in Path(results).glob(f".{ADOPTING}.*.tmp") if path.is_dir() and not in_use(path))


@contextmanager
def _writing(results: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise BenchmarkError(
            f"Cannot write into {results} ({reason}); nothing was adopted; free space there and adopt again."
        ) from error


def _move(staged: Path, results: Path) -> None:
    """Put every new file into its place; where one fails, the old ones come back."""
    done: list[tuple[Path, Path]] = []
    try:
        for new in sorted(path for path in (staged / NEW).rglob("*") if path.is_file()):
            name = new.relative_to(staged / NEW)
            place, kept = results / name, staged / "old" / name
            for parent in (place.parent, kept.parent):
                parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                os.replace(place, kept)
            done.append((place, kept))
            os.replace(new, place)
    except BaseException:
        for place, kept in reversed(done):
            if kept.exists():
                os.replace(kept, place)
            else:
                place.unlink(missing_ok=True)
        raise


def _check(record: Record, path: Path) -> None:
    mend = "measure it again with `run --force`"
    if wrong := contradictions(record, path.parent):
        raise BenchmarkError(f"{path} is not adopted: {'; '.join(wrong)}; {mend}.")
    if private := next(_paths(to_plain(record)), None):
        raise BenchmarkError(
            f"{path} is not adopted, since it holds the path {private}, which only your machine has; name the data by "
            f"its path below the data root and {mend}."
        )


def _paths(value: Any) -> Iterator[str]:
    """The absolute paths in a record's texts."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _paths(key)
            yield from _paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, str):
        yield from ABSOLUTE.findall(value)


def _old(target: Path) -> Record | None:
    try:
        return read(target) if target.is_file() else None
    except BenchmarkError:
        return None
