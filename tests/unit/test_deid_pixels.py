"""Compressed frames lose what rides along and keep their pixels; native pixels stay as they are."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from oncurate import deid
from oncurate.deid import streams
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason
from tests import phantoms

KEYS = Keys(b"s" * 32)
POLICY = deid.DeidPolicy()
CANARY = b"Zwartekanarie Jansen"


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(colour: bool = False) -> bytes:
    grey = phantoms.voxels(1, 32, 24)[0].astype(np.float64)
    pixels = (grey / grey.max() * 255).astype(np.uint8)
    picture = Picture.fromarray(np.stack([pixels, pixels[::-1], pixels[:, ::-1]], -1) if colour else pixels)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90, comment=CANARY)
    return stream.getvalue()


def seen(data: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(data)))


@pytest.mark.parametrize("colour", [False, True])
def test_a_jpeg_loses_comments_and_application_data_and_keeps_its_pixels(colour: bool) -> None:
    clean = jpeg(colour)
    exif, adobe = segment(0xE1, b"Exif\0\0" + CANARY), segment(0xED, CANARY)
    full = clean[:2] + exif + adobe + clean[2:] + CANARY
    out = streams.jpeg(full)
    assert CANARY in full
    assert CANARY not in out
    assert out.endswith(b"\xff\xd9")
    assert np.array_equal(seen(out), seen(clean))
    assert streams.jpeg(out) == out


def test_colour_markers_stay_in_a_form_of_ours() -> None:
    base = jpeg(True)
    without_jfif = base[:2] + base[4 + struct.unpack_from(">H", base, 4)[0] :]
    adobe = without_jfif[:2] + segment(0xEE, b"Adobe\0\x64ABCD\x00" + CANARY) + without_jfif[2:]
    out = streams.jpeg(adobe)
    assert CANARY not in out
    assert b"ABCD" not in out
    assert np.array_equal(seen(out), seen(adobe))
    assert not np.array_equal(seen(out), seen(streams.jpeg(without_jfif)))


@pytest.mark.parametrize(
    "damaged", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\xff\xd8ABCD", b"\xff\xd8\xff\xe0\xff\xff"]
)
def test_a_broken_jpeg_is_refused(damaged: bytes) -> None:
    with pytest.raises(Rejection) as caught:
        streams.jpeg(damaged)
    assert caught.value.reason is Reason.UNDECODABLE


def compressed(syntax: str) -> Dataset:
    ds = phantoms.dataset(phantoms.voxels(3, 64, 64).astype(np.uint16), PixelRepresentation=0)
    ds.compress(syntax, generate_instance_uid=False)
    return ds


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_frames_of_every_syntax_keep_their_pixels(syntax: str) -> None:
    ds = compressed(syntax)
    before = ds.pixel_array.copy()
    out, _ = deid.clean_object(ds, KEYS, POLICY, "subject")
    read = dcmread(io.BytesIO(deid.write(out)))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read.pixel_array, before)


def test_jpeg_2000_comments_and_what_follows_the_end_are_blanked() -> None:
    ds = compressed(JPEG2000Lossless)
    frames = [bytes(f) for f in generate_frames(ds.PixelData, number_of_frames=3)]
    size = struct.unpack_from(">H", frames[0], 4)[0]
    comment = b"\xff\x64" + struct.pack(">HH", len(CANARY) + 4, 1) + CANARY
    before = ds.pixel_array.copy()
    ds.PixelData = encapsulate([f[: 4 + size] + comment + f[4 + size :] + CANARY for f in frames])
    out, _ = deid.clean_object(ds, KEYS, POLICY, "subject")
    data = deid.write(out)
    assert CANARY not in data
    assert np.array_equal(dcmread(io.BytesIO(data)).pixel_array, before)


def test_foreign_boxes_of_a_jp2_file_go() -> None:
    frame = bytes(next(generate_frames(compressed(JPEG2000Lossless).PixelData, number_of_frames=3))).rstrip(b"\0")
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">L4s", len(CANARY) + 8, b"xml ") + CANARY
    out = streams.jpeg2000(boxes + struct.pack(">L4s", 0, b"jp2c") + frame)
    assert CANARY not in out
    assert streams.jpeg2000(frame) in out


def test_fragments_and_offsets_are_put_together_again() -> None:
    ds = phantoms.dataset(np.zeros((2, 32, 24), np.uint8))
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([jpeg(), jpeg()], fragments_per_frame=3, has_bot=True)
    ds["PixelData"].is_undefined_length = True
    out, _ = deid.clean_object(ds, KEYS, POLICY, "subject")
    data = deid.write(out)
    assert CANARY not in data
    frames = [bytes(f) for f in generate_frames(dcmread(io.BytesIO(data)).PixelData, number_of_frames=2)]
    assert [np.array_equal(seen(f), seen(jpeg())) for f in frames] == [True, True]


def test_bytes_between_fragments_go() -> None:
    ds = phantoms.dataset(np.zeros((32, 24), np.uint8))
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([jpeg()]) + CANARY
    assert CANARY not in deid.write(deid.clean_object(ds, KEYS, POLICY, "subject")[0])


def test_a_deflated_frame_loses_what_follows_it() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"\0\1" * 100) + packer.flush()
    assert streams.deflated(packed + CANARY) == packed
    with pytest.raises(Rejection):
        streams.deflated(b"\xff\xff" + CANARY)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_native_pixels_stay_byte_for_byte(dtype: type) -> None:
    ds = phantoms.dataset((phantoms.voxels(2, 16, 12) % 200).astype(dtype))
    assert deid.clean_object(ds, KEYS, POLICY, "subject")[0].PixelData == ds.PixelData


def test_the_sign_of_pixels_with_fewer_bits_stays() -> None:
    pixels = np.array([[-5, 5], [-2048, 2047]], np.int16)
    ds = phantoms.dataset(pixels, BitsStored=12, HighBit=11)
    assert deid.clean_object(ds, KEYS, POLICY, "subject")[0].PixelData == ds.PixelData
    ds.PixelData = (pixels.view(np.uint16) ^ np.uint16(0x5000)).tobytes()
    out = np.frombuffer(deid.clean_object(ds, KEYS, POLICY, "subject")[0].PixelData, np.int16)
    assert np.array_equal(out.reshape(2, 2), pixels)


def test_other_syntaxes_are_refused() -> None:
    ds = phantoms.dataset()
    for syntax in ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.113619.5.2"):
        ds.file_meta.TransferSyntaxUID = syntax
        with pytest.raises(Rejection) as caught:
            deid.clean_object(ds, KEYS, POLICY, "subject")
        assert caught.value.reason is Reason.UNSUPPORTED_SYNTAX


@pytest.mark.parametrize(
    "tail", [b"\xff\x93", b"\xff\x93\xff\xd9\xff\x93", b"\xff\x93" * 50, b"\xff\x90\0\x0a" + b"\0" * 8]
)
def test_a_broken_jpeg_2000_ends(tail: bytes) -> None:
    with contextlib.suppress(Rejection):
        assert len(streams.jpeg2000(b"\xff\x4f\xff\x51\0\x04\0\0" + tail)) < 200
