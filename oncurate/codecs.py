"""One compressed frame to stored values: which library decodes which transfer syntax, and what is made of its output.

Belongs here: the table of syntaxes and its decoders, checks of a frame against the DICOM header, sign and unused bits.
Does not belong here: finding frames (`oncurate.encapsulated`), colour (`oncurate.colour`), processes
(`oncurate.isolation`).

All codestreams are decoded by imagecodecs: libjpeg-turbo (JPEG of 8, 12 and up to 16 bits), CharLS (JPEG-LS), OpenJPEG
(JPEG 2000, HTJ2K), libjxl (JPEG XL). OpenJPH decodes HTJ2K twice as fast but fills damaged blocks without a word.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np

from oncurate import codestream
from oncurate.codestream import Codestream
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

Colour = Literal["grey", "RGB", "YBR"]

_JPEG = "1.2.840.10008.1.2.4."
_WRAPPING_BITS = 16
_HALF_DIFFERENCE = (5, 6)
_RLE_SEGMENTS = struct.Struct("<L")


@dataclass(frozen=True)
class Decoded:
    """A frame: `array` (rows, columns[, samples]), the colour its samples are in, and what the stream claimed."""

    array: np.ndarray
    colour: Colour
    claims: Codestream


@dataclass(frozen=True)
class Codec:
    """How a transfer syntax is decoded. `lossy`: what it holds are approximate numbers, never bit patterns."""

    decode: Callable[[PixelFormat, bytes], Decoded]
    library: str
    lossy: bool = False


def decode(form: PixelFormat, data: bytes) -> Decoded:
    """The stored values of the frame in `data`, in the type that the header gives them, its colour not yet converted.

    Bits beyond BitsStored are dropped and the sign extended. Raises PIXEL_DATA_MISMATCH where frame and header differ,
    KeyError for a syntax without a codec, and whatever a library raises on damaged data.
    """
    codec = CODECS[form.TransferSyntaxUID]
    found = codec.decode(form, data)
    check(form, found.claims)
    return Decoded(stored(form, found.array, found.claims, codec.lossy), found.colour, found.claims)


def check(form: PixelFormat, claims: Codestream) -> None:
    """Refuse a frame that is not of the size and samples that the header claims."""
    if (claims.rows, claims.columns) != (form.Rows, form.Columns):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
    if claims.samples != form.SamplesPerPixel:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "samples")
    if claims.precision > max(8, form.BitsAllocated):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "precision")


def stored(form: PixelFormat, array: np.ndarray, claims: Codestream, lossy: bool) -> np.ndarray:
    """Decoded samples as the header's type: `array` holds `claims.precision` bits, signed if `claims.signed`.

    A lossy stream of the header's sign holds numbers, which are clipped to BitsStored. All else are bit patterns, whose
    sign bit is that of the smaller of precision and BitsStored. A stream without a sign, narrower than a signed header
    says, may be read either way: it is refused, unless its uppermost bit is never set.
    """
    bits = max(8, form.BitsAllocated)
    dtype = np.dtype(f"{'i' if form.PixelRepresentation else 'u'}{bits // 8}")
    signed = dtype.kind == "i"
    if lossy and claims.signed == signed:
        top = 1 << (form.BitsStored - signed)
        held = np.iinfo(array.dtype)
        return np.clip(array, max(-top if signed else 0, held.min), min(top - 1, held.max)).astype(dtype)
    used = min(claims.precision, form.BitsStored)
    if claims.signed != signed and claims.precision < form.BitsStored and _has_upper_bit(array, claims):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "sign")
    array = array.astype(dtype, copy=False)
    return (array << (bits - used)) >> (bits - used) if used < bits else array


def _has_upper_bit(array: np.ndarray, claims: Codestream) -> bool:
    return bool(array.min() < 0 if claims.signed else array.max() >> (claims.precision - 1))


def _claimed(form: PixelFormat, precision: int | None = None) -> Codestream:
    """The claims of a frame that makes none of its own."""
    return Codestream(
        rows=form.Rows,
        columns=form.Columns,
        samples=form.SamplesPerPixel,
        precision=precision or form.BitsAllocated,
        signed=False,
        lossless=True,
        subsampled=False,
    )


def colour_of(form: PixelFormat) -> Colour:
    """The colour of decoded samples by the header; decoders of JPEG 2000 undo YBR_RCT and YBR_ICT themselves."""
    if form.SamplesPerPixel == 1:
        return "grey"
    return "YBR" if form.PhotometricInterpretation in ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422") else "RGB"


def _jpeg(form: PixelFormat, data: bytes) -> Decoded:
    """Colour: the stream's markers go before the header; without markers subsampled components cannot be RGB."""
    claims = codestream.jpeg(data)
    check(form, claims)
    colour = colour_of(form)
    if colour != "grey":
        colour = claims.colour or ("YBR" if claims.subsampled else colour)
    space = out = {"grey": "GRAYSCALE", "RGB": "RGB", "YBR": "YCBCR"}[colour]
    if colour == "YBR" and not claims.lossless and form.PhotometricInterpretation != "YBR_PARTIAL_422":
        out, colour = "RGB", "RGB"  # libjpeg converts in passing, but neither lossless streams nor partial range
    array = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=out)
    if (
        claims.lossless
        and claims.precision > _WRAPPING_BITS - 1
        and _is_ambiguous(array, codestream.predictor(data), form)
    ):
        raise ValueError("predictor")
    return Decoded(array, colour, claims)


def _is_ambiguous(array: np.ndarray, predictor: int, form: PixelFormat) -> bool:
    """Whether an encoder that took a predictor's half difference in 16 bits meant other values than these.

    Such encoders are in the field ("Cornell"), and nothing in the stream tells them; what a right decoder makes of
    theirs is noise, which no image of the header's sign resembles. Half differences are those of predictors 5 (above
    less above-left) and 6 (left less above-left).
    """
    if predictor not in _HALF_DIFFERENCE:
        return False
    array = array.astype(np.int16 if form.PixelRepresentation else np.uint16).astype(np.int32)
    corner = array[:-1, :-1]
    other = array[:-1, 1:] if predictor == _HALF_DIFFERENCE[0] else array[1:, :-1]
    return bool(np.abs(other - corner).max(initial=0) >= 1 << (_WRAPPING_BITS - 1))


def _jpeg_ls(form: PixelFormat, data: bytes) -> Decoded:
    claims = codestream.jpeg(data)
    check(form, claims)
    return Decoded(_pixelwise(form, imagecodecs.jpegls_decode(data)), colour_of(form), claims)


def _jpeg_2000(form: PixelFormat, data: bytes) -> Decoded:
    claims, data = codestream.jpeg2000(data)
    check(form, claims)
    if claims.subsampled:
        raise ValueError("components of several sizes")
    return Decoded(_pixelwise(form, imagecodecs.jpeg2k_decode(data, numthreads=1)), colour_of(form), claims)


def _jpeg_xl(form: PixelFormat, data: bytes) -> Decoded:
    """libjxl gives RGB whatever the stream holds, except that a lossless one may hold YBR as if it were RGB."""
    array = _pixelwise(form, imagecodecs.jpegxl_decode(data, numthreads=1))
    if array.dtype.itemsize * 8 > max(8, form.BitsAllocated) or array.dtype.kind != "u":
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "precision")
    colour = colour_of(form)
    if colour != "grey" and form.TransferSyntaxUID != f"{_JPEG}110":
        colour = "RGB"
    return Decoded(array, colour, _claimed(form, min(form.BitsStored, array.dtype.itemsize * 8)))


def _rle(form: PixelFormat, data: bytes) -> Decoded:
    """PS3.5 G: a segment for each byte of a sample, most significant first, one sample's plane after the other.

    Single bits are packed as in native pixels, and run-length encoded as one segment.
    """
    width = max(8, form.BitsAllocated) // 8
    if _RLE_SEGMENTS.unpack_from(data)[0] != form.SamplesPerPixel * width:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "segments")
    try:
        raw = imagecodecs.dicomrle_decode(data, np.dtype(f"<u{width}"))
    except RuntimeError:
        raw = b""
    if len(raw) != form.SamplesPerPixel * width * _plane_bytes(form):
        raw = _rle_padded(form, data, width)
    return _raw(form, raw) if form.BitsAllocated == 1 else _planes(form, raw, planar=True)


def _rle_padded(form: PixelFormat, data: bytes, width: int) -> bytes:
    """As imagecodecs, which refuses segments that go on behind their last pixel; some writers pad them with zeros."""
    count = _plane_bytes(form)
    starts = struct.unpack_from(f"<{form.SamplesPerPixel * width}L", data, _RLE_SEGMENTS.size)
    planes = [
        np.frombuffer(_unpacked(data[start:end], count), np.uint8)
        for start, end in zip(starts, [*starts[1:], len(data)], strict=True)
    ]
    by_sample = np.stack(planes).reshape(form.SamplesPerPixel, width, count)[:, ::-1]
    return by_sample.transpose(0, 2, 1).tobytes()


def _unpacked(segment: bytes, count: int) -> bytes:
    """A run-length encoded segment (PS3.5 G.3.2) of `count` bytes and any zeros. Raises ValueError on any other."""
    out, at = bytearray(), 0
    while len(out) < count and at < len(segment):
        control = segment[at]
        if control < 128:
            out += segment[at + 1 : at + 2 + control]
            at += 2 + control
        else:
            out += segment[at + 1 : at + 2] * (257 - control if control > 128 else 0)
            at += 2 if control > 128 else 1
    if len(out) != count or any(segment[at:]):
        raise ValueError("segment")
    return bytes(out)


def _plane_bytes(form: PixelFormat) -> int:
    """Bytes of one segment: a byte of each pixel's sample, or its bit."""
    pixels = form.Rows * form.Columns
    return pixels if form.BitsAllocated > 1 else (pixels + 7) // 8


def _raw(form: PixelFormat, data: bytes) -> Decoded:
    """PS3.5 A.4.12: a frame as it would be in native little endian."""
    if form.BitsAllocated == 1:
        packed = np.frombuffer(data, np.uint8, _plane_bytes(form))
        unpacked = np.unpackbits(packed, bitorder="little", count=form.Rows * form.Columns)
        return _planes(form, unpacked.tobytes(), planar=False)
    return _planes(form, data, planar=False)


def _deflated(form: PixelFormat, data: bytes) -> Decoded:
    """PS3.5 A.4.13: as `_raw`, each frame deflated (RFC 1951)."""
    expected = (form.Rows * form.Columns * form.SamplesPerPixel * form.BitsAllocated + 7) // 8
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return _raw(form, inflater.decompress(data, expected + 1))


def _planes(form: PixelFormat, raw: bytes, *, planar: bool) -> Decoded:
    dtype = np.dtype(f"<u{max(8, form.BitsAllocated) // 8}")
    count = form.Rows * form.Columns * form.SamplesPerPixel
    if any(raw[count * dtype.itemsize :]):  # zeros are padding
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
    flat = np.frombuffer(raw, dtype, count)
    if form.SamplesPerPixel == 1:
        array = flat.reshape(form.Rows, form.Columns)
    elif planar:
        array = flat.reshape(form.SamplesPerPixel, form.Rows, form.Columns).transpose(1, 2, 0)
    else:
        array = flat.reshape(form.Rows, form.Columns, form.SamplesPerPixel)
    return Decoded(array, colour_of(form), _claimed(form))


def _pixelwise(form: PixelFormat, array: np.ndarray) -> np.ndarray:
    """`array` with its samples last, refused if its shape is not the header's."""
    grey = form.SamplesPerPixel == 1
    wanted = (form.Rows, form.Columns) if grey else (form.Rows, form.Columns, form.SamplesPerPixel)
    if grey and array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.shape != wanted:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
    return array


CODECS: dict[str, Codec] = {
    "1.2.840.10008.1.2.1.98": Codec(_raw, "numpy"),  # encapsulated uncompressed
    f"{_JPEG}50": Codec(_jpeg, "libjpeg-turbo", lossy=True),  # baseline
    f"{_JPEG}51": Codec(_jpeg, "libjpeg-turbo", lossy=True),  # extended, 8 and 12 bits
    f"{_JPEG}53": Codec(_jpeg, "libjpeg-turbo", lossy=True),  # spectral selection (retired)
    f"{_JPEG}55": Codec(_jpeg, "libjpeg-turbo", lossy=True),  # full progression (retired)
    f"{_JPEG}57": Codec(_jpeg, "libjpeg-turbo"),  # lossless, process 14
    f"{_JPEG}70": Codec(_jpeg, "libjpeg-turbo"),  # lossless, process 14, selection value 1
    f"{_JPEG}80": Codec(_jpeg_ls, "CharLS"),
    f"{_JPEG}81": Codec(_jpeg_ls, "CharLS", lossy=True),  # near-lossless
    f"{_JPEG}90": Codec(_jpeg_2000, "OpenJPEG"),  # lossless only
    f"{_JPEG}91": Codec(_jpeg_2000, "OpenJPEG", lossy=True),
    f"{_JPEG}110": Codec(_jpeg_xl, "libjxl"),  # lossless
    f"{_JPEG}111": Codec(_jpeg_xl, "libjxl", lossy=True),  # JPEG recompression
    f"{_JPEG}112": Codec(_jpeg_xl, "libjxl", lossy=True),
    f"{_JPEG}201": Codec(_jpeg_2000, "OpenJPEG"),  # HTJ2K, lossless only
    f"{_JPEG}202": Codec(_jpeg_2000, "OpenJPEG"),  # HTJ2K, lossless only, RPCL
    f"{_JPEG}203": Codec(_jpeg_2000, "OpenJPEG", lossy=True),  # HTJ2K
    "1.2.840.10008.1.2.5": Codec(_rle, "imagecodecs"),
    "1.2.840.10008.1.2.8.1": Codec(_deflated, "zlib"),  # deflated image frames
}
"""The encapsulated transfer syntaxes (PS3.6 A) that are decoded, and the library that does it."""
