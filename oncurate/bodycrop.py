"""Cutting a grid to the body and padding it to a size, in a way that can be undone and repeated on a label map.

Belongs here: finding the body's box, moving an affine with it, the record of both steps, undoing and replaying them.
Does not belong here: whether a profile asks for it (`oncurate.profiles`), interpolation (`oncurate.resample`).

No voxel changes its value or its place in the patient. A label map is never cut by a box of its own: `replay` does to
it what was done to its image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from oncurate.image import Image
from oncurate.quality import BODY_HU, otsu
from oncurate.records import Step
from oncurate.sampling import luminance, percentiles, subsample

COARSE_MM = 3.0
"""The body is looked for on a grid thinned to about this spacing: skin is thicker, and a box needs no finer edge. The
box is widened by one thinned voxel, so that it cannot cut what the thinning missed."""

CLOSING_MM = 6.0
"""Gaps up to about this width are closed before parts are told apart: fingers, ears and noise holes stay attached."""

OTSU_SAMPLE = 2**20
"""Voxels for Otsu's level, as in the quality metrics."""

Triple = tuple[int, int, int]


def crop(image: Image, *, is_hu: bool, margin_mm: float) -> tuple[Image, Step]:
    """`image` cut to the box of its body (a view) and the step, whose box is in voxels of the uncropped grid.

    The body is the largest connected part above -500 HU (`is_hu`), else above Otsu's level; of a 4-D image, the box
    that holds it in every repetition. Where there is no such part, or no pixel size, nothing is cut.
    """
    boxes = [_body_box(image.repetition(n), is_hu=is_hu) for n in range(image.count)] if image.has_unit else []
    found = [box for box in boxes if box is not None]
    start, stop = [0, 0, 0], list(image.shape)
    if found:
        for axis, (size, spacing) in enumerate(zip(image.shape, image.spacing, strict=True)):
            margin = math.ceil(margin_mm / spacing)
            start[axis] = max(0, min(box[axis].start for box in found) - margin)
            stop[axis] = min(size, max(box[axis].stop for box in found) + margin)
    arguments = {
        "applied": bool(found) and (start != [0, 0, 0] or stop != list(image.shape)),
        "to": "body",
        "above": "-500 HU" if is_hu else "Otsu's level",
        "margin_mm": margin_mm,
        "from_shape": list(image.shape),
        "start": start,
        "stop": stop,
    }
    return _cut(image, start, stop), Step(name="crop", arguments=arguments)


def padding(shape: Triple, multiple: Triple) -> tuple[Triple, Triple]:
    """Voxels to add before and after each axis to reach the next multiple; an odd one goes after."""
    missing = [-size % step for size, step in zip(shape, multiple, strict=True)]
    before = tuple(m // 2 for m in missing)
    return before, tuple(m - b for m, b in zip(missing, before, strict=True))  # type: ignore[return-value]


def pad(image: Image, before: Triple, after: Triple, value: float) -> tuple[Image, Step]:
    """`image` with that many voxels of `value` added before and after each axis, and the step.

    Where the voxel type does not hold `value`, the nearest that it holds. The memory order stays.
    """
    if image.array.dtype.kind in "iu":
        limits = np.iinfo(image.array.dtype)
        value = min(max(math.ceil(value), limits.min), limits.max)
    arguments = {
        "applied": any(before) or any(after),
        "from_shape": list(image.shape),
        "before": list(before),
        "after": list(after),
        "value": value,
    }
    return _extended(image, before, after, value), Step(name="pad", arguments=arguments)


def replay(image: Image, steps: Iterable[Step], value: float = 0) -> Image:
    """Another image on the grid that `steps` began with, cut and padded (with `value`) as they say."""
    for step in steps:
        if step.name == "crop":
            image = _cut(image, step.arguments["start"], step.arguments["stop"])
        elif step.name == "pad":
            image = _extended(image, step.arguments["before"], step.arguments["after"], value)
    return image


def undo(image: Image, steps: Iterable[Step], value: float = 0) -> Image:
    """The image on the grid before `steps` cut and padded it; what was cut away becomes `value`."""
    for step in reversed(list(steps)):
        said = step.arguments
        if step.name == "pad":
            stop = [size - after for size, after in zip(image.shape, said["after"], strict=True)]
            image = _cut(image, said["before"], stop)
        elif step.name == "crop":
            after = [size - stop for size, stop in zip(said["from_shape"], said["stop"], strict=True)]
            image = _extended(image, said["start"], after, value)
    return image


def _body_box(image: Image, *, is_hu: bool) -> tuple[slice, slice, slice] | None:
    """The box of the body in one 3-D image, in voxels; None where nothing is above the level."""
    stride = [max(1, int(COARSE_MM // spacing)) for spacing in image.spacing]
    array = image.array[tuple(slice(None, None, step) for step in stride)]
    if image.is_colour:
        array = luminance(array)
    above = array > (BODY_HU if is_hu else foreground_level(array))
    reach = [max(1, round(CLOSING_MM / 2 / (s * step))) for s, step in zip(image.spacing, stride, strict=True)]
    parts, count = ndimage.label(_closed(above, reach))
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    box = ndimage.find_objects(parts)[int(np.argmax(sizes[1:]))]
    ends = zip(box, stride, image.shape, strict=True)
    return tuple(slice(max(0, (b.start - 1) * n + 1), min(size, b.stop * n)) for b, n, size in ends)  # type: ignore[return-value]


def foreground_level(array: np.ndarray) -> float:
    """Otsu's level of an image without a unit; extremes beyond the 1st and 99th percentile do not move it."""
    values = subsample(array, OTSU_SAMPLE).ravel().astype(np.float64)
    return otsu(np.clip(values, *percentiles(values, 1, 99)))


def _closed(mask: np.ndarray, reach: list[int]) -> np.ndarray:
    """`mask` with gaps of up to twice `reach` voxels closed; the border is no gap."""
    wide = np.pad(mask, [(r, r) for r in reach])
    size = [2 * r + 1 for r in reach]
    closed = ndimage.minimum_filter(ndimage.maximum_filter(wide, size, mode="constant"), size, mode="constant", cval=1)
    return closed[tuple(slice(r, -r) for r in reach)]


def _cut(image: Image, start: list[int], stop: list[int]) -> Image:
    array = image.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(start, float)
    return replace(image, array=array, affine=affine)


def _extended(image: Image, before: Iterable[int], after: Iterable[int], value: float) -> Image:
    before, after = list(before), list(after)
    if not any(before) and not any(after):
        return image
    array = image.array
    order = sorted(range(array.ndim), key=lambda a: -abs(array.strides[a]))
    shape = [b + n + a for b, n, a in zip(before, image.shape, after, strict=True)] + list(array.shape[3:])
    wide = np.full([shape[a] for a in order], value, array.dtype).transpose(np.argsort(order))
    wide[tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))] = array
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.array(before, float)
    return replace(image, array=wide, affine=affine)
