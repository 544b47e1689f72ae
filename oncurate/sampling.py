"""A fixed subset of a volume's voxels, for statistics that do not need them all.

Belongs here: which voxels are taken, brightness of colour, percentiles. Does not belong here: metrics
(`oncurate.quality`), display windows (`oncurate.preview`).
"""

from __future__ import annotations

import numpy as np

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness, ITU-R BT.601."""


def subsample(array: np.ndarray, limit: int) -> np.ndarray:
    """A strided view of at most `limit` voxels: the stride grows on the axis that still has most samples.

    The same shape always gives the same voxels; the first three axes are thinned, a channel axis is not.
    """
    strides = [1, 1, 1]
    counts = list(array.shape[:3])
    while counts[0] * counts[1] * counts[2] > limit:
        widest = counts.index(max(counts))
        strides[widest] += 1
        counts[widest] = -(-array.shape[widest] // strides[widest])
    return array[tuple(slice(None, None, step) for step in strides)]


def luminance(array: np.ndarray) -> np.ndarray:
    """Brightness of RGB voxels `[i, j, k, channel]` as float32 `[i, j, k]`."""
    return sum(array[..., channel] * np.float32(weight) for channel, weight in enumerate(LUMINANCE))


def percentiles(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of `values`, each a value that occurs."""
    lower, upper = np.percentile(values, (low, high), method="nearest")
    return float(lower), float(upper)
