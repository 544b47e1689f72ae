"""Single values: what stands for a date, an age, a number, a code string or a UID after de-identification.

Belongs here: judging and replacing one value as text. Does not belong here: elements, sequences or bytes
(`oncurate.deid.engine`), free text (`oncurate.deid.text`).

A value is judged up to its first NUL: what a writer left behind it, nobody sees and nobody vouches for.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from pydicom.datadict import keyword_dict
from pydicom.uid import UID_dictionary

from oncurate import allowlist, identity, kinds
from oncurate.deid import tables, text
from oncurate.identity import Keys

DUMMIES = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE"), "REMOVED"),
    **{"CS": "UNKNOWN", "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "IS": "0", "DS": "0"},
    "UR": "urn:removed",
}
"""Dummies by VR: the same for everybody, so that they say nothing."""

AGE_POOLED = "090Y"
"""PatientAge of everybody above 89 (45 CFR 164.514(b)(2)(i)(C))."""

LONGEST = {"SH": 16, "LO": 64, "CS": 16, "ST": 1024, "LT": 10240}
"""Characters that a VR allows (PS3.5 6.2)."""

NUMBER_CHARACTERS = 32
"""Characters of a decimal string. PS3.5 allows 16; scanners write more, nobody writes so many."""

_ONE = rb" *+[-+]?(?:[0-9]{1,%d}\.?[0-9]{0,%d}|\.[0-9]{1,%d})(?:[eE][-+]?[0-9]{1,3})? *+"
_DECIMAL = _ONE % ((NUMBER_CHARACTERS,) * 3)
NUMBERS = re.compile(rb"(?:%s)?(?:\\(?:%s)?)*+[ \0]*+" % (_DECIMAL, _DECIMAL))
"""Bytes of a DS or IS value with any number of components, up to the padding."""

TIME = re.compile(r"(?:[01][0-9]|2[0-3])(?::?[0-5][0-9](?::?(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?")
_DATETIME = re.compile(r"([0-9]{8})([0-9]{0,6}(?:\.[0-9]{1,6})?(?:[-+][0-9]{4})?)")
_OLD_DATE = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})")  # ACR-NEMA 2, still met
_ZONE = re.compile(r"[-+][0-9]{4}")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_REGISTERED = re.compile(r"1\.2\.840\.10008\.(?:5\.1\.4\.1\.1\.[0-9]{1,3}(?:\.[0-9]{1,2}){0,3}|6\.1\.[0-9]{1,4})")
_VERSION = re.compile(r"[A-Za-z]{0,3}[0-9]{1,3}[A-Za-z]{0,2}(?:[._-][A-Za-z]{0,3}[0-9]{1,4}[A-Za-z]{0,2}){0,4}")
_CONTEXT = re.compile(r"(?:CID ?)?[0-9]{1,5}")
_LABEL = re.compile(r"[0-9]{1,4}")
_CHARSETS = re.compile(r"(?:ISO_IR|ISO 2022 IR) [0-9]{1,3}|GB18030|GBK")
_SEPARATORS = re.compile(r"[ _]")
_POSITION = re.compile(r"[APRLHF]{1,3}|[NA]{0,1}")


def visible(value: str) -> str:
    """`value` up to its first NUL, without padding."""
    return value.partition("\0")[0].strip(" \t\r\n")


def is_public_uid(value: str) -> bool:
    """Whether it is one of DICOM's own UIDs, or a SOP class or context group newer than the installed dictionary."""
    return value in UID_dictionary or _REGISTERED.fullmatch(value) is not None


def is_uid(value: str) -> bool:
    """Whether it has the form of a UID."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def date(value: str, keys: Keys, subject: str, shift: bool) -> str | None:
    """A date, moved by the subject's shift if `shift`; None if it is no date."""
    old = _OLD_DATE.fullmatch(value)
    plain = "".join(old.groups()) if old else value
    if shift:
        return keys.shift_date(plain, subject)
    return plain if identity.parse_date(plain) else None


def datetime(value: str, keys: Keys, subject: str, shift: bool) -> str | None:
    """A date and time, its day moved if `shift`; its time and zone stay. None if it is none, or coarser than a day."""
    found = _DATETIME.fullmatch(value)
    if found is None:
        return None
    day = date(found[1], keys, subject, shift)
    return None if day is None else day + found[2]


def time(value: str) -> str | None:
    """A time of day as it is; None if it is none."""
    return value if TIME.fullmatch(value) else None


def age(value: str) -> str | None:
    """An age string, pooled above 89 years; None if it is no plausible age."""
    years = identity.parse_age(value)
    if years is None:
        return None
    return AGE_POOLED if years > identity.AGE_POOLED_ABOVE_YEARS else value.upper().zfill(4)


@lru_cache(maxsize=1 << 14)
def term(value: str) -> tuple[str, bool]:
    """What stays of a code string, and whether the standard knows it (else the vocabulary let it pass)."""
    if value.upper() in _known_terms() or _POSITION.fullmatch(value):
        return value, True
    if len(value) > LONGEST["LO"]:
        return "", False
    parts = [part for part in _SEPARATORS.split(value) if part]
    passes = all(
        part in _known_terms() or (len(part) <= 2 if part.isdigit() else text.harmless(part)) for part in parts
    )
    return (value, False) if passes and not all(part.isdigit() for part in parts) else ("", False)


@cache
def _known_terms() -> frozenset[str]:
    own = {spelling for vocabulary in allowlist.VOCABULARIES.values() for spelling in vocabulary.terms}
    vendors = kinds.CAPTURE_TERMS | kinds.LOCALIZER_TERMS | kinds.MOSAIC_TERMS
    return tables.terms() | {t for t in own if t == t.upper()} | vendors


def label(value: str, harvested: text.Identifiers) -> str:
    """Free text, or a number of up to four digits."""
    return value if _LABEL.fullmatch(value) else text.clean(value, harvested)


def attribute(value: str, harvested: text.Identifiers) -> str:
    """The name of an attribute of the standard, as a keyword or in words; else what the vocabulary leaves."""
    keyword = re.sub(r"[ '\-]", "", value)
    return value if keyword in keyword_dict else text.clean(value, harvested)


def version(value: str, harvested: text.Identifiers) -> str:
    """The words of a version that are of the vocabulary or look like a version number."""
    words = [word for word in re.split(r"[ ,;:()/]+", value[: text.LONGEST]) if word]
    words = [word for word in words if _VERSION.fullmatch(word) or (text.harmless(word) and not word.isdigit())]
    return text.without(" ".join(words), harvested) if words else ""


def named(value: str, vocabulary: str, harvested: text.Identifiers) -> str:
    """A term of one of the allow-list's vocabularies; else what the descriptor vocabulary leaves."""
    worded = text.clean(value, harvested)
    return worded if worded == value else allowlist.term(vocabulary, value) or worded


def zone(value: str) -> str | None:
    """An offset from UTC; None if it is none."""
    return value if _ZONE.fullmatch(value) else None


def charset(value: str) -> str | None:
    """The name of a character set; None if it is none."""
    return value if _CHARSETS.fullmatch(value) or value == "" else None


def fitted(value: str, vr: str) -> str:
    """`value` cut to what its VR allows."""
    longest = LONGEST.get(vr)
    return value if longest is None or len(value) <= longest else value[:longest].rstrip()


def context(value: str) -> str | None:
    """The identifier of a context group ("29", "CID 29"); None if it is none."""
    return value if _CONTEXT.fullmatch(value) else None


def creator(value: str) -> str | None:
    """A private creator of the safe list; None for others."""
    return tables.creators().get(value.upper())
