"""The index stage: objects -> instances (headers only) -> series with planned volumes.

Belongs here: two passes, one over files in any order and one over patients, and what travels between them. Does not
belong here: parsing (`oncurate.headers`) and the rules of planning (`oncurate.plan`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from oncurate import allowlist, copies, headers, leaks, pixels
from oncurate.companions import content_digest, read_companion
from oncurate.errors import Rejection
from oncurate.identity import has_patient_id
from oncurate.plan import plan_series
from oncurate.provider import Provider
from oncurate.reasons import Reason, State
from oncurate.recipe import STAGE_VERSIONS, content_name, digest
from oncurate.records import Companion, Instance, Outcome, PixelLocator, Record, SourceObject, SourceSeries
from tasks import zone
from tasks.guard import stage_task
from tasks.pull import balance
from tasks.reading import open_object, read_object
from tasks.zone import Part, Rows

STAGE = "index"


class Headers(Record):
    """Records of the first pass: the images and other objects of a batch of files, identified."""

    instances: tuple[Instance, ...]
    companions: tuple[Companion, ...] = ()


class Planned(Record):
    """Records of the second pass: the series of a batch of patients and what belongs to them, identified."""

    series: tuple[SourceSeries, ...]
    companions: tuple[Companion, ...] = ()
    refused: dict[str, Reason] = Field(default_factory=dict)  # by SOPInstanceUID: images of which nothing goes on


class Locators(Record):
    """Where the pixels of a batch are: source URLs, kept apart so that later stages need no identified record."""

    locators: tuple[PixelLocator, ...]


def locators_key(plan: Part) -> str:
    """Key of the locators that belong to a plan part."""
    return f"parts/plan/{plan.name}.locators.json.gz"


def patient_key(of: Instance | Companion | SourceSeries) -> str:
    """Digest that names a patient inside the work zone only; the study stands in where there is no PatientID."""
    if of.PatientID:
        return digest(["patient", of.PatientID, of.IssuerOfPatientID])
    return digest(["study", of.StudyInstanceUID])


def series_key(of: Instance | Companion | SourceSeries) -> str:
    """Digest that names a series of one patient and study inside the work zone only."""
    return digest([patient_key(of), of.StudyInstanceUID, of.SeriesInstanceUID])


def header_key(item: SourceObject) -> str:
    """Equal for two looks at one file exactly when the same header reader would read the same bytes."""
    return digest([STAGE_VERSIONS["index"], item.sha256, item.url])


def write_header_batches(provider: Provider, objects: Sequence[SourceObject], count: int) -> list[str]:
    """Write the objects whose headers must be read as batches of about equal size; returns their keys."""
    keys = []
    for batch in balance([(o.bytes + 50_000, o) for o in objects], count):
        value = [[o.source_path, o.url, o.bytes, o.sha256] for o in batch]
        key = f"batches/{STAGE}/{content_name([value, STAGE_VERSIONS['index']])}.json.gz"
        zone.work(provider).write(key, zone.pack(value))
        keys.append(key)
    return keys


@stage_task("read headers")
def header_batch(provider: Provider, batch: str, number: int, total: int) -> Part:  # noqa: ARG001 - number, total name the run
    """Read the header of every object of one batch once; a header that is refused becomes an outcome."""
    store = zone.work(provider)
    part = zone.part_of(zone.HEADERS, batch)
    if zone.finished(store, part):
        return part
    found: list[Instance | Companion] = []
    outcomes: list[Outcome] = []
    for source_path, url, size, sha256 in zone.unpack_json(store.read(batch)):
        try:
            found.append(read_header(source_path, url, size, sha256))
        except Rejection as refusal:
            outcomes.append(Outcome.refused(source_path, STAGE, refusal.reason, refusal.detail))
        except FileNotFoundError:
            outcomes.append(Outcome.refused(source_path, STAGE, Reason.UNREADABLE_FILE, "gone since it was listed"))
    records = Headers(
        instances=tuple(item for item in found if isinstance(item, Instance)),
        companions=tuple(item for item in found if isinstance(item, Companion)),
    )
    rows = tuple(header_row(item) for item in found)
    return zone.save(store, part, records, Rows(rows=rows, outcomes=tuple(outcomes)))


def read_header(source_path: str, url: str, size: int, sha256: str) -> Instance | Companion:
    """The header of one object: of an image, or of what may belong to one. Raises `Rejection`, FileNotFoundError."""
    given = {"object": sha256, "source_path": source_path, "url": url, "size": size, "harvest": leaks.harvest}
    with open_object(url) as stream:
        try:
            return headers.read_instance(stream, keywords=allowlist.KEYWORDS, **given)
        except Rejection as refusal:
            if refusal.reason is not Reason.NOT_AN_IMAGE:
                raise
            stream.seek(0)
            return read_companion(stream, **given)


def header_row(instance: Instance | Companion) -> dict[str, Any]:
    """What the flow process needs to know of an object: who it belongs to, by digests, and its size."""
    return {
        "source_path": instance.source_path,
        "object": instance.object,
        "bytes": instance.bytes,
        "patient": patient_key(instance),
        "series": series_key(instance),
        "StudyInstanceUID": instance.StudyInstanceUID,
        "SOPInstanceUID": instance.SOPInstanceUID,
        "SeriesInstanceUID": instance.SeriesInstanceUID,
    }


def inconsistent(rows: Iterable[Mapping[str, str]]) -> list[Outcome]:
    """Outcomes for files whose series UID names several series, or whose study UID occurs with several patients.

    Whose image it is cannot be told then, and a guess would mix patients.
    """
    series: dict[str, set[str]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    rows = list(rows)
    for row in rows:
        series[row["SeriesInstanceUID"]].add(row["series"])
        patients[row["StudyInstanceUID"]].add(row["patient"])
    return [
        Outcome.refused(row["source_path"], STAGE, Reason.INCONSISTENT_IDENTITY)
        for row in rows
        if len(series[row["SeriesInstanceUID"]]) > 1 or len(patients[row["StudyInstanceUID"]]) > 1
    ]


def write_plan_batches(
    provider: Provider, rows: Iterable[dict[str, Any]], parts: dict[str, str], count: int
) -> list[str]:
    """Group instances by patient into `count` batches of about equal bytes.

    `rows` are the header rows, `parts` says which part holds the record of each source path. A key depends on all that
    planning does: contents, rules and the provider's geometry policy.
    """
    patients: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        patients.setdefault(row["patient"], []).append(row)
    keys = []
    weighted = [(sum(r["bytes"] for r in members), members) for _, members in sorted(patients.items())]
    for batch in balance(weighted, count):
        rows_here = [row for members in batch for row in members]
        wanted: dict[str, list[str]] = {}
        for row in rows_here:
            wanted.setdefault(parts[row["source_path"]], []).append(row["source_path"])
        value = {"parts": {k: sorted(v) for k, v in sorted(wanted.items())}}
        contents = sorted([r["source_path"], r["object"], parts[r["source_path"]]] for r in rows_here)
        recipe = [STAGE_VERSIONS["index"], provider.geometry.model_dump(mode="json")]
        key = f"batches/plan/{content_name([contents, *recipe])}.json.gz"
        zone.work(provider).write(key, zone.pack(value))
        keys.append(key)
    return keys


@stage_task("plan volumes")
def plan_batch(provider: Provider, batch: str, number: int, total: int) -> Part:  # noqa: ARG001 - number, total name the run
    """Plan the volumes of every series of one batch of patients."""
    store = zone.work(provider)
    part = zone.part_of("plan", batch)
    if zone.finished(store, part):
        return part
    by_series: dict[str, list[Instance]] = {}
    companions: list[Companion] = []
    for records, paths in zone.unpack_json(store.read(batch))["parts"].items():
        wanted = set(paths)
        headers_read = zone.unpack(store.read(records), Headers)
        for instance in headers_read.instances:
            if instance.source_path in wanted:
                by_series.setdefault(series_key(instance), []).append(instance)
        companions += [item for item in headers_read.companions if item.source_path in wanted]
    digests = PixelDigests()
    series: list[SourceSeries] = []
    outcomes: list[Outcome] = []
    rows: list[dict[str, Any]] = []
    locators: list[PixelLocator] = []
    for key, instances in sorted(by_series.items()):
        instances.sort(key=lambda i: i.source_path)
        planned, refusals = plan_series(instances, digests, provider.geometry)
        outcomes.extend(refusals)
        used = {s.object for v in planned.volumes for s in v.slices} if planned else set()
        members = [i for i in instances if i.object in used and i.source_path not in {o.key for o in refusals}]
        locators.extend(i.locator for i in members)
        if planned is not None and planned.volumes:
            series.append(planned)
            rows.append(_series_row(key, instances, planned, len(members), len(refusals)))
    companions, refusals = copies.of_companions(
        companions, lambda companion: content_digest(read_object(companion.url))
    )
    outcomes += refusals
    store.write(locators_key(part), zone.pack(Locators(locators=tuple(locators))))
    links = {"series": {series_key(s): sorted({x.object for v in s.volumes for x in v.slices}) for s in series}}
    return zone.save(
        store,
        part,
        Planned(series=tuple(series), companions=tuple(companions), refused=_refused(by_series.values(), outcomes)),
        Rows(rows=tuple(rows), outcomes=tuple(outcomes), links=links),
    )


def _refused(found: Iterable[list[Instance]], outcomes: Iterable[Outcome]) -> dict[str, Reason]:
    """Why each image was refused, by SOPInstanceUID; a copy of one that goes on is none."""
    reasons = {o.key: o.reason for o in outcomes if o.reason is not None and o.state is State.QUARANTINED}
    return {i.SOPInstanceUID: reasons[i.source_path] for group in found for i in group if i.source_path in reasons}


class PixelDigests:
    """Decodes an instance on demand and remembers the digest of its pixels; None if it cannot be decoded."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def __call__(self, instance: Instance) -> str | None:
        if instance.object not in self._known:
            try:
                self._known[instance.object] = pixels.digest(instance.locator, read_object(instance.url))
            except Rejection:
                self._known[instance.object] = None
        return self._known[instance.object]


def _series_row(key: str, instances: list[Instance], planned: SourceSeries, used: int, refusals: int) -> dict[str, Any]:
    finite = all(
        abs(number) < float("inf")
        for volume in planned.volumes
        for number in (*volume.geometry.origin, *volume.geometry.row, *volume.geometry.column, *volume.geometry.spacing)
    )
    sizes = {i.object: i.bytes for i in instances}
    return {
        "series_key": key,
        "Modality": planned.Modality,
        "has_patient_id": has_patient_id(planned.PatientID),
        "has_study_date": bool(planned.StudyDate),
        "instances_found": len(instances),
        "instances_planned": used,
        "instances_refused": refusals,
        "volumes_planned": len(planned.volumes),
        "slices_planned": sum(len(v.slices) for v in planned.volumes),
        "positions_all_finite": finite,
        "planned_bytes": sum(sizes[o] for o in {s.object for v in planned.volumes for s in v.slices}),
    }
