"""Plans the volumes of one series, and accounts for every file of it.

Belongs here: the order in which copies, separation and geometry are applied, and which refusal each file gets. Does not
belong here: the rules themselves (`oncurate.copies`, `oncurate.split`, `oncurate.geometry`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oncurate import copies, geometry, kinds, policies, split, stack, suv, views
from oncurate.copies import PixelDigest, refused
from oncurate.errors import Rejection
from oncurate.placed import sort_out
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason
from oncurate.records import Geometry, Instance, Outcome, PlannedVolume, Repetition, Slice, SourceSeries
from oncurate.split import Part, Unit

DEFAULT_THICKNESS_MM = 1.0
"""Third voxel size of a single image that states no valid slice thickness; a NIfTI needs some number there."""
_BURNED_IN = "BurnedInAnnotation"
_KEY_OF_ATTRIBUTE = {"EchoTime": "echo_time", "DiffusionBValue": "b_value", "EchoNumbers": "echo_number"}
"""Attributes whose value a multi-frame file gives frame by frame."""


@dataclass(frozen=True, eq=False)
class _Planned:
    """A part that became a volume (`geometry`) or was refused (`refusal`)."""

    units: tuple[Unit, ...]
    split_by: tuple[str, ...]
    geometry: Geometry | None
    refusal: Rejection | None
    repetitions: tuple[tuple[Unit, ...], ...] = ()
    repeated_by: tuple[str, ...] = ()
    correction: policies.Correction | None = None

    @property
    def is_irregular(self) -> bool:
        """Whether it is refused, or makes a volume only because a policy allows it."""
        return self.refusal is not None or self.correction is not None or policies.GAP in self.split_by

    @property
    def paths(self) -> list[str]:
        """The files it takes frames from."""
        return list(dict.fromkeys(unit.instance.source_path for unit in self.units))


def plan_series(
    instances: Sequence[Instance], pixel_digest: PixelDigest, policy: GeometryPolicy | None = None
) -> tuple[SourceSeries | None, list[Outcome]]:
    """The series with its volumes, or None if nothing of it can go on, and an outcome for every file not in a volume.

    All instances share patient, study and series UID. The result does not depend on their order. `policy` says what to
    do with stacks that are no regular grid; the default refuses them.
    """
    policy = policy or GeometryPolicy()
    kept, outcomes = copies.resolve(instances, pixel_digest, policy.duplicates)
    placed, projections, unplaced = sort_out(kept)
    outcomes += unplaced
    planned: list[_Planned] = [_plan_projection(instance) for instance in projections]
    for part in split.by_hard_keys(placed) if placed else []:
        found, duplicates = _plan_part(part, pixel_digest, policy)
        planned += found
        outcomes += duplicates
    planned, more = _settle(planned)
    outcomes += more
    planned = _stacked(planned)
    if not planned:
        return None, sorted(outcomes, key=lambda o: o.key)
    planned.sort(key=lambda p: p.units[0].order)
    return _series(kept, planned), sorted(outcomes, key=lambda o: o.key)


def _plan_projection(instance: Instance) -> _Planned:
    """A radiograph, an ultrasound image, or a cine: its frames are repetitions of one plane."""
    frame = instance.frames[0]
    units = tuple(Unit(instance, each) for each in instance.frames)
    try:
        found = geometry.planar(
            frame.position,
            frame.orientation,
            frame.spacing,
            instance.format.frame_size,
            thickness=DEFAULT_THICKNESS_MM,
            spacing_source=str(frame.keys.get("spacing_source", "none")),
        )
    except Rejection as rejection:
        return _Planned(units, (), None, rejection)
    if len(units) == 1:
        return _Planned(units, ("instance",), found, None)
    return _Planned(units, ("instance",), found, None, tuple((unit,) for unit in units), (stack.FRAME,))


def _plan_part(part: Part, pixel_digest: PixelDigest, policy: GeometryPolicy) -> tuple[list[_Planned], list[Outcome]]:
    """Volumes of one part of a series that no hard key but size divides any further."""
    try:
        pieces = split.by_size(part)
        found = [_judge(piece, pixel_digest, policy) for piece in pieces]
        planned = [p for some, _ in found for p in some]
        outcomes = [o for _, some in found for o in some]
        if len(pieces) > 1 and any(p.is_irregular for p in planned) and _fills_one_grid(part):
            mixed = Rejection(Reason.MIXED_SIZES)
            planned = [_Planned(p.units, p.split_by, None, mixed) for p in planned]
    except Rejection as rejection:
        return [_Planned(part.units, part.split_by, None, rejection)], []
    return planned, outcomes


def _fills_one_grid(part: Part) -> bool:
    """Whether slices of different size lie on one regular stack, so that each size alone leaves holes in it."""
    units = [Unit(part.units[0].instance, u.frame.model_copy(update={"spacing": (1.0, 1.0)})) for u in part.units]
    return split.lay_out(units).refusal is None


def _judge(part: Part, pixel_digest: PixelDigest, policy: GeometryPolicy) -> tuple[list[_Planned], list[Outcome]]:
    """Volumes of a part of one size, separated by soft keys and freed of duplicates only where that is needed."""
    layout = part.layout
    if layout is None or layout.refusal is None:
        return _volumes([part], policy), []
    found = split.by_soft_keys(part)
    if found is not None:
        return _volumes(found, policy), []
    if layout.refusal.reason is not Reason.REPEATED_POSITIONS:
        return _volumes([part], policy), []
    duplicates = _duplicates(part, pixel_digest)
    if duplicates and policy.duplicates == "quarantine":
        unwanted = Rejection(Reason.REPEATED_POSITIONS, f"{len(duplicates)} equal images; {copies.UNWANTED}")
        return [_Planned(part.units, part.split_by, None, unwanted)], []
    if duplicates:
        gone = {u.instance.source_path for u in duplicates}
        rest = Part(tuple(u for u in part.units if u.instance.source_path not in gone), part.split_by)
        planned, outcomes = _judge(rest, pixel_digest, policy)
        return planned, outcomes + refused((u.instance for u in duplicates), Reason.SAME_PIXELS)
    return _volumes(split.by_rank(part) or split.by_repetition(part) or [part], policy), []


def _duplicates(part: Part, pixel_digest: PixelDigest) -> list[Unit]:
    """Single-frame units whose pixels another unit at their position has too; none if any repeated position differs.

    All or nothing, because a 4-D series whose outermost slices are empty has equal pixels there and is no duplicate.
    """
    gone: list[Unit] = []
    for group in split.repeats(part):
        if any(len(u.instance.frames) > 1 for u in group):
            return []
        digests = [pixel_digest(unit.instance) for unit in group]
        if None in digests or len(set(digests)) > 1:
            return []
        gone += sorted(group, key=lambda u: u.instance.source_path)[1:]
    return gone


def _volumes(parts: Iterable[Part], policy: GeometryPolicy) -> list[_Planned]:
    return [volume for part in parts for volume in _volume(part, policy)]


def _volume(part: Part, policy: GeometryPolicy) -> list[_Planned]:
    """A part as it is: a regular volume, one image, what the policy makes of it, or refused."""
    try:
        layout = part.layout
        if layout is None:
            return [_Planned(part.units, part.split_by, _single(part.units[0]), None)]
    except Rejection as rejection:
        return [_Planned(part.units, part.split_by, None, rejection)]
    units = tuple(part.units[n] for n in layout.order)
    correction = policies.correction(layout, policy)
    short = _short(units) if policy.missing_slices == "quarantine" else None
    if short is not None and (layout.refusal is None or correction is not None):
        return [_Planned(units, part.split_by, None, short)]
    if layout.refusal is None or correction is not None:
        return [_Planned(units, part.split_by, layout.geometry, None, correction=correction)]
    if layout.refusal.reason is not Reason.MISSING_SLICES or policy.missing_slices == "quarantine":
        return [_Planned(units, part.split_by, None, layout.refusal)]
    return [
        run if run.refusal is None and len(run.units) > 1 else _Planned(run.units, run.split_by, None, layout.refusal)
        for run in _volumes(policies.runs(part, layout), policy)
    ]


def _short(units: Sequence[Unit]) -> Rejection | None:
    """Why a PET volume is incomplete though it has no gap: NumberOfSlices, of one time slice, counts more than it has.

    Positions cannot show slices that are missing at an end, and only PET says how many there are (PS3.3 C.8.9.1).
    """
    stated = {u.instance.attributes.get("NumberOfSlices") for u in units}
    if units[0].instance.SOPClassUID not in kinds.PT_CLASSES or len(stated) > 1:
        return None
    count = stated.pop()
    if not isinstance(count, int) or len(units) >= count:
        return None
    return Rejection(Reason.MISSING_SLICES, f"{len(units)} slices, NumberOfSlices says more")


def _single(unit: Unit) -> Geometry:
    thickness = unit.instance.attributes.get("SliceThickness")
    low, high = geometry.SPACING_RANGE_MM
    valid = isinstance(thickness, int | float) and low <= thickness <= high
    form = unit.instance.format
    return geometry.planar(
        unit.frame.position,
        unit.frame.orientation,
        unit.frame.spacing,
        form.frame_size,
        thickness=float(thickness) if valid else DEFAULT_THICKNESS_MM,
        spacing_source="PixelSpacing",
    )


def _settle(planned: list[_Planned]) -> tuple[list[_Planned], list[Outcome]]:
    """Refuse volumes that share a file with a refused one, until each file has one end; outcomes of refused files."""
    why: dict[str, Rejection] = {}
    known = -1
    while len(why) > known:
        known = len(why)
        for part in planned:
            rejection = part.refusal or next((why[path] for path in part.paths if path in why), None)
            if rejection is not None:
                for path in part.paths:
                    why.setdefault(path, rejection)
    rest = [p for p in planned if not any(path in why for path in p.paths)]
    outcomes = [Outcome.refused(path, copies.STAGE, r.reason, r.detail) for path, r in why.items()]
    return rest, outcomes


def _stacked(planned: list[_Planned]) -> list[_Planned]:
    """Regular volumes that repeat one grid joined into 4-D ones; whatever else there is stays as it is."""
    simple = [p for p in planned if _may_repeat(p)]
    found = [p for p in planned if not _may_repeat(p)]
    for group in stack.repetitions([(p.units, p.geometry) for p in simple if p.geometry is not None]):
        members = [simple[index] for index in group]
        if len(members) == 1:
            found += members
            continue
        volumes = tuple(p.units for p in members)
        joined = stack.repeated_by(volumes)
        apart = tuple(dict.fromkeys(k for p in members for k in p.split_by if k not in stack.REPEATING_KEYS))
        found.append(
            _Planned(
                units=tuple(unit for volume in volumes for unit in volume),
                split_by=tuple(k for k in apart if k not in (stack.REPETITION, "instance")),
                geometry=members[0].geometry,
                refusal=None,
                repetitions=volumes,
                repeated_by=joined,
            )
        )
    return found


def _may_repeat(planned: _Planned) -> bool:
    grid = planned.geometry
    placed = planned.units[0].instance.SOPClassUID in kinds.CROSS_SECTIONAL
    return placed and grid is not None and (grid.regularly_spaced_3d_volume or grid.shape[2] == 1)


def _series(kept: Sequence[Instance], planned: Sequence[_Planned]) -> SourceSeries:
    used = {u.instance.source_path: u.instance for p in planned for u in p.units}
    instances = sorted(used.values(), key=lambda i: i.source_path)
    first = instances[0]
    return SourceSeries(
        PatientID=first.PatientID,
        IssuerOfPatientID=_common(i.IssuerOfPatientID for i in instances),
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        FrameOfReferenceUID=_common(i.FrameOfReferenceUID for i in instances),
        Modality=first.Modality,
        StudyDate=_common(i.StudyDate for i in instances),
        volumes=tuple(_record(p, alone=len(planned) == 1) for p in planned),
        identifiers=tuple(sorted({text for i in kept for text in i.identifiers})),
        people=tuple(sorted({text for i in kept for text in i.people})),
    )


def _common(values: Iterable[str]) -> str:
    """The one value, or the first in order where they differ."""
    return min(set(values))


def _record(planned: _Planned, *, alone: bool) -> PlannedVolume:
    assert planned.geometry is not None  # `_settle` leaves only parts with a geometry
    first = planned.units[0]
    form = first.instance.format
    return PlannedVolume(
        kind=_kind(planned),
        slices=tuple(
            Slice(
                object=u.instance.object,
                frame=u.frame.index,
                content=u.instance.content,
                SOPInstanceUID=u.instance.SOPInstanceUID,
                slope=u.frame.slope,
                intercept=u.frame.intercept,
                position=u.frame.position if planned.correction else None,
            )
            for u in planned.units
        ),
        geometry=planned.geometry,
        split_by=() if alone else planned.split_by,
        SamplesPerPixel=form.SamplesPerPixel,
        PhotometricInterpretation=form.PhotometricInterpretation,
        attributes=_shared_attributes(planned.units),
        repetitions=_repetitions(planned),
        repeated_by=planned.repeated_by,
        correction=planned.correction,
        scaling=first.frame.scaling,
        unit=first.frame.unit,
        padding=_padding(planned.units),
        suv=suv.of_volume(planned.units),
        derived=views.is_derived(planned.units),
        projection=views.is_projection(planned.units),
    )


def _kind(planned: _Planned) -> Literal["volume", "planar", "cine"]:
    assert planned.geometry is not None
    if planned.geometry.shape[2] > 1:
        return "volume"
    return "cine" if len(planned.units) > 1 else "planar"


def _repetitions(planned: _Planned) -> tuple[Repetition, ...]:
    if planned.repeated_by == (stack.FRAME,):
        step_ms = planned.units[0].instance.attributes.get("FrameTime")
        known = isinstance(step_ms, int | float) and step_ms > 0
        return tuple(
            Repetition(time_s=round(n * float(step_ms) / 1000, 6) if known else None) for n in range(len(planned.units))
        )
    return stack.describe(planned.repetitions or (planned.units,))


def _padding(units: Sequence[Unit]) -> tuple[float, float] | None:
    """The rescaled values that PixelPaddingValue (to PixelPaddingRangeLimit) marks, where all slices agree on them."""
    found = {
        (
            _stored(unit, "PixelPaddingValue"),
            _stored(unit, "PixelPaddingRangeLimit"),
            unit.frame.slope,
            unit.frame.intercept,
        )
        for unit in units
    }
    if len(found) != 1:
        return None
    value, limit, slope, intercept = found.pop()
    if value is None:
        return None
    ends = [slope * end + intercept for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _stored(unit: Unit, keyword: str) -> float | None:
    """A stored value; one of signed pixels that was written as unsigned is read as what was meant."""
    value = unit.instance.attributes.get(keyword)
    form = unit.instance.format
    if not isinstance(value, int | float) or abs(value) >= 2**form.BitsAllocated:
        return None
    wraps = form.PixelRepresentation == 1 and value >= 2 ** (form.BitsAllocated - 1)
    return float(value) - 2**form.BitsAllocated if wraps else float(value)


def _shared_attributes(units: Sequence[Unit]) -> dict[str, Any]:
    """The attributes whose value all files of the volume share, corrected for what multi-frame files give by frame."""
    files = {u.instance.object: u.instance for u in units}
    first, *others = (i.attributes for i in files.values())
    shared = {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}
    if any(str(i.attributes.get(_BURNED_IN)).strip().upper() == "YES" for i in files.values()):
        shared[_BURNED_IN] = "YES"  # one image with text is enough to make the volume one
    if any(len(i.frames) > 1 for i in files.values()):
        for keyword, key in _KEY_OF_ATTRIBUTE.items():
            values = {u.frame.keys.get(key) for u in units}
            if keyword in shared and None not in values:
                shared.pop(keyword)
                if len(values) == 1:
                    shared[keyword] = values.pop()
    return shared
