"""Image-quality metrics of one volume on its acquired grid.

Belongs here: the metrics of the quality table and their definitions. Does not belong here: comparing volumes
(`oncurate.outliers`), thresholds (the quality gate).

A metric that does not apply to a modality, or that the image does not allow, is None: never NaN, never an error. An
image with a voxel that is not finite has no intensity metrics; `nan_share` says it all.

Of a 4-D image or a cine, extremes, `constant`, `empty_slices` and `nan_share` are of all repetitions; everything else
is of the first, so that an image is measured as its 3-D siblings are.

What is measured where: extremes, `constant`, `empty_slices` and `nan_share` on every voxel; slice means on every slice,
thinned in the plane; sharpness and noise on whole slices, at most SLICES of them, evenly spaced; all else on at most
SAMPLE voxels of a regular grid.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oncurate.image import Image
from oncurate.sampling import luminance, percentiles, subsample

SAMPLE = 2**20
"""Voxels for statistics of the whole; a mean of 2^20 voxels has a relative error of a thousandth of their spread."""
SLICES = 12
"""Slices for local statistics; with 512 x 512 voxels they hold 120,000 noise blocks."""
PLANE_SAMPLE = 2**14
"""Voxels of a slice for its mean."""
DIETRICH = 0.6551364
"""sqrt(2 - pi/2): spread of Rayleigh noise in air over that of the Gaussian noise behind it (Dietrich et al. 2007)."""
BODY_HU = -500.0
"""HU between air or lung (below -700) and fat (-100): what is above is body, table or bone."""
SOFT_TISSUE_HU = (-50.0, 150.0)
"""HU range of a noise block's mean: water, muscle and organs with and without contrast."""
HOMOGENEOUS_HU = 300.0
"""Greatest range of HU in a noise block; more is an edge to air or bone. 25 values of 60 HU noise span 240."""
BLOCK = 5
"""Edge of a noise block in voxels."""
LEAST_BLOCKS = 30
"""Fewer homogeneous blocks give no noise figure."""
EMPTY_BACKGROUND = 1e-3
"""Median background energy below which FBER is -1 (MRIQC)."""
EMPTY_BACKGROUND_FBER = -1.0
"""Stands for "the background is empty": a statement, not a ratio."""
LOG_GUARD = 1e-16
"""Added inside the logarithm of the entropy focus criterion (MRIQC)."""
LEAST_SLICES_FOR_JUMPS = 4
"""With fewer than three differences, a median of differences is no yardstick."""
OTSU_BINS = 256
INTENSITY_METRICS = (
    "snr",
    "snr_dietrich",
    "cnr",
    "noise_hu",
    "efc",
    "fber",
    "sharpness",
    "clipped_share",
    "slice_jump_max",
)


def measure(native: Image, modality: str, value_unit: str) -> dict[str, Any]:
    """The metric columns of the quality table for one image; never raises on images without content.

    Slices lie along the third array axis. Colour is measured by its luminance.
    """
    array = _grey(native.repetition(0))
    spacing = native.spacing
    metrics: dict[str, Any] = dict.fromkeys(INTENSITY_METRICS)
    metrics["field_of_view_mm"] = (
        [n * s for n, s in zip(native.shape, spacing, strict=True)] if native.has_unit else None
    )
    metrics["spacing_mm"] = list(spacing) if native.has_unit else None
    extremes = [
        _extremes(plane) for n in range(native.count) for plane in np.moveaxis(_grey(native.repetition(n)), 2, 0)
    ]
    metrics["empty_slices"] = sum(low == high for low, high in extremes)
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    metrics["nan_share"] = float(np.mean([_nan_share(native.repetition(n).array) for n in range(native.count)]))
    metrics["constant"] = bool(low == high) or metrics["nan_share"] == 1
    if metrics["nan_share"] == 0 and low < high:
        metrics |= _intensity(array, high, modality, is_hu=modality == "CT" and value_unit == "HU")
    return metrics


def _grey(image: Image) -> np.ndarray:
    return luminance(image.array) if image.is_colour else image.array


def _intensity(array: np.ndarray, high: float, modality: str, *, is_hu: bool) -> dict[str, float | None]:
    values = subsample(array, SAMPLE).ravel().astype(np.float64)
    scale = percentiles(values, 1, 99)
    level = BODY_HU if is_hu else otsu(np.clip(values, *scale))
    bright = values > level
    foreground, background = values[bright], values[~bright]
    chosen = _whole_slices(array)
    found: dict[str, float | None] = {
        "clipped_share": float(np.mean(values == high)),
        "slice_jump_max": slice_jump(array),
        "sharpness": sharpness(chosen, level, scale),
    }
    if is_hu:
        return found | {"noise_hu": noise(chosen)}
    found |= {"snr": snr(foreground), "efc": efc(values), "fber": fber(foreground, background)}
    if modality == "MR":
        found |= {"snr_dietrich": snr_dietrich(foreground, background), "cnr": cnr(foreground, background)}
    return found


def snr(foreground: np.ndarray) -> float | None:
    """mean / (sigma sqrt(n / (n - 1))), sigma of the population (MRIQC's definition)."""
    n = foreground.size
    spread = float(foreground.std()) if n > 1 else 0.0
    return float(foreground.mean()) / (spread * math.sqrt(n / (n - 1))) if spread > 0 else None


def snr_dietrich(foreground: np.ndarray, air: np.ndarray) -> float | None:
    """0.6551364 mean(foreground) / sigma(air); None where air was blanked to one value."""
    spread = float(air.std()) if air.size > 1 else 0.0
    return DIETRICH * float(foreground.mean()) / spread if spread > 0 and foreground.size else None


def cnr(foreground: np.ndarray, background: np.ndarray) -> float | None:
    """|mean1 - mean2| / sqrt(var_background + var1 + var2); the two classes are Otsu's split of the foreground."""
    if foreground.size < 2 or foreground.min() == foreground.max():
        return None
    level = otsu(np.clip(foreground, *percentiles(foreground, 1, 99)))
    dark, light = foreground[foreground <= level], foreground[foreground > level]
    if not dark.size or not light.size:
        return None
    noise_power = float(dark.var() + light.var()) + (float(background.var()) if background.size else 0.0)
    return float(light.mean() - dark.mean()) / math.sqrt(noise_power) if noise_power > 0 else None


def efc(values: np.ndarray) -> float | None:
    """Entropy focus criterion (Atkinson et al. 1997), as a share of its maximum, of absolute values.

    E / Emax with E = -sum((x/B) ln((x + 1e-16) / B)), B = sqrt(sum x^2), Emax = |sqrt(N) ln(1 / sqrt(N))|.
    """
    size = np.abs(values)
    energy = math.sqrt(float(np.square(size).sum()))
    if energy == 0 or size.size < 2:
        return None
    greatest = abs(math.sqrt(size.size) * math.log(1 / math.sqrt(size.size)))
    return float(-np.sum(size / energy * np.log((size + LOG_GUARD) / energy))) / greatest


def fber(foreground: np.ndarray, background: np.ndarray) -> float | None:
    """Median energy (x^2) of the foreground over that of the background; -1 where the background has next to none."""
    if not foreground.size or not background.size:
        return None
    below = float(np.median(np.square(background)))
    return float(np.median(np.square(foreground))) / below if below >= EMPTY_BACKGROUND else EMPTY_BACKGROUND_FBER


def noise(slices: np.ndarray) -> float | None:
    """Median standard deviation (n - 1) of homogeneous soft-tissue blocks of 5 x 5 voxels in the plane, HU.

    `slices` is (columns, rows, slices). A block counts when its mean is soft tissue and its range shows no edge. After
    the global noise index (Christianson et al. 2015), which takes the mode of a map of local deviations.
    """
    columns, rows = (n // BLOCK * BLOCK for n in slices.shape[:2])
    if not columns or not rows:
        return None
    blocks = slices[:columns, :rows].reshape(columns // BLOCK, BLOCK, rows // BLOCK, BLOCK, -1)
    blocks = blocks.transpose(0, 2, 4, 1, 3).reshape(-1, BLOCK * BLOCK)
    low, high = SOFT_TISSUE_HU
    corner = blocks[:, 0]  # far from tissue in most blocks of air and bone: a cheap first sieve
    blocks = blocks[(corner >= low - HOMOGENEOUS_HU) & (corner <= high + HOMOGENEOUS_HU)].astype(np.float32)
    mean = blocks.mean(axis=1)
    blocks = blocks[(mean >= low) & (mean <= high)]
    blocks = blocks[np.ptp(blocks, axis=1) <= HOMOGENEOUS_HU]
    return float(np.median(blocks.std(axis=1, ddof=1))) if len(blocks) >= LEAST_BLOCKS else None


def sharpness(slices: np.ndarray, level: float, scale: tuple[float, float]) -> float | None:
    """Variance of the in-plane Laplacian (4 neighbours) over the foreground, intensities scaled so that `scale` is 0-1.

    `slices` is (columns, rows, slices). Values beyond `scale` are cut, so that one bright spot does not decide.
    """
    if slices.shape[0] < 3 or slices.shape[1] < 3 or scale[1] <= scale[0]:
        return None
    inner = (slice(1, -1), slice(1, -1))
    x = np.clip(slices, *scale).astype(np.float32)
    x *= np.float32(1 / (scale[1] - scale[0]))
    laplacian = x[2:, 1:-1] + x[:-2, 1:-1]
    laplacian += x[1:-1, 2:]
    laplacian += x[1:-1, :-2]
    laplacian -= 4 * x[inner]
    inside = laplacian[slices[inner] > level]
    return float(inside.var(dtype=np.float64)) if inside.size > 1 else None


def slice_jump(array: np.ndarray) -> float | None:
    """Greatest change of the mean between neighbouring slices over the median change."""
    if array.shape[2] < LEAST_SLICES_FOR_JUMPS:
        return None
    step = math.ceil(math.sqrt(array.shape[0] * array.shape[1] / PLANE_SAMPLE))
    means = array[::step, ::step].mean(axis=(0, 1), dtype=np.float64)
    changes = np.abs(np.diff(means))
    median = float(np.median(changes))
    return float(changes.max()) / median if median > 0 else None


def otsu(values: np.ndarray) -> float:
    """The level that maximises the variance between the values above and those not above it (Otsu 1979).

    Where a gap in the values makes many levels equally good, the middle of the gap.
    """
    counts, edges = np.histogram(values, bins=OTSU_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    between = np.nan_to_num(between)
    return float(np.median(edges[1:-1][between == between.max()]))


def _extremes(plane: np.ndarray) -> tuple[float, float]:
    return plane.min().item(), plane.max().item()


def _nan_share(array: np.ndarray) -> float:
    if array.dtype.kind != "f":
        return 0.0
    return 1 - sum(int(np.count_nonzero(np.isfinite(array[:, :, k]))) for k in range(array.shape[2])) / array.size


def _whole_slices(array: np.ndarray) -> np.ndarray:
    """Evenly spaced slices from the middle of as many equal parts of the stack."""
    count = min(SLICES, array.shape[2])
    return array[:, :, [int((part + 0.5) * array.shape[2] / count) for part in range(count)]]
