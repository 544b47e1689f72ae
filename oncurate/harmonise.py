"""Brings a volume to its profile: canonical orientation, value range, target grid, voxel type.

Belongs here: the steps in their order, what each does to the affine, and the record of each with all its arguments.
Does not belong here: which profile (`oncurate.profiles`), the arithmetic of interpolation (`oncurate.resample`),
finding the body (`oncurate.bodycrop`), label maps (`oncurate.labels`), reading or writing files.

Order: orient, padding, clip, suvbw, anti-alias, resample, cast, crop, pad. Padding and clipping come before any filter,
so that padding values cannot bleed into tissue. The grid keeps the image's own directions, also when they are oblique:
nothing is interpolated only to turn it. Every repetition of a 4-D image is treated alike, on one grid.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np

from oncurate import bodycrop
from oncurate.errors import Rejection
from oncurate.image import Image
from oncurate.profiles import Profile
from oncurate.reasons import Reason
from oncurate.records import Step
from oncurate.resample import TRUNCATE, Axis, Before, plan_axis, resample

HU = "HU"
"""The unit of a profile whose body is told from air by its Hounsfield units."""

SUV_UNIT = "SUVbw g/ml"
"""The unit of values after the `suvbw` step, spelt as convert spells that of values that arrive as SUVbw."""

_TOWARDS = (("L", "R"), ("P", "A"), ("I", "S"))
_TIE = 9
"""Decimals to which alignments are compared, so that 45-degree ties do not hang on rounding noise."""

Range = tuple[float, float]


def harmonise(
    image: Image, profile: Profile, *, padding: Range | None = None, scale: float | None = None
) -> tuple[Image, tuple[Step, ...]]:
    """`image` on its profile's grid, and every step with its arguments, also those that found nothing to do.

    `padding`: values from the first to the second, in the image's unit, are no image; where the profile clips, they
    become its lowest value. `scale`: what turns the image's unit into SUVbw (g/ml); used where the profile has `suv`.
    Where nothing changes voxels, the result shares its memory with `image`.

    Rejection: VALUES_NOT_FINITE, or GRID_TOO_LARGE before anything is allocated.
    """
    if image.array.dtype.kind == "f" and not _all_finite(image.array):
        raise Rejection(Reason.VALUES_NOT_FINITE, "native voxels") from None
    oriented, orient_step = _orient_step(image, profile)
    axes = _axes(oriented, profile)
    _check_size([axis.size for axis in axes], image.count, profile)
    scale = scale if profile.suv and not image.is_colour else None
    before, value_steps = _values(oriented, profile, padding, scale)
    keep_type = profile.dtype == "keep" or image.is_colour
    dtype = image.array.dtype if keep_type else np.dtype(profile.dtype)
    array = oriented.array
    if not (before.is_nothing and dtype == array.dtype and all(axis.is_identity for axis in axes)):
        array = resample(array, axes, dtype, before, channels=image.is_colour)
    result = replace(oriented, array=array, affine=_affine(oriented.affine, axes))
    grid_steps = _grid_steps(oriented, result, axes, profile)
    cast = {
        "applied": dtype != image.array.dtype,
        "from": image.array.dtype.name,
        "to": dtype.name,
        "rounding": "half to even" if dtype.kind in "iu" else "none",
    }
    result, frame_steps = _frame(result, profile)
    return result, (orient_step, *value_steps, *grid_steps, Step(name="cast", arguments=cast), *frame_steps)


def orient(image: Image) -> tuple[Image, tuple[int, int, int], tuple[bool, bool, bool]]:
    """`image` with its axes closest to right, anterior, superior; which axis became each, and which were flipped.

    A view: axes are exchanged and reversed, no voxel changes, and every voxel keeps its place in the patient.
    """
    cosines = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    axes = max(
        itertools.permutations(range(3)),
        key=lambda p: round(float(sum(abs(cosines[world, axis]) for world, axis in enumerate(p))), _TIE),
    )
    flipped = tuple(bool(cosines[world, axis] < 0) for world, axis in enumerate(axes))
    return turned(image, axes, flipped), axes, flipped  # type: ignore[return-value] # 3 each


def turned(image: Image, axes: tuple[int, ...], flipped: tuple[bool, ...]) -> Image:
    """`image` with its axes in the order `axes`, reversed where `flipped` (in the new order); a view."""
    array = image.array.transpose(*axes, *range(3, image.array.ndim))
    array = array[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    affine = image.affine.copy()
    for place, (axis, flip) in enumerate(zip(axes, flipped, strict=True)):
        column = image.affine[:3, axis]
        affine[:3, place] = -column if flip else column
        if flip:
            affine[:3, 3] += column * (image.shape[axis] - 1)
    return replace(image, array=array, affine=affine)


def _orient_step(image: Image, profile: Profile) -> tuple[Image, Step]:
    if profile.orientation is None or not image.in_patient:
        return image, Step(name="orient", arguments={"applied": False})
    oriented, axes, flipped = orient(image)
    was = ["", "", ""]
    for world, (axis, flip) in enumerate(zip(axes, flipped, strict=True)):
        was[axis] = _TOWARDS[world][not flip]
    changed = axes != (0, 1, 2) or any(flipped)
    arguments = {"applied": changed, "from": "".join(was), "to": profile.orientation}
    return oriented, Step(name="orient", arguments={**arguments, "axes": list(axes), "flipped": list(flipped)})


def _axes(image: Image, profile: Profile) -> tuple[Axis, Axis, Axis]:
    """The target's axes. Without a unit there is no spacing to change, so the grid stays."""
    spacing = image.spacing
    target = profile.spacing_mm if profile.spacing_mm and image.has_unit else spacing
    return tuple(  # type: ignore[return-value] # three axes
        plan_axis(n, s, t, anti_alias=profile.anti_alias) for n, s, t in zip(image.shape, spacing, target, strict=True)
    )


def _affine(affine: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    moved = affine.copy()
    for number, axis in enumerate(axes):
        if not axis.is_identity:
            moved[:3, number] = affine[:3, number] * axis.step
            moved[:3, 3] += affine[:3, number] * axis.start
    return moved


def _check_size(shape: list[int], count: int, profile: Profile) -> None:
    voxels = math.prod(shape) * count
    if voxels > profile.max_voxels:
        raise Rejection(Reason.GRID_TOO_LARGE, f"{voxels} voxels, limit {profile.max_voxels}") from None


def _values(
    image: Image, profile: Profile, padding: Range | None, scale: float | None
) -> tuple[Before, tuple[Step, ...]]:
    """What happens to values before any filter, and its record."""
    clip = _clip_bounds(image, profile)
    filled: dict[str, Any] = {"applied": False, "range": padding and list(padding)}
    unclipped = None  # padding that clipping alone does not turn into the lowest value
    if padding is not None and clip is not None:
        if image.array.dtype.kind in "iu":
            padding = math.ceil(padding[0]), math.floor(padding[1])  # compared as integers, which is faster
        voxels = _count_within(image.array, padding)
        filled |= {"applied": voxels > 0, "value": clip[0], "voxels": voxels}
        unclipped = padding if voxels and padding[1] > clip[0] else None
    steps = [
        Step(name="padding", arguments=filled),
        Step(name="clip", arguments={"applied": clip is not None, "range": profile.clip and list(profile.clip)}),
    ]
    if profile.suv:
        steps.append(Step(name="suvbw", arguments={"applied": scale is not None, "factor": scale}))
    filler = 0 if clip is None else clip[0]
    return Before(padding=unclipped, filler=filler, clip=clip, scale=scale), tuple(steps)


def _clip_bounds(image: Image, profile: Profile) -> Range | None:
    """The profile's range as far as the voxel type reaches; colour has no value unit and is not clipped."""
    if profile.clip is None or image.is_colour:
        return None
    low, high = profile.clip
    if image.array.dtype.kind not in "iu":
        return low, high
    limits = np.iinfo(image.array.dtype)
    return max(math.ceil(low), limits.min), min(math.floor(high), limits.max)


def _count_within(array: np.ndarray, padding: Range) -> int:
    """Voxels from `padding[0]` to `padding[1]`; plane by plane, so that no second array is needed."""
    planes = np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0)
    return sum(int(np.count_nonzero((plane >= padding[0]) & (plane <= padding[1]))) for plane in planes)


def _grid_steps(was: Image, now: Image, axes: tuple[Axis, ...], profile: Profile) -> tuple[Step, Step]:
    sigma_mm = [axis.sigma * s if axis.reach else 0.0 for axis, s in zip(axes, was.spacing, strict=True)]
    filtered = {
        "applied": any(axis.reach for axis in axes),
        "filter": "gaussian",
        "sigma_mm": sigma_mm,
        "truncate": TRUNCATE,
    }
    resampled = {
        "applied": not all(axis.is_identity for axis in axes),
        "interpolation": profile.interpolation,
        "outside": "nearest voxel",
        "spacing_mm": list(profile.spacing_mm or now.spacing),
        "shape": list(now.shape),
    }
    return Step(name="anti_alias", arguments=filtered), Step(name="resample", arguments=resampled)


def _frame(image: Image, profile: Profile) -> tuple[Image, tuple[Step, ...]]:
    """The image cut to the body and padded, where the profile asks for it."""
    steps: list[Step] = []
    if profile.crop is not None:
        image, step = bodycrop.crop(image, is_hu=profile.value_unit == HU, margin_mm=profile.margin_mm)
        steps.append(step)
    if profile.pad_to is not None:
        before, after = bodycrop.padding(image.shape, profile.pad_to)
        _check_size([sum(n) for n in zip(image.shape, before, after, strict=True)], image.count, profile)
        image, step = bodycrop.pad(image, before, after, profile.clip[0] if profile.clip else 0)
        steps.append(step)
    return image, tuple(steps)


def _all_finite(array: np.ndarray) -> bool:
    """NaN and infinity both show in the extremes, which need no second array."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
