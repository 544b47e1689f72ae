"""Plans the volumes of one series, and accounts for every file of it.

Belongs here: the order in which copies, separation and geometry are applied, and which refusal each file gets. Does not
belong here: the rules themselves (`oncurate.copies`, `oncurate.split`, `oncurate.geometry`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from oncurate import copies, geometry, kinds, split
from oncurate.copies import PixelDigest, refused
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Geometry, Instance, Outcome, PlannedVolume, Slice, SourceSeries
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

    @property
    def paths(self) -> list[str]:
        """The files it takes frames from."""
        return list(dict.fromkeys(unit.instance.source_path for unit in self.units))


def plan_series(instances: Sequence[Instance], pixel_digest: PixelDigest) -> tuple[SourceSeries | None, list[Outcome]]:
    """The series with its volumes, or None if nothing of it can go on, and an outcome for every file not in a volume.

    All instances share patient, study and series UID. The result does not depend on their order.
    """
    kept, outcomes = copies.resolve(instances, pixel_digest)
    placed, projections, unplaced = _sort_out(kept)
    outcomes += unplaced
    planned: list[_Planned] = [_plan_projection(instance) for instance in projections]
    for part in split.by_hard_keys(placed) if placed else []:
        found, duplicates = _plan_part(part, pixel_digest)
        planned += found
        outcomes += duplicates
    planned, more = _settle(planned)
    outcomes += more
    if not planned:
        return None, sorted(outcomes, key=lambda o: o.key)
    planned.sort(key=lambda p: p.units[0].order)
    return _series(kept, planned), sorted(outcomes, key=lambda o: o.key)


def _sort_out(kept: Iterable[Instance]) -> tuple[list[Unit], list[Instance], list[Outcome]]:
    """Units that have a place in the patient, projection images, and outcomes of files that are neither."""
    placed: list[Unit] = []
    projections: list[Instance] = []
    outcomes: list[Outcome] = []
    for instance in kept:
        frames = instance.frames
        many = len(frames) > 1
        if instance.SOPClassUID in kinds.PROJECTION:
            if many:
                outcomes += refused([instance], Reason.MULTIFRAME_NOT_A_VOLUME)
            else:
                projections.append(instance)
        elif all(f.position is not None and f.orientation is not None and f.spacing is not None for f in frames):
            placed += [Unit(instance, frame) for frame in frames]
        elif many and all(f.position is None for f in frames):
            outcomes += refused([instance], Reason.MULTIFRAME_NOT_A_VOLUME)
        else:
            outcomes += refused([instance], Reason.MISSING_GEOMETRY, _missing(instance))
    return placed, projections, outcomes


def _missing(instance: Instance) -> str:
    names = {
        "ImagePositionPatient": "position",
        "ImageOrientationPatient": "orientation",
        "PixelSpacing": "spacing",
    }
    return ", ".join(k for k, field in names.items() if any(getattr(f, field) is None for f in instance.frames))


def _plan_projection(instance: Instance) -> _Planned:
    frame = instance.frames[0]
    unit = Unit(instance, frame)
    try:
        found = geometry.planar(
            frame.position,
            frame.orientation,
            frame.spacing,
            (instance.format.Rows, instance.format.Columns),
            thickness=DEFAULT_THICKNESS_MM,
            spacing_source=str(frame.keys.get("spacing_source", "none")),
        )
    except Rejection as rejection:
        return _Planned((unit,), (), None, rejection)
    return _Planned((unit,), ("instance",), found, None)


def _plan_part(part: Part, pixel_digest: PixelDigest) -> tuple[list[_Planned], list[Outcome]]:
    """Volumes of one part of a series that no hard key but size divides any further."""
    try:
        pieces = split.by_size(part)
        found = [_judge(piece, pixel_digest) for piece in pieces]
        planned = [p for some, _ in found for p in some]
        outcomes = [o for _, some in found for o in some]
        if len(pieces) > 1 and any(p.refusal for p in planned) and _fills_one_grid(part):
            mixed = Rejection(Reason.MIXED_SIZES)
            planned = [_Planned(p.units, p.split_by, None, mixed) for p in planned]
    except Rejection as rejection:
        return [_Planned(part.units, part.split_by, None, rejection)], []
    return planned, outcomes


def _fills_one_grid(part: Part) -> bool:
    """Whether slices of different size lie on one regular stack, so that each size alone leaves holes in it."""
    units = [Unit(part.units[0].instance, u.frame.model_copy(update={"spacing": (1.0, 1.0)})) for u in part.units]
    return split.lay_out(units).refusal is None


def _judge(part: Part, pixel_digest: PixelDigest) -> tuple[list[_Planned], list[Outcome]]:
    """Volumes of a part of one size, separated by soft keys and freed of duplicates only where that is needed."""
    layout = part.layout
    if layout is None or layout.refusal is None:
        return [_volume(part)], []
    found = split.by_soft_keys(part)
    if found is not None:
        return [_volume(p) for p in found], []
    if layout.refusal.reason is not Reason.REPEATED_POSITIONS:
        return [_volume(part)], []
    duplicates = _duplicates(part, pixel_digest)
    if duplicates:
        gone = {u.instance.source_path for u in duplicates}
        rest = Part(tuple(u for u in part.units if u.instance.source_path not in gone), part.split_by)
        planned, outcomes = _judge(rest, pixel_digest)
        return planned, outcomes + refused((u.instance for u in duplicates), Reason.SAME_PIXELS)
    found = split.by_rank(part) or split.by_repetition(part)
    if found is None:
        return [_volume(part)], []
    return [_volume(p) for p in found], []


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


def _volume(part: Part) -> _Planned:
    """A part as it is: a regular volume, one image, or refused."""
    try:
        layout = part.layout
        if layout is None:
            return _Planned(part.units, part.split_by, _single(part.units[0]), None)
    except Rejection as rejection:
        return _Planned(part.units, part.split_by, None, rejection)
    units = tuple(part.units[n] for n in layout.order)
    if layout.refusal is not None:
        return _Planned(units, part.split_by, None, layout.refusal)
    return _Planned(units, part.split_by, layout.geometry, None)


def _single(unit: Unit) -> Geometry:
    thickness = unit.instance.attributes.get("SliceThickness")
    low, high = geometry.SPACING_RANGE_MM
    valid = isinstance(thickness, int | float) and low <= thickness <= high
    form = unit.instance.format
    return geometry.planar(
        unit.frame.position,
        unit.frame.orientation,
        unit.frame.spacing,
        (form.Rows, form.Columns),
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
    outcomes = [
        Outcome(key=path, stage=copies.STAGE, state=r.reason.state, reason=r.reason, detail=r.detail)
        for path, r in why.items()
    ]
    return rest, outcomes


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
    )


def _common(values: Iterable[str]) -> str:
    """The one value, or the first in order where they differ."""
    return min(set(values))


def _record(planned: _Planned, *, alone: bool) -> PlannedVolume:
    assert planned.geometry is not None  # `_settle` leaves only parts with a geometry
    form = planned.units[0].instance.format
    return PlannedVolume(
        kind="volume" if len(planned.units) > 1 else "planar",
        slices=tuple(
            Slice(
                object=u.instance.object,
                frame=u.frame.index,
                SOPInstanceUID=u.instance.SOPInstanceUID,
                slope=u.frame.slope,
                intercept=u.frame.intercept,
            )
            for u in planned.units
        ),
        geometry=planned.geometry,
        split_by=() if alone else planned.split_by,
        SamplesPerPixel=form.SamplesPerPixel,
        PhotometricInterpretation=form.PhotometricInterpretation,
        attributes=_shared_attributes(planned.units),
    )


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
