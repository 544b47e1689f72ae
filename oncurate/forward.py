"""Reading a stream forward, with a look at its head and a short way back: what tar readers need, without a seek.

Belongs here: exactly that. Does not belong here: formats (`oncurate.archive_formats`), sources (`oncurate.sources`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from oncurate.passing import CHUNK_BYTES, Bytes, put

_KEPT_BYTES = 1 << 16


class Forward:
    """Reading forward with a look at the head and a short way back: what tar readers need, without a seek.

    `some` gives up to as many bytes as it is asked for, which hold until its next call, none at the end; every byte
    passes `watch` once, in order.
    """

    def __init__(self, some: Callable[[int], Bytes], watch: Callable[[Bytes], None] = lambda _: None) -> None:
        self._some, self._watch = some, watch
        self._kept = b""  # the last bytes read from the stream
        self._end = 0  # how many were read from it
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, all that are left if negative; fewer where the end is near."""
        pieces, left = [], count
        while left and (piece := self.some(left if count >= 0 else CHUNK_BYTES)):
            pieces.append(bytes(piece))
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def some(self, count: int) -> Bytes:
        """The next bytes, up to `count`, which hold until the next call; none at the end."""
        if self._at == self._end:
            return self._pull(count)
        piece = self._kept[self._at - self._end :][:count]
        self._at += len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        """The next bytes into `buffer`; returns how many, 0 at the end."""
        return put(self.some(len(buffer)), buffer)

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

    def _pull(self, count: int) -> Bytes:
        piece = self._some(count)
        if piece:
            self._watch(piece)
            self._end += len(piece)
            self._at = self._end
            kept = bytes(piece[-_KEPT_BYTES:])
            self._kept = (self._kept + kept)[-_KEPT_BYTES:] if len(piece) < _KEPT_BYTES else kept
        return piece
