"""Structured content: what becomes of a content item, by its concept name (PS3.15 Table E.3.4-1).

Belongs here: the verdict about one item. Does not belong here: carrying it out, or items that are no content items.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from oncurate.deid import reading, tables
from oncurate.deid.own import DEEPEST
from oncurate.deid.rules import CLEAN, DUMMY, KEEP, REMOVE
from oncurate.elements import PARSE_ERRORS

VALUE_TYPE, CONCEPT_NAME = 0x0040A040, 0x0040A043
BY_REFERENCE, CONTENT_SEQUENCE = BaseTag(0x0040DB73), BaseTag(0x0040A730)
VALUES = frozenset({0x0040A120, 0x0040A121, 0x0040A122, 0x0040A123, 0x0040A124, 0x0040A160})
"""Date-time, date, time, person's name, UID and text: where a content item of these types holds its value."""

_REFERENCES = frozenset({"IMAGE", "COMPOSITE", "WAVEFORM", "UIDREF"})
_DATES = frozenset({"DATE", "DATETIME", "TIME"})


def verdict(item: Dataset, options: frozenset[str]) -> tuple[str, str] | None:
    """Action and rule for a content item; None if the table does not name its concept, or it is no content item.

    References become references to the objects' new UIDs where the table asks for a dummy or leaves the choice: that is
    one.
    """
    kind = reading.first_text(item, VALUE_TYPE)
    if not kind:
        return None
    row = _row(item, kind)
    if row is None:
        return None
    for wanted in (CLEAN, KEEP):
        for name, code in row.options.items():
            if code == wanted and name in options and (kind not in _DATES or name.startswith("retain_long")):
                return wanted, f"E.3.4-1 {name}"
    choices = row.basic.split("/")
    if kind in _REFERENCES and DUMMY in choices:
        return CLEAN, "E.3.4-1 basic"
    return REMOVE if choices[0] == REMOVE else DUMMY, "E.3.4-1 basic"


def has_references(ds: Dataset, depth: int = 0) -> bool:
    """Whether a content tree points at its own items by their numbers, so that none may be taken out."""
    if BY_REFERENCE in ds or depth > DEEPEST:
        return True
    items = reading.items_of(ds, CONTENT_SEQUENCE, ["iso8859"]) if CONTENT_SEQUENCE in ds else None
    return any(has_references(item, depth + 1) for item in items or ())


def _row(item: Dataset, kind: str) -> tables.ContentRow | None:
    try:
        names = item[CONCEPT_NAME].value if CONCEPT_NAME in item else None
        name = names[0] if names else None
    except PARSE_ERRORS:
        return None
    if name is None:
        return None
    scheme, code = reading.first_text(name, 0x00080102), reading.first_text(name, 0x00080100)
    return tables.content().get((scheme, code, kind))
