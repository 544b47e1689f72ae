"""Bytes that pass once: read without a copy where that can be, worked on in two threads at a time.

Belongs here: views that hold until the next is asked for, and work beside their reader's. Does not belong here: looking
ahead and back (`oncurate.forward`), lengths and checksums (`oncurate.sources.streams`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

CHUNK_BYTES = 1 << 20

Bytes = bytes | memoryview


def put(piece: Bytes, buffer: Any) -> int:
    """Copy a piece to the start of a buffer that has room for it; returns its length, as `readinto` does."""
    buffer[: len(piece)] = piece
    return len(piece)


def some_of(stream: Any, buffer: memoryview | None = None) -> Callable[[int], Bytes]:
    """How to read a stream: `some(count)` gives the next bytes, up to `count`, none at the end.

    What a call gives holds until the next one. A stream that has no such method itself is read into `buffer`.
    """
    if hasattr(stream, "some"):
        return stream.some
    if isinstance(stream, io.BytesIO):
        return stream.read
    room = memoryview(bytearray(CHUNK_BYTES)) if buffer is None else buffer
    return lambda count: room[: stream.readinto(room[:count]) or 0]


class Aside:
    """Work on bytes, in a thread of its own while whoever hands them over works on the same ones.

    One piece at a time: `do` waits for the last one. Both raise what the work on it raised. A piece below `CHUNK_BYTES`
    is worked on at once: a file that fits one is not worth a thread.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[object] | None = None

    def do(self, work: Callable[[Any], object], piece: Bytes) -> None:
        """Begin to work on `piece`, which has to hold until `wait`."""
        self.wait()
        if len(piece) < CHUNK_BYTES:
            work(piece)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="aside")
        self._running = self._thread.submit(work, piece)

    def wait(self) -> None:
        """Until the work is done."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """End the thread; what its work raised and nobody waited for is not raised."""
        if self._thread is not None:
            self._thread.shutdown()
