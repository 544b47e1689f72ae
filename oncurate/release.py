"""Releases: how a staged release becomes visible, whole or not at all.

Belongs here: the order of writes that makes it so, version numbers, the pointer, and what to do after a run that was
killed between two of them. Does not belong here: what the tables and the card say.

The order: volume objects under their content keys, read back; the release's own files, read back; the manifest, by a
create-only write, which is the commit; the pointer. Nothing below `releases/` is ever overwritten: a run that was
killed is resumed where it would write the same bytes, and otherwise its number is left behind unused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oncurate import card, committed, manifest, summary
from oncurate.committed import current, read_record
from oncurate.errors import AlreadyExists, Defect, StoreUnreachable
from oncurate.manifest import Entry
from oncurate.placement import Placement, place
from oncurate.recipe import sha256_hex
from oncurate.staged import (
    MAIN_TABLES,
    POINTER,
    Current,
    ReleaseRecord,
    Staged,
    folder,
    manifest_key,
    number_of,
    record_key,
    table_key,
)
from oncurate.store import Store


@dataclass(frozen=True)
class Released:
    """The release that readers now see; `is_new` is False where it had been committed before."""

    current: Current
    is_new: bool


def publish(dataset_store: Store, work: Store, staged: Staged, done: Callable[[Entry], None] | None = None) -> Released:
    """Place the objects of a staged release and commit it; `done` is called after each object that was read back."""
    return commit(dataset_store, staged, place(dataset_store, work, staged, done))


def is_current(dataset_store: Store, inputs_digest: str, recipe: str) -> Current | None:
    """The current release if it was made of these inputs with this recipe, so that there is nothing new to release."""
    pointed = current(dataset_store)
    record = pointed and read_record(dataset_store, pointed.version)
    return pointed if record and _same(record, inputs_digest, recipe) else None


def next_version(dataset_store: Store) -> str:
    """The version that a release committed now would get, unless the debris of a killed run is in its way."""
    return f"v{max(committed.numbers(dataset_store), default=0) + 1}"


def commit(dataset_store: Store, staged: Staged, placement: Placement) -> Released:
    """Write the release around objects that are in place, and let readers see it.

    Repeating a commit with the same inputs and recipe changes nothing and returns the release that is there.
    """
    if {(o.key, o.bytes, o.sha256) for o in staged.objects} != set(placement.entries):
        raise Defect("the objects that were placed are not those of the staged release")
    if not staged.tables.keys() >= set(MAIN_TABLES):
        raise Defect("a release needs the tables " + ", ".join(MAIN_TABLES))
    committed.refuse_foreign(dataset_store, staged.about.dataset)
    last = committed.last_record(dataset_store)
    if last and _same(last, staged.inputs_digest, staged.recipe):
        return Released(_repoint(dataset_store, last), is_new=False)
    number = max(committed.numbers(dataset_store), default=0) + 1
    while (made := _fill(dataset_store, staged, f"v{number}", placement.entries)) is None:
        number += 1
    return Released(_point(dataset_store, made), is_new=True)


def _same(record: ReleaseRecord, inputs_digest: str, recipe: str) -> bool:
    return record.inputs_digest == inputs_digest and record.recipe == recipe


def _fill(dataset_store: Store, staged: Staged, version: str, placed: Sequence[Entry]) -> Current | None:
    """Write a release's files and commit them; None if the version is taken by something else than this release."""
    earlier = read_record(dataset_store, version)
    if earlier and _same(earlier, staged.inputs_digest, staged.recipe):
        staged = replace(staged, released_at=earlier.released_at)  # the same bytes as the run that was killed
    files = _files(staged, version)
    if set(dataset_store.list(folder(version))) - files.keys() - {manifest_key(version)}:
        return None
    for key, data in files.items():
        if not dataset_store.put_if_absent(key, data) and dataset_store.read(key) != data:
            return None
    own = [Entry(key, len(data), sha256_hex(data)) for key, data in files.items()]
    wrong = manifest.compare(dataset_store, own)
    if wrong:
        raise StoreUnreachable(f"{dataset_store.url} gives back other bytes than were written for {len(wrong)} files")
    entries = [*placed, *own]
    listing = manifest.encode(entries)
    try:
        dataset_store.create(manifest_key(version), listing)
    except AlreadyExists:
        if dataset_store.read(manifest_key(version)) != listing:
            return None
    return _pointer(staged.about.dataset, version, staged.released_at, entries, listing)


def _files(staged: Staged, version: str) -> dict[str, bytes]:
    """The release's own files by key; the record comes first, because it tells a later run whose number this is."""
    facts = summary.summarise(staged.tables)
    record = ReleaseRecord(
        **staged.about.model_dump(),
        version=version,
        released_at=staged.released_at,
        inputs_digest=staged.inputs_digest,
        recipe=staged.recipe,
        parameters=dict(staged.parameters),
        software=dict(staged.software),
        counts=facts.counts,
        content=facts.content,
        ledger=staged.ledger,
    )
    base = folder(version)
    return {
        record_key(version): record.encode(),
        **{table_key(version, name): data for name, data in sorted(staged.tables.items())},
        **{f"{base}/gates/{suite}.json": data for suite, data in sorted(staged.gates.items())},
        f"{base}/README.md": card.render(record, facts, staged.gates).encode(),
    }


def _repoint(dataset_store: Store, record: ReleaseRecord) -> Current:
    """Point to a release that was committed before; all of it is read back if the pointer has to move."""
    pointed = current(dataset_store)
    if pointed and pointed.version == record.version:
        return pointed
    listing = dataset_store.read(manifest_key(record.version))
    entries = committed.entries_of(dataset_store, record.version)
    wrong = manifest.compare(dataset_store, entries)
    if wrong:
        raise StoreUnreachable(
            f"release {record.version} in {dataset_store.url} was committed, but {len(wrong)} of its objects are "
            "missing or altered now; restore them, or delete its manifest.parquet to release again"
        )
    return _point(dataset_store, _pointer(record.dataset, record.version, record.released_at, entries, listing))


def _pointer(dataset: str, version: str, released_at: str, entries: Sequence[Entry], listing: bytes) -> Current:
    return Current(
        dataset=dataset,
        version=version,
        manifest_sha256=sha256_hex(listing),
        released_at=released_at,
        objects=len(entries),
        bytes=sum(entry.bytes for entry in entries),
    )


def _point(dataset_store: Store, target: Current) -> Current:
    """Move the pointer forwards; one that is already further on was moved by another run, and stays."""
    pointed = current(dataset_store)
    if pointed and (number_of(pointed.version) or 0) > (number_of(target.version) or 0):
        return pointed
    dataset_store.write(POINTER, target.encode())
    return target
