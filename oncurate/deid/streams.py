"""Compressed frames without what rides along: comments, application data, foreign boxes, bytes behind the end.

Belongs here: taking segments out of JPEG, JPEG-LS, JPEG 2000 and deflated frames; the decoded pixels stay the same.
Does not belong here: which bytes are a frame (`oncurate.encapsulated`), decoding (`oncurate.codecs`).

Sources: ITU-T T.81 B.1 (JPEG markers), T.87 C.1 (JPEG-LS: a byte below 80 hex after FF is data), T.800 A.4 (JPEG 2000),
JFIF 1.02 (APP0), Adobe Technical Note 5116 (APP14).
"""

from __future__ import annotations

import re
import struct
import zlib

from oncurate.errors import Rejection
from oncurate.reasons import Reason

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NEXT_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_JFIF = b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"  # version, no unit, aspect 1:1, no thumbnail
_ADOBE = re.compile(rb"Adobe.{6}([\x00-\x02])", re.DOTALL)
_HP_COLOUR = re.compile(rb"mrfx[\x00-\x03]")  # the colour transform of Hewlett-Packard's JPEG-LS coder

_SOC, _SOT, _SOD, _J2K_COM, _EOC = 0xFF4F, 0xFF90, 0xFF93, 0xFF64, 0xFFD9
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_JP2_BOXES = frozenset({b"jP  ", b"ftyp", b"jp2h", b"jp2c"})
_J2K_STARTS = (b"\xff\x4f\xff\x51",)
_RAW_DEFLATE = -zlib.MAX_WBITS
LONGEST_FRAME_BYTES = 1 << 30
"""A frame that inflates to more is refused as a bomb."""


def jpeg(frame: bytes) -> bytes:
    """A JPEG or JPEG-LS frame without COM and APPn, and without anything behind its end.

    Of the application segments, those that decide about colour stay, in a form of ours: JFIF, Adobe's transform, the
    colour transform of JPEG-LS. Raises UNDECODABLE where the markers do not follow each other.
    """
    out = bytearray(b"\xff\xd8")
    at = 2
    if frame[:2] != out:
        raise _undecodable("JPEG")
    while True:
        start = at
        while frame[at : at + 1] == b"\xff":
            at += 1
        if at == start or at >= len(frame):
            raise _undecodable("JPEG")
        marker, at = frame[at], at + 1
        if marker == _EOI:
            return bytes(out + b"\xff\xd9")
        if marker in _STANDALONE:
            out += bytes((0xFF, marker))
            continue
        if at + 2 > len(frame):
            raise _undecodable("JPEG")
        (length,) = struct.unpack_from(">H", frame, at)
        body, end = frame[at + 2 : at + length], at + length
        if length < 2 or end > len(frame):
            raise _undecodable("JPEG")
        if marker == _SOS:
            found = _NEXT_MARKER.search(frame, end)
            end = found.start() if found else len(frame)
        elif marker == _COM or marker in _APPLICATION:
            body = _colour_segment(marker, body)
            if body:
                out += struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
            at = end
            continue
        out += bytes((0xFF, marker)) + frame[at:end]
        at = end
        if marker == _SOS and at >= len(frame):  # cut off: decoders make of it what they can
            return bytes(out)


def _colour_segment(marker: int, body: bytes) -> bytes:
    if marker == 0xE0 and body.startswith(b"JFIF\0"):
        return _JFIF
    adobe = _ADOBE.match(body) if marker == 0xEE else None
    if adobe:
        return b"Adobe\0\x64\0\0\0\0" + adobe[1]
    return body[:5] if marker == 0xE8 and _HP_COLOUR.fullmatch(body[:5]) and len(body) == 5 else b""


def jpeg2000(frame: bytes) -> bytes:
    """A JPEG 2000 or HTJ2K frame with its comments blanked, without foreign boxes and bytes behind its end."""
    if not frame.startswith(_JP2_SIGNATURE):
        return _codestream(frame)
    out, at = bytearray(), 0
    while at + 8 <= len(frame):
        length, kind = struct.unpack_from(">L4s", frame, at)
        end = at + length if length else len(frame)
        if length in range(1, 8) or end > len(frame):
            raise _undecodable("JPEG 2000")
        body = frame[at + 8 : end]
        if kind == b"jp2c":
            body = _codestream(body)
        if kind in _JP2_BOXES:
            out += struct.pack(">L4s", len(body) + 8, kind) + body
        at = end
    return bytes(out)


def _codestream(data: bytes) -> bytes:
    """Comments are blanked in place: the lengths that tile parts announce stay right."""
    if not data.startswith(_J2K_STARTS):
        raise _undecodable("JPEG 2000")
    out = bytearray(data)
    at, part_end = 2, 0
    while at + 4 <= len(out):
        marker, length = struct.unpack_from(">HH", out, at)
        if marker == _EOC:
            break
        if marker == _SOD:
            end, part_end = part_end or _last_end(out), 0
            if end <= at:
                raise _undecodable("JPEG 2000")
            at = end
            continue
        if marker < 0xFF00 or length < 2:
            raise _undecodable("JPEG 2000")
        if marker == _SOT:
            (part_length,) = struct.unpack_from(">L", out, at + 6)
            part_end = at + part_length if part_length else 0
            if part_end and part_end <= at + length:
                raise _undecodable("JPEG 2000")
        elif marker == _J2K_COM:
            blank = slice(at + 6, min(at + 2 + length, len(out)))
            out[blank] = bytes(len(out[blank]))
        at += 2 + length
    if out[at : at + 2] == b"\xff\xd9":
        del out[at + 2 :]
    return bytes(out)


def _last_end(out: bytearray) -> int:
    """Where the last tile part ends that does not say how long it is: at the last end-of-codestream marker."""
    found = out.rfind(b"\xff\xd9")
    return found if found >= 0 else len(out)


def deflated(frame: bytes) -> bytes:
    """A deflated frame without what follows its last block."""
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        inflater.decompress(frame, LONGEST_FRAME_BYTES)
    except zlib.error:
        raise _undecodable("deflated frame") from None
    if inflater.unconsumed_tail:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "deflated frame")
    return frame[: len(frame) - len(inflater.unused_data)]


def _undecodable(what: str) -> Rejection:
    return Rejection(Reason.UNDECODABLE, what)
