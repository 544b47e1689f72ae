"""What became of a clinical file, in counts: for the operator exactly, for the public without small groups.

Belongs here: counting and wording. Does not belong here: row numbers (`Clinical.problems`, which stays in the work
zone) and values, which no report holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from oncurate.clinical.links import Matched
from oncurate.clinical.problems import Fault, count
from oncurate.clinical.table import Clinical
from oncurate.summary import disclosed


@dataclass(frozen=True)
class ClinicalReport:
    """Counts of one clinical file. Exact, so for those who hold the file; `public_lines` is for everybody."""

    rows_read: int
    rows_refused: dict[Fault, int]
    rows_repeated: int
    values_refused: dict[tuple[str, Fault], int]  # by field of the mapping
    matched: Matched  # patients with both, only a clinical row, only images


def report(clinical: Clinical, matched: Matched) -> ClinicalReport:
    """The counts of a clinical file and of its patients in a release."""
    counted = count(clinical.problems)
    return ClinicalReport(
        rows_read=clinical.rows_read,
        rows_refused={fault: number for (_, fault), number in counted.items() if fault.refuses_row},
        rows_repeated=clinical.rows_repeated,
        values_refused={key: number for key, number in counted.items() if not key[1].refuses_row},
        matched=matched,
    )


def operator_lines(found: ClinicalReport) -> tuple[str, ...]:
    """One line a count, each with its advice: no row number and no value."""
    return (
        f"clinical rows read: {found.rows_read}; said twice: {found.rows_repeated}",
        f"patients with images and a clinical row: {found.matched.matched}",
        f"patients with a clinical row and no images: {found.matched.without_images}",
        f"patients with images and no clinical row: {found.matched.without_clinical}",
        *(f"rows refused, {fault}: {number}. {fault.advice}" for fault, number in found.rows_refused.items()),
        *(f"{column}, {fault}: {number}. {fault.advice}" for (column, fault), number in found.values_refused.items()),
    )


def public_lines(found: ClinicalReport) -> tuple[str, ...]:
    """How many patients of the release have a clinical row; small groups are not counted."""
    shown = disclosed({"yes": found.matched.matched, "no": found.matched.without_clinical})
    return (f"Patients with a clinical row: {shown['yes']}", f"Patients without a clinical row: {shown['no']}")
