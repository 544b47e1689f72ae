"""Which frames of a series make one volume.

Belongs here: the keys by which frames are told apart, and when each applies. Does not belong here: judging the grid of
what comes out (`oncurate.geometry`), or accounting for files (`oncurate.plan`).

Hard keys always separate. Soft keys separate only where they are needed: where positions repeat, or where the whole is
not regular but every part is. Exposure and content time never separate: they differ from slice to slice of one volume.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from oncurate import geometry, kinds
from oncurate.geometry import Layout
from oncurate.records import Frame, Instance

HARD_KEYS = (
    "image_type",
    "component",
    "echo_number",
    "echo_time",
    "b_value",
    "kernel",
    "scaling",
    "laterality",
    "view",
)
"""Names in `Frame.keys` that always separate, beside SOP class, frame of reference, colour, size and orientation."""

THICKNESS = "thickness"
"""Slices of another thickness that lie between the others are another reconstruction, and always separate; where each
thickness has a stretch of its own (a head CT that is finer at the base of the skull), it separates where needed."""

SOFT_KEYS = ("temporal_position", "trigger_time", "acquisition_number", "gradient", "stack", THICKNESS)
"""Names in `Frame.keys` that separate where needed, in the order in which they are tried."""

_RANKED = kinds.MR_CLASSES | kinds.PT_CLASSES
"""Where repeated positions may be told apart by instance number alone; a CT that repeats positions is ambiguous."""


MIN_EVIDENCE = 3
"""Slices that a part needs to show that it is regular where the whole is not: two slices are always evenly spaced."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One frame with the file that holds it."""

    instance: Instance
    frame: Frame

    @property
    def order(self) -> tuple:
        """A total order that depends on nothing but content: number, frame, UID."""
        return (self.frame.keys.get("instance_number", 0), self.frame.index, self.instance.SOPInstanceUID)


@dataclass(frozen=True, eq=False)
class Part:
    """Units that belong together, what set them apart, and their layout (None for a single one)."""

    units: tuple[Unit, ...]
    split_by: tuple[str, ...]

    @property
    def layout(self) -> Layout | None:
        """The grid they make; None for a single unit. Raises `Rejection` for numbers that make no plane."""
        return lay_out(self.units) if len(self.units) > 1 else None


def lay_out(units: Sequence[Unit]) -> Layout:
    """`geometry.lay_out` of units that all have position, orientation and spacing."""
    return geometry.lay_out(
        np.array([u.frame.position for u in units], float),
        np.array([u.frame.orientation for u in units], float),
        np.array([u.frame.spacing for u in units], float),
        np.array([u.instance.format.frame_size for u in units]),
    )


def by_hard_keys(units: Sequence[Unit]) -> list[Part]:
    """Separate by everything that always separates except size: that is `by_size`, one step later."""
    parts = [Part(tuple(sorted(units, key=lambda u: u.order)), ())]
    parts = _each(parts, "sop_class", lambda u: u.instance.SOPClassUID)
    parts = _each(parts, "frame_of_reference", lambda u: u.instance.FrameOfReferenceUID)
    parts = _each(parts, "photometric", lambda u: _colour(u.instance))
    for key in HARD_KEYS:
        parts = _each(parts, key, lambda u, key=key: u.frame.keys.get(key))
    parts = [piece for part in parts for piece in _by_orientation(part)]
    return [piece for part in parts for piece in _by_interleaved_thickness(part)]


def by_size(part: Part) -> list[Part]:
    """Separate by matrix, then by pixel spacing with a tolerance."""
    parts = _each([part], "matrix", lambda u: u.instance.format.frame_size)
    return [
        piece
        for p in parts
        for piece in _cluster(
            p,
            "pixel_spacing",
            np.array([u.frame.spacing for u in p.units], float),
            lambda a, b: np.allclose(a, b, rtol=geometry.PIXEL_SPACING_TOLERANCE, atol=0),
        )
    ]


def by_soft_keys(part: Part) -> list[Part] | None:
    """The first soft separation whose parts are all regular; None if there is none."""
    counts = _counts(_slots(part.units))
    single, repeated = len(counts) == 1, max(counts.values()) > 1
    least = 1 if repeated else MIN_EVIDENCE
    return next(
        (
            found
            for found in _candidates(part)
            if all(len(p.units) >= least and _is_whole(p, single=single) for p in found)
        ),
        None,
    )


def by_rank(part: Part) -> list[Part] | None:
    """The n-th acquisition of every position, by instance number, where every position repeats equally often."""
    slots = _slots(part.units)
    count = _counts(slots)
    if part.units[0].instance.SOPClassUID not in _RANKED or len(set(count.values())) != 1:
        return None
    seen: dict[int, int] = {}
    ranks = []
    for slot in slots:
        ranks.append(seen.get(slot, 0))
        seen[slot] = ranks[-1] + 1
    found = _divide(part, "repetition", ranks)
    single = len(count) == 1
    return found if len(found) > 1 and all(_is_whole(p, single=single) for p in found) else None


def by_repetition(part: Part) -> list[Part] | None:
    """A soft separation that at least leaves no position repeated, one part for each repetition; None if there is none.

    It serves acquisitions of which one repetition is incomplete: the others need not be lost with it.
    """
    most = max(_counts(_slots(part.units)).values())
    for found in _candidates(part):
        if len(found) == most and all(max(_counts(_slots(p.units)).values()) == 1 for p in found):
            return found
    return None


def repeats(part: Part) -> list[tuple[Unit, ...]]:
    """The groups of units that share a position, in order along the normal."""
    groups: dict[int, list[Unit]] = {}
    for unit, slot in zip(part.units, _slots(part.units), strict=True):
        groups.setdefault(slot, []).append(unit)
    return [tuple(groups[slot]) for slot in sorted(groups) if len(groups[slot]) > 1]


def _candidates(part: Part) -> list[list[Part]]:
    """Separations to try: by file where files hold many frames, each soft key alone, then soft keys together."""
    keys: list[tuple[str, Callable[[Unit], Hashable]]] = [
        (key, lambda u, key=key: u.frame.keys.get(key)) for key in SOFT_KEYS
    ]
    if all(len(u.instance.frames) > 1 for u in part.units):
        keys.insert(0, ("instance", lambda u: u.instance.object))
    alone = [found for key, value in keys if len(found := _each([part], key, value)) > 1]
    together, all_of_them = [part], []
    for key, value in keys:
        finer = _each(together, key, value)
        if len(finer) > len(together):
            together = finer
            all_of_them.append(finer)
    return alone + all_of_them[1:]


def _is_whole(part: Part, *, single: bool) -> bool:
    """Whether a part is a regular volume, or one image where the series has one position only."""
    if len(part.units) == 1:
        return single
    return lay_out(part.units).refusal is None


def _slots(units: Sequence[Unit]) -> list[int]:
    """A number for each unit, equal for units at one position, growing along the normal."""
    positions = np.array([u.frame.position for u in units], float)
    along = geometry.positions_along(positions, np.array(units[0].frame.orientation, float))
    order = np.argsort(along, kind="stable")
    new = np.concatenate([[0], np.cumsum(np.diff(along[order]) > geometry.SAME_POSITION_MM)])
    slots = np.empty(len(units), int)
    slots[order] = new
    return slots.tolist()


def _counts(slots: Sequence[int]) -> dict[int, int]:
    return dict(enumerate(np.bincount(np.array(slots)).tolist()))


def _colour(instance: Instance) -> str:
    form = instance.format
    return "grey" if form.SamplesPerPixel == 1 and form.PhotometricInterpretation.startswith("MONO") else "colour"


def _each(parts: Sequence[Part], name: str, value: Callable[[Unit], Hashable]) -> list[Part]:
    return [piece for part in parts for piece in _divide(part, name, [value(u) for u in part.units])]


def _divide(part: Part, name: str, labels: Sequence[Hashable]) -> list[Part]:
    """Parts by label, in the order of their first units; `name` is recorded only where it separates."""
    groups: dict[Hashable, list[Unit]] = {}
    for unit, label in zip(part.units, labels, strict=True):
        groups.setdefault(label, []).append(unit)
    if len(groups) == 1:
        return [part]
    return [Part(tuple(units), (*part.split_by, name)) for units in groups.values()]


def _by_orientation(part: Part) -> list[Part]:
    orientations = np.array([u.frame.orientation for u in part.units], float)
    return _cluster(
        part,
        "orientation",
        orientations,
        lambda a, b: bool(np.abs(a - b).max() <= geometry.ORIENTATION_TOLERANCE),
    )


def _by_interleaved_thickness(part: Part) -> list[Part]:
    """Separate by slice thickness unless each thickness has a stretch of its own along the normal."""
    pieces = _each([part], THICKNESS, lambda u: u.frame.keys.get(THICKNESS))
    if len(pieces) == 1:
        return pieces
    first = np.array(part.units[0].frame.orientation, float)
    stretches = []
    for piece in pieces:
        along = geometry.positions_along(np.array([u.frame.position for u in piece.units], float), first)
        stretches.append((float(along.min()), float(along.max())))
    stretches.sort()
    apart = all(before[1] < after[0] for before, after in pairwise(stretches))
    return [part] if apart else pieces


def _cluster(part: Part, name: str, values: np.ndarray, alike: Callable[[np.ndarray, np.ndarray], bool]) -> list[Part]:
    """Parts of like values: each joins the first cluster whose first member it is like."""
    if (values == values[0]).all():
        return [part]
    ordered = sorted(range(len(values)), key=lambda n: tuple(values[n]))
    centres: list[np.ndarray] = []
    labels = [0] * len(values)
    for n in ordered:
        found = next((c for c, centre in enumerate(centres) if alike(values[n], centre)), None)
        if found is None:
            found = len(centres)
            centres.append(values[n])
        labels[n] = found
    return _divide(part, name, labels)
