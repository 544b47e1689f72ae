"""Puts the slices of a tilted or unevenly spaced stack on one rectangular grid, each voxel where it was in the patient.

Belongs here: shifting slices in their plane, and interpolating between slices at even distances. Does not belong here:
deciding whether that is allowed (`oncurate.policies`), resampling to a target grid (`oncurate.harmonise`).

Arrays are (slices, rows, columns), or (slices, rows, columns, 3) for colour; positions are (slices, 3), LPS mm of the
centre of the first pixel, in order along the normal. Interpolation is linear and never leaves the acquired slices;
where a sample falls on an acquired one (within `geometry.SAME_POSITION_MM`) the value is kept as it is. Integers stay
integers, rounded half to even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oncurate.errors import Rejection
from oncurate.geometry import IN_PLANE_TOLERANCE_MM, SAME_POSITION_MM
from oncurate.reasons import Reason
from oncurate.records import Geometry, Step, Vector

MOST_SLICES = 2
"""Evened stacks have at most this many times the acquired slices, as dcm2niix's `_Eq` images: two slices that nearly
touch must not set the distance of all."""
NEAR_GRID = 0.1
"""Slices that all lie within this share of the mean distance of an even grid keep their number. Linear interpolation by
a fraction f keeps 1 - 2 f of the finest detail that slices can hold: at least 80 % here."""
MAX_VOXELS = 1_000_000_000
"""As `max_voxels` of the harmonisation profiles: positions that lie must not ask for more memory than there is."""


def shear(
    array: np.ndarray, positions: np.ndarray, geometry: Geometry, *, outside: float | None = None
) -> tuple[np.ndarray, Geometry, Step]:
    """The stack with each slice shifted in its plane, so that all lie behind each other along the normal.

    The new grid has the pixels of the first slice and holds all slices: it grows, and nothing is cropped. What no slice
    covers gets `outside`, or the least value of `array` where that is None or the type cannot hold it. Raises
    `Rejection`: GRID_TOO_LARGE before anything is allocated.
    """
    done = _sheared(array, np.asarray(positions, float), geometry, outside)
    arguments = _arguments(geometry, done.grid) | {"degrees": done.degrees, "outside": done.outside}
    return done.array, done.grid, Step(name="shear", arguments=arguments)


def even_out(
    array: np.ndarray, positions: np.ndarray, geometry: Geometry, *, outside: float | None = None
) -> tuple[np.ndarray, Geometry, Step]:
    """The stack at even distances, from the first to the last acquired slice; a tilted one is sheared before.

    The distance is the one nearest the smallest acquired distance that divides the extent, within the bounds of
    `MOST_SLICES`; stacks `NEAR_GRID` keep their number of slices. A sample between two slices needs both: where a
    shifted one does not reach is outside. `outside` and errors as `shear`.
    """
    positions = np.asarray(positions, float)
    sheared = _sheared(array, positions, geometry, outside)
    along = (positions - positions[0]) @ np.array(geometry.normal)
    count = _even_count(along)
    _check_size(count * math.prod(sheared.array.shape[1:]))
    found = np.full((count, *sheared.array.shape[1:]), sheared.outside, sheared.array.dtype)
    for k, place in enumerate(np.linspace(along[0], along[-1], count)):
        _between_slices(sheared, along, float(place), found[k])
    grid = sheared.grid
    columns, rows, _ = grid.shape
    step = float(along[-1] - along[0]) / (count - 1)
    grid = grid.model_copy(update={"spacing": (*grid.spacing[:2], step), "shape": (columns, rows, count)})
    steps = np.diff(along)
    arguments = _arguments(geometry, grid) | {
        "degrees": sheared.degrees,
        "outside": sheared.outside,
        "acquired_steps_mm": [float(steps.min()), float(steps.max())],
    }
    return found, grid, Step(name="even_out", arguments=arguments)


@dataclass(frozen=True, eq=False)
class _Sheared:
    """A shifted stack: `degrees` is the tilt that was taken out (0 if none), `outside` the value around the slices.

    `starts` and `lengths` say where the slices lie on the grid: the first row and column of each, (slices, 2), and the
    rows and columns that each has.
    """

    array: np.ndarray
    grid: Geometry
    degrees: float
    outside: float | int
    starts: np.ndarray
    lengths: tuple[int, int]

    def common(self, one: int, other: int) -> tuple[slice, slice]:
        """The rows and columns that two slices both cover."""
        low, high = np.maximum(self.starts[one], self.starts[other]), np.minimum(self.starts[one], self.starts[other])
        return tuple(slice(a, max(a, b + n)) for a, b, n in zip(low, high, self.lengths, strict=True))  # type: ignore[return-value]


def _sheared(array: np.ndarray, positions: np.ndarray, geometry: Geometry, outside: float | None) -> _Sheared:
    away = positions - positions[0]
    filled = _outside(array, outside)
    lengths = (array.shape[1], array.shape[2])
    directions = np.array([geometry.column, geometry.row])
    pixels = np.array([geometry.spacing[1], geometry.spacing[0]])
    offsets = away @ directions.T
    offsets[:, np.ptp(offsets, axis=0) < IN_PLANE_TOLERANCE_MM] = 0.0
    offsets /= pixels
    starts = _starts(offsets, SAME_POSITION_MM / pixels)
    first = starts.min(axis=0)
    sizes = tuple(int(n) for n in lengths + np.ptp(starts, axis=0))
    _check_size(len(array) * math.prod(sizes) * math.prod(array.shape[3:]))
    for axis in np.flatnonzero(offsets.any(axis=0)).tolist():
        array = _shifted(array, offsets[:, axis], starts[:, axis], axis, filled, SAME_POSITION_MM / pixels[axis])
    degrees = float(geometry.gantry_tilt_degrees or 0.0) if offsets.any() else 0.0
    grid = geometry.model_copy(
        update={
            "origin": _vector(positions[0] + (first * pixels) @ directions),
            "shape": (sizes[1], sizes[0], len(array)),
            "consistent_in_plane_row": True,
            "consistent_in_plane_col": True,
            "uniform_slice_spacing": True,
            "gantry_tilt_degrees": 0.0 if offsets.any() else geometry.gantry_tilt_degrees,
            "regularly_spaced_3d_volume": True,
        }
    )
    return _Sheared(array, grid, degrees, filled, starts - first, lengths)


def _starts(offsets: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Index of the first grid sample inside each slice, whose first pixel lies at `offsets` (both in pixels).

    A sample is inside a slice if it is inside one of its pixels, which reach half a pixel beyond their centres: so each
    slice covers as many samples as it has pixels, wherever it lies.
    """
    nearest = np.round(offsets)
    return np.where(np.abs(offsets - nearest) <= tolerance, nearest, np.ceil(offsets - 0.5)).astype(int)


def _shifted(
    array: np.ndarray, offsets: np.ndarray, starts: np.ndarray, axis: int, outside: float | int, tolerance: float
) -> np.ndarray:
    """Each slice moved by its offset (pixels) along its axis 0 or 1, on a grid that holds all of them."""
    first, length = int(starts.min()), array.shape[axis + 1]
    shape = list(array.shape)
    shape[axis + 1] += int(np.ptp(starts))
    out = np.full(shape, outside, array.dtype)
    for k, start in enumerate(starts.tolist()):
        place = [slice(None)] * (array.ndim - 1)
        place[axis] = slice(start - first, start - first + length)
        fraction = start - float(offsets[k])
        out[k][tuple(place)] = _moved(array[k], fraction if abs(fraction) > tolerance else 0.0, axis)
    return out


def _moved(image: np.ndarray, fraction: float, axis: int) -> np.ndarray:
    """`image` sampled `fraction` (-0.5 to 0.5) of a pixel further along `axis`; the outermost pixels reach half of one
    beyond their centres.
    """
    if fraction == 0:
        return image
    indices = np.arange(image.shape[axis]) + (1 if fraction > 0 else -1)
    neighbour = np.take(image, np.clip(indices, 0, image.shape[axis] - 1), axis=axis)
    return _blend(image, neighbour, abs(fraction))


def _even_count(along: np.ndarray) -> int:
    """How many evenly spaced slices stand for slices at these ascending distances, mm."""
    count = len(along)
    extent = float(along[-1] - along[0])
    mean = extent / (count - 1)
    if np.abs(along - along[0] - mean * np.arange(count)).max() <= NEAR_GRID * mean:
        return count
    return min(round(extent / float(np.diff(along).min())) + 1, MOST_SLICES * count)


def _between_slices(stack: _Sheared, along: np.ndarray, place: float, out: np.ndarray) -> None:
    """Write the slice at distance `place` into `out`, which holds the value of outside."""
    nearest = int(np.abs(along - place).argmin())
    if abs(float(along[nearest]) - place) <= SAME_POSITION_MM:
        out[...] = stack.array[nearest]
        return
    above = int(np.searchsorted(along, place))
    fraction = (place - float(along[above - 1])) / float(along[above] - along[above - 1])
    both = stack.common(above - 1, above)
    out[both] = _blend(stack.array[above - 1][both], stack.array[above][both], fraction)


def _blend(one: np.ndarray, other: np.ndarray, fraction: float) -> np.ndarray:
    """`one` less and `other` as much as `fraction` says, in the type of both."""
    mixed = one.astype(np.float64) * (1 - fraction) + other.astype(np.float64) * fraction
    return (np.rint(mixed) if one.dtype.kind in "iu" else mixed).astype(one.dtype)


def _outside(array: np.ndarray, wanted: float | None) -> float | int:
    """`wanted` as the array's type holds it exactly, else the array's least value."""
    if wanted is not None and np.isfinite(wanted):
        if array.dtype.kind == "f":
            return float(wanted)
        limits = np.iinfo(array.dtype)
        if limits.min <= wanted <= limits.max and float(wanted).is_integer():
            return int(wanted)
    return array.min().item()


def _check_size(voxels: int) -> None:
    if voxels > MAX_VOXELS:
        raise Rejection(Reason.GRID_TOO_LARGE, f"{voxels} voxels, limit {MAX_VOXELS}")


def _arguments(old: Geometry, new: Geometry) -> dict[str, object]:
    """Shapes are (columns, rows, slices), spacings in mm along row, column and normal."""
    return {
        "interpolation": "linear",
        "old_shape": list(old.shape),
        "new_shape": list(new.shape),
        "old_spacing_mm": list(old.spacing),
        "new_spacing_mm": list(new.spacing),
    }


def _vector(values: np.ndarray) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))
