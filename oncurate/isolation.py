"""Runs the decoders of compressed pixels in a child process, because damaged streams make them abort, not raise.

Belongs here: the child, its pipe, its limits of time and memory, its death. Does not belong here: decoding
(`oncurate.decoders`). One damaged file must not take a worker with it: a child that dies, hangs or wants more memory
than its frame can need makes that file UNDECODABLE, and a dead one is replaced for the next file.
"""

from __future__ import annotations

import atexit
import os
import pickle
import resource
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import numpy as np

from oncurate import decoders
from oncurate.errors import Rejection
from oncurate.pixeldata import expected_bytes
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

TIME_LIMIT_SECONDS = 120.0
"""A decoder that gives no frame for this long hangs; the slowest real frame, a mammogram in JPEG 2000, takes some 4."""
SLOWEST_BYTES_PER_SECOND = 1 << 20
"""A file may take the time limit and as long as its pixels take at this rate; JPEG 2000 gives ten times as much."""

MEMORY_PER_SAMPLE_BYTES = 16
"""What a decoder may use for each sample of a frame: OpenJPEG used 7 bytes for grey of 16 bits, the others 2."""
MEMORY_BASE_BYTES = 1 << 28
"""What it may use whatever the frame: parsing the header, tables, arenas of the allocator."""

COPIES_OF_FILE = 4
"""How often a file may be in memory: as received, as one frame, stripped, and as the codec's own copy."""

_LENGTH = struct.Struct(">Q")
_SERVE = "from oncurate.isolation import serve; serve()"

Request = tuple[PixelFormat, bytes, list[int]]


def decode(form: PixelFormat, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """`decoders.decode` in the child process of this process."""
    answer = _child(os.getpid()).ask((form, data, list(frames)))
    if isinstance(answer, Rejection):
        raise answer
    if answer is None:
        raise Rejection(Reason.UNDECODABLE, decoders.syntax_name(form.TransferSyntaxUID))
    return answer


class Child:
    """A process that decodes one file after the other; started when first asked, and again after it died."""

    def __init__(self, time_limit: float = TIME_LIMIT_SECONDS) -> None:
        self._time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: Request) -> list[np.ndarray] | Rejection | None:
        """The frames, why there are none, or None if the process died or hung over it."""
        form, _, frames = request
        last = time.monotonic() + self._time_limit + expected_bytes(form) / SLOWEST_BYTES_PER_SECOND
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                _send_request(process.stdin, request)
                found: list[np.ndarray] = []
                while len(found) < len(frames):
                    left = min(self._time_limit, last - time.monotonic())
                    ready, _, _ = select.select([process.stdout], [], [], max(0.0, left))
                    if not ready:
                        break
                    answer = _receive_answer(process.stdout.raw)  # type: ignore[attr-defined]  # select sees no buffer
                    if isinstance(answer, Rejection):
                        return answer
                    found.append(answer)
                else:
                    return found
            except (BrokenPipeError, EOFError):
                pass  # it died: the file is undecodable, the next one gets a new process
            self.stop()
            return None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the decoders print there
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        atexit.register(self.stop)
        return self._process

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is not None:
            process.kill()
            process.communicate()


@cache
def _child(_pid: int) -> Child:
    """The child of this process: a forked process has the parent's memory but must not share its pipe."""
    return Child()


def serve() -> None:
    """What the child does: answer requests until its parent is gone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold a patient's file
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the answers
    while True:
        try:
            form, size, frames = pickle.loads(_receive(sys.stdin.buffer))
            _limit_memory(data_bytes() + COPIES_OF_FILE * size + memory_for(form))
            data = sys.stdin.buffer.read(size)
        except EOFError:
            return
        if len(data) < size:
            return
        try:
            for frame in decoders.decode_each(form, data, frames):
                _send_frame(answers, frame)
        except Rejection as rejection:
            _send(answers, pickle.dumps(rejection))
        del data


def memory_for(form: PixelFormat) -> int:
    """Bytes that decoding one frame may take, beside the file itself."""
    return MEMORY_BASE_BYTES + MEMORY_PER_SAMPLE_BYTES * form.Rows * form.Columns * form.SamplesPerPixel


def data_bytes() -> int:
    """The private memory of this process as the system counts it against its limit; 0 where it does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _limit_memory(size: int) -> None:
    """Let allocations beyond `size` fail; does nothing where the system has no such limit or a lower one."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or size < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def _send_request(pipe: BinaryIO, request: Request) -> None:
    form, data, frames = request
    _send(pipe, pickle.dumps((form, len(data), frames)))
    pipe.write(data)
    pipe.flush()


def _send_frame(pipe: BinaryIO, frame: np.ndarray) -> None:
    frame = np.ascontiguousarray(frame)
    _send(pipe, pickle.dumps((frame.dtype.str, frame.shape)))
    pipe.write(frame.data)
    pipe.flush()


def _receive_answer(pipe: RawIOBase) -> np.ndarray | Rejection:
    answer = pickle.loads(_receive(pipe))  # both ends of the pipe are ours, so unpickling is safe
    if isinstance(answer, Rejection):
        return answer
    dtype, shape = answer
    frame = np.empty(shape, dtype)
    _fill(pipe, memoryview(frame).cast("B"))
    return frame


def _send(pipe: BinaryIO, message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: BinaryIO | RawIOBase) -> bytes:
    head = bytearray(_LENGTH.size)
    _fill(pipe, memoryview(head))
    body = bytearray(_LENGTH.unpack(head)[0])
    _fill(pipe, memoryview(body))
    return bytes(body)


def _fill(pipe: BinaryIO | RawIOBase, view: memoryview) -> None:
    """Read until `view` is full; a pipe gives what it has."""
    while view:
        count = pipe.readinto(view)  # type: ignore[union-attr]
        if not count:
            raise EOFError
        view = view[count:]
