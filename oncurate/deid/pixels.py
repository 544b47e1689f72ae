"""Pixel data of an object: the same pixels, and nothing else in those bytes.

Belongs here: bits beyond the stored ones, bytes beyond the last pixel, frames of encapsulated data put together again.
Does not belong here: what a compressed frame holds (`oncurate.deid.streams`), blanking text (the caller does that).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset

from oncurate import encapsulated
from oncurate.deid import reading, streams
from oncurate.errors import Rejection
from oncurate.reasons import Reason

DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81))
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"

_ROWS, _COLUMNS, _SAMPLES, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280008
_ALLOCATED, _STORED, _HIGH, _SIGNED, _PHOTOMETRIC = 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280004
_LONGEST_TABLE = 1 << 32
_WIDTHS = {0x7FE00010: None, 0x7FE00008: 4, 0x7FE00009: 8}


def is_known(syntax: str) -> bool:
    """Whether the engine takes objects of this transfer syntax. Video and its user data are refused."""
    return syntax in NATIVE or _frame_cleaner(syntax) is not None


def written_syntax(syntax: str) -> str:
    """The transfer syntax to write: the source's, but a data set deflated as a whole is written plain."""
    return EXPLICIT if syntax == DEFLATED else syntax


def clean(ds: Dataset, tag: int, value: bytes, syntax: str, little_endian: bool) -> bytes:
    """The bytes of a pixel data element, cleaned. Raises UNDECODABLE, PIXEL_DATA_MISMATCH and TRUNCATED_PIXEL_DATA."""
    if syntax not in NATIVE:
        return _encapsulated(ds, value, syntax)
    expected = _expected_bytes(ds, _WIDTHS[tag])
    if len(value) > expected > 0:
        value = value[:expected]
    if tag == 0x7FE00010:
        value = _only_stored_bits(ds, value, little_endian)
    return value + b"\0" * (len(value) % 2)


def _expected_bytes(ds: Dataset, width: int | None) -> int:
    """How many bytes the image needs; 0 where the header does not say."""
    pixels = reading.integer(ds, _ROWS) * reading.integer(ds, _COLUMNS) * max(reading.integer(ds, _FRAMES, 1), 1)
    pixels *= reading.integer(ds, _SAMPLES, 1)
    if width is not None:
        return pixels * width
    if reading.first_text(ds, _PHOTOMETRIC) in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        pixels = pixels // 3 * 2
    return -(-pixels * reading.integer(ds, _ALLOCATED) // 8)


def _only_stored_bits(ds: Dataset, value: bytes, little_endian: bool) -> bytes:
    """`value` with the bits beyond the stored ones cleared; signed values keep their sign in them.

    A negative value whose upper bits are all zero stays so: readers differ in what they make of it.
    """
    allocated, stored = reading.integer(ds, _ALLOCATED), reading.integer(ds, _STORED)
    high = reading.integer(ds, _HIGH, stored - 1)
    if allocated not in (8, 16, 32) or not 0 < stored < allocated or not stored - 1 <= high < allocated:
        return value
    order = "<" if little_endian else ">"
    whole = len(value) - len(value) % (allocated // 8)
    pixels = np.frombuffer(value[:whole], f"{order}u{allocated // 8}")
    mask = np.array(((1 << stored) - 1) << (high + 1 - stored), dtype=pixels.dtype)
    beyond = pixels & ~mask
    if not beyond.any():
        return value
    kept = pixels & mask
    if reading.integer(ds, _SIGNED) and high == stored - 1:
        negative = (pixels >> np.array(high, pixels.dtype)) & np.array(1, pixels.dtype) != 0
        kept = np.where(negative & (beyond != 0), kept | ~mask, kept).astype(pixels.dtype)
    return kept.tobytes() + value[whole:]


def _encapsulated(ds: Dataset, value: bytes, syntax: str) -> bytes:
    """The frames cleaned, one fragment each, with a basic offset table that fits."""
    cleaner = _frame_cleaner(syntax)
    if cleaner is None:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax)
    items = encapsulated.walk(io.BytesIO(value), 0, len(value))
    if not items.places:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, "no fragments")
    count = max(reading.integer(ds, _FRAMES, 1), 1)
    extended = ds[0x7FE00001].value if 0x7FE00001 in ds else b""
    frames = [
        cleaner(encapsulated.joined(value, places))
        for places in encapsulated.frames_of(value, items, count, extended if isinstance(extended, bytes) else b"")
    ]
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    offsets = [0]
    for frame in frames:
        offsets.append(offsets[-1] + len(frame) + 8)
    table = struct.pack(f"<{count}L", *offsets[:-1]) if offsets[-1] < _LONGEST_TABLE and count > 1 else b""
    out = [encapsulated.ITEM, struct.pack("<L", len(table)), table]
    for frame in frames:
        out += [encapsulated.ITEM, struct.pack("<L", len(frame)), frame]
    return b"".join(out)


def _frame_cleaner(syntax: str) -> Callable[[bytes], bytes] | None:
    if syntax in _JPEG:
        return streams.jpeg
    if syntax in _JPEG_2000:
        return streams.jpeg2000
    if syntax == _DEFLATED_FRAME:
        return streams.deflated
    return bytes if syntax == _RLE else None
