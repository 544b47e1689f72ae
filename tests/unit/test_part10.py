"""The outermost layer: deflated files, with all the faults that writers put into them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

from oncurate import part10, pixels
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import encoding

ARRAY = encoding.smooth("u2", 16)
EXPLICIT = "1.2.840.10008.1.2.1"


def deflated(window: int = -zlib.MAX_WBITS, syntax: str = f"{EXPLICIT}.99", group_length: int | None = 0) -> bytes:
    """A deflated file; `group_length` is added to the right one, None leaves it out."""
    ds = encoding.dataset(ARRAY)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    plain = out.getvalue()
    (length,) = struct.unpack_from("<L", plain, 140)
    body, meta = plain[144 + length :], plain[144 : 144 + length]
    at = meta.index(b"\x02\x00\x10\x00UI")
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = meta[: at + 6] + struct.pack("<H", len(uid)) + uid + meta[at + 8 + 20 :]
    packer = zlib.compressobj(wbits=window)
    head = b"" if group_length is None else plain[132:140] + struct.pack("<L", len(meta) + group_length)
    packed = packer.compress(body) + packer.flush()
    return plain[:132] + head + meta + packed + b"\0" * (len(packed) % 2)


@pytest.mark.parametrize("group_length", [0, None, 7, -3])
@pytest.mark.parametrize("window", [-zlib.MAX_WBITS, zlib.MAX_WBITS])
def test_deflated_files_are_read_with_a_zlib_header_and_a_wrong_group_length(
    window: int, group_length: int | None
) -> None:
    data = deflated(window, group_length=group_length)
    [found] = pixels.decode_frames(encoding.instance_of(data).locator, data, [0])
    np.testing.assert_array_equal(found, ARRAY)


def test_a_cut_deflated_file_is_truncated() -> None:
    with pytest.raises(Rejection) as caught:
        part10.inflate(deflated()[:-20])
    assert caught.value.reason is Reason.TRUNCATED_PIXEL_DATA


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part10, "INFLATED_LIMIT_BYTES", 100)
    with pytest.raises(Rejection) as caught:
        part10.inflate(deflated())
    assert caught.value.reason is Reason.IMPLAUSIBLE_HEADER


def test_what_is_not_deflated_is_refused_and_other_files_are_left_alone() -> None:
    data = deflated()
    with pytest.raises(Rejection) as caught:
        part10.inflate(data[:-300] + b"\xff" * 300)
    assert caught.value.reason in (Reason.BROKEN_HEADER, Reason.TRUNCATED_PIXEL_DATA)
    other = deflated(syntax=EXPLICIT)
    assert part10.inflate(other) is other
    assert part10.inflate(b"") == b""


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
def test_deflated_jpip_is_refused_by_name(syntax: str) -> None:
    with pytest.raises(Rejection) as caught:
        encoding.instance_of(deflated(syntax=syntax))
    assert caught.value.reason is Reason.UNSUPPORTED_SYNTAX
    assert caught.value.detail.startswith("JPIP")
    assert caught.value.detail.endswith("Deflate")
