"""Which regular volumes of one series are repetitions of each other, so that together they make one 4-D image.

Belongs here: grouping, order and description of repetitions (time points, diffusion weightings). Does not belong here:
separating frames into volumes (`oncurate.split`), judging a grid (`oncurate.geometry`).

A dynamic or diffusion acquisition is first taken apart into regular volumes, each judged alone, and then put together
again: a repetition that is incomplete is refused by itself, and the others stay.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from oncurate import kinds
from oncurate.geometry import PIXEL_SPACING_TOLERANCE, SAME_POSITION_MM, SLICE_SPACING_TOLERANCE
from oncurate.records import Geometry, Repetition
from oncurate.split import HARD_KEYS, SOFT_KEYS, THICKNESS, Unit

REPEATING_KEYS = ("b_value", *(key for key in SOFT_KEYS if key != THICKNESS))
"""Names in `Frame.keys` that may vary between the repetitions of one 4-D image."""

FRAME, REPETITION = "frame", "repetition"
"""What repetitions differ by where no key tells: the frames of a cine; the acquisition's order."""

_SAME_DIRECTION = 1e-4
"""Greatest difference of direction cosines of one grid: header rounding, less than a tenth of a voxel in 1,000."""
_DAY_S = 86_400.0
REFERENCE_RANGE_MS = (-1e6, 2e7)
TRIGGER_RANGE_MS = (0.0, 1e5)
"""FrameReferenceTime and TriggerTime outside these are not times of an examination (the ranges of the allow-list)."""

Volume = tuple[Unit, ...]


def repetitions(volumes: Sequence[tuple[Volume, Geometry]]) -> list[list[int]]:
    """Indices of `volumes` in groups that share a grid and all that always separates but the b-value.

    Each group is in the order of acquisition; a volume without repetition is a group of one.
    """
    groups: list[list[int]] = []
    keys: list[Hashable] = []
    for index, (units, geometry) in enumerate(volumes):
        key = _key(units[0])
        found = next(
            (g for g, k in zip(groups, keys, strict=True) if k == key and _same_grid(volumes[g[0]][1], geometry)), None
        )
        if found is None:
            groups.append([index])
            keys.append(key)
        else:
            found.append(index)
    for group in groups:
        group.sort(key=lambda index: _order(volumes[index][0]))
    return groups


def repeated_by(volumes: Sequence[Volume]) -> tuple[str, ...]:
    """Names of the keys whose values vary between the repetitions; ("repetition",) where none does."""
    varying = [k for k in REPEATING_KEYS if len({v[0].frame.keys.get(k) for v in volumes}) > 1]
    return tuple(varying) or (REPETITION,)


def describe(volumes: Sequence[Volume]) -> tuple[Repetition, ...]:
    """Time since the first, b-value and gradient direction of each repetition, None where the header does not say."""
    times = [_time_s(volume) for volume in volumes]
    known = None not in times
    first = times[0] if known else None
    found = []
    for volume, time in zip(volumes, times, strict=True):
        found.append(
            Repetition(
                time_s=None if first is None or time is None else round((time - first) % _DAY_S, 3),
                b_value=volume[0].frame.b_value,
                gradient=volume[0].frame.gradient,
            )
        )
    return tuple(found)


def _key(unit: Unit) -> Hashable:
    keys = tuple(unit.frame.keys.get(key) for key in (*HARD_KEYS, THICKNESS) if key != "b_value")
    form = unit.instance.format
    return (unit.instance.SOPClassUID, unit.instance.FrameOfReferenceUID, form.SamplesPerPixel, *keys)


def _same_grid(one: Geometry, other: Geometry) -> bool:
    if one.shape != other.shape:
        return False
    directions = (np.array([*one.row, *one.column]), np.array([*other.row, *other.column]))
    spacings = np.array(one.spacing), np.array(other.spacing)
    rtol = np.array([PIXEL_SPACING_TOLERANCE, PIXEL_SPACING_TOLERANCE, SLICE_SPACING_TOLERANCE])
    return bool(
        np.abs(directions[0] - directions[1]).max() <= _SAME_DIRECTION
        and (np.abs(spacings[0] - spacings[1]) <= rtol * spacings[0]).all()
        and np.linalg.norm(np.subtract(one.origin, other.origin)) <= SAME_POSITION_MM
    )


def _order(units: Volume) -> tuple:
    """By time label where there is one, else by number: instance numbers follow the acquisition."""
    keys = units[0].frame.keys
    labels = [keys.get(key) for key in ("temporal_position", "trigger_time")]
    return (*(0.0 if label is None else float(label) for label in labels), min(unit.order for unit in units))


def _time_s(units: Volume) -> float | None:
    """When a repetition was acquired, in seconds of an arbitrary zero; only differences mean anything.

    PET states the time of each frame from the start (FrameReferenceTime, ms); a heart phase its delay after the R wave
    (TriggerTime, ms); everything else the time of day.
    """
    attributes = [unit.instance.attributes for unit in units]
    if units[0].instance.SOPClassUID in kinds.PT_CLASSES:
        references = [a.get("FrameReferenceTime") for a in attributes]
        if all(_within(r, REFERENCE_RANGE_MS) for r in references):
            return min(float(r) for r in references) / 1000.0  # type: ignore[arg-type] # all are numbers
    trigger = units[0].frame.keys.get("trigger_time")
    if _within(trigger, TRIGGER_RANGE_MS):
        return float(trigger) / 1000.0  # type: ignore[arg-type] # a number
    if any(len(unit.instance.frames) > 1 and unit.instance.format.tiles is None for unit in units):
        return None  # a multi-frame file has one acquisition time for all of its frames
    clocks = [_clock_s(a.get("AcquisitionTime")) for a in attributes]
    return None if None in clocks else min(c for c in clocks if c is not None)


def _within(value: object, bounds: tuple[float, float]) -> bool:
    return isinstance(value, int | float) and bounds[0] <= value <= bounds[1]


def _clock_s(value: object) -> float | None:
    """Seconds since midnight of a DICOM TM value (HHMMSS.FFFFFF, shorter forms allowed)."""
    text = str(value or "").strip()
    whole, _, fraction = text.partition(".")
    if len(whole) not in (2, 4, 6) or not whole.isdigit() or (fraction and not fraction.isdigit()):
        return None
    hours, minutes, seconds = (int(whole[n : n + 2] or 0) for n in (0, 2, 4))
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")
