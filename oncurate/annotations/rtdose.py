"""RT dose grids: absorbed dose in Gy on the grid of the planning system.

Belongs here: the planes of a dose grid, the scaling of its values, the terms that say what dose it is. Does not belong
here: dose-volume histograms, the plan and the structures that a dose refers to (`oncurate.annotations.references`),
resampling onto an image.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements, geometry
from oncurate.annotations.model import ScalarMap
from oncurate.annotations.source import Source
from oncurate.errors import Rejection
from oncurate.geometry import Layout
from oncurate.reasons import Reason
from oncurate.records import PixelFormat

UNIT = "Gy"
"""UCUM."""

TERMS = {
    "DoseType": frozenset({"PHYSICAL", "EFFECTIVE", "ERROR"}),
    "DoseSummationType": frozenset(
        {
            *("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION"),
            *("BEAM_SESSION", "BRACHY_SESSION", "CONTROL_POINT", "RECORD"),
        }
    ),
    "TissueHeterogeneityCorrection": frozenset({"IMAGE", "ROI_OVERRIDE", "WATER"}),
    "SpatialTransformOfDose": frozenset({"NONE", "RIGID", "NON_RIGID"}),
}
"""Defined terms and enumerated values that are kept (PS3.3 C.8.8.3), by keyword; others are dropped."""

ABSOLUTE_TOLERANCE_MM = geometry.SAME_POSITION_MM
"""A first offset this close to the z of the position repeats it, and then all offsets are z coordinates."""

TRANSVERSE = 1 - geometry.NEGLIGIBLE_SKEW
"""Planes whose normal has at least this much z are transverse: only they can be placed by their z."""


def decode(source: Source) -> ScalarMap:
    """The dose in Gy, float32 `[i, j, k]`, on its own grid, slices in ascending order along the normal.

    Raises `Rejection`: DOSE_NOT_IN_GRAY, DOSE_GRID_UNEVEN, MISSING_ATTRIBUTE, MISSING_GEOMETRY, IMPLAUSIBLE_HEADER,
    SHEARED_ORIENTATION, VALUES_NOT_FINITE, and what `Source.frames` raises.
    """
    ds = source.ds
    if elements.text(ds, "DoseUnits").upper() != "GY":
        raise Rejection(Reason.DOSE_NOT_IN_GRAY, "DoseUnits")
    scaling = _scaling(ds)
    form = source.format()
    layout = _layout(ds, form)
    array = np.empty(layout.geometry.shape, np.float32, order="F")
    places = np.argsort(layout.order)
    with np.errstate(over="ignore"):
        for place, frame in zip(places.tolist(), source.frames(), strict=True):
            array[:, :, place] = (frame * scaling).T
    if not np.isfinite(array).all():
        raise Rejection(Reason.VALUES_NOT_FINITE)
    return ScalarMap(array, layout.geometry, UNIT, terms=_terms(ds))


def offsets_along(offsets: np.ndarray, position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Distances of the planes from the first along the normal, mm, from a GridFrameOffsetVector.

    Offsets that start with 0 are such distances. Offsets that start with the z of ImagePositionPatient are z
    coordinates (PS3.3 C.8.8.3.2); that is understood on transverse planes only, of any direction of rows and columns.
    """
    if offsets[0] == 0:
        return offsets
    if abs(offsets[0] - position[2]) > ABSOLUTE_TOLERANCE_MM or abs(normal[2]) < TRANSVERSE:
        raise Rejection(Reason.DOSE_GRID_UNEVEN, "GridFrameOffsetVector starts neither with 0 nor with z")
    return (offsets - offsets[0]) * np.sign(normal[2])


def _layout(ds: Dataset, form: PixelFormat) -> Layout:
    """The grid of the frames and their order along its normal."""
    position = _vector(ds, "ImagePositionPatient", 3)
    orientation = _vector(ds, "ImageOrientationPatient", 6)
    spacing = _vector(ds, "PixelSpacing", 2)
    count, size = form.NumberOfFrames, (form.Rows, form.Columns)
    if count == 1:
        return _single(ds, position, orientation, spacing, size)
    offsets = _vector(ds, "GridFrameOffsetVector", count)
    row, column, _ = geometry.axes(orientation)
    normal = np.cross(row, column)
    along = offsets_along(offsets, position, normal)
    found = geometry.lay_out(
        position + along[:, None] * normal,
        np.tile(orientation, (count, 1)),
        np.tile(spacing, (count, 1)),
        np.tile(size, (count, 1)),
    )
    if found.refusal is not None:
        uneven = found.geometry.orthogonal_orientation
        raise Rejection(Reason.DOSE_GRID_UNEVEN, found.refusal.detail) if uneven else found.refusal
    return found


def _single(
    ds: Dataset, position: np.ndarray, orientation: np.ndarray, spacing: np.ndarray, size: tuple[int, int]
) -> Layout:
    """The grid of a dose in one plane, which needs a thickness to be a grid."""
    thickness = elements.number(ds, "SliceThickness")
    if thickness is None:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "SliceThickness")
    low, high = geometry.SPACING_RANGE_MM
    if not low <= thickness <= high:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "SliceThickness")
    plane = geometry.planar(
        (float(position[0]), float(position[1]), float(position[2])),
        tuple(orientation.tolist()),
        (float(spacing[0]), float(spacing[1])),
        size,
        thickness=thickness,
        spacing_source="PixelSpacing",
    )
    return Layout(np.array([0]), plane, None, False, False, (1,))


def _scaling(ds: Dataset) -> float:
    scaling = elements.number(ds, "DoseGridScaling")
    if scaling is None:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "DoseGridScaling")
    if not np.isfinite(scaling) or scaling <= 0:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "DoseGridScaling")
    return scaling


def _vector(ds: Dataset, keyword: str, count: int) -> np.ndarray:
    """`count` numbers of an element."""
    found = elements.numbers(ds, keyword)
    if not found:
        raise Rejection(Reason.MISSING_GEOMETRY, keyword)
    if len(found) != count or not np.isfinite(found).all():
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
    return np.array(found)


def _terms(ds: Dataset) -> dict[str, str]:
    """The terms by keyword; several values of one are joined by a backslash."""
    found = {
        keyword: [term for value in elements.values(ds, keyword) if (term := str(value).upper()) in known]
        for keyword, known in TERMS.items()
    }
    return {keyword: "\\".join(terms) for keyword, terms in found.items() if terms}
