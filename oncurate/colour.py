"""Colour of any encoding as RGB of 8 bits.

Belongs here: YCbCr to RGB, palettes to RGB. Does not belong here: finding out which of them a frame is in
(`oncurate.codecs`, `oncurate.decoders`), decoding.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.errors import Rejection
from oncurate.reasons import Reason

_FULL = np.array([[1.0, 1.0, 1.0], [0.0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0.0]])
"""Y, Cb, Cr (rows) to R, G, B of full range: the inverse of PS3.3 C.7.6.3.1.2 (ITU-T T.871)."""
_PARTIAL = _FULL * [[255 / 219], [255 / 224], [255 / 224]]
"""The same for Y of 16-235 and Cb, Cr of 16-240 (ITU-R BT.601)."""
_SCREEN_BITS = 8
_MAX_ENTRIES = 1 << 16  # PS3.3 C.7.6.3.1.5: the number of entries is a 16-bit number, 0 means 2^16
_COLOURS = ("Red", "Green", "Blue")


def ybr_to_rgb(array: np.ndarray, *, partial: bool = False) -> np.ndarray:
    """(rows, columns, 3) uint8 YCbCr to RGB of the same shape; `partial` for YBR_PARTIAL_422, else full range."""
    matrix = (_PARTIAL if partial else _FULL).astype(np.float32)
    shifted = array.astype(np.float32) - np.array([16 if partial else 0, 128, 128], np.float32)
    return np.clip(np.rint(shifted @ matrix), 0, 255).astype(np.uint8)


class Palette:
    """The colour table of a PALETTE COLOR image (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9)."""

    def __init__(self, ds: Dataset) -> None:
        """Read the tables of `ds`; raises MISSING_ATTRIBUTE and IMPLAUSIBLE_HEADER."""
        tables = []
        for colour in _COLOURS:
            count, self._first, bits = _descriptor(ds, colour)
            tables.append(_table(ds, colour, count, bits))
        size = min(len(table) for table in tables)
        entries = np.stack([table[:size] for table in tables], axis=-1)
        if entries.max() >> _SCREEN_BITS:  # of 16 bits; some writers put 8 bits into them
            entries = entries >> _SCREEN_BITS
        self._entries = entries.astype(np.uint8)

    def rgb(self, stored: np.ndarray) -> np.ndarray:
        """(rows, columns) stored values to (rows, columns, 3) uint8; values beyond the table get its first or last."""
        index = np.clip(stored.astype(np.int64) - self._first, 0, len(self._entries) - 1)
        return self._entries[index]


def _descriptor(ds: Dataset, colour: str) -> tuple[int, int, int]:
    """Entries, first value mapped, bits of an entry."""
    keyword = f"{colour}PaletteColorLookupTableDescriptor"
    values = elements.numbers(ds, keyword)
    if not values:
        raise Rejection(Reason.MISSING_ATTRIBUTE, keyword)
    if len(values) != 3 or values[2] not in (8, 16):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
    count, first, bits = (int(value) for value in values)
    if elements.integer(ds, "PixelRepresentation") == 1 and first >= 1 << 15:
        first -= 1 << 16  # the VR is US or SS with the sign of the pixels
    return count % _MAX_ENTRIES or _MAX_ENTRIES, first, bits


def _table(ds: Dataset, colour: str, count: int, bits: int) -> np.ndarray:
    """The entries of one colour, uint16, at most `count`."""
    order = "<" if ds.original_encoding[1] is not False else ">"
    keyword = f"{colour}PaletteColorLookupTableData"
    segmented = f"Segmented{keyword}"
    raw = _bytes(ds, keyword)
    if raw:
        wide = len(raw) >= 2 * count  # 8-bit entries are packed two to a word, or one to a word by some writers
        entries = np.frombuffer(raw, f"{order}u2", len(raw) // 2) if wide else _narrow(raw, order)
    else:
        raw = _bytes(ds, segmented)
        if not raw:
            raise Rejection(Reason.MISSING_ATTRIBUTE, keyword)
        data = np.frombuffer(raw, f"{order}u2", len(raw) // 2) if bits == 16 else _narrow(raw, order)
        entries = _expanded(data, bits)
        keyword = segmented
    if len(entries) < count:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
    return entries[:count].astype(np.uint16)


def _narrow(raw: bytes, order: str) -> np.ndarray:
    """Bytes of an OW value: in big endian the two of each word are swapped (PS3.5 A.2)."""
    found = np.frombuffer(raw, np.uint8)
    if order == ">":
        found = found[: len(found) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
    return found


def _bytes(ds: Dataset, keyword: str) -> bytes:
    try:
        value = ds[keyword].value if keyword in ds else None
    except elements.PARSE_ERRORS:
        return b""
    return value if isinstance(value, bytes) else b""


def _expanded(data: np.ndarray, bits: int) -> np.ndarray:
    """A segmented table (PS3.3 C.7.9.2) as its entries; stops at 2^16 of them, whatever the segments say."""
    out: list[int] = []
    starts: set[int] = set()
    at = 0
    try:
        while at + 1 < len(data) and len(out) < _MAX_ENTRIES:
            if data[at] == 2:
                at = _indirect(data, at, bits, starts, out)
            else:
                starts.add(at)
                at = _segment(data, at, out)
    except (IndexError, ValueError):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "SegmentedPaletteColorLookupTableData") from None
    return np.array(out, np.uint16)


def _segment(data: np.ndarray, at: int, out: list[int]) -> int:
    """Append a discrete (0) or linear (1) segment; where the next one begins."""
    kind, length = int(data[at]), int(data[at + 1])
    if kind == 0:
        values = data[at + 2 : at + 2 + length]
        if len(values) < length:
            raise ValueError("segment")
        out.extend(int(value) for value in values)
        return at + 2 + length
    if kind != 1 or not out:
        raise ValueError("segment")
    line = np.linspace(out[-1], int(data[at + 2]), length + 1)[1:]
    out.extend(int(value) for value in np.rint(line))
    return at + 3


def _indirect(data: np.ndarray, at: int, bits: int, starts: set[int], out: list[int]) -> int:
    """Append copies of segments (2): their number, and the byte offset of the first, least significant part first.

    Only what was a direct segment before may be copied: that rules out endless copies and wrongly counted offsets.
    """
    parts, width = (4, 8) if bits == 8 else (2, 16)
    offset = sum(int(data[at + 2 + n]) << (width * n) for n in range(parts))
    source = offset * 8 // bits
    for _ in range(int(data[at + 1])):
        if source not in starts or len(out) >= _MAX_ENTRIES:
            raise ValueError("segment")
        source = _segment(data, source, out)
    return at + 2 + parts
