"""What the tables and volume.json say of a volume, from cohort records made here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oncurate import tables
from oncurate.describe import cohort_tables, volume_json, volume_row
from oncurate.records import (
    CohortSeries,
    CohortVolume,
    Geometry,
    GridImage,
    HarmonisedImage,
    NativeImage,
    PlannedVolume,
    Slice,
    Step,
)

AFFINE = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def geometry(**options: Any) -> Geometry:
    facts = {name: True for name, field in Geometry.model_fields.items() if field.annotation is bool}
    base = {
        "origin": (0.0, 0.0, 0.0),
        "row": (1.0, 0.0, 0.0),
        "column": (0.0, 1.0, 0.0),
        "normal": (0.0, 0.0, 1.0),
        "spacing": (1.0, 1.0, 2.0),
        "shape": (4, 3, 2),
        "spacing_source": "PixelSpacing",
        "obliquity_degrees": 0.0,
        "gantry_tilt_degrees": 0.0,
    }
    return Geometry(**{k: v for k, v in {**facts, **base, **options}.items() if k in Geometry.model_fields})


def volume(name: str = "v", kind: str = "volume", **attributes: Any) -> CohortVolume:
    slices = tuple(
        Slice(object=f"o{i}", content=f"c{i}", frame=0, SOPInstanceUID=f"2.25.{i}", slope=1.0, intercept=0.0)
        for i in range(2)
    )
    planned = PlannedVolume(
        kind=kind,
        slices=slices,
        geometry=geometry(),
        split_by=("echo_time",),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        attributes=attributes,
    )
    return CohortVolume(volume_id=name, recipe="r", planned=planned, masked=False)


def series(uid: str, *volumes: CohortVolume, study: str = "study", subject: str = "subject", **keys: Any):
    base = {
        "subject_id": subject,
        "subject_id_source": "PatientID",
        "study_id": study,
        "StudyInstanceUID": f"2.25.{study}",
        "SeriesInstanceUID": uid,
        "FrameOfReferenceUID": "",
        "Modality": "CT",
        "StudyDate": "20200301",
        "volumes": volumes,
    }
    return CohortSeries(**{**base, **keys})


def grid(**options: Any) -> GridImage:
    base = {
        "shape": (4, 3, 2),
        "spacing_mm": (1.0, 1.0, 2.0),
        "affine": AFFINE,
        "dtype": "int16",
        "min": -5.0,
        "max": 7.0,
        "sha256": "n" * 64,
        "bytes": 10,
    }
    return GridImage(**{**base, **options})


NATIVE = NativeImage(image=grid(), value_unit="HU", inverted=False, steps=())
HARMONISED = HarmonisedImage(
    image=grid(sha256="h" * 64, dtype="float32"), profile="CT 2", steps=(Step(name="clip", arguments={"low": -1024}),)
)


def test_a_row_fits_its_table_and_leads_to_the_files() -> None:
    row = volume_row(series("s", volume()), volume(), NATIVE, HARMONISED)
    (read,) = tables.to_arrow("volumes", [row]).to_pylist()
    assert read["native_path"] == "volumes/subject/v/native.nii.gz"
    assert read["harmonised_path"] == "volumes/subject/v/harmonised.nii.gz"
    assert (read["native_sha256"], read["harmonised_sha256"]) == ("n" * 64, "h" * 64)
    assert (read["slice_spacing_mm"], read["number_of_slices"]) == (2.0, 2)
    assert json.loads(read["steps"]) == [{"name": "clip", "arguments": {"low": -1024}}]


def test_before_harmonisation_its_columns_are_null() -> None:
    (read,) = tables.to_arrow("volumes", [volume_row(series("s", volume()), volume(), NATIVE, None)]).to_pylist()
    assert {name for name, value in read.items() if name.startswith("harmonised_") and value is not None} == set()
    assert read["native_path"]


def test_a_planar_image_has_no_slice_spacing() -> None:
    flat = volume(kind="planar")
    assert volume_row(series("s", flat), flat, NATIVE, None)["slice_spacing_mm"] is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(["SE", "IR"], "SE\\IR"), ("SE", "SE"), (None, None)],
)
def test_terms_are_joined_as_dicom_joins_them(value: Any, shown: Any) -> None:
    one = volume(ScanningSequence=value)
    assert volume_row(series("s", one), one, NATIVE, None)["ScanningSequence"] == shown


def test_volume_json_is_deterministic_and_complete() -> None:
    one = volume(KVP=120.0, BodyPartExamined="CHEST")
    data = volume_json(series("s", one), one, NATIVE, HARMONISED)
    assert data == volume_json(series("s", one), one, NATIVE, HARMONISED)
    assert data.endswith(b"\n")
    said = json.loads(data)
    assert said["attributes"] == {"KVP": 120.0, "BodyPartExamined": "CHEST"}
    assert [s["SOPInstanceUID"] for s in said["slices"]] == ["2.25.0", "2.25.1"]
    assert said["geometry"]["coordinates"] == "LPS mm"
    assert said["FrameOfReferenceUID"] is None
    assert set(said["native"]) == set(NativeImage.model_fields)
    assert not set(said) & {"object", "objects", "url"}
    assert b'"o0"' not in data  # digests of source files would lead back to them


def test_tables_count_released_volumes_only_and_days_from_the_first_released_study() -> None:
    a, b, c = volume("a"), volume("b"), volume("c")
    members = [
        series("1", a, study="early", StudyDate="20200101", subject="x"),
        series("2", b, study="middle", StudyDate="20200131", subject="x"),
        series("3", c, study="late", StudyDate="20200301", subject="x"),
        series("4", volume("d"), study="other", StudyDate=None, subject="y"),
    ]
    rows = [volume_row(s, v, NATIVE, None) for s in members for v in s.volumes if v.volume_id != "a"]
    made = cohort_tables(members, rows)
    for name, values in made.items():
        tables.to_arrow(name, values)
    assert [s["SeriesInstanceUID"] for s in made["series"]] == ["2", "3", "4"]
    days = {s["study_id"]: s["days_from_baseline"] for s in made["studies"]}
    assert days == {"middle": 0, "late": 30, "other": None}
    assert [(s["subject_id"], s["studies"], s["volumes"]) for s in made["subjects"]] == [("x", 2, 2), ("y", 1, 1)]


def test_a_study_lists_its_modalities_once() -> None:
    members = [
        series("1", volume("a")),
        series("2", volume("b"), Modality="PT"),
        series("3", volume("c")),
    ]
    rows = [volume_row(s, v, NATIVE, None) for s in members for v in s.volumes]
    (study,) = cohort_tables(members, rows)["studies"]
    assert (study["modalities"], study["series"], study["volumes"]) == (["CT", "PT"], 3, 3)


def test_an_age_over_89_hides_the_other_ages_of_the_subject_and_no_age_is_in_volume_json() -> None:
    young, old, other = (volume(n, patient_age_years=a) for n, a in (("a", 85.0), ("b", 90.0), ("c", 60.0)))
    members = [
        series("1", young, study="first", subject="x"),
        series("2", old, study="second", subject="x"),
        series("3", other, study="third", subject="y"),
    ]
    rows = [volume_row(s, v, NATIVE, None) for s in members for v in s.volumes]
    ages = {row["study_id"]: row["patient_age_years"] for row in cohort_tables(members, rows)["studies"]}
    assert ages == {"first": None, "second": 90.0, "third": 60.0}
    assert b"age" not in volume_json(members[0], young, NATIVE, HARMONISED).replace(b"image", b"")
