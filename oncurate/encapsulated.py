"""Encapsulated pixel data as the byte ranges of its frames (PS3.5 A.4).

Belongs here: walking the items of an encapsulated element, and which items make which frame. Does not belong here: what
the items hold (`oncurate.codestream`), decoding them (`oncurate.codecs`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from oncurate.errors import Rejection
from oncurate.reasons import Reason

MAX_ITEMS = 1 << 20
"""More items than this are refused: it bounds the walk, and whole-slide images, the most fragmented, have some 10^5."""

ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_HEAD_BYTES = 8  # tag and length of an item
_STARTS = (  # how a codestream opens; what RLE and deflate open with cannot be told from other bytes
    b"\xff\xd8\xff",  # JPEG, JPEG-LS: SOI and the first byte of a marker
    b"\xff\x4f\xff\x51",  # JPEG 2000, HTJ2K: SOC, SIZ
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000 in a JP2 file
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL \r\n\x87\n",  # JPEG XL in a container
)

Place = tuple[int, int]  # offset of an item's value, its length


@dataclass(frozen=True)
class Items:
    """The items of an encapsulated element; the first is the basic offset table. `ended`: the delimiter was found."""

    places: tuple[Place, ...]
    ended: bool


def walk(stream: BinaryIO, offset: int, end: int) -> Items:
    """The items between `offset` and `end`, by the length that each announces.

    An item of odd length may be followed by a byte that its length does not count; PS3.5 forbids both, writers do it.
    """
    places: list[Place] = []
    position = offset
    while position + _HEAD_BYTES <= end and len(places) <= MAX_ITEMS:
        stream.seek(position)
        head = stream.read(_HEAD_BYTES + 1)
        if places and places[-1][1] % 2 and head[:4] not in (ITEM, _SEQUENCE_END):
            position, head = position + 1, head[1:]
        if head[:4] == _SEQUENCE_END:
            return Items(tuple(places), True)
        if head[:4] != ITEM or len(head) < _HEAD_BYTES:
            break
        (length,) = struct.unpack_from("<L", head, 4)
        places.append((position + _HEAD_BYTES, length))
        position += _HEAD_BYTES + length
    return Items(tuple(places), False)


def frames_of(data: bytes, items: Items, count: int, extended: bytes = b"") -> list[list[Place]]:
    """The fragments of each of `count` frames in `data`; `extended` is the Extended Offset Table's value.

    What the fragments hold goes before what tables say, because tables are often wrong: as many fragments as frames
    are one each; then frames begin where a codestream opens; then the extended and the basic offset table are
    believed, if they point at fragments. Raises TRUNCATED_PIXEL_DATA and PIXEL_DATA_MISMATCH.
    """
    fragments = [place for place in items.places[1:] if place[1]]
    if len(fragments) < count:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, f"{len(fragments)} fragments for {count} frames")
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    opening = [n for n, (at, _) in enumerate(fragments) if data.startswith(_STARTS, at)]
    if opening[:1] == [0] and len(opening) == count:
        return _split(fragments, opening)
    if len(opening) > count:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"{len(opening)} frames for {count}")
    if count == 1:
        return [fragments]
    at, length = items.places[0]
    for table, dtype in ((extended, "<u8"), (data[at : at + length], "<u4")):
        found = _by_table(fragments, np.frombuffer(table, dtype, len(table) // np.dtype(dtype).itemsize))
        if found is not None and len(found) == count:
            return found
    raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"{len(fragments)} fragments for {count} frames")


def _by_table(fragments: Sequence[Place], table: np.ndarray) -> list[list[Place]] | None:
    """Frames by the offsets of their first fragments' item tags, from the first fragment's; None if they are wrong."""
    base = fragments[0][0]
    number = {at - base: n for n, (at, _) in enumerate(fragments)}
    first = [number.get(int(offset)) for offset in table]
    if not first or first[0] != 0 or None in first or any(b <= a for a, b in pairwise(first)):
        return None
    return _split(fragments, first)  # type: ignore[arg-type]  # none of them is None


def _split(fragments: Sequence[Place], first: Sequence[int]) -> list[list[Place]]:
    ends = [*first[1:], len(fragments)]
    return [list(fragments[a:b]) for a, b in zip(first, ends, strict=True)]


def joined(data: bytes, fragments: Sequence[Place]) -> bytes:
    """The bytes of one frame."""
    return b"".join(data[at : at + length] for at, length in fragments)
