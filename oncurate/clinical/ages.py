"""Ages over 89 in the clinical table, stated or implied.

Belongs here: which ages of a subject may be shown, given all days that are shown of it. Does not belong here: reading
ages, or the pooling of one age (`oncurate.identity.pool_age`).

An age of 85 beside a survival of eight years says as much as an age of 93. So a subject for whom any age over 89 is
stated or can be computed shows no exact age at all (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from oncurate.clinical.columns import EVENTS
from oncurate.identity import AGE_POOLED_ABOVE_YEARS, AGE_POOLED_YEARS, DAYS_A_YEAR, parse_date, pool_age

AGE = "age_at_diagnosis_years"
STUDY_AGE = "patient_age_years"
DIAGNOSED = ("diagnosis_date", "pathology_confirmation_date")
"""Dates to which the age at diagnosis belongs, the better one first."""


def shown(rows: Sequence[Mapping[str, Any]], studies: Sequence[Mapping[str, Any]] = ()) -> list[float | None]:
    """The age at diagnosis that each of one subject's rows may show, with one decimal; `studies` are all its studies.

    Dates are YYYYMMDD, shifted alike or not at all. 90 is over 89.
    """
    ages = [pool_age(row.get(AGE)) for row in rows]
    if over_89(rows, studies):
        return [age if age == AGE_POOLED_YEARS else None for age in ages]
    return ages


def over_89(rows: Sequence[Mapping[str, Any]], studies: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether an age over 89 is stated, or follows from an exact age and the days of one subject."""
    days = [parse_date(row.get(f"{event}_date")) for row in rows for event in EVENTS]
    days += [parse_date(study.get("StudyDate")) for study in studies]
    latest = max((day for day in days if day is not None), default=None)
    reached = [
        _reached(row[AGE], diagnosed(row), latest, row.get("survival_days") or 0) for row in rows if row.get(AGE)
    ]
    reached += [
        _reached(study[STUDY_AGE], parse_date(study.get("StudyDate")), latest)
        for study in studies
        if study.get(STUDY_AGE)
    ]
    return any(years > AGE_POOLED_ABOVE_YEARS for years in reached)


def diagnosed(row: Mapping[str, Any]) -> date | None:
    """The day to which a row's age at diagnosis belongs."""
    return next(_known(parse_date(row.get(name)) for name in DIAGNOSED), None)


def agrees(row: Mapping[str, Any], studies: Iterable[Mapping[str, Any]], tolerance: float) -> bool | None:
    """Whether a row's age fits those of the image headers within `tolerance` years; None where not comparable."""
    at = diagnosed(row)
    if at is None or row.get(AGE) in (None, AGE_POOLED_YEARS):
        return None
    differences = []
    for study in studies:
        day, age = parse_date(study.get("StudyDate")), study.get(STUDY_AGE)
        if day is not None and age not in (None, AGE_POOLED_YEARS):
            differences.append(abs(row[AGE] + (day - at).days / DAYS_A_YEAR - age))
    return max(differences) <= tolerance if differences else None


def _reached(age: float, at: date | None, latest: date | None, lived_days: int = 0) -> float:
    """The greatest age in years that the days allow to compute."""
    if at is not None and latest is not None:
        lived_days = max(lived_days, (latest - at).days)
    return age + max(lived_days, 0) / DAYS_A_YEAR


def _known(days: Iterable[date | None]) -> Iterable[date]:
    return (day for day in days if day is not None)
