"""Label files of the source and the planned volumes that they belong to.

Belongs here: matching them once all volumes are planned, in the flow process. Does not belong here: the rules
(`oncurate.annotations.matching`), de-identifying and writing them (`tasks.deidentify`, `tasks.annotate`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from oncurate.annotations import labelfiles, matching
from oncurate.annotations.matching import Candidate
from oncurate.errors import Rejection
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.records import Outcome, Record, SourceObject, SourceSeries
from oncurate.store import read_url
from tasks.reading import read_object

STAGE = "index"


class LabelFile(Record):
    """A label file and the volume that it was drawn on, by the source's series UID and the volume's index in it."""

    object: str
    url: str
    name: str  # of the file alone
    SeriesInstanceUID: str
    volume: int


def divide(
    provider: Provider, objects: Iterable[SourceObject]
) -> tuple[list[SourceObject], list[SourceObject], list[Outcome]]:
    """The label files that the provider file declares, everything else, an outcome for each copy of a label file."""
    labels: dict[str, SourceObject] = {}
    others: list[SourceObject] = []
    copies: list[Outcome] = []
    for item in objects:
        if not provider.annotations.takes(item.source_path):
            others.append(item)
        elif labels.setdefault(item.sha256, item) is not item:
            copies.append(Outcome.refused(item.source_path, STAGE, Reason.SAME_BYTES))
    return list(labels.values()), others, copies


def assign(
    provider: Provider,
    found: Sequence[SourceObject],
    planned: Mapping[str, Sequence[SourceSeries]],
    paths: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[LabelFile]], list[Outcome]]:
    """The label files of each plan part, by its name, and an outcome for each that belongs to none of the volumes.

    `planned` has the series of each part, `paths` the source paths of each object.
    """
    policy = provider.annotations
    manifest = read_url(policy.manifest) if policy.manifest else None
    rules = matching.rules_of(manifest=manifest, name=policy.name)
    candidates = [
        Candidate(
            key=f"{part}/{index}/{number}",
            geometry=volume.geometry,
            SeriesInstanceUID=series.SeriesInstanceUID,
            StudyInstanceUID=series.StudyInstanceUID,
            PatientID=series.PatientID,
            source_paths=tuple(sorted({p for s in volume.slices for p in paths.get(s.object, ())})),
        )
        for part, many in planned.items()
        for index, series in enumerate(many)
        for number, volume in enumerate(series.volumes)
    ]
    taken: dict[str, list[LabelFile]] = defaultdict(list)
    outcomes: list[Outcome] = []
    for item in found:
        name = PurePosixPath(item.source_path).name
        try:
            delivered = labelfiles.read(read_object(item.url), name)
            chosen = matching.match(item.source_path, delivered, candidates, rules)
        except Rejection as refusal:
            outcomes.append(Outcome.refused(item.source_path, STAGE, refusal.reason, refusal.detail))
            continue
        part, index, number = chosen.key.rsplit("/", 2)
        uid = planned[part][int(index)].SeriesInstanceUID
        taken[part].append(
            LabelFile(object=item.sha256, url=item.url, name=name, SeriesInstanceUID=uid, volume=int(number))
        )
    return taken, outcomes
