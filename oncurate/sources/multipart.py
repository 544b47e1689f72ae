"""The one part of a multipart answer, copied out while it arrives (RFC 2046, DICOM PS3.18 8.6.1.2.1).

Belongs here: boundaries, the part's headers, and telling a whole answer from one that was cut. Does not belong here:
requests (`oncurate.sources.dicomweb`), what the part holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message

from oncurate.errors import Rejection
from oncurate.reasons import Reason

_HEADERS_LIMIT_BYTES = 1 << 16
_LINE = b"\r\n"


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names; None where the answer is no multipart."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_maintype() != "multipart":
        return None
    boundary = message.get_boundary()
    if not boundary:
        raise Rejection(Reason.TRANSFER_INCOMPLETE, "no boundary")
    return boundary.encode("latin-1", "replace")


def copy_part(chunks: Iterator[bytes], boundary: bytes, write: Callable[[bytes], object]) -> int:
    """Hand the bytes of the only part to `write`, piece by piece; returns how many they are.

    Raises `Rejection` (TRANSFER_INCOMPLETE) unless the answer ends with its closing boundary, holds one part, and the
    part is as long as its own Content-Length says, where it says so. What was written before that must be thrown away.
    """
    window = _Window(chunks)
    delimiter = b"--" + boundary
    if not window.starts_with(delimiter):
        window.pass_on(_LINE + delimiter, lambda _: None)
    else:
        window.drop(len(delimiter))
    stated = _content_length(window.take_until(_LINE + _LINE))
    size = window.pass_on(_LINE + delimiter, write)
    if not window.starts_with(b"--"):
        raise Rejection(Reason.TRANSFER_INCOMPLETE, "more than one part")
    if stated is not None and stated != size:
        raise Rejection(Reason.TRANSFER_INCOMPLETE, "Content-Length of the part")
    return size


def _content_length(headers: bytes) -> int | None:
    for line in headers.split(_LINE):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            if not value.strip().isdigit():
                raise Rejection(Reason.TRANSFER_INCOMPLETE, "Content-Length of the part")
            return int(value)
    return None


class _Window:
    """A stream of chunks with a look ahead that is as long as what is searched for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def starts_with(self, text: bytes) -> bool:
        while len(self._held) < len(text):
            self._more()
        return self._held.startswith(text)

    def drop(self, count: int) -> None:
        self._held = self._held[count:]

    def pass_on(self, end: bytes, write: Callable[[bytes], object]) -> int:
        """Hand on what comes before `end`, which is dropped; returns how many bytes that was."""
        size = 0
        while (at := self._held.find(end)) < 0:
            sure = max(0, len(self._held) - len(end) + 1)
            if sure:
                write(self._held[:sure])
                size += sure
                self._held = self._held[sure:]
            self._more()
        write(self._held[:at])
        self._held = self._held[at + len(end) :]
        return size + at

    def take_until(self, end: bytes) -> bytes:
        while (at := self._held.find(end)) < 0:
            if len(self._held) > _HEADERS_LIMIT_BYTES:
                raise Rejection(Reason.TRANSFER_INCOMPLETE, "headers of the part")
            self._more()
        taken, self._held = self._held[:at], self._held[at + len(end) :]
        return taken

    def _more(self) -> None:
        for chunk in self._chunks:
            if chunk:
                self._held += chunk
                return
        raise Rejection(Reason.TRANSFER_INCOMPLETE, "closing boundary")
