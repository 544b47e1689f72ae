"""Codestream headers: size, precision, sign and colour as the encoder wrote them; nothing of a damaged one."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest

from oncurate import codestream
from tests import encoding


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_tells_size_and_precision(bits: int) -> None:
    array = encoding.smooth("u1" if bits == 8 else "u2", bits)
    found = codestream.jpeg(encoding.jpeg_lossless(1)(array, bits))
    assert (found.rows, found.columns, found.samples) == (48, 40, 1)
    assert (found.precision, found.lossless, found.subsampled) == (bits, True, False)


def test_jpeg_tells_colour_by_jfif_adobe_and_the_names_of_components() -> None:
    array = encoding.smooth("u1", 8, samples=3)
    jfif = encoding.jpeg_dct(array, 8, subsampling="422")
    assert codestream.jpeg(jfif).colour == "YBR"
    assert codestream.jpeg(jfif).subsampled
    adobe = encoding.jpeg_dct(array, 8, colorspace="RGB", outcolorspace="RGB")
    assert b"Adobe" in adobe
    assert codestream.jpeg(adobe).colour == "RGB"
    flag = adobe.index(b"Adobe") + 11
    assert codestream.jpeg(adobe[:flag] + b"\1" + adobe[flag + 1 :]).colour == "YBR"
    named = without_marker(adobe)
    assert codestream.jpeg(named).colour == "RGB"
    numbered = without_marker(jfif)
    assert codestream.jpeg(numbered).colour is None


def without_marker(data: bytes) -> bytes:
    """`data` without its first segment."""
    return data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]


def test_jpeg_ls_is_read_like_jpeg() -> None:
    found = codestream.jpeg(imagecodecs.jpegls_encode(encoding.smooth("u2", 16)))
    assert (found.rows, found.columns, found.samples, found.precision) == (48, 40, 1, 16)


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("i2", 16)])
@pytest.mark.parametrize("boxed", [False, True])
def test_jpeg_2000_tells_size_precision_and_sign_with_and_without_boxes(dtype: str, bits: int, boxed: bool) -> None:
    data = encoding.jpeg_2000(encoding.smooth(dtype, bits), bits, codecformat="jp2" if boxed else "j2k")
    found, stream = codestream.jpeg2000(data)
    assert stream.startswith(b"\xff\x4f\xff\x51")
    assert (found.rows, found.columns, found.samples) == (48, 40, 1)
    assert (found.precision, found.signed, found.subsampled) == (bits, dtype == "i2", False)


def test_subsampled_components_are_seen() -> None:
    data = bytearray(encoding.jpeg_2000(encoding.smooth("u1", 8, samples=3), 8))
    assert data[42:51] == b"\x07\x01\x01" * 3
    data[46] = 2
    assert codestream.jpeg2000(bytes(data))[0].subsampled


@pytest.mark.parametrize("cut", [0, 1, 3, 12, 30, 200, -2])
def test_cut_streams_are_refused_or_at_least_told_as_they_are(cut: int) -> None:
    jpeg = encoding.jpeg_dct(encoding.smooth("u1", 8), 8)
    with pytest.raises(ValueError):
        codestream.jpeg(jpeg[:cut])
    if cut in range(50):
        with pytest.raises((ValueError, struct.error)):
            codestream.jpeg2000(encoding.jpeg_2000(np.zeros((9, 9), np.uint8), 8)[:cut])
