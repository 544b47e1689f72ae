"""Which volume an annotation belongs to: told from the UIDs that it names, within one patient.

Belongs here: the order of the rules. Does not belong here: reading references (`oncurate.annotations.references`),
delivered label files (`oncurate.annotations.matching`).

The instances that it names decide, then the series, then the frame of reference. An image that is in the archive but
was refused is said with its reason; nothing is guessed between several that fit equally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Companion, PlannedVolume, SourceSeries

DOSE = "rtdose"
"""Kind of what is never drawn on an image: it names a plan, and shares the frame of reference of the image."""

Place = tuple[int, int]
"""Index of the series, and of the volume in it."""


def volume_of(
    companion: Companion,
    series: Sequence[SourceSeries],
    refused: Mapping[str, Reason],
    companions: Mapping[str, Companion],
) -> Place:
    """The volume that `companion` was made on.

    `refused` has the reason of each SOP Instance UID that was refused. `companions`, by SOP Instance UID, are followed:
    a report on a segmentation belongs to the image of that. Raises `Rejection`: IMAGE_REFUSED with the reason's slug,
    UNRESOLVED_REFERENCE, AMBIGUOUS_REFERENCE.
    """
    named = _images(companion, companions)
    places = [(i, k) for i, one in enumerate(series) for k in range(len(one.volumes))]
    hits = {place: _slices(series, place, named) for place in places}
    if any(hits.values()):
        return max(places, key=lambda place: hits[place])  # the first of equals, in the order of the plan
    gone = sorted(refused[uid] for uid in named & refused.keys())
    if gone:
        raise Rejection(Reason.IMAGE_REFUSED, gone[0].value)
    for fitting in (
        [p for p in places if series[p[0]].SeriesInstanceUID in companion.referenced_series],
        [p for p in places if _shares_frame(companion, series[p[0]])] if not named or companion.kind == DOSE else [],
    ):
        if fitting:
            return _only(fitting, series)
    raise Rejection(Reason.UNRESOLVED_REFERENCE)


def _images(companion: Companion, companions: Mapping[str, Companion]) -> set[str]:
    """The instances that it names, itself or through others of its kind."""
    named: set[str] = set()
    seen, waiting = {companion.SOPInstanceUID}, [companion]
    while waiting:
        for uid in waiting.pop().referenced_instances:
            if uid not in companions:
                named.add(uid)
            elif uid not in seen:
                seen.add(uid)
                waiting.append(companions[uid])
    return named


def _slices(series: Sequence[SourceSeries], place: Place, named: set[str]) -> int:
    """How many slices of a volume are among the named instances."""
    return sum(piece.SOPInstanceUID in named for piece in _volume(series, place).slices)


def _shares_frame(companion: Companion, series: SourceSeries) -> bool:
    frames = {companion.FrameOfReferenceUID, companion.referenced_frame_of_reference} - {""}
    return series.FrameOfReferenceUID in frames


def _only(fitting: list[Place], series: Sequence[SourceSeries]) -> Place:
    """The one volume that is no planar image; a CT before others, as contours and doses are planned on it."""
    volumes = [p for p in fitting if _volume(series, p).kind == "volume"] or fitting
    on_ct = [p for p in volumes if series[p[0]].Modality == "CT"]
    chosen = on_ct if len(on_ct) == 1 else volumes
    if len(chosen) > 1:
        raise Rejection(Reason.AMBIGUOUS_REFERENCE, f"{len(chosen)} images")
    return chosen[0]


def _volume(series: Sequence[SourceSeries], place: Place) -> PlannedVolume:
    return series[place[0]].volumes[place[1]]
