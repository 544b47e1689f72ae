"""One object under planting: who it belongs to, and the notes that go into the answer key.

Belongs here: writing an element and its expectation together. Does not belong here: which elements (`headers`,
`hidden`, `wording`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from benchmarks.phi.answers import Action, Item, Key, chain
from benchmarks.phi.made import Draft
from benchmarks.phi.people import People, Person


@dataclass
class Study:
    """A made study: its UID, day and accession number."""

    uid: str
    day: date
    accession: str


@dataclass
class Patient:
    """A made patient with his or her studies; `script` is one of `people.SCRIPTS`."""

    name: str
    person: Person
    script: str
    id: str
    issuer: str
    birthday: date
    studies: list[Study] = field(default_factory=list)


@dataclass
class Site:
    """An object on its way into the archive, under its number; `draw` is the seeded choice of spellings."""

    key: Key
    people: People
    patient: Patient
    study: Study
    draft: Draft
    number: int

    @property
    def ds(self) -> Dataset:
        return self.draft.ds

    @property
    def draw(self) -> random.Random:
        return self.people.random

    @property
    def latin(self) -> bool:
        """Whether text in this object may have Latin letters with accents."""
        return self.patient.script in ("accented", "accented utf-8")

    def expect(self, path: str, action: Action, place: str, **facts: object) -> None:
        """Note what must become of the element at `path`."""
        self.key.items.append(Item(self.number, path, action, place, **facts))  # type: ignore[arg-type]

    def gone(
        self,
        path: str,
        place: str,
        value: str,
        absent: tuple[str, ...] = (),
        action: Action = Action.TEXT_REMOVED,
        *,
        everywhere: bool = True,
    ) -> None:
        """Note that what stands at `path` may not stand there afterwards, nor (if `everywhere`) anywhere else."""
        absent = absent or (value,)
        self.expect(path, action, place, value=value, absent=absent)
        if everywhere:
            self.key.forbid(absent, place)

    def stays(self, path: str, place: str, value: object) -> None:
        """Note that the element must keep its value."""
        self.expect(path, Action.TAG_RETAINED, place, value=shown(value))

    def somebody(self) -> Person:
        """Another made person, in the patient's script or in plain Latin."""
        return self.people.person(self.patient.script if self.draw.random() < 0.5 else "latin")


def shown(value: object) -> str:
    """A value as text, components joined by backslashes: the form in which values are compared."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str | PersonName) or not hasattr(value, "__iter__"):
        return "" if value is None else str(value)
    return "\\".join(str(part) for part in value)


def raw(ds: Dataset, tag: int, vr: str, value: bytes) -> None:
    """Put bytes into `ds` as a reader would have found them, whatever the VR says of their form."""
    value += (b"\0" if vr in ("UN", "OB", "OW", "UI") else b" ") * (len(value) % 2)
    ds[tag] = RawDataElement(BaseTag(tag), vr, len(value), value, 0, False, True)  # type: ignore[assignment]


def nested(ds: Dataset, keywords: tuple[str, ...]) -> tuple[Dataset, str]:
    """A new item below a chain of sequences of `ds`, and the path to it. Sequences that are there get one more item."""
    path = ""
    for keyword in keywords:
        tag = BaseTag(_tag(keyword))
        if tag not in ds:
            ds[tag] = DataElement(tag, "SQ", [])
        item = Dataset()
        ds[tag].value.append(item)
        path = chain(path, f"{tag:08X}[{len(ds[tag].value) - 1}]")
        ds = item
    return ds, path


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag
