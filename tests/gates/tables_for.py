"""A good table for every suite: plain rows that each gate passes without a warning.

Belongs here: made values for the tests of the gates. Does not belong here: breaking them, which each test does itself.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from oncurate.recipe import name_of, sha256_hex
from oncurate.tables import TABLES

AFFINE = [-0.8, 0.0, 0.0, 90.0, 0.0, 0.8, 0.0, -90.0, 0.0, 0.0, 2.0, -100.0, 0.0, 0.0, 0.0, 1.0]
ISOTROPIC = [1.0, 0.0, 0.0, -90.0, 0.0, 1.0, 0.0, -90.0, 0.0, 0.0, 1.0, -100.0, 0.0, 0.0, 0.0, 1.0]


def name(what: str, number: int) -> str:
    """A made 52-character name."""
    return name_of(bytes.fromhex(sha256_hex(f"{what} {number}".encode())))


def uid(what: str, number: int) -> str:
    """A made UID under 2.25."""
    return f"2.25.{int(sha256_hex(f'{what} {number}'.encode())[:32], 16) | 1}"


def _object(number: int) -> dict[str, Any]:
    return {
        "source_path": f"patient{number % 7}/image{number}.dcm",
        "url": f"file:///archive/image{number}.dcm",
        "bytes": 525_000 + number,
        "version": f"{number}-1",
        "sha256": sha256_hex(str(number).encode()),
        "reason": None,
    }


def _series(number: int) -> dict[str, Any]:
    return {
        "series_key": sha256_hex(str(number).encode()),
        "Modality": ("CT", "MR", "PT")[number % 3],
        "has_patient_id": True,
        "has_study_date": True,
        "instances_found": 42,
        "instances_planned": 40,
        "instances_refused": 2,
        "volumes_planned": 1,
        "slices_planned": 40,
        "positions_all_finite": True,
        "planned_bytes": 21_000_000,
    }


def _identity(number: int) -> dict[str, Any]:
    return {
        "volume_id": name("volume", number),
        "subject_id": name("subject", number // 3),
        "study_id": name("study", number // 3),
        "StudyInstanceUID": uid("study", number // 3),
        "SeriesInstanceUID": uid("series", number),
        "Modality": ("CT", "MR", "PT")[number % 3],
    }


def _cohort(number: int) -> dict[str, Any]:
    return _identity(number) | {
        "StudyDate": "20190304",
        "date_follows_policy": True,
        "uids_follow_policy": True,
        "identifiers_searched": 55,
        "identifiers_found": 0,
        "attributes_kept": 30,
        "attributes_dropped": 4,
        "dicom_objects_expected": 40,
        "dicom_objects_written": 40,
    }


def _volume(number: int) -> dict[str, Any]:
    row = _identity(number)
    folder = f"volumes/{row['subject_id']}/{row['volume_id']}"
    planar, cine = number % 5 == 4, number % 10 == 3
    planes, repetitions = 1 if planar or cine else 40, 12 if cine else 1
    facts = (
        "single_orientation",
        "orthogonal_orientation",
        "unique_slice_positions",
        "consistent_in_plane_row",
        "consistent_in_plane_col",
        "consistent_pixel_spacing",
        "consistent_image_dimensions",
        "uniform_slice_spacing",
    )
    return row | {
        "kind": "planar" if planar else "cine" if cine else "volume",
        "native_path": f"{folder}/native.nii.gz",
        "native_sha256": sha256_hex(f"native {number}".encode()),
        "native_shape": [512, 512, planes],
        "native_spacing_mm": [0.8, 0.8, 2.0],
        "native_affine": AFFINE,
        "slice_spacing_mm": None if planar or cine else 2.0,
        "number_of_slices": planes * repetitions,
        "native_planes": planes * repetitions,
        "repetitions": repetitions,
        "geometry_correction": "none",
        "value_scaling": "rescale",
        "suvbw_factor": 0.00021 if row["Modality"] == "PT" else None,
        "suvbw_status": "computed: BQML START" if row["Modality"] == "PT" else None,
        **dict.fromkeys(facts, True),
        "obliquity_degrees": 3.5,
        "regularly_spaced_3d_volume": not (planar or cine),
        "value_unit": {"CT": "HU", "MR": "stored", "PT": "Bq/ml"}[row["Modality"]],
        "native_dtype": "int16",
        "native_min": -1024.0,
        "native_max": 2900.0,
        "spacing_source": "PixelSpacing",
        "recipe": sha256_hex(b"recipe"),
    }


def _harmonised(number: int) -> dict[str, Any]:
    row = _volume(number)
    planar = row["kind"] != "volume"
    return row | {
        "harmonised_path": row["native_path"].replace("native", "harmonised"),
        "harmonised_sha256": sha256_hex(f"harmonised {number}".encode()),
        "harmonised_shape": row["native_shape"] if planar else [410, 410, 80],
        "harmonised_spacing_mm": row["native_spacing_mm"] if planar else [1.0, 1.0, 1.0],
        "harmonised_affine": AFFINE if planar else ISOTROPIC,
        "harmonised_dtype": "int16" if row["Modality"] == "CT" and not planar else "float32",
        "harmonised_min": -1024.0,
        "harmonised_max": 2800.0,
        "profile": "planar 2" if planar else f"{row['Modality']} 2",
        "steps": "[]",
    }


def _quality(number: int) -> dict[str, Any]:
    row = _identity(number)
    return {
        "volume_id": row["volume_id"],
        "subject_id": row["subject_id"],
        "Modality": row["Modality"],
        "stratum": f"MAKER|{row['Modality']}|",
        "snr": 4.2,
        "efc": 0.6,
        "fber": 300.0,
        "sharpness": 0.02,
        "clipped_share": 0.001,
        "nan_share": 0.0,
        "empty_slices": 0,
        "slice_jump_max": 3.0,
        "field_of_view_mm": [409.6, 409.6, 80.0],
        "spacing_mm": [0.8, 0.8, 2.0],
        "constant": False,
        "robust_z_max": 1.5,
    }


def _annotation(number: int) -> dict[str, Any]:
    """Two labels of each of many segmentations, a dose, a report."""
    row = {
        **_identity(number),
        "annotation_id": name("annotation", number // 2),
        "volume_id": name("volume", number // 2),
        "label": number % 2 + 1,
        "SOPInstanceUID": uid("annotation", number // 2),
        "kind": ("seg", "rtstruct")[number // 2 % 2],
        "label_name": "liver",
        "algorithm_type": ("MANUAL", "AUTOMATIC", "SEMIAUTOMATIC", None)[number % 4],
        "native_voxels": 1000,
        "declared_empty": False,
        "unexpectedly_empty": False,
        "volume_kept": True,
        "layers": 1,
        "labels_declared": 2,
        "labels_found": 2,
        "labels_skipped": 0,
        "grid_is_image_grid": True,
        "harmonised_grid_is_image_grid": True,
    }
    del row["Modality"], row["StudyInstanceUID"]
    return row


def _clinical(number: int) -> dict[str, Any]:
    events = {
        "episode": 0,
        "radiological_detection": 0,
        "diagnosis": 9,
        "pathology_confirmation": 9,
        "first_treatment": 30,
        "last_contact": 700,
    }
    return {
        "subject_id": name("subject", number // 2),
        "episode_number": number % 2 + 1,
        "episode": ("Diagnosis", "Progression")[number % 2],
        "population": "patient with cancer",
        "sex": ("female", "male")[number // 2 % 2],
        "age_at_diagnosis_years": 63.2,
        "topography": "C34.1",
        "laterality": "left",
        "pathology_confirmation": "biopsy",
        "pathology": "8140/3",
        "pathology_text": "adenocarcinoma",
        "t_category": "cT2a",
        "n_category": "pN1mi",
        "m_category": "M0",
        "tnm_edition": 8,
        "grade": "G2",
        "imaging_protocol": "CT thorax with contrast",
        "treatment": "chemotherapy + surgery",
        "treatment_text": "surgery",
        "vital_status": "alive",
        "survival_days": 691,
        "studies": 2,
        "sex_agrees": True,
        "age_agrees": True,
        **{f"{event}_date": "20190304" for event in events},
        **{f"{event}_days": days for event, days in events.items()},
    }


def _release(_: int) -> dict[str, Any]:
    return {
        "version": "v1",
        "files_found": 500,
        "files_curated": 480,
        "files_quarantined": 5,
        "files_duplicate": 5,
        "files_excluded": 10,
        "files_sum": 500,
        "ledger_rows": 500,
        "ledger_duplicate_paths": 0,
        "volumes": 12,
        "subjects": 4,
        "objects_in_manifest": 60,
        "objects_read_back": 60,
        "objects_mismatched": 0,
        "volumes_without_subject": 0,
        "volumes_without_study": 0,
        "volumes_missing_files": 0,
        "identifiers_found": 0,
        "refused_share": 0.01,
        "refused_share_limit": 1.0,
    }


_ROWS = {
    "objects": ("objects", _object),
    "series": ("source_series", _series),
    "cohort": ("cohort", _cohort),
    "volumes": ("volumes", _volume),
    "harmonised": ("volumes", _harmonised),
    "quality": ("quality", _quality),
    "annotations": ("annotations", _annotation),
    "clinical": ("clinical", _clinical),
    "release": ("release_facts", _release),
}


def good(suite: str, rows: int = 10) -> pa.Table:
    """A table of `rows` rows that the suite passes; the release has one row, whatever is asked for."""
    table, make = _ROWS[suite]
    schema = TABLES[table].schema
    made = [make(number) for number in range(1 if suite == "release" else rows)]
    return pa.Table.from_pydict({c: [row.get(c) for row in made] for c in schema.names}, schema=schema)


def with_values(table: pa.Table, column: str, value: Any, rows: int = 1) -> pa.Table:
    """`table` with `value` in the first `rows` rows of `column`."""
    place = table.column_names.index(column)
    values = [value] * rows + table.column(column).to_pylist()[rows:]
    return table.set_column(place, table.field(place), pa.array(values, table.field(place).type))
