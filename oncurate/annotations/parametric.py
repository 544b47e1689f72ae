"""DICOM parametric maps as float volumes on their own grid.

Belongs here: frames of a parametric map, integer or float, to numbers with a unit. Does not belong here: maps that come
as ordinary MR or PET images (`oncurate.scaling`), doses (`oncurate.annotations.rtdose`).

A map's numbers are its stored values under the real-world value mapping of each frame (PS3.3 C.7.6.16.2.11): linear, or
a table. NaN stays: it is how fitting programs say that a voxel has no value; infinite values are refused.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements, geometry
from oncurate.annotations import codes
from oncurate.annotations.model import Code, ScalarMap
from oncurate.annotations.planes import Planes, planes_of, refuse_tiles
from oncurate.annotations.source import Source, opened
from oncurate.errors import Rejection
from oncurate.functional_groups import Header, headers_of
from oncurate.reasons import Reason
from oncurate.records import Geometry
from oncurate.scaling import UNITS

UNITLESS = "1"
"""The UCUM code of a number without a unit."""

_TERMS = ("ImageType", "ContentQualification", "ImagedVolumeProperties")
_QUANTITY = frozenset({("246205007", "SCT"), ("G-C1C6", "SRT")})
"""Concept name of the content item that says what a map shows: "Quantity" (TID 1419, PS3.3 C.7.6.16.2.11)."""


def decode(data: bytes) -> ScalarMap:
    """The map in the bytes of a DICOM object.

    `unit` is a UCUM code of `scaling.UNITS` or UNITLESS; None for any other, or where mappings differ in it. Raises
    `Rejection`: MISSING_GEOMETRY, what `geometry.lay_out` says of frames that make no regular volume
    (REPEATED_POSITIONS where the object holds several maps), MISSING_ATTRIBUTE for integers without mapping,
    VALUES_NOT_FINITE, TILED_IMAGE, and what `source.Source.frames` raises.
    """
    source = opened(data)
    form = source.format()
    headers = headers_of(source.ds, form.NumberOfFrames)
    refuse_tiles(headers)
    planes = planes_of(headers)
    if planes is None:
        raise Rejection(Reason.MISSING_GEOMETRY, "ImagePositionPatient")
    order, grid = _grid(planes, (form.Rows, form.Columns), headers[0])
    array = np.empty(grid.shape, np.float32)
    slices = np.argsort(order)
    for index, frame in enumerate(source.frames()):
        array[:, :, slices[index]] = _valued(frame, _mapping(headers[index]), is_float=form.keyword != "PixelData").T
    if np.isinf(array).any():
        raise Rejection(Reason.VALUES_NOT_FINITE)
    mappings = [_mapping(header) for header in headers]
    return ScalarMap(
        array=array,
        geometry=grid,
        unit=_unit(mappings),
        quantity=next((found for mapping in mappings[:1] if (found := _quantity(mapping))), None),
        terms=_terms(source),
    )


def _grid(planes: Planes, size: tuple[int, int], header: Header) -> tuple[np.ndarray, Geometry]:
    """The order of the frames along the normal, and the grid they make."""
    if len(planes.positions) > 1:
        layout = geometry.lay_out(
            planes.positions, planes.orientations, planes.spacings, np.tile(size, (len(planes.positions), 1))
        )
        if layout.refusal is not None:
            raise layout.refusal
        return layout.order, layout.geometry
    thickness = planes.step or header.number("SliceThickness")
    if thickness is None or not geometry.SPACING_RANGE_MM[0] <= thickness <= geometry.SPACING_RANGE_MM[1]:
        raise Rejection(Reason.MISSING_GEOMETRY, "SliceThickness")
    grid = geometry.planar(
        tuple(planes.positions[0]),
        tuple(planes.orientations[0]),
        tuple(planes.spacings[0]),
        size,
        thickness=thickness,
        spacing_source="PixelSpacing",
    )
    return np.array([0]), grid


def _mapping(header: Header) -> Dataset | None:
    """The frame's mapping to real-world values: the first that is no display of it, or none."""
    return next(iter(header.items("RealWorldValueMappingSequence")), None)


def _valued(stored: np.ndarray, mapping: Dataset | None, *, is_float: bool) -> np.ndarray:
    """Real-world values of a frame, float64. Floats without a mapping are values already."""
    if mapping is None:
        if is_float:
            return stored
        raise Rejection(Reason.MISSING_ATTRIBUTE, "RealWorldValueMappingSequence")
    table = elements.numbers(mapping, "RealWorldValueLUTData")
    if table:
        return _from_table(stored, table, elements.integer(mapping, "RealWorldValueFirstValueMapped"))
    slope, intercept = (elements.number(mapping, f"RealWorldValue{name}") for name in ("Slope", "Intercept"))
    if slope is None or intercept is None:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "RealWorldValueSlope")
    if not slope or not np.isfinite([slope, intercept]).all():
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "RealWorldValueSlope")
    return stored.astype(np.float64) * slope + intercept


def _from_table(stored: np.ndarray, table: list[float], first: int | None) -> np.ndarray:
    if first is None or stored.dtype.kind == "f":
        raise Rejection(Reason.MISSING_ATTRIBUTE, "RealWorldValueFirstValueMapped")
    index = stored.astype(np.int64) - first
    if index.min() < 0 or index.max() >= len(table):
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, "RealWorldValueLUTData")
    return np.array(table)[index]


def _unit(mappings: list[Dataset | None]) -> str | None:
    """The unit of all frames as this project writes it; None where it is none of the known ones, or frames differ."""
    found = {_unit_of(mapping) for mapping in mappings}
    return found.pop() if len(found) == 1 else None


def _unit_of(mapping: Dataset | None) -> str | None:
    code = codes.first_code(mapping, "MeasurementUnitsCodeSequence")
    if code is None or code.scheme.upper() != "UCUM":
        return None
    return UNITLESS if code.value in ("1", "{unity}") else UNITS.get(code.value.replace("mL", "ml"))


def _quantity(mapping: Dataset | None) -> Code | None:
    for item in elements.items(mapping, "QuantityDefinitionSequence"):
        name = codes.first_code(item, "ConceptNameCodeSequence")
        if name is not None and (name.value, name.scheme) in _QUANTITY:
            return codes.first_code(item, "ConceptCodeSequence")
    return None


def _terms(source: Source) -> dict[str, str]:
    found = {keyword: "\\".join(map(str, elements.values(source.ds, keyword))) for keyword in _TERMS}
    return {keyword: text for keyword, text in found.items() if text}
