"""Phantoms with a marker in every element that can hold one, and the archive that they make.

Belongs here: planting. Does not belong here: searching (`tests.flows.searching`). What the job needs to understand an
image (class, encoding, geometry, modality) stays as it is; everything else in the DICOM dictionary is planted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from benchmarks.phi.plant import unchecked
from tests import phantoms
from tests.phantoms import ct_series, mr_series, planar, pt_series

TEXT = "QzCanaryVx"
NAME = "Zürqvöstä"
NUMBER = 7351973519
SINGLE = 7351973376
"""What NUMBER becomes in single precision."""
UID_ROOT = f"1.2.826.0.1.{NUMBER}"

_CLOCKS = (datetime.now(UTC).astimezone(), datetime.now(UTC))
_HOUR = next(hour for hour in range(24) if all((hour - clock.hour) % 24 not in (0, 1, 2, 23) for clock in _CLOCKS))
"""An hour that no log of a run that starts now can name by itself."""
DATE, TIME, AGE = "18510517", f"{_HOUR:02}3519.735197", "735Y"
NUMBERS = (NUMBER, NUMBER // 10)
MARKERS = (TEXT, NAME, str(NUMBER // 10), str(SINGLE), DATE, "1851-05-17", TIME[:11], f"{_HOUR:02}:35:19")

_KEPT = frozenset(
    [
        "SpecificCharacterSet",
        "SOPClassUID",
        "Modality",
        "ImageType",
        "PhotometricInterpretation",
        "PresentationIntentType",
        "BurnedInAnnotation",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "Units",
        "DecayCorrection",
        "CorrectedImage",
        "PatientWeight",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "SequenceOfUltrasoundRegions",
        "RadiopharmaceuticalInformationSequence",
        "ModalityLUTSequence",
        "LossyImageCompression",
        "NumberOfFrames",
        "DataSetTrailingPadding",
        "InstanceNumber",
        "EncryptedAttributesSequence",
    ]
)
"""What decides what an image is and where its voxels lie, or is planted by hand."""
_BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
_GROUPS_LEFT_OUT = frozenset({0x0000, 0x0002, 0x0004, 0x0028, 0x5400, 0x7FE0, 0xFFFC, 0xFFFE})
"""Commands, file meta and media directories (which are not in a data set), the pixels and their description."""
DEEPEST = 3
"""Levels of sequences within the planted ones."""
DEEP_EVERY = 10
"""Sequences of which one is planted as deep as that: all of them would take minutes to write."""


def build(root: Path) -> None:
    """The archive: images of five kinds, one in an archive whose names hold the marker, and images that are refused."""
    here = root / f"{TEXT} folder"
    for made, modality in ((ct_series, "CT"), (mr_series, "MR"), (pt_series, "PT")):
        _plant_all(made(here / f"{modality} {NAME}", slices=3), modality)
    _plant_all([planar(here / "mg", modality="MG")], "MG")
    _plant_all([planar(here / "us", modality="US", rows=40, columns=40, **_regions())], "US")
    _plant_all([planar(here / "us-no", modality="US", number=7, BurnedInAnnotation="NO")], "US7")
    packed = ct_series(root.parent / "packed", slices=3)
    _plant_all(packed, "ZIP")
    with zipfile.ZipFile(root / f"{TEXT}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.comment = TEXT.encode()
        for path in packed:
            file.write(path, f"{TEXT}/{NAME}/{TEXT}{path.name}")
    _refused(here / "refused")


def _regions() -> dict[str, Any]:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = 1, 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 4, 4
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 30, 30
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
    return {"SequenceOfUltrasoundRegions": Items([region])}


def _refused(folder: Path) -> None:
    """Images that end in quarantine, each in another stage: their refusals must not quote them."""
    gap = ct_series(folder / "gap", missing=[1], slices=4)
    _plant_all(gap, "GAP")
    (cut,) = ct_series(folder / "cut", slices=1)
    _plant_all([cut], "CUT")
    whole = cut.read_bytes()
    cut.write_bytes(whole[: whole.rindex(b"\xe0\x7f\x10\x00") + 100])
    (foreign,) = ct_series(folder / "foreign", slices=1)
    _plant_all([foreign], "FOREIGN", SOPClassUID=f"{UID_ROOT}.9", Rows=None)
    (unreadable,) = ct_series(folder / "syntax", slices=1)
    _plant_all([unreadable], "SYNTAX", syntax=f"{UID_ROOT}.8")
    (folder / f"{TEXT}.txt").write_text(f"{TEXT} {NAME}")


def _plant_all(paths: list[Path], series: str, *, syntax: str | None = None, **attributes: Any) -> None:
    with unchecked():
        _plant_series(paths, series, syntax, attributes)


def _plant_series(paths: list[Path], series: str, syntax: str | None, attributes: dict[str, Any]) -> None:
    for number, path in enumerate(paths, start=1):
        ds = phantoms.read(path)
        ds.preamble = (f"{TEXT} {NUMBER} ".encode() * 8)[:128]
        _plant(ds)
        digits = str(int.from_bytes(series.encode(), "big"))
        ds.StudyInstanceUID = f"{UID_ROOT}.1.{digits}"
        ds.SeriesInstanceUID = f"{UID_ROOT}.2.{digits}"
        ds.FrameOfReferenceUID = f"{UID_ROOT}.3.{digits}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{UID_ROOT}.4.{digits}.{number}"
        ds.PatientID = f"{TEXT} {series}"
        for keyword, value in attributes.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        if syntax:
            ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, implicit_vr=False, little_endian=True)


def _plant(ds: Dataset) -> None:
    """Put a marker into every element of the dictionary that is not needed, and into private blocks and file meta."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = [*ds.ImageType, TEXT]
    ds.update(planted())
    for known in ("RadiopharmaceuticalInformationSequence", "SequenceOfUltrasoundRegions"):
        for item in ds.get(known, ()):
            item[0x00080104] = _element(0x00080104, "LO", 0)
            item[0x00091001] = _element(0x00091001, "LO", 0)
    meta = ds.file_meta
    meta.ImplementationVersionName = meta.SourceApplicationEntityTitle = TEXT
    meta.ImplementationClassUID = meta.PrivateInformationCreatorUID = f"{UID_ROOT}.5"
    meta.PrivateInformation = f"{TEXT}!!".encode()
    ds[0xFFFCFFFC] = DataElement(0xFFFCFFFC, "OB", f"{TEXT}{TEXT}".encode())


@cache
def planted() -> dict[int, DataElement]:
    """The elements that every planted header gets, by tag."""
    found = {}
    with unchecked():
        for number, (tag, vr) in enumerate(_plantable()):
            found[tag] = _element(tag, vr, number, depth=0 if number % DEEP_EVERY == 0 else DEEPEST)
        for group, creator in ((0x0009, TEXT), (0x0029, "SIEMENS CSA HEADER"), (0x0045, f"{NAME} {TEXT}")):
            found[group << 16 | 0x10] = DataElement(group << 16 | 0x10, "LO", creator)
            for offset, vr in enumerate(("LO", "UN", "OB", "SQ", "UI", "PN", "DS", "FD", "LT", "DA"), start=1):
                tag = group << 16 | 0x1000 | offset
                found[tag] = _element(tag, vr, offset)
        for tag, vr in ((0x60000022, "LO"), (0x60001500, "LO"), (0x60003000, "OW"), (0x50000030, "SH")):
            found[tag] = _element(tag, vr, 0)
    return found


def _plantable() -> Iterator[tuple[int, str]]:
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if keyword and keyword not in _KEPT and tag >> 16 not in _GROUPS_LEFT_OUT and tag & 0xFFFF:
            first = vr.split(" or ")[0]
            if first not in ("US", "SS", "AT", "NONE"):  # too short for a number that is unlike any other
                yield tag, first


def _element(tag: int, vr: str, number: int, depth: int = 0) -> DataElement:
    if vr == "SQ":
        item = Dataset()
        everywhere = ((0x00080104, "LO"), (0x0040A123, "PN"))
        inner = ((0x00080100, "SH"), (0x0040A160, "UT"), (0x00081155, "UI"), (0x00400244, "DA"), (0x0040A30A, "DS"))
        for inner_tag, inner_vr in (*everywhere, *((*inner, (0x00091001, "UN")) if depth < DEEPEST else ())):
            item[inner_tag] = _element(inner_tag, inner_vr, number)
        if depth < DEEPEST:
            item[0x0040A730] = _element(0x0040A730, "SQ", number, depth + 1)
        return DataElement(tag, "SQ", Items([item]))
    return DataElement(tag, vr, _value(vr, number))


def _value(vr: str, number: int) -> Any:
    if vr in _BINARY:
        return f"{TEXT} {number:08d} ".encode()
    if vr in ("FL", "FD"):
        return float(NUMBER)
    if vr in ("UL", "SL"):
        return NUMBER // 10
    values = {
        "PN": f"{TEXT}{number}^{NAME}=={TEXT}",
        "UI": f"{UID_ROOT}.6.{number}",
        "UR": f"https://{TEXT}.example/{number}",
        "DA": DATE,
        "TM": TIME,
        "DT": f"{DATE}{TIME}",
        "AS": AGE,
        "DS": str(NUMBER),
        "IS": str(NUMBER),
        "UV": NUMBER,
        "SV": NUMBER,
        "AE": f"{TEXT}{number % 10**4}",
        "CS": f"{TEXT}{number % 10**4}",
        "SH": f"{TEXT}{number % 10**4}",
    }
    return values.get(vr, f"{TEXT}{number} {NAME} {TEXT}")
