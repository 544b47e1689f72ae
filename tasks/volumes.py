"""The batch loop over volumes: the one that convert, harmonise and check share.

Belongs here: skipping what was refused, reusing what was done, turning a refusal into an outcome. Does not belong here:
what a stage does with one volume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oncurate.errors import Rejection
from oncurate.provider import Provider
from oncurate.records import CohortSeries, CohortVolume, Outcome
from oncurate.store import Store
from tasks import zone
from tasks.deidentify import Cohort
from tasks.zone import Part, Rows

Work = Callable[[Store, str, CohortSeries, CohortVolume], bytes]
"""What a stage does with one volume: (work zone, the volume's folder, its series, the volume) -> its record, JSON."""


def run_batch(
    provider: Provider, cohort: Part, skip: Sequence[str], stage: str, name: str, images: Sequence[str], work: Work
) -> Part:
    """`work` on every volume of one cohort part, less those in `skip`.

    Its record is kept as <name>.json beside the volume's objects; a volume whose record and `images` are all there was
    done before. A `Rejection` becomes the volume's outcome, and the others go on.
    """
    store = zone.work(provider)
    part = zone.part_of(stage, [cohort.name, sorted(skip)])
    done: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for series, volume in _volumes(zone.unpack(store.read(cohort.records), Cohort), skip):
        folder = zone.volume_folder(series.subject_id, volume.volume_id)
        record = recorded(provider, store, folder, name, images)
        if record is None:
            try:
                record = work(store, folder, series, volume)
            except Rejection as refusal:
                outcomes.append(Outcome.refused(volume.volume_id, stage, refusal.reason, refusal.detail))
                continue
            store.write(zone.staged(f"{folder}/{name}.json"), record)
        done.append({"volume_id": volume.volume_id, name: json.loads(record)})
    return zone.save(store, part, {}, Rows(rows=tuple(done), outcomes=tuple(outcomes)))


def where(provider: Provider, work: Store, key: str) -> Store | None:
    """The zone that holds a volume's object: staged in the work zone, or already published; None if neither does."""
    if work.exists(zone.staged(key)):
        return work.child("stage")
    published = zone.target(provider)
    return published if published.exists(key) else None


def _volumes(cohort: Cohort, skip: Sequence[str]) -> Iterator[tuple[CohortSeries, CohortVolume]]:
    dropped = set(skip)
    for series in cohort.series:
        for volume in series.volumes:
            if volume.volume_id not in dropped:
                yield series, volume


def recorded(provider: Provider, work: Store, folder: str, name: str, images: Sequence[str]) -> bytes | None:
    """The record <name>.json of a folder if it is there with all of `images`."""
    try:
        record = work.read(zone.staged(f"{folder}/{name}.json"))
    except FileNotFoundError:
        return None
    return record if all(where(provider, work, f"{folder}/{image}") is not None for image in images) else None
