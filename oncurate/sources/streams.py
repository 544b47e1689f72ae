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
from typing import Any, Protocol

from oncurate.errors import Rejection
from oncurate.passing import CHUNK_BYTES, Aside, Bytes, put, some_of
from oncurate.reasons import Reason

FIRST_BYTES = 1 << 20
"""The first part of a file, bytes: a DICOM header and most single slices; nothing is fetched ahead of it."""
PART_BYTES = 16 << 20
"""Each further part ends at a multiple of this: large enough to hide latency, and to be worked on as one piece."""
PARTS_AHEAD = 2
CHUNKS_AHEAD = 4


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


Fill = Callable[[int, memoryview], None]
"""`fill(start, into)` puts the bytes of a file from `start` on into all of `into`, or raises; retries are its own."""


class RangeStream(io.RawIOBase):
    """A file that is read by ranges, several at a time while it is read in order, into buffers that are used again.

    The ranges begin and end at multiples of `part_bytes` (0: `PART_BYTES`); the first of them is got in two, its head
    alone at first.
    """

    def __init__(self, fill: Fill, size: int, pool: Executor, part_bytes: int = 0) -> None:
        self._fill, self._size, self._pool = fill, size, pool
        self._part_bytes = part_bytes or PART_BYTES
        self._parts: dict[int, tuple[Future[None], memoryview]] = {}
        self._free: list[memoryview] = []
        self._at = self._first = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset`; nothing before it is asked for from then on."""
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        self._forget_all()
        self._first = self._at
        return self._at

    def some(self, count: int) -> memoryview:
        """The next bytes, up to `count`, which hold until the next call; none at the end."""
        if self._at >= self._size:
            return memoryview(b"")
        part = self._part_of(self._at)
        start, stop = self._bounds(part)
        came, found = self._ask(part)
        came.result()
        piece = found[self._at - start : stop - start][:count]
        self._at += len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        return put(self.some(len(buffer)), buffer)

    def close(self) -> None:
        self._forget_all()
        super().close()

    def _ask(self, part: int) -> tuple[Future[None], memoryview]:
        last = self._part_of(self._size - 1)
        ahead = PARTS_AHEAD if part else 0
        wanted = range(part, min(last, part + ahead) + 1)
        for other in [p for p in self._parts if p not in wanted]:
            self._forget(other)
        for one in wanted:
            if one not in self._parts:
                start, stop = self._bounds(one)
                length = min(self._part_bytes, self._size) if one else stop
                buffer = self._free.pop() if one and self._free else memoryview(bytearray(length))
                self._parts[one] = self._pool.submit(self._fill, start, buffer[: stop - start]), buffer
        return self._parts[part]

    def _forget_all(self) -> None:
        for part in list(self._parts):
            self._forget(part)

    def _forget(self, part: int) -> None:
        came, buffer = self._parts.pop(part)
        if part and (came.cancel() or came.done()):  # else it is still written to
            self._free.append(buffer)

    def _part_of(self, at: int) -> int:
        return 0 if at < FIRST_BYTES else 1 + at // self._part_bytes

    def _bounds(self, part: int) -> tuple[int, int]:
        if part == 0:
            return self._first, min(self._size, FIRST_BYTES)
        start = max(self._first, FIRST_BYTES, (part - 1) * self._part_bytes)
        return start, min(self._size, part * self._part_bytes)


class Verified(io.RawIOBase):
    """A forward-only stream that raises at its end unless length and checksums are what the source said.

    `sums` are pairs of a running hash and the hexadecimal digest that it must reach. Raises `Rejection`
    (TRANSFER_INCOMPLETE, CHECKSUM_MISMATCH).
    """

    def __init__(self, stream: Any, size: int | None, sums: Iterable[tuple[Hash, str]] = ()) -> None:
        self._stream, self._size, self._sums, self._at = stream, size, tuple(sums), 0
        self._some = some_of(stream)
        self._summing = Aside()

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

    def some(self, count: int) -> Bytes:
        """The next bytes, up to `count`, which hold until the next call; none at the end."""
        self._summing.wait()
        piece = self._some(count)
        self._count(piece)
        if not piece and count:
            self._check()
        return piece

    def readinto(self, buffer: Any) -> int:
        return put(self.some(len(buffer)), buffer)

    def close(self) -> None:
        self._summing.close()
        self._stream.close()
        super().close()

    def _count(self, data: Bytes) -> None:
        self._at += len(data)
        if self._size is not None and self._at > self._size:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "more bytes than stated")
        if self._sums:
            self._summing.do(self._sum, data)

    def _sum(self, data: Bytes) -> None:
        for running, _ in self._sums:
            running.update(data)

    def _check(self) -> None:
        if self._size is not None and self._at != self._size:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "fewer bytes than stated")
        if any(running.hexdigest() != stated for running, stated in self._sums):
            raise Rejection(Reason.CHECKSUM_MISMATCH)


class ReadAhead:
    """A thread that reads a stream ahead, so that reading and what is done with the bytes overlap. Forward only.

    `watch` sees every chunk in the thread, before the reader does. The chunks are buffers that are used again: fresh
    memory costs more than what is done with it.
    """

    def __init__(self, stream: Any, watch: Callable[[memoryview], None] = lambda _: None) -> None:
        self._stream, self._watch = stream, watch
        self._filled: queue.SimpleQueue[memoryview | BaseException] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        for _ in range(CHUNKS_AHEAD + 1):
            self._free.put(memoryview(bytearray(CHUNK_BYTES)))
        self._chunk, self._at, self._ended = memoryview(b""), 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def some(self, count: int) -> memoryview:
        """The next bytes, up to `count`, which hold until the next call; none at the end. Raises what reading did."""
        if self._at == len(self._chunk) and not self._ended:
            if self._chunk.obj:
                self._free.put(memoryview(self._chunk.obj))
                self._chunk, self._at = memoryview(b""), 0
            found = self._filled.get()
            if isinstance(found, BaseException):
                self._ended = True
                raise found
            self._chunk, self._ended = found, not len(found)
        piece = self._chunk[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        """The next bytes into `buffer`; returns how many, 0 at the end."""
        return put(self.some(len(buffer)), buffer)

    def close(self) -> None:
        """Stop reading; the stream itself is the caller's to close."""
        self._over.set()
        self._free.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (buffer := self._free.get()) is not None and not self._over.is_set():
            size, failed = self._fill_up(buffer)
            if size or failed is None:
                self._filled.put(buffer[:size])
            if failed is not None:
                self._filled.put(failed)
            if failed is not None or not size:
                return

    def _fill_up(self, buffer: memoryview) -> tuple[int, BaseException | None]:
        """How many bytes came, and what ended them before the buffer was full, for the reader to raise."""
        size = 0
        try:
            while size < len(buffer) and not self._over.is_set() and (more := self._stream.readinto(buffer[size:])):
                self._watch(buffer[size : size + more])
                size += more
        except BaseException as error:  # noqa: BLE001  # handed to the reader, which raises it
            return size, error
        return size, None
