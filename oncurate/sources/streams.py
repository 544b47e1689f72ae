"""Streams between a source and what reads it: parts fetched ahead, lengths and checksums verified.

Belongs here: streams that know nothing of a protocol. Does not belong here: requests (each source), files that outlive
the process (`oncurate.sources.partial`).
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, BinaryIO, Protocol

from oncurate.errors import Rejection
from oncurate.reasons import Reason

FIRST_BYTES = 1 << 20
"""The first part of a file, bytes: a DICOM header and most single slices; nothing is fetched ahead of it."""
PART_BYTES = 8 << 20
"""Each further part: large enough to hide latency."""
PARTS_AHEAD = 3
CHUNK_BYTES = 1 << 20
CHUNKS_AHEAD = 4
_END = b""


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class RangeStream(io.RawIOBase):
    """A file that is read by ranges, several at a time while it is read in order.

    `fetch(start, stop)` returns exactly these bytes or raises; retries are its own.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, pool: Executor) -> None:
        self._fetch, self._size, self._pool = fetch, size, pool
        self._parts: dict[int, Future[bytes]] = {}
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        part = _part_of(self._at)
        start, stop = _bounds(part, self._size)
        data = memoryview(self._ask(part).result())[self._at - start :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        if self._at >= stop:
            self._parts.pop(part, None)
        return len(data)

    def close(self) -> None:
        for future in self._parts.values():
            future.cancel()
        self._parts.clear()
        super().close()

    def _ask(self, part: int) -> Future[bytes]:
        last = _part_of(self._size - 1)
        ahead = PARTS_AHEAD if part else 0
        wanted = range(part, min(last, part + ahead) + 1)
        for other in [p for p in self._parts if p not in wanted]:
            self._parts.pop(other).cancel()
        for one in wanted:
            if one not in self._parts:
                self._parts[one] = self._pool.submit(self._fetch, *_bounds(one, self._size))
        return self._parts[part]


def _part_of(at: int) -> int:
    return 0 if at < FIRST_BYTES else 1 + (at - FIRST_BYTES) // PART_BYTES


def _bounds(part: int, size: int) -> tuple[int, int]:
    if part == 0:
        return 0, min(size, FIRST_BYTES)
    start = FIRST_BYTES + (part - 1) * PART_BYTES
    return start, min(size, start + PART_BYTES)


class Verified(io.RawIOBase):
    """A forward-only stream that raises at its end unless length and checksums are what the source said.

    `sums` are pairs of a running hash and the hexadecimal digest that it must reach. Raises `Rejection`
    (TRANSFER_INCOMPLETE, CHECKSUM_MISMATCH).
    """

    def __init__(self, stream: Any, size: int | None, sums: Iterable[tuple[Hash, str]] = ()) -> None:
        self._stream, self._size, self._sums, self._at = stream, size, tuple(sums), 0

    def readable(self) -> bool:
        return True

    def resume(self, have: Iterable[bytes]) -> None:
        """Go on after the bytes `have`, which an earlier transfer left and which are not asked for again."""
        for chunk in have:
            self._count(chunk)
        self._stream.seek(self._at)

    @property
    def can_resume(self) -> bool:
        """Whether the stream can start in the middle without asking for what is before it."""
        return bool(self._stream.seekable())

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer) or 0
        self._count(memoryview(buffer)[:count])
        if not count and len(buffer):
            self._check()
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _count(self, data: Any) -> None:
        self._at += len(data)
        if self._size is not None and self._at > self._size:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "more bytes than stated")
        for running, _ in self._sums:
            running.update(data)

    def _check(self) -> None:
        if self._size is not None and self._at != self._size:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "fewer bytes than stated")
        if any(running.hexdigest() != stated for running, stated in self._sums):
            raise Rejection(Reason.CHECKSUM_MISMATCH)


class ReadAhead:
    """A thread that reads a stream ahead, so that reading and what is done with the bytes overlap. Forward only.

    `watch` sees every chunk in the thread, before the reader does.
    """

    def __init__(self, stream: BinaryIO, watch: Callable[[bytes], None] = lambda _: None) -> None:
        self._stream, self._watch = stream, watch
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(CHUNKS_AHEAD)
        self._over = threading.Event()
        self._rest: memoryview = memoryview(b"")
        self._ended = False
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; empty at the end. Raises what reading the stream raised."""
        if not len(self._rest) and not self._ended:
            found = self._chunks.get()
            if isinstance(found, BaseException):
                self._ended = True
                raise found
            self._ended = found == _END
            self._rest = memoryview(found)
        piece, self._rest = self._rest[:count], self._rest[count:]
        return bytes(piece)

    def close(self) -> None:
        """Stop reading; the stream itself is the caller's to close."""
        self._over.set()
        while self._thread.is_alive():
            try:
                self._chunks.get(timeout=0.05)
            except queue.Empty:
                continue

    def _fill(self) -> None:
        try:
            while not self._over.is_set():
                chunk = self._stream.read(CHUNK_BYTES)
                self._watch(chunk)
                self._chunks.put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # noqa: BLE001  # handed to the reader, which raises it
            self._chunks.put(error)
