"""Images that hold the slices of a volume side by side: Siemens mosaics, United Imaging VFRAME files.

Belongs here: how many tiles there are, how large, and where in the patient each lies. Does not belong here: cutting the
pixels (`oncurate.pixels`), or what else a frame has (`oncurate.frames`).

Siemens gives the corner of the whole mosaic as if it were one large slice, so the first tile's corner lies further in
by half of what the mosaic is larger; the other tiles follow along SliceNormalVector, which may point against row x
column (https://nipy.org/nibabel/dicom/dicom_mosaic.html). The grid is the smallest square that holds all tiles. United
Imaging gives every tile its own position, and leaves out rows of the grid that would be empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oncurate import csa, elements, kinds
from oncurate.elements import PrivateTag
from oncurate.errors import Rejection
from oncurate.functional_groups import Header
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, Vector

NORMAL_TOLERANCE = 0.01
"""Largest deviation of the slice normal from row x column or its opposite, per component (IDC's for orientations)."""
STEP_TOLERANCE = 0.01
"""Relative difference up to which two slice steps are one (IDC's for slice spacing)."""

_SIEMENS_COUNT = PrivateTag(0x0019, "SIEMENS MR HEADER", 0x0A, "US", "SIEMENS")
_UIH_COUNT = PrivateTag(0x0065, "Image Private Header", 0x50, "DS", "UIH")
_UIH_TILES = PrivateTag(0x0065, "Image Private Header", 0x51, "SQ", "UIH")
_UNITED_IMAGING = "VFRAME"
_MOST_TILES = 4096
"""Tiles in one image; real mosaics hold up to some hundred."""


@dataclass(frozen=True)
class Mosaic:
    """The tiles of one image, row by row: `size` is rows and columns of one, `positions` their first pixels, LPS mm."""

    size: tuple[int, int]
    positions: tuple[Vector, ...]


def mosaic_of(header: Header, form: PixelFormat) -> Mosaic | None:
    """The tiles of an image that ImageType calls a mosaic; None for any other.

    Raises `Rejection` MOSAIC with the keyword of what is missing or does not agree.
    """
    terms = {str(term).strip().upper() for term in header.values("ImageType")}
    if not terms & kinds.MOSAIC_TERMS:
        return None
    if form.NumberOfFrames != 1:
        raise Rejection(Reason.MOSAIC, "NumberOfFrames")
    return _united_imaging(header, form) if _UNITED_IMAGING in terms else _siemens(header, form)


def _united_imaging(header: Header, form: PixelFormat) -> Mosaic:
    """Tiles of a VFRAME file: each item of a private sequence has the position of one."""
    count = _count(header.private_numbers(_UIH_COUNT, 1))
    items = elements.private_items(header.ds, _UIH_TILES, orphan=header.manufacturer.startswith("UIH"))
    if len(items) != count:
        raise Rejection(Reason.MOSAIC, "MRVFrameSequence")
    positions = []
    for item in items:
        numbers = elements.numbers(item, "ImagePositionPatient")
        if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
            raise Rejection(Reason.MOSAIC, "ImagePositionPatient")
        positions.append((numbers[0], numbers[1], numbers[2]))
    columns = math.ceil(math.sqrt(count))
    return Mosaic(_tile(header, form, math.ceil(count / columns), columns), tuple(positions))


def _siemens(header: Header, form: PixelFormat) -> Mosaic:
    """Tiles of a mosaic: the first from the mosaic's corner, the others along the slice normal."""
    found = csa.values(header.private_bytes(csa.IMAGE_HEADER), ("NumberOfImagesInMosaic", "SliceNormalVector"))
    count = _count(header.private_numbers(_SIEMENS_COUNT, 1) or csa.numbers(found, "NumberOfImagesInMosaic", 1))
    grid = math.ceil(math.sqrt(count))
    size = _tile(header, form, grid, grid)
    corner, orientation = header.vector("ImagePositionPatient", 3), header.vector("ImageOrientationPatient", 6)
    spacing = header.vector("PixelSpacing", 2)
    for keyword, value in (
        ("ImagePositionPatient", corner),
        ("ImageOrientationPatient", orientation),
        ("PixelSpacing", spacing),
    ):
        if value is None:
            raise Rejection(Reason.MOSAIC, keyword)
    row, column = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    first = np.array(corner) + row * (form.Columns - size[1]) / 2 + column * (form.Rows - size[0]) / 2
    centres = np.array(csa.slice_centres(header.private_bytes(csa.SERIES_HEADER)))
    if len(centres) != count:  # a protocol of another number of slices says nothing about these
        centres = np.empty((0, 3))
    normal = _normal(csa.numbers(found, "SliceNormalVector", 3), orientation)
    step = _step(header, normal, centres)
    positions = first + np.outer(np.arange(count) * step, normal)
    _check_protocol(positions + row * size[1] / 2 + column * size[0] / 2, centres, normal, step)
    return Mosaic(size, tuple((float(x), float(y), float(z)) for x, y, z in positions))


def _count(found: list[float]) -> int:
    if not found or not found[0].is_integer() or not 1 <= found[0] <= _MOST_TILES:
        raise Rejection(Reason.MOSAIC, "NumberOfImagesInMosaic")
    return int(found[0])


def _tile(header: Header, form: PixelFormat, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of one tile of a grid of `rows` x `columns`.

    A tile has as many pixels along its longer side as were acquired, or more by interpolation. A much smaller one is
    no tile: other software took the mosaic apart and kept its ImageType.
    """
    if form.Rows % rows or form.Columns % columns:
        raise Rejection(Reason.MOSAIC, "NumberOfImagesInMosaic")
    size = (form.Rows // rows, form.Columns // columns)
    acquired = header.numbers("AcquisitionMatrix")
    if acquired and 2 * max(size) < max(acquired):
        raise Rejection(Reason.MOSAIC, "AcquisitionMatrix")
    return size


def _normal(given: list[float], orientation: tuple[float, ...]) -> np.ndarray:
    """The unit vector from tile to tile: row x column or its opposite, as SliceNormalVector says."""
    if not given:
        raise Rejection(Reason.MOSAIC, "SliceNormalVector")
    product = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(product))
    if abs(length - 1) > NORMAL_TOLERANCE:
        raise Rejection(Reason.SHEARED_ORIENTATION)
    normal = product / length * math.copysign(1.0, float(product @ np.array(given)))
    if np.abs(normal - np.array(given)).max() > NORMAL_TOLERANCE:
        raise Rejection(Reason.MOSAIC, "SliceNormalVector")
    return normal


def _step(header: Header, normal: np.ndarray, centres: np.ndarray) -> float:
    """mm from slice to slice: SpacingBetweenSlices, else what the protocol's slices lie apart."""
    step = header.number("SpacingBetweenSlices")
    if step is None and len(centres) > 1:
        step = float(np.ptp(centres @ normal)) / (len(centres) - 1)
    if step is None or not math.isfinite(step) or step <= 0:
        raise Rejection(Reason.MOSAIC, "SpacingBetweenSlices")
    return step


def _check_protocol(tiles: np.ndarray, centres: np.ndarray, normal: np.ndarray, step: float) -> None:
    """Refuse a step or a direction that the protocol's slices contradict. `tiles`: the tiles' centres.

    The whole may lie elsewhere, because prospective motion correction moves it; order within the protocol is free.
    """
    if len(centres) < 2:
        return
    planned, found = np.sort(centres @ normal), np.sort(tiles @ normal)
    if abs(np.ptp(planned) - np.ptp(found)) > STEP_TOLERANCE * np.ptp(found):
        raise Rejection(Reason.MOSAIC, "SpacingBetweenSlices")
    reverse = found - np.ptp(found)  # where the tiles would lie if the normal pointed the other way
    if np.abs(planned - reverse).max() < min(np.abs(planned - found).max(), step / 2):
        raise Rejection(Reason.MOSAIC, "SliceNormalVector")
