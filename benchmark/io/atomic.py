"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import BenchmarkError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write into, which takes its place when the block ends well.

    So a reader, a crash or a full disk never finds half of it, and an older file stays as it was till then.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise BenchmarkError(
            f"Cannot write {path} ({reason}); free space or name a folder that can be written, then run again."
        ) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
