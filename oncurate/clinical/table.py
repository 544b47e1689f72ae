"""A provider's clinical file to de-identified rows, and everything that was wrong with it.

Belongs here: who a row is about, rows of one patient, the shift of dates, pooled ages. Does not belong here: single
cells and rows (`oncurate.clinical.rows`), and what needs the studies of a release (`oncurate.clinical.links`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from oncurate.clinical import ages, mapping, reading
from oncurate.clinical.mapping import DATE_FIELDS, ClinicalPolicy
from oncurate.clinical.problems import Fault, Problem
from oncurate.clinical.rows import Row, RowReader
from oncurate.identity import Keys, has_patient_id

Dates = Literal["modified", "full", "none"]
"""As for the images: one shift for all dates of a patient, dates as they are, or no dates."""

LAST = "99999999"
"""Sorts behind every date."""


@dataclass(frozen=True)
class Clinical:
    """The clinical file after de-identification. `rows` are in the order of the pseudonyms, not of the file.

    A row has the columns of the `clinical` table that the file gave, `YYYYMMDD` shifted, and `study_ids`, the cohort's
    names of the studies that the file links to it. What needs the images' studies is added by `links.finish`.
    """

    rows: tuple[dict[str, Any], ...]
    problems: tuple[Problem, ...]  # restricted: row numbers of the source
    rows_read: int
    rows_repeated: int  # rows that say what another row says already
    subjects_without_images: int
    identifiers: frozenset[str]  # identified: what was taken out, to be searched for in what leaves

    @property
    def subjects(self) -> frozenset[str]:
        """The pseudonyms of the patients with a row."""
        return frozenset(row["subject_id"] for row in self.rows)


@dataclass
class _Record:
    """Rows that say the same of one patient."""

    fields: dict[str, Any]
    numbers: list[int] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)


def read_clinical(
    data: bytes,
    name: str,
    policy: ClinicalPolicy,
    keys: Keys,
    issuers: Mapping[str, Collection[str]],
    *,
    dates: Dates = "modified",
    today: date | None = None,
) -> Clinical:
    """The clinical file `name`, whose bytes are `data`, with the same keys and date policy as the images.

    `issuers` holds, for each PatientID of the images, the issuers that occur with it ("" for none). A row without an
    issuer belongs to the only patient of that id; where there are several, it is refused. `today` bounds the dates
    (default: now, UTC). Raises `UsageError` where the file or its mapping cannot be used at all.
    """
    sheet = reading.read(data, name, policy)
    chosen = policy.mapping or mapping.by_names(sheet.columns)
    reader = RowReader(sheet, chosen, policy, today or datetime.now(UTC).date())
    images = _subjects_of_images(keys, issuers)
    problems, identifiers = list(sheet.problems), set[str]()
    by_subject: dict[str, dict[Any, _Record]] = {}
    for number, cells in sheet.rows:
        row = reader.read(number, cells)
        identifiers |= row.identifiers
        subject = _subject(row, keys, images)
        problems += [Problem(number, column, fault) for column, fault in row.faults]
        if isinstance(subject, Fault):
            problems.append(Problem(number, "", subject))
            continue
        _add(by_subject.setdefault(subject, {}), row, keys)
    rows: list[dict[str, Any]] = []
    for subject in sorted(by_subject):
        kept, wrong = _rows_of(subject, list(by_subject[subject].values()), keys, dates)
        rows += kept
        problems += wrong
    records = [record for group in by_subject.values() for record in group.values()]
    known = frozenset().union(*images.values())
    return Clinical(
        rows=tuple(rows),
        problems=tuple(sorted(problems)),
        rows_read=len(sheet.rows) + len(sheet.problems),
        rows_repeated=sum(len(record.numbers) - 1 for record in records),
        subjects_without_images=len({row["subject_id"] for row in rows} - known),
        identifiers=frozenset(identifiers),
    )


def _subjects_of_images(keys: Keys, issuers: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """The subjects that one PatientID stands for, by the name that it has without an issuer: ids compare as names."""
    found: dict[str, set[str]] = {}
    for patient_id, known in issuers.items():
        if has_patient_id(patient_id):
            subjects = found.setdefault(keys.subject_id(patient_id, ""), set())
            subjects.update(keys.subject_id(patient_id, issuer) for issuer in known or ("",))
    return found


def _subject(row: Row, keys: Keys, images: Mapping[str, set[str]]) -> str | Fault:
    if not has_patient_id(row.subject):
        return Fault.NO_PATIENT_ID
    if row.issuer:
        return keys.subject_id(row.subject, row.issuer)
    unissued = keys.subject_id(row.subject, "")
    subjects = images.get(unissued, {unissued})
    return next(iter(subjects)) if len(subjects) == 1 else Fault.AMBIGUOUS_PATIENT


def _add(records: dict[Any, _Record], row: Row, keys: Keys) -> None:
    record = records.setdefault(tuple(sorted(row.fields.items())), _Record(row.fields))
    record.numbers.append(row.number)
    if row.study:
        record.studies.add(keys.study_id(row.study))


def _rows_of(
    subject: str, records: list[_Record], keys: Keys, dates: Dates
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The rows of one patient, or the problem of each of its rows where nothing tells them apart."""
    if len(records) > 1 and not _told_apart(records):
        numbers = [number for record in records for number in record.numbers]
        return [], [Problem(number, "", Fault.CONFLICTING_ROWS) for number in numbers]
    problems = _settle_sex(records)
    for record in records:
        for name in DATE_FIELDS:
            if name in record.fields:
                record.fields[name] = _moved(record.fields[name], subject, keys, dates)
    records.sort(key=lambda record: (record.fields.get("episode_date") or LAST, record.numbers[0]))
    rows = [record.fields for record in records]
    for row, age in zip(rows, ages.shown(rows), strict=True):
        row[ages.AGE] = age
    if dates == "none":
        rows = [{name: value for name, value in row.items() if name not in DATE_FIELDS} for row in rows]
    return [
        {"subject_id": subject, "episode_number": number, **row, "study_ids": sorted(record.studies)}
        for number, (row, record) in enumerate(zip(rows, records, strict=True), 1)
    ], problems


def _told_apart(records: Iterable[_Record]) -> bool:
    """Whether an episode, its date or its studies set every row of a patient apart from the others."""
    marks = [(r.fields.get("episode"), r.fields.get("episode_date"), tuple(sorted(r.studies))) for r in records]
    return len(set(marks)) == len(marks) and all(any(mark) for mark in marks)


def _settle_sex(records: Iterable[_Record]) -> list[Problem]:
    """A patient has one sex at birth: where rows differ, none of them is believed."""
    stating = [record for record in records if "sex" in record.fields]
    if len({record.fields["sex"] for record in stating}) < 2:
        return []
    for record in stating:
        del record.fields["sex"]
    return [Problem(number, "sex", Fault.CONFLICTING_VALUES) for record in stating for number in record.numbers]


def _moved(day: date, subject: str, keys: Keys, dates: Dates) -> str | None:
    """YYYYMMDD. Without dates the shift still serves to compute ages, before they are dropped."""
    written = f"{day:%Y%m%d}"
    return written if dates == "full" else keys.shift_date(written, subject)
