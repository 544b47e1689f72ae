"""The contours of one structure: read from their items, placed on the image's grid, and given to slices.

Belongs here: points in index space, which planes they make, which slices a plane stands for. Does not belong here: the
structures of a structure set (`oncurate.annotations.rtstruct`), filling (`oncurate.annotations.rasterise`).

A contour lies where its own points say, never where the image that it references lies. It is a slab (PS3.3 C.8.8.6.2):
a plane and half the contour spacing to each side of it, up to the middle between it and the next plane. A slice belongs
to the plane in whose slab its centre lies. Slabs are half-open, so that contours half-way between slices fill as many
slices as there are contours. Nothing is interpolated between contours, and a gap between them stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.errors import Rejection
from oncurate.geometry import IN_PLANE_TOLERANCE_MM, ORIENTATION_TOLERANCE, POSITION_LIMIT_MM, SLICE_SPACING_TOLERANCE
from oncurate.reasons import Reason
from oncurate.records import Vector

CLOSED, XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
OPEN = frozenset({"POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"})
"""Contour geometric types (PS3.3 C.8.8.6.1)."""

INDEX_DECIMALS = 6
"""Indices are rounded to a millionth of a voxel, so that rounding in the arithmetic decides nothing."""

SLAB_DECIMALS = 3
"""Slab faces are rounded to a thousandth of a slice, so that rounding in the header decides little."""

GAP = 1.5
"""Planes further apart than this many contour spacings have a gap between them, which stays empty."""

EVEN = 0.1
"""Distances of planes are one spacing if most of them are within a tenth of their median."""


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed contour: `points` (n, 2) column and row, `position` its slice, all continuous indices.

    `thickness` is that of its slab in slices, where it is declared; `references` are the images it was drawn on.
    """

    points: np.ndarray
    position: float
    xor: bool
    thickness: float | None
    references: tuple[str, ...]

    def lies(self, shape: Vector | tuple[int, int, int]) -> str:
        """ "inside", "outside" or "across" the columns and rows of an image."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        edge = np.array(shape[:2]) - 0.5
        if (high <= -0.5).any() or (low >= edge).any():
            return "outside"
        return "inside" if (low >= -0.5).all() and (high <= edge).all() else "across"


@dataclass(frozen=True, eq=False)
class Plane:
    """Contours that lie in one plane; its slab reaches from `low` to before `high` (slice indices)."""

    contours: tuple[Contour, ...]
    position: float
    low: float
    high: float

    def slices(self, count: int) -> range:
        """The slices of an image of `count` slices whose centres lie in the slab."""
        return range(max(int(np.ceil(self.low)), 0), min(int(np.ceil(self.high)), count))

    def is_outside(self, count: int) -> bool:
        """Whether the slab misses the image."""
        return self.high <= -0.5 or self.low >= count - 0.5


def read(item: Dataset, to_index: np.ndarray, spacing: Vector) -> Contour | None:
    """The contour of an item of ContourSequence; None if it has no area: fewer than three points, or all in a line.

    `to_index` is 4x4, LPS mm -> index; `spacing` is the grid's. Raises `Rejection`: OPEN_CONTOURS,
    CONTOUR_DATA_BROKEN, CONTOURS_NOT_IN_IMAGE_PLANE.
    """
    kind = elements.text(item, "ContourGeometricType")
    if kind in OPEN:
        raise Rejection(Reason.OPEN_CONTOURS, kind)
    if kind not in (CLOSED, XOR):
        raise Rejection(Reason.CONTOUR_DATA_BROKEN, "ContourGeometricType")
    points = _points(item) @ to_index[:3, :3].T + to_index[:3, 3]
    extent = np.ptp(points, axis=0) * spacing
    if extent[2] > max(IN_PLANE_TOLERANCE_MM, ORIENTATION_TOLERANCE * float(np.hypot(*extent[:2]))):
        raise Rejection(Reason.CONTOURS_NOT_IN_IMAGE_PLANE, f"{extent[2]:.2f} mm across slices")
    thickness = elements.number(item, "ContourSlabThickness")
    flat = np.round(points[:, :2], INDEX_DECIMALS)
    if len(flat) < 3 or np.linalg.matrix_rank(flat - flat[0], tol=10.0**-INDEX_DECIMALS) < 2:
        return None
    return Contour(
        points=flat,
        position=float(np.median(points[:, 2])),
        xor=kind == XOR,
        thickness=thickness / spacing[2] if thickness and np.isfinite(thickness) and thickness > 0 else None,
        references=references_of(item),
    )


def references_of(item: Dataset) -> tuple[str, ...]:
    """SOP instance UIDs of the images that a contour was drawn on."""
    return tuple(
        uid
        for image in elements.items(item, "ContourImageSequence")
        if (uid := elements.text(image, "ReferencedSOPInstanceUID"))
    )


def spacing_of(contours: Sequence[Contour]) -> float | None:
    """The distance of the planes of a structure in slices; None where they are not evenly spaced, or fewer than 3."""
    gaps = np.diff(_positions(contours)[0])
    if len(gaps) < 2:
        return None
    median = float(np.median(gaps))
    return median if (np.abs(gaps - median) <= EVEN * median).mean() > 0.5 else None


def planes_of(contours: Sequence[Contour], spacing: float) -> list[Plane]:
    """The planes of a structure in ascending order. `spacing` is the contours', in slices."""
    positions, of_plane = _positions(contours)
    declared = [c.thickness for c in contours if c.thickness is not None]
    half = max(spacing, float(np.median(declared)) if declared else 0.0) / 2
    gaps = np.diff(positions)
    reach = np.where(gaps <= 2 * GAP * half, gaps / 2, half)
    low = np.round(positions - np.concatenate([[half], reach]), SLAB_DECIMALS)
    high = np.round(positions + np.concatenate([reach, [half]]), SLAB_DECIMALS)
    return [
        Plane(tuple(c for c, p in zip(contours, of_plane, strict=True) if p == n), float(positions[n]), *bounds)
        for n, bounds in enumerate(zip(low.tolist(), high.tolist(), strict=True))
    ]


def _positions(contours: Sequence[Contour]) -> tuple[np.ndarray, np.ndarray]:
    """The slice positions of the planes, ascending, and the plane of each contour.

    Contours closer than 1 % of the slice spacing to the next lie in one plane.
    """
    found = np.array([c.position for c in contours])
    order = np.argsort(found, kind="stable")
    plane = np.concatenate([[0], np.cumsum(np.diff(found[order]) > SLICE_SPACING_TOLERANCE)])
    of_plane = np.empty(len(found), int)
    of_plane[order] = plane
    return np.bincount(of_plane, found) / np.bincount(of_plane), of_plane


def _points(item: Dataset) -> np.ndarray:
    """(n, 3) LPS mm, of the middle of the slab. Refuses what is not numbers, not triplets, or cut off."""
    values = elements.numbers(item, "ContourData")
    declared = elements.integer(item, "NumberOfContourPoints")
    if len(values) % 3 or (declared is not None and len(values) < 3 * declared) or not values:
        raise Rejection(Reason.CONTOUR_DATA_BROKEN, f"{len(values)} numbers in ContourData")
    points = np.array(values, float).reshape(-1, 3)
    offset = elements.numbers(item, "ContourOffsetVector")
    if len(offset) == 3:
        points = points + offset
    if not np.isfinite(points).all() or np.abs(points).max() > POSITION_LIMIT_MM:
        raise Rejection(Reason.CONTOUR_DATA_BROKEN, "ContourData is not finite or too large")
    return points
