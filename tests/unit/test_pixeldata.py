"""Pixel data: where it is, and whether all of it is there."""

from __future__ import annotations

import struct

import pytest

from oncurate.errors import Rejection
from oncurate.pixeldata import expected_bytes
from oncurate.reasons import Reason
from tests import encoding
from tests.unit import made

SYNTAX = f"{encoding.JPEG}80"


def compressed(*parts: bytes, frames: int = 1) -> bytes:
    return encoding.wrapped(encoding.dataset(encoding.smooth("u1", 8)), SYNTAX, encoding.items(*parts), frames)


def refused(data: bytes) -> tuple[Reason, str]:
    with pytest.raises(Rejection) as caught:
        encoding.instance_of(data)
    return caught.value.reason, caught.value.detail


def test_encapsulated_pixels_need_a_fragment_and_their_end() -> None:
    data = compressed(b"\xff\xd8\xff\xd9")
    assert encoding.instance_of(data).offset is None
    for cut in (1, 8, 10, 20):
        assert refused(data[:-cut])[0] is Reason.TRUNCATED_PIXEL_DATA
    assert refused(compressed())[0] is Reason.TRUNCATED_PIXEL_DATA


def test_compressed_pixels_under_the_syntax_of_native_ones_are_refused() -> None:
    data = compressed(b"\xff\xd8\xff\xd9")
    native = data.replace(SYNTAX.encode(), b"1.2.840.10008.1.2.1".ljust(len(SYNTAX), b"\0"))
    assert len(native) == len(data)
    assert refused(native) == (Reason.IMPLAUSIBLE_HEADER, "TransferSyntaxUID")


def native(extra: int) -> bytes:
    """Native pixels of 1920 bytes and `extra` more, or fewer."""
    data = encoding.wrapped(encoding.dataset(encoding.smooth("u1", 8)), "1.2.840.10008.1.2.1", b"")
    head = data[: data.rindex(b"\xe0\x7f\x10\x00")]
    return head + b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<L", 1920 + extra) + bytes(1920 + extra)


def test_one_byte_short_is_truncated_and_more_is_padding() -> None:
    assert refused(native(-1)) == (Reason.TRUNCATED_PIXEL_DATA, "1919 of 1920 bytes")
    assert refused(native(0)[:-1]) == (Reason.TRUNCATED_PIXEL_DATA, "1919 of 1920 bytes")
    for extra in (0, 1, 100):
        assert encoding.instance_of(native(extra)).offset is not None


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204"])
def test_pixels_that_are_elsewhere_are_an_unsupported_syntax(syntax: str) -> None:
    data = encoding.wrapped(encoding.dataset(encoding.smooth("u1", 8)), syntax, b"")
    reason, detail = refused(data[: data.rindex(b"\xe0\x7f\x10\x00")])
    assert reason is Reason.UNSUPPORTED_SYNTAX
    assert detail.startswith("JPIP")


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({}, 16 * 12 * 2),
        ({"NumberOfFrames": 3, "BitsAllocated": 8}, 3 * 16 * 12),
        ({"BitsAllocated": 1, "Rows": 3, "Columns": 3}, 2),
        ({"BitsAllocated": 8, "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"}, 3 * 16 * 12),
        ({"BitsAllocated": 8, "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}, 2 * 16 * 12),
        ({"BitsAllocated": 8, "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_PARTIAL_422"}, 2 * 16 * 12),
    ],
)
def test_bytes_that_the_header_promises(header: dict, size: int) -> None:
    assert expected_bytes(made.pixel_format(**header)) == size
