"""Whose header it is: the values in it that name somebody, for taking them out of everything else.

Belongs here: collecting them at any depth. Does not belong here: which elements name somebody (`oncurate.deid.rules`),
how they are found in text (`oncurate.deid.text`), or in written bytes (`oncurate.deid.written`).
"""

from __future__ import annotations

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from oncurate import identity
from oncurate.deid import reading
from oncurate.deid.rules import Rules
from oncurate.elements import PARSE_ERRORS

DEEPEST = 16
"""Levels of nested sequences. Real headers have about five; what lies deeper is removed unread."""

_PLACEHOLDER_CHARACTERS = 3


def harvest(ds: Dataset, rules: Rules) -> frozenset[str]:
    """Values of the elements that name somebody: names, ids, addresses, personal dates; as they stand. Never raises."""
    found: set[str] = set()
    _collect(ds, rules, None, found, 0, ["iso8859"])
    return frozenset(found)


def _collect(ds: Dataset, rules: Rules, parent: str | None, found: set[str], depth: int, outer: list[str]) -> None:
    encodings: list[str] | None = None
    for tag, element in list(ds.items()):
        private = tag >> 16 & 1
        vr = element.VR
        if vr == "SQ" or (vr in (None, "UN") and _is_sequence(tag)):
            if depth < DEEPEST:
                encodings = encodings or reading.encodings_of(ds, outer)
                for item in reading.items_of(ds, tag, encodings) or ():
                    _collect(item, rules, "", found, depth + 1, encodings)
            continue
        if not element.value or not (vr == "PN" if private else rules.decide(tag, "", parent).identity):
            continue
        encodings = encodings or reading.encodings_of(ds, outer)
        value = reading.text_of(element, encodings)
        for part in (value or "").partition("\0")[0].replace("=", "\\").split("\\"):
            part = part.strip(" \t\r\n")
            if len(part) >= _PLACEHOLDER_CHARACTERS and identity.has_patient_id(part):
                found.add(part)


def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except (*PARSE_ERRORS,):
        return False
