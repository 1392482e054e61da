"""The state of an evaluation that is under way, so that a kill loses little."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.io.atomic import replacing
from benchmark.io.jsonfile import loads

FOLDER = "partial"
"""Where the states of a run folder lie."""
_SEAL = "seal|"


class Journal:
    """One file with nested plain values and arrays, replaced as a whole.

    Args:
        path: of the file; its name should tell apart what must not be continued by something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state.

        Args:
            state: part -> {name -> array} (an evaluator's state) or plain JSON values.
        Raises:
            BenchmarkError: the disk is full or the folder cannot be written.
        """
        arrays = {}
        for part, value in state.items():
            if all(isinstance(v, np.ndarray) for v in value.values()):
                arrays.update({f"{part}|{name}": array for name, array in value.items()})
            else:
                arrays[f"{part}|"] = np.array(json.dumps(value))
        arrays[_SEAL] = np.array(_seal(arrays))
        with replacing(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    def read(self, only: str = "") -> dict[str, Any] | None:
        """The last state, None where there is none or where it is not as it was written.

        Args:
            only: a part; the others are then left out, and not read either.
        """
        if not self.path.is_file():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files if not only or key.rpartition("|")[0] == only}
            if not only and str(arrays.pop(_SEAL)) != _seal(arrays):
                return None
            state: dict[str, Any] = {}
            for key, array in arrays.items():
                part, _, name = key.rpartition("|")
                if name:
                    state.setdefault(part, {})[name] = array
                else:
                    state[part] = loads(str(array))
        except Exception:  # a damaged archive fails in many ways
            return None
        return state

    def delete(self) -> None:
        """Forget the state: the evaluation is complete."""
        with suppress(IsADirectoryError, PermissionError):  # not ours; who writes there next says so
            self.path.unlink(missing_ok=True)


def _seal(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of all that a state holds."""
    found = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        found.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes() if array.dtype.kind == "U" else array.view(np.uint8).data)
    return found.hexdigest()


def kept_states(out: Path) -> list[tuple[Path, dict[str, dict[str, Any]] | None]]:
    """Every state of an evaluation in a run folder with what it says of itself; None where it cannot be read."""
    return [(path, _header(Journal(path))) for path in sorted((out / FOLDER).glob("*.npz"))]


def _header(journal: Journal) -> dict[str, dict[str, Any]] | None:
    """What a state says of itself; None where it is none."""
    found: dict[str, dict[str, Any]] = {}
    for part in ("marks", "numbers", "records"):
        content = (journal.read(part) or {}).get(part)
        if not isinstance(content, dict):
            return None
        found[part] = content
    texts = [*found["marks"].values(), *found["records"].values()]
    return found if type(found["numbers"].get("done")) is int and all(isinstance(t, str) for t in texts) else None
