"""The 2-D images of one file: where each lies, how its values scale, and what may tell it from its neighbours.

Belongs here: reading `Frame` records and allow-listed attributes from a parsed header, classic or enhanced multi-frame
(PS3.3 C.7.6.16: shared and per-frame functional groups). Does not belong here: refusing a file for its kind
(`oncurate.headers`), or deciding which frames make a volume (`oncurate.split`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from oncurate import elements, kinds
from oncurate.elements import Scalar
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Frame

_FUNCTIONAL_GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ImagePositionPatient": (("PlanePositionSequence", "ImagePositionPatient"),),
    "ImageOrientationPatient": (("PlaneOrientationSequence", "ImageOrientationPatient"),),
    "PixelSpacing": (("PixelMeasuresSequence", "PixelSpacing"),),
    "SliceThickness": (("PixelMeasuresSequence", "SliceThickness"),),
    "SpacingBetweenSlices": (("PixelMeasuresSequence", "SpacingBetweenSlices"),),
    "RescaleSlope": (("PixelValueTransformationSequence", "RescaleSlope"),),
    "RescaleIntercept": (("PixelValueTransformationSequence", "RescaleIntercept"),),
    "RescaleType": (("PixelValueTransformationSequence", "RescaleType"),),
    "ImageType": (
        ("CTImageFrameTypeSequence", "FrameType"),
        ("MRImageFrameTypeSequence", "FrameType"),
        ("PETFrameTypeSequence", "FrameType"),
        ("XRay3DFrameTypeSequence", "FrameType"),
    ),
    "ComplexImageComponent": (("MRImageFrameTypeSequence", "ComplexImageComponent"),),
    "EchoTime": (("MREchoSequence", "EffectiveEchoTime"),),
    "RepetitionTime": (("MRTimingAndRelatedParametersSequence", "RepetitionTime"),),
    "FlipAngle": (("MRTimingAndRelatedParametersSequence", "FlipAngle"),),
    "EchoTrainLength": (("MRTimingAndRelatedParametersSequence", "EchoTrainLength"),),
    "InversionTime": (("MRModifierSequence", "InversionTimes"),),
    "NumberOfAverages": (("MRAveragesSequence", "NumberOfAverages"),),
    "DiffusionBValue": (("MRDiffusionSequence", "DiffusionBValue"),),
    "DiffusionGradientOrientation": (
        ("MRDiffusionSequence", "DiffusionGradientDirectionSequence", "DiffusionGradientOrientation"),
    ),
    "KVP": (("CTXRayDetailsSequence", "KVP"),),
    "ConvolutionKernel": (("CTReconstructionSequence", "ConvolutionKernel"),),
    "ReconstructionDiameter": (("CTReconstructionSequence", "ReconstructionDiameter"),),
    "XRayTubeCurrent": (("CTExposureSequence", "XRayTubeCurrentInmA"),),
    "ExposureTime": (("CTExposureSequence", "ExposureTimeInms"),),
    "Exposure": (("CTExposureSequence", "ExposureInmAs"),),
    "TemporalPositionIdentifier": (("FrameContentSequence", "TemporalPositionIndex"),),
    "AcquisitionNumber": (("FrameContentSequence", "FrameAcquisitionNumber"),),
    "StackID": (("FrameContentSequence", "StackID"),),
    "TriggerTime": (("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),),
    "ImageLaterality": (("FrameAnatomySequence", "FrameLaterality"),),
}
_CONVERTED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")

_COMPONENTS = {
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
}
_TYPE_TERMS_BY_MEANING = {
    "origin": ("ORIGINAL", "DERIVED", "AVERAGE", "MEAN", "FUSED", "SUBTRACTION", "SUB"),
    "projection": ("MIP", "MINIP", "MIN_IP", "MAX_IP", "MPR", "VOLUME_RENDER"),
    "diffusion": ("ADC", "EADC", "DADC", "FA", "COLFA", "CFA", "TRACE", "TRACEW", "ISO", "TENSOR", "DIFFUSION", "B0"),
    "chemical shift": ("WATER", "W", "FAT", "F", "IN_PHASE", "IP", "OUT_PHASE", "OPP_PHASE", "OP"),
    "fraction": ("FAT_FRACTION", "FF", "WATER_FRACTION", "WF"),
    "relaxation": ("T1", "T2", "T2_STAR", "T2*", "R2_STAR", "R2*", "T1_MAP", "T2_MAP", "UNI", "INV1", "INV2"),
    "perfusion": ("PERFUSION", "ASL", "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBV", "RCBF"),
    "field": ("FIELD_MAP", "VELOCITY", "SWI"),
    "energy": ("VIRTUAL_MONO", "MONOENERGETIC", "IODINE", "VNC"),
}
_TYPE_TERMS = frozenset(term for terms in _TYPE_TERMS_BY_MEANING.values() for term in terms)
"""Terms of ImageType that name another kind of image; the rest (NORM, ND, SE, RESAMPLED ...) varies within a volume."""
_TYPE_PHRASES = ("PROJECTION IMAGE", "MIN IP", "MAX IP", "FAT FRACTION", "IN PHASE", "OUT PHASE")

GE_B_VALUE_MODULUS = 1e9
"""GE stores b-values above 1e9 to mark a multi-shell table; the remainder is the b-value, s/mm2."""

CM_TO_MM = 10.0
_REGION_UNIT_CM = 3  # PS3.3 C.8.5.5.1.15: physical units of a region, 3 = cm


class Header:
    """A parsed header and, for enhanced multi-frame, the functional groups of one of its frames."""

    def __init__(self, ds: Dataset, groups: tuple[Dataset, ...] = ()) -> None:
        self.ds = ds
        self.groups = groups
        self._present = frozenset(map(int, ds.keys()))

    def values(self, keyword: str) -> list[Scalar]:
        """Values of `keyword` for this frame: per-frame group, shared group, then the top level."""
        if self.groups:
            found = self._from_groups(keyword)
            if found:
                return found
        tag = elements.tag_of(keyword)
        return elements.values_at(self.ds, tag) if tag in self._present else []

    def _from_groups(self, keyword: str) -> list[Scalar]:
        for group in self.groups:
            for path in _FUNCTIONAL_GROUPS.get(keyword, ()):
                item: Dataset | None = group
                for sequence in path[:-1]:
                    item = elements.first_item(item, sequence)
                found = elements.values(item, path[-1]) if item is not None else []
                if found:
                    return found
            for sequence in _CONVERTED:
                item = elements.first_item(group, sequence)
                found = elements.values(item, keyword) if item is not None else []
                if found:
                    return found
        return []

    def numbers(self, keyword: str) -> list[float]:
        """The values as numbers; empty if one of them is not a number."""
        try:
            return [float(value) for value in self.values(keyword)]
        except ValueError:
            return []

    def number(self, keyword: str) -> float | None:
        """The first value as a number."""
        found = self.numbers(keyword)
        return found[0] if found else None

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        """Exactly `length` finite numbers; None if absent; refused if present and anything else."""
        found = self.values(keyword)
        if not found:
            return None
        numbers = self.numbers(keyword)
        if len(numbers) != length or not all(map(math.isfinite, numbers)):
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
        return tuple(numbers)


def headers_of(ds: Dataset, count: int) -> list[Header]:
    """One view of the header for each frame; without functional groups all frames share one."""
    per_frame = elements.items(ds, "PerFrameFunctionalGroupsSequence")
    shared = elements.items(ds, "SharedFunctionalGroupsSequence")[:1]
    if not per_frame and not shared:
        return [Header(ds)] * count
    if len(per_frame) not in (0, count):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return [Header(ds, tuple(shared))] * count
    return [Header(ds, (item, *shared)) for item in per_frame]


def frames_of(headers: list[Header], sop_class: str) -> tuple[Frame, ...]:
    """The `Frame` records of a file, in the order of its pixel data."""
    cross_sectional = sop_class in kinds.CROSS_SECTIONAL
    number = elements.integer(headers[0].ds, "InstanceNumber") or 0
    frames = []
    for index, header in enumerate(headers):
        spacing, source = _spacing(header, cross_sectional)
        slope, intercept = _rescale(header, sop_class)
        placed = bool(header.groups) or len(headers) == 1  # one position for many frames is the place of none of them
        frames.append(
            Frame(
                index=index,
                position=header.vector("ImagePositionPatient", 3) if placed else None,
                orientation=header.vector("ImageOrientationPatient", 6) if placed else None,
                spacing=spacing,
                slope=slope,
                intercept=intercept,
                keys=_keys(header, sop_class, source, number),
                number=index if len(headers) > 1 else number,
            )
        )
    return tuple(frames)


def _spacing(header: Header, cross_sectional: bool) -> tuple[tuple[float, float] | None, str]:
    """mm between rows and between columns, and the attribute that says so."""
    for keyword in ("PixelSpacing",) if cross_sectional else ("PixelSpacing", "ImagerPixelSpacing"):
        found = header.vector(keyword, 2)
        if found is not None:
            return (found[0], found[1]), keyword
    if not cross_sectional:
        steps = {s for s in map(_region_spacing, elements.items(header.ds, "SequenceOfUltrasoundRegions")) if s}
        if len(steps) == 1:
            return steps.pop(), "PhysicalDelta"
    return None, "none"


def _region_spacing(region: Dataset) -> tuple[float, float] | None:
    """mm between rows and columns of an ultrasound region that is calibrated in cm on both axes."""
    units = (elements.integer(region, "PhysicalUnitsXDirection"), elements.integer(region, "PhysicalUnitsYDirection"))
    x, y = elements.number(region, "PhysicalDeltaX"), elements.number(region, "PhysicalDeltaY")
    if units != (_REGION_UNIT_CM, _REGION_UNIT_CM) or not x or not y:
        return None
    return abs(y) * CM_TO_MM, abs(x) * CM_TO_MM


def _rescale(header: Header, sop_class: str) -> tuple[float, float]:
    """Slope and intercept; CT and PT values mean nothing without them, elsewhere they default to identity."""
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if sop_class in kinds.CT_CLASSES or sop_class in kinds.PT_CLASSES:
        for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
            if value is None:
                raise Rejection(Reason.MISSING_ATTRIBUTE, keyword)
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not math.isfinite(slope) or slope == 0:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "RescaleSlope")
    if not math.isfinite(intercept):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "RescaleIntercept")
    return slope, intercept


def _keys(header: Header, sop_class: str, spacing_source: str, number: int) -> dict[str, Scalar | None]:
    """What may tell frames apart; names and use are in `oncurate.split`. Absent attributes have no key."""
    terms, component = _image_type(header)
    keys: dict[str, Scalar | None] = {
        "image_type": terms,
        "component": component,
        "laterality": _joined(header, "ImageLaterality") or _joined(header, "Laterality"),
        "kernel": _joined(header, "ConvolutionKernel"),
        "temporal_position": _rounded(header, "TemporalPositionIdentifier", 0),
        "trigger_time": _rounded(header, "TriggerTime", 1),
        "acquisition_number": _rounded(header, "AcquisitionNumber", 0),
        "stack": _joined(header, "StackID"),
        "instance_number": number,
        "spacing_source": spacing_source,
    }
    if sop_class in kinds.CT_CLASSES:
        keys["thickness"] = _rounded(header, "SliceThickness", 3)
    if sop_class in kinds.MR_CLASSES:
        keys["echo_number"] = _rounded(header, "EchoNumbers", 0)
        keys["echo_time"] = _rounded(header, "EchoTime", 2)
        keys["b_value"] = _b_value(header)
        keys["gradient"] = "\\".join(f"{x:.3f}" for x in _gradient(header))
    if sop_class in kinds.PROJECTION:
        keys["view"] = _joined(header, "ViewPosition")
    return {name: value for name, value in keys.items() if value not in (None, "")}


def _image_type(header: Header) -> tuple[str, str]:
    """The terms of ImageType that name a kind of image, and the component of the complex MR signal."""
    terms = [str(term).strip().upper() for term in header.values("ImageType")]
    kept = [t for t in terms if t in _TYPE_TERMS or any(phrase in t for phrase in _TYPE_PHRASES)]
    component = next((_COMPONENTS[t] for t in terms[2:] if t in _COMPONENTS), "")
    declared = _joined(header, "ComplexImageComponent").upper()
    return "\\".join(dict.fromkeys(kept)), _COMPONENTS.get(declared, component)


def _b_value(header: Header) -> float | None:
    """Diffusion weighting, s/mm2: the standard attribute, else GE's, Siemens' or Philips' private one."""
    found = header.numbers("DiffusionBValue")
    if not found:
        found = [
            *_numbers(elements.private(header.ds, 0x0043, "GEMS_PARM_01", 0x39))[:1],
            *_numbers(elements.private(header.ds, 0x0019, "SIEMENS MR HEADER", 0x0C))[:1],
            *_numbers(elements.private(header.ds, 0x2001, "Philips Imaging DD 001", 0x03))[:1],
        ]
    if not found or not math.isfinite(found[0]):
        return None
    return float(round(found[0] % GE_B_VALUE_MODULUS))


def _gradient(header: Header) -> list[float]:
    """Diffusion gradient direction: the standard attribute, else Siemens' or GE's private ones."""
    found = header.numbers("DiffusionGradientOrientation")
    if not found:
        found = _numbers(elements.private(header.ds, 0x0019, "SIEMENS MR HEADER", 0x0E))
    if not found:
        parts = (elements.private(header.ds, 0x0019, "GEMS_ACQU_01", element) for element in (0xBB, 0xBC, 0xBD))
        found = _numbers(value for part in parts for value in part[:1])
    return found


def _numbers(found: Iterable[Scalar]) -> list[float]:
    try:
        return [float(value) for value in found]
    except ValueError:
        return []


def _joined(header: Header, keyword: str) -> str:
    return "\\".join(str(value) for value in header.values(keyword))


def _rounded(header: Header, keyword: str, digits: int) -> float | None:
    value = header.number(keyword)
    return None if value is None or not math.isfinite(value) else round(value, digits)


ULTRASOUND_REGIONS = "UltrasoundRegions"
_CORNERS = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")


def attributes_of(header: Header, keywords: Iterable[str]) -> dict[str, Any]:
    """Raw JSON-able values by keyword; a dotted keyword leads into the first item of a sequence.

    `UltrasoundRegions` is a name of ours: the rectangles that SequenceOfUltrasoundRegions declares, each as first
    column, first row, last column, last row (PS3.3 C.8.5.5); null for a corner that is missing.
    """
    found: dict[str, Any] = {}
    regions = elements.items(header.ds, "SequenceOfUltrasoundRegions") if ULTRASOUND_REGIONS in keywords else []
    if regions:
        found[ULTRASOUND_REGIONS] = [[elements.integer(item, corner) for corner in _CORNERS] for item in regions]
    for keyword in keywords:
        *path, last = keyword.split(".")
        if path:
            item: Dataset | None = header.ds
            for sequence in path:
                item = elements.first_item(item, sequence)
            many = elements.values(item, last) if item is not None else []
        else:
            many = header.values(last)
        if many and not any(isinstance(value, float) and not math.isfinite(value) for value in many):
            found[keyword] = many[0] if len(many) == 1 else many
    return found
