"""What is said of a curated volume: its row in the tables and its volume.json.

Belongs here: turning de-identified records into rows. Does not belong here: anything identified; these functions accept
only cohort records.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from oncurate.columns.images import TECHNICAL
from oncurate.identity import AGE_POOLED_YEARS
from oncurate.recipe import canonical_json
from oncurate.records import CohortObject, CohortSeries, CohortVolume, HarmonisedImage, NativeImage, PlannedVolume

FACTS = (
    "single_orientation",
    "orthogonal_orientation",
    "unique_slice_positions",
    "consistent_in_plane_row",
    "consistent_in_plane_col",
    "consistent_pixel_spacing",
    "consistent_image_dimensions",
    "uniform_slice_spacing",
    "obliquity_degrees",
    "gantry_tilt_degrees",
    "regularly_spaced_3d_volume",
)


NATIVE, HARMONISED, NORMALISED = "native.nii.gz", "harmonised.nii.gz", "normalised.nii.gz"
NATIVE_BVAL, NATIVE_BVEC = "native.bval", "native.bvec"
HARMONISED_BVAL, HARMONISED_BVEC = "harmonised.bval", "harmonised.bvec"
"""Names of a volume's objects in its folder. FSL's tools expect both diffusion files beside an image under its name."""

NO_CORRECTION = "none"
"""`geometry_correction` of a volume whose voxels are as acquired."""

AGE = "patient_age_years"
"""Only the studies table shows ages: what may be shown of one depends on the subject's other studies."""


def volume_row(
    series: CohortSeries, volume: CohortVolume, native: NativeImage, harmonised: HarmonisedImage | None
) -> dict[str, Any]:
    """The volume's row of the `volumes` table; harmonised columns are null until it is harmonised."""
    folder = f"volumes/{series.subject_id}/{volume.volume_id}"
    planned = volume.planned
    geometry = planned.geometry
    row: dict[str, Any] = {
        "volume_id": volume.volume_id,
        "subject_id": series.subject_id,
        "study_id": series.study_id,
        "StudyInstanceUID": series.StudyInstanceUID,
        "SeriesInstanceUID": series.SeriesInstanceUID,
        "Modality": series.Modality,
        "kind": planned.kind,
        "native_path": f"{folder}/{NATIVE}",
        "native_sha256": native.image.sha256,
        "native_shape": list(native.image.shape),
        "native_spacing_mm": list(native.image.spacing_mm),
        "native_affine": list(native.image.affine),
        "native_dtype": native.image.dtype,
        "native_min": native.image.min,
        "native_max": native.image.max,
        "slice_spacing_mm": native.image.spacing_mm[2] if planned.kind == "volume" else None,
        "number_of_slices": len(planned.slices),
        "native_planes": native.image.shape[2] * native.image.repetitions,
        **_repeated(planned, folder),
        "geometry_correction": planned.correction or NO_CORRECTION,
        "derived": planned.derived or planned.correction is not None,
        "projection": planned.projection,
        "laterality": planned.attributes.get("laterality"),
        "view": planned.attributes.get("view"),
        "value_unit": native.value_unit,
        "value_scaling": planned.scaling,
        "suvbw_factor": planned.suv.factor if planned.suv else None,
        "suvbw_status": planned.suv.status if planned.suv else None,
        "inverted": native.inverted,
        "pixels_masked": volume.masked,
        "text_searched": volume.searched_for_text,
        "text_blanked": any(piece.text for piece in planned.slices),
        "recognisable_face_possible": volume.face == "possible",
        "face_removed": volume.face == "removed",
        "spacing_source": geometry.spacing_source,
        "split_by": list(planned.split_by),
        "recipe": volume.recipe,
    }
    row.update({fact: getattr(geometry, fact) for fact in FACTS})
    row.update({name: _fitting(planned.attributes.get(name), kind) for name, kind, _ in TECHNICAL})
    if harmonised is not None:
        row.update(
            {
                "harmonised_path": f"{folder}/{HARMONISED}",
                "preview_path": f"{folder}/preview.png",
                "metadata_path": f"{folder}/volume.json",
                "harmonised_sha256": harmonised.image.sha256,
                "harmonised_shape": list(harmonised.image.shape),
                "harmonised_spacing_mm": list(harmonised.image.spacing_mm),
                "harmonised_affine": list(harmonised.image.affine),
                "harmonised_dtype": harmonised.image.dtype,
                "harmonised_min": harmonised.image.min,
                "harmonised_max": harmonised.image.max,
                "harmonised_unit": harmonised.value_unit,
                "harmonised_bval_path": f"{folder}/{HARMONISED_BVAL}" if is_diffusion(planned) else None,
                "harmonised_bvec_path": f"{folder}/{HARMONISED_BVEC}" if is_diffusion(planned) else None,
                "normalised_path": f"{folder}/{NORMALISED}" if harmonised.normalised else None,
                "normalised_sha256": harmonised.normalised.sha256 if harmonised.normalised else None,
                "profile": harmonised.profile,
                "steps": json.dumps([s.model_dump(mode="json") for s in harmonised.steps]),
            }
        )
    return row


def is_diffusion(planned: PlannedVolume) -> bool:
    """Whether it is a series of diffusion weightings, all of them known: one that gets .bval and .bvec files."""
    weights = [r.b_value for r in planned.repetitions]
    return len(weights) > 1 and None not in weights and any(weights)


def _repeated(planned: PlannedVolume, folder: str) -> dict[str, Any]:
    if len(planned.repetitions) == 1:
        return {"repetitions": 1}
    times = [r.time_s for r in planned.repetitions]
    row: dict[str, Any] = {
        "repetitions": len(planned.repetitions),
        "repeated_by": list(planned.repeated_by),
        "repetition_times_s": None if None in times else times,
    }
    if is_diffusion(planned):
        row |= {
            "b_values": [r.b_value for r in planned.repetitions],
            "gradient_directions": [x for r in planned.repetitions for x in r.gradient or (0.0, 0.0, 0.0)],
            "native_bval_path": f"{folder}/{NATIVE_BVAL}",
            "native_bvec_path": f"{folder}/{NATIVE_BVEC}",
        }
    return row


def _fitting(value: Any, kind: Any) -> Any:
    """An attribute's value in its column's type; a list of terms in a text column is joined by a backslash."""
    if value is None:
        return None
    if str(kind) == "string":
        return "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return float(value) if not isinstance(value, list | tuple) else None


def volume_json(series: CohortSeries, volume: CohortVolume, native: NativeImage, harmonised: HarmonisedImage) -> bytes:
    """volume.json: the volume's identity in the cohort, attributes, slices in order, recipe and applied steps."""
    planned = volume.planned
    value = {
        "volume_id": volume.volume_id,
        "subject_id": series.subject_id,
        "study_id": series.study_id,
        "StudyInstanceUID": series.StudyInstanceUID,
        "SeriesInstanceUID": series.SeriesInstanceUID,
        "FrameOfReferenceUID": series.FrameOfReferenceUID or None,
        "Modality": series.Modality,
        "kind": planned.kind,
        "attributes": {k: v for k, v in planned.attributes.items() if k != AGE},
        "geometry": {"coordinates": "LPS mm", **planned.geometry.model_dump(mode="json")},
        "split_by": list(planned.split_by),
        "geometry_correction": planned.correction or NO_CORRECTION,
        "repeated_by": list(planned.repeated_by),
        "repetitions": [r.model_dump(mode="json") for r in planned.repetitions],
        "derived": planned.derived or planned.correction is not None,
        "projection": planned.projection,
        "value_scaling": planned.scaling,
        "padding": planned.padding,
        "suvbw": planned.suv.model_dump(mode="json") if planned.suv else None,
        "slices": [
            {
                "SOPInstanceUID": s.SOPInstanceUID,
                "frame": s.frame,
                "RescaleSlope": s.slope,
                "RescaleIntercept": s.intercept,
            }
            for s in planned.slices
        ],
        "pixels_masked": volume.masked,
        "text_searched": volume.searched_for_text,
        "recognisable_face_possible": volume.face == "possible",
        "face_removed": volume.face == "removed",
        "native": native.model_dump(mode="json"),
        "harmonised": harmonised.model_dump(mode="json"),
        "recipe": volume.recipe,
    }
    return json.dumps(json.loads(canonical_json(value)), indent=1, sort_keys=True).encode() + b"\n"


def instance_row(item: CohortObject) -> dict[str, Any]:
    """The row of table `instances` of one DICOM object."""
    return {"dicom_path": item.key, **item.model_dump(mode="json", exclude={"key", "object"})}


def cohort_tables(
    series: Iterable[CohortSeries], volume_rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the `subjects`, `studies` and `series` tables for the volumes that are released.

    Computed over the whole release: `days_from_baseline` counts from the subject's first study in it, and a subject
    with an age over 89 shows no exact age at all, as the days between studies would tell the other one.
    """
    released: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in volume_rows:
        released[row["SeriesInstanceUID"]].append(row)
    kept = {s.SeriesInstanceUID: s for s in series if s.SeriesInstanceUID in released}
    studies: dict[str, list[CohortSeries]] = defaultdict(list)
    subjects: dict[str, list[CohortSeries]] = defaultdict(list)
    for one in kept.values():
        studies[one.study_id].append(one)
        subjects[one.subject_id].append(one)
    baseline = {
        subject: min((s.StudyDate for s in members if s.StudyDate), default=None)
        for subject, members in subjects.items()
    }
    study_rows = [
        _study_row(members, released, baseline[members[0].subject_id]) for _, members in sorted(studies.items())
    ]
    pool_ages(study_rows, {row["subject_id"] for row in study_rows if row[AGE] == AGE_POOLED_YEARS})
    return {
        "series": [_series_row(s, released[uid]) for uid, s in sorted(kept.items())],
        "studies": study_rows,
        "subjects": [_subject_row(members, released) for _, members in sorted(subjects.items())],
    }


def pool_ages(study_rows: Iterable[dict[str, Any]], subjects: Collection[str]) -> None:
    """Remove, in place, the exact ages of subjects whose ages elsewhere or dates would tell one over 89."""
    for row in study_rows:
        if row["subject_id"] in subjects and row[AGE] != AGE_POOLED_YEARS:
            row[AGE] = None


def _first(series: CohortSeries, name: str) -> Any:
    return next(
        (v.planned.attributes[name] for v in series.volumes if v.planned.attributes.get(name) is not None), None
    )


def _series_row(series: CohortSeries, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "SeriesInstanceUID": series.SeriesInstanceUID,
        "subject_id": series.subject_id,
        "study_id": series.study_id,
        "StudyInstanceUID": series.StudyInstanceUID,
        "FrameOfReferenceUID": series.FrameOfReferenceUID or None,
        "Modality": series.Modality,
        "AcquisitionDate": _first(series, "AcquisitionDate") or series.StudyDate,
        "BodyPartExamined": _first(series, "BodyPartExamined"),
        "SeriesDescription": _first(series, "SeriesDescription"),
        "ProtocolName": _first(series, "ProtocolName"),
        "Manufacturer": _first(series, "Manufacturer"),
        "ManufacturerModelName": _first(series, "ManufacturerModelName"),
        "volumes": len(rows),
        "slices": sum(r["number_of_slices"] for r in rows),
    }


def _study_row(
    members: list[CohortSeries], released: Mapping[str, list[Mapping[str, Any]]], baseline: str | None
) -> dict[str, Any]:
    first = members[0]
    study_date = next((s.StudyDate for s in members if s.StudyDate), None)
    days = (_day(study_date) - _day(baseline)).days if study_date and baseline else None
    return {
        "study_id": first.study_id,
        "subject_id": first.subject_id,
        "StudyInstanceUID": first.StudyInstanceUID,
        "StudyDate": study_date,
        "StudyDescription": next((d for s in members if (d := _first(s, "StudyDescription")) is not None), None),
        "days_from_baseline": days,
        AGE: next((a for s in members if (a := _first(s, AGE)) is not None), None),
        "modalities": sorted({s.Modality for s in members}),
        "series": len(members),
        "volumes": sum(len(released[s.SeriesInstanceUID]) for s in members),
    }


def _subject_row(members: list[CohortSeries], released: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Any]:
    return {
        "subject_id": members[0].subject_id,
        "subject_id_source": members[0].subject_id_source,
        "PatientSex": next((x for s in members if (x := _first(s, "PatientSex")) is not None), None),
        "studies": len({s.study_id for s in members}),
        "series": len(members),
        "volumes": sum(len(released[s.SeriesInstanceUID]) for s in members),
    }


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
