"""Brings a volume to its profile: canonical orientation, value range, target grid, voxel type.

Belongs here: the steps in their order, what each does to the affine, and the record of each with all its arguments.
Does not belong here: which profile (`oncurate.profiles`), the arithmetic of interpolation (`oncurate.resample`),
reading or writing files.

Order: orient, clip, anti-alias, resample, cast. Clipping comes before any filter, so that padding values cannot bleed
into tissue. The grid keeps the image's own directions, also when they are oblique: nothing is interpolated only to
turn it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from oncurate.errors import Rejection
from oncurate.image import Image
from oncurate.profiles import Profile
from oncurate.reasons import Reason
from oncurate.records import Step
from oncurate.resample import TRUNCATE, Axis, plan_axis, resample

_TOWARDS = (("L", "R"), ("P", "A"), ("I", "S"))
_TIE = 9
"""Decimals to which alignments are compared, so that 45-degree ties do not hang on rounding noise."""


def harmonise(image: Image, profile: Profile) -> tuple[Image, tuple[Step, ...]]:
    """`image` on its profile's grid, and every step with its arguments, also those that found nothing to do.

    Where nothing changes voxels, the result shares its memory with `image`.

    Rejection: VALUES_NOT_FINITE, or GRID_TOO_LARGE before anything is allocated.
    """
    if image.array.dtype.kind == "f" and not _all_finite(image.array):
        raise Rejection(Reason.VALUES_NOT_FINITE, "native voxels") from None
    oriented, orient_step = _orient_step(image, profile)
    axes = _axes(oriented, profile)
    voxels = math.prod(axis.size for axis in axes)
    if voxels > profile.max_voxels:
        raise Rejection(Reason.GRID_TOO_LARGE, f"{voxels} voxels, limit {profile.max_voxels}") from None
    clip = _clip_bounds(oriented, profile)
    keep_type = profile.dtype == "keep" or image.is_colour
    dtype = image.array.dtype if keep_type else np.dtype(profile.dtype)
    array = _voxels(oriented, axes, clip, dtype)
    result = replace(oriented, array=array, affine=_affine(oriented.affine, axes))
    sigma_mm = [axis.sigma * s if axis.reach else 0.0 for axis, s in zip(axes, oriented.spacing, strict=True)]
    steps = (
        orient_step,
        Step(name="clip", arguments={"applied": clip is not None, "range": profile.clip and list(profile.clip)}),
        Step(
            name="anti_alias",
            arguments={
                "applied": any(axis.reach for axis in axes),
                "filter": "gaussian",
                "sigma_mm": sigma_mm,
                "truncate": TRUNCATE,
            },
        ),
        Step(
            name="resample",
            arguments={
                "applied": not all(axis.is_identity for axis in axes),
                "interpolation": profile.interpolation,
                "outside": "nearest voxel",
                "spacing_mm": list(profile.spacing_mm or result.spacing),
                "shape": list(result.shape),
            },
        ),
        Step(
            name="cast",
            arguments={
                "applied": dtype != image.array.dtype,
                "from": image.array.dtype.name,
                "to": dtype.name,
                "rounding": "half to even" if dtype.kind in "iu" else "none",
            },
        ),
    )
    return result, steps


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
    array = image.array.transpose(*axes, *range(3, image.array.ndim))
    array = array[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    affine = image.affine.copy()
    for world, (axis, flip) in enumerate(zip(axes, flipped, strict=True)):
        column = image.affine[:3, axis]
        affine[:3, world] = -column if flip else column
        if flip:
            affine[:3, 3] += column * (image.shape[axis] - 1)
    return replace(image, array=array, affine=affine), axes, flipped  # type: ignore[return-value] # 3 each


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


def _voxels(image: Image, axes: tuple[Axis, ...], clip: tuple[float, float] | None, dtype: np.dtype) -> np.ndarray:
    array = image.array
    if not all(axis.is_identity for axis in axes):
        if image.is_colour:
            channels = [resample(array[..., c], axes, clip, dtype) for c in range(array.shape[3])]
            return np.stack(channels, axis=-1)
        return resample(array, axes, clip, dtype)
    if clip is not None:
        array = np.clip(array, *clip)
    if dtype.kind in "iu" and array.dtype.kind == "f":
        array = np.rint(array)
    return array.astype(dtype, copy=False)


def _clip_bounds(image: Image, profile: Profile) -> tuple[float, float] | None:
    """The profile's range as far as the voxel type reaches; colour has no value unit and is not clipped."""
    if profile.clip is None or image.is_colour:
        return None
    low, high = profile.clip
    if image.array.dtype.kind not in "iu":
        return low, high
    limits = np.iinfo(image.array.dtype)
    return max(math.ceil(low), limits.min), min(math.floor(high), limits.max)


def _all_finite(array: np.ndarray) -> bool:
    """NaN and infinity both show in the extremes, which need no second array."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
