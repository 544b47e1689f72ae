"""The gate in front of every next stage, as a task that an operator sees.

Belongs here: running a suite, turning rows that it refuses into outcomes, and showing the verdict. Does not belong
here: what a suite asserts (`expectations/*.json`).
"""

from __future__ import annotations

import pyarrow as pa
from prefect.artifacts import create_markdown_artifact

from expectations import gate
from oncurate.reasons import Reason
from oncurate.records import Outcome
from oncurate.verdict import GateReport, markdown
from tasks.guard import stage_task


@stage_task("gate", run_name="gate {suite}", retries=0)
def check_gate(dataset: str, suite: str, table: pa.Table) -> GateReport:
    """Run one suite over its stage's table and keep the verdict as an artifact; raises nothing for a refusal."""
    report = gate.check(suite, table)
    create_markdown_artifact(key=f"{dataset}-gate-{suite}", markdown=markdown(report), description=f"Gate {suite}")
    return report


def refused_rows(report: GateReport, stage: str) -> list[Outcome]:
    """An outcome for each row that the gate sends to quarantine; its detail is the expectation's id."""
    reason = Reason(f"gate_{report.suite}")
    return [Outcome.refused(key[0], stage, reason, expectation) for key, expectation in report.quarantined]
