"""What a dataset says of an archive that it is published in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """A published archive, and which folder of the data root is made of it (``python -m benchmark fetch``).

    Attributes:
        folder: relative to the data root; it comes into being whole or not at all.
        url: https; empty where the archive is behind a login and the dataset's ``obtain`` says how to get it.
        members: pairs of a regular expression for the whole path of a member and its path in the folder (``\\1`` is
            the first group). The first that matches counts; a member that none matches is left out.
        size: of the archive in bytes, as published; 0 where it is not. The same holds for the next two.
        unpacked: bytes of the members.
        checksum: "md5:" or "sha256:" and the digest.
        file: name of the archive, where it is not the last part of the url.
    """

    folder: str
    url: str = ""
    members: tuple[tuple[str, str], ...] = ((r"(.+)", r"\1"),)
    size: int = 0
    unpacked: int = 0
    checksum: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        """The archive's file name."""
        return self.file or self.url.rpartition("/")[2]
