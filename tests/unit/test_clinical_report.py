"""Reports of a clinical file hold counts and advice, never a row number or a value."""

from __future__ import annotations

from oncurate.clinical import links, report
from oncurate.clinical.problems import Fault
from oncurate.clinical.table import read_clinical
from tests.clinical_files import KEYS, TODAY, policy, written


def made():
    lines = [("id", "sex"), ("A1", "Q1"), ("A2", "Q2"), ("A3", "male"), ("A3", "male"), ("", "female")]
    chosen = policy({"file": "c.csv", "mapping": {"subject": "id", "sex": "sex"}})
    found = read_clinical(written(lines).encode(), "c.csv", chosen, KEYS, {}, today=TODAY)
    images = {KEYS.subject_id(name, "") for name in ("A1", "A2", *(f"B{n}" for n in range(9)))}
    return report.report(found, links.match(found.subjects, images))


def test_what_was_read_is_counted_in_full():
    found = made()
    assert (found.rows_read, found.rows_repeated) == (5, 1)
    assert found.rows_refused == {Fault.NO_PATIENT_ID: 1}
    assert found.values_refused == {("sex", Fault.UNKNOWN_TERM): 2}
    assert found.matched == (2, 1, 9)


def test_the_operator_sees_counts_and_advice():
    lines = report.operator_lines(made())
    assert any(line.startswith("sex, unknown_term: 2. Not a term") for line in lines)
    assert "patients with images and no clinical row: 9" in lines
    assert not any(value in "\n".join(lines) for value in ("Q1", "Q2", "A1", "A3"))


def test_the_public_sees_no_small_group():
    assert report.public_lines(made()) == (
        "Patients with a clinical row: < 5",
        "Patients without a clinical row: not shown",
    )
