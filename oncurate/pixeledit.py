"""Pixels of a DICOM object taken out, made black where a mask says so, and put back.

Belongs here: what black is for each kind of pixels, editing native pixels where they stand, decoding compressed ones to
write them native. Does not belong here: what is masked and why (`oncurate.masking`), the decoders, all elements that do
not describe pixels (`oncurate.deid`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from oncurate import elements
from oncurate.colour import Palette
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.pixeldata import expected_bytes, locate
from oncurate.pixels import decode_frames, stored_dtype
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, PixelLocator

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Attributes that hold pixels; an object has one of them."""

_EDITABLE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_YBR_BLACK = (0, 128, 128)
"""PS3.3 C.7.6.3.1.2: no brightness, and colour differences of zero."""
_PALETTE_KEYWORDS = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    for colour in ("Red", "Green", "Blue")
)
_NUMBERS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


def blank(frame: np.ndarray, mask: np.ndarray, form: PixelFormat) -> np.ndarray:
    """A copy of a decoded frame that is black where `mask`, (rows, columns) bool, is set."""
    out = frame.copy()
    out[mask] = 0 if frame.ndim == 3 else _black(frame, form)
    return out


def _black(frame: np.ndarray, form: PixelFormat) -> int | float:
    """The code that is shown black. Signed and float scales have no black of their own: the frame's darkest value."""
    inverted = form.PhotometricInterpretation == "MONOCHROME1"
    if frame.dtype.kind != "u":
        return frame.max() if inverted else frame.min()
    return 2**form.BitsStored - 1 if inverted else 0


def format_of(ds: Dataset) -> PixelFormat:
    """How the pixels of a parsed object are encoded. Raises MISSING_ATTRIBUTE, NO_PIXEL_DATA."""
    keyword = next((k for k in KEYWORDS if k in ds), None)
    if keyword is None:
        raise Rejection(Reason.NO_PIXEL_DATA)
    found = {k: elements.integer(ds, k) for k in _NUMBERS}
    allocated = found["BitsAllocated"] or {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(keyword)
    stored = found["BitsStored"] or allocated
    defaults = {"NumberOfFrames": 1, "SamplesPerPixel": 1, "PixelRepresentation": 0}
    defaults |= {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": (stored or 1) - 1}
    numbers = {k: defaults.get(k) if value is None else value for k, value in found.items()}
    missing = [k for k, value in numbers.items() if value is None]
    if missing:
        raise Rejection(Reason.MISSING_ATTRIBUTE, ", ".join(missing))
    return PixelFormat(
        TransferSyntaxUID=_syntax_of(ds),
        PhotometricInterpretation=elements.text(ds, "PhotometricInterpretation").upper(),
        keyword=keyword,  # type: ignore[arg-type]  # one of the three literals
        **numbers,  # type: ignore[arg-type]  # none is missing
    )


def _syntax_of(ds: Dataset) -> str:
    meta = getattr(ds, "file_meta", None)
    named = elements.text(meta, "TransferSyntaxUID") if meta is not None else ""
    implicit, little = ds.original_encoding
    if named == DeflatedExplicitVRLittleEndian:  # what is parsed is no longer deflated
        return str(ExplicitVRLittleEndian)
    return named or str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else _EDITABLE[2])


def write_masked(ds: Dataset, form: PixelFormat, masks: Sequence[np.ndarray]) -> Dataset:
    """`ds`, changed: black where the masks, (rows, columns) bool a frame, are set. See `masking.masked_object`."""
    if not any(mask.any() for mask in masks):
        return ds
    subsampled = form.PhotometricInterpretation.endswith("_422")
    words = form.BitsAllocated == 8 and form.TransferSyntaxUID == ExplicitVRBigEndian
    if form.TransferSyntaxUID in _EDITABLE and form.BitsAllocated in (8, 16, 32, 64) and not subsampled and not words:
        return _in_place(ds, form, masks)
    frames = [blank(f, m, form) for f, m in zip(decoded(ds, form), masks, strict=True)]
    return _rewritten(ds, form, frames)


def _in_place(ds: Dataset, form: PixelFormat, masks: Sequence[np.ndarray]) -> Dataset:
    """Native pixels with the masked ones black; all other bytes stay."""
    order = ">" if form.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    dtype = stored_dtype(form).newbyteorder(order)
    raw = bytearray(ds[form.keyword].value)
    size = expected_bytes(form)
    if len(raw) < size:
        raise Rejection(Reason.TRUNCATED_PIXEL_DATA, f"{len(raw)} of {size} bytes")
    planes = form.SamplesPerPixel > 1 and elements.integer(ds, "PlanarConfiguration") == 1
    grid = (form.Rows, form.Columns)
    shape = (form.SamplesPerPixel, *grid) if planes else (*grid, form.SamplesPerPixel)
    pixels = np.frombuffer(raw, dtype, size // dtype.itemsize).reshape(form.NumberOfFrames, *shape)
    for frame, mask in zip(pixels, masks, strict=True):
        for sample, black in enumerate(_native_black(ds, form, frame)):
            target = frame[sample] if planes else frame[..., sample]
            target[mask] = black
    ds[form.keyword].value = bytes(raw)
    return ds


def _native_black(ds: Dataset, form: PixelFormat, frame: np.ndarray) -> tuple[int | float, ...]:
    """Black for each sample of native pixels."""
    kind = form.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        shown = Palette(ds).rgb(np.arange(2 ** min(form.BitsStored, 16))[None])
        return (int(shown[0].sum(axis=1, dtype=np.int64).argmin()),)
    if form.SamplesPerPixel == 1:
        return (_black(frame, form),)
    return _YBR_BLACK if kind.startswith("YBR") else (0,) * form.SamplesPerPixel


def decoded(ds: Dataset, form: PixelFormat) -> Iterator[np.ndarray]:
    """The frames of an object, one after the other, as `pixels.decode_frames` gives them."""
    data = bytes_of(ds)
    stream = io.BytesIO(data)
    head = dcmread(stream, stop_before_pixels=True)
    offset = locate(stream, head, form.TransferSyntaxUID).native_offset(form)
    where = PixelLocator(object="", url="", bytes=len(data), offset=offset, format=form)
    for index in range(form.NumberOfFrames):
        yield decode_frames(where, data, [index])[0]


def _rewritten(ds: Dataset, form: PixelFormat, frames: Sequence[np.ndarray]) -> Dataset:
    """The object with decoded frames as native pixels, little endian."""
    array = np.stack(frames)
    if form.BitsAllocated == 1:
        raw = np.packbits(array.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        ds.BitsAllocated = array.dtype.itemsize * 8
    if array.ndim == 4:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 7, 0
        for keyword in _PALETTE_KEYWORDS:
            if keyword in ds:
                delattr(ds, keyword)
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in ds:
            delattr(ds, keyword)
    ds.add_new(elements.tag_of(form.keyword), "OB" if ds.BitsAllocated <= 8 else "OW", raw + b"\0" * (len(raw) % 2))
    ds.file_meta = _meta(ds, ExplicitVRLittleEndian)
    ds.set_original_encoding(False, True)
    return ds


def _meta(ds: Dataset, syntax: str) -> FileMetaDataset:
    meta = getattr(ds, "file_meta", None) or FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    return meta


def bytes_of(ds: Dataset) -> bytes:
    """The object as a Part 10 file in its own transfer syntax. Raises BROKEN_HEADER where it cannot be written."""
    meta = ds.file_meta = _meta(ds, _syntax_of(ds))
    stream = io.BytesIO()
    try:
        if meta.TransferSyntaxUID.is_transfer_syntax:
            dcmwrite(stream, ds, enforce_file_format=True)
        else:  # newer than the installed dictionary: all such syntaxes are explicit little endian
            meta.FileMetaInformationGroupLength, meta.FileMetaInformationVersion = 0, b"\0\1"
            ds.preamble = b"\0" * 128
            dcmwrite(stream, ds, implicit_vr=False, little_endian=True, force_encoding=True)
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None
    return stream.getvalue()
