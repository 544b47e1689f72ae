"""What a compressed frame says of itself: size, precision, sign, colour.

Belongs here: the headers of JPEG, JPEG-LS and JPEG 2000 codestreams. Does not belong here: decoding them, what the
DICOM header says (`oncurate.codecs`). Decoders allocate what a codestream claims, so the claim is read before.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

_SOI = b"\xff\xd8"
_EOI = b"\xff\xd9"
_EOI_WITHIN = 10  # bytes before the padding; some writers put a few behind the end
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # 0xF7: JPEG-LS
_SOF_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_SOS = 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_JP2 = b"\x00\x00\x00\x0cjP  "
_SOC_SIZ = b"\xff\x4f\xff\x51"
_SIZ = struct.Struct(">HHLLLLLLLLH")  # length, capabilities, image, its offset, tile, its offset, components
_SIGNED = 0x80

_ADOBE_COLOURS: dict[int, Literal["RGB", "YBR"]] = {0: "RGB", 1: "YBR"}


@dataclass(frozen=True)
class Codestream:
    """The claims of one frame. `precision` is in bits; `colour` what its markers say, None if nothing does."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    lossless: bool  # JPEG's lossless process; False for JPEG 2000, where it does not matter
    subsampled: bool  # the components differ in size
    colour: Literal["RGB", "YBR"] | None = None


def jpeg(data: bytes) -> Codestream:
    """Of a JPEG or JPEG-LS frame (ITU-T T.81 B.2, T.87 C.2). Raises ValueError if it is not a complete one.

    `complete` means that it ends with an end-of-image marker: libjpeg fills the rest of a cut image with grey. Markers
    of colour as libjpeg reads them: JFIF means YCbCr, else Adobe's transform flag, else components called R, G, B.
    """
    if not data.startswith(_SOI) or _EOI not in data.rstrip(b"\0")[-_EOI_WITHIN:]:
        raise ValueError("not a whole JPEG")
    at, jfif, adobe = 2, False, None
    while True:
        marker, at = _marker(data, at)
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _SOF:
            break
        if length < 2:
            raise ValueError("segment length")
        body = data[at + 2 : at + length]
        jfif = jfif or (marker == 0xE0 and body.startswith(b"JFIF"))
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        at += length
    precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 2)
    components = [data[at + 8 + 3 * n : at + 11 + 3 * n] for n in range(samples)]
    if not samples or len(components[-1]) < 3:
        raise ValueError("frame header")
    named = bytes(c[0] for c in components).upper() == b"RGB"
    colour = "YBR" if jfif else _ADOBE_COLOURS.get(adobe) if adobe is not None else "RGB" if named else None
    return Codestream(
        rows=rows,
        columns=columns,
        samples=samples,
        precision=precision,
        signed=False,
        lossless=marker in _SOF_LOSSLESS,
        subsampled=len({c[1] for c in components}) > 1,
        colour=colour,
    )


def predictor(data: bytes) -> int:
    """The selection value (1 to 7) of the first scan of a lossless JPEG frame (ITU-T T.81 B.2.3, H.1.2.1)."""
    at = 2
    while True:
        marker, at = _marker(data, at)
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker == _SOS:
            return data[at + 3 + 2 * data[at + 2]]
        if length < 2:
            raise ValueError("segment length")
        at += length


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at`, past fill bytes, and where its segment begins."""
    if data[at] != 0xFF:
        raise ValueError("no marker")
    while data[at] == 0xFF:
        at += 1
    return data[at], at + 1


def jpeg2000(data: bytes) -> tuple[Codestream, bytes]:
    """Of a JPEG 2000 or HTJ2K frame (ITU-T T.800 A.5.1), and the codestream without the boxes of a JP2 file around it.

    Raises ValueError if it is not one.
    """
    data = _unboxed(data) if data.startswith(_JP2) else data
    if not data.startswith(_SOC_SIZ):
        raise ValueError("not JPEG 2000")
    _, _, right, bottom, left, top, *_, samples = _SIZ.unpack_from(data, 4)
    components = [data[4 + _SIZ.size + 3 * n :][:3] for n in range(min(samples, 5))]
    if not components or len(components[-1]) < 3 or len({c[0] for c in components}) > 1:
        raise ValueError("components")
    depth = components[0][0]
    found = Codestream(
        rows=bottom - top,
        columns=right - left,
        samples=samples,
        precision=(depth & ~_SIGNED) + 1,
        signed=bool(depth & _SIGNED),
        lossless=False,
        subsampled=any(c[1:] != b"\x01\x01" for c in components),
    )
    return found, data


def _unboxed(data: bytes) -> bytes:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        if kind == b"jp2c":
            return data[at + 8 : at + length if length else None]
        if length < 8:
            break
        at += length
    raise ValueError("no codestream box")
