"""The state of an evaluation that is under way, so that a kill loses at most half a minute."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.io.atomic import replacing


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
        memory = io.BytesIO()
        np.savez(memory, **arrays)
        with replacing(self.path) as temporary:
            temporary.write_bytes(memory.getbuffer())

    def read(self, only: str = "") -> dict[str, Any] | None:
        """The last state, None where there is none or where it is damaged.

        Args:
            only: a part; the others are then left out, and not read either.
        """
        if not self.path.exists():
            return None
        state: dict[str, Any] = {}
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                for key in archive.files:
                    part, _, name = key.rpartition("|")
                    if only and part != only:
                        continue
                    if name:
                        state.setdefault(part, {})[name] = archive[key]
                    else:
                        state[part] = json.loads(str(archive[key]))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None  # measured again from the start
        return state

    def delete(self) -> None:
        """Forget the state: the evaluation is complete."""
        self.path.unlink(missing_ok=True)
