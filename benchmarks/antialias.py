"""Aliasing of a zone plate that is sampled down, and what four ways of doing it cost.

Belongs here: the phantom, its sampling by us, SimpleITK and SciPy, how much of what cannot be shown turns up as false
structure. Does not belong here: bounds that must hold (the tests of `oncurate.resample`).

The plate's local frequency grows with the radius up to the source's Nyquist frequency. Beyond the radius at which it
reaches the target's, nothing can be shown: a perfect result is flat there, and all structure is false. Below half of
the target's Nyquist frequency a perfect result is the plate itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.show import print_table
from oncurate.resample import TRUNCATE, Axis, plan_axis, resample

SIDE = 192
TARGETS_MM = (1.5, 2.0, 3.0)
TURNS = 3
"""Times that each way runs; the fastest counts."""

Way = Callable[[np.ndarray, list[Axis]], np.ndarray]


def run() -> list[dict[str, object]]:
    """Sample the plate from 1 mm down to each spacing; print and return false and kept structure and CPU seconds."""
    found: list[dict[str, object]] = []
    plate = zone_plate(SIDE)
    for target in TARGETS_MM:
        axes = [plan_axis(SIDE, 1.0, target, anti_alias=True)] * 3
        for name, way in WAYS.items():
            seconds, result = _fastest(way, plate, axes)
            false, kept = structure(result, axes)
            found.append({"target_mm": target, "way": name, "false": false, "kept": kept, "cpu_s": seconds})
    rows = [
        (f"{f['way']} to {f['target_mm']} mm", f"{f['false']:.4f}", f"{f['kept']:.3f}", f"{f['cpu_s']:.3f}")
        for f in found
    ]
    print(f"zone plate of {SIDE}^3 voxels of 1 mm, float32, one process, fastest of {TURNS}\n")
    print_table(("way", "false energy", "kept energy", "CPU s"), rows)
    print("\nshares of the plate's own energy: false beyond the target's Nyquist frequency, kept below half of it")
    return found


def zone_plate(side: int) -> np.ndarray:
    """cos(pi r^2 / side), float32, r from the middle in voxels: the local frequency is r / side cycles a voxel."""
    x = (np.arange(side, dtype=np.float64) - (side - 1) / 2) ** 2
    return np.cos(np.pi / side * (x[:, None, None] + x[:, None] + x)).astype(np.float32)


def structure(result: np.ndarray, axes: list[Axis]) -> tuple[float, float]:
    """Energy of a sampled plate as shares of its own: beyond the target's Nyquist frequency, and below half of it.

    Only the ball in which the source holds the plate, a filter's reach from its faces.
    """
    side = axes[0].source_size
    place = [axis.start + axis.step * np.arange(axis.size) - (side - 1) / 2 for axis in axes]
    radius = np.sqrt(place[0][:, None, None] ** 2 + place[1][:, None] ** 2 + place[2] ** 2)
    nyquist = 0.5 / axes[0].step
    frequency = np.abs(place[0]) / side  # along the first axis, where aliasing along the others does not matter
    inner = radius < side / 2 - axes[0].reach - 1
    others = (np.abs(place[1][:, None]) / side < nyquist / 2) & (np.abs(place[2]) / side < nyquist / 2)
    beyond = inner & others & (frequency > 1.2 * nyquist)[:, None, None]
    below = inner & (radius / side < nyquist / 2)
    plate = np.cos(np.pi / side * radius**2)
    false, kept = (np.mean(result[where] ** 2) / np.mean(plate[where] ** 2) for where in (beyond, below))
    return float(false), float(kept)


def ours(array: np.ndarray, axes: list[Axis]) -> np.ndarray:
    """The pipeline's own way."""
    return resample(array, axes, np.dtype(np.float32))


def by_scipy(array: np.ndarray, axes: list[Axis]) -> np.ndarray:
    """SciPy's Gaussian filter, then trilinear interpolation at the same places."""
    smooth = ndimage.gaussian_filter(array, [axis.sigma for axis in axes], truncate=TRUNCATE, mode="nearest")
    places = np.meshgrid(*(axis.start + axis.step * np.arange(axis.size) for axis in axes), indexing="ij")
    return ndimage.map_coordinates(smooth, places, order=1, mode="nearest")


def by_simpleitk(array: np.ndarray, axes: list[Axis], *, smooth: bool) -> np.ndarray:
    """SimpleITK's linear resampling, after its recursive Gaussian of the same width if `smooth`."""
    image = sitk.GetImageFromArray(array.T)
    if smooth:
        image = sitk.SmoothingRecursiveGaussian(image, [axis.sigma for axis in axes])
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.UseNearestNeighborExtrapolatorOn()
    resampler.SetSize([axis.size for axis in axes])
    resampler.SetOutputSpacing([axis.step for axis in axes])
    resampler.SetOutputOrigin([axis.start for axis in axes])
    return sitk.GetArrayFromImage(resampler.Execute(image)).T


WAYS: dict[str, Way] = {
    "oncurate": ours,
    "oncurate without filter": lambda a, axes: ours(a, [Axis(x.source_size, x.size, x.start, x.step, 0) for x in axes]),
    "SimpleITK linear": lambda a, axes: by_simpleitk(a, axes, smooth=False),
    "SimpleITK Gaussian + linear": lambda a, axes: by_simpleitk(a, axes, smooth=True),
    "SciPy Gaussian + linear": by_scipy,
}


def _fastest(way: Way, array: np.ndarray, axes: list[Axis]) -> tuple[float, np.ndarray]:
    seconds = []
    for _ in range(TURNS):
        started = time.process_time()
        result = way(array, axes)
        seconds.append(time.process_time() - started)
    return min(seconds), result
