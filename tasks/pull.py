"""The pull stage: the provider's archive -> objects in the source zone, checksummed, resumable.

Belongs here: listing, reuse of what an earlier run took, batches by size, the journal, the objects table. Does not
belong here: how a kind of source is read (`oncurate.sources`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from oncurate import objects_table, sources
from oncurate.provider import Provider
from oncurate.reasons import Reason, State
from oncurate.recipe import canonical_json, content_name
from oncurate.records import SourceObject
from oncurate.source_paths import INSIDE
from oncurate.sources import Listed, Memory, Places, taking
from oncurate.sources.dicomdir import missing_objects
from oncurate.sources.interface import Expecting
from oncurate.sources.pace import check_window, while_open
from oncurate.sources.selection import HEAD_BYTES, Wanted
from oncurate.store import Store, read_url
from tasks import zone
from tasks.guard import stage_task
from tasks.pulling import JOURNAL, READING, STAGE, Reading, amount_of, journal_key
from tasks.zone import Part, Rows

SELECTION = "pull/selection"
"""Key of the digest of the selection that the objects table was made with."""
FILES_A_BATCH = 2_000
BYTES_A_BATCH = 1 << 30
HELD = 20_000
"""Files that are listed before batches of fixed size are cut; up to here they are balanced over the workers."""
JOURNAL_S = 20.0
JOURNAL_BYTES = 256 << 20
"""What a batch has taken is written down after this time, or this many bytes: what a kill costs at most."""


@dataclass
class Survey:
    """What listing the source found. `kept`: rows of an earlier pull that hold; `batches`: what must be taken."""

    kept: list[SourceObject] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    vanished: int = 0  # files of the earlier pull that the source no longer lists


def known_objects(provider: Provider) -> list[SourceObject]:
    """What the last pull took, finished or killed, as far as it still lies where it lay; empty before the first.

    What a medium lacks is left out: it was never taken, and is told anew of what is there (`with_missing`).
    """
    work = zone.work(provider)
    rows = (row for key in _journal_keys(provider) for row in zone.unpack(work.read(key), Rows).rows)
    journal = {row["source_path"]: SourceObject.model_validate(row) for row in rows}
    newer = {_outermost(path) for path in journal}
    older = (item for item in _finished(work) if _outermost(item.source_path) not in newer)
    places = (provider.source, zone.source_zone(provider).url)
    return [
        item
        for item in chain(older, journal.values())
        if item.reason is not Reason.MISSING_ON_MEDIUM and (not item.url or item.url.startswith(places))
    ]


def with_missing(objects: Sequence[SourceObject]) -> list[SourceObject]:
    """All rows of the source, and a row for each file that a DICOMDIR among them lists and that is not there."""
    return [*objects, *missing_objects(objects)]


def survey(provider: Provider, workers: int = 1) -> Survey:
    """List the source, and write batches of what must be taken; the listing is never held as a whole."""
    known = _still_wanted(provider, known_objects(provider))
    found = Survey()
    memory = Memory({row.source_path: row for row in known}, zone.source_zone(provider))
    with closing(open_source(provider)) as source:
        memory.tell(source)
        held: list[Listed] = []
        for group in _grouped(_to_take(found, memory, while_open(source.entries(), provider.pull))):
            held += group
            if len(held) >= HELD:
                _cut(provider, found, held, workers, is_last=False)
        _cut(provider, found, held, workers, is_last=True)
    found.vanished = memory.vanished
    return found


def open_source(provider: Provider, workers: int = 1) -> sources.Source:
    """The provider's source, for one of `workers` that share its rate."""
    return sources.source_of(provider.source, provider.pull.for_worker(workers), provider.select)


def inputs_digest(objects: Iterable[SourceObject]) -> str:
    """Digest of what the archive holds: paths and contents. Equal digests mean nothing new."""
    found = hashlib.sha256(b"[")
    for number, one in enumerate(sorted(objects, key=lambda o: (o.source_path, o.sha256, o.reason or ""))):
        found.update(b"," if number else b"")
        found.update(canonical_json([one.source_path, one.sha256, one.reason or ""]))
    found.update(b"]")
    return found.hexdigest()


def unchanged(provider: Provider) -> tuple[bool, str]:
    """Whether the source lists exactly what the last run took, and if so the digest of that."""
    known = known_objects(provider)
    if not known or _still_wanted(provider, known) != known:
        return False, ""
    memory = Memory({row.source_path: row for row in known}, zone.source_zone(provider))
    with closing(open_source(provider)) as source:
        memory.tell(source)
        kept = 0
        for listed in while_open(source.entries(), provider.pull):
            rows = memory.rows(listed)
            if not rows:
                return False, ""
            kept += len(rows)
    return (True, inputs_digest(with_missing(known))) if kept == len(known) else (False, "")


def write_batches(provider: Provider, listed: Sequence[Listed], count: int, workers: int = 1) -> list[str]:
    """Write the listed files as `count` batches of about equal size; returns the key of each."""
    groups: dict[str, list[Listed]] = {}
    for number, item in enumerate(listed):
        groups.setdefault(item.group or f"\n{number}", []).append(item)
    weighted = [(sum(i.bytes or 0 for i in group), group) for group in groups.values()]
    keys = []
    for batch in balance(weighted, count):
        items = [item for group in batch for item in group]
        value = [[i.source_path, i.url, i.bytes, i.version, i.reason, i.group] for i in items]
        key = f"batches/{STAGE}/{content_name(value)}.json.gz"
        zone.work(provider).write(key, zone.pack({"workers": workers, "items": value}))
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
    store = zone.work(provider)
    part = zone.part_of(STAGE, batch)
    if zone.finished(store, part) and not _may_heal(zone.load_rows(store, part)):
        return part
    before = {row["source_path"]: row for row in _written(provider, part)}
    spec = zone.unpack_json(store.read(batch))
    items = [Listed(*item[:4], Reason(item[4]) if item[4] else None, item[5]) for item in spec["items"]]
    left = [item for item in items if item.source_path not in before]
    taken: list[dict[str, Any]] = list(before.values())
    with closing(open_source(provider, spec["workers"])) as source, closing(Reading(store, part.name)) as reading:
        if isinstance(source, Expecting):
            source.expect(left)
        into = replace(places(provider), heard=reading.heard)
        rows = taking.take_all(left, source, into, lambda: check_window(provider.pull))
        for piece in _journalled(provider, part, rows):
            reading.journalled(amount_of(piece).bytes)
            taken += piece
    return zone.save(store, part, {}, Rows(rows=tuple(taken)))


def places(provider: Provider) -> Places:
    """Where what is taken goes. Unfinished objects lie outside the source zone."""
    work = zone.work(provider)
    return Places(zone.source_zone(provider), work.child("partial"), provider.pull.limits, Wanted(provider.select))


def write_objects(provider: Provider, objects: Iterable[SourceObject]) -> None:
    """Write the objects table of this run, the memory of the next pull, which makes the journal superfluous."""
    work = zone.work(provider)
    work.write(zone.OBJECTS, objects_table.to_parquet(sorted(objects, key=lambda o: o.source_path)))
    work.write(SELECTION, Wanted(provider.select).digest.encode())
    for folder in (JOURNAL, READING, f"batches/{STAGE}"):
        for key in list(work.list(folder)):
            work.delete(key)


def account(
    survey: Survey, taken: Sequence[SourceObject], objects: Sequence[SourceObject], seconds: float
) -> list[dict[str, Any]]:
    """What an operator sees of the source: counts, bytes and rate; no name, path or id.

    `objects` are all rows (`with_missing`), `taken` those of this pull, which took `seconds`.
    """
    own = [row for row in taken if INSIDE not in row.source_path]
    refused = [row for row in taken if row.reason is not None and row.reason.state is State.QUARANTINED]
    size = sum(row.bytes for row in own)
    return [
        {"what": "listed", "files": survey.files, "MB": round(survey.bytes / 1e6, 1)},
        {"what": "held from an earlier pull", "files": survey.files - survey.new, "MB": None},
        {"what": "fetched", "files": len(own), "MB": round(size / 1e6, 1), "MB/s": round(size / 1e6 / seconds, 1)},
        {"what": "refused (members of archives counted)", "files": len(refused), "MB": None},
        {"what": "vanished since the earlier pull", "files": survey.vanished, "MB": None},
        {"what": "missing on a medium", "files": len(objects) - len(survey.kept) - len(taken), "MB": None},
    ]


def _to_take(found: Survey, memory: Memory, entries: Iterable[Listed]) -> Iterator[Listed]:
    for item in entries:
        found.files += 1
        found.bytes += item.bytes or 0
        rows = memory.rows(item)
        found.kept += rows
        if not rows:
            found.new += 1
            found.new_bytes += item.bytes or 0
            yield item


def _grouped(items: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Files one by one, those of a group together."""
    group: list[Listed] = []
    for item in items:
        if group and (not item.group or item.group != group[0].group):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _cut(provider: Provider, found: Survey, held: list[Listed], workers: int, *, is_last: bool) -> None:
    """Write what is held as batches, and forget it."""
    by_work = max(-(-len(held) // FILES_A_BATCH), -(-sum(i.bytes or 0 for i in held) // BYTES_A_BATCH))
    count = max(by_work, workers) if is_last and not found.batches else by_work
    if held:
        found.batches += write_batches(provider, held, min(len(held), count), workers)
    held.clear()


def _still_wanted(provider: Provider, known: list[SourceObject]) -> list[SourceObject]:
    """Rows as the present selection would make them: after a change of it, what was left out is asked for again."""
    wanted = Wanted(provider.select)
    try:
        before = zone.work(provider).read(SELECTION).decode()
    except FileNotFoundError:
        before = Wanted(sources.Selection()).digest
    if before == wanted.digest:
        return known
    return [_reselected(row, wanted) for row in known if row.reason is not Reason.NOT_SELECTED]


def _reselected(row: SourceObject, wanted: Wanted) -> SourceObject:
    if row.reason is not None or wanted.wants(read_url(row.url, stop=HEAD_BYTES)):
        return row
    return row.model_copy(update={"url": "", "reason": Reason.NOT_SELECTED})


def _journalled(provider: Provider, part: Part, rows: Iterable[list[SourceObject]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of files, written down piece by piece."""
    piece: list[dict[str, Any]] = []
    since, size = time.monotonic(), 0
    try:
        for found in rows:
            piece += [row.model_dump(mode="json") for row in found]
            size += found[0].bytes
            if size >= JOURNAL_BYTES or time.monotonic() - since >= JOURNAL_S:
                _write_down(provider, part, piece)
                yield piece
                piece, since, size = [], time.monotonic(), 0
    finally:
        _write_down(provider, part, piece)
    yield piece


def _write_down(provider: Provider, part: Part, piece: list[dict[str, Any]]) -> None:
    if piece:
        zone.work(provider).write(journal_key(part.name, piece), zone.pack(Rows(rows=tuple(piece))))


def _written(provider: Provider, part: Part) -> Iterator[dict[str, Any]]:
    """Rows that a try of this batch wrote down, apart from those that may heal."""
    work = zone.work(provider)
    for key in _journal_keys(provider):
        if key.startswith(f"{JOURNAL}/{part.name}-"):
            rows = zone.unpack(work.read(key), Rows).rows
            bad = {_outermost(row["source_path"]) for row in rows if row["reason"] in taking.RETRIED}
            yield from (row for row in rows if _outermost(row["source_path"]) not in bad)


def _journal_keys(provider: Provider) -> list[str]:
    return [key for key in zone.work(provider).list(JOURNAL) if key.endswith(".rows.json.gz")]


def _finished(work: Store) -> Iterator[SourceObject]:
    """What the last pull that ended found."""
    try:
        table = work.read(zone.OBJECTS)
    except FileNotFoundError:
        return
    yield from objects_table.from_parquet(table)


def _outermost(source_path: str) -> str:
    return source_path.partition(INSIDE)[0]


def _may_heal(rows: Rows) -> bool:
    """Whether a file could not be read last time, which a second look may mend."""
    return any(row["reason"] in taking.RETRIED for row in rows.rows)
