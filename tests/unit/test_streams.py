"""Streams give every byte once and in order, ahead of need, and raise where length or checksum are wrong."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.forward import Forward
from oncurate.passing import CHUNK_BYTES, Aside
from oncurate.reasons import Reason
from oncurate.sources import streams
from oncurate.sources.interface import Listed
from oncurate.sources.partial import Partial, partial_of
from oncurate.sources.streams import RangeStream, ReadAhead, Verified
from oncurate.store import Store
from tests.unit.test_archives import tarred

DATA = os.urandom(100_000)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FIRST_BYTES", 1000)
    monkeypatch.setattr(streams, "PART_BYTES", 7000)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 3000)


def ranges(asked: list[tuple[int, int]]):
    def fill(start: int, into: memoryview) -> None:
        asked.append((start, start + len(into)))
        into[:] = DATA[start : start + len(into)]

    return fill


def test_ranges_cover_the_file_once() -> None:
    asked: list[tuple[int, int]] = []
    with ThreadPoolExecutor(4) as pool, RangeStream(ranges(asked), len(DATA), pool) as stream:
        assert io.BufferedReader(stream, 512).read() == DATA
    starts = [0, 1000, *range(7000, len(DATA), 7000)]
    assert sorted(asked) == list(zip(starts, [*starts[1:], len(DATA)], strict=True))


@pytest.mark.parametrize("at", [0, 1, 999, 1000, 6999, 7000, 50_001, len(DATA) - 1, len(DATA)])
@pytest.mark.parametrize("part_bytes", [0, 4096])
def test_what_is_before_the_place_gone_to_is_not_asked_for(at: int, part_bytes: int) -> None:
    asked: list[tuple[int, int]] = []
    with ThreadPoolExecutor(4) as pool, RangeStream(ranges(asked), len(DATA), pool, part_bytes) as stream:
        stream.seek(at)
        assert io.BufferedReader(stream, 512).read() == DATA[at:]
    assert sum(stop - start for start, stop in asked) == len(DATA) - at


def test_only_the_first_part_is_asked_for_a_look_at_the_head() -> None:
    asked: list[tuple[int, int]] = []
    with ThreadPoolExecutor(4) as pool, RangeStream(ranges(asked), len(DATA), pool) as stream:
        assert stream.read(100) == DATA[:100]
        assert asked == [(0, 1000)]
        stream.seek(50_000)
        assert stream.read(10) == DATA[50_000:50_010]
    assert min(start for start, _ in asked[1:]) == 50_000


@pytest.mark.parametrize(
    ("size", "digest", "reason"),
    [
        (len(DATA), hashlib.sha256(DATA).hexdigest(), None),
        (None, hashlib.sha256(DATA).hexdigest(), None),
        (len(DATA) + 1, "", Reason.TRANSFER_INCOMPLETE),
        (len(DATA) - 1, "", Reason.TRANSFER_INCOMPLETE),
        (len(DATA), "0" * 64, Reason.CHECKSUM_MISMATCH),
    ],
)
def test_the_end_of_a_stream_is_verified(size: int | None, digest: str, reason: Reason | None) -> None:
    sums = [(hashlib.sha256(), digest)] if digest else []
    stream = io.BufferedReader(Verified(io.BytesIO(DATA), size, sums))
    if reason is None:
        assert stream.read() == DATA
        return
    with pytest.raises(Rejection) as refused:
        stream.read()
    assert refused.value.reason is reason


def test_a_resumed_stream_is_verified_as_a_whole() -> None:
    for head in (DATA[:40_000], b"x" * 40_000):
        stream = Verified(io.BytesIO(DATA), len(DATA), [(hashlib.sha256(), hashlib.sha256(DATA).hexdigest())])
        stream.resume([head[:100], head[100:]])
        if head == DATA[:40_000]:
            assert stream.read() == DATA[40_000:]
        else:
            with pytest.raises(Rejection):
                stream.read()


def test_work_aside_is_done_in_order_and_raises_at_the_next_piece() -> None:
    threads, seen = set(), bytearray()

    def work(piece: Any) -> None:
        threads.add(threading.current_thread())
        seen.extend(piece)

    aside, large = Aside(), DATA * 11
    for piece in (b"small", large, b"small", memoryview(large)):
        aside.do(work, piece)
    aside.wait()
    assert bytes(seen) == (b"small" + large) * 2
    assert len(threads) == 2

    def failing(piece: Any) -> None:
        raise StoreUnreachable("gone")

    aside.do(failing, large)
    with pytest.raises(StoreUnreachable, match="gone"):
        aside.do(work, b"small")
    aside.wait()
    aside.close()


class OneBuffer(io.RawIOBase):
    """Gives a file of pieces that are worth a thread, each in the place of the one before."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._buffer = data, 0, bytearray(CHUNK_BYTES)

    def seekable(self) -> bool:
        return True

    def some(self, count: int) -> memoryview:
        piece = self._data[self._at : self._at + min(count, CHUNK_BYTES)]
        self._at += len(piece)
        self._buffer[: len(piece)] = piece
        return memoryview(self._buffer)[: len(piece)]


class SlowHash:
    """Begins late."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s, self._hash = wait_s, hashlib.sha256()

    def update(self, data: Any) -> None:
        time.sleep(self._wait_s)
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@pytest.mark.parametrize(("sum_s", "write_s"), [(0.01, 0.0), (0.0, 0.01)])
def test_a_buffer_is_not_used_again_while_it_is_summed_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sum_s: float, write_s: float
) -> None:
    data = os.urandom(5 << 20)

    def slowly(partial: Partial, piece: Any) -> None:
        time.sleep(write_s)
        real(partial, piece)

    real = Partial._write
    monkeypatch.setattr(Partial, "_write", slowly)
    stream = Verified(OneBuffer(data), len(data), [(SlowHash(sum_s), hashlib.sha256(data).hexdigest())])
    with stream, partial_of(Store(str(tmp_path)), Listed("a", "x://host/a", len(data), "1")) as partial:
        partial.attach(stream)
        while partial.some(1 << 30):
            pass
        partial.file.seek(0)
        assert partial.file.read() == data


def test_reading_ahead_gives_all_and_raises_what_was_raised() -> None:
    ahead = ReadAhead(io.BytesIO(DATA))
    assert b"".join(bytes(piece) for piece in iter(lambda: ahead.some(777), b"")) == DATA
    assert not ahead.some(1)
    ahead.close()

    class Broken(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell():
                raise StoreUnreachable("gone")
            return super().readinto(memoryview(buffer)[:1234])

    ahead = ReadAhead(Broken(DATA))
    assert ahead.some(9999) == DATA[:1234]
    with pytest.raises(StoreUnreachable, match="gone"):
        ahead.some(1)
    assert not ahead.some(1)
    ahead.close()


def test_reading_ahead_stops_when_it_is_closed() -> None:
    before = threading.active_count()
    ahead = ReadAhead(io.BytesIO(DATA * 10))
    ahead.some(1)
    ahead.close()
    assert threading.active_count() == before


def test_forward_looks_ahead_and_steps_back_a_little() -> None:
    seen = hashlib.sha256()
    stream = Forward(io.BytesIO(DATA).read, seen.update)
    assert stream.peek(512) == DATA[:512]
    assert stream.tell() == 0
    assert stream.read(10) == DATA[:10]
    assert stream.seek(90_000) == 90_000
    assert stream.seek(89_999) == 89_999
    assert stream.read(2) == DATA[89_999:90_001]
    with pytest.raises(io.UnsupportedOperation):
        stream.seek(0)
    assert stream.read() == DATA[90_001:]
    stream.drain()
    assert (stream.end, seen.digest()) == (len(DATA), hashlib.sha256(DATA).digest())


@pytest.mark.parametrize("step", [1, 511, 512, 4096, 1 << 20])
def test_a_tar_can_be_read_from_any_stream(step: int) -> None:
    files = {"a": b"", "b": DATA[:512], "c": DATA[:20_000], "d" * 200: DATA[:1]}
    source = io.BytesIO(tarred(files))
    with tarfile.open(fileobj=Forward(lambda count: source.read(min(count, step))), mode="r:") as archive:  # type: ignore[arg-type]
        found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    assert found == files


def read_out(partial: Partial) -> bytes:
    """What is left of it."""
    buffer, found = bytearray(9000), b""
    while count := partial.readinto(buffer):
        found += buffer[:count]
    return found


def listed(version: str = "1") -> Listed:
    return Listed("a", "x://host/a", len(DATA), version)


def test_a_partial_file_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with partial_of(store, listed()) as partial:
        partial.attach(io.BytesIO(DATA))
        assert len(partial.peek(30_000)) == 30_000
    stream = Verified(io.BytesIO(DATA), len(DATA), [(hashlib.sha256(), hashlib.sha256(DATA).hexdigest())])
    with partial_of(store, listed()) as partial:
        partial.attach(stream)
        assert read_out(partial) == DATA
        partial.drop()
    assert list(store.list()) == []


def test_a_partial_file_of_another_version_is_another(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with partial_of(store, listed()) as partial:
        partial.attach(io.BytesIO(b"old" * 100))
        partial.peek(300)
    with partial_of(store, listed("2")) as partial:
        partial.attach(io.BytesIO(DATA))
        assert partial.peek(5) == DATA[:5]


def test_two_at_the_same_object_do_not_disturb_each_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with partial_of(store, listed()) as first:
        first.attach(io.BytesIO(DATA))
        first.peek(10_000)
        with partial_of(store, listed()) as second:
            second.attach(io.BytesIO(DATA))
            assert second.peek(len(DATA)) == DATA
            second.drop()
        assert len(list(store.list())) == 1
        assert read_out(first) == DATA
        first.drop()
    assert list(store.list()) == []


def test_what_cannot_go_on_starts_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for _ in range(2):
        with partial_of(store, listed()) as partial:
            partial.attach(io.BytesIO(DATA))  # no `Verified`: it can only be read from its beginning
            assert partial.peek(40_000) == DATA[:40_000]
