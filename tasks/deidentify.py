"""The deidentify stage: identified series -> cohort series, verified on what was written.

Belongs here: the batch around `oncurate.deidentify.to_cohort`, the restricted key table. Does
not belong here: any rule of de-identification.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from oncurate import faces_template, identity, pixeltext, tables
from oncurate.annotations import labelfiles
from oncurate.annotations.delivered import packed
from oncurate.belonging import volume_of
from oncurate.companions import OTHER, content_digest
from oncurate.deidentify import key_rows, to_cohort
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.pixelplan import plan_pixels
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.recipe import STAGE_VERSIONS, digest
from oncurate.records import (
    CohortAnnotation,
    CohortObject,
    CohortSeries,
    CohortVolume,
    Companion,
    Outcome,
    Record,
    SourceSeries,
)
from oncurate.store import Store
from tasks import zone
from tasks.guard import stage_task
from tasks.index import Planned, series_key
from tasks.labels import LabelFile
from tasks.objects import ObjectWriter
from tasks.pixelwork import PixelWork
from tasks.reading import read_object
from tasks.zone import Part, Rows

STAGE = "deidentify"

T = TypeVar("T", Companion, LabelFile)


class Cohort(Record):
    """Records of the stage: de-identified series."""

    series: tuple[CohortSeries, ...]
    objects: tuple[CohortObject, ...] = ()  # DICOM objects in the stage, where the provider file asks for them
    annotations: tuple[CohortAnnotation, ...] = ()


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
            "pixels": pixel_tools(provider),
            "geometry": provider.geometry.model_dump(mode="json"),
            "profiles": [profile.model_dump(mode="json") for profile in provider.profiles().possible(modality)],
        }
    )


def pixel_tools(provider: Provider) -> dict[str, str | None]:
    """What looks for text and for faces, with its version; None where nothing does."""
    detector = pixeltext.detector()
    is_defaced = provider.deidentify.faces == "deface"
    return {
        "text": detector.name if detector is not None else None,
        "faces": f"{faces_template.NAME}, version {faces_template.VERSION}" if is_defaced else None,
    }


class Batch:
    """One batch of patients on its way through the stage, and what has been made of it so far."""

    def __init__(self, provider: Provider, store: Store, plan: Part, name: str) -> None:
        self.provider, self.store, self.name = provider, store, name
        self.keys = Keys(provider.secret())
        self.pixels = PixelWork(provider, store, plan)
        self.recipe = functools.cache(functools.partial(volume_recipe, provider))
        self.writer = ObjectWriter(provider, store, self.keys, self.recipe("CT"))
        self.is_dicom_asked_for = "dicom" in provider.outputs
        self.going: list[tuple[SourceSeries, CohortSeries]] = []  # with the same volumes each
        self.annotations: list[CohortAnnotation] = []
        self.objects: list[CohortObject] = []
        self.rows: list[dict[str, Any]] = []
        self.outcomes: list[Outcome] = []
        self.key_rows: list[dict[str, Any]] = []
        self.audit: list[dict[str, str]] = []

    def run(self, planned: Planned, skip: Collection[str], labels: Iterable[LabelFile]) -> None:
        """De-identify what was planned, less the series in `skip`; annotations last, as they follow their images."""
        self.planned = planned
        self.refused = dict(planned.refused)
        self.by_uid = {companion.SOPInstanceUID: companion for companion in planned.companions}
        for source in planned.series:
            if series_key(source) in skip:
                self._refuse(source, range(len(source.volumes)), Reason.GATE_SERIES)
            else:
                self._series(source)
        for companion in planned.companions:
            self._or_refuse(companion, self._companion)
        for label in labels:
            self._or_refuse(label, self._label_file)

    def _or_refuse(self, item: T, work: Callable[[T], None]) -> None:
        try:
            work(item)
        except Rejection as refusal:
            self.outcomes.append(Outcome.refused(item.object, STAGE, refusal.reason, refusal.detail))

    def _series(self, source: SourceSeries) -> None:
        """De-identify one series: pixels first, as they decide what of it goes on, then objects, then attributes."""
        look = self.pixels.look if self.pixels.can_look else None
        plan = plan_pixels(source, self.provider.deidentify.burned_in_text, look)
        self.pixels.remove_faces(source, plan, self._labels)
        subject, _ = identity.subject_of(self.keys, source.PatientID, source.IssuerOfPatientID, source.StudyInstanceUID)
        written: dict[str, CohortObject] = {}
        if self.is_dicom_asked_for:
            urls, edits = self.pixels.urls(plan.objects(source)), self.pixels.edits(source, plan)
            written, refused = self.writer.images(urls, edits, source.Modality, subject)
            plan.refuse_objects(source, refused)
        found = to_cohort(source, self.keys, self.recipe(source.Modality), self.provider.deidentify, plan)
        self.outcomes += found.outcomes
        if found.cohort is None:
            self._refuse(source, range(len(source.volumes)), next(iter(found.outcomes)).reason)
            return
        for index, rejection in plan.refused.items():
            self._refuse(source, [index], rejection.reason)
        self.pixels.keep_faces(plan, found.cohort)
        going = source.model_copy(update={"volumes": tuple(source.volumes[index] for index in plan.going())})
        self.going.append((going, found.cohort))
        self.key_rows += key_rows(source, found.cohort)
        self.audit += found.audit
        self._link(found.cohort, written)
        pairs = zip(found.rows, found.cohort.volumes, strict=True)
        self.rows += [self._counted(row, volume, written) for row, volume in pairs]

    def _companion(self, companion: Companion) -> None:
        """De-identify one object that is no image, where it belongs to an image or is asked for."""
        if companion.kind == OTHER and not self.is_dicom_asked_for:
            raise Rejection(Reason.NOT_AN_IMAGE)
        subject, _ = identity.subject_of(
            self.keys, companion.PatientID, companion.IssuerOfPatientID, companion.StudyInstanceUID
        )
        if companion.kind == OTHER:
            self.objects.append(self.writer.companion(companion, subject, read_object(companion.url)))
            return
        series, volume = volume_of(companion, [source for source, _ in self.going], self.refused, self.by_uid)
        cohort = self.going[series][1]
        if cohort.subject_id != subject:
            raise Rejection(Reason.UNRESOLVED_REFERENCE, "PatientID")
        data = read_object(companion.url)
        content = content_digest(data) or companion.object
        self._annotate(companion.kind, self.writer.companion(companion, subject, data), content, cohort, volume)

    def _label_file(self, label: LabelFile) -> None:
        """Keep voxels, place and cleaned names of a label file."""
        drawn_on = next(s for s in self.planned.series if s.SeriesInstanceUID == label.SeriesInstanceUID)
        wanted = drawn_on.volumes[label.volume]
        for source, cohort in self.going:
            if wanted in source.volumes:
                delivered = labelfiles.read(read_object(label.url), label.name)
                kept = self.writer.label_file(label.object, packed(delivered, source.people), cohort)
                self._annotate("label_file", kept, label.object, cohort, source.volumes.index(wanted))
                return
        raise Rejection(Reason.IMAGE_REFUSED, self.refused[wanted.slices[0].SOPInstanceUID].value)

    def _annotate(self, kind: str, source: CohortObject, content: str, cohort: CohortSeries, volume: int) -> None:
        recipe, volume_id = self.recipe(cohort.Modality), cohort.volumes[volume].volume_id
        name = self.keys.annotation_id({"recipe": recipe, "content": content, "volume": volume_id})
        self.annotations.append(
            CohortAnnotation(annotation_id=name, kind=kind, source=source, volume_id=volume_id, recipe=recipe)
        )

    def _labels(self, source: SourceSeries, index: int) -> Iterator[tuple[str, bytes]]:
        """Kind and bytes of the segmentations and structure sets drawn on a volume of the source."""
        for companion in self.planned.companions:
            if companion.kind in ("seg", "rtstruct"):
                with suppress(Rejection):
                    place, volume = volume_of(companion, self.planned.series, {}, self.by_uid)
                    if (self.planned.series[place], volume) == (source, index):
                        yield companion.kind, read_object(companion.url)

    def _refuse(self, source: SourceSeries, volumes: Iterable[int], reason: Reason | None) -> None:
        """Remember why images were refused, for what was made on them."""
        for index in volumes:
            for piece in source.volumes[index].slices:
                self.refused.setdefault(piece.SOPInstanceUID, reason or Reason.GATE_COHORT)

    def save(self, part: Part) -> Part:
        """Write records, rows, audit and key rows of the batch."""
        self.store.write(key_rows_key(part), zone.pack(KeyRows(rows=tuple(self.key_rows))))
        sums = self.writer.save_audit(part.name, self.audit)
        links = {"volumes": self._volumes(), "annotations": self._annotations(), "audit": sums}
        records = Cohort(
            series=tuple(cohort for _, cohort in self.going),
            objects=tuple(self.objects),
            annotations=tuple(self.annotations),
        )
        rows = Rows(rows=tuple(self.rows), outcomes=tuple(self.outcomes), links=links)
        return zone.save(self.store, part, records, rows)

    def _link(self, cohort: CohortSeries, written: Mapping[str, CohortObject]) -> None:
        """Note which volumes each written object is part of; those of refused volumes are left behind."""
        volumes: dict[str, list[str]] = defaultdict(list)
        for volume in cohort.volumes:
            for name in {s.object for s in volume.planned.slices}:
                volumes[name].append(volume.volume_id)
        for name, ids in sorted(volumes.items()):
            if name in written:
                self.objects.append(written[name].model_copy(update={"volume_ids": tuple(sorted(ids))}))

    def _counted(
        self, row: dict[str, Any], volume: CohortVolume, written: Mapping[str, CohortObject]
    ) -> dict[str, Any]:
        objects = {s.object for s in volume.planned.slices}
        expected = len(objects) if self.is_dicom_asked_for else 0
        return {**row, "dicom_objects_expected": expected, "dicom_objects_written": len(objects & written.keys())}

    def _volumes(self) -> dict[str, dict[str, Any]]:
        return {
            v.volume_id: {
                "objects": sorted({s.object for s in v.planned.slices}),
                "series": c.SeriesInstanceUID,
                "subject": c.subject_id,
            }
            for _, c in self.going
            for v in c.volumes
        }

    def _annotations(self) -> dict[str, dict[str, Any]]:
        return {
            a.annotation_id: {"object": a.source.object, "series": a.source.SeriesInstanceUID, "volume": a.volume_id}
            for a in self.annotations
        }


@stage_task(STAGE)
def deidentify_batch(
    provider: Provider,
    plan: Part,
    skip: tuple[str, ...],
    labels: tuple[LabelFile, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """De-identify every series of one plan part, less those whose series key is in `skip`, and its label files."""
    store = zone.work(provider)
    recipe = volume_recipe(provider, "CT")
    made_of = [plan.name, sorted(skip), recipe, provider.profiles().model_dump(mode="json"), list(provider.outputs)]
    made_of.append([label.model_dump(mode="json") for label in labels])
    part = zone.part_of(STAGE, made_of)
    if zone.finished(store, part):
        return part
    batch = Batch(provider, store, plan, part.name)
    batch.run(zone.unpack(store.read(plan.records), Planned), skip, labels)
    return batch.save(part)
