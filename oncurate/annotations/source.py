"""An annotation object as bytes: its header, parsed once, and its frames, decoded a few at a time.

Belongs here: opening one DICOM object that is no image of the archive. Does not belong here: what the header means,
the decoders (`oncurate.decoders`, `oncurate.pixels`), images (`oncurate.headers`).

A segmentation may hold tens of thousands of frames, most of them nearly empty: they are never in memory together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from oncurate import decoders, elements
from oncurate.errors import Rejection
from oncurate.headers import parse
from oncurate.pixeldata import Keyword, PixelData, expected_bytes, locate
from oncurate.pixels import decode_frames
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, PixelLocator

BATCH_BYTES = 1 << 26
"""Decoded bytes of the frames that are held at a time."""

_FLOAT_BITS: dict[Keyword, int] = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_SYNTAX_FOUND = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
"""By (implicit, little endian), as the parser found them: the transfer syntax of an object that names none."""


@dataclass(frozen=True)
class Source:
    """A parsed header `ds` without pixels, and the bytes that it came from, inflated if the file was deflated."""

    ds: Dataset
    data: bytes = field(repr=False)
    syntax: str
    pixels: PixelData | None

    @property
    def sop_class(self) -> str:
        """SOP class UID; empty if there is none."""
        return elements.text(self.ds, "SOPClassUID")

    def format(self) -> PixelFormat:
        """How the frames are encoded. They are one number a pixel: a palette only says how those are shown.

        Raises NO_PIXEL_DATA, MISSING_ATTRIBUTE, IMPLAUSIBLE_HEADER, TRUNCATED_PIXEL_DATA, UNSUPPORTED_SYNTAX.
        """
        if self.pixels is None:
            raise Rejection(Reason.NO_PIXEL_DATA)
        keyword = self.pixels.keyword
        allocated = _FLOAT_BITS.get(keyword) or self._positive("BitsAllocated")
        stored = elements.integer(self.ds, "BitsStored") or allocated
        if (elements.integer(self.ds, "SamplesPerPixel") or 1) != 1:
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, "SamplesPerPixel")
        if allocated not in (1, 8, 16, 32, 64) or not 1 <= stored <= allocated:
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, "BitsAllocated")
        form = PixelFormat(
            TransferSyntaxUID=self.syntax,
            Rows=self._positive("Rows"),
            Columns=self._positive("Columns"),
            NumberOfFrames=self._positive("NumberOfFrames") if elements.values(self.ds, "NumberOfFrames") else 1,
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=allocated,
            BitsStored=stored,
            HighBit=stored - 1,
            PixelRepresentation=elements.integer(self.ds, "PixelRepresentation") or 0,
            keyword=keyword,
        )
        self.pixels.check(form, len(self.data))
        decoders.guard(form, len(self.data))  # a count of frames that lies must not ask for a list of as many
        return form

    def frames(self) -> Iterator[np.ndarray]:
        """The stored values of each frame, (rows, columns); 0 and 1 where a pixel has one bit.

        Raises what `format` and `oncurate.pixels.decode_frames` raise.
        """
        form = self.format()
        if self.pixels is not None and not decoders.is_encapsulated(form) and form.BitsAllocated == 1:
            yield from _unpacked(form, self._words(self.pixels, form))
            return
        offset = None if self.pixels is None else self.pixels.native_offset(form)
        locator = PixelLocator(object="", url="", bytes=len(self.data), offset=offset, format=form)
        batch = max(1, BATCH_BYTES // (form.Rows * form.Columns * max(8, form.BitsAllocated) // 8))
        for start in range(0, form.NumberOfFrames, batch):
            yield from decode_frames(locator, self.data, range(start, min(start + batch, form.NumberOfFrames)))

    def _words(self, pixels: PixelData, form: PixelFormat) -> np.ndarray:
        """The bytes of packed bits in the order of the bits: 16-bit words of a big endian file are turned round."""
        length = expected_bytes(form)
        in_words = self.syntax == ExplicitVRBigEndian and self.data[pixels.offset - 8 : pixels.offset - 6] == b"OW"
        there = min(len(self.data) - pixels.offset, length + length % 2 if in_words else length)
        packed = np.frombuffer(self.data, np.uint8, there, pixels.offset)
        return packed[: there - there % 2].reshape(-1, 2)[:, ::-1].ravel() if in_words else packed

    def _positive(self, keyword: str) -> int:
        value = elements.integer(self.ds, keyword)
        if value is None:
            raise Rejection(Reason.MISSING_ATTRIBUTE, keyword)
        if value < 1:
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
        return value


def opened(data: bytes) -> Source:
    """Parse the header of an object. Raises what `headers.parse` and `pixeldata.locate` raise."""
    ds, stream, deflated = parse(io.BytesIO(data), len(data))
    found = _SYNTAX_FOUND.get(ds.original_encoding, ExplicitVRLittleEndian)
    syntax = ExplicitVRLittleEndian if deflated else elements.text(ds.file_meta, "TransferSyntaxUID") or found
    pixels = locate(stream, ds, syntax) if _has_pixels(stream) else None
    if deflated:
        stream.seek(0)
        data = stream.read()
    return Source(ds=ds, data=data, syntax=str(syntax), pixels=pixels)


def _unpacked(form: PixelFormat, packed: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of one bit a pixel, the first pixel in the lowest bit; a frame may start within a byte (PS3.5 8.1.1).

    pydicom 3.0.2 drops the last byte of such frames where they reach into one more byte than they fill.
    """
    bits = form.Rows * form.Columns
    for start in range(0, bits * form.NumberOfFrames, bits):
        touched = packed[start // 8 : (start + bits + 7) // 8]
        frame = np.unpackbits(touched, bitorder="little")[start % 8 : start % 8 + bits]
        yield frame.reshape(form.Rows, form.Columns)


def _has_pixels(stream: BinaryIO) -> bool:
    """Whether anything follows the header: the parser stops at pixels, and at the end."""
    here = stream.tell()
    more = bool(stream.read(1))
    stream.seek(here)
    return more
