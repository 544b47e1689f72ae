"""pydicom's decoders: everything that is not native grey pixels in little endian.

Belongs here: choosing a decoder, and what comes out of it as (rows, columns[, 3]). Does not belong here: in which
process it runs (`oncurate.isolation`), native pixels (`oncurate.pixels`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, UID_dictionary

from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.headers import quiet
from oncurate.part10 import inflate
from oncurate.pixeldata import expected_bytes
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

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
_SCREEN_BITS = 8  # palette entries may be wider; a screen shows this many


def syntax_name(uid: str) -> str:
    """The name of a transfer syntax in the DICOM dictionary: what a detail may say of it."""
    return UID_dictionary[uid][0] if uid in UID_dictionary else "a private transfer syntax"


def is_encapsulated(form: PixelFormat) -> bool:
    """Whether the pixel data is compressed; a private syntax is taken to be."""
    uid = UID(form.TransferSyntaxUID)
    return not uid.is_transfer_syntax or uid.is_encapsulated


def decode(form: PixelFormat, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """`frames` of the file whose bytes are `data`, as `pixels.decode_frames` gives them."""
    quiet()
    decoder = _decoder(form.TransferSyntaxUID)
    guard(form, len(data))
    try:
        ds = dcmread(io.BytesIO(inflate(data)), force=True)
        if "TransferSyntaxUID" not in ds.file_meta or ds.file_meta.TransferSyntaxUID != decoder.UID:
            ds.file_meta.TransferSyntaxUID = decoder.UID
        plugin = _PREFERRED_PLUGINS.get(form.TransferSyntaxUID, "")
        return [_shaped(form, _frame(decoder, ds, index, plugin)) for index in frames]
    except DECODE_ERRORS:
        raise Rejection(Reason.UNDECODABLE, syntax_name(form.TransferSyntaxUID)) from None


def _decoder(syntax: str) -> Decoder:
    plain = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    try:
        decoder = get_decoder(UID(plain))
    except NotImplementedError:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax_name(syntax)) from None
    if not decoder.is_available:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax_name(syntax))
    return decoder


def guard(form: PixelFormat, encoded: int) -> None:
    """Refuse before decoding what would unpack to an absurd size."""
    claimed = expected_bytes(form)
    if claimed > MAX_DECODED_BYTES or (claimed > RATIO_FREE_BYTES and claimed > MAX_COMPRESSION_RATIO * encoded):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, f"{claimed} bytes of pixels in {encoded}")


def _frame(decoder: Decoder, ds: Dataset, index: int, plugin: str) -> np.ndarray:
    array, meta = decoder.as_array(ds, index=index, decoding_plugin=plugin)
    if meta["photometric_interpretation"] == "PALETTE COLOR":
        array = apply_color_lut(array, ds)
        if array.dtype.itemsize * 8 > _SCREEN_BITS:
            array = (array >> _spare_bits(ds)).astype(np.uint8)
    return array


def _spare_bits(ds: Dataset) -> int:
    """How far the entries of a palette of 16 bits reach beyond a screen's: some writers put 8 bits into them."""
    entries = apply_color_lut(np.arange(1 << 16, dtype=np.uint16), ds)
    return _SCREEN_BITS if entries.max() >> _SCREEN_BITS else 0


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
