"""A published dataset into the data root: downloaded, checked, unpacked, counted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data import Dataset, Download
from benchmark.errors import BenchmarkError
from benchmark.fetch.download import discard, download, require_space
from benchmark.fetch.extract import BadArchive, check, extract, whole
from benchmark.io.columns import fitted
from benchmark.io.jsonfile import dumps
from benchmark.io.words import bytes_in_words, quantity
from benchmark.registry import DATASETS

RECEIPT = ".fetched.json"
"""In every folder that ``fetch`` made: from which archive. Only a folder with one is replaced by ``--force``."""


@dataclass(frozen=True)
class Wanted:
    """How a dataset is fetched.

    Attributes:
        archives: files of the user's that are unpacked instead of downloading.
        force: download again, and replace what an earlier call made.
        keep: keep downloaded archives after unpacking.
        shown: progress bars.
    """

    archives: tuple[Path, ...] = ()
    force: bool = False
    keep: bool = False
    shown: bool = True


def obtain(name: str, root: Path, wanted: Wanted) -> int:
    """Download, check and unpack what a dataset lacks under the data root.

    Returns:
        0 where it is complete, 2 where the user has to do something, which is printed.
    Raises:
        BenchmarkError: no such dataset, no space, a damaged archive, a folder that is not ours.
    """
    cls, name = DATASETS.get(name), DATASETS.canonical(name)
    card = cls.card
    if not card.downloads and not card.obtain:
        print(f"{name} has nothing to download.")
        return 0
    if _complete(cls, root) and not wanted.force and not wanted.archives:
        print(f"{name} is already there, under {root}; `fetch {name} --force` fetches it again.")
        return 0
    given = _match(cls, wanted.archives)
    # With archives at hand nothing is downloaded: whoever brings them may have no connection.
    parts = list(given) if given else [d for d in card.downloads if d.url]
    pending = [d for d in parts if wanted.force or not (root / d.folder).exists()]
    for one in parts:
        if one not in pending:
            print(f"{root / one.folder} is already there; --force replaces it.")
    if pending:
        print(f"{card.title or name}. Licence: {card.licence or 'not stated'}. Please cite: {card.citation}")
        _refuse_foreign(root, pending)
        _check_space(cls, root, pending, given, wanted.keep)
    for one in pending:
        own = one not in given
        path = _download(cls, one, root, wanted) if own else given[one]
        _unpack(cls, one, path, root, own, wanted)
    return _report(cls, root)


def _check_space(
    cls: type[Dataset], root: Path, pending: Sequence[Download], given: Mapping[Download, Path], keep: bool
) -> None:
    """Refuse before the first connection what published sizes say cannot fit; each download looks again."""
    name = DATASETS.name_of(cls)
    content = sum(one.unpacked or one.size for one in pending)
    archives = [0]
    for one in pending:
        if one not in given:
            path = _place(cls, one, root)
            here = sum(p.stat().st_size for p in (path, _part(path)) if p.exists())
            archives.append(max(one.size - here, 0))
    require_space(root, content + (sum(archives) if keep else max(archives)), f"{name} with its archives")


def _place(cls: type[Dataset], one: Download, root: Path) -> Path:
    return root / "downloads" / DATASETS.name_of(cls) / one.name


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _complete(cls: type[Dataset], root: Path) -> bool:
    """Whether the dataset is found, and not just because one of several archives has been unpacked."""
    folders = [root / one.folder for one in cls.card.downloads]
    begun = any((folder / RECEIPT).is_file() for folder in folders) and not all(f.exists() for f in folders)
    return cls.available(root) and not begun


def _match(cls: type[Dataset], files: Sequence[Path]) -> dict[Download, Path]:
    """Which of the dataset's archives the user's files are: by name, or the only one."""
    name = DATASETS.name_of(cls)
    given: dict[Download, Path] = {}
    for file in files:
        if not file.is_file() or not os.access(file, os.R_OK):
            raise BenchmarkError(f"--archive {file}: there is no such file, or it may not be read.")
        named = [d for d in cls.card.downloads if d.name == file.name] or list(cls.card.downloads)
        if len(named) != 1:
            names = " and ".join(d.name for d in cls.card.downloads) or "no archive"
            raise BenchmarkError(f"--archive {file}: {name} is made of {names}; give the file the name of one.")
        given[named[0]] = file
    return given


def _refuse_foreign(root: Path, pending: Sequence[Download]) -> None:
    for folder in (root / one.folder for one in pending):
        if folder.exists() and not (folder / RECEIPT).is_file():
            raise BenchmarkError(f"{folder} was not made by fetch and is not replaced; move it away, then run again.")


def _download(cls: type[Dataset], one: Download, root: Path, wanted: Wanted) -> Path:
    """The archive from its address, or the one that an earlier call has left; not checked yet."""
    path = _place(cls, one, root)
    if wanted.force:
        path.unlink(missing_ok=True)
    if not path.exists():
        print(f"{one.url} -> {path}", flush=True)
        download(one.url, _part(path), one.size, one.unpacked, shown=wanted.shown)
        os.replace(_part(path), path)
        discard(_part(path))
    return path


def _unpack(cls: type[Dataset], one: Download, path: Path, root: Path, own: bool, wanted: Wanted) -> None:
    """Check an archive and make its folder; an archive of ours that is no good is deleted, one of the user's never."""
    again = f"`python -m benchmark fetch {DATASETS.name_of(cls)}`"
    try:
        sha256 = check(path, one.size, one.checksum)
        with whole(root / one.folder) as folder:
            count = extract(path, folder, one.members, one.unpacked, shown=wanted.shown)
            receipt = {"url": one.url, "archive": path.name, "bytes": path.stat().st_size, "sha256": sha256}
            (folder / RECEIPT).write_text(dumps(receipt), encoding="utf-8")
    except BadArchive as error:
        if own:
            path.unlink()
            mend = f"it is deleted: {again} fetches it again; if that repeats, the file at {one.url} was replaced."
        else:
            mend = f"nothing was unpacked: {again} without --archive fetches or names the right one."
        raise BenchmarkError(f"{error}; {mend}") from None
    held = f"as published ({one.checksum})" if one.checksum else "no checksum is published"
    files = quantity(count, "file")
    print(f"{root / one.folder}: {files} of {path.name}, SHA-256 {sha256}, {held}.", flush=True)
    if own and wanted.keep:
        path.with_name(f"{path.name}.sha256").write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
    elif own:
        path.unlink()
        for folder in path.parents[:2]:
            if not any(folder.iterdir()):
                folder.rmdir()


def _report(cls: type[Dataset], root: Path) -> int:
    """Open what is there and count it, or say what is still missing."""
    name = DATASETS.name_of(cls)
    if not _complete(cls, root):
        missing = [one.name for one in cls.card.downloads if not (root / one.folder).exists()]
        if not cls.card.obtain and not missing:
            raise BenchmarkError(f"{root} still has no {name}; `fetch {name} --force` makes its folders anew.")
        print(f"{name} is not complete under {root.absolute()}; still missing: {', '.join(missing) or 'see below'}.")
        print(cls.card.obtain or f"`python -m benchmark fetch {name}` without --archive fetches it.")
        return 2
    for split, published in cls.card.sizes.items():
        count = len(DATASETS.create(name, split=split, root=root))
        of = f" (published are {published})" if count != published else ""
        print(f"{split}: {quantity(count, 'image')}{of}")
    print(f"{name} is ready: python -m benchmark run --dataset {name} --data {root}")
    return 0


def listing(root: Path, width: int = 120) -> str:
    """A table of every dataset that is published somewhere, in lines of so many characters."""
    rows = []
    for name in DATASETS.available():
        cls = DATASETS.get(name)
        if not cls.card.downloads and not cls.card.obtain:
            continue
        sizes = [one.size for one in cls.card.downloads]
        size = bytes_in_words(sum(sizes)) if sizes and all(sizes) else ""
        public = all(one.url for one in cls.card.downloads) and not cls.card.obtain
        how = "automatic" if public else "partly by hand"
        rows.append([name, "found" if cls.available(root) else how, size, cls.card.licence])
    table = fitted(rows, ["dataset", "download", "archives", "licence"], width)
    return f"Under {root}:\n\n{table}\n\n`python -m benchmark fetch DATASET` gets one, or says what to do by hand."
