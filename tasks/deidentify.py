"""The deidentify stage: identified series -> cohort series, verified on what was written.

Belongs here: the batch around `oncurate.deidentify.to_cohort`, the secret's check value, the restricted key table. Does
not belong here: any rule of de-identification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oncurate import tables
from oncurate.deidentify import key_rows, to_cohort
from oncurate.errors import UsageError
from oncurate.identity import Keys
from oncurate.provider import Provider
from oncurate.recipe import STAGE_VERSIONS, digest
from oncurate.records import CohortSeries, Outcome, Record
from tasks import zone
from tasks.guard import stage_task
from tasks.index import Planned, series_key
from tasks.zone import Part, Rows

STAGE = "deidentify"


class Cohort(Record):
    """Records of the stage: de-identified series."""

    series: tuple[CohortSeries, ...]


class KeyRows(Record):
    """Rows of the restricted key table; never leaves the work zone."""

    rows: tuple[dict[str, Any], ...]


def write_key_table(provider: Provider, parts: Sequence[Part]) -> None:
    """Write the restricted key table of this run: which source identity became which cohort identity."""
    store = zone.work(provider)
    rows = {
        (row["kind"], row["source"]): row
        for part in parts
        for row in zone.unpack(store.read(key_rows_key(part)), KeyRows).rows
    }
    store.write(zone.KEY_TABLE, tables.to_parquet("keys", [rows[key] for key in sorted(rows)]))


def key_rows_key(part: Part) -> str:
    """Key of the key-table rows that belong to a part."""
    return f"keys/parts/{part.name}.json.gz"


def volume_recipe(provider: Provider, modality: str) -> str:
    """Digest of everything that shapes a volume of this modality: stage versions, policies, profiles."""
    return digest(
        {
            "versions": STAGE_VERSIONS,
            "deidentify": provider.deidentify.model_dump(mode="json"),
            "geometry": provider.geometry.model_dump(mode="json"),
            "profiles": [profile.model_dump(mode="json") for profile in provider.profiles().possible(modality)],
        }
    )


def check_secret(provider: Provider) -> None:
    """Refuse a secret other than the one that this work zone was made with: pseudonyms would no longer match."""
    store = zone.work(provider)
    value = Keys(provider.secret()).check_value().encode()
    if not store.put_if_absent(zone.KEY_CHECK, value) and store.read(zone.KEY_CHECK) != value:
        raise UsageError(
            f"the secret in {provider.secret_env} is not the one this work zone was made with, so pseudonyms would "
            "change. Set the former secret, or start a new data set with a work zone of its own"
        )


@stage_task(STAGE)
def deidentify_batch(
    provider: Provider,
    plan: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """De-identify every series of one plan part, less those whose series key is in `skip`."""
    store = zone.work(provider)
    recipes: dict[str, str] = {}
    identity = [plan.name, sorted(skip), volume_recipe(provider, "CT"), provider.profiles().model_dump(mode="json")]
    part = zone.part_of(STAGE, identity)
    if zone.finished(store, part):
        return part
    keys = Keys(provider.secret())
    series: list[CohortSeries] = []
    rows: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    key_table: list[dict[str, Any]] = []
    for source in zone.unpack(store.read(plan.records), Planned).series:
        if series_key(source) in skip:
            continue
        recipe = recipes.setdefault(source.Modality, volume_recipe(provider, source.Modality))
        cohort, cohort_rows, refusals = to_cohort(source, keys, recipe, provider.deidentify)
        outcomes.extend(refusals)
        if cohort is not None:
            series.append(cohort)
            rows.extend(cohort_rows)
            key_table.extend(key_rows(source, cohort))
    store.write(key_rows_key(part), zone.pack(KeyRows(rows=tuple(key_table))))
    links = {
        "volumes": {
            v.volume_id: {
                "objects": sorted({s.object for s in v.planned.slices}),
                "series": c.SeriesInstanceUID,
                "subject": c.subject_id,
            }
            for c in series
            for v in c.volumes
        },
    }
    return zone.save(
        store, part, Cohort(series=tuple(series)), Rows(rows=tuple(rows), outcomes=tuple(outcomes), links=links)
    )
