"""Reading a stream forward, with a look at its head and a short way back: what tar readers need, without a seek.

Belongs here: exactly that. Does not belong here: formats (`oncurate.archive_formats`), sources (`oncurate.sources`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

CHUNK_BYTES = 1 << 20
_KEPT_BYTES = 1 << 16


class Forward:
    """Reading forward with a look at the head and a short way back: what tar readers need, without a seek.

    `read` gives as much as was asked unless the end is near; every byte passes `watch` once, in order.
    """

    def __init__(self, read: Callable[[int], bytes], watch: Callable[[bytes], None] = lambda _: None) -> None:
        self._read, self._watch = read, watch
        self._kept = b""  # the last bytes read from the stream
        self._end = 0  # how many were read from it
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, all that are left if negative."""
        pieces = []
        if self._at < self._end:
            back = self._end - self._at
            pieces.append(self._kept[-back:][: count if count >= 0 else None])
            self._at += len(pieces[0])
        while count < 0 or sum(map(len, pieces)) < count:
            piece = self._pull(CHUNK_BYTES if count < 0 else count - sum(map(len, pieces)))
            if not piece:
                break
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, at most 65,536, which stay to be read."""
        head = self.read(count)
        self._at -= len(head)
        return head

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset`; back only as far as the last bytes are kept, else `io.UnsupportedOperation`."""
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target < self._end - len(self._kept):
            raise io.UnsupportedOperation("a stream has no way back")
        if target <= self._end:
            self._at = target
            return target
        self._at = self._end
        while self._at < target and self._pull(min(CHUNK_BYTES, target - self._at)):
            pass
        return self._at

    def close(self) -> None:
        """What is read from is closed by its owner."""

    def drain(self) -> None:
        """Read to the end."""
        self._at = self._end
        while self._pull(CHUNK_BYTES):
            pass

    @property
    def end(self) -> int:
        """Bytes that were read from the stream."""
        return self._end

    def _pull(self, count: int) -> bytes:
        piece = self._read(count)
        if piece:
            self._watch(piece)
            self._end += len(piece)
            self._at = self._end
            self._kept = (self._kept + piece)[-_KEPT_BYTES:] if len(piece) < _KEPT_BYTES else piece[-_KEPT_BYTES:]
        return piece
