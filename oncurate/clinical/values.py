"""One cell of a clinical file to the value that may leave, or the fault that keeps it back.

Belongs here: numbers, dates, ICD-O-3 codes, TNM categories and their limits, each with its source. Does not belong
here: closed lists of words (`oncurate.clinical.vocabularies`), and rules between cells (`oncurate.clinical.rows`).

Every function raises `Unfit`, which holds nothing of the value.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

from oncurate.clinical.problems import Fault, Unfit
from oncurate.clinical.vocabularies import find, find_all, topography_categories
from oncurate.identity import AGE_MAX_YEARS, DAYS_A_YEAR

EARLIEST = date(1900, 1, 2)
"""Spreadsheets show an empty cell in a date format as day 0 or 1 of 1900; no image is as old."""

EARLIEST_BIRTH = date(1775, 1, 1)
"""`AGE_MAX_YEARS` before the earliest event."""

DAYS_A_UNIT = {"days": 1.0, "months": DAYS_A_YEAR / 12, "years": DAYS_A_YEAR}

MORPHOLOGY_RANGE = (8000, 9993)
"""Least and greatest histology code of ICD-O-3 (second revision, 2019)."""

SPREADSHEET_DAYS = "excel"
"""The `format` of a date column that holds day numbers of a spreadsheet (day 1 is 1900-01-01, 1900-02-29 counted)."""

PREFIX = r"[yra]{0,2}[cp]?"
"""TNM: c clinical, p pathological; y after therapy, r recurrence, a autopsy (UICC TNM, 8th edition, general rules)."""

T_CATEGORY = (
    r"T(?:X|0|a|is(?:\((?:DCIS|LCIS|Paget|LAMN|pu|pd)\))?|1mi|[1-4](?:[a-e][1-3]?)?)(?:\((?:m|[2-9]|[1-9][0-9])\))?"
)
N_CATEGORY = r"N(?:X|0[ab]?|1mi|[1-3](?:[a-c][12]?)?)(?:\((?:i\+|i-|mol\+|mol-|sn|mi|f)\))*"
M_CATEGORY = r"M(?:X|0(?:\((?:i|mol)\+\))?|1(?:[a-e][12]?(?:\([01]\))?)?)"
"""TNM categories of all sites together, with sub-categories and suffixes (UICC TNM, 6th to 9th edition)."""

_CATEGORIES = {"t_category": T_CATEGORY, "n_category": N_CATEGORY, "m_category": M_CATEGORY}
_UPPER = {"x": "X", "dcis": "DCIS", "lcis": "LCIS", "paget": "Paget", "lamn": "LAMN"}
_NUMBER = re.compile(r"-?[0-9]+(?:([.,])[0-9]+)?")
_ISO = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?")
_TOPOGRAPHY = re.compile(r"(C[0-9]{2})(?:[.,]?([0-9]))?", re.IGNORECASE)
_MORPHOLOGY = re.compile(r"M?-?([0-9]{4})/?([012369])[1-9]?", re.IGNORECASE)
_EDITION = re.compile(
    r"(?:TNM|UICC|AJCC)?\s*([1-9])(?:\.0|\.?\s*(?:st|nd|rd|th|e)?\s*(?:ed|edition|editie|auflage)?\.?)", re.I
)
_AMBIGUOUS = re.compile(r"[1-4]c[NM]", re.IGNORECASE)  # "T2cN1": T2c with N1, or T2 with cN1
_WHOLE_TNM = re.compile(
    " ?".join(f"(?P<{field}>{PREFIX}{category})?" for field, category in _CATEGORIES.items()), re.IGNORECASE
)


def term(field: str, cell: str) -> Any:
    """The value of a field of terms or codes: text, an edition's number, or the categories of a whole TNM by field."""
    match field:
        case "topography":
            return topography(cell)
        case "pathology":
            return morphology(cell)
        case "t_category" | "n_category" | "m_category":
            return tnm_category(cell, field)
        case "tnm":
            return tnm(cell)
        case "tnm_edition":
            return tnm_edition(cell)
    found = find_all(field, cell) if field == "treatment" else find(field, cell)
    if found is None:
        raise Unfit(Fault.UNKNOWN_TERM)
    return found


def number(cell: str, decimal: str | None = None) -> float:
    """A number with one decimal sign: the declared one, or else a point or a comma. No thousands separators."""
    match = _NUMBER.fullmatch(cell.strip())
    if match is None or (decimal is not None and match[1] not in (None, decimal)):
        raise Unfit(Fault.UNREADABLE_NUMBER)
    return float(match[0].replace(",", "."))


def age(cell: str, unit: str, decimal: str | None = None) -> float:
    """Years, not yet pooled, of an age in `unit`."""
    return plausible_age(number(cell, decimal) * DAYS_A_UNIT[unit] / DAYS_A_YEAR)


def plausible_age(years: float) -> float:
    """`years`, or `Unfit` where nobody is known to have had that age."""
    if not 0 <= years <= AGE_MAX_YEARS:
        raise Unfit(Fault.OUT_OF_RANGE)
    return years


def survival(cell: str, unit: str, decimal: str | None = None) -> int:
    """Whole days of a time since diagnosis in `unit`."""
    return plausible_survival(round(number(cell, decimal) * DAYS_A_UNIT[unit]))


def plausible_survival(days: int) -> int:
    """`days`, or `Unfit` where they are negative or more than a life."""
    if not 0 <= days <= AGE_MAX_YEARS * DAYS_A_YEAR:
        raise Unfit(Fault.OUT_OF_RANGE)
    return days


def day(cell: str | date, form: str | None, *, latest: date, earliest: date = EARLIEST) -> date:
    """A date in the declared `strptime` format, or year, month, day where none is declared; never guessed."""
    found = cell if isinstance(cell, date) else _read_day(cell.strip(), form)
    if found is None:
        raise Unfit(Fault.UNREADABLE_DATE)
    if not earliest <= found <= latest:
        raise Unfit(Fault.IMPLAUSIBLE_DATE)
    return found


def topography(cell: str) -> str:
    """ICD-O-3 topography as C34 or C34.1."""
    match = _TOPOGRAPHY.fullmatch("".join(cell.split()))
    if match is None or match[1].upper() not in topography_categories():
        raise Unfit(Fault.NOT_ICDO3)
    return match[1].upper() + (f".{match[2]}" if match[2] else "")


def morphology(cell: str) -> str:
    """ICD-O-3 morphology as 8140/3: histology and behaviour. A sixth digit (differentiation) is left out."""
    match = _MORPHOLOGY.fullmatch("".join(cell.split()))
    if match is None or not MORPHOLOGY_RANGE[0] <= int(match[1]) <= MORPHOLOGY_RANGE[1]:
        raise Unfit(Fault.NOT_ICDO3)
    return f"{match[1]}/{match[2]}"


def tnm_category(cell: str, field: str) -> str:
    """A T, N or M category in UICC spelling: "PT1A" as pT1a. The letter may be missing: "2a" in the column of T."""
    letter, bare = field[0].upper(), "".join(cell.split())
    for candidate in (bare, letter + bare):
        if re.fullmatch(PREFIX + _CATEGORIES[field], candidate, re.IGNORECASE):
            return _spelt(candidate, letter)
    raise Unfit(Fault.NOT_TNM)


def tnm(cell: str) -> dict[str, str]:
    """The categories of a whole TNM such as "pT2a N0 M0", by field; a prefix holds for its own category only."""
    joined = re.sub(r"[\s,;/]+", " ", cell.strip())
    joined = re.sub(r"(?<=[TNMtnm]) (?=[0-9Xx])", "", joined)
    match = _WHOLE_TNM.fullmatch(joined)
    if match is None or not joined or _AMBIGUOUS.search(joined):
        raise Unfit(Fault.NOT_TNM)
    return {field: _spelt(value, field[0].upper()) for field, value in match.groupdict().items() if value}


def tnm_edition(cell: str) -> int:
    """The edition of a text such as "8", "TNM 8" or "8th edition"."""
    match = _EDITION.fullmatch(cell.strip())
    if match is None:
        raise Unfit(Fault.NOT_TNM)
    return int(match[1])


def _spelt(category: str, letter: str) -> str:
    """UICC spelling: prefixes and sub-categories small; T, N, M, X and the names of carcinomas in situ as printed."""
    prefix, _, rest = category.upper().partition(letter)
    words = re.split(r"([()])", rest.lower())
    return prefix.lower() + letter + "".join(_UPPER.get(word, word) for word in words)


def _read_day(text: str, form: str | None) -> date | None:
    try:
        if form == SPREADSHEET_DAYS:
            whole = number(text)
            return date(1899, 12, 30) + timedelta(days=int(whole))
        if form is not None:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        match = _ISO.fullmatch(text)
        return date(int(match[1]), int(match[3]), int(match[4])) if match else None
    except (ValueError, OverflowError, Unfit):
        return None
