"""Stored pixel values out of a file's bytes.

Belongs here: taking frames out of native pixel data, handing the rest to the decoders, and a digest over the values.
Does not belong here: the decoders (`oncurate.decoders`), what values mean (`oncurate.convert`), where files are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from oncurate import decoders, isolation
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, PixelLocator


def decode_frames(locator: PixelLocator, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """The stored values of `frames` (0-based) of the file whose bytes are `data`; of a mosaic, of its tiles.

    Each is (rows, columns), or (rows, columns, 3) uint8 RGB for colour and palette images; bits beyond BitsStored are
    dropped, the sign extended. Raises `Rejection` UNSUPPORTED_SYNTAX, UNDECODABLE or PIXEL_DATA_MISMATCH.
    """
    form = locator.format
    if form.tiles is not None:
        return _tiles(_whole_frames(locator, data, [0])[0], form.tiles, frames)
    return _whole_frames(locator, data, frames)


def _tiles(whole: np.ndarray, size: tuple[int, int], wanted: Sequence[int]) -> list[np.ndarray]:
    """Tiles of a mosaic, `size` rows and columns each, numbered row by row."""
    rows, columns = size
    across, down = whole.shape[1] // columns, whole.shape[0] // rows
    if wanted and max(wanted) >= across * down:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"tile {max(wanted)} of {across * down}")
    corners = ((tile // across * rows, tile % across * columns) for tile in wanted)
    return [whole[top : top + rows, left : left + columns] for top, left in corners]


def _whole_frames(locator: PixelLocator, data: bytes, frames: Sequence[int]) -> list[np.ndarray]:
    """Frames as the file holds them: a mosaic is one."""
    form = locator.format
    if frames and max(frames) >= form.NumberOfFrames:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"frame {max(frames)} of {form.NumberOfFrames}")
    if locator.offset is not None:
        return [_native(form, data, locator.offset, index) for index in frames]
    if decoders.is_encapsulated(form):
        decoders.guard(form, len(data))
        return isolation.decode(form, data, frames)
    return decoders.decode(form, data, frames)


def digest(locator: PixelLocator, data: bytes) -> str | None:
    """SHA-256 over shape, sign and values of all frames, whatever their encoding; None if they cannot be decoded."""
    try:
        frames = _whole_frames(locator, data, range(locator.format.NumberOfFrames))
    except Rejection:
        return None
    found = hashlib.sha256(repr((len(frames), frames[0].shape)).encode())
    for frame in frames:
        wide = np.ascontiguousarray(frame, "<f8" if frame.dtype.kind == "f" else "<i8")
        found.update(wide.data)
    return found.hexdigest()


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
