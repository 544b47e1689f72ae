"""The tables of the engine as they stand in `oncurate/data/deid/`, read once.

Belongs here: reading the files and looking rows up. Does not belong here: what follows from a row under a policy
(`oncurate.deid.rules`). Where each table comes from says `SOURCES.md` beside them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import NamedTuple

OPTIONS = (
    "retain_safe_private",
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_longitudinal_full_dates",
    "retain_longitudinal_modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
)
"""The option columns of PS3.15 Table E.1-1."""

CONTENT_OPTIONS = (
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_longitudinal_full_dates",
    "retain_longitudinal_modified_dates",
    "clean_descriptors",
)
"""The option columns of PS3.15 Table E.3.4-1."""

_TAG = re.compile(r"[0-9A-F]{8}")


class ProfileRow(NamedTuple):
    """A row of PS3.15 Table E.1-1. `vr` is "" where the installed dictionary does not know the attribute."""

    tag: str  # eight hexadecimal digits, "50xxxxxx" and the like, or "PRIVATE"
    keyword: str
    name: str
    vr: str
    basic: str
    options: dict[str, str]


class ContentRow(NamedTuple):
    """A row of PS3.15 Table E.3.4-1: what becomes of a content item with this concept name and value type."""

    meaning: str
    basic: str
    options: dict[str, str]


class PrivateRow(NamedTuple):
    """A private element that may stay: its creator and number in the block, its VR and where that is said."""

    group: int
    creator: str
    element: int
    vr: str
    meaning: str
    rule: str
    why: str


class Addition(NamedTuple):
    """How an attribute that Table E.1-1 does not list is handled, where its VR alone does not decide; and why."""

    handling: str
    why: str


@cache
def profile() -> tuple[ProfileRow, ...]:
    """Table E.1-1, in its order."""
    return tuple(
        ProfileRow(r["tag"], r["keyword"], r["name"], r["vr"], r["basic"], {o: r[o] for o in OPTIONS if r[o]})
        for r in _read("profile.csv")
    )


@cache
def profile_by_tag() -> dict[int, ProfileRow]:
    """The rows of Table E.1-1 that name one tag."""
    return {int(row.tag, 16): row for row in profile() if _TAG.fullmatch(row.tag)}


@cache
def content() -> dict[tuple[str, str, str], ContentRow]:
    """Table E.3.4-1 by coding scheme, code value and value type."""
    return {
        (r["scheme"], r["code"], r["value_type"]): ContentRow(
            r["meaning"], r["basic"], {o: r[o] for o in CONTENT_OPTIONS if r[o]}
        )
        for r in _read("content.csv")
    }


@cache
def private() -> dict[tuple[int, str, int], PrivateRow]:
    """The safe list by group, creator (in capitals) and number within the block."""
    rows = (
        PrivateRow(int(r["group"], 16), r["creator"], int(r["element"], 16), r["vr"], r["meaning"], r["rule"], r["why"])
        for r in _read("private.csv")
    )
    return {(row.group, row.creator.upper(), row.element): row for row in rows}


@cache
def creators() -> dict[str, str]:
    """The creators of the safe list by their capitals, as they are written."""
    return {row.creator.upper(): row.creator for row in private().values()}


@cache
def additions() -> dict[str, Addition]:
    """Our own additions by keyword."""
    return {r["keyword"]: Addition(r["handling"], r["why"]) for r in _read("additions.csv")}


@cache
def iods() -> dict[str, str]:
    """The storage SOP classes that the engine takes, by UID: the name of their IOD."""
    return {r["uid"]: r["iod"] for r in _read("sop_classes.csv")}


@cache
def terms() -> frozenset[str]:
    """Defined terms and enumerated values of code strings."""
    return frozenset(line for line in _lines("terms.txt") if line)


def vocabulary_lines() -> list[tuple[str, str, list[str]]]:
    """The vocabulary of descriptors: kind, language, words."""
    return [(r["kind"], r["language"], r["words"].split()) for r in _read("vocabulary.csv")]


def type_of(keyword: str, iod: str, parent: str | None) -> int:
    """1, 2 or 3: the strictest Type of an attribute in an IOD, or in the items of the sequence `parent`.

    Conditional Types count as if their condition held: whoever wrote the attribute thought so.
    """
    at_root, inside = _types()
    if parent is not None:
        return inside.get((keyword, parent), 3)
    for number, everywhere, named in at_root.get(keyword, ()):
        if (iod not in named) if everywhere else (iod in named):
            return number
    return 3


@cache
def _types() -> tuple[dict[str, list[tuple[int, bool, frozenset[str]]]], dict[tuple[str, str], int]]:
    at_root: dict[str, list[tuple[int, bool, frozenset[str]]]] = {}
    inside: dict[tuple[str, str], int] = {}
    for row in _read("types.csv"):
        number, words = int(row["type"]), row["where"].split()
        if row["place"] == "sequence":
            inside.update({(row["keyword"], parent): number for parent in words})
        else:
            everywhere = words[0] == "*"
            named = frozenset(word.lstrip("-") for word in words if word != "*")
            at_root.setdefault(row["keyword"], []).append((number, everywhere, named))
    return at_root, inside


def _read(name: str) -> Iterable[dict[str, str]]:
    return csv.DictReader(_lines(name))


def _lines(name: str) -> list[str]:
    return resources.files("oncurate").joinpath("data", "deid", name).read_text(encoding="utf-8").splitlines()
