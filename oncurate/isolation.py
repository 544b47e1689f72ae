"""Runs the decoders of compressed pixels in a child process, because damaged streams make them abort, not raise.

Belongs here: the child, its pipe, its death. Does not belong here: decoding (`oncurate.decoders`). One damaged file
must not take a worker with it: a child that dies or hangs makes that file UNDECODABLE and is replaced for the next.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, BinaryIO

import numpy as np

from oncurate import decoders
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

TIME_LIMIT_SECONDS = 120.0
"""A file whose decoding gives no answer for this long hangs; the slowest real one, a long enhanced MR, takes ten."""

_LENGTH = struct.Struct(">Q")
_SERVE = "from oncurate.isolation import serve; serve()"


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

    def ask(self, request: tuple[PixelFormat, bytes, list[int]]) -> list[np.ndarray] | Rejection | None:
        """The frames, why there are none, or None if the process died or hung over it."""
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                _send(process.stdin, request)
                ready, _, _ = select.select([process.stdout], [], [], self._time_limit)
                if ready:
                    return _receive(process.stdout)
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
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the answers
    while True:
        try:
            form, data, frames = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Any = [np.ascontiguousarray(frame) for frame in decoders.decode(form, data, frames)]
        except Rejection as rejection:
            answer = rejection
        _send(answers, answer)


def _send(pipe: BinaryIO, message: Any) -> None:
    packed = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(packed)))
    pipe.write(packed)
    pipe.flush()


def _receive(pipe: BinaryIO) -> Any:
    """The next message; both ends of the pipe are ours, so unpickling is safe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    if len(body) < length:
        raise EOFError
    return pickle.loads(body)
