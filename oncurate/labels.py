"""Label maps on another grid: each label keeps the volume that it had.

Belongs here: resampling a label map onto the grid of its harmonised image, and what that did to each label's volume.
Does not belong here: where label maps come from, files, the grid of the image (`oncurate.harmonise`).

Each label is resampled like an image of zeros and ones, which gives its share of every voxel of the new grid. Sorted by
that share alone (the largest wins), thin structures would vanish and small ones shrink. So each label has a handicap,
added to its share: the handicaps are chosen such that each label, against its neighbours and the background, wins as
many voxels as its volume asks for. Where the background has no share, some label wins: no gap opens between two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage, sparse

from oncurate.contest import Contest
from oncurate.errors import Defect
from oncurate.harmonise import turned
from oncurate.image import Image
from oncurate.records import GridImage, Record
from oncurate.resample import Axis, matching_sigma, weights

TOLERANCE = 0.01
"""Relative change of a label's volume that is within tolerance."""

LEAST_VOXELS = 50
"""Voxels of the new grid that a label must fill for the tolerance to be possible: half a voxel of rounding is 1 %."""

YIELDING_VOXELS = 10
"""Voxels from which a label that is too small for the tolerance may miss one, if its neighbours need it."""

SURE = 1 - 1e-5
"""A share above it leaves nothing to decide."""

NEGLIGIBLE = 1e-3
"""A share below it is none: the tail of the filter. Labels under LEAST_VOXELS keep a thousandth of that."""

STEP_TOLERANCE, PLACE_TOLERANCE = 1e-6, 1e-3
"""Voxels: below, two spacings are one, and two voxel centres are one (NIfTI keeps its matrix in float32)."""

TURN_TOLERANCE = 0.1
"""Voxels by which an axis may stray from its counterpart over the whole volume before the grids count as turned."""

BLOCK_VOXELS = 2**24
"""Voxels of the new grid for which a label's share is held at a time: 64 MB."""

LARGEST_LABEL = 2**20
"""The largest label value that is taken: a list entry a value is affordable up to here."""


class LabelVolume(Record):
    """What resampling did to one label.

    Volumes are in mm3, or in voxels where the image has no pixel size. `voxels_outside` are those of the old grid that
    the new one does not reach; their volume is missed. `grid_allows` is False where the label is too small, or cut off,
    for its volume to be kept within the tolerance.
    """

    label: int
    voxels_before: int
    voxels_after: int
    voxels_outside: int
    volume_before_mm3: float
    volume_after_mm3: float
    relative_change: float
    grid_allows: bool
    within_tolerance: bool


def resample_labels(labels: Image, like: Image | GridImage) -> tuple[Image, tuple[LabelVolume, ...]]:
    """`labels` on the grid of `like`, and a row for each label, in the order of their values.

    `labels`: 3-D, integers, 0 is background, none below; its grid has the directions of `like` up to exchanged and
    reversed axes. Every label that the new grid reaches asks for a voxel at least. On the same grid nothing
    changes. Defect where the labels or the two grids are not so.
    """
    if labels.array.ndim != 3 or labels.array.dtype.kind not in "iu":
        raise Defect("a label map must have three axes and integer values")
    affine = np.array(like.affine, float).reshape(4, 4)
    shape = tuple(like.shape[:3])
    source, axes = _aligned(labels, affine, shape)
    found = _labels_of(source.array)
    if all(axis.is_identity for axis in axes):
        array, after = source.array, [label.voxels for label in found]
        outside = [0] * len(found)
    else:
        array, outside = _resampled(source.array, axes, found)
        counts = _counts(array, [label.value for label in found])
        after = [counts[label.value] for label in found]
    sizes = [float(abs(np.linalg.det(a[:3, :3]))) for a in (labels.affine, affine)]
    rows = [_row(label, a, o, *sizes) for label, a, o in zip(found, after, outside, strict=True)]
    return replace(source, array=array, affine=affine), tuple(rows)


@dataclass(frozen=True)
class _Label:
    """One label of the source: its value, where it lies, how large it is."""

    value: int
    box: tuple[slice, slice, slice]
    voxels: int


@dataclass(frozen=True)
class _Reach:
    """An axis's operator, and for each of its samples the first and last source voxel that it takes from."""

    operator: sparse.csr_array
    first: np.ndarray
    last: np.ndarray

    def samples(self, source: slice) -> tuple[int, int]:
        """Samples (from, to) that take from some voxel of `source`; from = to where none does."""
        rows = np.flatnonzero((self.last >= source.start) & (self.first < source.stop))
        return (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 0)


def _aligned(labels: Image, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[Image, tuple[Axis, ...]]:
    """The labels turned so that their axes are those of the new grid, and how each is sampled."""
    steps = np.linalg.solve(affine[:3, :3], labels.affine[:3, :3])  # (new axis, old axis): new voxels per old voxel
    order = tuple(int(a) for a in np.argmax(np.abs(steps), axis=1))
    stray = np.abs(steps * np.array(labels.shape))
    for place, axis in enumerate(order):
        stray[place, axis] = 0
    if sorted(order) != [0, 1, 2] or stray.max() > TURN_TOLERANCE:
        raise Defect("a label map's grid is turned against the grid of its image")
    flipped = tuple(bool(steps[place, axis] < 0) for place, axis in enumerate(order))
    source = turned(labels, order, flipped)
    back = np.linalg.solve(source.affine, affine)  # new voxel index -> old voxel index
    axes = []
    for place, (old, new) in enumerate(zip(source.shape, shape, strict=True)):
        step, start = float(back[place, place]), float(back[place, 3])
        if abs(step - 1) <= STEP_TOLERANCE:
            step = 1.0
            start = round(start) if abs(start - round(start)) <= PLACE_TOLERANCE else start
        axes.append(Axis(source_size=old, size=new, start=float(start), step=step, sigma=matching_sigma(step)))
    return source, tuple(axes)


def _labels_of(array: np.ndarray) -> list[_Label]:
    """The labels of an array, by value; boxes are in its own axes."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0:
        raise Defect("a label map has values below 0")
    if high > LARGEST_LABEL:
        raise Defect(f"a label map has values above {LARGEST_LABEL}")
    boxes = ndimage.find_objects(array, high) if high else []
    counts = _counts(array, [value for value, box in enumerate(boxes, 1) if box is not None])
    return [_Label(v, box, counts[v]) for v, box in enumerate(boxes, 1) if box is not None]


def _counts(array: np.ndarray, values: list[int]) -> dict[int, int]:
    """Voxels of each of `values`; plane by plane, for counting needs 8 bytes a voxel."""
    total = np.zeros(max(values, default=0) + 1, np.int64)
    for plane in array:
        total += np.bincount(plane.ravel(), minlength=len(total))
    return {value: int(total[value]) for value in values}


def _resampled(array: np.ndarray, axes: tuple[Axis, ...], found: list[_Label]) -> tuple[np.ndarray, list[int]]:
    """The labels on the new grid, stored last axis slowest as in a NIfTI file, and how much of each lies outside."""
    reaches = [_reach(axis) for axis in axes]
    shape = tuple(axis.size for axis in axes)
    out = np.zeros(shape[::-1], array.dtype).T
    shrinks = float(np.prod([axis.step for axis in axes]))  # old voxels per new one
    contest = Contest(len(found))
    outside = []
    for number, label in enumerate(found):
        inside = _inside(array, label, axes)
        outside.append(label.voxels - inside)
        wanted = max(1, round(inside / shrinks)) if inside else 0
        cut = NEGLIGIBLE if inside / shrinks >= LEAST_VOXELS else NEGLIGIBLE / 1000
        sure = 0
        for corner, share in _shares(array, label, reaches) if wanted else ():
            place = tuple(slice(c, c + n) for c, n in zip(corner, share.shape, strict=True))
            certain = share > SURE
            out[place][certain] = label.value
            sure += int(np.count_nonzero(certain))
            at = np.nonzero((share > cut) & ~certain)
            voxel = np.ravel_multi_index([i + c for i, c in zip(at, corner, strict=True)], shape)
            contest.enter(number, voxel, share[at], _distance(at, corner, label, axes))
        contest.ask(number, max(0, wanted - sure), slack=_slack(wanted))
    values = np.array([label.value for label in found], array.dtype)
    voxel, winner = contest.decide()
    out[np.unravel_index(voxel, shape)] = values[winner]
    return out, outside


def _slack(wanted: int) -> int:
    """Voxels that a label may miss: half the tolerance. One too small for the tolerance gives way to its neighbours."""
    return 1 if YIELDING_VOXELS <= wanted < LEAST_VOXELS else int(wanted * TOLERANCE / 2)


def _reach(axis: Axis) -> _Reach:
    """The operator of an axis; a sample counts as far as it lies on the old grid, for beyond it there is no label."""
    operator = weights(axis, np.dtype(np.float32))
    middle = axis.start + axis.step * np.arange(axis.size)
    ends = np.minimum(middle + axis.step / 2, axis.source_size - 0.5)
    covered = np.clip((ends - np.maximum(middle - axis.step / 2, -0.5)) / axis.step, 0, 1)
    covered[covered > 1 - PLACE_TOLERANCE] = 1
    operator.data *= np.repeat(covered, np.diff(operator.indptr)).astype(np.float32)
    operator.eliminate_zeros()
    first, last = np.full(axis.size, axis.source_size), np.full(axis.size, -1)
    filled = np.diff(operator.indptr) > 0
    first[filled] = operator.indices[operator.indptr[:-1][filled]]
    last[filled] = operator.indices[operator.indptr[1:][filled] - 1]
    return _Reach(operator, first, last)


def _inside(array: np.ndarray, label: _Label, axes: tuple[Axis, ...]) -> int:
    """Voxels of the label within the new grid: a harmonised grid may fall short of the old by a quarter voxel."""
    box = []
    for axis, span in zip(axes, label.box, strict=True):
        low = axis.start - 0.75 * axis.step
        high = axis.start + (axis.size - 0.25) * axis.step
        box.append(slice(max(span.start, int(np.ceil(low))), max(0, min(span.stop, int(np.floor(high)) + 1))))
    if tuple(box) == label.box:
        return label.voxels
    return int(np.count_nonzero(array[tuple(box)] == label.value))


def _shares(
    array: np.ndarray, label: _Label, reaches: list[_Reach]
) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """The label's share of the new voxels around it, block by block: the block's first voxel, float32 `[i, j, k]`."""
    spans = [reach.samples(span) for reach, span in zip(reaches, label.box, strict=True)]
    if any(begin == end for begin, end in spans):
        return
    (begin, end), across, along = spans
    thick = max(1, BLOCK_VOXELS // ((across[1] - across[0]) * (along[1] - along[0])))
    for start in range(begin, end, thick):
        stop = min(end, start + thick)
        taken = []
        for reach, span, (low, high) in zip(reaches, label.box, ((start, stop), across, along), strict=True):
            begins = max(span.start, int(reach.first[low:high].min()))
            taken.append(slice(begins, max(begins, min(span.stop, int(reach.last[low:high].max()) + 1))))
        block = (array[tuple(taken)] == label.value).astype(np.float32, order="C")
        for axis, (reach, (low, high)) in enumerate(zip(reaches, ((start, stop), across, along), strict=True)):
            block = _along(reach.operator[low:high, taken[axis]], block, axis)
        yield (start, across[0], along[0]), block


def _along(operator: sparse.csr_array, block: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(block, axis, 0)
    result = operator @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
    return np.moveaxis(result.reshape(-1, *moved.shape[1:]), 0, axis)


def _distance(at: tuple[np.ndarray, ...], corner: tuple[int, ...], label: _Label, axes: tuple[Axis, ...]) -> np.ndarray:
    """Squared distance of voxels from the middle of the label's box, in old voxels: what ties are broken by."""
    total = np.zeros(at[0].shape, np.float32)
    for index, first, span, axis in zip(at, corner, label.box, axes, strict=True):
        middle = (span.start + span.stop - 1) / 2
        total += ((index + first) * axis.step + axis.start - middle).astype(np.float32) ** 2
    return total


def _row(label: _Label, after: int, outside: int, size_before: float, size_after: float) -> LabelVolume:
    before_mm3, after_mm3 = label.voxels * size_before, after * size_after
    change = after_mm3 / before_mm3 - 1
    return LabelVolume(
        label=label.value,
        voxels_before=label.voxels,
        voxels_after=after,
        voxels_outside=outside,
        volume_before_mm3=before_mm3,
        volume_after_mm3=after_mm3,
        relative_change=change,
        grid_allows=outside == 0 and before_mm3 >= LEAST_VOXELS * size_after,
        within_tolerance=abs(change) <= TOLERANCE,
    )
