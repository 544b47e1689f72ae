"""Which voxels of a plane lie inside closed contours.

Belongs here: polygons in index space, their crossings with the rows of the plane, how several contours on one plane
make one structure. Does not belong here: the patient's space, slices and DICOM (`oncurate.annotations.rtstruct`).

Points are (n, 2) float64 in continuous index space: column, then row; the centre of the first voxel is (0, 0). They are
never rounded to voxels. A polygon is closed: its last point is joined to its first. A voxel belongs to a polygon when
its centre lies inside by the even-odd rule, so that a keyhole leaves its hole free. Edges are half-open: a centre that
lies exactly on one belongs to what is to the right of it and below, so that polygons that share an edge share no voxel
and leave none out. The winding number has the parity of the number of crossings, so that one count gives the inside and
also tells a contour that crosses itself: it turns twice around a voxel, or around some one way and others the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CROSSINGS_AT_A_TIME = 1 << 22
"""Crossings of edges and rows that are held at a time: some 200 MB, whatever a contour asks for."""

TRACED = 0.01
"""Voxels. A contour whose corners all lie this close to voxel centres was traced from centre to centre: coordinates in
mm are often written with two decimals. Of contours that were drawn freely, less than one corner in a thousand does."""

ON_PATH = 1e-6
"""Voxels. A centre this close to a traced contour lies on it, up to rounding in the arithmetic."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Part of a plane: `mask` is bool (rows, columns), its first voxel at `row`, `column` of the plane.

    `crosses_itself`: a contour turns around some voxel twice, or around voxels in both directions. `overlap`: contours
    of one plane overlap without one being inside the other; they were united.
    """

    mask: np.ndarray
    row: int
    column: int
    crosses_itself: bool = False
    overlap: bool = False

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns of the plane that the patch covers."""
        rows, columns = self.mask.shape
        return slice(self.row, self.row + rows), slice(self.column, self.column + columns)


def polygon(points: np.ndarray, shape: tuple[int, int]) -> Patch:
    """The voxels inside one polygon on a plane of `shape` (columns, rows), as the smallest box that may hold them."""
    (left, right), (top, bottom) = (_span(points[:, axis], shape[axis]) for axis in (0, 1))
    rows, columns = max(bottom - top, 0), max(right - left, 0)
    if not rows or not columns or len(points) < 3:
        return Patch(np.zeros((0, 0), bool), 0, 0)
    turns = np.zeros(rows * (columns + 1), np.int32)
    for row, x, sign in _crossings(points, top, bottom):
        column = np.clip(np.ceil(x), left, right).astype(np.int64) - left
        np.add.at(turns, (row - top) * (columns + 1) + column, sign)
    winding = turns.reshape(rows, columns + 1).cumsum(axis=1, dtype=np.int32)[:, :columns]
    low, high = winding.min(), winding.max()
    return Patch((winding & 1).astype(bool), top, left, bool(high > 1 or low < -1 or (low < 0 < high)))


def polygons(
    contours: Sequence[np.ndarray], shape: tuple[int, int], *, xor: bool = False, closed: bool = False
) -> Patch:
    """The voxels of one structure whose contours on one plane are `contours`, on a plane of `shape` (columns, rows).

    `xor`: a voxel belongs to it if an odd number of contours holds it (DICOM CLOSEDPLANAR_XOR). Otherwise a contour
    within another is a hole in it, one within a hole an island, and so on; contours that overlap in part are united.
    `closed`: of contours that were traced from voxel centre to voxel centre, as outlines of masks often are, the
    centres on the path belong to the structure (so PS3.3 C.8.8.6.3), which gives back the mask; see `TRACED`.
    """
    traced = [closed and is_traced(points) for points in contours]
    contours = [np.rint(c) if is_path else c for c, is_path in zip(contours, traced, strict=True)]
    paths = [_on_path(points, shape) for points, is_path in zip(contours, traced, strict=True) if is_path]
    whole = _around(contours, paths, shape)
    inside, depth = whole.mask, np.zeros(whole.mask.shape, np.int32)
    crosses_itself = overlap = False
    for points in sorted(contours, key=_size, reverse=True):
        patch = polygon(points, shape)
        crosses_itself |= patch.crosses_itself
        box = tuple(slice(s.start - o, s.stop - o) for s, o in zip(patch.box, (whole.row, whole.column), strict=True))
        under = depth[box][patch.mask]
        if not len(under):
            continue
        if xor or under.min() == under.max():
            inside[box] ^= patch.mask
        else:
            inside[box] |= patch.mask
            overlap = True
        depth[box] += patch.mask
    for columns, rows in paths:
        inside[rows - whole.row, columns - whole.column] = True
    return Patch(inside, whole.row, whole.column, crosses_itself, overlap)


def is_traced(points: np.ndarray) -> bool:
    """Whether all corners of a contour are voxel centres, up to `TRACED`."""
    return bool(np.abs(points - np.rint(points)).max(initial=0.0) <= TRACED)


def occupancy(contours: Sequence[np.ndarray], shape: tuple[int, int], samples: int, *, xor: bool = False) -> np.ndarray:
    """The share of each voxel that lies inside, float32 (rows, columns) in 0..1, from `samples` x `samples` points."""
    finer = [(points + 0.5) * samples - 0.5 for points in contours]
    found = polygons(finer, (shape[0] * samples, shape[1] * samples), xor=xor)
    whole = np.zeros((shape[1] * samples, shape[0] * samples), np.float32)
    whole[found.box] = found.mask
    return whole.reshape(shape[1], samples, shape[0], samples).mean(axis=(1, 3))


def area(points: np.ndarray) -> float:
    """The area of a polygon in voxels, by the shoelace formula; what it turns around both ways cancels."""
    x, y = (points - points[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _span(values: np.ndarray, size: int) -> tuple[int, int]:
    """The first index whose centre may lie inside, and the one after the last, within 0..size."""
    low, high = np.clip([np.ceil(values.min()), np.floor(values.max()) + 1], 0, size)
    return int(low), int(high)


def _edges(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each edge's upper end (smaller row), its lower end, and +1 where it leads down, -1 where it leads up.

    From the upper end always, so that an edge that two polygons share gives both the same crossings to the last bit.
    """
    following = np.roll(points, -1, axis=0)
    down = points[:, 1] <= following[:, 1]
    upper, lower = np.where(down[:, None], points, following), np.where(down[:, None], following, points)
    return upper, lower, np.where(down, 1, -1).astype(np.int32)


def _crossings(points: np.ndarray, top: int, bottom: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows from `top` to before `bottom` that edges cross, the column where they do, and the edge's direction."""
    upper, lower, sign = _edges(points)
    first = np.clip(np.ceil(upper[:, 1]), top, bottom).astype(np.int64)
    counts = np.clip(np.ceil(lower[:, 1]), top, bottom).astype(np.int64) - first
    keep = counts > 0
    upper, lower, sign, first, counts = (a[keep] for a in (upper, lower, sign, first, counts))
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        most = ends[start] - counts[start] + CROSSINGS_AT_A_TIME
        stop = max(start + 1, int(np.searchsorted(ends, most, side="right")))
        edge = np.repeat(np.arange(start, stop), counts[start:stop])
        row = _runs(first[start:stop], counts[start:stop])
        yield row, upper[edge, 0] + (row - upper[edge, 1]) * slope[edge], sign[edge]
        start = stop


def _on_path(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the voxels whose centres lie on the contour: corners, edges along rows, crossings of rows."""
    corners = np.rint(points)
    found = [corners[(np.abs(points - corners) <= ON_PATH).all(axis=1)], _on_rows(points, shape[0])]
    for row, x, _ in _crossings(points, *_span(points[:, 1], shape[1])):
        near = np.abs(x - np.rint(x)) <= ON_PATH
        found.append(np.column_stack([np.rint(x[near]), row[near]]))
    voxels = np.concatenate(found)
    voxels = voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)].astype(np.int64)
    return voxels[:, 0], voxels[:, 1]


def _on_rows(points: np.ndarray, columns: int) -> np.ndarray:
    """Column and row of voxels on edges that run along the centres of a row."""
    following, row = np.roll(points, -1, axis=0), np.rint(points[:, 1])
    flat = (np.abs(points[:, 1] - row) <= ON_PATH) & (np.abs(following[:, 1] - row) <= ON_PATH)
    low, high = np.minimum(points, following)[flat, 0], np.maximum(points, following)[flat, 0]
    first = np.clip(np.ceil(low - ON_PATH), 0, columns).astype(np.int64)
    counts = np.maximum(np.clip(np.floor(high + ON_PATH) + 1, 0, columns).astype(np.int64) - first, 0)
    return np.column_stack([_runs(first, counts), np.repeat(row[flat], counts)])


def _runs(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`counts[n]` consecutive integers from `first[n]` on, for each n in turn."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(first - starts, counts)


def _around(
    contours: Sequence[np.ndarray], paths: Sequence[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int]
) -> Patch:
    """An empty patch that holds all of these contours and voxels."""
    boxes = [(*_span(c[:, 0], shape[0]), *_span(c[:, 1], shape[1])) for c in contours if len(c)]
    boxes += [(int(c.min()), int(c.max()) + 1, int(r.min()), int(r.max()) + 1) for c, r in paths if len(c)]
    boxes = [box for box in boxes if box[0] < box[1] and box[2] < box[3]]
    if not boxes:
        return Patch(np.zeros((0, 0), bool), 0, 0)
    corners = np.array(boxes)
    left, top = (int(n) for n in corners[:, [0, 2]].min(axis=0))
    right, bottom = (int(n) for n in corners[:, [1, 3]].max(axis=0))
    return Patch(np.zeros((bottom - top, right - left), bool), top, left)


def _size(points: np.ndarray) -> tuple[float, float]:
    """What puts a contour before those that lie within it: the area of its bounding box, then its own."""
    return float(np.ptp(points, axis=0).prod()) if len(points) else 0.0, area(points) if len(points) else 0.0
