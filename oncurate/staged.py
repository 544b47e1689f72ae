"""What a release is made of: the staged parts before it is committed, and the record of it afterwards.

Belongs here: the frozen records that publish, card, catalogue and verify share, and how they are read from a data set's
folder. Does not belong here: writing a release (`oncurate.release`), or computing its numbers (`oncurate.summary`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oncurate.ledger import Sums
from oncurate.records import Record

POINTER = "current.json"
RELEASES = "releases"
MAIN_TABLES = ("subjects", "studies", "series", "volumes")
"""Tables without which a release says nothing; each release has them, and may have more."""


class About(Record):
    """What the provider file says of a data set. Everything but `dataset`, `title` and `provider` may be empty."""

    dataset: str
    title: str
    provider: str
    country: str = ""  # ISO 3166-1 alpha-2
    cancer_types: tuple[str, ...] = ()
    description: str = ""
    access_rights: str = ""  # terms under which the data may be used
    contact: str = ""


@dataclass(frozen=True)
class StagedObject:
    """One object that tables refer to: its key in the data set's folder, and where it lies in the work zone."""

    key: str
    work_key: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Staged:
    """Everything that a release will hold, ready in the work zone.

    `inputs_digest` and `recipe` together decide whether two runs would release the same: the first must cover the
    source's objects and what the provider file says about the data set, the second every stage's version and
    parameters. `released_at` is UTC, ISO 8601. `tables` and `gates` are whole files by name.
    """

    about: About
    inputs_digest: str
    recipe: str
    released_at: str
    objects: tuple[StagedObject, ...]
    tables: Mapping[str, bytes]
    gates: Mapping[str, bytes]
    ledger: Sums
    software: Mapping[str, str]
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Counts(Record):
    """Rows of the release's main tables."""

    subjects: int
    studies: int
    series: int
    volumes: int
    annotations: int


class Content(Record):
    """What occurs in a release, for those who look for data. Ages are null where fewer than five subjects have one."""

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    manufacturers: tuple[str, ...]
    sexes: tuple[str, ...]
    age_min_years: float | None
    age_max_years: float | None


class ReleaseRecord(About):
    """`release.json`: what was released, when, from what, by what."""

    version: str
    released_at: str
    inputs_digest: str
    recipe: str
    parameters: dict[str, Any]
    software: dict[str, str]
    counts: Counts
    content: Content
    ledger: Sums

    def encode(self) -> bytes:
        """Readable JSON, the same bytes for the same record."""
        return pretty_json(self.model_dump(mode="json"))


class Current(Record):
    """`current.json`: the release that readers are to use, and the digest that its manifest must have."""

    dataset: str
    version: str
    manifest_sha256: str
    released_at: str
    objects: int  # in the manifest
    bytes: int  # of all of them

    def encode(self) -> bytes:
        """Readable JSON, the same bytes for the same record."""
        return pretty_json(self.model_dump(mode="json"))


def pretty_json(value: Any) -> bytes:
    """`value` as JSON that people read: sorted keys, indented, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def folder(version: str) -> str:
    """The folder of a release, relative to the data set."""
    return f"{RELEASES}/{version}"


def record_key(version: str) -> str:
    """The key of a release's record, relative to the data set."""
    return f"{folder(version)}/release.json"


def manifest_key(version: str) -> str:
    """The key of a release's manifest, relative to the data set."""
    return f"{folder(version)}/manifest.parquet"


def table_key(version: str, table: str) -> str:
    """The key of one of a release's tables, relative to the data set."""
    return f"{folder(version)}/tables/{table}.parquet"


def number_of(version: str) -> int | None:
    """The number in `v<number>`, or None if this is not the name of a version."""
    digits = version.removeprefix("v")
    return int(digits) if version.startswith("v") and digits.isascii() and digits.isdigit() else None
