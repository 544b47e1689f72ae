"""One row of a clinical file to the fields that may leave, and the rules between its cells.

Belongs here: which cell becomes which field, missing values, age and survival from dates, free text, dates in order.
Does not belong here: what one value must look like (`oncurate.clinical.values`), who the patient is and how rows of one
patient go together (`oncurate.clinical.table`). Dates are the source's here; `oncurate.clinical.table` shifts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from oncurate import leaks
from oncurate.clinical import values, vocabularies
from oncurate.clinical.mapping import (
    DATE_FIELDS,
    TEXT_FIELDS,
    AgeOf,
    ClinicalMapping,
    ClinicalPolicy,
    ColumnOf,
    DateOf,
    IdOf,
    SurvivalOf,
    TermOf,
)
from oncurate.clinical.problems import Fault, Unfit
from oncurate.clinical.reading import Cell, Sheet
from oncurate.deid import text
from oncurate.errors import UsageError
from oncurate.identity import AGES_AGREE_YEARS, DAYS_A_YEAR

CONFIRMING = ("diagnosis_date", "pathology_confirmation_date")
"""Dates of the diagnosis, the better one first. The handbook takes the two for one."""

NAMING = ("subject", "issuer", "study")


@dataclass
class Row:
    """One row: who it is about (identified), its fields by name (dates as dates), and what was wrong with it."""

    number: int
    subject: str = ""
    issuer: str = ""
    study: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    identifiers: frozenset[str] = frozenset()


class RowReader:
    """Reads the rows of one sheet by one mapping; `UsageError` where the sheet has no column that the mapping names."""

    def __init__(self, sheet: Sheet, mapping: ClinicalMapping, policy: ClinicalPolicy, latest: date) -> None:
        self._sources = mapping.fields()
        self._places = _places(sheet.columns, self._sources, policy)
        self._identifying = _identifying(sheet.columns, self._sources, policy)
        self._decimal = policy.decimal
        self._latest = latest
        self._letters_of_sex = self._are_sexes(sheet)

    def read(self, number: int, cells: Sequence[Cell]) -> Row:
        """The fields of one row; a value that may not leave is absent and its fault recorded."""
        row = Row(number)
        for name in NAMING:
            if name in self._sources:
                setattr(row, name, self._name(self._sources[name], cells))
        born = self._field(row, "birth_date", cells) if "birth_date" in self._sources else None
        row.identifiers = self._values_that_identify(row, cells)
        for name in self._sources:
            if name not in (*NAMING, "birth_date"):
                self._keep(row, name, self._field(row, name, cells))
        _check_dates(row, born)
        self._add_age(row, born)
        self._add_survival(row)
        return row

    def _keep(self, row: Row, name: str, found: Any) -> None:
        if found is None:
            return
        if name == "tnm":
            for category, value in found.items():
                row.fields.setdefault(category, value)
        else:
            row.fields[name] = found

    def _name(self, source: ColumnOf, cells: Sequence[Cell]) -> str:
        cell = self._cell(source, cells)
        name = "" if cell is None else str(cell)
        return name.zfill(source.width) if isinstance(source, IdOf) and source.width and name else name

    def _cell(self, source: ColumnOf, cells: Sequence[Cell]) -> Cell:
        cell = cells[self._places[source.column]] if source.column is not None else source.constant
        return None if cell is None or str(cell) in source.missing else cell

    def _field(self, row: Row, name: str, cells: Sequence[Cell]) -> Any:
        """The value of a field, or None; a fault is recorded unless the cell stands for nothing."""
        source = self._sources[name]
        cell = self._cell(source, cells)
        if cell is None:
            return None
        try:
            return self._parse(row, name, source, cell)
        except Unfit as unfit:
            if not (isinstance(cell, str) and vocabularies.is_missing(cell)):
                row.faults.append((name, unfit.fault))
            return None

    def _parse(self, row: Row, name: str, source: ColumnOf, cell: str | date) -> Any:
        if isinstance(source, DateOf):
            earliest = values.EARLIEST_BIRTH if name == "birth_date" else values.EARLIEST
            return values.day(cell, source.format, latest=self._latest, earliest=earliest)
        written = cell if isinstance(cell, str) else cell.isoformat()
        if isinstance(source, AgeOf):
            return values.age(written, source.unit, self._decimal)
        if isinstance(source, SurvivalOf):
            return values.survival(written, source.unit, self._decimal)
        assert isinstance(source, TermOf)
        mapped = _mapped(source, written)
        if mapped is not None and not mapped:
            return None
        if name in TEXT_FIELDS:
            return _clean(mapped or written, row.identifiers)
        if name == "sex" and mapped is None and len(written) == 1 and not self._letters_of_sex:
            raise Unfit(Fault.UNKNOWN_TERM)
        return values.term(name, mapped or written)

    def _add_age(self, row: Row, born: date | None) -> None:
        """The age from the dates where it fits the stated one, which may be in completed years."""
        confirmed = next((row.fields[name] for name in CONFIRMING if name in row.fields), None)
        if born is None or confirmed is None:
            return
        stated = row.fields.pop("age_at_diagnosis_years", None)
        try:
            age = values.plausible_age((confirmed - born).days / DAYS_A_YEAR)
        except Unfit as unfit:
            row.faults.append(("age_at_diagnosis_years", unfit.fault))
            return
        if stated is not None and abs(age - stated) > AGES_AGREE_YEARS:
            row.faults.append(("age_at_diagnosis_years", Fault.CONTRADICTS_DATES))
            return
        row.fields["age_at_diagnosis_years"] = age

    def _add_survival(self, row: Row) -> None:
        """The survival from the dates where it fits the stated one within the unit that it is stated in."""
        diagnosed, last = (row.fields.get(name) for name in ("diagnosis_date", "last_contact_date"))
        if diagnosed is None or last is None:
            return
        stated = row.fields.pop("survival_days", None)
        days = (last - diagnosed).days
        source = self._sources.get("survival_days")
        slack = values.DAYS_A_UNIT[source.unit] if isinstance(source, SurvivalOf) else 0.0
        if days < 0:
            row.faults.append(("survival_days", Fault.DATES_OUT_OF_ORDER))
        elif stated is not None and abs(days - stated) > slack:
            row.faults.append(("survival_days", Fault.CONTRADICTS_DATES))
        else:
            row.fields["survival_days"] = days

    def _values_that_identify(self, row: Row, cells: Sequence[Cell]) -> frozenset[str]:
        born = self._sources.get("birth_date")
        raw = [cells[place] for place in self._identifying]
        raw += [row.subject, row.issuer, row.study, self._cell(born, cells) if born is not None else None]
        return frozenset(str(cell) for cell in raw if cell)

    def _are_sexes(self, sheet: Sheet) -> bool:
        source = self._sources.get("sex")
        if source is None or source.column is None:
            return True
        place = self._places[source.column]
        letters = {cells[place].casefold() for _, cells in sheet.rows if isinstance(cells[place], str)}
        return {each for each in letters if len(each) == 1 and each.isalpha()} <= vocabularies.LETTERS_OF_SEX


def _places(columns: Sequence[str], sources: dict[str, ColumnOf], policy: ClinicalPolicy) -> dict[str | None, int]:
    wanted = [(name, source.column) for name, source in sources.items() if source.column is not None]
    wanted += [(key, column) for key in ("safe_text", "identifiers") for column in getattr(policy, key)]
    for name, column in wanted:
        if columns.count(column) != 1:
            what = "has no column" if column not in columns else "has more than one column"
            raise UsageError(f"clinical: the file {what} called {column!r}, which the provider file gives for {name}")
    return {column: columns.index(column) for _, column in wanted}


def _identifying(columns: Sequence[str], sources: dict[str, ColumnOf], policy: ClinicalPolicy) -> tuple[int, ...]:
    """Places of the columns that identify: the declared ones, and those whose header says so and that no field uses."""
    used = {source.column for source in sources.values()}
    return tuple(
        place
        for place, column in enumerate(columns)
        if column in policy.identifiers or (column not in used and vocabularies.identifies(column))
    )


def _mapped(source: TermOf, cell: str) -> str | None:
    """What `values` says of a cell, compared exactly and then folded; "" for null, None where it says nothing."""
    folded = vocabularies.fold(cell)
    same = (spelt for spelt in source.values if vocabularies.fold(spelt) == folded)
    spelt = cell if cell in source.values else next(same, None)
    return None if spelt is None else source.values[spelt] or ""


def _clean(written: str, identifiers: frozenset[str]) -> str:
    """What the closed vocabulary leaves of free text, without the words that identify this patient."""
    cleaned = text.clean(written, text.identifiers(identifiers)).strip()
    if not cleaned:
        raise Unfit(Fault.NOTHING_SAFE_LEFT)
    if leaks.search(cleaned, identifiers):
        raise Unfit(Fault.IDENTIFIER_IN_TEXT)
    return cleaned


def _check_dates(row: Row, born: date | None) -> None:
    if born is None:
        return
    for name in DATE_FIELDS:
        if name in row.fields and row.fields[name] < born:
            del row.fields[name]
            row.faults.append((name, Fault.DATE_BEFORE_BIRTH))
