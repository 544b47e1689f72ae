"""Isolation: a decoder that dies or hangs costs one file, not the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from oncurate import isolation
from oncurate.errors import Rejection
from oncurate.isolation import Child
from oncurate.reasons import Reason
from oncurate.records import PixelFormat
from tests.unit import made

RLE = made.pixel_format(TransferSyntaxUID="1.2.840.10008.1.2.5", Rows=64, Columns=64)


@pytest.fixture(scope="module")
def data() -> bytes:
    with open(str(get_testdata_file("MR_small_RLE.dcm")), "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    found = Child()
    yield found
    found.stop()


def test_the_child_answers_with_frames_or_a_rejection(child: Child, data: bytes) -> None:
    frames = child.ask((RLE, data, [0]))
    assert isinstance(frames, list)
    assert frames[0].shape == (64, 64)
    assert isinstance(frames[0], np.ndarray)
    refused = child.ask((RLE, data[:900], [0]))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.UNDECODABLE


def test_a_dead_child_is_replaced(child: Child, data: bytes) -> None:
    assert child.ask((RLE, data, [0])) is not None
    assert child._process is not None
    os.kill(child._process.pid, signal.SIGKILL)
    child._process.wait()
    assert child.ask((RLE, data, [0])) is None
    assert child.ask((RLE, data, [0])) is not None


def test_a_child_that_hangs_is_ended(data: bytes) -> None:
    hasty = Child(time_limit=0.0)
    assert hasty.ask((RLE, data, [0])) is None
    assert hasty._process is None


def test_no_answer_is_undecodable(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    class Dead:
        def ask(self, request: tuple[PixelFormat, bytes, list[int]]) -> None:
            return None

    monkeypatch.setattr(isolation, "_child", lambda _: Dead())
    with pytest.raises(Rejection) as caught:
        isolation.decode(RLE, data, [0])
    assert (caught.value.reason, caught.value.detail) == (Reason.UNDECODABLE, "RLE Lossless")
