"""What a data set's folder holds already: its releases, their records, and the one that readers see.

Belongs here: reading them, and refusing a folder that is somebody else's. Does not belong here: writing anything
(`oncurate.placement`, `oncurate.release`), or checking digests (`oncurate.verify`).
"""

from __future__ import annotations

from pydantic import ValidationError

from oncurate import manifest
from oncurate.errors import StoreUnreachable, UsageError
from oncurate.manifest import Entry
from oncurate.staged import POINTER, RELEASES, Current, ReleaseRecord, manifest_key, number_of, record_key
from oncurate.store import Store


def current(dataset_store: Store) -> Current | None:
    """The release that readers see; None if there is none or the pointer is unreadable (`verify` says which)."""
    try:
        return Current.model_validate_json(dataset_store.read(POINTER))
    except (FileNotFoundError, ValidationError):
        return None


def read_record(dataset_store: Store, version: str) -> ReleaseRecord | None:
    """The record of a release; None if it is missing or unreadable."""
    try:
        return ReleaseRecord.model_validate_json(dataset_store.read(record_key(version)))
    except (FileNotFoundError, ValidationError):
        return None


def numbers(dataset_store: Store) -> list[int]:
    """The numbers of all releases that were committed, which is to say have a manifest, ascending."""
    keys = (key.split("/") for key in dataset_store.list(RELEASES))
    found = (number_of(parts[1]) for parts in keys if len(parts) == 3 and parts[2] == "manifest.parquet")
    return sorted(number for number in found if number)


def last_record(dataset_store: Store) -> ReleaseRecord | None:
    """The record of the last committed release, whether readers see it yet or not."""
    committed = numbers(dataset_store)
    return read_record(dataset_store, f"v{committed[-1]}") if committed else None


def entries_of(dataset_store: Store, version: str) -> list[Entry]:
    """The manifest of a committed release; `StoreUnreachable` if it is damaged."""
    try:
        return manifest.decode(dataset_store.read(manifest_key(version)))
    except manifest.DamagedManifest:
        raise StoreUnreachable(
            f"the manifest of release {version} in {dataset_store.url} is damaged; restore it before releasing again"
        ) from None


def refuse_foreign(dataset_store: Store, dataset: str) -> None:
    """Raise `UsageError` if the folder is another data set's, or holds a pointer that is nobody's."""
    pointed, last = current(dataset_store), last_record(dataset_store)
    owners = {found.dataset for found in (pointed, last) if found}
    if owners - {dataset}:
        raise UsageError(
            f"{dataset_store.url} holds releases of another data set, not of '{dataset}'; "
            "choose another target or another name for the data set"
        )
    if not owners and dataset_store.exists(POINTER):
        raise UsageError(f"{dataset_store.url} holds a {POINTER} that is not a release's; choose another target")
