"""Archives from elsewhere: checked, and unpacked so that nothing lands outside one folder and no half looks whole."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from benchmark.errors import BenchmarkError
from benchmark.fetch.download import require_space, watch_space
from benchmark.io.words import bytes_in_words
from benchmark.progress import Meter

MOST_MEMBERS = 1_000_000
_CHUNK = 1 << 20
_BLOCK = 512  # bytes of a block of a tar file
_LONGEST_LINK = 4096  # bytes
_SHOWN = 80  # characters of a member's name in a message
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE)
"""Errors that an archive cannot be blamed for."""


class BadArchive(BenchmarkError):
    """A file is not the archive that was published; the sentence has no remedy yet, which depends on whose it is."""


@dataclass(frozen=True)
class _Member:
    """A regular file of an archive: where it says it belongs, its bytes, and how to read it."""

    path: str
    size: int
    open: Callable[[], BinaryIO]


def check(path: Path, size: int, checksum: str) -> str:
    """Compare a file with what is published of it.

    Args:
        path: the file.
        size: published bytes; 0 is not checked.
        checksum: "md5:..." or "sha256:..."; empty is not checked.
    Returns:
        The SHA-256, computed in any case.
    Raises:
        BadArchive: it is not the published file.
    """
    if size and path.stat().st_size != size:
        raise BadArchive(f"{path.name} has {path.stat().st_size} bytes, published are {size}")
    kind, _, published = checksum.partition(":")
    digests = {name: hashlib.new(name) for name in {"sha256", kind or "sha256"}}
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            for digest in digests.values():
                digest.update(block)
    if published and digests[kind].hexdigest() != published.lower():
        raise BadArchive(f"{path.name} has the {kind.upper()} {digests[kind].hexdigest()}, published is {published}")
    return digests["sha256"].hexdigest()


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its name, and its place, only when the block ends well.

    A kill leaves a hidden folder behind, which the next call removes. An existing target is removed at the end.
    """
    temporary, former = (target.with_name(f".{target.name}.{word}") for word in ("unpacking", "former"))
    for leftover in (temporary, former):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            target.rename(former)
        temporary.rename(target)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise BenchmarkError(
            f"Cannot write {target} ({error.strerror or error}); free space or name another folder with --data, then "
            f"run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def extract(archive: Path, folder: Path, members: Sequence[tuple[str, str]], limit: int = 0, shown: bool = True) -> int:
    """Write the members of a tar or zip file that are wanted.

    The whole list of members is looked at before anything is written. Only regular files are ever made, with names of
    their own below the folder: a link becomes a copy of the member that it names.

    Args:
        archive: tar (plain or compressed) or zip, told by its content.
        folder: exists and is empty.
        members: as of :class:`benchmark.data.Download`.
        limit: bytes that the members may have together; 0 is bounded by the free space alone.
        shown: whether progress is shown.
    Returns:
        The number of files.
    Raises:
        BadArchive: damaged, or a member is absolute, climbs by "..", is a device or a link that leads outside, or
            there is more than the limit.
        BenchmarkError: too little space.
    """
    try:
        with _opened(archive) as found:
            chosen = _choose(archive, found, members)
            total = sum(member.size for member in chosen.values())
            if limit and total > limit:
                raise BadArchive(
                    f"{archive.name} would unpack to {bytes_in_words(total)}, published are {bytes_in_words(limit)}"
                )
            require_space(folder, total, f"the content of {archive.name}")
            with Meter(f"unpacking {archive.name}", 0, total, shown) as meter:
                for path, member in chosen.items():
                    _write(archive, folder / path, member, meter)
            return len(chosen)
    except BenchmarkError:
        raise
    except Exception as error:  # whatever the readers of archives raise at bytes that somebody made up
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; those of the readers have no number
            raise
        reason = str(error) or type(error).__name__
        raise BadArchive(f"{archive.name} is truncated or damaged ({reason})") from error


@contextmanager
def _opened(archive: Path) -> Iterator[list[_Member]]:
    # Tar first: a tar whose last member is a zip also ends like a zip, but no zip begins like a tar.
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _tar_members(archive, tar)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(archive, file)
    else:
        raise BadArchive(f"{archive.name} is neither a tar nor a zip file")


def _tar_members(archive: Path, tar: tarfile.TarFile) -> list[_Member]:
    files: dict[str, _Member] = {}
    links: dict[str, str] = {}
    for info in tar:
        path = _inside(archive, info.name)
        if info.isreg():
            files[path] = _Member(path, info.size, lambda info=info: tar.extractfile(info))
        elif info.issym():
            links[path] = _inside(archive, info.linkname, path)
        elif info.islnk():
            links[path] = _inside(archive, info.linkname)
        elif not info.isdir():
            raise BadArchive(f"{archive.name} holds '{info.name}', which is a device or a pipe")
        _bound(archive, len(files) + len(links))
    # tarfile takes a file that ends between two members for complete; a complete one ends with a block of zeros.
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(_BLOCK) != bytes(_BLOCK):
        raise BadArchive(f"{archive.name} is truncated or damaged (it has no end mark)")
    # The checksum of a compressed file stands at its very end, where nothing else would look.
    while tar.fileobj.read(_CHUNK):
        pass
    return _resolved(files, links)


def _zip_members(archive: Path, file: zipfile.ZipFile) -> list[_Member]:
    files: dict[str, _Member] = {}
    links: dict[str, str] = {}
    for info in file.infolist():
        path = _inside(archive, info.filename)
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            raise BadArchive(f"{archive.name} is encrypted")
        if info.is_dir():
            continue
        if stat.S_ISLNK(mode):
            links[path] = _inside(archive, file.open(info).read(_LONGEST_LINK).decode("utf-8", "replace"), path)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise BadArchive(f"{archive.name} holds '{info.filename}', which is a device or a pipe")
        else:
            files[path] = _Member(path, info.file_size, lambda info=info: file.open(info))
        _bound(archive, len(files) + len(links))
    return _resolved(files, links)


def _resolved(files: Mapping[str, _Member], links: Mapping[str, str]) -> list[_Member]:
    """Files, and links to files as files; a link to a link or to a folder leads to nothing and is left out."""
    copies = [_Member(path, files[to].size, files[to].open) for path, to in links.items() if to in files]
    return [*files.values(), *copies]


def _inside(archive: Path, name: str, link: str = "") -> str:
    """The path of a member, or of what a symbolic link names, relative to the archive's root.

    Raises:
        BadArchive: it leads out of the root.
    """
    plain = name.replace("\\", "/")
    what = f"the link '{link}' to '{name}'" if link else f"the entry '{name}'"
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain) or "\0" in plain:
        raise BadArchive(f"{archive.name} holds {what}, which leads out of the folder it is unpacked in")
    parts = list(PurePosixPath(link).parts[:-1])
    for part in PurePosixPath(plain).parts:
        if part == ".." and not (link and parts):
            raise BadArchive(f"{archive.name} holds {what}, which leads out of the folder it is unpacked in")
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _bound(archive: Path, count: int) -> None:
    if count > MOST_MEMBERS:
        raise BadArchive(f"{archive.name} holds more than {MOST_MEMBERS} files")


def _choose(archive: Path, found: Sequence[_Member], members: Sequence[tuple[str, str]]) -> dict[str, _Member]:
    """Path in the folder -> member."""
    chosen: dict[str, _Member] = {}
    for member in found:
        for pattern, name in members:
            if match := re.fullmatch(pattern, member.path):
                path = _inside(archive, match.expand(name))
                if path in chosen:
                    raise BadArchive(f"{archive.name} holds two files for '{path}'")
                chosen[path] = member
                break
    if not chosen:
        raise BadArchive(f"{archive.name} holds no file like {members[0][0]}; it is another archive")
    return chosen


def _write(archive: Path, path: Path, member: _Member, meter: Meter) -> None:
    left = member.size
    with member.open() as source, _create(archive, path, member) as file:
        while block := source.read(min(_CHUNK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            watch_space(path.parent, f"unpacking {archive.name}")
            file.write(block)
            meter.add(len(block))
    if left:
        raise BadArchive(f"{archive.name} is damaged: '{member.path}' has not the size that the archive states")


def _create(archive: Path, path: Path, member: _Member) -> BinaryIO:
    """A new file for a member; its folders are made.

    Raises:
        BadArchive: no file can have this name beside the others: too long, or one of its folders is a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _DISK:
            raise
        name = member.path if len(member.path) <= _SHOWN else f"{member.path[:_SHOWN]}..."
        reason = getattr(error, "strerror", None) or error
        raise BadArchive(f"{archive.name} holds '{name}', for which no file can be made here ({reason})") from None
