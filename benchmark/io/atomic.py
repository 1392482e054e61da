"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import BenchmarkError

ABANDONED = 3600.0
"""Seconds after which an unfinished file that nobody has touched is nobody's, where its writer cannot be asked."""


@contextmanager
def replacing(path: Path, disposable: bool = False) -> Iterator[Path]:
    """An empty file beside `path` to write into, which takes its place when the block ends well.

    So a reader, a crash or a full disk never finds half of it, and an older file stays as it was till then. Nor does a
    power failure: the content is on the disk before the name is.

    Args:
        path: of the file.
        disposable: whether it is easily made again, so that nobody need wait for the disk.
    Raises:
        BenchmarkError: the file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path.name), suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        if not disposable:
            _to_disk(temporary)
        os.replace(temporary, path)
        if not disposable:
            with contextlib.suppress(OSError):  # not every system opens folders
                _to_disk(path.parent)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise BenchmarkError(
            f"Cannot write {path} ({reason}); free space or name a folder that can be written, then run again."
        ) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what killed processes left of files that they were writing, anywhere below a folder.

    A file is left over once its writer runs no more; of a writer on another machine, once it has not been touched for
    an hour.
    """
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):  # its writer may finish it meanwhile
            if path.is_file() and not in_use(path):
                path.unlink()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network drives know no fsync
            raise
    finally:
        os.close(handle)


def unfinished(name: str) -> str:
    """How the name of an unfinished file begins: whose place it will take, in full where that is short, and its writer.

    Names of files have at most 255 bytes.
    """
    return f".{name.encode()[:120].decode(errors='ignore')}.{_machine()}-{os.getpid()}."


def _machine() -> str:
    return socket.gethostname().replace(".", "-")[:64]


def in_use(path: Path) -> bool:
    """Whether somebody may still be writing an unfinished file or folder."""
    host, _, process = path.name.split(".")[-3].rpartition("-")
    if host == _machine() and process.isdecimal() and os.name == "posix":  # elsewhere, kill() does what it is called
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except OSError:  # it runs and is somebody else's
            return True
        return True
    return time.time() - path.stat().st_mtime < ABANDONED
