"""Coded concepts of annotations: reading them, and mapping them to SNOMED CT.

Belongs here: code sequence items as `Code`, which SNOMED CT code an older code or a structure's name stands for. Does
not belong here: which codes may leave (`oncurate.deid.codes`).

SNOMED RT codes ("SRT", and the designators of its predecessors) map by the table that pydicom ships, which is that of
PS3.16 Annex O. Names map by `oncurate/data/annotations/structures.csv`, and by nothing else: a name that is not there
has no code.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib import resources

from pydicom.dataset import Dataset
from pydicom.sr import _concepts_dict, _snomed_dict  # `pydicom.sr.codes` finds no concept by its value

from oncurate import elements
from oncurate.annotations.model import Code

SNOMED = "SCT"
_OLDER = frozenset({"SRT", "SNM3", "99SDM"})
"""Designators under which SNOMED RT codes are written (PS3.16 8.1)."""

_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
_TARGETS = re.compile(r"(gtv|ctv|ptv|itv)(?=[^a-z]|$)")
_KIND = re.compile(r" \([a-z ]+\)$")  # SNOMED CT says after some names what kind of thing it is
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")


def code_of(item: Dataset | None) -> Code | None:
    """The concept of a code sequence item, as written; None if it has no value."""
    if item is None:
        return None
    value = next((found for keyword in _VALUES if (found := elements.text(item, keyword))), "")
    if not value:
        return None
    return Code(value, elements.text(item, "CodingSchemeDesignator"), elements.text(item, "CodeMeaning"))


def codes_in(ds: Dataset | None, keyword: str) -> tuple[Code, ...]:
    """The concepts of all items of a code sequence."""
    return tuple(code for item in elements.items(ds, keyword) if (code := code_of(item)) is not None)


def first_code(ds: Dataset | None, keyword: str) -> Code | None:
    """The concept of a code sequence's first item."""
    return next(iter(codes_in(ds, keyword)), None)


def snomed(what: Code | str | None) -> Code | None:
    """The SNOMED CT concept of a code, or of a structure's name; None where no table has one.

    The meaning is the terminology's where it is known, else the one given with the code.
    """
    if what is None:
        return None
    if isinstance(what, str):
        return _of_name(what)
    if what.scheme == SNOMED:
        return _named(what.value, what.meaning)
    if what.scheme in _OLDER:
        value = _snomed_dict.mapping["SRT"].get(what.value)
        return _named(value, what.meaning) if value else None
    return None


def laterality(name: str) -> Code | None:
    """The side that a structure's name says, as a SNOMED CT qualifier; None if it says none or both."""
    sides = {_SIDES[word] for word in _words(name) if word in _SIDES}
    found = _structures().get(sides.pop()) if len(sides) == 1 else None
    return Code(found[0], SNOMED, found[1]) if found else None


def _of_name(name: str) -> Code | None:
    words = _words(name)
    target = _TARGETS.match(" ".join(words))
    joined = target.group(1) if target else " ".join(word for word in words if word not in _SIDES)
    found = _structures().get(joined)
    return Code(found[0], SNOMED, found[1]) if found and joined not in _SIDES.values() else None


def _words(name: str) -> list[str]:
    """The words of a name in small letters: "Lung_L", "LungLeft" and "left lung" have the same."""
    return _WORD.findall(_CAMEL.sub(" ", name).lower())


def _named(value: str, meaning: str) -> Code:
    return Code(value, SNOMED, _meanings().get(value) or meaning)


@cache
def _structures() -> dict[str, tuple[str, str]]:
    """SNOMED CT code and meaning by name, from the table; the first lines of it say where they come from."""
    text = resources.files("oncurate").joinpath("data/annotations/structures.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        name: (row["code"], row["meaning"])
        for row in rows
        for name in (row["name"], *row["synonyms"].split("|"))
        if name
    }


@cache
def _meanings() -> dict[str, str]:
    concepts = _concepts_dict.concepts.get(SNOMED, {})
    return {value: _KIND.sub("", meaning) for values in concepts.values() for value, (meaning, _) in values.items()}
