"""The answer key: what was planted where, what must become of it, and what must be found nowhere.

Belongs here: its records, and the notation of places. Does not belong here: planting, or judging what came out.

A path is a chain of steps joined by " > ". A step is a tag of eight hexadecimal digits, or a private element by group,
number and creator ("0019xx0C{SIEMENS MR HEADER}"), with an item in brackets: its number, or scheme and code of the
concept name of a content item ("0040A730[DCM:121071]"), because other items of a report may rightly be taken out.
The first step may be "meta".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydicom.datadict import tag_for_keyword

Leaves = Literal["released", "refused", "either"]
"""What must become of a file: it leaves de-identified, it may not leave, or both are right."""


class Action(StrEnum):
    """What must become of a planted item. The first ten are the action types of the MIDI-B challenge."""

    TAG_RETAINED = "tag retained"
    TEXT_RETAINED = "text retained"
    TEXT_REMOVED = "text removed"
    TEXT_REPLACED = "text null or replaced"
    UID_CHANGED = "UID changed"
    UID_CONSISTENT = "UID consistent"
    PATIENT_CONSISTENT = "patient ID consistent"
    DATE_SHIFTED = "date shifted"
    PIXELS_HIDDEN = "pixels hidden"
    PIXELS_RETAINED = "pixels retained"
    INTERVAL_RETAINED = "interval retained"


SURVIVORS = frozenset(
    {Action.TAG_RETAINED, Action.TEXT_RETAINED, Action.PIXELS_RETAINED, Action.INTERVAL_RETAINED},
)
"""Actions by which something survives that a user needs."""

Box = tuple[int, int, int, int]
"""First row, first column, last row, last column of a region in every frame; inclusive."""


@dataclass(frozen=True)
class Item:
    """One planted item: in which file, where, what must become of it.

    `value` is what stands there; `absent` must not be in what stands there afterwards; `kept` are words that must be.
    """

    file: int
    path: str
    action: Action
    place: str
    value: str = ""
    absent: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class File:
    """One file of the archive. `number` is its InstanceNumber, by which it is known again; `name` its path there."""

    number: int
    name: str
    kind: str
    patient: str
    made: bool
    leaves: Leaves = "released"


@dataclass(frozen=True)
class Reference:
    """That the UID at `path` of `file` is the SOP Instance UID of the file `target`."""

    file: int
    path: str
    target: int


@dataclass
class Key:
    """The whole answer key. `identifiers` maps what must be found nowhere to the place where it was planted.

    `real` are identifying values of real headers that were left in place: they are looked for, and never shown.
    """

    seed: int
    files: list[File] = field(default_factory=list, repr=False)
    items: list[Item] = field(default_factory=list, repr=False)
    references: list[Reference] = field(default_factory=list, repr=False)
    identifiers: dict[str, str] = field(default_factory=dict, repr=False)
    real: set[str] = field(default_factory=set, repr=False)

    def forbid(self, values: Iterable[str], place: str) -> None:
        """These values may be found nowhere in what leaves."""
        for value in values:
            self.identifiers.setdefault(value, place)

    def save(self, path: Path) -> None:
        """Write the key as JSON, but for the values of real headers."""
        shown = asdict(self)
        shown["real"] = len(self.real)
        path.write_text(json.dumps(shown, ensure_ascii=False, indent=1), encoding="utf-8")


def step(keyword: str, item: int | str | None = None) -> str:
    """A step of a path by the keyword of a standard attribute."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}" + (f"[{item}]" if item is not None else "")


def private(group: int, number: int, creator: str) -> str:
    """A step of a path to a private element."""
    return f"{group:04X}xx{number:02X}{{{creator}}}"


def chain(*steps: str) -> str:
    """A path of steps; empty ones are left out."""
    return " > ".join(part for part in steps if part)
