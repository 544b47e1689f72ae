"""Turns a planned volume into an image on its acquired grid, with values in the unit that the header defines.

Belongs here: masking, rescale, inversion, the storage order of the array and its matrix. Does not belong here: decoding
(`oncurate.pixels`), resampling and clipping (`oncurate.harmonise`), files (`oncurate.nifti`).

Nothing but the declared scaling touches a value: padding such as -2000 stays, harmonisation clips it. Voxels are
interpolated only where the geometry policy asks for it (`PlannedVolume.correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oncurate import regrid
from oncurate.errors import Rejection
from oncurate.image import Image
from oncurate.masking import blanked
from oncurate.pixels import decode_frames
from oncurate.reasons import Reason
from oncurate.records import CohortVolume, Geometry, PixelLocator, PlannedVolume, Region, Repetition, Slice, Step

_PET_UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "GML": "SUVbw g/ml"}
_MEASURING = frozenset({"CT", "MR", "PT"})
"""Modalities whose rescaled values are measurements or maps. There MONOCHROME1 says how a screen shows them (PS3.3
C.7.6.3.1.2), and turning the codes round before the rescale would give wrong HU or Bq/ml."""
_INTEGER_TYPES = (np.int16, np.uint16, np.int32)
"""Tried in order: what every NIfTI reader takes first."""

OUTSIDE_HU = -1024.0
"""Air beyond the edge of a slice that was shifted: the least HU that 12 bits hold."""
_UNEVEN = 0.05
"""Steps in time that vary by more than this share of their mean are not even: no one number stands for them."""


def convert(
    volume: CohortVolume,
    modality: str,
    locators: Mapping[str, PixelLocator],
    read: Callable[[str], bytes],
) -> tuple[Image, str, bool, tuple[Step, ...]]:
    """The image of a planned volume, the unit of its values, whether it was inverted, and what was done to the values.

    `locators` by object digest; `read(url)` gives a file's bytes and is called once for each file. The array is
    `[column, row from the last, slice along the normal, repetition]`, the last only where there are several: the
    storage order that most converters share. Raises `Rejection` as `pixels.decode_frames` does, and VALUES_NOT_FINITE.
    """
    planned = volume.planned
    steps: list[Step] = []
    regions = volume.regions if volume.masked else None
    if regions is not None:
        steps.append(Step(name="mask", arguments={"regions": [list(region) for region in regions]}))
    if any(piece.text for piece in planned.slices):
        rectangles = sum(len(piece.text) for piece in planned.slices)
        steps.append(Step(name="blank text", arguments={"rectangles": rectangles}))
    stored = _stored(planned, locators, read, regions)
    inverted = planned.PhotometricInterpretation == "MONOCHROME1" and modality not in _MEASURING
    if inverted:
        form = locators[planned.slices[0].object].format
        total = _code_sum(stored, form.BitsStored, bool(form.PixelRepresentation))
        stored = (total - stored).astype(stored.dtype)
        steps.append(Step(name="invert", arguments={"sum_of_codes": total}))
    values, step = _rescale(stored, planned.slices, planned.scaling)
    if step is not None:
        steps.append(step)
    unit = planned.unit or value_unit(modality, planned.attributes)
    geometry = planned.geometry
    if planned.correction is not None:
        values, geometry, step = _corrected(values, planned, OUTSIDE_HU if unit == "HU" else None)
        steps.append(step)
    count, is_colour = len(planned.repetitions), values.ndim == 4
    if count > 1:
        values = values.reshape(count, -1, *values.shape[1:])
    image = Image(
        array=_storage_order(values, is_colour=is_colour),
        affine=affine_of(geometry),
        in_patient=geometry.in_patient,
        has_unit=geometry.spacing_source != "none",
        is_colour=is_colour,
        step_s=_step_s(planned.repetitions),
    )
    return image, unit, inverted, tuple(steps)


def _storage_order(values: np.ndarray, *, is_colour: bool) -> np.ndarray:
    """(repetitions, slices, rows, columns[, 3]) as the array that `convert` gives; a view."""
    if not is_colour:
        return values[..., ::-1, :].T
    return values[..., ::-1, :, :].transpose(*range(values.ndim - 2, -1, -1), -1)


def affine_of(geometry: Geometry) -> np.ndarray:
    """Voxel index -> RAS mm for the array that `convert` makes; float64, 4x4."""
    dx, dy, dz = geometry.spacing
    rows = geometry.shape[1]
    column = np.array(geometry.column) * dy
    lps = np.eye(4)
    lps[:3, 0] = np.array(geometry.row) * dx
    lps[:3, 1] = -column  # the last row is stored first
    lps[:3, 2] = np.array(geometry.normal) * dz
    lps[:3, 3] = np.array(geometry.origin) + column * (rows - 1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def value_unit(modality: str, attributes: Mapping[str, Any]) -> str:
    """The unit of rescaled values; 'stored' where no attribute defines one."""
    kind = str(attributes.get("RescaleType", "")).upper()
    if modality == "CT" and kind in ("", "HU"):
        return "HU"
    if modality == "PT":
        units = str(attributes.get("Units", "")).upper()
        if units == "GML" and str(attributes.get("SUVType", "BW")).upper() != "BW":
            return "GML"
        return _PET_UNITS.get(units, units or "stored")
    return "stored"


def _corrected(values: np.ndarray, planned: PlannedVolume, outside: float | None) -> tuple[np.ndarray, Geometry, Step]:
    positions = np.array([piece.position for piece in planned.slices], float)
    regrid_with = regrid.shear if planned.correction == "shear" else regrid.even_out
    return regrid_with(values, positions, planned.geometry, outside=outside)


def _step_s(repetitions: Sequence[Repetition]) -> float | None:
    """The time from one repetition to the next where all are known and evenly spaced, s."""
    times = [r.time_s for r in repetitions]
    if len(times) < 2 or None in times:
        return None
    steps = np.diff(np.array(times, float))
    mean = float(steps.mean())
    return mean if mean > 0 and np.abs(steps - mean).max() <= _UNEVEN * mean else None


def _stored(
    planned: PlannedVolume,
    locators: Mapping[str, PixelLocator],
    read: Callable[[str], bytes],
    regions: Sequence[Region] | None,
) -> np.ndarray:
    """Stored values, (slices, rows, columns) or (slices, rows, columns, 3); each file is read once.

    Slices of all repetitions follow each other. A file is decoded whole, but only what the volume needs of it is kept.
    """
    slices = planned.slices
    columns, rows, _ = planned.geometry.shape
    out: np.ndarray | None = None
    where: dict[str, list[int]] = {}
    for k, piece in enumerate(slices):
        where.setdefault(piece.object, []).append(k)
    for name, places in where.items():
        locator = locators[name]
        frames = decode_frames(locator, read(locator.url), [slices[k].frame for k in places])
        for k, frame in zip(places, frames, strict=True):
            if frame.shape[:2] != (rows, columns):
                raise Rejection(Reason.PIXEL_DATA_MISMATCH, "rows and columns")
            frame = blanked(frame, locator.format, keep_only=regions, text=slices[k].text)
            if out is None:
                out = np.empty((len(slices), *frame.shape), frame.dtype)
            elif out.dtype != frame.dtype:
                out = out.astype(np.promote_types(out.dtype, frame.dtype))
            if out.shape[1:] != frame.shape:
                raise Rejection(Reason.PIXEL_DATA_MISMATCH, "samples")
            out[k] = frame
    if out is None:
        raise Rejection(Reason.NO_PIXEL_DATA)
    return out


def _code_sum(stored: np.ndarray, bits: int, signed: bool) -> int | float:
    """Lowest plus highest possible code: what a code and its inverse add up to."""
    if stored.dtype.kind == "f":
        return float(stored.max()) + float(stored.min())
    return -1 if signed else 2**bits - 1


def _rescale(stored: np.ndarray, slices: Sequence[Slice], scaling: str) -> tuple[np.ndarray, Step | None]:
    """Rescaled values in the smallest of int16, uint16, int32 that holds them all exactly, else float32."""
    if stored.ndim == 4:
        return stored, None
    slopes = np.array([s.slope for s in slices])
    intercepts = np.array([s.intercept for s in slices])
    arguments = {"from": scaling, "slopes": _range(slopes), "intercepts": _range(intercepts)}
    step = Step(name="rescale", arguments=arguments)
    if stored.dtype.kind == "f" or not (_whole(slopes) and _whole(intercepts)):
        return _as_float(stored, slopes, intercepts), step
    low, high = _bounds(stored, slopes, intercepts)
    for dtype in _INTEGER_TYPES:
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return _as_integer(stored, slopes, intercepts, dtype), step
    return _as_float(stored, slopes, intercepts), step


def _as_integer(stored: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray, dtype: type) -> np.ndarray:
    """Rescale in `dtype` itself: integers wrap, so what fits at the end is exact whatever happened on the way."""
    if (slopes == 1).all() and (intercepts == 0).all():
        return stored.astype(dtype, copy=False)
    out = stored.astype(dtype)
    if (slopes != 1).any():
        out *= slopes.astype(np.int64).astype(dtype)[:, None, None]
    out += intercepts.astype(np.int64).astype(dtype)[:, None, None]
    return out


def _as_float(stored: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    out = np.empty(stored.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(len(stored)):  # slice by slice: a whole volume in float64 would be four times its size
            out[k] = stored[k].astype(np.float64) * slopes[k] + intercepts[k]
    if not np.isfinite(out).all():
        raise Rejection(Reason.VALUES_NOT_FINITE)
    return out


def _bounds(stored: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> tuple[int, int]:
    lows, highs = stored.min(axis=(1, 2)).astype(float), stored.max(axis=(1, 2)).astype(float)
    ends = np.concatenate([lows * slopes + intercepts, highs * slopes + intercepts])
    return int(ends.min()), int(ends.max())


def _whole(numbers: np.ndarray) -> bool:
    return bool((numbers == np.round(numbers)).all() and np.abs(numbers).max() < 2**31)


def _range(numbers: np.ndarray) -> list[float]:
    return [float(numbers.min()), float(numbers.max())]
