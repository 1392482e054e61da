"""A web server on the loopback that misbehaves as told."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how badly.

    Attributes:
        files: path -> content.
        cuts: of the next requests, the bytes after which the connection is cut; then no more cuts.
        codes: of the next requests, the status answered instead of the file; 0 answers properly.
        ranges: whether Range is honoured.
        conditional: whether If-Range is honoured.
        etag: of every file; empty sends none.
        modified: Last-Modified of every file; empty sends none.
        length: False sends chunks without a total.
        moved: path -> the address it redirects to.
        asked: (path, Range, If-Range) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    ranges: bool = True
    conditional: bool = True
    etag: str = '"one"'
    modified: str = ""
    length: bool = True
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    @property
    def offsets(self) -> list[int]:
        """The byte that each request wanted to begin with."""
        return [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked, _ in self.asked]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Serve one GET."""
        wanted, condition = request.headers.get("Range", ""), request.headers.get("If-Range", "")
        self.asked.append((request.path, wanted, condition))
        cut = self.cuts.pop(0) if self.cuts else None
        code = self.codes.pop(0) if self.codes else 0
        if request.path in self.moved:
            request.send_response(302)
            request.send_header("Location", self.moved[request.path])
            request.end_headers()
            return
        if code or request.path not in self.files:
            request.send_error(code or 404)
            return
        content, start = self.files[request.path], 0
        fresh = not self.conditional or condition in ("", self.etag, self.modified)
        found = re.fullmatch(r"bytes=(\d+)-", wanted)
        if found and self.ranges and fresh:
            start = int(found[1])
            if start >= len(content):
                request.send_error(416)
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                request.send_header(name, value)
        body = content[start:]
        if self.length:
            request.send_header("Content-Length", str(len(body)))
        else:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        sent = body if cut is None else body[:cut]
        request.wfile.write(sent if self.length else b"%x\r\n%s" % (len(body), sent))
        if not self.length and cut is None:
            request.wfile.write(b"\r\n0\r\n\r\n")
        request.close_connection = True


@contextmanager
def serving() -> Iterator[Site]:
    """A site while the block lasts."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
