"""Decoders: colour, bits and signs come out as the header or the stream says, and lies are refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from oncurate import decoders
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import encoding
from tests.unit import made

J = encoding.JPEG
RGB = encoding.smooth("u1", 8, samples=3)
YBR = convert_color_space(RGB, "RGB", "YBR_FULL")


def decoded(data: bytes, frames: tuple[int, ...] = (0,)) -> list[np.ndarray]:
    return decoders.decode(encoding.instance_of(data).format, data, frames)


def refused(data: bytes) -> tuple[Reason, str]:
    with pytest.raises(Rejection) as caught:
        decoded(data)
    return caught.value.reason, caught.value.detail


def saved(ds: Dataset, syntax: str | None = None) -> bytes:
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def off(found: np.ndarray, wanted: np.ndarray = RGB) -> int:
    return int(np.abs(found.astype(int) - wanted).max())


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("photometric", "stored", "error"), [("RGB", RGB, 0), ("YBR_FULL", YBR, 2), ("YBR_FULL_422", YBR, 40)]
)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_native_colour(photometric: str, stored: np.ndarray, error: int, planar: int, syntax: str | None) -> None:
    subsampled = photometric == "YBR_FULL_422"
    if subsampled and planar:
        pytest.skip("4:2:2 has no planes")
    ds = encoding.dataset(stored, photometric=photometric, PlanarConfiguration=planar)
    value = halved(stored) if subsampled else np.ascontiguousarray(stored.transpose(2, 0, 1) if planar else stored)
    ds.PixelData = value.tobytes()
    ds["PixelData"].VR = "OB"
    assert off(decoded(saved(ds, syntax))[0]) <= error


def halved(ybr: np.ndarray) -> np.ndarray:
    """4:2:2: two of Y, then Cb and Cr of the first of two pixels (PS3.3 C.7.6.3.1.2)."""
    pairs = ybr.reshape(-1, 2, 3)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1)


def test_native_partial_range() -> None:
    grey = np.full((4, 4, 3), (235, 128, 128), np.uint8)
    ds = encoding.dataset(grey, photometric="YBR_PARTIAL_422")
    ds.PixelData = halved(grey).tobytes()
    assert (decoded(saved(ds))[0] == 255).all()


def test_three_samples_of_4_2_2_are_not_guessed_at() -> None:
    data = saved(encoding.dataset(YBR, photometric="YBR_FULL_422"))
    assert refused(data)[0] is Reason.UNDECODABLE


@pytest.mark.parametrize("frames", [1, 3])
def test_big_endian_words_of_8_bits(frames: int) -> None:
    array = np.arange(frames * 15, dtype=np.uint8).reshape(frames, 3, 5)
    ds = encoding.dataset(array[0], NumberOfFrames=frames)
    raw = array.tobytes() + b"\0" * (array.size % 2)
    ds.PixelData = np.frombuffer(raw, "<u2").byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    form = made.pixel_format(
        TransferSyntaxUID=ExplicitVRBigEndian,
        Rows=3,
        Columns=5,
        NumberOfFrames=frames,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
    )
    found = decoders.decode(form, saved(ds, ExplicitVRBigEndian), range(frames))
    np.testing.assert_array_equal(found, array)


def test_single_bits_are_0_and_1() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (16, 12)).astype(np.uint8)
    ds = encoding.dataset(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(bits, bitorder="little").tobytes()
    np.testing.assert_array_equal(decoded(saved(ds))[0], bits)


@pytest.mark.parametrize("name", ["RLE", "JPEG-LS", "JPEG 2000", "uncompressed", "JPEG XL"])
def test_ybr_under_lossless_syntaxes_is_converted_by_the_header(name: str) -> None:
    case = next(c for c in encoding.encodings() if c.name.startswith(name) and c.array.ndim == 3)
    ds = encoding.dataset(YBR, photometric="YBR_FULL")
    data = encoding.wrapped(ds, case.syntax, encoding.items(case.encode(YBR, 8)))
    assert off(decoded(data)[0]) <= 2


JPEG_COLOUR = [  # what is encoded, colour space of the stream, marker kept, header, what comes out
    ("ycbcr", True, "YBR_FULL_422", "rgb"),
    ("ycbcr", True, "RGB", "rgb"),  # JFIF goes before the header
    ("rgb", True, "RGB", "rgb"),
    ("rgb", True, "YBR_FULL", "rgb"),  # Adobe's flag goes before the header
    ("ycbcr", False, "YBR_FULL", "rgb"),  # the header, where nothing marks the stream
    ("ycbcr", False, "RGB", "ybr"),
    ("ycbcr 4:2:2", False, "RGB", "rgb"),  # chroma of half width cannot be RGB
]


@pytest.mark.parametrize(("space", "marked", "header", "result"), JPEG_COLOUR)
def test_colour_of_jpeg(space: str, marked: bool, header: str, result: str) -> None:
    subsampling = "422" if "4:2:2" in space else "444"
    stream = encoding.jpeg_dct(RGB, 8, colorspace="RGB", outcolorspace=space.split()[0], subsampling=subsampling)
    if not marked:
        stream = stream[:2] + stream[4 + struct.unpack(">H", stream[4:6])[0] :]
    data = encoding.wrapped(encoding.dataset(RGB, photometric=header), f"{J}50", encoding.items(stream))
    assert off(decoded(data)[0], RGB if result == "rgb" else YBR) <= 8


@pytest.mark.parametrize("syntax", ["57", "70"])
def test_lossless_jpeg_of_ybr(syntax: str) -> None:
    stream = encoding.jpeg_lossless(1)(YBR, 8)
    flag = stream.index(b"Adobe") + 11
    stream = stream[:flag] + b"\1" + stream[flag + 1 :]
    data = encoding.wrapped(encoding.dataset(YBR, photometric="YBR_FULL"), f"{J}{syntax}", encoding.items(stream))
    assert off(decoded(data)[0]) <= 2


def test_a_palette_under_a_compressed_syntax() -> None:
    index = encoding.smooth("u1", 8)
    ds = encoding.dataset(index, photometric="PALETTE COLOR")
    for n, colour in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(ds, f"{colour}PaletteColorLookupTableData", bytes((v + n) % 256 for v in range(256)))
    stream = encoding.by_pydicom(encoding.RLE, "pydicom")(index, 8)
    [found] = decoded(encoding.wrapped(ds, encoding.RLE, encoding.items(stream)))
    np.testing.assert_array_equal(found, np.stack([index, index + 1, index + 2], axis=-1))


@pytest.mark.parametrize("photometric", ["CMYK", "HSV", "MONOCHROME2"])
def test_colour_of_unknown_kind_is_refused(photometric: str) -> None:
    ds = encoding.dataset(RGB)
    ds.PhotometricInterpretation = photometric
    assert refused(saved(ds)) == (Reason.IMPLAUSIBLE_HEADER, "PhotometricInterpretation")


def test_colour_of_more_than_8_bits_is_refused() -> None:
    data = saved(encoding.dataset(RGB.astype(np.uint16) * 257))
    assert refused(data) == (Reason.PIXEL_DATA_MISMATCH, "colour of more than 8 bits")


def jpeg_of(array: np.ndarray, bits: int, **header: Any) -> bytes:
    """A lossless JPEG of `array` with `bits`, under a header of 16 bits that says otherwise."""
    stream = encoding.jpeg_lossless(1)(array, bits)
    ds = encoding.dataset(array.astype(np.uint16), **header)
    return encoding.wrapped(ds, f"{J}70", encoding.items(stream))


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beyond_the_stored_ones_are_dropped_after_decoding(signed: int) -> None:
    dirty = np.random.default_rng(0).integers(0, 1 << 16, (16, 12)).astype(np.uint16)
    [found] = decoded(jpeg_of(dirty, 16, BitsStored=12, HighBit=11, PixelRepresentation=signed))
    wanted = (dirty & 0xFFF).astype(np.int16)
    np.testing.assert_array_equal(found, np.where(wanted >= 2048, wanted - 4096, wanted) if signed else wanted)


def test_a_narrower_stream_under_a_signed_header_is_read_only_if_there_is_one_way() -> None:
    low = np.full((16, 12), 2047, np.uint16)
    assert (decoded(jpeg_of(low, 12, PixelRepresentation=1))[0] == 2047).all()
    assert refused(jpeg_of(low + 1, 12, PixelRepresentation=1)) == (Reason.PIXEL_DATA_MISMATCH, "sign")


def test_eight_bits_in_a_header_of_sixteen() -> None:
    array = encoding.smooth("u1", 8)
    stream = encoding.jpeg_dct(array, 8)
    ds = encoding.dataset(array.astype(np.uint16), bits=8)
    [found] = decoded(encoding.wrapped(ds, f"{J}51", encoding.items(stream)))
    assert found.dtype == np.uint16
    assert off(found, array) <= 3


def test_lossy_values_beyond_the_stored_bits_are_clipped_not_wrapped() -> None:
    array = np.zeros((48, 40), np.uint16)
    array[::2] = 4095
    stream = encoding.jpeg_dct(array, 12)
    raw = imagecodecs.jpeg8_decode(stream)
    [found] = decoded(encoding.wrapped(encoding.dataset(array, bits=11), f"{J}51", encoding.items(stream)))
    np.testing.assert_array_equal(found, np.minimum(raw, 2047))


@pytest.mark.parametrize(
    ("header", "detail"),
    [({"Rows": 47}, "rows and columns"), ({"Columns": 41}, "rows and columns"), ({"BitsAllocated": 8}, "precision")],
)
@pytest.mark.parametrize("name", ["JPEG lossless SV1", "JPEG-LS", "JPEG 2000", "HTJ2K"])
def test_a_stream_that_is_not_as_the_header_says_is_refused(name: str, header: dict[str, int], detail: str) -> None:
    case = next(c for c in encoding.encodings() if c.name == name and c.bits == 16)
    data = encoding.file_of(case)
    form = encoding.instance_of(data).format.model_copy(update=header)
    with pytest.raises(Rejection) as caught:
        decoders.decode(form, data, [0])
    assert (caught.value.reason, caught.value.detail) == (Reason.PIXEL_DATA_MISMATCH, detail)


@pytest.mark.parametrize("syntax", [encoding.RLE, encoding.DEFLATED_FRAMES, encoding.UNCOMPRESSED])
@pytest.mark.parametrize("rows", [47, 49])
def test_planes_of_another_size_are_refused(syntax: str, rows: int) -> None:
    case = next(c for c in encoding.encodings() if c.syntax == syntax and c.bits == 16)
    data = encoding.file_of(case)
    form = encoding.instance_of(data).format.model_copy(update={"Rows": rows})
    with pytest.raises(Rejection) as caught:
        decoders.decode(form, data, [0])
    assert caught.value.reason in (Reason.PIXEL_DATA_MISMATCH, Reason.UNDECODABLE)


def test_samples_must_agree() -> None:
    grey = encoding.jpeg_dct(RGB[..., 0].copy(), 8)
    data = encoding.wrapped(encoding.dataset(RGB), f"{J}50", encoding.items(grey))
    assert refused(data) == (Reason.PIXEL_DATA_MISMATCH, "samples")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("case", [c for c in encoding.encodings() if c.bits == 8 and c.array.ndim == 2], ids=str)
def test_a_frame_cut_inside_its_fragment_is_refused(case: encoding.Encoding, share: float) -> None:
    frame = case.encode(case.array, case.bits)
    cut = frame[: int(len(frame) * share)]
    data = encoding.wrapped(encoding.dataset(case.array), case.syntax, encoding.items(cut))
    assert refused(data) == (Reason.UNDECODABLE, decoders.syntax_name(case.syntax))


@pytest.mark.parametrize("case", [c for c in encoding.encodings() if c.bits == 16 and not c.error][::3], ids=str)
def test_bytes_behind_a_frame_do_no_harm(case: encoding.Encoding) -> None:
    frame = case.encode(case.array, case.bits) + b"\0\0"
    data = encoding.wrapped(encoding.dataset(case.array, case.bits), case.syntax, encoding.items(frame))
    np.testing.assert_array_equal(decoded(data)[0], case.array)


def test_segments_of_rle_may_be_padded() -> None:
    array = encoding.smooth("u2", 16)
    frame = encoding.by_pydicom(encoding.RLE, "pydicom")(array, 16)
    _, first, second = struct.unpack_from("<3L", frame)
    padded = frame[:8] + struct.pack("<L", second + 4) + frame[12:second] + b"\0" * 4 + frame[second:] + b"\0" * 3
    data = encoding.wrapped(encoding.dataset(array), encoding.RLE, encoding.items(padded))
    assert first == 64
    np.testing.assert_array_equal(decoded(data)[0], array)


@pytest.mark.parametrize("extended", [False, True])
def test_frames_of_a_file_in_any_order(extended: bool) -> None:
    arrays = [encoding.smooth("u2", 12) + n for n in range(3)]
    frames = [encoding.jpeg_lossless(1)(a, 12) for a in arrays]
    frames = [f + b"\0" * (len(f) % 2) for f in frames]
    ds = encoding.dataset(arrays[0], bits=12)
    value = encoding.items(*(part for f in frames for part in (f[:100], f[100:])))
    data = encoding.extended(ds, f"{J}70", frames) if extended else encoding.wrapped(ds, f"{J}70", value, 3)
    form = encoding.instance_of(encoding.wrapped(ds, f"{J}70", value)).format.model_copy(update={"NumberOfFrames": 3})
    np.testing.assert_array_equal(decoders.decode(form, data, [2, 0]), [arrays[2], arrays[0]])


def test_native_pixels_under_a_compressed_syntax_are_refused() -> None:
    ds = encoding.dataset(encoding.smooth("u1", 8))
    data = saved(ds)
    form = encoding.instance_of(data).format.model_copy(update={"TransferSyntaxUID": f"{J}50"})
    with pytest.raises(Rejection) as caught:
        decoders.decode(form, data, [0])
    assert (caught.value.reason, caught.value.detail) == (Reason.UNDECODABLE, "JPEG Baseline (Process 1)")


def test_sizes_are_limited_by_file_frame_and_ratio() -> None:
    def guarded(encoded: int, **header: int) -> str:
        form = made.pixel_format(TransferSyntaxUID=f"{J}90", **header)
        with pytest.raises(Rejection) as caught:
            decoders.guard(form, encoded)
        assert caught.value.reason is Reason.IMPLAUSIBLE_HEADER
        return caught.value.detail

    assert guarded(1 << 30, Rows=65535, Columns=65535, NumberOfFrames=1) == "8589672450 bytes of pixels in 1073741824"
    guarded(1 << 34, Rows=65535, Columns=65535, NumberOfFrames=1000)
    guarded(1 << 34, Rows=12000, Columns=12000, NumberOfFrames=1)
    guarded(1000, Rows=4096, Columns=4096, NumberOfFrames=1)
    guarded(1000, Rows=1, Columns=1, NumberOfFrames=1 << 30)
    decoders.guard(made.pixel_format(TransferSyntaxUID=f"{J}90", Rows=6000, Columns=5000), 1 << 20)


def test_names_of_syntaxes() -> None:
    assert decoders.syntax_name(f"{J}110") == "JPEG XL Lossless"
    assert decoders.syntax_name("1.2.840.113619.5.2") == "a private transfer syntax"
