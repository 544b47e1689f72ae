"""The manifest of a release: path, size and digest of every object, and the check of objects against it.

Belongs here: its file format and the comparison that publish and verify share. Does not belong here: which objects a
release has, or what to do about one that is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeVar

import pyarrow as pa

from oncurate import tables
from oncurate.records import Record
from oncurate.store import Store

T = TypeVar("T")
R = TypeVar("R")

READERS = 8
"""Objects read at a time. Reading back is bound by the latency of an object store, not by the processor."""
_BATCH = 1_000
"""Objects handed to the readers at a time, so that memory does not grow with the release."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedManifest(ValueError):
    """The bytes are not a manifest."""


class Entry(NamedTuple):
    """One object: its path relative to the data set, its size and the SHA-256 of its bytes."""

    path: str
    bytes: int
    sha256: str


class Finding(StrEnum):
    """What can be wrong with a release, as the slug that reports show."""

    POINTER_DAMAGED = "pointer_damaged"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_ALTERED = "manifest_altered"
    MANIFEST_UNREADABLE = "manifest_unreadable"
    MISSING = "missing"
    ALTERED = "altered"
    UNLISTED_FILE = "unlisted_file"
    TABLE_UNREADABLE = "table_unreadable"
    PATH_NOT_IN_MANIFEST = "path_not_in_manifest"


class Problem(Record):
    """Something wrong, and the path it concerns."""

    finding: Finding
    path: str


def encode(entries: Iterable[Entry]) -> bytes:
    """A manifest as Parquet, ordered by path."""
    return tables.to_parquet("manifest", (entry._asdict() for entry in sorted(entries)))


def decode(data: bytes) -> list[Entry]:
    """The entries of a manifest; `DamagedManifest` if it is none, or if a path in it leads out of the data set."""
    try:
        columns = tables.read_columns(data, Entry._fields).to_pydict()
        entries = [Entry(*values) for values in zip(*(columns[name] for name in Entry._fields), strict=True)]
    except (pa.ArrowException, OSError, KeyError):
        raise DamagedManifest("not a Parquet file with the columns of a manifest") from None
    if not all(_is_sound(entry) for entry in entries):
        raise DamagedManifest("an entry without a relative path, a size or a SHA-256")
    return entries


def _is_sound(entry: Entry) -> bool:
    if not isinstance(entry.path, str) or not isinstance(entry.bytes, int) or not isinstance(entry.sha256, str):
        return False
    parts = entry.path.split("/")
    return "\\" not in entry.path and not {"", ".", ".."} & set(parts) and bool(_SHA256.fullmatch(entry.sha256))


def compare(store: Store, entries: Sequence[Entry], done: Callable[[Entry], None] | None = None) -> list[Problem]:
    """Read every object back and return those that are missing or altered, in the order of `entries`.

    `done` is called after each object, in the caller's thread.
    """
    problems = []
    for entry, problem in zip(entries, spread(partial(check, store), entries), strict=True):
        if problem:
            problems.append(problem)
        if done:
            done(entry)
    return problems


def check(store: Store, entry: Entry) -> Problem | None:
    """Read one object back; what is wrong with it, if anything."""
    try:
        same = store.size(entry.path) == entry.bytes and store.sha256(entry.path) == entry.sha256
    except FileNotFoundError:
        return Problem(finding=Finding.MISSING, path=entry.path)
    return None if same else Problem(finding=Finding.ALTERED, path=entry.path)


def spread(action: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """`action` of each item, in order, `READERS` at a time; the first error ends it."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(items), _BATCH):
            yield from pool.map(action, items[start : start + _BATCH])
