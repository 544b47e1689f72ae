"""The clinical table of a release: read, pseudonymised with the images' key, gated, linked to studies.

Belongs here: reading the file that the provider file names, and what an operator sees of it. Does not belong here: what
a value may be (`oncurate.clinical`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect.artifacts import create_markdown_artifact

from oncurate import tables
from oncurate.clinical.links import finish, match
from oncurate.clinical.report import operator_lines, report
from oncurate.clinical.table import read_clinical
from oncurate.describe import pool_ages
from oncurate.errors import Defect, StoreUnreachable
from oncurate.identity import Keys
from oncurate.provider import Provider
from oncurate.recipe import digest, sha256_hex
from oncurate.store import read_url
from oncurate.verdict import GateReport
from tasks import zone

PROBLEMS = "clinical/problems.parquet"


@dataclass(frozen=True)
class Tables:
    """Rows of the tables `clinical` and `links`, and what must be in no text of the release."""

    named: dict[str, list[dict[str, Any]]]
    identifiers: frozenset[str]


NOTHING = Tables({}, frozenset())


def file_digest(provider: Provider) -> str:
    """Digest of the clinical file and of how it is read; "" where the provider file names none."""
    if provider.clinical is None:
        return ""
    return digest([sha256_hex(_bytes(provider)), provider.clinical.model_dump(mode="json")])


def link(
    provider: Provider,
    own: dict[str, list[dict[str, Any]]],
    issuers: Mapping[str, Collection[str]],
    gate: Callable[[str, pa.Table], GateReport],
) -> Tables:
    """The clinical rows of the subjects in `own` (tables `subjects`, `studies`), without those that the gate refuses.

    Studies of subjects whose clinical dates would tell an age over 89 lose their exact ages, in place. `issuers` are
    the issuers of each PatientID of the images. Row numbers of what is wrong stay in the work zone.
    """
    if provider.clinical is None:
        return NOTHING
    name = Path(provider.clinical.file).name
    keys = Keys(provider.secret())
    dates = provider.deidentify.dates
    found = read_clinical(_bytes(provider), name, provider.clinical, keys, issuers, dates=dates)
    problems = [{"row": p.row, "column": p.column, "reason": p.reason.value} for p in found.problems]
    zone.work(provider).write(PROBLEMS, tables.to_parquet("clinical_problems", problems))
    matched = match(found.subjects, {row["subject_id"] for row in own["subjects"]})
    lines = operator_lines(report(found, matched))
    zone.work(provider).write(zone.CLINICAL_REPORT, zone.pack(list(lines)))
    text = "\n".join(f"- {line}" for line in lines)
    create_markdown_artifact(key=f"{provider.dataset}-clinical", markdown=text, description="Clinical table")
    finished = finish(found.rows, own["studies"], own["subjects"])
    pool_ages(own["studies"], finished.pooled)
    rows = _passing(finished.clinical, gate) if finished.clinical else []
    return Tables({"clinical": rows, "links": finished.links}, found.identifiers)


def _passing(rows: list[dict[str, Any]], gate: Callable[[str, pa.Table], GateReport]) -> list[dict[str, Any]]:
    refused = {key for key, _ in gate("clinical", tables.to_arrow("clinical", rows)).quarantined}
    return [row for row in rows if (row["subject_id"], str(row["episode_number"])) not in refused]


def issuers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The issuers that occur with each PatientID, "" for none."""
    found: dict[str, set[str]] = {}
    for patient_id, issuer in pairs:
        found.setdefault(patient_id, set()).add(issuer)
    return found


def _bytes(provider: Provider) -> bytes:
    if provider.clinical is None:
        raise Defect("a clinical file is read where the provider file names none")
    try:
        return read_url(provider.clinical.file)
    except FileNotFoundError:
        raise StoreUnreachable(f"the clinical file {provider.clinical.file} does not exist") from None
