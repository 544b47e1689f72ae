"""The 2-D images of one file: where each lies, how its values scale, and what may tell it from its neighbours.

Belongs here: `Frame` records and allow-listed attributes from a parsed header. Does not belong here: where a frame's
attributes are found (`oncurate.functional_groups`), refusing a file for its kind (`oncurate.headers`), or deciding
which frames make a volume (`oncurate.split`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from oncurate import elements, kinds, suv
from oncurate.diffusion import Diffusion, diffusion_of
from oncurate.elements import Scalar
from oncurate.functional_groups import Header
from oncurate.mosaic import Mosaic
from oncurate.records import RESCALE, Frame
from oncurate.scaling import Scaling, scaling_of

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

CM_TO_MM = 10.0
_REGION_UNIT_CM = 3  # PS3.3 C.8.5.5.1.15: physical units of a region, 3 = cm


def frames_of(headers: list[Header], sop_class: str, mosaic: Mosaic | None = None) -> tuple[Frame, ...]:
    """The `Frame` records of a file, in the order of its pixel data; of a `mosaic`, one for each tile."""
    number = elements.integer(headers[0].ds, "InstanceNumber") or 0
    # one position for many frames is the place of none of them
    frames = [
        _frame(index, header, sop_class, number, placed=bool(header.groups) or len(headers) == 1)
        for index, header in enumerate(headers)
    ]
    if mosaic is not None:
        whole = frames[0]
        frames = [
            whole.model_copy(update={"index": tile, "number": tile, "position": position})
            for tile, position in enumerate(mosaic.positions)
        ]
    elif len(frames) > 1:
        frames = [frame.model_copy(update={"number": frame.index}) for frame in frames]
    return tuple(frames)


def _frame(index: int, header: Header, sop_class: str, number: int, *, placed: bool) -> Frame:
    """The record of one frame of the instance `number`; without a place unless it is `placed`."""
    spacing, source = _spacing(header, sop_class in kinds.CROSS_SECTIONAL)
    scaling = scaling_of(header, sop_class)
    diffusion = diffusion_of(header) if sop_class in kinds.MR_CLASSES else Diffusion()
    return Frame(
        index=index,
        position=header.vector("ImagePositionPatient", 3) if placed else None,
        orientation=header.vector("ImageOrientationPatient", 6) if placed else None,
        spacing=spacing,
        slope=scaling.slope,
        intercept=scaling.intercept,
        keys=_keys(header, sop_class, source, number, scaling, diffusion),
        number=number,
        scaling=scaling.name,
        unit=scaling.unit,
        b_value=diffusion.b_value,
        gradient=diffusion.gradient,
    )


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


def _keys(
    header: Header, sop_class: str, spacing_source: str, number: int, scaling: Scaling, diffusion: Diffusion
) -> dict[str, Scalar | None]:
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
        "frame_time_ms": _frame_time(header),
        "scaling": f"{scaling.name} {scaling.unit or ''}".strip() if scaling.name != RESCALE else None,
    }
    if sop_class in kinds.CT_CLASSES:
        keys["thickness"] = _rounded(header, "SliceThickness", 3)
    if sop_class in kinds.MR_CLASSES:
        keys["echo_number"] = _rounded(header, "EchoNumbers", 0)
        keys["echo_time"] = _rounded(header, "EchoTime", 2)
        keys["b_value"] = None if diffusion.b_value is None else float(round(diffusion.b_value))
        keys["gradient"] = "\\".join(f"{x:.3f}" for x in diffusion.direction)
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


def _frame_time(header: Header) -> float | None:
    """ms from one frame of a cine to the next; the first entry of a FrameTimeVector is the first frame's, 0."""
    times = header.numbers("FrameTime")[:1] or header.numbers("FrameTimeVector")[1:]
    mean = sum(times) / len(times) if times else 0.0
    return round(mean, 3) if math.isfinite(mean) and mean > 0 else None


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
    column, first row, last column, last row (PS3.3 C.8.5.5); null for a corner that is missing. The names in
    `suv.PRIVATE` are ours too: private elements that SUV needs.
    """
    found: dict[str, Any] = {}
    regions = elements.items(header.ds, "SequenceOfUltrasoundRegions") if ULTRASOUND_REGIONS in keywords else []
    if regions:
        found[ULTRASOUND_REGIONS] = [[elements.integer(item, corner) for corner in _CORNERS] for item in regions]
    for keyword in keywords:
        *path, last = keyword.split(".")
        if last in suv.PRIVATE:
            many = suv.private(header.ds, last)
        elif path:
            item: Dataset | None = header.ds
            for sequence in path:
                item = elements.first_item(item, sequence)
            many = elements.values(item, last) if item is not None else []
        else:
            many = header.values(last)
        if many and not any(isinstance(value, float) and not math.isfinite(value) for value in many):
            found[keyword] = many[0] if len(many) == 1 else many
    return found
