"""What a gate says about a table: a record that holds counts and reasons, never a value of the table.

Belongs here: the record and its rendering for people. Does not belong here: evaluating an expectation
(`expectations.gate`), stopping a run, or what becomes of a quarantined row (`tasks`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from oncurate.records import Record

Severity = Literal["critical", "warning"]
Level = Literal["table", "row"]


class ExpectationResult(Record):
    """How one expectation of a suite came out."""

    id: str
    type: str
    columns: tuple[str, ...]  # `name.2` is the third element of the list column `name`; `a + b` a sum of columns
    severity: Severity
    level: Level
    dimension: str
    why: str
    evaluated: bool  # False: it could not be evaluated (a column is missing or of another type), which refuses
    success: bool
    unexpected_count: int | None  # rows that fail; null where the expectation is not about rows
    unexpected_share: float | None  # of the rows it applies to and that have a value; null where there are none


class GateReport(Record):
    """A gate's verdict on one table.

    `quarantined` is (row key, expectation id) in the table's order: each row once, with the first expectation of the
    suite that it fails. A key can be a path of the provider, so it stays in the process: neither JSON nor `repr` holds
    it, and a report that was read from JSON has none.
    """

    suite: str
    table: str
    dimensions: tuple[str, ...]
    rows: int
    passed: bool
    refusals: tuple[str, ...]  # ids of the expectations that made the gate refuse, in the suite's order
    warnings: tuple[str, ...]  # ids of the failed expectations that only report
    quarantined_rows: int
    expectations: tuple[ExpectationResult, ...]
    quarantined: tuple[tuple[tuple[str, ...], str], ...] = Field(default=(), exclude=True, repr=False)


def markdown(report: GateReport) -> str:
    """The report as a Markdown table with a sentence on top and, below, why each failed expectation matters."""
    said = "passed" if report.passed else "refused"
    lines = [
        f"## Gate {report.suite}: {said}",
        "",
        f"{report.rows} rows of `{report.table}`, {len(report.expectations)} expectations, "
        f"{report.quarantined_rows} rows quarantined, {len(report.warnings)} warnings. "
        f"Dimensions: {', '.join(report.dimensions)}.",
        "",
        "| expectation | columns | dimension | severity | level | rows that fail | share | result |",
        "|---|---|---|---|---|---:|---:|---|",
    ]
    for e in report.expectations:
        count = "" if e.unexpected_count is None else str(e.unexpected_count)
        share = "" if e.unexpected_share is None else f"{e.unexpected_share:.2%}"
        columns = ", ".join(f"`{c}`" for c in e.columns)
        lines.append(
            f"| {e.id} | {columns} | {e.dimension} | {e.severity} | {e.level} | {count} | {share} | {_said(e)} |"
        )
    failed = [e for e in report.expectations if _said(e) != "ok"]
    if failed:
        lines += ["", *(f"- **{e.id}** ({_said(e)}): {e.why}" for e in failed)]
    return "\n".join(lines) + "\n"


def _said(e: ExpectationResult) -> str:
    if not e.evaluated:
        return "could not be evaluated"
    if not e.success:
        return "refused" if e.severity == "critical" else "warning"
    return "rows quarantined" if e.severity == "critical" and e.level == "row" and e.unexpected_count else "ok"
