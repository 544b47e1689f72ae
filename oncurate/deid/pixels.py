"""Pixel data of an object: the same pixels, and nothing else in those bytes.

Belongs here: bits beyond the stored ones, bytes beyond the last pixel, frames of encapsulated data put together again.
Does not belong here: what a compressed frame holds (`oncurate.deid.streams`), blanking text (the caller does that).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import NamedTuple

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
_OFFSETS = 0x7FE00001
_LONGEST_TABLE = 1 << 32
PIXEL_DATA = 0x7FE00010
_WIDTHS = {PIXEL_DATA: None, 0x7FE00008: 4, 0x7FE00009: 8}


def is_known(syntax: str) -> bool:
    """Whether the engine takes objects of this transfer syntax. Video and its user data are refused."""
    return syntax in NATIVE or _frame_cleaner(syntax) is not None


def written_syntax(syntax: str) -> str:
    """The transfer syntax to write: the source's, but a data set deflated as a whole is written plain."""
    return EXPLICIT if syntax == DEFLATED else syntax


class Layout(NamedTuple):
    """What a header says of its pixels."""

    pixels: int  # of all frames and samples
    frames: int
    allocated: int
    stored: int
    high: int
    is_signed: bool
    is_halved: bool  # two of three samples are left out: chroma at half the width
    offsets: bytes = b""


def layout(ds: Dataset) -> Layout:
    """The layout of the pixels of a header; what it does not say counts as 0, as one sample or one frame."""
    frames = max(reading.integer(ds, _FRAMES, 1), 1)
    count = reading.integer(ds, _ROWS) * reading.integer(ds, _COLUMNS) * frames * reading.integer(ds, _SAMPLES, 1)
    stored = reading.integer(ds, _STORED)
    extended = ds[_OFFSETS].value if _OFFSETS in ds else b""
    return Layout(
        pixels=count,
        frames=frames,
        allocated=reading.integer(ds, _ALLOCATED),
        stored=stored,
        high=reading.integer(ds, _HIGH, stored - 1),
        is_signed=bool(reading.integer(ds, _SIGNED)),
        is_halved=reading.first_text(ds, _PHOTOMETRIC) in ("YBR_FULL_422", "YBR_PARTIAL_422"),
        offsets=extended if isinstance(extended, bytes) else b"",
    )


def clean(image: Layout, tag: int, value: bytes | memoryview, syntax: str, little_endian: bool) -> bytes | memoryview:
    """The bytes of a pixel data element, cleaned; `value` itself where they are clean.

    Raises UNDECODABLE, PIXEL_DATA_MISMATCH and TRUNCATED_PIXEL_DATA.
    """
    if syntax not in NATIVE:
        return _encapsulated(image, bytes(value), syntax)
    expected = _expected_bytes(image, _WIDTHS[tag])
    if not little_endian:
        expected += expected % 2  # the last of an odd number of bytes is behind its padding, where bytes are swapped
    if len(value) > expected > 0:
        value = value[:expected]
    if tag == PIXEL_DATA:
        value = _only_stored_bits(image, value, little_endian)
    return bytes(value) + b"\0" if len(value) % 2 else value


def _expected_bytes(image: Layout, width: int | None) -> int:
    """How many bytes the image needs; 0 where the header does not say."""
    if width is not None:
        return image.pixels * width
    return -(-(image.pixels // 3 * 2 if image.is_halved else image.pixels) * image.allocated // 8)


def _only_stored_bits(image: Layout, value: bytes | memoryview, little_endian: bool) -> bytes | memoryview:
    """`value` with the bits beyond the stored ones cleared; signed values keep their sign in them.

    A negative value whose upper bits are all zero stays so: readers differ in what they make of it.
    """
    allocated, stored, high = image.allocated, image.stored, image.high
    if allocated not in (8, 16, 32) or not 0 < stored < allocated or not stored - 1 <= high < allocated:
        return value
    order = "<" if little_endian else ">"
    whole = len(value) - len(value) % (allocated // 8)
    pixels = np.frombuffer(value, f"{order}u{allocated // 8}", whole // (allocated // 8))
    if not len(pixels) or _are_all_stored(pixels, image):
        return value
    mask = np.array(((1 << stored) - 1) << (high + 1 - stored), dtype=pixels.dtype)
    beyond = pixels & ~mask
    if not beyond.any():
        return value
    kept = pixels & mask
    if image.is_signed and high == stored - 1:
        negative = (pixels >> np.array(high, pixels.dtype)) & np.array(1, pixels.dtype) != 0
        kept = np.where(negative & (beyond != 0), kept | ~mask, kept).astype(pixels.dtype)
    return kept.tobytes() + bytes(value[whole:])


def _are_all_stored(pixels: np.ndarray, image: Layout) -> bool:
    """Whether the smallest and the largest value fit into the stored bits, so that the other bits say nothing."""
    if image.high != image.stored - 1:
        return False
    if not image.is_signed:
        return int(pixels.max()) < 1 << image.stored
    signed = pixels.view(pixels.dtype.str.replace("u", "i"))
    return int(signed.max()) < 1 << image.high and int(signed.min()) >= -1 << image.high


def _encapsulated(image: Layout, value: bytes, syntax: str) -> bytes:
    """The frames cleaned, one fragment each, with a basic offset table that fits."""
    cleaner = _frame_cleaner(syntax)
    if cleaner is None:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, syntax)
    items = encapsulated.walk(io.BytesIO(value), 0, len(value))
    if not items.places:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, "no fragments")
    count = image.frames
    frames = [
        cleaner(encapsulated.joined(value, places))
        for places in encapsulated.frames_of(value, items, count, image.offsets)
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
