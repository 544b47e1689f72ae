"""A file as its elements' bytes: where each begins and ends, without a look into the values.

Belongs here: splitting plain little endian files. Does not belong here: what an element says. Whatever is not as
PS3.5 and PS3.10 want it gives None: a parser that forgives has to read it (`oncurate.deid.objects`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from oncurate.deid.pixels import EXPLICIT, IMPLICIT, PIXEL_DATA

UNDEFINED = 0xFFFFFFFF
_PREAMBLE = 128
_FIRST_GROUP = 0x0008
_DEEPEST = 16
_SYNTAX, _ITEM, _ITEM_END, _SEQUENCE_END = 0x00020010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT = {vr.value.encode(): vr.value for vr in EXPLICIT_VR_LENGTH_16}
_LONG = {vr.value.encode(): vr.value for vr in EXPLICIT_VR_LENGTH_32 if len(vr.value) == 2}
_EXPLICIT_HEAD = struct.Struct("<HH2sH")
_IMPLICIT_HEAD = struct.Struct("<HHL")
_LENGTH = struct.Struct("<L")


class Piece(NamedTuple):
    """An element of a file: `raw` from its tag to its end; `vr` None in implicit VR; where in `raw` the value starts.

    `raw` of the pixel data is only its tag and VR: see `File`.
    """

    tag: int
    vr: str | None
    raw: bytes
    value_at: int
    is_undefined: bool

    @property
    def value(self) -> bytes:
        """The bytes of the value."""
        return self.raw[self.value_at :]


class File(NamedTuple):
    """The elements of a file in their order, each tag once. `pixels` is the value of its pixel data, if it has any."""

    implicit: bool
    meta: tuple[Piece, ...]
    pieces: tuple[Piece, ...]
    pixels: memoryview | None


class _Unusual(Exception):
    """The bytes are not as the standard wants them."""


def split(data: bytes) -> File | None:
    """The elements of a plain explicit or implicit little endian file; None where a parser has to look."""
    if data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return None
    try:
        meta, start = _meta(data)
        syntax = next((p.value.rstrip(b" \0").decode("latin-1") for p in meta if p.tag == _SYNTAX), "")
        if syntax not in (EXPLICIT, IMPLICIT):
            return None
        implicit = syntax == IMPLICIT
        if implicit and data[start + 4 : start + 6].isalpha():
            return None  # says implicit, looks explicit
        return _body(data, start, implicit, tuple(meta))
    except (struct.error, _Unusual):
        return None


def _meta(data: bytes) -> tuple[list[Piece], int]:
    """The file meta information and where it ends."""
    pieces: list[Piece] = []
    at = _PREAMBLE + 4
    while data[at : at + 2] == b"\x02\0":
        piece, at = _next(data, at, False)
        if pieces and piece.tag <= pieces[-1].tag:
            raise _Unusual
        pieces.append(piece)
    return pieces, at


def _body(data: bytes, at: int, implicit: bool, meta: tuple[Piece, ...]) -> File:
    pieces: list[Piece] = []
    pixels: memoryview | None = None
    last, end = (_FIRST_GROUP << 16) - 1, len(data)
    while at < end:
        group, element, code, length = _EXPLICIT_HEAD.unpack_from(data, at)
        vr = None if implicit else _SHORT.get(code)
        stop = at + 8 + length
        if vr is None or stop > end:
            piece, at = _next(data, at, implicit)
        else:  # nearly all elements: not worth two calls
            piece, at = Piece(group << 16 | element, vr, data[at:stop], 8, False), stop
        if piece.tag <= last:
            raise _Unusual
        last = piece.tag
        if last == PIXEL_DATA:
            pixels = memoryview(data)[at - piece.value_at : at]
            piece = piece._replace(value_at=len(piece.raw))
        pieces.append(piece)
    return File(implicit, meta, tuple(pieces), pixels)


def _next(data: bytes, at: int, implicit: bool) -> tuple[Piece, int]:
    """The element at `at`, and where the next one starts. Of pixel data only tag and VR; `value_at` is its length."""
    group, element, vr, value_at, length = _head(data, at, implicit)
    tag, start = group << 16 | element, at + value_at
    if length == UNDEFINED:
        if vr not in ("SQ", None) or tag == PIXEL_DATA:
            raise _Unusual
        end = _sequence_end(data, start, implicit, 0)
    else:
        end = start + length
        if end > len(data):
            raise _Unusual
    if tag == PIXEL_DATA:
        return Piece(tag, vr, data[at : start - 4], length, False), end
    return Piece(tag, vr, data[at:end], value_at, length == UNDEFINED), end


def _head(data: bytes, at: int, implicit: bool) -> tuple[int, int, str | None, int, int]:
    """Group, element, VR, where the value starts and how long it is."""
    if implicit:
        group, element, length = _IMPLICIT_HEAD.unpack_from(data, at)
        return group, element, None, 8, length
    group, element, code, length = _EXPLICIT_HEAD.unpack_from(data, at)
    vr = _SHORT.get(code)
    if vr is not None:
        return group, element, vr, 8, length
    vr = _LONG.get(code)
    if vr is None:
        raise _Unusual
    return group, element, vr, 12, _LENGTH.unpack_from(data, at + 8)[0]


def _sequence_end(data: bytes, at: int, implicit: bool, depth: int) -> int:
    """Where a sequence of undefined length ends whose first item is at `at`."""
    if depth > _DEEPEST:
        raise _Unusual
    while True:
        group, element, length = _IMPLICIT_HEAD.unpack_from(data, at)
        tag, at = group << 16 | element, at + 8
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Unusual
        at = _item_end(data, at, implicit, depth) if length == UNDEFINED else at + length
        if at > len(data):
            raise _Unusual


def _item_end(data: bytes, at: int, implicit: bool, depth: int) -> int:
    """Where an item of undefined length ends whose first element is at `at`."""
    while True:
        group, element, length = _IMPLICIT_HEAD.unpack_from(data, at)
        if group << 16 | element == _ITEM_END:
            return at + 8
        _, _, vr, value_at, length = _head(data, at, implicit)
        at += value_at
        if length != UNDEFINED:
            at += length
        elif vr in ("SQ", None):
            at = _sequence_end(data, at, implicit, depth + 1)
        else:
            raise _Unusual
