"""The clinical rows of a release and its link table: what needs the studies that were curated.

Belongs here: relative days, agreement with the image headers, episode and timepoint of each study, and who lacks images
or a clinical row. Does not belong here: reading the clinical file (`oncurate.clinical.table`).

All dates are shifted alike, so differences between them are true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from oncurate.clinical import ages
from oncurate.clinical.columns import EVENTS
from oncurate.identity import AGES_AGREE_YEARS, parse_date

STATED, BY_DATE = "study", "date"
"""What may stand in `episode_source`."""

SEXES = {"M": "male", "F": "female", "O": "other"}
"""PatientSex (PS3.3 C.7.1.1) in the terms of the clinical table."""

STARTS = {
    "Diagnosis": ("episode_date", "radiological_detection_date", "diagnosis_date", "pathology_confirmation_date"),
    "Treatment": ("episode_date", "first_treatment_date"),
}
"""Dates that start an episode, the first one known counts; `episode_date` alone for all other episodes."""


class Finished(NamedTuple):
    """Rows of the `clinical` and `links` tables, and subjects whose studies must show no exact age."""

    clinical: list[dict[str, Any]]
    links: list[dict[str, Any]]
    pooled: frozenset[str]


class Matched(NamedTuple):
    """Subjects on both sides, and on one side only."""

    matched: int
    without_images: int
    without_clinical: int


def finish(
    rows: Iterable[Mapping[str, Any]],
    studies: Iterable[Mapping[str, Any]],
    subjects: Iterable[Mapping[str, Any]] = (),
) -> Finished:
    """The clinical rows of the subjects in the release, and a link row for each of its studies.

    `studies` and `subjects` are rows of the tables of those names. Days count from the subject's first study. Rows of
    patients without a curated study are left out: `match` counts them. The caller blanks `patient_age_years` below 90
    in the studies of `pooled`: with the clinical dates they would tell an age over 89.
    """
    studies_of, rows_of = _grouped(studies), _grouped(rows)
    sexes = {row["subject_id"]: SEXES.get(row.get("PatientSex") or "") for row in subjects}
    clinical: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    pooled: set[str] = set()
    for subject in sorted(studies_of):
        own, seen = rows_of.get(subject, []), studies_of[subject]
        clinical += _clinical_rows(own, seen, sexes.get(subject))
        links += _link_rows(own, seen)
        if ages.over_89(own, seen):
            pooled.add(subject)
    return Finished(clinical, links, frozenset(pooled))


def match(clinical: Collection[str], images: Collection[str]) -> Matched:
    """How many subjects have both, only a clinical row, only images."""
    both = len(set(clinical) & set(images))
    return Matched(both, len(set(clinical)) - both, len(set(images)) - both)


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["subject_id"]].append(row)
    return found


def _clinical_rows(
    rows: Sequence[Mapping[str, Any]], studies: Sequence[Mapping[str, Any]], sex: str | None
) -> list[dict[str, Any]]:
    baseline = min(filter(None, (parse_date(study["StudyDate"]) for study in studies)), default=None)
    finished = []
    for row, age in zip(rows, ages.shown(rows, studies), strict=True):
        kept = {name: value for name, value in row.items() if name != "study_ids"}
        kept |= {f"{event}_days": _days(row.get(f"{event}_date"), baseline) for event in EVENTS}
        kept["studies"] = len(studies)
        kept["sex_agrees"] = row["sex"] == sex if row.get("sex") and sex else None
        kept["age_agrees"] = None if age is None else ages.agrees(row, studies, AGES_AGREE_YEARS)
        kept[ages.AGE] = age
        finished.append(kept)
    return finished


def _link_rows(rows: Sequence[Mapping[str, Any]], studies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each study of one subject, in order of time."""
    stated, starts = _stated(rows), _starts(rows)
    ordered = sorted(studies, key=lambda study: (study["StudyDate"] is None, study["StudyDate"], study["study_id"]))
    links = []
    for number, study in enumerate(ordered, 1):
        day = parse_date(study["StudyDate"])
        episode, source = stated.get(study["study_id"]), STATED
        if episode is None:
            episode, source = _episode_at(day, starts), BY_DATE
        links.append(
            {
                "subject_id": study["subject_id"],
                "study_id": study["study_id"],
                "StudyInstanceUID": study["StudyInstanceUID"],
                "episode": episode,
                "episode_source": source if episode is not None else None,
                "timepoint": number if day is not None or len(studies) == 1 else None,
                "days_from_baseline": study.get("days_from_baseline"),
            }
        )
    return links


def _stated(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The episode of each study that the clinical file names; not where it names several."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for study in row.get("study_ids", ()):
            found[study] |= {row["episode"]} if row.get("episode") else set()
    return {study: next(iter(episodes)) for study, episodes in found.items() if len(episodes) == 1}


def _starts(rows: Iterable[Mapping[str, Any]]) -> list[tuple[date, str]]:
    """When each dated episode of one subject starts, in order of time."""
    found = []
    for row in rows:
        episode = row.get("episode")
        days = (parse_date(row.get(name)) for name in STARTS.get(episode or "", ("episode_date",)))
        start = next((day for day in days if day is not None), None)
        if episode is not None and start is not None:
            found.append((start, episode))
    return sorted(found)


def _episode_at(day: date | None, starts: Sequence[tuple[date, str]]) -> str | None:
    """The last episode that has started; images before a diagnosis belong to it, as they led to it."""
    if day is None or not starts:
        return None
    begun = [episode for start, episode in starts if start <= day]
    if begun:
        return begun[-1]
    return "Diagnosis" if starts[0][1] == "Diagnosis" else None


def _days(written: str | None, baseline: date | None) -> int | None:
    day = parse_date(written)
    return (day - baseline).days if day is not None and baseline is not None else None
