"""The closed vocabularies of the clinical table.

Belongs here: reading `oncurate/data/clinical/` and finding the term that a text is a spelling of. Does not belong here:
values that are numbers, dates or codes (`oncurate.clinical.values`).

Comparison ignores case, accents, blanks and separators.
"""

from __future__ import annotations

import csv
import re
from functools import cache, lru_cache
from importlib import resources

from oncurate import allowlist
from oncurate.deid import text
from oncurate.errors import Defect

MISSING = frozenset(
    {"", "?", "na", "n/a", "nan", "null", "nil", "none", "unknown", "unk", "notknown", "notavailable", "notapplicable"}
    | {"missing", "onbekend", "nietbekend", "unbekannt", "nichtbekannt", "inconnu", "desconocido", "sconosciuto"}
    | {"#n/a", "nvt", "ka"}
)
"""What stands in a cell for nothing, folded, where the field's vocabulary does not give it a meaning of its own."""

LETTERS_OF_SEX = frozenset("mfwdou")
"""Letters beside which M is male: DICOM's own (M, F, O), W and D of German files, U for unknown. With H or V beside
it M may be *mujer*."""

_JOINED = re.compile(r"\s*(?:[+;,/&|]|\b(?:and|en|und|et|y|e)\b)\s*", re.IGNORECASE)


@lru_cache(maxsize=1 << 14)
def fold(value: str) -> str:
    """`value` without case, accents and separators: the form in which terms are compared."""
    return allowlist.fold(text.fold(value))


def terms(vocabulary: str) -> tuple[str, ...]:
    """The terms of a vocabulary, in the order of the file."""
    return tuple(dict.fromkeys(_spellings()[vocabulary].values()))


def find(vocabulary: str, value: str) -> str | None:
    """The term that `value` is a spelling of, or None."""
    return _spellings()[vocabulary].get(fold(value))


def find_all(vocabulary: str, value: str) -> str | None:
    """The terms of a list such as "surgery + chemo", sorted and joined by " + "; None if one of them is unknown."""
    whole = find(vocabulary, value)
    if whole is not None:
        return whole
    found = [find(vocabulary, part) for part in _JOINED.split(value) if part]
    return " + ".join(sorted(set(filter(None, found)))) if found and None not in found else None


def is_missing(value: str) -> bool:
    """Whether a cell that no vocabulary knows stands for nothing: blank, dashes, "unknown", "onbekend"."""
    return fold(value) in _missing()


def field_of_header(header: str) -> str | None:
    """The field of the mapping that a header names, or None."""
    return _headers().get(fold(header))


def identifies(header: str) -> bool:
    """Whether a header is that of a column that identifies a person."""
    return find("identifier_header", header) is not None


@cache
def topography_categories() -> frozenset[str]:
    """The categories of ICD-O-3 topography: C00 to C80."""
    return frozenset(line["category"] for line in _read("topography.csv"))


@cache
def _missing() -> frozenset[str]:
    return frozenset(fold(word) for word in MISSING)


@cache
def _headers() -> dict[str, str]:
    return {fold(line["header"]): line["field"] for line in _read("headers.csv")}


@cache
def _spellings() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in _read("terms.csv"):
        known = found.setdefault(line["vocabulary"], {})
        for spelt in (line["term"], *filter(None, line["aliases"].split("|"))):
            if known.setdefault(fold(spelt), line["term"]) != line["term"]:
                raise Defect(f"vocabulary {line['vocabulary']}: {spelt} stands for two terms")
    return found


def _read(name: str) -> list[dict[str, str]]:
    data = resources.files("oncurate").joinpath("data/clinical", name).read_text(encoding="utf-8")
    return list(csv.DictReader(data.splitlines()))
