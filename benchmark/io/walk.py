"""Files beneath a folder: each folder once, whatever links lead to it, and nothing that cannot be read as a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from benchmark.errors import BenchmarkError, printable


def walk(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Every file beneath a folder that has one of the suffixes: relative path with "/" -> path, in the order of names.

    Hidden files and folders are left out. A folder is entered once, by its own path if it has one beneath `folder`,
    and a link to a folder above is not followed; so no file is found twice because links form a ring.

    Args:
        folder: where to look; exists.
        suffixes: in lower case, with the dot; those of the files may be in capitals.
    Raises:
        BenchmarkError: a folder cannot be listed; a name with a suffix belongs to a pipe, a device or a link that
            leads nowhere; a name is no UTF-8 or holds a control character, so that no table could hold it.
    """
    entered = {_identity(place) for place in folder.resolve().parents}
    own, linked = [folder], []
    found: dict[str, Path] = {}
    while own or linked:
        place = own.pop() if own else linked.pop(0)
        if _identity(place) in entered:
            continue
        entered.add(_identity(place))
        for entry in _entries(place):
            path = Path(place, entry.name)
            kind = _kind(entry)
            if kind == "directory":
                (linked if entry.is_symlink() else own).append(path)
            elif path.suffix.lower() in suffixes or (kind == "lost" and not path.suffix):
                if kind != "file":
                    raise BenchmarkError(f"{printable(path)} {_WRONG[kind]}; remove or mend it.")
                found[named(path, folder)] = path
    return dict(sorted(found.items()))


def below(folder: Path, suffix: str) -> list[Path]:
    """Everything beneath a folder that ends in a suffix, sorted; what is deleted meanwhile is left out."""
    found = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
    return sorted(path for path in found if path.suffix == suffix)


def named(path: Path, folder: Path) -> str:
    """The path relative to a folder with "/", which becomes the id of an image.

    Raises:
        BenchmarkError: it is no UTF-8 or holds a control character, so that no table could hold it.
    """
    name = path.relative_to(folder).as_posix()
    if printable(name) != name:
        raise BenchmarkError(
            f"The file name {printable(path)} is no UTF-8 or holds a control character, which no table of results can "
            f"hold; rename it."
        )
    return name


def require_file(path: Path) -> None:
    """Refuse what would block or never end when it is read.

    Raises:
        BenchmarkError: a pipe, a device or a folder.
        OSError: nothing is there, or it cannot be looked at.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise BenchmarkError(f"{printable(path)} {_WRONG['other']}; name or put a file there.")


_WRONG = {
    "other": "is a folder, a pipe or a device, no file",
    "lost": "is a link that leads nowhere",
}


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise BenchmarkError(f"{printable(place)} cannot be listed ({error.strerror}); mend its permissions.") from None


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is, or what a link leads to: "directory", "file", "other" or "lost"."""
    try:
        if entry.is_dir():
            return "directory"
        if entry.is_file():
            return "file"
        return "other" if os.path.exists(entry.path) else "lost"
    except OSError:  # a link to itself
        return "lost"


def _identity(place: Path) -> tuple[int, int]:
    found = os.stat(place)
    return found.st_dev, found.st_ino
