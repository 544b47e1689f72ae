"""Decoding: everything that is not native grey pixels in little endian.

Belongs here: from a file's bytes to its frames as (rows, columns[, 3]), and the limits of what is decoded. Does not
belong here: in which process it runs (`oncurate.isolation`), native grey pixels (`oncurate.pixels`), the codecs
(`oncurate.codecs`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from oncurate import codecs, encapsulated
from oncurate.codecs import Colour
from oncurate.colour import Palette, ybr_to_rgb
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.headers import quiet
from oncurate.part10 import inflate
from oncurate.pixeldata import expected_bytes, locate
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

MAX_COMPRESSION_RATIO = 2000
"""Decoded to encoded bytes; an empty 512x512 slice packs about 1000:1 in JPEG 2000, beyond that the header lies."""
RATIO_FREE_BYTES = 1 << 24
"""Decoded sizes up to 16 MiB are allowed whatever their ratio: they cannot hurt."""
MAX_DECODED_BYTES = 1 << 33
"""8 GiB decoded from one file is more than any worker is given."""
MAX_FRAME_BYTES = 1 << 28
"""256 MiB in one frame: five times a mammogram of 24 megapixels and 16 bits, the largest image of one frame seen."""

DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError)
"""What parsers and decoders raise on damaged streams; those of imagecodecs are RuntimeErrors."""

_NATIVE = {
    ImplicitVRLittleEndian: ImplicitVRLittleEndian,
    ExplicitVRLittleEndian: ExplicitVRLittleEndian,
    ExplicitVRBigEndian: ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian: ExplicitVRLittleEndian,  # once it is inflated
}
_NAMES = {  # PS3.6 A, those that are not yet in pydicom's dictionary
    "1.2.840.10008.1.2.1.98": "Encapsulated Uncompressed Explicit VR Little Endian",
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB")


def syntax_name(uid: str) -> str:
    """The name of a transfer syntax in the DICOM dictionary: what a detail may say of it."""
    if uid in _NAMES:
        return _NAMES[uid]
    return UID_dictionary[uid][0] if uid in UID_dictionary else "a private transfer syntax"


def is_encapsulated(form: PixelFormat) -> bool:
    """Whether the pixel data is compressed; a private syntax is taken to be."""
    return form.TransferSyntaxUID not in _NATIVE


def decode(form: PixelFormat, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """`frames` of the file whose bytes are `data`, as `pixels.decode_frames` gives them."""
    return list(decode_each(form, data, frames))


def decode_each(form: PixelFormat, data: bytes, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """As `decode`, one frame after the other, so that only one of them needs room."""
    quiet()
    guard(form, len(data))
    _check_colour(form)
    try:
        yield from (_encapsulated if is_encapsulated(form) else _native)(form, data, frames)
    except DECODE_ERRORS:
        raise Rejection(Reason.UNDECODABLE, syntax_name(form.TransferSyntaxUID)) from None


def guard(form: PixelFormat, encoded: int) -> None:
    """Refuse before decoding what no decoder reads, and what would unpack to an absurd size."""
    if is_encapsulated(form) and form.TransferSyntaxUID not in codecs.CODECS:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax_name(form.TransferSyntaxUID))
    claimed = expected_bytes(form)
    too_large = claimed > MAX_DECODED_BYTES or claimed // form.NumberOfFrames > MAX_FRAME_BYTES
    if too_large or (claimed > RATIO_FREE_BYTES and claimed > MAX_COMPRESSION_RATIO * encoded):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, f"{claimed} bytes of pixels in {encoded}")


def _check_colour(form: PixelFormat) -> None:
    """Refuse a photometric interpretation that is unknown (CMYK, ARGB, HSV) or not of this many samples."""
    known = {1: _GREY, 3: _COLOUR}.get(form.SamplesPerPixel, ())
    if form.PhotometricInterpretation not in known:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "PhotometricInterpretation")


def _encapsulated(form: PixelFormat, data: bytes, frames: Sequence[int]) -> Iterator[np.ndarray]:
    stream = io.BytesIO(data)
    ds = dcmread(stream, stop_before_pixels=True, force=True)
    found = locate(stream, ds, form.TransferSyntaxUID)
    if found.items is None:
        raise ValueError("the pixel data is not encapsulated")
    extended = ds.get("ExtendedOffsetTable") or b""
    fragments = encapsulated.frames_of(data, found.items, form.NumberOfFrames, extended)
    palette = _palette(form, ds)
    for index in frames:
        decoded = codecs.decode(form, encapsulated.joined(data, fragments[index]))
        yield _shown(form, decoded.array, decoded.colour, palette)


def _native(form: PixelFormat, data: bytes, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """By pydicom: big endian, 8-bit words, planes, 4:2:2, single bits."""
    ds = dcmread(io.BytesIO(inflate(data)), force=True)
    decoder = get_decoder(UID(_NATIVE[form.TransferSyntaxUID]))
    ds.file_meta.TransferSyntaxUID = decoder.UID
    palette = _palette(form, ds)
    if form.PhotometricInterpretation == "YBR_PARTIAL_422":
        ds.PhotometricInterpretation = "YBR_FULL_422"  # their samples are arranged alike, which is all it is used for
    for index in frames:
        array, _ = decoder.as_array(ds, index=index, raw=True)
        if array.shape[:2] != (form.Rows, form.Columns):
            raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
        yield _shown(form, array, codecs.colour_of(form), palette)


def _palette(form: PixelFormat, ds: Dataset) -> Palette | None:
    return Palette(ds) if form.PhotometricInterpretation == "PALETTE COLOR" else None


def _shown(form: PixelFormat, array: np.ndarray, colour: Colour, palette: Palette | None) -> np.ndarray:
    """Grey values as they are, all else as (rows, columns, 3) uint8 RGB."""
    if palette is not None:
        return palette.rgb(array)
    if colour == "grey":
        return array
    if array.dtype.kind != "u" or (array.dtype.itemsize > 1 and array.max() > 255):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "colour of more than 8 bits")
    array = array.astype(np.uint8, copy=False)
    if colour == "YBR":
        return ybr_to_rgb(array, partial=form.PhotometricInterpretation == "YBR_PARTIAL_422")
    return array
