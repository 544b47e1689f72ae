"""How well the answer key was met: every planted item right or wrong, by action type; references; what did not leave.

Belongs here: judging objects against the key. Does not belong here: the search for leaks (`search`), thresholds and
tables (`verdict`).

Nothing here knows how the engine makes names, UIDs or shifts: they are learnt from what came out, and must agree.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeVar

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID_dictionary

from benchmarks.phi import locate
from benchmarks.phi.answers import Action, File, Item, Key
from benchmarks.phi.hidden import BEYOND
from benchmarks.phi.site import shown
from oncurate.elements import PARSE_ERRORS

T = TypeVar("T")

_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
LONGEST_UID = 64
NOT_LEFT = "the file did not leave"
VISIBLE_SHARE = 0.05
"""Contrast left of burned-in text, as a share of the contrast that it had, up to which it counts as hidden."""


@dataclass(frozen=True)
class Wrong:
    """An item that was not treated as the key asks."""

    item: Item
    why: str


@dataclass
class Score:
    """Right and all items by action, what was wrong, references that hold and do not, files that left by kind."""

    right: Counter[Action] = field(default_factory=Counter)
    all: Counter[Action] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)
    references_intact: int = 0
    references_broken: list[str] = field(default_factory=list)
    unresolved: int = 0
    left: Counter[tuple[str, bool]] = field(default_factory=Counter)
    found: Counter[tuple[str, bool]] = field(default_factory=Counter)
    should_not_have_left: list[File] = field(default_factory=list)
    refused: list[File] = field(default_factory=list)


class Judge:
    """Compares what came out with the key. `before` and `after` map file numbers to parsed objects."""

    def __init__(
        self, key: Key, before: Mapping[int, Dataset], after: Mapping[int, Dataset], *, pixels_checked: bool = True
    ) -> None:
        self.key, self.before, self.after = key, before, after
        self.pixels_checked = pixels_checked
        self.score = Score()
        self.files = {file.number: file for file in key.files}
        self.uids = self._renamed()
        self.sources = Counter(self.uids.values())
        self.names = self._learnt_names()
        self.owners = Counter(self.names.values())
        self.shifts = self._learnt_shifts()

    def judge(self, required: frozenset[str] | None = None) -> Score:
        """The score. Of files that did not leave, only those of the `required` kinds (None: all) count as wrong."""
        score = self.score
        for file in self.key.files:
            score.found[file.kind, file.made] += 1
            if file.number in self.after:
                score.left[file.kind, file.made] += 1
                if file.leaves == "refused":
                    score.should_not_have_left.append(file)
            elif file.leaves == "released" and (required is None or file.kind in required):
                score.refused.append(file)
        missing = {file.number for file in score.refused}
        for item in self.key.items:
            if item.file in self.after:
                why = self._why(item)
            elif item.file in missing:
                why = NOT_LEFT
            else:
                continue
            if why is None:
                continue
            score.all[item.action] += 1
            if why:
                score.wrong.append(Wrong(item, why))
            else:
                score.right[item.action] += 1
        self._references()
        return score

    def _why(self, item: Item) -> str | None:
        """What is wrong with an item; "" if nothing is, None if it is not judged."""
        ds = self.after[item.file]
        if item.path == "pixels":
            return self._pixels(item, ds) if self.pixels_checked or item.action is Action.PIXELS_RETAINED else None
        if item.path == BEYOND:
            return "bits are left" if _beyond(ds) else ""
        element = locate.find(ds, item.path)
        text = None if element is None else shown(element.value)
        judges = {
            Action.TEXT_REMOVED: lambda: _absent(item, text),
            Action.TEXT_REPLACED: lambda: "it is not there" if text is None else _absent(item, text),
            Action.TEXT_RETAINED: lambda: _kept(item, text),
            Action.TAG_RETAINED: lambda: (
                "" if text is not None and _same(item.value, text) else "lost or another value"
            ),
            Action.UID_CHANGED: lambda: _renamed_uid(item, text),
            Action.UID_CONSISTENT: lambda: self._consistent(item, text),
            Action.PATIENT_CONSISTENT: lambda: self._patient(item, text),
            Action.DATE_SHIFTED: lambda: self._shifted(item, text),
            Action.INTERVAL_RETAINED: lambda: self._interval(item),
        }
        return judges[item.action]()

    def _renamed(self) -> dict[str, str]:
        """For each UID of the key, what stands in most of its places."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for item in self.key.items:
            if item.action is Action.UID_CONSISTENT and item.file in self.after:
                element = locate.find(self.after[item.file], item.path)
                if element is not None:
                    for old, new in zip(item.value.split("\\"), shown(element.value).split("\\"), strict=False):
                        found[old][new] += 1
        return _usual(found)

    def _consistent(self, item: Item, text: str | None) -> str:
        old, new = item.value.split("\\"), (text or "").split("\\")
        if text is None or len(old) != len(new):
            return "it is not there"
        if any(self.uids.get(a) != b for a, b in zip(old, new, strict=True)):
            return "another UID than in other places"
        return "" if all(self.sources[b] == 1 for b in new) else "two UIDs became one"

    def _learnt_names(self) -> dict[str, str]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for number, ds in self.after.items():
            found[self.files[number].patient][shown(ds.get("PatientID"))] += 1
        return _usual(found)

    def _patient(self, item: Item, text: str | None) -> str:
        if not text or text != self.names[self.files[item.file].patient]:
            return "another name than in the patient's other files"
        return "" if self.owners[text] == 1 else "two patients became one"

    def _learnt_shifts(self) -> dict[str, int]:
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for item in self.key.items:
            if item.action is Action.DATE_SHIFTED and item.file in self.after:
                element = locate.find(self.after[item.file], item.path)
                for days in _moved(item.value, "" if element is None else shown(element.value)) or ():
                    counts[self.files[item.file].patient][days] += 1
        return _usual(counts)

    def _shifted(self, item: Item, text: str | None) -> str:
        moved = _moved(item.value, text or "")
        if moved is None:
            return "no date, or another time"
        shift = self.shifts[self.files[item.file].patient]
        if shift == 0 or any(days != shift for days in moved):
            return "not moved, or not by the patient's shift"
        return ""

    def _interval(self, item: Item) -> str | None:
        other = self.after.get(int(item.kept[0]))
        if other is None:
            return None
        days = [_day(shown(ds.get("StudyDate"))) for ds in (other, self.after[item.file])]
        if days[0] is None or days[1] is None:
            return "a date is missing"
        return "" if (days[1] - days[0]).days == int(item.value) else "another interval"

    def _pixels(self, item: Item, ds: Dataset) -> str | None:
        try:
            before = self.before[item.file].pixel_array
        except (*PARSE_ERRORS, RuntimeError):
            return None  # nothing here can decode the source
        try:
            after = ds.pixel_array
        except (*PARSE_ERRORS, RuntimeError):
            return "cannot be decoded"
        if before.shape != after.shape:
            return "another shape"
        if item.action is Action.PIXELS_HIDDEN:
            return _hidden(_cut(before, item, ds), _cut(after, item, ds))
        stored = int(ds.get("BitsStored", 16)) if before.dtype.kind == "u" else 64
        before = before & np.array((1 << stored) - 1, np.uint64).astype(before.dtype) if stored < 32 else before
        return "" if np.array_equal(_cut(before, item, ds), _cut(after, item, ds)) else "other pixels"

    def _references(self) -> None:
        for reference in self.key.references:
            if reference.file not in self.after:
                continue
            element = locate.find(self.after[reference.file], reference.path)
            target = self.after.get(reference.target)
            if target is None:
                self.score.unresolved += 1
            elif element is not None and str(element.value) == str(target.SOPInstanceUID):
                self.score.references_intact += 1
            else:
                file = self.files[reference.file]
                self.score.references_broken.append(f"{file.kind} {file.number}: {reference.path}")


def _usual(found: Mapping[str, Counter[T]]) -> dict[str, T]:
    return {name: counts.most_common(1)[0][0] for name, counts in found.items()}


def _absent(item: Item, text: str | None) -> str:
    folded = (text or "").casefold()
    return "it is still there" if any(value.casefold() in folded for value in item.absent) else ""


def _kept(item: Item, text: str | None) -> str:
    folded = (text or "").casefold()
    lost = [word for word in item.kept if word.casefold() not in folded]
    return f"lost: {', '.join(lost)}" if lost else ""


def _same(wanted: str, text: str) -> bool:
    old, new = ([part.strip() for part in value.split("\\")] for value in (wanted, text))  # padding says nothing
    if old == new:
        return True
    try:
        return len(old) == len(new) and all(float(a) == float(b) for a, b in zip(old, new, strict=True))
    except ValueError:
        return False


def _renamed_uid(item: Item, text: str | None) -> str:
    if not text:
        return "it is not there"
    if any(old == new for old in item.value.split("\\") for new in text.split("\\")):
        return "it is the same"
    valid = all(
        _UID.fullmatch(part) and len(part) <= LONGEST_UID and part not in UID_dictionary for part in text.split("\\")
    )
    return "" if valid else "it is no UID of an object"


def _moved(before: str, after: str) -> list[int] | None:
    """By how many days each component moved; None where one is no date or its time changed."""
    old, new = before.split("\\"), after.split("\\")
    if len(old) != len(new):
        return None
    found = []
    for a, b in zip(old, new, strict=True):
        first, second = _day(a), _day(b)
        if first is None or second is None or a[8:] != b[8:]:
            return None
        found.append((second - first).days)
    return found


def _day(value: str) -> date | None:
    try:
        return datetime.strptime(value[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None


def _cut(values: np.ndarray, item: Item, ds: Dataset) -> np.ndarray:
    """The item's box of every frame."""
    if item.box is None:
        return values
    top, left, bottom, right = item.box
    colour = int(ds.get("SamplesPerPixel", 1)) > 1
    if colour:
        return values[..., top : bottom + 1, left : right + 1, :]
    return values[..., top : bottom + 1, left : right + 1]


def _hidden(before: np.ndarray, after: np.ndarray) -> str:
    """Burned-in text is hidden when its ink is no brighter than the ground that it stood on."""
    ink = before > (int(before.max()) + int(before.min())) // 2
    had = float(before[ink].mean() - before[~ink].mean())
    has = abs(float(after[ink].mean() - after[~ink].mean()))
    return "" if has <= VISIBLE_SHARE * had else "it can be read"


def _beyond(ds: Dataset) -> bool:
    """Whether native pixels of 16 bits have any bit set above the stored ones."""
    values = np.frombuffer(ds.PixelData[: len(ds.PixelData) // 2 * 2], np.uint16)
    return bool((values >> int(ds.BitsStored)).any())
