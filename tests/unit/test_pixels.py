"""Pixels: every encoding gives the stored values, and damage gives a reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from oncurate import pixels
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import PixelLocator
from tests import phantoms
from tests.encoding import as_bytes, instance_of
from tests.unit import made


def located(data: bytes, **changed: Any) -> PixelLocator:
    locator = instance_of(data).locator
    if not changed:
        return locator
    return locator.model_copy(update={"format": locator.format.model_copy(update=changed), "offset": None})


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def reason(locator: PixelLocator, data: bytes, frames: list[int]) -> Reason:
    with pytest.raises(Rejection) as caught:
        pixels.decode_frames(locator, data, frames)
    return caught.value.reason


def test_native_frames_are_sliced_out_of_the_bytes(tmp_path: Path) -> None:
    path = phantoms.enhanced_ct(tmp_path, slices=3)
    data = path.read_bytes()
    found = pixels.decode_frames(located(data), data, [2, 0])
    content = phantoms.voxels(3, 16, 12)
    np.testing.assert_array_equal(found, content[[2, 0]])


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beyond_the_stored_ones_are_dropped_as_pydicom_does(signed: int) -> None:
    stored = np.random.default_rng(0).integers(0, 2**16, (4, 5)).astype(np.uint16)
    ds = phantoms.dataset(
        stored, BitsStored=12, HighBit=11, PixelRepresentation=signed, RescaleSlope=1, RescaleIntercept=0
    )
    data = as_bytes(ds)
    locator = located(data)
    assert locator.offset is not None
    [found] = pixels.decode_frames(locator, data, [0])
    np.testing.assert_array_equal(found, dcmread(io.BytesIO(data)).pixel_array)
    assert (found.min() < 0) == bool(signed)


def test_the_fast_path_agrees_with_the_decoder() -> None:
    data = sample("CT_small.dcm")
    locator = located(data)
    slow = locator.model_copy(update={"offset": None})
    np.testing.assert_array_equal(pixels.decode_frames(locator, data, [0]), pixels.decode_frames(slow, data, [0]))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ],
)
def test_lossless_encodings_have_one_digest(name: str) -> None:
    plain, other = sample("MR_small.dcm"), sample(name)
    assert pixels.digest(located(other), other) == pixels.digest(located(plain), plain) is not None


def test_the_digest_changes_with_a_pixel() -> None:
    data = sample("CT_small.dcm")
    other = data[:-200] + bytes([data[-200] ^ 1]) + data[-199:]
    assert pixels.digest(located(data), data) != pixels.digest(located(other), other)


def test_colour_is_rgb_whatever_the_encoding() -> None:
    plain = sample("US1_UNCR.dcm")
    other = sample("US1_J2KR.dcm")
    [rgb] = pixels.decode_frames(located(plain), plain, [0])
    assert rgb.shape[2] == 3
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, pixels.decode_frames(located(other), other, [0])[0])


def test_a_palette_image_is_decoded_to_rgb() -> None:
    data = sample("OBXXXX1A.dcm")
    [rgb] = pixels.decode_frames(located(data), data, [0])
    assert rgb.shape == (600, 800, 3)
    assert rgb.dtype == np.uint8
    assert len(np.unique(rgb)) > 10


@pytest.mark.parametrize("scale", [257, 1])
def test_a_palette_of_16_bits_may_hold_8_bit_entries(scale: int) -> None:
    index = (phantoms.voxels(1, 16, 12)[0] // 8).astype(np.uint8)
    ds = phantoms.dataset(index, photometric="PALETTE COLOR", modality="US", sop_class=phantoms.PLANAR["US"])
    entries = (np.arange(256) * scale).astype("<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", entries)
    data = as_bytes(ds)
    [rgb] = pixels.decode_frames(located(data), data, [0])
    np.testing.assert_array_equal(rgb, np.stack([index] * 3, axis=-1))


def test_an_unknown_syntax_and_a_damaged_stream_are_told_apart() -> None:
    data = sample("MR_small_jp2klossless.dcm")
    assert reason(located(data, TransferSyntaxUID="1.2.840.10008.1.2.4.100"), data, [0]) is Reason.UNSUPPORTED_SYNTAX
    start = data.index(b"\xff\x4f\xff\x51")
    damaged = data[: start + 4] + bytes(len(data) - start - 12) + data[-8:]
    assert reason(located(data), damaged, [0]) is Reason.UNDECODABLE
    assert pixels.digest(located(data), damaged) is None


def test_decoded_pixels_must_have_the_claimed_shape() -> None:
    data = sample("MR_small_jp2klossless.dcm")
    assert reason(located(data, Rows=32), data, [0]) in (Reason.PIXEL_DATA_MISMATCH, Reason.UNDECODABLE)
    native = made.pixel_format()
    locator = PixelLocator(object="o", url="u", bytes=10, offset=0, format=native)
    assert reason(locator, bytes(16 * 12 * 2), [1]) is Reason.PIXEL_DATA_MISMATCH
    assert reason(locator, bytes(100), [0]) is Reason.TRUNCATED_PIXEL_DATA


def test_an_absurd_claim_is_refused_before_decoding() -> None:
    data = sample("MR_small_jp2klossless.dcm")
    assert reason(located(data, Rows=40000, Columns=40000), data, [0]) is Reason.IMPLAUSIBLE_HEADER


@pytest.mark.parametrize("offset", [0, None])
def test_tiles_of_a_mosaic_are_numbered_row_by_row(offset: int | None) -> None:
    content = phantoms.voxels(6, 4, 5)
    whole = content.reshape(2, 3, 4, 5).transpose(0, 2, 1, 3).reshape(8, 15)
    data = as_bytes(phantoms.dataset(whole, RescaleSlope=1, RescaleIntercept=0))
    locator = located(data)
    form = locator.format.model_copy(update={"tiles": (4, 5)})
    locator = locator.model_copy(update={"format": form, "offset": locator.offset if offset == 0 else None})
    np.testing.assert_array_equal(pixels.decode_frames(locator, data, [5, 0, 3]), content[[5, 0, 3]])
    assert pixels.decode_frames(locator, data, []) == []
    assert reason(locator, data, [6]) is Reason.PIXEL_DATA_MISMATCH
    plain = locator.model_copy(update={"format": form.model_copy(update={"tiles": None})})
    assert pixels.digest(locator, data) == pixels.digest(plain, data) is not None
