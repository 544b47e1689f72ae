"""The pull stage: the provider's archive -> objects in the source zone, checksummed, resumable.

Belongs here: listing, reuse of what an earlier run took, batches by size, the objects table. Does not belong here:
how a kind of source is read (`oncurate.sources`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oncurate import sources, tables
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.recipe import content_name, digest
from oncurate.records import SourceObject
from oncurate.sources import Listed
from tasks import zone
from tasks.guard import stage_task
from tasks.zone import Part, Rows

STAGE = "pull"


def known_objects(provider: Provider) -> list[SourceObject]:
    """What the last finished pull found, as far as it still lies where it lay; empty before the first."""
    try:
        rows = tables.from_parquet(zone.work(provider).read(zone.OBJECTS))
    except FileNotFoundError:
        return []
    found = [SourceObject(**{**row, "reason": Reason(row["reason"]) if row["reason"] else None}) for row in rows]
    places = (provider.source, zone.source_zone(provider).url)
    return [item for item in found if not item.url or item.url.startswith(places)]


def divide(provider: Provider, known: Sequence[SourceObject]) -> tuple[list[SourceObject], list[Listed]]:
    """List the source: rows of an earlier pull that still hold, and the listed files that must be taken."""
    listed = sources.list_objects(provider.source)
    return sources.reuse(listed, {o.source_path: o for o in known}, zone.source_zone(provider))


def inputs_digest(objects: Iterable[SourceObject]) -> str:
    """Digest of what the archive holds: paths and contents. Equal digests mean nothing new."""
    return digest(sorted([o.source_path, o.sha256, o.reason.value if o.reason else ""] for o in objects))


def unchanged(provider: Provider) -> tuple[bool, str]:
    """Whether the source lists exactly what the last run took, and the digest of that."""
    known = known_objects(provider)
    if not known:
        return False, ""
    kept, new = divide(provider, known)
    return (not new and len(kept) == len(known)), inputs_digest(known)


def write_batches(provider: Provider, listed: Sequence[Listed], count: int) -> list[str]:
    """Write the listed files as `count` batches of about equal size; returns their keys."""
    batches = balance([(item.bytes, item) for item in listed], count)
    keys = []
    for batch in batches:
        value = [[i.source_path, i.url, i.bytes, i.version, i.reason] for i in batch]
        key = f"batches/{STAGE}/{content_name(value)}.json.gz"
        zone.work(provider).write(key, zone.pack(value))
        keys.append(key)
    return keys


def balance(weighted: Iterable[tuple[int, Any]], count: int) -> list[list[Any]]:
    """Items in at most `count` groups of about equal weight: the heaviest first, each to the lightest group."""
    groups: list[list[Any]] = [[] for _ in range(max(1, count))]
    loads = [0] * len(groups)
    for weight, item in sorted(weighted, key=lambda pair: -pair[0]):
        lightest = loads.index(min(loads))
        groups[lightest].append(item)
        loads[lightest] += weight + 1
    return [group for group in groups if group]


@stage_task(STAGE)
def pull_batch(provider: Provider, batch: str, number: int, total: int) -> Part:  # noqa: ARG001 - number, total name the run
    """Take every listed file of one batch: hash it in place, or bring it into the source zone."""
    store, source = zone.work(provider), zone.source_zone(provider)
    part = zone.part_of(STAGE, batch)
    if zone.finished(store, part) and not _unreadable(zone.load_rows(store, part)):
        return part
    taken: list[dict[str, Any]] = []
    for path, url, size, version, reason in zone.unpack_json(store.read(batch)):
        item = Listed(path, url, size, version, Reason(reason) if reason else None)
        taken.extend(row.model_dump(mode="json") for row in sources.take(item, source))
    return zone.save(store, part, {}, Rows(rows=tuple(taken)))


def _unreadable(rows: Rows) -> bool:
    """Whether a file could not be read last time, which a second look may mend."""
    return any(row["reason"] == Reason.UNREADABLE_FILE for row in rows.rows)


def write_objects(provider: Provider, objects: Iterable[SourceObject]) -> None:
    """Write the objects table of this run: the memory of the next pull."""
    rows = [o.model_dump(mode="json") for o in sorted(objects, key=lambda o: o.source_path)]
    zone.work(provider).write(zone.OBJECTS, tables.to_parquet("objects", rows))
