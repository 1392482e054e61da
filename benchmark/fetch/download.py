"""Downloads that survive cut connections: a ``.part`` file that grows until it is the whole archive."""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import __version__
from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import build, dumps, loads, write_atomic
from benchmark.io.words import bytes_in_words
from benchmark.progress import Meter

ATTEMPTS = 6
"""Connections in a row that may bring less than a chunk of anything new."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled each time."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as cut."""
CHUNK = 1 << 20
_NUMBER = "[0-9]{1,18}"
SPARE = 64 << 20
"""Bytes of a disk that are left free."""


class _Cut(Exception):
    """The connection brought less than the file; worth another attempt."""


@dataclass(frozen=True)
class _Remote:
    """What the server said of the file whose beginning lies in a ``.part``; kept beside it.

    Attributes:
        url: where it came from.
        etag: as sent, or empty.
        modified: the Last-Modified date as sent, or empty.
        total: bytes; 0 where the server did not say.
    """

    url: str
    etag: str = ""
    modified: str = ""
    total: int = 0

    @property
    def validator(self) -> str:
        """For If-Range, which a weak ETag must not be used in; empty where a download cannot be resumed."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_url(newurl, secure=req.full_url.startswith("https:"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, part: Path, size: int = 0, unpacked: int = 0, shown: bool = True) -> None:
    """Make `part` the whole file at an address, going on from what an earlier call or process left in it.

    A later connection asks for the rest by Range and If-Range; where the server does not honour that, or the file has
    changed meanwhile, it starts anew. `part` with ".json" appended remembers which file it is.

    Args:
        url: http or https.
        part: where; its folder is made.
        size: bytes as published; 0 where they are not.
        unpacked: bytes that unpacking will take beside the archive; 0 is taken as the archive's own size, since images
            do not compress.
        shown: whether progress is shown.
    Raises:
        BenchmarkError: no such file, another size than published, too little space, or too many cut connections;
            what has come stays in `part` where it can be of use.
    """
    _check_url(url)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(
            f"Cannot make {part.parent} ({error.strerror}); name another folder with --data."
        ) from None
    furthest, failures = _length(part), 0
    while True:
        try:
            return _connect(url, part, size, unpacked, shown)
        except _Cut as cut:
            reached = _length(part)
            failures = 0 if reached >= furthest + CHUNK else failures + 1
            furthest = max(furthest, reached)
            if failures >= ATTEMPTS:
                then = f"goes on from the {bytes_in_words(reached)} that have come" if reached else "tries again"
                raise BenchmarkError(f"{url}: {cut}, {ATTEMPTS} times in a row; the same command {then}.") from None
            pause = PAUSE * 2 ** max(failures - 1, 0)
            if shown:
                print(f"{part.stem}: {cut}; next attempt in {pause:.0f} s", file=sys.stderr, flush=True)
        time.sleep(pause)


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse what would fill a disk.

    Raises:
        BenchmarkError: fewer bytes are free than needed, or the folder cannot be looked at.
    """
    home = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(home).free
    if free < needed + SPARE:
        raise BenchmarkError(
            f"{folder} has {bytes_in_words(free)} free, {purpose} needs {bytes_in_words(needed + SPARE)}; free space "
            f"or name another folder with --data."
        )


def watch_space(folder: Path, purpose: str) -> None:
    """Stop before what is being written there takes the last space, whatever was announced.

    Raises:
        BenchmarkError: no more is free than must be left.
    """
    if shutil.disk_usage(folder).free < SPARE:
        raise BenchmarkError(
            f"{folder} has less than {bytes_in_words(SPARE)} left, {purpose} stops there; free space or name another "
            f"folder with --data, then run the same command again."
        )


def discard(part: Path) -> None:
    """Forget what has come of a file."""
    _state(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _connect(url: str, part: Path, size: int, unpacked: int, shown: bool) -> None:
    """One connection; returns when `part` is whole."""
    known, offset = _begun(part, url)
    if known and offset == known.total:
        return
    headers = {"User-Agent": f"anomaly-benchmark/{__version__}", "Accept-Encoding": "identity"}
    if known:
        headers |= {"Range": f"bytes={offset}-", "If-Range": known.validator}
    with _open(urllib.request.Request(url, headers=headers), part, offset) as response:
        remote, offset = _identify(url, response, part, known, offset, shown)
        if size and remote.total and remote.total != size:
            discard(part)
            raise BenchmarkError(
                f"{url} has {remote.total} bytes, published are {size}: the archive was replaced; get it from its "
                f"authors and give it with --archive."
            )
        if not offset:  # before the state: a kill in between must not join old bytes to a new file
            part.unlink(missing_ok=True)
        total = remote.total or size
        require_space(part.parent, total - offset + (unpacked or total), f"{part.stem} with its content")
        write_atomic(_state(part), dumps(remote))
        _receive(response, part, offset, total, shown)
    write_atomic(_state(part), dumps(replace(remote, total=_length(part))))


def _open(request: urllib.request.Request, part: Path, offset: int) -> http.client.HTTPResponse:
    url = request.full_url
    try:
        return urllib.request.build_opener(_Redirects()).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}".rstrip()
        if error.code == 416 and offset:  # nothing of the file lies behind what we have, so it is another file
            discard(part)
            raise _Cut("the file on the server has changed, it is fetched from its start") from None
        if error.code in (408, 429) or error.code >= 500:
            raise _Cut(answer) from None
        raise BenchmarkError(
            f"{url}: {answer}; the file was moved or is not public any more: get it from its authors and give it with "
            f"--archive."
        ) from None
    except (ValueError, http.client.InvalidURL) as error:  # in a redirect; the address itself has been looked at
        raise BenchmarkError(
            f"{url} leads to an address that is none ({error}); get the file from its authors and give it with "
            f"--archive."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise BenchmarkError(
                f"{url}: the server's certificate is not valid ({reason.verify_message}); fetch the file with a "
                f"browser and give it with --archive."
            ) from error
        raise _Cut(f"no connection ({reason})") from None


def _identify(
    url: str, response: http.client.HTTPResponse, part: Path, known: _Remote | None, offset: int, shown: bool
) -> tuple[_Remote, int]:
    """Which file the server sends, and from which byte on."""
    etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    length = response.headers.get("Content-Length", "")
    if response.status == 200:
        if offset and shown:
            print(f"{part.stem}: the server sends it from its start again", file=sys.stderr, flush=True)
        return _Remote(url, etag, modified, int(length) if re.fullmatch(_NUMBER, length) else 0), 0
    found = re.fullmatch(rf"bytes ({_NUMBER})-{_NUMBER}/({_NUMBER}|\*)", response.headers.get("Content-Range", ""))
    if response.status != 206 or known is None or found is None:
        raise BenchmarkError(f"{url}: the server answers {response.status} to a plain request; try again later.")
    total = int(found[2]) if found[2] != "*" else known.total
    sent, kept = (etag, known.etag) if known.etag else (modified, known.modified)
    same = sent in ("", kept) and (not known.total or total == known.total)
    if int(found[1]) != offset or not same:
        discard(part)
        raise _Cut("the file on the server has changed, it is fetched from its start")
    return replace(known, total=total), offset


def _receive(response: http.client.HTTPResponse, part: Path, offset: int, total: int, shown: bool) -> None:
    with part.open("ab" if offset else "wb") as file, Meter(part.stem, offset, total, shown) as meter:
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Cut(f"the connection was cut at {bytes_in_words(offset)} ({type(error).__name__})") from None
            if not chunk:
                break
            offset += len(chunk)
            if total and offset > total:
                discard(part)
                raise BenchmarkError(f"{response.url} sends more than its {total} bytes; try again later.")
            try:
                watch_space(part.parent, part.stem)
            except BenchmarkError:
                if not total:  # it may never end
                    discard(part)
                raise
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise BenchmarkError(
                    f"Cannot write {part} ({error.strerror}); free space, then the same command goes on."
                ) from error
            meter.add(len(chunk))
    if total and offset < total:
        raise _Cut(f"the connection was cut at {bytes_in_words(offset)} of {bytes_in_words(total)}")


def _check_url(url: str, secure: bool = False) -> None:
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise BenchmarkError(f"{url} is no address ({error}); only http and https addresses are fetched.") from None
    if scheme not in ("http", "https"):
        raise BenchmarkError(f"{url} is no http or https address; only these are fetched.")
    if secure and scheme == "http":
        raise BenchmarkError(f"An https address leads to {url}, which is not encrypted; it is not followed.")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _begun(part: Path, url: str) -> tuple[_Remote | None, int]:
    """The file of which a part is there, and its length; (None, 0) where nothing is of use."""
    try:
        known = build(_Remote, loads(_state(part).read_text(encoding="utf-8")))
        length = part.stat().st_size
    except (OSError, ValueError, TypeError):
        known, length = None, 0  # bytes of which nobody knows what they belong to
    if known and known.url == url and length:
        whole = length == known.total
        if whole or (known.validator and (not known.total or length < known.total)):
            return known, length
    discard(part)
    return None, 0
