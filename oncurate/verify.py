"""Verifying a release: is every byte of it still the one that was released?

Belongs here: following pointer, manifest and digests, and what in a release's folder or tables does not fit them. Does
not belong here: mending anything. A damaged release is a report with problems, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
from pydantic import ValidationError

from oncurate import committed, manifest, tables
from oncurate.errors import UsageError
from oncurate.manifest import Entry, Finding, Problem
from oncurate.recipe import sha256_hex
from oncurate.records import Record
from oncurate.staged import POINTER, Current, folder, manifest_key, number_of, table_key
from oncurate.store import Store

PATH_SUFFIX = "_path"
"""Columns whose name ends so hold paths of objects; null where there is no such object."""

PATH_TABLES = ("volumes", "annotations", "instances")
"""Tables that have such columns. The first is in every release."""


class VerifyReport(Record):
    """What was checked, and what is wrong with it; paths are relative to the data set."""

    version: str
    is_current: bool
    manifest_sha256: str
    objects: int
    bytes: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    dataset_store: Store, version: str | None = None, done: Callable[[Entry], None] | None = None
) -> VerifyReport:
    """Read a release back, the current one by default, and compare it with its manifest.

    `done` is called after each object. `UsageError` if there is no such release; `StoreUnreachable` passes through.
    """
    pointed, problems = _pointer(dataset_store)
    chosen = version or (pointed.version if pointed else _last_seen(dataset_store))
    if chosen is None:
        raise UsageError(f"{dataset_store.url} holds no release")
    if version and (number_of(version) is None or not any(dataset_store.list(folder(version)))):
        raise UsageError(f"{dataset_store.url} holds no release {version}")
    is_current = pointed is not None and pointed.version == chosen
    expected = pointed.manifest_sha256 if pointed and is_current else None
    listing, entries, more = _manifest(dataset_store, chosen, expected)
    problems += more
    if entries is not None:
        problems += manifest.compare(dataset_store, entries, done)
        listed = {entry.path for entry in entries} | {manifest_key(chosen)}
        present = dataset_store.list(folder(chosen))
        problems += [Problem(finding=Finding.UNLISTED_FILE, path=key) for key in present if key not in listed]
        problems += _dangling(dataset_store, chosen, listed)
    return VerifyReport(
        version=chosen,
        is_current=is_current,
        manifest_sha256=sha256_hex(listing) if listing is not None else "",
        objects=len(entries or ()),
        bytes=sum(entry.bytes for entry in entries or ()),
        problems=tuple(problems),
    )


def _pointer(dataset_store: Store) -> tuple[Current | None, list[Problem]]:
    try:
        return Current.model_validate_json(dataset_store.read(POINTER)), []
    except FileNotFoundError:
        return None, []
    except ValidationError:
        return None, [Problem(finding=Finding.POINTER_DAMAGED, path=POINTER)]


def _last_seen(dataset_store: Store) -> str | None:
    numbers = committed.numbers(dataset_store)
    return f"v{numbers[-1]}" if numbers else None


def _manifest(
    dataset_store: Store, version: str, expected: str | None
) -> tuple[bytes | None, list[Entry] | None, list[Problem]]:
    """The manifest's bytes, its entries, and what is wrong with it; `expected` is the digest that the pointer gives."""
    key = manifest_key(version)
    try:
        listing = dataset_store.read(key)
    except FileNotFoundError:
        return None, None, [Problem(finding=Finding.MANIFEST_MISSING, path=key)]
    altered = expected is not None and sha256_hex(listing) != expected
    problems = [Problem(finding=Finding.MANIFEST_ALTERED, path=key)] if altered else []
    try:
        return listing, manifest.decode(listing), problems
    except manifest.DamagedManifest:
        return listing, None, [*problems, Problem(finding=Finding.MANIFEST_UNREADABLE, path=key)]


def _dangling(dataset_store: Store, version: str, listed: set[str]) -> Iterable[Problem]:
    """Paths in tables that the manifest does not know."""
    first, *others = PATH_TABLES
    keys = [table_key(version, first), *(k for name in others if (k := table_key(version, name)) in listed)]
    return [problem for key in keys for problem in _dangling_in(dataset_store, key, listed)]


def _dangling_in(dataset_store: Store, key: str, listed: set[str]) -> Iterable[Problem]:
    try:
        table = tables.read_columns(dataset_store.read(key))
        columns = [table[name] for name in table.column_names if name.endswith(PATH_SUFFIX)]
        paths = {path for column in columns for path in column.to_pylist() if path}
    except FileNotFoundError:
        return [] if key in listed else [Problem(finding=Finding.MISSING, path=key)]
    except (pa.ArrowException, OSError):
        return [Problem(finding=Finding.TABLE_UNREADABLE, path=key)]
    return [Problem(finding=Finding.PATH_NOT_IN_MANIFEST, path=path) for path in sorted(paths - listed)]
