"""Names of files from labels, the one place that makes them."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

LONGEST = 180
"""Bytes of a name; file systems take 255, and endings ("+seed1.curves.csv.gz", those of temporary files) follow it."""


def file_name(label: str, colon: str = "+", longest: int = LONGEST) -> str:
    """A label as one part of a path: ``:`` becomes `colon`, all but letters, digits and ``_.-~=,`` is percent-encoded.

    Different labels have different names: one that is too long is cut and ends in a digest of the whole. None is empty,
    a way to another folder, or hidden.
    """
    name = quote(label, safe=":=,", errors="surrogateescape").replace(":", colon)
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= longest:
        return name or "%"  # which nothing else becomes: quoting writes two digits behind it
    digest = hashlib.sha256(label.encode(errors="surrogateescape")).hexdigest()[:10]
    return f"{name[: longest - 11]}~{digest}"
