"""Whether voxels of one grid are voxels of another, and which: placing without interpolation.

Belongs here: grids that have their voxel centres in common up to turned and reversed axes and a shift by whole voxels.
Does not belong here: resampling (`oncurate.labels`), reading positions (`oncurate.annotations.planes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncurate.annotations.model import grid_affine_lps
from oncurate.geometry import GRID_TOLERANCE, IN_PLANE_TOLERANCE_MM
from oncurate.labels import TURN_TOLERANCE
from oncurate.records import Geometry

LARGEST_SHIFT = 0.25
"""Voxels: however small a voxel is, a centre that is further off than this could be that of the neighbour."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How blocks of voxels lie on a grid.

    Axis `a` of a block runs along grid axis `order[a]`, forwards or backwards as `signs[a]` says; `first` (n, 3) is the
    grid index of the first voxel of each block. `error_mm` is how far a voxel centre strays, at most; `fits` says that
    all are within tolerance: per axis 0.1 mm or 2 % of the voxel, but never more than a quarter of it.
    """

    order: tuple[int, int, int]
    signs: tuple[int, int, int]
    first: np.ndarray
    error_mm: float
    fits: bool

    def laid(self, block: np.ndarray, index: int, start: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A part of block `index`, (a, b, c) voxels from `start` in the block, as it lies on the grid.

        Gives its voxels as `[i, j, k]`, a view, and the grid index of the first of them, which may be negative.
        """
        corner = self.first[index].copy()
        for axis, (along, sign) in enumerate(zip(self.order, self.signs, strict=True)):
            corner[along] += sign * start[axis] - (block.shape[axis] - 1 if sign < 0 else 0)
        turned = block[tuple(slice(None, None, sign) for sign in self.signs)]
        return turned.transpose(np.argsort(self.order)), corner


def fit(steps: np.ndarray, origins: np.ndarray, shape: tuple[int, ...], grid: Geometry) -> Fit:
    """How blocks lie on `grid`: `steps` (3, 2 or 3) LPS mm from voxel to voxel along each axis of a block,
    `origins` (n, 3) LPS mm of the first voxel of each, `shape` their voxels along each axis.
    """
    inverse = np.linalg.inv(grid_affine_lps(grid))
    spacing = np.array(grid.spacing)
    found = inverse[:3, :3] @ steps  # grid voxels for each voxel of a block
    places = origins @ inverse[:3, :3].T + inverse[:3, 3]
    order = [int(np.argmax(np.abs(found[:, axis]))) for axis in range(found.shape[1])]
    order += [axis for axis in range(3) if axis not in order][: 3 - len(order)]
    first = np.rint(places).astype(np.int64)
    signs = [1, 1, 1]
    stray = np.abs(places - first).max(axis=0)
    for axis, size in enumerate(shape):
        signs[axis] = -1 if found[order[axis], axis] < 0 else 1
        exact = np.zeros(3)
        exact[order[axis]] = signs[axis]
        stray = stray + np.abs(found[:, axis] - exact) * (size - 1)
    tolerance = np.minimum(LARGEST_SHIFT, np.maximum(IN_PLANE_TOLERANCE_MM / spacing, GRID_TOLERANCE))
    fits = len(set(order)) == 3 and bool((stray <= tolerance).all())
    return Fit((order[0], order[1], order[2]), tuple(signs), first, float((stray * spacing).max()), fits)  # type: ignore[arg-type]


def fit_volume(affine: np.ndarray, shape: tuple[int, int, int], grid: Geometry) -> Fit:
    """How one volume lies on `grid`; `affine` 4x4, voxel index -> LPS mm."""
    return fit(affine[:3, :3], affine[None, :3, 3], shape, grid)


def is_turned(affine: np.ndarray, shape: tuple[int, int, int], grid: Geometry) -> bool:
    """Whether a volume's axes are not those of `grid`, up to exchanging and reversing them.

    By the measure of `oncurate.labels.resample_labels`, which takes no others.
    """
    steps = np.linalg.solve(grid_affine_lps(grid)[:3, :3], affine[:3, :3])
    order = np.argmax(np.abs(steps), axis=1)
    stray = np.abs(steps * np.array(shape))
    stray[np.arange(3), order] = 0
    return sorted(order.tolist()) != [0, 1, 2] or bool(stray.max() > TURN_TOLERANCE)


def overhang(corner: np.ndarray, shape: tuple[int, ...], grid: Geometry) -> bool:
    """Whether a block at `corner` sticks out of the grid."""
    return bool((corner < 0).any() or (corner + np.array(shape) > np.array(grid.shape)).any())
