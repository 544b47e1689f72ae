"""Encapsulated pixel data: frames are found whatever the fragments and the tables look like, or refused."""

from __future__ import annotations

import io
import struct

import pytest

from oncurate import encapsulated
from oncurate.encapsulated import frames_of, joined, walk
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests.encoding import items

END = b"\xfe\xff\xdd\xe0\0\0\0\0"
FRAMES = [b"\xff\xd8\xff" + bytes([n]) * (20 + 2 * n) + b"\xff\xd9\0" for n in range(3)]  # as JPEG opens


def found(value: bytes, count: int, extended: bytes = b"") -> list[bytes]:
    walked = walk(io.BytesIO(value + END), 0, len(value + END))
    assert walked.ended
    return [joined(value, places) for places in frames_of(value, walked, count, extended)]


def offsets(*sizes: int, form: str = "L") -> bytes:
    """A table for items of these sizes, the first at 0."""
    starts = [sum(size + 8 for size in sizes[:n]) for n in range(len(sizes))]
    return struct.pack(f"<{len(starts)}{form}", *starts)


def halves(frame: bytes) -> tuple[bytes, bytes]:
    return frame[:10], frame[10:]


@pytest.mark.parametrize("table", [b"", offsets(*(len(f) for f in FRAMES)), b"\x63\0\0\0" * 3, b"\0\0\0\0"])
def test_as_many_fragments_as_frames_are_one_each_whatever_the_table_says(table: bytes) -> None:
    assert found(items(*FRAMES, table=table), 3) == FRAMES


@pytest.mark.parametrize("table", [b"", b"\x0b\0\0\0", b"\0\0\0\0"])
def test_one_frame_may_be_in_many_fragments(table: bytes) -> None:
    assert found(items(*halves(FRAMES[0]), table=table), 1) == [FRAMES[0]]


def test_frames_of_several_fragments_begin_where_a_codestream_opens_even_if_the_table_is_wrong() -> None:
    parts = [part for frame in FRAMES for part in halves(frame)]
    assert found(items(*parts), 3) == FRAMES
    assert found(items(*parts, table=b"\0\0\0\0\x12\0\0\0\x24\0\0\0"), 3) == FRAMES


@pytest.mark.parametrize("form", ["L", "Q"])
def test_tables_are_needed_where_nothing_opens_a_frame(form: str) -> None:
    plain = [frame[3:] for frame in FRAMES]
    parts = [part for frame in plain for part in halves(frame)]
    with_gap = [len(a) + len(b) + 8 for a, b in map(halves, plain)]
    table = offsets(*with_gap, form=form)
    value = items(*parts, table=table if form == "L" else b"")
    assert found(value, 3, table if form == "Q" else b"") == plain


@pytest.mark.parametrize("table", [b"", offsets(10, 20, 30), b"\0\0\0\0" * 3, offsets(18, 22)])
def test_frames_that_cannot_be_told_apart_are_refused(table: bytes) -> None:
    parts = [part for frame in FRAMES for part in halves(frame[3:])]
    with pytest.raises(Rejection) as caught:
        found(items(*parts, table=table), 3)
    assert (caught.value.reason, caught.value.detail) == (Reason.PIXEL_DATA_MISMATCH, "6 fragments for 3 frames")


def test_fewer_fragments_than_frames_are_truncated_and_more_frames_a_mismatch() -> None:
    with pytest.raises(Rejection) as caught:
        found(items(*FRAMES), 4)
    assert (caught.value.reason, caught.value.detail) == (Reason.TRUNCATED_PIXEL_DATA, "3 fragments for 4 frames")
    with pytest.raises(Rejection) as caught:
        found(items(*FRAMES), 1)
    assert (caught.value.reason, caught.value.detail) == (Reason.PIXEL_DATA_MISMATCH, "3 frames for 1")


def test_empty_fragments_are_no_frames() -> None:
    assert found(items(FRAMES[0], b"", FRAMES[1], b""), 2) == FRAMES[:2]


def test_fragments_of_odd_length_with_and_without_a_byte_more() -> None:
    odd = [b"\xff\xd8\xffabcd", b"\xff\xd8\xffef"]
    assert found(items(*odd), 2) == odd
    padded = items(odd[0]) + b"\0" + items(odd[1])[8:] + b"\0"
    assert found(padded, 2) == odd


def test_a_cut_stream_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    value = items(*FRAMES) + END
    for end in (len(value) - 1, len(value) - 20, 12):
        assert not walk(io.BytesIO(value[:end]), 0, end).ended
    assert not walk(io.BytesIO(items(FRAMES[0]) + b"rubbish!" + END), 0, 1000).ended
    monkeypatch.setattr(encapsulated, "MAX_ITEMS", 2)
    assert not walk(io.BytesIO(value), 0, len(value)).ended


def test_a_delimiter_inside_a_fragment_is_data() -> None:
    frame = b"\xff\xd8\xff" + END + b"rest\0"
    assert found(items(frame), 1) == [frame]
