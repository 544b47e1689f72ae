"""The order of the stages: each fans its batches out over Dask, and a gate stands in front of the next.

Belongs here: which stage follows which, what is handed on, and what an operator sees of it. Does not belong here:
what a stage does (`tasks`), what a gate asserts (`expectations`), starting a server or a cluster (`flows.engine`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import Any

from distributed.scheduler import KilledWorker
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.exceptions import CrashedRun

from flows.account import Account
from flows.progress import LOOK_S, Pace, PullPace, Reporter, is_done
from oncurate import describe, objects_table, outliers, tables
from oncurate.errors import Defect, GateRefused, OncurateError
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.records import CohortSeries, CohortVolume, HarmonisedImage, NativeImage, SourceObject, SourceSeries
from oncurate.sources.pace import check_window
from oncurate.sources.wholeness import of_incomplete_series
from oncurate.staged import StagedObject
from oncurate.verdict import GateReport
from tasks import annotate, check, convert, deidentify, harmonise, index, labels, publish, pull, zone
from tasks.clinical import issuers_of
from tasks.gates import check_gate, refused_rows
from tasks.labels import LabelFile
from tasks.objects import summary
from tasks.pulling import Amount
from tasks.zone import Part, Rows

HEADERS_A_BATCH = 2_000
"""Files whose headers one batch reads: a second of work a core, so that starting a task costs a tenth of it at most."""
BYTES_A_BATCH = 1 << 30
"""Pixel bytes that one batch converts, so that progress moves and a lost worker costs minutes."""
BATCHES_AT_MOST = 400
"""Task runs of one stage. Each costs the flow process 0.1 s, and the operator's page should stay readable."""


@dataclass
class Line:
    """One batch of patients on its way through the stages: the parts that each stage made of it."""

    plan: Part
    labels: tuple[LabelFile, ...] = ()
    cohort: Part | None = None
    volumes: set[str] = field(default_factory=set)


class Stages:
    """One run of the main job. Each method is a stage; `curate` calls them in order."""

    def __init__(self, provider: Provider, workers: int, report: Reporter) -> None:
        self.provider = provider
        self.workers = workers
        self.report = report
        self.store = zone.work(provider)
        self.account = Account(are_objects_released="dicom" in provider.outputs)
        self.gates: dict[str, GateReport] = {}
        self.refused_series: set[str] = set()
        self.cohort: dict[str, tuple[CohortSeries, CohortVolume]] = {}
        self.native: dict[str, NativeImage] = {}
        self.harmonised: dict[str, HarmonisedImage] = {}
        self.checked: dict[str, dict[str, Any]] = {}
        self.annotated: dict[str, dict[str, Any]] = {}
        self.audit_sums: list[list[list[Any]]] = []
        objects_table.give_memory_back()

    def pull(self) -> list[SourceObject]:
        """List the source, take what is new, and gate the objects; returns those that go on."""
        check_window(self.provider.pull)  # which may have closed while others were waited for
        survey = pull.survey(self.provider, self.workers)
        started = time.monotonic()
        self._table("pull-source", pull.account(survey, [], survey.kept, 1.0))
        pace = PullPace(self.provider, survey.batches, Amount(survey.new, survey.new_bytes))
        parts = self._fan_out("pull", pull.pull_batch, [{"batch": key} for key in survey.batches], pace)
        taken = [SourceObject.model_validate(row) for part in parts for row in zone.load_rows(self.store, part).rows]
        seconds = time.monotonic() - started
        objects = pull.with_missing([*survey.kept, *taken])
        self._table("pull-source", pull.account(survey, taken, objects, seconds))
        pull.write_objects(self.provider, objects)
        self.account.found(objects)
        self.account.files(of_incomplete_series(self.provider.source, objects))
        self.account.files(refused_rows(self._gate("objects", objects_table.to_arrow(objects)), "pull"))
        going_on = [o for o in self.account.objects if o.reason is None and o.source_path not in self.account.outcomes]
        size = sum(o.bytes for o in objects)
        gone = f", {survey.vanished} vanished from the source" if survey.vanished else ""
        self._finish("pull", f"{len(objects)} files, {size / 1e6:.1f} MB, {len(taken)} new{gone}")
        return going_on

    def index(self, objects: Sequence[SourceObject]) -> list[Line]:
        """Read headers, plan volumes by patient, gate the series; returns the batches of patients."""
        label_files, objects, copies = labels.divide(self.provider, objects)
        self.account.files(copies)
        self.account.track(label_files)
        records = self._headers(objects)
        count = self._count(
            len({row["patient"] for row in records.rows}), 200, sum(row["bytes"] for row in records.rows)
        )
        self.account.files(index.inconsistent(records.rows))
        rows = [row for row in records.rows if row["source_path"] not in self.account.outcomes]
        batches = index.write_plan_batches(self.provider, rows, records.links, count)
        parts = self._fan_out("plan volumes", index.plan_batch, [{"batch": key} for key in batches])
        found = self._rows(parts)
        for part in found:
            self.account.files(part.outcomes)
        table = tables.to_arrow("source_series", [row for part in found for row in part.rows])
        refused = refused_rows(self._gate("series", table), "index")
        objects_of = {key: value for part in found for key, value in part.links["series"].items()}
        self.refused_series = set(self.account.series(refused, objects_of))
        modalities = Counter(row["Modality"] for part in found for row in part.rows)
        self._table("series-by-modality", [{"modality": m, "series": n} for m, n in sorted(modalities.items())])
        self._finish("index", f"{table.num_rows} series; {_listed(modalities)}")
        return self._with_labels([Line(plan=part) for part in parts], label_files)

    def _with_labels(self, lines: list[Line], label_files: Sequence[SourceObject]) -> list[Line]:
        """The batches with the label files that belong to their volumes."""
        if not label_files:
            return lines
        planned = {line.plan.name: self._planned(line) for line in lines}
        taken, refused = labels.assign(self.provider, label_files, planned, self.account.paths_of)
        self.account.files(refused)
        return [replace(line, labels=tuple(taken.get(line.plan.name, ()))) for line in lines]

    def _headers(self, objects: Sequence[SourceObject]) -> Rows:
        """Header rows of all objects, read now or by an earlier run; `links` says which part holds which record."""
        try:
            known: dict[str, list[str]] = zone.unpack_json(self.store.read(zone.HEADERS_KNOWN))
        except FileNotFoundError:
            known = {}
        fresh = [o for o in objects if known.get(o.source_path, ["", ""])[0] != index.header_key(o)]
        batches = index.write_header_batches(
            self.provider, fresh, self._count(len(fresh), HEADERS_A_BATCH, sum(o.bytes for o in fresh) // 16)
        )
        parts = self._fan_out("read headers", index.header_batch, [{"batch": key} for key in batches])
        wanted = {o.source_path: o for o in objects}
        before = {
            known[path][1] for path in wanted if path in known and known[path][0] == index.header_key(wanted[path])
        }
        rows: list[dict[str, Any]] = []
        links: dict[str, str] = {}
        for part in [
            *parts,
            *(zone.named_part(zone.HEADERS, name) for name in sorted(before - {p.name for p in parts})),
        ]:
            found = zone.load_rows(self.store, part)
            outcomes = [o for o in found.outcomes if o.key in wanted and o.key not in links]
            self.account.files(outcomes)
            for path in (o.key for o in outcomes):
                known[path] = [index.header_key(wanted[path]), part.name]
            for row in found.rows:
                path = row["source_path"]
                if path in wanted and path not in links and row["object"] == wanted[path].sha256:
                    rows.append(row)
                    links[path] = part.records
                    known[path] = [index.header_key(wanted[path]), part.name]
        self.store.write(zone.HEADERS_KNOWN, zone.pack({path: known[path] for path in wanted if path in known}))
        self.account.read(rows)
        return Rows(rows=tuple(rows), links=links)

    def deidentify(self, lines: Sequence[Line]) -> None:
        """Turn identified series into cohort series, gated."""
        skip = tuple(sorted(self.refused_series))
        parts = self._fan_out(
            "deidentify",
            deidentify.deidentify_batch,
            [{"plan": x.plan, "skip": skip, "labels": x.labels} for x in lines],
        )
        rows: list[dict[str, Any]] = []
        for line, part, found in zip(lines, parts, self._rows(parts), strict=True):
            line.cohort = part
            line.volumes = set(found.links["volumes"])
            self.account.by_object(found.outcomes)
            self.account.volumes.update(found.links["volumes"])
            self.audit_sums.append(found.links["audit"])
            rows.extend(found.rows)
        deidentify.write_key_table(self.provider, parts)
        self.account.refuse(refused_rows(self._gate("cohort", tables.to_arrow("cohort", rows)), "deidentify"))
        self._finish("deidentify", f"{len(rows)} volumes of {len({r['subject_id'] for r in rows})} subjects")

    def convert(self, lines: Sequence[Line]) -> None:
        """Write the volumes on their acquired grid, gated."""
        calls = [{"cohort": x.cohort, "plan": x.plan, "skip": self._skip(x)} for x in lines]
        self.native = self._volumes("convert", convert.convert_batch, calls, convert.RECORD, NativeImage)
        self._open_cohort(lines)
        self.account.refuse(refused_rows(self._gate("volumes", self._volume_table()), "convert"))
        size = sum(n.image.bytes for n in self.native.values())
        self._finish("convert", f"{len(self._alive())} volumes, {size / 1e6:.1f} MB")

    def harmonise(self, lines: Sequence[Line]) -> None:
        """Write the volumes on their profile's grid, gated."""
        calls = [{"cohort": x.cohort, "skip": self._skip(x)} for x in lines]
        self.harmonised = self._volumes(
            "harmonise", harmonise.harmonise_batch, calls, harmonise.RECORD, HarmonisedImage
        )
        self.account.refuse(refused_rows(self._gate("harmonised", self._volume_table()), "harmonise"))
        size = sum(h.image.bytes for h in self.harmonised.values())
        self._finish("harmonise", f"{len(self._alive())} volumes, {size / 1e6:.1f} MB")

    def annotate(self, lines: Sequence[Line]) -> None:
        """Write what was drawn and measured on the volumes, gated."""
        if not self.account.annotations:
            return
        calls = [{"cohort": x.cohort, "skip": self._skip(x)} for x in lines]
        for part in self._rows(self._fan_out("annotate", annotate.annotate_batch, calls)):
            self.account.refuse_annotations(part.outcomes)
            self.annotated.update({row["annotation_id"]: row[annotate.RECORD] for row in part.rows})
        rows = self._annotation_rows("rows")
        if rows:
            refused = refused_rows(self._gate("annotations", tables.to_arrow("annotations", rows)), "annotate")
            self.account.refuse_annotations(refused)
        curated = self.account.curated_annotations()
        self._finish("annotate", f"{len(curated)} of {len(self.account.annotations)} annotations")

    def check(self, lines: Sequence[Line]) -> list[dict[str, Any]]:
        """Measure the volumes, flag outliers within strata, gate; returns the quality rows of the volumes that pass."""
        calls = [{"cohort": x.cohort, "skip": self._skip(x)} for x in lines]
        parts = self._fan_out("check", check.check_batch, calls)
        self.checked = {r["volume_id"]: r[check.RECORD] for rows in self._rows(parts) for r in rows.rows}
        measured = [self._quality_row(volume_id, self.checked[volume_id]["metrics"]) for volume_id in self._alive()]
        rows = outliers.flag(measured)
        self.account.refuse(refused_rows(self._gate("quality", tables.to_arrow("quality", rows)), "check"))
        alive = set(self._alive())
        flagged = sum(bool(row["outlier_metrics"]) for row in rows)
        self._finish("check", f"{len(rows)} volumes measured, {flagged} with an outlying metric")
        return [row for row in rows if row["volume_id"] in alive]

    def publish(self, lines: Sequence[Line], quality: list[dict[str, Any]]) -> publish.Finished:
        """Close the ledger, stage the release, gate it, commit it."""
        alive = self._alive()
        cohort = [series for series, _ in self.cohort.values()]
        objects = self.account.released_objects()
        finished = publish.publish_release(
            lambda: publish.publish(
                self.provider,
                self.account.objects,
                self.account.identities,
                self.account.places(),
                list(self.account.outcomes.values()),
                [self._volume_row(v) for v in alive],
                {
                    "quality": quality,
                    "deidentification": summary(self.audit_sums),
                    "annotations": self._annotation_rows("rows"),
                    "measurements": self._annotation_rows("measurements"),
                    **({"instances": [describe.instance_row(o) for o in objects]} if objects else {}),
                },
                [item for v in alive for item in self._objects(v)]
                + self._annotation_objects()
                + [StagedObject(o.key, zone.staged(o.key), o.sha256, o.bytes) for o in objects],
                {s.SeriesInstanceUID: s for s in cohort},
                self.gates,
                self._gate,
                lambda: (i for line in lines for s in self._planned(line) for i in s.identifiers),
                lambda: issuers_of((s.PatientID, s.IssuerOfPatientID) for line in lines for s in self._planned(line)),
            )
        )
        self._finish("publish", f"release {finished.current.version}, {finished.current.objects} objects")
        return finished

    def _annotation_rows(self, name: str) -> list[dict[str, Any]]:
        """Rows of all annotations that are left: "rows" of the annotations table, "measurements"."""
        return [row for one in self.account.curated_annotations() for row in self.annotated[one][name]]

    def _annotation_objects(self) -> list[StagedObject]:
        found = []
        for name in self.account.curated_annotations():
            folder = zone.annotation_folder(self.account.annotations[name].source.subject_id, name)
            for file, (sha256, size) in self.annotated[name]["files"].items():
                found.append(StagedObject(f"{folder}/{file}", zone.staged(f"{folder}/{file}"), sha256, size))
        return found

    def _objects(self, volume_id: str) -> list[StagedObject]:
        """The objects of a volume, as their stages recorded them."""
        folder = zone.volume_folder(self.cohort[volume_id][0].subject_id, volume_id)
        images = {
            describe.NATIVE: self.native[volume_id].image,
            describe.HARMONISED: self.harmonised[volume_id].image,
            describe.NORMALISED: self.harmonised[volume_id].normalised,
        }
        found = {name: (image.sha256, image.bytes) for name, image in images.items() if image is not None}
        found |= self.checked[volume_id]["files"]
        return [
            StagedObject(f"{folder}/{name}", zone.staged(f"{folder}/{name}"), sha256, size)
            for name, (sha256, size) in found.items()
        ]

    def _planned(self, line: Line) -> tuple[SourceSeries, ...]:
        return zone.unpack(self.store.read(line.plan.records), index.Planned).series

    def _volumes(self, stage: str, task: Any, calls: list[dict[str, Any]], name: str, model: Any) -> dict[str, Any]:
        found = self._rows(self._fan_out(stage, task, calls))
        for part in found:
            self.account.refuse(part.outcomes)
        return {row["volume_id"]: model.model_validate(row[name]) for part in found for row in part.rows}

    def _open_cohort(self, lines: Sequence[Line]) -> None:
        for line in lines:
            assert line.cohort is not None
            records = zone.unpack(self.store.read(line.cohort.records), deidentify.Cohort)
            self.account.objects_written.update({item.object: item for item in records.objects})
            self.account.annotations.update({a.annotation_id: a for a in records.annotations})
            for series in records.series:
                for volume in series.volumes:
                    self.cohort[volume.volume_id] = (series, volume)

    def _alive(self) -> list[str]:
        return sorted(set(self.account.volumes) - self.account.skip())

    def _skip(self, line: Line) -> tuple[str, ...]:
        return tuple(sorted(line.volumes & self.account.skip()))

    def _volume_row(self, volume_id: str) -> dict[str, Any]:
        series, volume = self.cohort[volume_id]
        return describe.volume_row(series, volume, self.native[volume_id], self.harmonised.get(volume_id))

    def _volume_table(self) -> Any:
        return tables.to_arrow("volumes", [self._volume_row(v) for v in self._alive()])

    def _quality_row(self, volume_id: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
        series, volume = self.cohort[volume_id]
        attributes = volume.planned.attributes
        return {
            **metrics,
            "volume_id": volume_id,
            "subject_id": series.subject_id,
            "Modality": series.Modality,
            "Manufacturer": attributes.get("Manufacturer"),
            "ScanningSequence": attributes.get("ScanningSequence"),
        }

    def _count(self, items: int, a_batch: int, size: int) -> int:
        """How many batches: enough to keep the workers busy, few enough to keep task runs cheap."""
        by_work = max(-(-items // a_batch), -(-size // BYTES_A_BATCH))
        return max(1, min(items, BATCHES_AT_MOST, max(by_work, self.workers)))

    def _fan_out(self, stage: str, task: Any, calls: Sequence[dict[str, Any]], pace: Pace | None = None) -> list[Part]:
        """Run one task a call on the cluster, show progress by `pace`, ask every future for its result."""
        self.report.start(stage, len(calls))
        pace = pace or Pace(len(calls))
        key = f"{self.provider.dataset}-{stage.replace(' ', '-')}-progress"
        shown = create_progress_artifact(progress=0.0, key=key, description=f"{stage}: {len(calls)} batches")
        futures = [
            task.submit(self.provider, **call, number=n, total=len(calls)) for n, call in enumerate(calls, start=1)
        ]
        parts: list[Part] = []
        failures: list[BaseException] = []
        for done, future in enumerate(futures, start=1):
            while not is_done(future, LOOK_S):
                update_progress_artifact(shown, *pace.look(stage, sum(is_done(other) for other in futures)))
            try:
                parts.append(future.result())
            except OncurateError as error:  # one failed batch must not hide the others: every future is asked
                failures.append(error)
            except (KilledWorker, CrashedRun, CancelledError) as error:
                failures.append(
                    Defect(f"stage {stage}: batch {done} lost its worker again and again: {type(error).__name__}")
                )
            self.report.advance(stage)
            update_progress_artifact(shown, *pace.look(stage, done))
        if failures:
            raise next((f for f in failures if isinstance(f, Defect)), failures[0])
        return parts

    def _rows(self, parts: Iterable[Part]) -> list[Rows]:
        return [zone.load_rows(self.store, part) for part in parts]

    def _gate(self, suite: str, table: Any) -> GateReport:
        report = check_gate(self.provider.dataset, suite, table)
        self.gates[suite] = report
        if not report.passed:
            raise GateRefused(
                f"the {suite} gate refused the table {report.table} ({report.rows} rows): "
                f"{', '.join(report.refusals)}; its report in Prefect says why each matters"
            )
        return report

    def _table(self, name: str, rows: list[dict[str, Any]]) -> None:
        create_table_artifact(key=f"{self.provider.dataset}-{name}", table=rows)

    def _finish(self, stage: str, summary: str) -> None:
        reasons: dict[Reason, int] = self.account.sums()
        rows = [
            {"reason": r.value, "state": r.state.value, "files": n, "meaning": r.advice} for r, n in reasons.items()
        ]
        self._table(f"{stage}-outcomes", rows)
        get_run_logger().info("%s: %s", stage, summary)
        self.report.finish(stage, summary)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
