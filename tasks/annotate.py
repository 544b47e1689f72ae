"""The annotate stage: segmentations, structure sets, doses, maps and reports -> files on the grid of their image.

Belongs here: writing one annotation once, on the native and on the harmonised grid of its volume. Does not belong here:
decoding (`oncurate.annotations`), resampling labels (`oncurate.labels`), which volume it is (`oncurate.belonging`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from oncurate import nifti
from oncurate.annotations import described, measured, sr
from oncurate.annotations.decoding import Decoded, as_image, decode, grid_of
from oncurate.annotations.delivered import unpacked
from oncurate.annotations.labelfiles import lay
from oncurate.annotations.model import FractionalMap, LabelMap, ScalarMap
from oncurate.describe import NATIVE
from oncurate.errors import Defect, Rejection
from oncurate.image import Image
from oncurate.labels import LabelVolume, resample_labels
from oncurate.preview import render
from oncurate.provider import Provider
from oncurate.recipe import sha256_hex
from oncurate.records import (
    CohortAnnotation,
    CohortSeries,
    CohortVolume,
    Geometry,
    GridImage,
    HarmonisedImage,
    NativeImage,
    Outcome,
)
from oncurate.store import Store
from tasks import harmonise, zone
from tasks.convert import RECORD as NATIVE_RECORD
from tasks.convert import write_image
from tasks.deidentify import Cohort
from tasks.guard import stage_task
from tasks.volumes import recorded, where
from tasks.zone import Part, Rows

STAGE = "annotate"
RECORD = "annotated"
LABELS = "labels.json"
PREVIEW = "preview.png"
FRACTIONS = "fractions.nii.gz"


@stage_task(STAGE)
def annotate_batch(
    provider: Provider,
    cohort: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Write every annotation of one cohort part whose volume is not in `skip`.

    A record is kept beside the files of each: its rows of `annotations` and `measurements`, and digest and size of each
    file. A `Rejection` becomes the annotation's outcome, and the others go on.
    """
    store = zone.work(provider)
    part = zone.part_of(STAGE, [cohort.name, sorted(skip)])
    records = zone.unpack(store.read(cohort.records), Cohort)
    volumes = {v.volume_id: (s, v) for s in records.series for v in s.volumes if v.volume_id not in skip}
    done: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for annotation in records.annotations:
        if annotation.volume_id not in volumes:
            continue
        folder = zone.annotation_folder(annotation.source.subject_id, annotation.annotation_id)
        record = _done(provider, store, folder)
        if record is None:
            try:
                record = Work(provider, store, annotation, *volumes[annotation.volume_id]).write(folder)
            except Rejection as refusal:
                outcomes.append(Outcome.refused(annotation.annotation_id, STAGE, refusal.reason, refusal.detail))
                continue
            store.write(zone.staged(f"{folder}/{RECORD}.json"), record)
        done.append({"annotation_id": annotation.annotation_id, RECORD: json.loads(record)})
    return zone.save(store, part, {}, Rows(rows=tuple(done), outcomes=tuple(outcomes)))


def _done(provider: Provider, store: Store, folder: str) -> bytes | None:
    """The record of an annotation that was written before and is still whole."""
    record = recorded(provider, store, folder, RECORD, ())
    if record is None:
        return None
    files = json.loads(record)["files"]
    return record if all(where(provider, store, f"{folder}/{name}") is not None for name in files) else None


class Work:
    """One annotation on its way onto the grids of its volume."""

    def __init__(
        self, provider: Provider, store: Store, annotation: CohortAnnotation, series: CohortSeries, volume: CohortVolume
    ) -> None:
        self._provider, self._store = provider, store
        self._annotation, self._series, self._volume = annotation, series, volume
        self._files: dict[str, list[Any]] = {}

    def write(self, folder: str) -> bytes:
        """Write the files of the annotation; its record as JSON. Raises `Rejection`."""
        key = self._annotation.source.key
        held = where(self._provider, self._store, key)
        data = (held or self._store).read(key)
        self._folder = folder
        if self._annotation.kind == "sr":
            found = measured.rows(self._head(), sr.measurements(data))
            return self._record([self._head() | {"label": 0, "measurements": len(found)}], found)
        volume_folder = zone.volume_folder(self._series.subject_id, self._volume.volume_id)
        record = self._store.read(zone.staged(f"{volume_folder}/{NATIVE_RECORD}.json"))
        described_image = NativeImage.model_validate_json(record)
        self._native, self._unit = described_image.image, described_image.value_unit
        record = self._store.read(zone.staged(f"{volume_folder}/{harmonise.RECORD}.json"))
        harmonised = HarmonisedImage.model_validate_json(record).image
        grid = grid_of(self._volume.planned, np.array(self._native.affine).reshape(4, 4), self._native.shape)
        found = self._decoded(data, grid)
        if isinstance(found, ScalarMap):
            return self._record([self._scalar(found)], [])
        label_map = found.label_map if isinstance(found, FractionalMap) else found
        rows = self._labels(label_map, [as_image(layer, grid) for layer in label_map.layers], harmonised)
        if isinstance(found, FractionalMap):
            stacked = np.stack(found.arrays, axis=-1) if len(found.arrays) > 1 else found.arrays[0]
            self._image(FRACTIONS, as_image(stacked, grid))
            rows = [row | {"fractions_path": f"{self._folder}/{FRACTIONS}"} for row in rows]
        return self._record(rows, [])

    def _decoded(self, data: bytes, grid: Geometry) -> Decoded:
        if self._annotation.kind == "label_file":
            return lay(unpacked(data), grid)
        return decode(self._annotation.kind, data, self._volume.planned, grid, self._series.FrameOfReferenceUID)

    def _labels(self, found: LabelMap, layers: list[Image], harmonised: GridImage) -> list[dict[str, Any]]:
        """Write the layers on both grids, the preview and labels.json; a row a label."""
        resampled: dict[int, LabelVolume] = {}
        paths: list[tuple[str, str]] = []
        twins: list[Image] = []
        for number, layer in enumerate(layers):
            twin, volumes = resample_labels(layer, harmonised)
            resampled.update({row.label: row for row in volumes})
            twins.append(twin)
            suffix = f"_{number + 1}" if number else ""
            names = (f"native{suffix}.nii.gz", f"harmonised{suffix}.nii.gz")
            for name, image in zip(names, (layer, twin), strict=True):
                self._image(name, compact(image))
            paths.append(names)
        rows = []
        for label in found.labels:
            index = found.layer_of[label.number]
            native, harmonised_name = paths[index]
            facts = described.shape_facts(layers[index], label.number)
            flags = found.flags.get(label.number, ())
            rows.append(
                self._head()
                | described.label_row(label, facts, resampled.get(label.number), flags)
                | {
                    "native_path": f"{self._folder}/{native}",
                    "harmonised_path": f"{self._folder}/{harmonised_name}",
                    "labels_path": f"{self._folder}/{LABELS}",
                    "preview_path": f"{self._folder}/{PREVIEW}",
                    "labels_declared": len(found.labels),
                    "labels_found": described.labels_found(found),
                    "labels_skipped": len(found.skipped),
                    "layers": len(layers),
                    "resampled": found.resampled,
                    "grid_is_image_grid": layers[index].shape == tuple(self._native.shape)
                    and bool(np.allclose(layers[index].affine.ravel(), self._native.affine, atol=1e-3)),
                    "harmonised_grid_is_image_grid": twins[index].shape == tuple(harmonised.shape)
                    and bool(np.allclose(twins[index].affine.ravel(), harmonised.affine, atol=1e-3)),
                }
            )
        head = {**self._head(), "layers": [list(names) for names in paths], "skipped": [list(s) for s in found.skipped]}
        self._file(LABELS, described.labels_json(head, found.labels, rows))
        self._file(PREVIEW, self._preview(layers))
        return rows

    def _scalar(self, found: ScalarMap) -> dict[str, Any]:
        """Write a map of numbers on its own grid; its row."""
        written = self._image("native.nii.gz", as_image(found.array, found.geometry))
        head = {
            **self._head(),
            "unit": found.unit,
            "terms": dict(found.terms),
            "quantity": described.code(found.quantity),
        }
        self._file(LABELS, described.labels_json(head, [], []))
        return self._head() | {
            "label": 0,
            "native_path": f"{self._folder}/native.nii.gz",
            "labels_path": f"{self._folder}/{LABELS}",
            "value_unit": found.unit,
            "value_min": written.min,
            "value_max": written.max,
            "label_name": found.quantity.meaning if found.quantity else None,
        }

    def _head(self) -> dict[str, Any]:
        source = self._annotation.source
        return {
            "annotation_id": self._annotation.annotation_id,
            "volume_id": self._volume.volume_id,
            "subject_id": self._series.subject_id,
            "study_id": self._series.study_id,
            "SeriesInstanceUID": source.SeriesInstanceUID,
            "SOPInstanceUID": source.SOPInstanceUID or None,
            "kind": self._annotation.kind,
            "recipe": self._annotation.recipe,
        }

    def _preview(self, layers: list[Image]) -> bytes:
        folder = zone.volume_folder(self._series.subject_id, self._volume.volume_id)
        held = where(self._provider, self._store, f"{folder}/{NATIVE}")
        if held is None:
            raise Defect("a native volume that convert reported is in no zone")
        image = nifti.read(held.read(f"{folder}/{NATIVE}"))
        return render(image, self._series.Modality, self._unit, [layer.array for layer in layers])

    def _image(self, name: str, image: Image) -> GridImage:
        written = write_image(self._store, f"{self._folder}/{name}", image)
        self._files[name] = [written.sha256, written.bytes]
        return written

    def _file(self, name: str, data: bytes) -> None:
        self._store.write(zone.staged(f"{self._folder}/{name}"), data)
        self._files[name] = [sha256_hex(data), len(data)]

    def _record(self, rows: list[dict[str, Any]], measurements: list[dict[str, Any]]) -> bytes:
        return json.dumps({"rows": rows, "measurements": measurements, "files": self._files}).encode()


def compact(labels: Image) -> Image:
    """`labels` as uint8 where that holds every number."""
    if labels.array.max(initial=0) > np.iinfo(np.uint8).max:
        return labels
    return replace(labels, array=labels.array.astype(np.uint8))
