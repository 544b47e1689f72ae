"""Linear resampling of a regular grid onto another one with the same directions, with an anti-alias filter.

Belongs here: the arithmetic along the axes, in voxel units. Does not belong here: which grid is wanted, what the axes
mean in the patient, records of what was done (`oncurate.harmonise`).

Grids that share their directions make trilinear interpolation a product of three one-dimensional operators, and a
Gaussian is one too. Both are folded into one sparse matrix an axis and applied plane by plane: memory holds the output
and a few planes, and the cost is a fraction of a general resampler's. Sums run in a fixed order on one thread, so that
the same input gives the same bytes on every worker; a BLAS, which chooses its kernel by processor, would not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

SAME_SPACING = 1e-6
"""Relative difference of two spacings below which they are one, and the axis is left alone. Float32 headers differ by
6e-8; over 1,000 voxels 1e-6 moves the last one by a thousandth of a voxel."""

TRUNCATE = 3.0
"""Half width of the Gaussian in standard deviations: 99.7 % of its weight; the rest is made up by normalisation."""


@dataclass(frozen=True)
class Axis:
    """How one axis is sampled: `size` samples, the first at source index `start`, `step` source voxels apart.

    `sigma` is the standard deviation of the anti-alias Gaussian in source voxels; 0 means none.
    """

    source_size: int
    size: int
    start: float
    step: float
    sigma: float

    @property
    def reach(self) -> int:
        """Source voxels to each side that the Gaussian takes in; 0 where it is too narrow to change anything."""
        return int(TRUNCATE * self.sigma + 0.5)

    @property
    def is_identity(self) -> bool:
        """Whether every sample is the source voxel of the same index."""
        return self.size == self.source_size and self.start == 0 and self.step == 1 and self.sigma == 0


def plan_axis(size: int, spacing: float, target: float, *, anti_alias: bool) -> Axis:
    """Samples `target` mm apart over the extent (edge to edge) of `size` voxels of `spacing` mm, centred on it.

    The extent is met to within half a target voxel. The Gaussian turns the source's sampling profile into the target's
    when both are taken as Gaussians whose full width at half maximum is the spacing: sigma^2 = (target^2 - spacing^2) /
    (8 ln 2) (Cardoso et al., Scale factor point spread function matching, MICCAI 2015); only when down-sampling.
    """
    step = target / spacing
    if abs(step - 1) <= SAME_SPACING:
        return Axis(source_size=size, size=size, start=0.0, step=1.0, sigma=0.0)
    samples = max(1, math.floor(size / step + 0.5))
    start = (size - samples * step) / 2 + step / 2 - 0.5
    sigma = math.sqrt((step**2 - 1) / (8 * math.log(2))) if anti_alias and step > 1 else 0.0
    return Axis(source_size=size, size=samples, start=start, step=step, sigma=sigma)


def weights(axis: Axis, dtype: np.dtype) -> sparse.csr_array:
    """The operator of an axis, (samples, source voxels): Gaussian, then linear interpolation; rows sum to 1.

    Where it reaches beyond the first or last voxel, that voxel's value goes on: no value is invented.
    """
    last = axis.source_size - 1
    position = np.clip(axis.start + axis.step * np.arange(axis.size), 0, last)
    lower = np.floor(position).astype(np.int64)
    fraction = position - lower
    offsets = np.arange(-axis.reach, axis.reach + 1)
    kernel = np.exp(-0.5 * (offsets / axis.sigma) ** 2) if axis.reach else np.ones(1)
    kernel /= kernel.sum()
    columns = lower[:, None] + np.arange(-axis.reach, axis.reach + 2)
    values = np.zeros(columns.shape)
    values[:, :-1] = (1 - fraction)[:, None] * kernel
    values[:, 1:] += fraction[:, None] * kernel
    rows = np.repeat(np.arange(axis.size), columns.shape[1])
    entries = (values.ravel(), (rows, np.clip(columns, 0, last).ravel()))
    matrix = sparse.coo_array(entries, shape=(axis.size, axis.source_size)).tocsr()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix.astype(dtype)


def resample(array: np.ndarray, axes: Sequence[Axis], clip: tuple[float, float] | None, dtype: np.dtype) -> np.ndarray:
    """`array` (three axes, any memory order) sampled along `axes`, in the source's memory order.

    Values are clipped before, and rounded half to even if `dtype` is an integer type. Works in float32, or in float64
    where float32 does not hold the source's values.
    """
    order = sorted(range(3), key=lambda a: -abs(array.strides[a]))
    source = array.transpose(order)
    work = np.dtype(np.float32) if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.dtype(np.float64)
    operators = [None if axes[a].is_identity else weights(axes[a], work) for a in order]
    out = np.empty([axes[a].size for a in order], dtype)
    for index, plane in enumerate(_planes(source, operators, clip, work)):
        out[index] = np.rint(plane, out=plane) if np.issubdtype(dtype, np.integer) else plane
    return out.transpose(np.argsort(order))


def _planes(
    source: np.ndarray, operators: Sequence[sparse.csr_array | None], clip: tuple[float, float] | None, work: np.dtype
) -> Iterator[np.ndarray]:
    """The output's planes along the first axis, each a fresh array; only source planes still needed are held."""
    across, down, along = operators

    def read(index: int) -> np.ndarray:
        plane = source[index] if clip is None else np.clip(source[index], *clip)
        return np.array(plane, dtype=work, order="C")

    def in_plane(plane: np.ndarray) -> np.ndarray:
        if down is not None:
            plane = down @ plane
        if along is not None:
            plane = np.ascontiguousarray((along @ np.ascontiguousarray(plane.T)).T)
        return plane

    if across is None:
        for index in range(source.shape[0]):
            yield in_plane(read(index))
        return
    combine_first = across.shape[0] < across.shape[1]  # fewer planes come out than go in: work on those
    held: dict[int, np.ndarray] = {}
    for row in range(across.shape[0]):
        entries = slice(across.indptr[row], across.indptr[row + 1])
        needed = across.indices[entries]
        for index in [i for i in held if i < needed[0]]:
            del held[index]
        for index in needed:
            if index not in held:
                held[index] = read(index) if combine_first else in_plane(read(index))
        terms = [held[index] * weight for index, weight in zip(needed, across.data[entries], strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total += term
        yield in_plane(total) if combine_first else total
