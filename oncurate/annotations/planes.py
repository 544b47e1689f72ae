"""The planes of the frames of a multi-frame object, and the grid that they make by themselves.

Belongs here: positions, orientations and spacings of SEG and parametric map frames. Does not belong here: the grid of
an image (`oncurate.plan`), placing one grid on another (`oncurate.annotations.lattice`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncurate import elements, geometry
from oncurate.errors import Rejection
from oncurate.functional_groups import Header
from oncurate.reasons import Reason
from oncurate.records import Geometry

_TILES = ("TILED_FULL", "TILED_SPARSE")
_NEGLIGIBLE_SHIFT_MM = geometry.SAME_POSITION_MM
_PLACED, _PLANE = ("ImagePositionPatient", 3), ("ImageOrientationPatient", 6)


@dataclass(frozen=True, eq=False)
class Planes:
    """Per frame: `positions` (n, 3) of the first pixel's centre, LPS mm; `orientations` (n, 6), direction of a row,
    then of a column; `spacings` (n, 2), mm between rows, then between columns. `step` is the distance of neighbouring
    planes that the header states, mm; None if it states none.
    """

    positions: np.ndarray
    orientations: np.ndarray
    spacings: np.ndarray
    step: float | None

    def steps(self, index: int = 0) -> np.ndarray:
        """(3, 2): LPS mm from column to column, and from row to row, of one frame."""
        row, column, straight = geometry.axes(self.orientations[index])
        if not straight:
            raise Rejection(Reason.SHEARED_ORIENTATION)
        between_rows, between_columns = self.spacings[index]
        return np.stack([row * between_columns, column * between_rows], axis=1)

    @property
    def is_one_plane(self) -> bool:
        """Whether all frames have one orientation and one pixel spacing."""
        same = np.abs(self.orientations - self.orientations[0]).max() <= geometry.ORIENTATION_TOLERANCE
        tolerance = geometry.PIXEL_SPACING_TOLERANCE
        return bool(same and np.allclose(self.spacings, self.spacings[0], rtol=tolerance, atol=0))


def refuse_tiles(headers: list[Header]) -> None:
    """Raise TILED_IMAGE where frames are tiles of a slide and no slices of a patient."""
    ds = headers[0].ds
    tiled = elements.text(ds, "DimensionOrganizationType") in _TILES or "TotalPixelMatrixRows" in ds
    if tiled or any(header.items("PlanePositionSlideSequence") for header in headers[:1]):
        raise Rejection(Reason.TILED_IMAGE)


def planes_of(headers: list[Header]) -> Planes | None:
    """The planes of all frames; None if no frame has a position, as on a projection image.

    Raises MISSING_GEOMETRY where only some have one, or where orientation or spacing are missing, and
    IMPLAUSIBLE_HEADER for numbers that cannot be.
    """
    positions = [header.vector(*_PLACED) for header in headers]
    if all(position is None for position in positions):
        return None
    orientations = [header.vector(*_PLANE) for header in headers]
    spacings = [header.vector("PixelSpacing", 2) for header in headers]
    for keyword, found in ((_PLACED[0], positions), (_PLANE[0], orientations), ("PixelSpacing", spacings)):
        if None in found:
            raise Rejection(Reason.MISSING_GEOMETRY, keyword)
    planes = Planes(
        np.array(positions, float), np.array(orientations, float), np.array(spacings, float), _step(headers[0])
    )
    geometry.check_plausible(planes.positions, planes.orientations, planes.spacings)
    return planes


def _step(header: Header) -> float | None:
    step = header.number("SpacingBetweenSlices")
    return abs(step) if step is not None and np.isfinite(step) and step != 0 else None


def own_grid(planes: Planes, size: tuple[int, int], like: Geometry) -> Geometry | None:
    """The regular grid that frames make by themselves, gaps of left out frames included; None if they make none.

    `size` is rows and columns; facts that do not hang on positions are those of `like`. Where a single plane or a gap
    leaves the distance of planes open, it is what the header states.
    """
    if not planes.is_one_plane:
        return None
    steps = planes.steps()
    row, column = (steps[:, axis] / np.linalg.norm(steps[:, axis]) for axis in (0, 1))
    normal = np.cross(row, column)
    along = np.sort(planes.positions @ normal)
    distinct = along[np.concatenate([[True], np.diff(along) > geometry.SAME_POSITION_MM])]
    step = planes.step or (float(np.diff(distinct).min()) if len(distinct) > 1 else None)
    if step is None:
        return None
    numbers = (distinct - distinct[0]) / step
    sideways = planes.positions @ np.stack([row, column], axis=1)
    if np.abs(numbers - np.rint(numbers)).max() > geometry.GRID_TOLERANCE:
        return None
    if np.ptp(sideways, axis=0).max() >= geometry.IN_PLANE_TOLERANCE_MM:
        return None
    lowest = planes.positions[int(np.argmin(planes.positions @ normal))]
    return like.model_copy(
        update={
            "origin": tuple(map(float, lowest)),
            "row": tuple(map(float, row)),
            "column": tuple(map(float, column)),
            "normal": tuple(map(float, normal)),
            "spacing": (float(planes.spacings[0, 1]), float(planes.spacings[0, 0]), float(step)),
            "shape": (size[1], size[0], int(np.rint(numbers[-1])) + 1),
        }
    )
