"""Which values occur in many label files: read once, kept between runs, read again where a file changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ._files import read_labels

_VERSION = 1
_BLOCK = 500
"""Files between two writings of the index: what a kill costs, some ten seconds."""
_known: dict[Path, dict[str, list[Any]]] = {}
"""Indices of this process, by their file: for where nothing can be written, and for the other splits."""


def values_in(masks: Mapping[str, Path], home: Path, say: str) -> dict[str, frozenset[int]]:
    """The values that occur in each label file.

    They are kept in a small JSON file per `home` beneath ``$XDG_CACHE_HOME/anomaly-benchmark`` (default ``~/.cache``),
    never in the data root. An entry holds as long as its file's size and modification time do. An index that is
    damaged is made again; one that cannot be written serves this process alone.

    Args:
        masks: name -> label file; names are unique within `home`.
        home: the folder of the label files, by which the index is found again.
        say: words before the progress bar, which only a terminal shows.
    Raises:
        BenchmarkError: a file is missing or damaged; what was read before is kept.
    """
    place = index_file(home)
    index = _known.setdefault(place, {})
    if not index:
        index.update(_read(place))
    stamps = {name: _stamp(path) for name, path in masks.items()}
    missing = [name for name in masks if index.get(name, [])[:2] != stamps[name]]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, _bar(len(missing), say) as bar:
        for start in range(0, len(missing), _BLOCK):
            block = missing[start : start + _BLOCK]
            try:
                for name, values in zip(block, pool.map(_values, [masks[n] for n in block])):
                    index[name] = [*stamps[name], values]
                    bar.update()
            finally:
                _write(place, index)
    return {name: frozenset(index[name][2]) for name in masks}


def index_file(home: Path) -> Path:
    """Where the index of a folder is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    key = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
    return cache / "anomaly-benchmark" / f"masks-{key}.json"


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _values(path: Path) -> list[int]:
    return np.flatnonzero(np.bincount(read_labels(path).ravel(), minlength=256)).tolist()


def _bar(total: int, say: str) -> tqdm:
    return tqdm(total=total, desc=say, unit="mask", leave=False, disable=None if total else True)


def _read(place: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        entries = content["masks"] if content["version"] == _VERSION else {}
        whole = {name: entry for name, entry in entries.items() if len(entry) == 3}
        return {name: [int(size), int(time), [int(v) for v in values]] for name, (size, time, values) in whole.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(place: Path, index: Mapping[str, list[Any]]) -> None:
    text = json.dumps({"version": _VERSION, "masks": index})
    part = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(place)
    except OSError:
        with suppress(OSError):
            part.unlink()
