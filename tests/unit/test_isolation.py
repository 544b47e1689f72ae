"""Isolation: a decoder that dies, hangs or takes all memory costs one file, not the process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pytest

from oncurate import isolation
from oncurate.errors import Rejection
from oncurate.isolation import Child
from oncurate.reasons import Reason
from oncurate.records import PixelFormat
from tests import encoding
from tests.unit import made

SYNTAX = f"{encoding.JPEG}80"
ARRAY = encoding.smooth("u2", 16)
FRAME = imagecodecs.jpegls_encode(ARRAY)
SERVE_WITH = "import {0}; import oncurate.decoders as d; d.decode_each = lambda *_: {1}; " + isolation._SERVE


def file_of(frames: int = 1) -> tuple[PixelFormat, bytes]:
    """A file with so many frames, and its format: a CT of many frames would need more of a header to be read."""
    one = encoding.wrapped(encoding.dataset(ARRAY), SYNTAX, encoding.items(FRAME))
    form = encoding.instance_of(one).format.model_copy(update={"NumberOfFrames": frames})
    return form, encoding.wrapped(encoding.dataset(ARRAY), SYNTAX, encoding.items(*[FRAME] * frames))


FORM, DATA = file_of()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    found = Child()
    yield found
    found.stop()


def served_by(monkeypatch: pytest.MonkeyPatch, module: str, expression: str, limit: float = 60.0) -> Child:
    """A child whose decoder does something else."""
    monkeypatch.setattr(isolation, "_SERVE", SERVE_WITH.format(module, expression))
    return Child(time_limit=limit)


def test_the_child_answers_with_frames_or_a_rejection(child: Child) -> None:
    frames = child.ask((FORM, DATA, [0]))
    assert isinstance(frames, list)
    np.testing.assert_array_equal(frames[0], ARRAY)
    refused = child.ask((FORM, DATA[:-100] + bytes(92) + DATA[-8:], [0]))
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.detail) == (Reason.UNDECODABLE, "JPEG-LS Lossless Image Compression")
    assert child.ask((FORM, DATA, [0])) is not None


def test_many_small_frames_come_at_once(child: Child) -> None:
    form, data = file_of(200)
    start = time.monotonic()
    frames = child.ask((form, data, list(range(200))))
    assert isinstance(frames, list)
    np.testing.assert_array_equal(np.stack(frames), np.stack([ARRAY] * 200))
    assert time.monotonic() - start < 20


def test_a_damaged_frame_among_good_ones_leaves_the_child_usable(child: Child) -> None:
    form, data = file_of(3)
    at = data.rindex(FRAME)
    damaged = data[: at + 60] + bytes(len(FRAME) - 60) + data[at + len(FRAME) :]
    assert isinstance(child.ask((form, damaged, [0, 1, 2])), Rejection)
    assert isinstance(child.ask((form, damaged, [0, 1])), list)


def test_a_dead_child_is_replaced(child: Child) -> None:
    assert child.ask((FORM, DATA, [0])) is not None
    assert child._process is not None
    os.kill(child._process.pid, signal.SIGKILL)
    child._process.wait()
    assert child.ask((FORM, DATA, [0])) is None
    assert child.ask((FORM, DATA, [0])) is not None


def test_a_child_that_crashes_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = served_by(monkeypatch, "ctypes", "ctypes.string_at(0)")
    assert crashing.ask((FORM, DATA, [0])) is None
    assert crashing._process is None


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = served_by(monkeypatch, "itertools", "(x for x in itertools.repeat(0) if x)", limit=2.0)
    start = time.monotonic()
    assert hanging.ask((FORM, DATA, [0])) is None
    assert hanging._process is None
    assert time.monotonic() - start < 10


def test_frames_that_trickle_are_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "SLOWEST_BYTES_PER_SECOND", 1 << 40)
    slow = "(time.sleep(0.7) or __import__('numpy').zeros(3) for _ in range(99))"
    trickling = served_by(monkeypatch, "time", slow, limit=2.0)
    form, data = file_of(99)
    start = time.monotonic()
    assert trickling.ask((form, data, list(range(99)))) is None
    assert time.monotonic() - start < 10


@pytest.mark.skipif(isolation.data_bytes() == 0, reason="this system does not tell a process's memory")
def test_a_decoder_that_wants_more_memory_than_its_frame_can_need_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bytes_wanted = 2 * isolation.memory_for(FORM)
    greedy = f"iter([bytearray({bytes_wanted})[:0] or numpy.zeros(3)])"
    assert served_by(monkeypatch, "numpy", greedy).ask((FORM, DATA, [0])) is None
    assert isolation.memory_for(FORM) < 1 << 29
    modest = f"iter([bytearray({bytes_wanted // 4})[:0] or numpy.zeros(3)])"
    fed = served_by(monkeypatch, "numpy", modest)
    assert fed.ask((FORM, DATA, [0])) is not None
    fed.stop()


@pytest.mark.skipif(isolation.data_bytes() == 0, reason="this system does not tell a process's memory")
@pytest.mark.parametrize("side", [8000, 60000])
def test_a_stream_that_claims_more_than_its_header_is_not_unpacked(child: Child, side: int) -> None:
    """JPEG 2000 of a size that neither fits the header nor memory; then one that lies about its tiles."""
    stream = bytearray(encoding.jpeg_2000(ARRAY, 16))
    size = side.to_bytes(4, "big")
    claims = bytes(stream[:8]) + size * 2 + bytes(stream[16:])
    tiles = bytes(stream[:24]) + size * 2 + bytes(stream[32:])
    form = FORM.model_copy(update={"TransferSyntaxUID": f"{encoding.JPEG}90"})
    for lie in (claims, tiles):
        data = encoding.wrapped(encoding.dataset(ARRAY), form.TransferSyntaxUID, encoding.items(lie))
        answer = child.ask((form, data, [0]))
        assert answer is not None or lie is tiles
        if lie is claims:
            assert isinstance(answer, Rejection)
            assert answer.reason is Reason.PIXEL_DATA_MISMATCH
    largest = form.model_copy(update={"Rows": side, "Columns": side})
    data = encoding.wrapped(encoding.dataset(ARRAY), form.TransferSyntaxUID, encoding.items(claims))
    refused = child.ask((largest, data, [0]))
    assert isinstance(refused, Rejection)
    assert refused.reason in (Reason.UNDECODABLE, Reason.IMPLAUSIBLE_HEADER)
    assert isinstance(child.ask((FORM, DATA, [0])), list)


def test_no_answer_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        def ask(self, request: tuple[PixelFormat, bytes, list[int]]) -> None:
            return None

    monkeypatch.setattr(isolation, "_child", lambda _: Dead())
    form = made.pixel_format(TransferSyntaxUID="1.2.840.10008.1.2.5")
    with pytest.raises(Rejection) as caught:
        isolation.decode(form, b"", [0])
    assert (caught.value.reason, caught.value.detail) == (Reason.UNDECODABLE, "RLE Lossless")
