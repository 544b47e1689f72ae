"""Coded concepts: code value, coding scheme and meaning of one item.

Belongs here: which codes may stay and what stands for the others. Does not belong here: which coded attributes stay at
all (`oncurate.deid.rules`).

A code that a public terminology defines stays, with that terminology's meaning where the header's own says more. A
code of a public scheme in the scheme's own form stays. Everything else may be a number that a site gave: it becomes a
keyed one, equal for equal codes.
"""

from __future__ import annotations

import re
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr import _concepts_dict  # the terminology behind `pydicom.sr.codes`, which has no way to look up a value

from oncurate.deid import reading, tables, text
from oncurate.deid.values import visible
from oncurate.identity import Keys

CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE = 0x00080100, 0x00080119, 0x00080120
SCHEME, MEANING = 0x00080102, 0x00080104

LOCAL_SCHEME = "99LOCAL"
"""Stands for every coding scheme that is not public; 99 opens private schemes (PS3.16 8.2)."""

UNIT_DIGITS = 3
"""Digits of a unit: an exponent or two. More could be a number that somebody was given."""

UNNAMED = "Local code"
"""Code Meaning of what has none left; the attribute is of Type 1."""

_FORMS = {
    "DCM": r"[0-9]{6}|[A-Z]{2,6}",
    "SCT": r"[0-9]{6,9}",
    "SRT": r"[A-Z0-9]{1,2}-[A-Z]?[0-9A-F]{4,5}",
    "SNM3": r"[A-Z0-9]{1,2}-[A-Z]?[0-9A-F]{4,5}",
    "99SDM": r"[A-Z0-9]{1,2}-[A-Z]?[0-9A-F]{4,5}",
    "LN": r"[0-9]{1,5}-[0-9]",
    "FMA": r"[0-9]{4,6}",
    "RADLEX": r"RID[0-9]{1,5}",
    "NCIT": r"C[0-9]{4,6}",
    "UMLS": r"C[0-9]{7}",
    "IBSI": r"[0-9A-Z]{4}",
    "I10": r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?",
    "ICDO3": r"[CM]?[0-9]{2,4}(?:[./][0-9]{1,2})?",
    "ISO3166_1": r"[A-Z]{2,3}",
    "RFC5646": r"[a-z]{2,3}(?:-[A-Z]{2})?",
    "NEU": r"[0-9]{1,4}",
}
_UNIT_ATOMS = frozenset(
    {
        *("m", "mm", "cm", "um", "nm", "km", "s", "ms", "us", "ns", "min", "h", "d", "wk", "mo", "a", "deg", "rad"),
        *("g", "mg", "kg", "ug", "ng", "l", "L", "ml", "mL", "dL", "fL", "mol", "mmol", "umol", "nmol", "ppm", "ppb"),
        *("Hz", "kHz", "MHz", "GHz", "Bq", "kBq", "MBq", "GBq", "Gy", "cGy", "mGy", "uGy", "Sv", "mSv", "T", "mT"),
        *("V", "kV", "mV", "A", "mA", "uA", "W", "mW", "J", "mJ", "eV", "keV", "MeV", "K", "Cel", "N", "Pa", "kPa"),
        *("Hg", "bar", "Ohm", "hnsf", "U", "arb", "SUVbw", "SUVlbm", "SUVbsa", "SUVibw", "SUV", "bpm", "e"),
        *("pixels", "voxels", "counts", "ratio", "events", "no", "units"),
    }
)
_KIND = re.compile(r" \([a-z ]+\)$")  # SNOMED CT says after each name what kind of thing it is
_ATOM = re.compile(r"[A-Za-z]+")
_UNIT_FORM = re.compile(r"[A-Za-z0-9\[\]{}'%/.*^ ()_+-]{1,16}")
_PUBLIC = {scheme: re.compile(form) for scheme, form in _FORMS.items()}


def cleaned(item: Dataset, keys: Keys, harvested: text.Identifiers, encodings: list[str]) -> dict[int, str]:
    """What may stand in the code attributes of an item, by tag; of those that it has."""
    raw = {tag: _text(item, tag, encodings) for tag in (SCHEME, MEANING, CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE)}
    present = {tag: value for tag, value in raw.items() if value is not None}
    tag = next((t for t in (CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE) if present.get(t)), CODE_VALUE)
    scheme, value, meaning = present.get(SCHEME, ""), present.get(tag, ""), present.get(MEANING, "")
    found = judged(scheme, value, meaning, keys, harvested)
    new = {SCHEME: found[0], tag: found[1], MEANING: found[2]}
    return {t: new[t] for t in present if t in new}


def judged(scheme: str, value: str, meaning: str, keys: Keys, harvested: text.Identifiers) -> tuple[str, str, str]:
    """Scheme, value and meaning that may stay."""
    official = _concepts().get((scheme, value))
    said = text.clean(meaning, harvested)
    if official is not None:
        return scheme, value, meaning if said == meaning else _KIND.sub("", official)
    form = _PUBLIC.get(scheme)
    own = text.fold(value) in harvested.joined
    if form is not None and form.fullmatch(value) and not own:
        return scheme, value, said or UNNAMED
    known = scheme if scheme in tables.terms() or scheme in _schemes() else LOCAL_SCHEME
    if scheme == "UCUM" and is_unit(value):
        return scheme, value, said or UNNAMED
    if value and text.clean(value, harvested) == value and not any(c.isdigit() for c in value):
        return known, value, said or UNNAMED
    return known, keyed(scheme, value, keys), said or UNNAMED


def keyed(scheme: str, value: str, keys: Keys) -> str:
    """What stands for a local code: C and 12 digits, equal for equal codes of a scheme."""
    return "C" + keys.uid(f"code\n{scheme}\n{value}")[-12:]


def _text(item: Dataset, tag: int, encodings: list[str]) -> str | None:
    element = reading.element_of(item, tag)
    if element is None:
        return None
    return visible(reading.text_of(element, encodings) or "")


def is_unit(value: str) -> bool:
    """Whether it is a unit of measurement in UCUM's notation, of common atoms and with few digits."""
    few = sum(c.isdigit() for c in value) <= UNIT_DIGITS
    return few and bool(_UNIT_FORM.fullmatch(value)) and all(atom in _UNIT_ATOMS for atom in _ATOM.findall(value))


def is_public(value: str) -> bool:
    """Whether it is a unit, a code or meaning of a public terminology, or several words of such a meaning."""
    folded = value.casefold()
    return folded in _public_words() or is_unit(value) or (" " in folded and folded in _public_text())


@cache
def _public_words() -> frozenset[str]:
    return frozenset(
        word for (_, code), meaning in _concepts().items() for word in (code.casefold(), meaning.casefold())
    )


@cache
def _public_text() -> str:
    return "\n".join(_public_words())


@cache
def _concepts() -> dict[tuple[str, str], str]:
    return {
        (scheme, value): meaning
        for scheme, keywords in _concepts_dict.concepts.items()
        for values in keywords.values()
        for value, (meaning, _) in values.items()
    }


@cache
def _schemes() -> frozenset[str]:
    return frozenset(_concepts_dict.concepts) | frozenset(_PUBLIC)
