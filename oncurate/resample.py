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
from collections.abc import Callable, Sequence
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

    The extent is met to within half a target voxel.
    """
    step = target / spacing
    if abs(step - 1) <= SAME_SPACING:
        return Axis(source_size=size, size=size, start=0.0, step=1.0, sigma=0.0)
    samples = max(1, math.floor(size / step + 0.5))
    start = (size - samples * step) / 2 + step / 2 - 0.5
    return Axis(
        source_size=size, size=samples, start=start, step=step, sigma=matching_sigma(step) if anti_alias else 0.0
    )


def matching_sigma(step: float) -> float:
    """Standard deviation, in source voxels, of the Gaussian to apply before sampling every `step` source voxels.

    It turns the source's sampling profile into the target's when both are taken as Gaussians whose full width at half
    maximum is the spacing: sigma^2 = (target^2 - spacing^2) / (8 ln 2) (Cardoso et al., Scale factor point spread
    function matching, MICCAI 2015). 0 unless down-sampling.
    """
    return math.sqrt((step**2 - 1) / (8 * math.log(2))) if step > 1 else 0.0


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


@dataclass(frozen=True)
class Before:
    """What is done to each value before any filter, in this order.

    Values from `padding[0]` to `padding[1]` become `filler`; then all are clipped; then multiplied by `scale`.
    """

    padding: tuple[float, float] | None = None
    filler: float = 0
    clip: tuple[float, float] | None = None
    scale: float | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether every value stays."""
        return self.padding is None and self.clip is None and self.scale in (None, 1)


NOTHING = Before()


def resample(
    array: np.ndarray, axes: Sequence[Axis], dtype: np.dtype, before: Before = NOTHING, *, channels: bool = False
) -> np.ndarray:
    """`array` sampled along `axes`, which are its first three; each index of its other axes is an image of its own.

    Values are rounded half to even if `dtype` is an integer type. Works in float32, or in float64 where float32 does
    not hold the source's values; in the source's own type where the grid stays and nothing is scaled.

    The result is one block of memory. Each image lies in it in the memory order of the source, one after the other;
    only a last axis of `channels` stays fastest.
    """
    order = sorted(range(3), key=lambda a: -abs(array.strides[a]))
    work = _work_type(array.dtype, axes, before)
    operators = [None if axes[a].is_identity else weights(axes[a], work) for a in order]
    repetitions, last = (array.shape[3:-1], array.shape[-1:]) if channels else (array.shape[3:], ())
    stored = np.empty((*repetitions, *(axes[a].size for a in order), *last), dtype)
    axis = len(repetitions)
    result = stored.transpose(
        *(axis + place for place in np.argsort(order)), *range(axis), *range(axis + 3, stored.ndim)
    )
    sweep = _Sweep([array.shape[a] for a in order], operators, before, work)
    for index in np.ndindex(array.shape[3:]):
        sweep(array[(..., *index)].transpose(order), result[(..., *index)].transpose(order))
    return result


def _work_type(dtype: np.dtype, axes: Sequence[Axis], before: Before) -> np.dtype:
    if before.scale is None and all(axis.is_identity for axis in axes):
        return dtype
    exact = dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype(np.float32) if exact else np.dtype(np.float64)


class _Sweep:
    """Resamples one image plane by plane along its first axis; buffers are made once and used for every image."""

    def __init__(
        self,
        shape: Sequence[int],
        operators: Sequence[sparse.csr_array | None],
        before: Before,
        work: np.dtype,
    ) -> None:
        self.across, self.down, self.along = operators
        self.before = before
        rows, columns = (n if o is None else o.shape[0] for n, o in zip(shape[1:], operators[1:], strict=True))
        self.native = np.empty(shape[1:], work)
        self.turned = np.empty((shape[2], rows), work)
        self.final = np.empty((rows, columns), work)

    def __call__(self, source: np.ndarray, target: np.ndarray) -> None:
        """Fill `target` from `source`; both have their axes in the order of the operators."""
        if self.across is None:
            for index, plane in enumerate(source):
                _store(target[index], self._in_plane(self._read(plane, self.native)))
        elif self.across.shape[0] < self.across.shape[1]:  # fewer planes come out than go in: combine them first
            window = _Window(self.across, lambda at, out: self._read(source[at], out), self.native)
            for row in range(len(target)):
                _store(target[row], self._in_plane(window.sum(row, self.native)))
        else:
            window = _Window(self.across, lambda at, out: self._load(source[at], out), self.final)
            direct = target.dtype == self.final.dtype
            for row in range(len(target)):
                plane = window.sum(row, target[row] if direct else self.final)
                if not direct:
                    _store(target[row], plane)

    def _load(self, plane: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self.down is None and self.along is None:
            return self._read(plane, out)
        np.copyto(out, self._in_plane(self._read(plane, self.native)))
        return out

    def _read(self, plane: np.ndarray, out: np.ndarray) -> np.ndarray:
        before = self.before
        if before.clip is not None and before.padding is None:
            np.clip(plane, *before.clip, out=out)
        else:
            np.copyto(out, plane)
        if before.padding is not None:
            out[(plane >= before.padding[0]) & (plane <= before.padding[1])] = before.filler
            if before.clip is not None:
                np.clip(out, *before.clip, out=out)
        if before.scale is not None:
            out *= out.dtype.type(before.scale)
        return out

    def _in_plane(self, plane: np.ndarray) -> np.ndarray:
        """The plane resampled along both its axes; itself where both stay."""
        if self.down is not None:
            plane = self.down @ plane
        if self.along is not None:
            np.copyto(self.turned, plane.T)
            plane = (self.along @ self.turned).T
        return plane


class _Window:
    """The source planes that are still needed, and their weighted sums; `load(index, out)` fills one."""

    def __init__(self, across: sparse.csr_array, load: Callable[[int, np.ndarray], object], like: np.ndarray) -> None:
        self.across, self.load = across, load
        self.held: dict[int, np.ndarray] = {}
        self.free: list[np.ndarray] = []
        self.term = np.empty_like(like)

    def sum(self, row: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` with the plane of one row of the operator; rows have to be asked for in order."""
        entries = slice(self.across.indptr[row], self.across.indptr[row + 1])
        needed, weight = self.across.indices[entries], self.across.data[entries]
        for index in [i for i in self.held if i < needed[0]]:
            self.free.append(self.held.pop(index))
        for index in needed:
            if index not in self.held:
                self.held[index] = self.free.pop() if self.free else np.empty_like(self.term)
                self.load(index, self.held[index])
        np.multiply(self.held[needed[0]], weight[0], out=out)
        for index, factor in zip(needed[1:], weight[1:], strict=True):
            out += np.multiply(self.held[index], factor, out=self.term)
        return out


def _store(target: np.ndarray, plane: np.ndarray) -> None:
    """Put a plane into the result, rounded where the result holds integers; the plane is used up."""
    if target.dtype.kind in "iu" and plane.dtype.kind == "f":
        np.rint(plane, out=plane)
    np.copyto(target, plane, casting="unsafe")
