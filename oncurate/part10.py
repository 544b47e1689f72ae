"""The outermost layer of a DICOM file: is it one, and is its data set deflated.

Belongs here: the first bytes (PS3.10), and undoing the deflated syntax as a whole. Does not belong here: elements.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from oncurate.errors import Rejection
from oncurate.reasons import Reason

PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_META_START = PREAMBLE_BYTES + len(_PREFIX)
_SNIFFED_BYTES = 4096
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1".ljust(len(_DEFLATED), b"\0")
INFLATED_LIMIT_BYTES = 1 << 30
"""A deflated data set larger than this when inflated is refused as a bomb: it is ten times the largest series seen."""

_FIRST_GROUPS = (0x0000, 0x0002, 0x0008)  # command, file meta, identification: what a data set can start with
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_FIRST_ELEMENT_LIMIT_BYTES = 1 << 16


def looks_like_dicom(stream: BinaryIO) -> bool:
    """Whether the first bytes have the prefix or could be a data set without one; leaves the stream at its start."""
    head = stream.read(_META_START)
    stream.seek(0)
    if head[PREAMBLE_BYTES:] == _PREFIX:
        return True
    return len(head) >= 8 and (_starts_element(head, "<") or _starts_element(head, ">"))


def _starts_element(head: bytes, order: str) -> bool:
    """Whether `head` starts with a plausible first element in this byte order."""
    group, element = struct.unpack_from(f"{order}HH", head)
    if group not in _FIRST_GROUPS or element > 0x2000:
        return False
    if head[4:6] in _VRS:
        return True
    (length,) = struct.unpack_from(f"{order}L", head, 4)
    return order == "<" and length <= _FIRST_ELEMENT_LIMIT_BYTES


def as_plain_stream(stream: BinaryIO, size: int) -> tuple[BinaryIO, bool]:
    """The stream itself, or an inflated one in explicit little endian; and whether it was deflated."""
    head = stream.read(_SNIFFED_BYTES)
    stream.seek(0)
    if _is_deflated(head):
        return io.BytesIO(inflate(stream.read(size))), True
    return stream, False


def _is_deflated(head: bytes) -> bool:
    if head[PREAMBLE_BYTES:_META_START] != _PREFIX:
        return False
    end = _meta_end(head)
    return end is not None and _DEFLATED in head[_META_START:end]


def _meta_end(head: bytes) -> int | None:
    """Where the data set starts, from the group length that opens the file meta group; None if it is not there."""
    if head[_META_START : _META_START + 8] != b"\x02\0\0\0UL\x04\0" or len(head) < _META_START + 12:
        return None
    (length,) = struct.unpack_from("<L", head, _META_START + 8)
    return _META_START + 12 + length


def inflate(data: bytes) -> bytes:
    """A deflated file as the same file in explicit little endian; other files unchanged."""
    if not _is_deflated(data[:_SNIFFED_BYTES]):
        return data
    end = _meta_end(data)
    meta = data[:end].replace(_DEFLATED, _EXPLICIT, 1)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = inflater.decompress(data[end:], INFLATED_LIMIT_BYTES)
    except zlib.error:
        raise Rejection(Reason.BROKEN_HEADER, "deflated data set") from None
    if inflater.unconsumed_tail:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "deflated data set")
    if not inflater.eof:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, "deflated data set")
    return meta + body
