"""The private header that Siemens MR scanners write as one block of bytes (CSA header), and the protocol text in it.

Belongs here: taking named values out of the bytes. Does not belong here: what they mean (`oncurate.mosaic`,
`oncurate.diffusion`).

The layout is not published by Siemens; sources: https://nipy.org/nibabel/dicom/siemens_csa.html, and the header as it
is in the real files of the golden tests. "CSA2" begins with SV10, "CSA1" with the number of its elements.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection

from oncurate.elements import PrivateTag

IMAGE_HEADER = PrivateTag(0x0029, "SIEMENS CSA HEADER", 0x10, "OB", "SIEMENS")
SERIES_HEADER = PrivateTag(0x0029, "SIEMENS CSA HEADER", 0x20, "OB", "SIEMENS")

_MAGIC = b"SV10"
_TAG = struct.Struct("<64si4sii4x")  # name, multiplicity, VR, syngo type, number of items, a constant
_ITEM = struct.Struct("<4i")
_MOST_TAGS = 1024
"""Elements in one header; real ones hold about a hundred. More is no CSA header."""
_MOST_SLICES = 4096
_SLICE = re.compile(
    rb"sSliceArray\.asSlice\[(\d{1,4})\]\.sPosition\.d(Sag|Cor|Tra)[ \t]*=[ \t]*"
    rb"(-?\d{1,9}(?:\.\d{1,20})?(?:e-?\d{1,2})?)"
)
_SLICES = re.compile(rb"sSliceArray\.lSize[ \t]*=[ \t]*(\d{1,4})")
_AXES = {b"Sag": 0, b"Cor": 1, b"Tra": 2}


def values(raw: bytes, names: Collection[str]) -> dict[str, list[str]]:
    """Values of the elements `names` as text, without empty ones; what does not parse is not there. Never raises."""
    found: dict[str, list[str]] = {}
    is_second = raw[:4] == _MAGIC
    try:
        (count,) = struct.unpack_from("<I", raw, 8 if is_second else 0)
        if not 0 < count <= _MOST_TAGS:
            return {}
        offset, first = 16 if is_second else 8, None
        for _ in range(count):
            name, _, _, _, items = _TAG.unpack_from(raw, offset)
            offset += _TAG.size
            first = items if first is None else first
            wanted = name.split(b"\0", 1)[0].decode("latin-1")
            texts, offset = _items(raw, offset, items, None if is_second else first)
            if wanted in names:
                found[wanted] = texts
    except struct.error:
        return found
    return found


def _items(raw: bytes, offset: int, count: int, first: int | None) -> tuple[list[str], int]:
    """Texts of the items at `offset`, and where they end. `first`: the item count of a CSA1 header's first element."""
    texts = []
    for _ in range(count):
        lengths = _ITEM.unpack_from(raw, offset)
        offset += _ITEM.size
        length = lengths[1] if first is None else lengths[0] - first
        if not 0 <= length <= len(raw) - offset:
            raise struct.error
        text = raw[offset : offset + length].split(b"\0", 1)[0].decode("latin-1").strip()
        offset += length + -length % 4
        if text:
            texts.append(text)
    return texts, offset


def numbers(found: dict[str, list[str]], name: str, length: int) -> list[float]:
    """Exactly `length` finite numbers of one element of `values`; empty if they are anything else."""
    try:
        many = [float(text) for text in found.get(name, [])]
    except ValueError:
        return []
    return many if len(many) == length and all(map(math.isfinite, many)) else []


def slice_centres(raw: bytes) -> list[tuple[float, float, float]]:
    """Centres of the protocol's slices, LPS mm, in the protocol's order; empty if the protocol is not in `raw`.

    A coordinate that is 0 is left out of the protocol. `raw` is the series header, which holds the protocol as text.
    """
    size = _SLICES.search(raw)
    count = int(size.group(1)) if size else 0
    if not 0 < count <= _MOST_SLICES:
        return []
    centres = [[0.0, 0.0, 0.0] for _ in range(count)]
    placed = False
    for index, axis, number in _SLICE.findall(raw):
        if int(index) < count:
            centres[int(index)][_AXES[axis]] = float(number)
            placed = True
    return [(x, y, z) for x, y, z in centres] if placed else []
