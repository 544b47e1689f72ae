"""A report renders what happened and why it matters."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from oncurate.verdict import ExpectationResult, GateReport, markdown


def result(**changed) -> ExpectationResult:
    plain = {
        "id": "path_unique",
        "type": "expect_column_values_to_be_unique",
        "columns": ("source_path",),
        "severity": "critical",
        "level": "table",
        "dimension": "Unique",
        "why": "Two rows of one path would count a file twice.",
        "evaluated": True,
        "success": True,
        "unexpected_count": 0,
        "unexpected_share": 0.0,
    }
    return ExpectationResult(**plain | changed)


def report(*results: ExpectationResult, **changed) -> GateReport:
    plain = {
        "suite": "objects",
        "table": "objects",
        "dimensions": ("Unique",),
        "rows": 8,
        "passed": True,
        "refusals": (),
        "warnings": (),
        "quarantined_rows": 0,
        "expectations": results,
    }
    return GateReport(**plain | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "ok"),
        ({"success": False, "unexpected_count": 2, "unexpected_share": 0.25}, "refused"),
        ({"success": False, "severity": "warning"}, "warning"),
        ({"success": False, "evaluated": False, "unexpected_count": None}, "could not be evaluated"),
        ({"level": "row", "unexpected_count": 1}, "rows quarantined"),
        ({"level": "row", "severity": "warning", "unexpected_count": 1}, "ok"),
    ],
)
def test_the_outcome_of_an_expectation_in_words(changed, said):
    text = markdown(report(result(**changed)))
    assert f"| {said} |" in text
    assert ("count a file twice" in text) == (said != "ok")


def test_the_head_says_what_was_decided():
    text = markdown(report(result(), passed=False, refusals=("path_unique",), quarantined_rows=3))
    assert text.startswith("## Gate objects: refused\n")
    assert "8 rows of `objects`" in text
    assert "3 rows quarantined" in text


def test_shares_and_counts_stand_in_the_table():
    text = markdown(report(result(success=False, unexpected_count=2, unexpected_share=0.25)))
    assert "| 2 | 25.00% | refused |" in text


def test_row_keys_stay_in_the_process():
    written = report(result(), quarantined=((("patients/one.dcm",), "url_present"),), quarantined_rows=1)
    assert written.quarantined[0][0] == ("patients/one.dcm",)
    assert "one.dcm" not in written.model_dump_json() + repr(written) + markdown(written)
    assert GateReport.model_validate_json(written.model_dump_json()).quarantined == ()


def test_a_report_is_frozen():
    with pytest.raises(ValidationError):
        report(result()).passed = False
