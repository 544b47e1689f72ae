"""Where the pixel data of a file is and whether all of it is there, without decoding it.

Belongs here: the element that holds the pixels, its offset and length against what the header promises. Does not belong
here: decoding (`oncurate.pixels`).
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from oncurate import elements
from oncurate.encapsulated import ITEM, Items, walk
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

Keyword = Literal["PixelData", "FloatPixelData", "DoubleFloatPixelData"]

_KEYWORDS: dict[int, Keyword] = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}
_PIXEL_GROUP = 0x7FE0
_UNDEFINED = 0xFFFFFFFF
_CHUNK_BYTES = 1 << 20
_NATIVE_LITTLE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_SLICEABLE_BITS = (8, 16, 32, 64)
_YBR_422 = ("YBR_FULL_422", "YBR_PARTIAL_422")  # PS3.3 C.7.6.3.1.2: two chroma samples for two pixels
_JPIP = ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204")  # the pixels are at an address that the header names


@dataclass(frozen=True)
class PixelData:
    """The pixel element: `offset` and `length` of its value (None: encapsulated), and the bytes `available` there."""

    keyword: Keyword
    offset: int
    length: int | None
    available: int
    items: Items | None  # of encapsulated pixel data

    def check(self, form: PixelFormat, size: int | None) -> None:
        """Refuse pixel data that is shorter than the header promises. `size` is the file's, None if inflated."""
        if self.length is None:
            if self.items is None or not self.items.ended or len(self.items.places) < 2:
                raise Rejection(Reason.TRUNCATED_PIXEL_DATA)
            return
        if self.length == 0:
            raise Rejection(Reason.NO_PIXEL_DATA)
        promised = expected_bytes(form)
        there = min(self.length, self.available, *([size] if size is not None else []))
        if there < promised:
            raise Rejection(Reason.TRUNCATED_PIXEL_DATA, f"{there} of {promised} bytes")

    def digest(self, stream: BinaryIO, form: PixelFormat) -> str:
        """SHA-256 over the stored pixels: native bytes without padding, or the fragments without offset table."""
        if self.length is not None or self.items is None:
            places = [(self.offset, min(expected_bytes(form), self.available))]
        else:
            places = list(self.items.places[1:])
        running = hashlib.sha256()
        for offset, length in places:
            stream.seek(offset)
            while length > 0 and (chunk := stream.read(min(length, _CHUNK_BYTES))):
                running.update(chunk)
                length -= len(chunk)
        return running.hexdigest()

    def native_offset(self, form: PixelFormat) -> int | None:
        """The offset if the pixels can be taken from the bytes as they are: grey, native, little endian."""
        grey = form.SamplesPerPixel == 1 and form.PhotometricInterpretation.startswith("MONOCHROME")
        native = self.length is not None and form.TransferSyntaxUID in _NATIVE_LITTLE
        return self.offset if grey and native and form.BitsAllocated in _SLICEABLE_BITS else None


def expected_bytes(form: PixelFormat) -> int:
    """Bytes of native pixel data that the header promises."""
    samples = form.Rows * form.Columns * form.NumberOfFrames * form.SamplesPerPixel
    if form.BitsAllocated == 1:
        return (samples + 7) // 8
    whole = samples * form.BitsAllocated // 8
    return whole * 2 // 3 if form.PhotometricInterpretation in _YBR_422 else whole


def locate(stream: BinaryIO, ds: Dataset, syntax: str) -> PixelData:
    """The pixel element at which the parser stopped; the stream stands at its tag."""
    implicit, little = ds.original_encoding
    start = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    head = stream.read(12)
    order = "<" if little else ">"
    if len(head) < 8:
        if syntax in _JPIP:
            raise Rejection(Reason.UNSUPPORTED_SYNTAX, UID_dictionary[syntax][0])
        raise Rejection(Reason.BROKEN_HEADER if head or _is_cut(ds, end) else Reason.NO_PIXEL_DATA)
    group, element = struct.unpack_from(f"{order}HH", head)
    if group != _PIXEL_GROUP or element not in _KEYWORDS:
        raise Rejection(Reason.BROKEN_HEADER)
    short = implicit or not head[4:6].isalpha()
    if not short and len(head) < 12:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA)
    (length,) = struct.unpack_from(f"{order}L", head, 4 if short else 8)
    offset = start + (8 if short else 12)
    encapsulated = length == _UNDEFINED and syntax not in (*_NATIVE_LITTLE, DeflatedExplicitVRLittleEndian)
    if length == _UNDEFINED and not encapsulated:
        stream.seek(offset)
        if stream.read(len(ITEM)) == ITEM:  # compressed pixels under the syntax of native ones
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, "TransferSyntaxUID")
    return PixelData(
        keyword=_KEYWORDS[element],
        offset=offset,
        length=None if encapsulated else min(length, end - offset) if length == _UNDEFINED else length,
        available=end - offset,
        items=walk(stream, offset, end) if encapsulated else None,
    )


def _is_cut(ds: Dataset, end: int) -> bool:
    """Whether the file ends within the value of its last element."""
    tags = list(ds.keys())
    if not tags:
        return True
    last = ds.get_item(max(tags), keep_deferred=True)
    if isinstance(last, RawDataElement):
        return last.length != _UNDEFINED and last.value_tell + last.length > end
    return not elements.text(ds, "Rows")
