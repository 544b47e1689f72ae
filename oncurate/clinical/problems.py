"""The closed list of what can be wrong with a clinical row or value, and what to do about each.

Belongs here: slugs, whether one refuses the row, a sentence for the data engineer who has to act, and counting them.
Does not belong here: deciding which one applies (`oncurate.clinical.values`, `oncurate.clinical.table`).

A problem names a row number and a field of the mapping, never a value: clinical files hold personal data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Fault(StrEnum):
    """What is wrong. The value is the slug that reports show."""

    # the row is refused
    BROKEN_ROW = "broken_row"
    NO_PATIENT_ID = "no_patient_id"
    AMBIGUOUS_PATIENT = "ambiguous_patient"
    CONFLICTING_ROWS = "conflicting_rows"
    # the value becomes null
    UNKNOWN_TERM = "unknown_term"
    NOT_ICDO3 = "not_icdo3"
    NOT_TNM = "not_tnm"
    UNREADABLE_NUMBER = "unreadable_number"
    OUT_OF_RANGE = "out_of_range"
    UNREADABLE_DATE = "unreadable_date"
    IMPLAUSIBLE_DATE = "implausible_date"
    DATE_BEFORE_BIRTH = "date_before_birth"
    DATES_OUT_OF_ORDER = "dates_out_of_order"
    CONTRADICTS_DATES = "contradicts_dates"
    CONFLICTING_VALUES = "conflicting_values"
    NOTHING_SAFE_LEFT = "nothing_safe_left"
    IDENTIFIER_IN_TEXT = "identifier_in_text"

    @property
    def refuses_row(self) -> bool:
        """Whether the whole row is refused; otherwise only its value is null."""
        return self in _REFUSING

    @property
    def advice(self) -> str:
        """One sentence: what it means and what to do about it."""
        return _ADVICE[self]


_REFUSING = frozenset({Fault.BROKEN_ROW, Fault.NO_PATIENT_ID, Fault.AMBIGUOUS_PATIENT, Fault.CONFLICTING_ROWS})

_ADVICE: dict[Fault, str] = {
    Fault.BROKEN_ROW: "The row has more or fewer cells than the header, or a stray quote; mend it in the file.",
    Fault.NO_PATIENT_ID: "The row has no patient id, or a placeholder that stands for nobody.",
    Fault.AMBIGUOUS_PATIENT: "The id belongs to patients of several issuers in the images; map a column `issuer`.",
    Fault.CONFLICTING_ROWS: "Rows of one patient differ and no episode, date or study tells them apart; map `episode`.",
    Fault.UNKNOWN_TERM: "Not a term of the field's closed vocabulary; add it to the mapping's `values`.",
    Fault.NOT_ICDO3: "Not a code of ICD-O-3 (topography C34.1, morphology 8140/3); ICD-10 differs in some categories.",
    Fault.NOT_TNM: "Not a TNM category such as cT2a, pN1mi or M0.",
    Fault.UNREADABLE_NUMBER: "Not a number with the declared decimal sign and without thousands separators.",
    Fault.OUT_OF_RANGE: "A number that cannot be; check its unit.",
    Fault.UNREADABLE_DATE: "Not a date in the declared format (without one: YYYY-MM-DD or YYYYMMDD).",
    Fault.IMPLAUSIBLE_DATE: "A date in the future, or before 1900: a dummy or an error of entry.",
    Fault.DATE_BEFORE_BIRTH: "An event before the patient's birth; one of the two dates is wrong.",
    Fault.DATES_OUT_OF_ORDER: "The last contact is before the diagnosis; one of the two dates is wrong.",
    Fault.CONTRADICTS_DATES: "The stated age or survival and the dates do not fit together; one of them is wrong.",
    Fault.CONFLICTING_VALUES: "Rows of one patient give different values of what can have only one.",
    Fault.NOTHING_SAFE_LEFT: "Cleaning left no word of the text; map its values to codes instead.",
    Fault.IDENTIFIER_IN_TEXT: "The cleaned text still held something that identifies the patient.",
}


class Problem(NamedTuple):
    """One thing that is wrong: where, and why."""

    row: int  # as a spreadsheet shows it: the header is row 1
    column: str  # field of the mapping; "" where it is about the whole row
    reason: Fault


class Unfit(Exception):
    """A cell whose value may not leave; `fault` says why. It holds nothing of the value."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def count(problems: Iterable[Problem]) -> dict[tuple[str, Fault], int]:
    """How often each (field, fault) occurs, in alphabetical order."""
    return dict(sorted(Counter((p.column, p.reason) for p in problems).items()))
