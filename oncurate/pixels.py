"""Stored pixel values out of a file's bytes.

Belongs here: decoding frames, natively by slicing the bytes or through pydicom's decoders, and a digest over them.
Does not belong here: what the values mean (`oncurate.convert`), or where a file is read from.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import UID, UID_dictionary

from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.headers import quiet
from oncurate.part10 import inflate
from oncurate.pixeldata import expected_bytes
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, PixelLocator

MAX_COMPRESSION_RATIO = 2000
"""Decoded to encoded bytes; an empty 512x512 slice packs about 1000:1 in JPEG 2000, beyond that the header lies."""
RATIO_FREE_BYTES = 1 << 24
"""Decoded sizes up to 16 MiB are allowed whatever their ratio: they cannot hurt."""
MAX_DECODED_BYTES = 1 << 33
"""8 GiB decoded from one file is more than any worker is given."""

DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError)
"""What the decoders behind pydicom raise on damaged streams."""

_PREFERRED_PLUGINS = {
    "1.2.840.10008.1.2.5": "pylibjpeg",  # RLE: ten times faster than the pure Python one
}
_WIDE = 16  # bits of palette entries that are wider than a screen's


def decode_frames(locator: PixelLocator, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """The stored values of `frames` (0-based) of the file whose bytes are `data`.

    Each is (rows, columns), or (rows, columns, 3) uint8 RGB for colour and palette images; bits beyond BitsStored are
    dropped, the sign extended. Raises `Rejection` UNSUPPORTED_SYNTAX, UNDECODABLE or PIXEL_DATA_MISMATCH.
    """
    form = locator.format
    if frames and max(frames) >= form.NumberOfFrames:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"frame {max(frames)} of {form.NumberOfFrames}")
    if locator.offset is not None:
        return [_native(form, data, locator.offset, index) for index in frames]
    return _decoded(form, data, frames)


def digest(locator: PixelLocator, data: bytes) -> str | None:
    """SHA-256 over shape, sign and values of all frames, whatever their encoding; None if they cannot be decoded."""
    try:
        frames = decode_frames(locator, data, range(locator.format.NumberOfFrames))
    except Rejection:
        return None
    found = hashlib.sha256(repr((len(frames), frames[0].shape)).encode())
    for frame in frames:
        wide = np.ascontiguousarray(frame, "<f8" if frame.dtype.kind == "f" else "<i8")
        found.update(wide.data)
    return found.hexdigest()


def syntax_name(uid: str) -> str:
    """The name of a transfer syntax in the DICOM dictionary: what a detail may say of it."""
    return UID_dictionary[uid][0] if uid in UID_dictionary else "a private transfer syntax"


def stored_dtype(form: PixelFormat) -> np.dtype:
    """The little-endian type of native stored values."""
    if form.keyword != "PixelData":
        return np.dtype(f"<f{form.BitsAllocated // 8}")
    return np.dtype(f"<{'i' if form.PixelRepresentation else 'u'}{form.BitsAllocated // 8}")


def _native(form: PixelFormat, data: bytes, offset: int, index: int) -> np.ndarray:
    dtype = stored_dtype(form)
    count = form.Rows * form.Columns
    start = offset + index * count * dtype.itemsize
    if start + count * dtype.itemsize > len(data):
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA)
    array = np.frombuffer(data, dtype, count, start).reshape(form.Rows, form.Columns)
    unused = form.BitsAllocated - form.BitsStored
    if unused and dtype.kind in "iu":
        array = (array << unused) >> unused  # the upper bits may hold overlays: they are no part of the value
    return array


def _decoded(form: PixelFormat, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    quiet()
    decoder = _decoder(form.TransferSyntaxUID)
    _guard(form, len(data))
    try:
        ds = dcmread(io.BytesIO(inflate(data)), force=True)
        if "TransferSyntaxUID" not in ds.file_meta or ds.file_meta.TransferSyntaxUID != decoder.UID:
            ds.file_meta.TransferSyntaxUID = decoder.UID
        plugin = _PREFERRED_PLUGINS.get(form.TransferSyntaxUID, "")
        return [_shaped(form, _frame(decoder, ds, index, plugin)) for index in frames]
    except DECODE_ERRORS:
        raise Rejection(Reason.UNDECODABLE, syntax_name(form.TransferSyntaxUID)) from None


def _decoder(syntax: str) -> Decoder:
    deflated = syntax == "1.2.840.10008.1.2.1.99"
    try:
        decoder = get_decoder(UID("1.2.840.10008.1.2.1" if deflated else syntax))
    except NotImplementedError:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax_name(syntax)) from None
    if not decoder.is_available:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax_name(syntax))
    return decoder


def _guard(form: PixelFormat, encoded: int) -> None:
    """Refuse before decoding what would unpack to an absurd size."""
    claimed = expected_bytes(form)
    if claimed > MAX_DECODED_BYTES or (claimed > RATIO_FREE_BYTES and claimed > MAX_COMPRESSION_RATIO * encoded):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, f"{claimed} bytes of pixels in {encoded}")


def _frame(decoder: Decoder, ds: Dataset, index: int, plugin: str) -> np.ndarray:
    array, meta = decoder.as_array(ds, index=index, decoding_plugin=plugin)
    if meta["photometric_interpretation"] == "PALETTE COLOR":
        array = apply_color_lut(array, ds)
        if array.dtype.itemsize * 8 == _WIDE:
            array = (array >> 8).astype(np.uint8)
    return array


def _shaped(form: PixelFormat, array: np.ndarray) -> np.ndarray:
    if array.shape[:2] != (form.Rows, form.Columns):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
    if array.ndim == 3:
        if array.shape[2] < 3:
            raise Rejection(Reason.PIXEL_DATA_MISMATCH, "samples")
        array = array[..., :3]
        if array.dtype != np.uint8:
            raise Rejection(Reason.PIXEL_DATA_MISMATCH, "colour of more than 8 bits")
    return array
