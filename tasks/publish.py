"""The publish stage: a staged release -> read back, gated, committed, catalogued. Called once, in the flow process.

Belongs here: gathering what a release is made of, closing the ledger, the facts that the release gate asserts. Does not
belong here: the order of writes (`oncurate.release`) and what the card says (`oncurate.card`).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from typing import Any

import pyarrow as pa

from oncurate import __version__, catalogue, describe, leaks, ledger, release, tables
from oncurate.deidentify import DESCRIPTIONS
from oncurate.errors import Defect, GateRefused
from oncurate.identity import Keys
from oncurate.ledger import Identity, Place, Sums
from oncurate.provider import Provider
from oncurate.reasons import State
from oncurate.recipe import STAGE_VERSIONS, digest
from oncurate.records import CohortSeries, Outcome, Record, SourceObject
from oncurate.staged import About, Current, Staged, StagedObject
from oncurate.store import Store
from oncurate.verdict import GateReport
from oncurate.verify import PATH_SUFFIX, PATH_TABLES
from tasks import clinical, zone
from tasks.deidentify import pixel_tools
from tasks.guard import stage_task
from tasks.pull import inputs_digest

SOFTWARE = ("pydicom", "SimpleITK", "numpy", "pyarrow", "prefect", "dask", "great-expectations", "isal", "imagecodecs")
"""Packages whose version a release records: those that touch pixels, tables or gates."""


OWN_WORDS = frozenset(
    {"steps", "kind", "profile", "dtype", "native_dtype", "harmonised_dtype", "coordinates", *DESCRIPTIONS}
    | {"label_name", "algorithm_name", "tracking_id", "meaning", "snomed_meaning", "flags", "rule"}
    | {"name", "finding", "site", "method", "derivation", "laterality"}
)
"""Fields whose text is ours by construction: step names and their arguments, kinds, voxel types, rules; and what free
text and codes mean, of which only words of radiology are left, some of which are names of other people in the archive.
"""


class Finished(Record):
    """How a run ended: the release that readers now see, and where every file went."""

    current: Current
    is_new: bool
    ledger: Sums
    volumes: int
    subjects: int


def about(provider: Provider) -> About:
    """What the provider file says of the data set, as card and catalogue show it."""
    return About(
        dataset=provider.dataset,
        title=provider.title,
        provider=provider.provider.name,
        country=provider.provider.country,
        cancer_types=provider.cancer_types,
        description=provider.description,
        access_rights=provider.access_rights,
        contact=provider.contact,
    )


def release_inputs(provider: Provider, objects_digest: str) -> str:
    """Keyed digest of what a release is made of: the archive's content and what the provider file says about it."""
    told = about(provider).model_dump(mode="json")
    return Keys(provider.secret()).inputs_digest([objects_digest, told, clinical.file_digest(provider)])


def release_recipe(provider: Provider) -> str:
    """Digest of how a release is made: stage versions, policies, profiles, outputs."""
    return digest(parameters(provider))


def parameters(provider: Provider) -> dict[str, Any]:
    """Everything that was chosen for a release, as release.json shows it."""
    return {
        "stage_versions": STAGE_VERSIONS,
        "deidentify": provider.deidentify.model_dump(mode="json"),
        "pixels": pixel_tools(provider),
        "geometry": provider.geometry.model_dump(mode="json"),
        "profiles": provider.profiles().model_dump(mode="json")["by_name"],
        "outputs": list(provider.outputs),
        "limits": provider.limits.model_dump(mode="json"),
    }


def nothing_new(provider: Provider, objects_digest: str) -> Current | None:
    """The current release if it was made of the same archive with the same recipe."""
    return release.is_current(zone.target(provider), release_inputs(provider, objects_digest), release_recipe(provider))


@stage_task("publish", run_name="publish")
def publish_release(work: Callable[[], Finished]) -> Finished:
    """`work` as a task that an operator sees. Called directly, so that it runs once, in the flow process."""
    return work()


def finished_before(provider: Provider, current: Current) -> Finished:
    """The end of a run that found nothing new: the release that is there, and the ledger of the run that made it."""
    rows = tables.stream(zone.work(provider).read(zone.LEDGER), ("state", "reason"))
    record = release.read_record(zone.target(provider), current.version)
    if record is None:
        raise Defect("the current release has no readable record")
    return Finished(
        current=current,
        is_new=False,
        ledger=ledger.counts(rows),
        volumes=record.counts.volumes,
        subjects=record.counts.subjects,
    )


def publish(
    provider: Provider,
    objects: Sequence[SourceObject],
    identities: Mapping[str, Identity],
    places: Mapping[str, Place],
    outcomes: Sequence[Outcome],
    volumes: Sequence[dict[str, Any]],
    more_tables: Mapping[str, Sequence[dict[str, Any]]],
    staged_objects: Sequence[StagedObject],
    cohort: Mapping[str, CohortSeries],
    gates: Mapping[str, GateReport],
    gate: Callable[[str, pa.Table], GateReport],
    identifiers: Callable[[], Iterable[str]],
    issuers: Callable[[], Mapping[str, Collection[str]]],
) -> Finished:
    """Close the ledger, place the objects, let the release gate judge, commit, and renew the catalogue."""
    work, target = zone.work(provider), zone.target(provider)
    rows = ledger.build(objects, identities, outcomes, places)
    work.write(zone.LEDGER, tables.to_parquet("ledger", rows))
    sums = ledger.counts(rows)
    _refuse_share(provider, sums)
    own = describe.cohort_tables(cohort.values(), volumes)
    linked = clinical.link(provider, own, issuers() if provider.clinical else {}, gate)
    named = {"volumes": list(volumes), **own, **more_tables, **linked.named}
    staged = Staged(
        about=about(provider),
        inputs_digest=release_inputs(provider, inputs_digest(objects)),
        recipe=release_recipe(provider),
        released_at=datetime.now(UTC).isoformat(timespec="seconds"),
        objects=tuple(staged_objects),
        tables={name: tables.to_parquet(name, values) for name, values in named.items()},
        gates={},
        ledger=sums,
        software={"oncurate": __version__, "python": platform.python_version(), **{n: version(n) for n in SOFTWARE}},
        parameters=parameters(provider),
    )
    placement = release.place(target, work, staged)
    facts = {
        **_facts(objects, rows, sums, named),
        "version": release.next_version(target),
        "objects_read_back": len(placement.entries),
        "objects_mismatched": len(
            {(o.key, o.sha256) for o in staged_objects} ^ {(e.path, e.sha256) for e in placement.entries}
        ),
        "volumes_missing_files": len(_paths(named) - {entry.path for entry in placement.entries}),
        "identifiers_found": _identifiers_found(target, named, chain(identifiers(), linked.identifiers)),
        "refused_share_limit": provider.limits.refused_share,
    }
    gate("release", tables.to_arrow("release_facts", [facts]))
    verdicts = {suite: report.model_dump_json(indent=1).encode() for suite, report in gates.items()}
    released = release.commit(target, Staged(**{**vars(staged), "gates": verdicts}), placement)
    catalogue.update(Store(provider.target), provider.dataset)
    _tidy(work, staged_objects)
    return Finished(
        current=released.current,
        is_new=released.is_new,
        ledger=sums,
        volumes=len(volumes),
        subjects=len(own["subjects"]),
    )


def _refuse_share(provider: Provider, sums: Sums) -> None:
    share = sums.by_state[State.QUARANTINED] / sums.files if sums.files else 0.0
    if share > provider.limits.refused_share:
        raise GateRefused(
            f"{share:.1%} of the files are quarantined, more than the limit of {provider.limits.refused_share:.1%} "
            "(limits.refused_share); `oncurate quarantine` says why"
        )


def _facts(
    objects: Sequence[SourceObject],
    rows: Sequence[Mapping[str, Any]],
    sums: Sums,
    named: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The part of what the release gate asserts that the ledger and the tables tell."""
    subjects = {row["subject_id"] for row in named["subjects"]}
    studies = {row["study_id"] for row in named["studies"]}
    states = sums.by_state
    return {
        "files_found": len(objects),
        "files_curated": states[State.CURATED],
        "files_quarantined": states[State.QUARANTINED],
        "files_duplicate": states[State.DUPLICATE],
        "files_excluded": states[State.EXCLUDED],
        "files_sum": sum(states.values()),
        "ledger_rows": len(rows),
        "ledger_duplicate_paths": len(rows) - len({row["source_path"] for row in rows}),
        "volumes": len(named["volumes"]),
        "subjects": len(subjects),
        "objects_in_manifest": len(_paths(named)),
        "volumes_without_subject": sum(row["subject_id"] not in subjects for row in named["volumes"]),
        "volumes_without_study": sum(row["study_id"] not in studies for row in named["volumes"]),
        "refused_share": states[State.QUARANTINED] / sums.files if sums.files else 0.0,
    }


def _paths(named: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
    """Every object of the release that a table names."""
    rows = (row for name in PATH_TABLES for row in named.get(name, ()))
    return {path for row in rows for column, path in row.items() if column.endswith(PATH_SUFFIX) and path is not None}


def _identifiers_found(
    target: Store, named: Mapping[str, Sequence[Mapping[str, Any]]], identifiers: Iterable[str]
) -> int:
    """How many identifiers of the whole archive occur in any text that was written for the release.

    Searched: the text values of every volume.json and labels.json, as read back from the target, and of every row of
    every table; not our own words (`OWN_WORDS`). Identifiers made of digits alone are left to the search of each series
    against its own source (`oncurate.deidentify`): over a whole archive they would meet shifted dates and decimals by
    chance.
    """
    wanted = sorted({i for i in identifiers if not i.isdigit()})
    paths = {row["metadata_path"] for row in named["volumes"]}
    paths |= {row["labels_path"] for row in named.get("annotations", ()) if row.get("labels_path")}
    written = [json.loads(target.read(path)) for path in sorted(paths)]
    return leaks.search("\n".join(_texts([written, list(named.values())])), wanted)


def _texts(value: Any) -> Iterator[str]:
    """The text values of a JSON value, at any depth, without keys and without what `OWN_WORDS` names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in OWN_WORDS:
                yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _tidy(work: Store, objects: Sequence[StagedObject]) -> None:
    """Remove the staged objects that the target now holds, verified; their records stay, so no work is done again."""
    for item in objects:
        work.delete(item.work_key)
