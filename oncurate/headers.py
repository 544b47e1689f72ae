"""Reads the header of one file, once, into an `Instance`, or refuses it with a reason.

Belongs here: telling DICOM from anything else, and the checks that need nothing but this one header. Does not belong
here: the pixels' values (`oncurate.pixels`), comparing files (`oncurate.copies`), volumes (`oncurate.plan`).
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from typing import BinaryIO

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from oncurate import elements, kinds
from oncurate.deid import own
from oncurate.deid.policy import DeidPolicy
from oncurate.deid.rules import rules_of
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.frames import attributes_of, frames_of
from oncurate.functional_groups import headers_of
from oncurate.mosaic import mosaic_of
from oncurate.part10 import as_plain_stream, looks_like_dicom
from oncurate.pixeldata import locate
from oncurate.reasons import Reason
from oncurate.recipe import sha256_hex
from oncurate.records import Instance, PixelFormat

MAX_VOXELS_PER_FILE = 2**31
"""More voxels than this in one file are a lie or beyond any use; the largest real objects hold some 10^9."""
SMALL_FILE_BYTES = 1 << 18
"""Files up to this size are read whole: parsing memory is a fifth faster than parsing a buffered file."""
_WHERE = {"object", "source_path", "url", "bytes", "offset", "identifiers", "content"}
"""Fields of an instance that depend on the file and the way it came, not on what it says."""
_BITS_ALLOCATED = (1, 8, 16, 32, 64)
_KEYWORD_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_LOSSY_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2.4.50",  # JPEG baseline
        "1.2.840.10008.1.2.4.51",  # JPEG extended
        "1.2.840.10008.1.2.4.53",  # JPEG spectral selection
        "1.2.840.10008.1.2.4.55",  # JPEG full progression
        "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
        "1.2.840.10008.1.2.4.111",  # JPEG XL made from JPEG
    }
)


def quiet() -> None:
    """Silence pydicom in this process: its warnings and log messages quote header values."""
    logger = logging.getLogger("pydicom")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")


def read_instance(
    stream: BinaryIO,
    *,
    object: str,
    source_path: str,
    url: str,
    size: int,
    keywords: frozenset[str],
    harvest: Callable[[Dataset], tuple[str, ...]],
) -> Instance:
    """Parse the header in `stream` (positioned at its start) and check it; `size` is the file's length in bytes.

    `keywords` are the attributes to keep raw; `harvest` picks the identifying values out of the parsed header. Raises
    `Rejection` for everything that does not become part of a volume.
    """
    ds, plain, deflated = parse(stream, size)
    sop_class = elements.text(ds, "SOPClassUID") or elements.text(ds.file_meta, "MediaStorageSOPClassUID")
    if not sop_class:
        raise Rejection(Reason.NOT_DICOM if not _is_plausible(ds) else Reason.MISSING_IDENTITY, "SOPClassUID")
    reason = kinds.refusal(sop_class, _image_type(ds))
    if reason is not None:
        raise Rejection(reason)
    identity = identity_of(ds)
    syntax = _transfer_syntax(ds, deflated)
    found = locate(plain, ds, syntax)
    pixel_format = _pixel_format(ds, syntax, found.keyword)
    found.check(pixel_format, size if not deflated else None)
    headers = headers_of(ds, pixel_format.NumberOfFrames)
    mosaic = mosaic_of(headers[0], pixel_format)
    if mosaic is not None:
        pixel_format = pixel_format.model_copy(update={"tiles": mosaic.size})
    frames = frames_of(headers, sop_class, mosaic)
    instance = Instance(
        object=object,
        source_path=source_path,
        url=url,
        bytes=size,
        SOPClassUID=sop_class,
        **identity,
        FrameOfReferenceUID=elements.text(ds, "FrameOfReferenceUID"),
        PatientID=elements.text(ds, "PatientID"),
        IssuerOfPatientID=elements.text(ds, "IssuerOfPatientID"),
        Modality=kinds.modality_of(sop_class, elements.text(ds, "Modality")),
        StudyDate=elements.text(ds, "StudyDate"),
        lossy=syntax in _LOSSY_SYNTAXES or elements.text(ds, "LossyImageCompression") == "01",
        offset=None if deflated else found.native_offset(pixel_format),
        format=pixel_format,
        frames=frames,
        attributes=attributes_of(headers[0], sorted(keywords)),
        identifiers=tuple(harvest(ds)),
        people=tuple(sorted(own.harvest(ds, rules_of(DeidPolicy())))),
    )
    return instance.model_copy(update={"content": _content(instance, found.digest(plain, pixel_format))})


def _content(instance: Instance, pixels: str) -> str:
    """Digest of what the file says, without where it lies and what a transfer rewrites around the elements."""
    said = instance.model_dump(mode="json", exclude=_WHERE)
    return sha256_hex(json.dumps([said, pixels], sort_keys=True).encode())


def parse(stream: BinaryIO, size: int) -> tuple[Dataset, BinaryIO, bool]:
    """The header in `stream`, the stream as it can be read further, and whether it was deflated as a whole.

    Raises `Rejection`: EMPTY_FILE, NOT_DICOM, BROKEN_HEADER.
    """
    if size == 0:
        raise Rejection(Reason.EMPTY_FILE)
    quiet()
    if size <= SMALL_FILE_BYTES:
        stream = io.BytesIO(stream.read(size))
    plain, deflated = as_plain_stream(stream, size)
    return _parse(plain), plain, deflated


def _parse(stream: BinaryIO) -> Dataset:
    if not looks_like_dicom(stream):
        raise Rejection(Reason.NOT_DICOM)
    try:
        return dcmread(stream, stop_before_pixels=True, force=True)
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None


def _is_plausible(ds: Dataset) -> bool:
    """Whether a header without SOP class still is one: it has one of the UIDs that every object has."""
    return any(elements.text(ds, k) for k in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"))


def _image_type(ds: Dataset) -> list[str]:
    terms = [str(value) for value in elements.values(ds, "ImageType")]
    shared = elements.first_item(ds, "SharedFunctionalGroupsSequence")
    for sequence in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence"):
        item = elements.first_item(shared, sequence)
        terms += [str(value) for value in elements.values(item, "FrameType")] if item is not None else []
    return terms


def identity_of(ds: Dataset) -> dict[str, str]:
    """SOPInstanceUID, SeriesInstanceUID and StudyInstanceUID; raises MISSING_IDENTITY where one is empty."""
    uids = {k: elements.text(ds, k) for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}
    uids["SOPInstanceUID"] = uids["SOPInstanceUID"] or elements.text(ds.file_meta, "MediaStorageSOPInstanceUID")
    for keyword, uid in uids.items():
        if not uid:
            raise Rejection(Reason.MISSING_IDENTITY, keyword)
    return uids


def _transfer_syntax(ds: Dataset, deflated: bool) -> str:
    """The declared syntax, else the one that the parser found out."""
    if deflated:
        return DeflatedExplicitVRLittleEndian
    declared = elements.text(ds.file_meta, "TransferSyntaxUID")
    if declared:
        return declared
    implicit, little = ds.original_encoding
    if not little:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _pixel_format(ds: Dataset, syntax: str, keyword: str) -> PixelFormat:
    def required(name: str, default: int | None = None) -> int:
        value = elements.integer(ds, name)
        if value is None and elements.values(ds, name):
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, name)
        value = default if value is None else value
        if value is None:
            raise Rejection(Reason.MISSING_ATTRIBUTE, name)
        return value

    photometric = elements.text(ds, "PhotometricInterpretation").upper()
    if not photometric:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "PhotometricInterpretation")
    allocated = required("BitsAllocated", _KEYWORD_BITS.get(keyword))
    stored = required("BitsStored", allocated)
    grey = photometric.startswith("MONOCHROME") or photometric == "PALETTE COLOR"
    fields = {
        "Rows": required("Rows"),
        "Columns": required("Columns"),
        "NumberOfFrames": required("NumberOfFrames", 1),
        "SamplesPerPixel": required("SamplesPerPixel", 1 if grey else 3),
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": required("HighBit", stored - 1),
        "PixelRepresentation": required("PixelRepresentation", 0 if keyword in _KEYWORD_BITS else None),
    }
    _check_plausible(fields)
    return PixelFormat(
        TransferSyntaxUID=syntax,
        PhotometricInterpretation=photometric,
        keyword=keyword,  # type: ignore[arg-type]  # `locate` returns one of the three literals
        **fields,
    )


def _check_plausible(fields: dict[str, int]) -> None:
    wrong = [name for name in ("Rows", "Columns", "NumberOfFrames") if fields[name] < 1]
    if fields["BitsAllocated"] not in _BITS_ALLOCATED:
        wrong.append("BitsAllocated")
    if not 1 <= fields["BitsStored"] <= fields["BitsAllocated"]:
        wrong.append("BitsStored")
    if fields["HighBit"] != fields["BitsStored"] - 1:  # PS3.5 8.1.1; no reader shifts what is stored elsewhere
        wrong.append("HighBit")
    if fields["SamplesPerPixel"] not in (1, 3, 4):
        wrong.append("SamplesPerPixel")
    if fields["PixelRepresentation"] not in (0, 1):
        wrong.append("PixelRepresentation")
    if wrong:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, wrong[0])
    voxels = fields["Rows"] * fields["Columns"] * fields["NumberOfFrames"]
    if voxels > MAX_VOXELS_PER_FILE:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, f"{voxels} voxels")
