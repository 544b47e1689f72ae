"""The outermost layer of a DICOM file: is it one, and is its data set deflated.

Belongs here: the first bytes (PS3.10), and undoing the deflated syntax as a whole. Does not belong here: elements.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from oncurate.errors import Rejection
from oncurate.reasons import Reason

PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_META_START = PREAMBLE_BYTES + len(_PREFIX)
_SNIFFED_BYTES = 4096
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1".ljust(len(_DEFLATED), b"\0")
_DEFLATED_JPIP = {
    b"1.2.840.10008.1.2.4.95": "JPIP Referenced Deflate",
    b"1.2.840.10008.1.2.4.205": "JPIP HTJ2K Referenced Deflate",
}
_META_GROUP = b"\x02\0"
_GROUP_LENGTH = _META_GROUP + b"\0\0"
_SYNTAX = _META_GROUP + b"\x10\0"
_LONG_VRS = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR")  # their length is four bytes, after two of padding
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
    """The stream itself, or an inflated one in explicit little endian; and whether it was deflated.

    Raises UNSUPPORTED_SYNTAX for deflated JPIP, whose pixels are elsewhere, and what `inflate` raises.
    """
    head = stream.read(_SNIFFED_BYTES)
    stream.seek(0)
    syntax = _syntax(head)
    if syntax in _DEFLATED_JPIP:
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, _DEFLATED_JPIP[syntax])
    if syntax == _DEFLATED:
        return io.BytesIO(inflate(stream.read(size))), True
    return stream, False


def _syntax(head: bytes) -> bytes:
    """The transfer syntax in the file meta group; empty if there is none. The group's own length is often wrong."""
    return next((value.rstrip(b" \0") for tag, value, _ in _meta(head) if tag == _SYNTAX), b"")


def _meta(head: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """The elements of the file meta group, as far as `head` reaches: tag, value, where the next one starts."""
    at, last = _META_START, -1
    while at != last and head[PREAMBLE_BYTES:_META_START] == _PREFIX and head[at : at + 2] == _META_GROUP:
        long = head[at + 4 : at + 6] in _LONG_VRS
        start = at + (12 if long else 8)
        length = int.from_bytes(head[at + 8 : start] if long else head[at + 6 : start], "little")
        if start + length > len(head):
            return
        tag, at = head[at : at + 4], start + length
        if tag == _GROUP_LENGTH:
            last = at + int.from_bytes(head[start:at], "little")
        yield tag, head[start:at], at


def inflate(data: bytes) -> bytes:
    """A deflated file as the same file in explicit little endian; other files unchanged."""
    if _syntax(data[:_SNIFFED_BYTES]) != _DEFLATED:
        return data
    *_, (_, _, end) = _meta(data)
    meta = data[:end].replace(_DEFLATED, _EXPLICIT, 1)
    for window in (-zlib.MAX_WBITS, zlib.MAX_WBITS):  # PS3.5 A.5 wants no zlib header, some writers put one
        inflater = zlib.decompressobj(window)
        try:
            body = inflater.decompress(data[end:], INFLATED_LIMIT_BYTES)
            break
        except zlib.error:
            continue
    else:
        raise Rejection(Reason.BROKEN_HEADER, "deflated data set")
    if inflater.unconsumed_tail:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "deflated data set")
    if not inflater.eof:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, "deflated data set")
    return meta + body
