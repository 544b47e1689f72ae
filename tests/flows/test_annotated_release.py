"""One release with all that belongs to images: annotations, DICOM objects, a clinical table; README's code on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from flows import cli
from oncurate import tables
from oncurate.store import Store
from oncurate.verify import verify
from tests import annotated, structure_sets
from tests.clinical_files import DUTCH, dutch, patient_id
from tests.flows.test_readme import blocks
from tests.phantoms import ct_series, dataset, uid
from tests.provider_files import provider_file

SLICES = 8
PATIENT = patient_id(1)
LABELS = {"label_files": "lonely/*.nii.gz"}
GRID = annotated.grid((12, 16, SLICES), (0.8, 0.8, 2.0), origin=(-100.0, -80.0, 50.0))


def archive(folder: Path) -> dict[str, Path]:
    """A CT with a segmentation of two overlapping segments, a structure set, and two that belong to no image here."""
    images = ct_series(folder / "ct", slices=SLICES, patient=PATIENT, SeriesDescription="CT thorax Doe 5mm")
    ct_series(folder / "lonely", patient=patient_id(2), slices=SLICES, seed=3)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in images]
    first = headers[0]
    named = {
        "PatientID": PATIENT,
        "PatientName": "Doe^Test1",
        "StudyInstanceUID": first.StudyInstanceUID,
        "FrameOfReferenceUID": first.FrameOfReferenceUID,
    }
    left, both = np.zeros((16, 12), bool), np.zeros((16, 12), bool)
    left[4:9, 3:7], both[6:11, 5:9] = True, True
    shown = [(1, 2, left), (1, 3, left), (2, 3, both), (2, 4, both)]
    sources = [headers[k].SOPInstanceUID for _, k, _ in shown]
    segments = [annotated.segment(1, "Liver Doe"), annotated.segment(2, "GTV1")]
    made = {
        "seg": annotated.segmentation(shown, GRID, segments=segments, sources=sources),
        "lost": annotated.segmentation(shown, GRID, sources=[uid("nowhere")] * 4),
    }
    outline = structure_sets.cylinder(4.0, 5.0, (2.0, 9.0), 2.6)
    contours = structure_sets.contours_of(outline, GRID)
    made["rtstruct"] = structure_sets.structure_set({1: contours}, frame=first.FrameOfReferenceUID)
    made["note"] = dataset(sop_class="1.2.840.10008.5.1.4.1.1.11.1", modality="PR")
    for name, ds in made.items():
        ds.SeriesInstanceUID, ds.SOPInstanceUID = uid("series of", name), uid("object of", name)
        for keyword, value in named.items():
            setattr(ds, keyword, value)
    del made["note"].PixelData
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[2:5, 3:6, 1:4] = 3
    (folder / "lonely" / "mask Doe.nii.gz").write_bytes(annotated.label_file(voxels, GRID))
    paths = {}
    for name, ds in made.items():
        paths[name] = folder / "other" / f"{name}.dcm"
        paths[name].parent.mkdir(exist_ok=True)
        paths[name].write_bytes(annotated.as_bytes(ds))
    return paths


@pytest.fixture(scope="module")
def release(run: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated")
    archive(folder / "archive")
    (folder / DUTCH["file"]).write_bytes(dutch(3))
    finished = run(provider_file(folder, outputs=["nifti", "dicom"], clinical=DUTCH, annotations=LABELS))
    assert finished["volumes"] == 2
    return folder


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    return tables.from_parquet((folder / "curated/made/releases/v1/tables" / f"{name}.parquet").read_bytes())


@pytest.mark.flows
def test_each_label_lies_on_both_grids_of_its_image(release: Path) -> None:
    rows = {(row["kind"], row["label"]): row for row in table(release, "annotations")}
    assert set(rows) == {("seg", 1), ("seg", 2), ("rtstruct", 1), ("label_file", 3)}
    assert rows["label_file", 3]["native_voxels"] == 27
    assert rows["label_file", 3]["subject_id"] != rows["seg", 1]["subject_id"]
    base = release / "curated/made"
    volumes = {row["volume_id"]: row for row in table(release, "volumes")}
    for row in rows.values():
        volume = volumes[row["volume_id"]]
        for grid in ("native", "harmonised"):
            image = SimpleITK.ReadImage(base / volume[f"{grid}_path"])
            label = SimpleITK.ReadImage(base / row[f"{grid}_path"])
            assert label.GetSize() == image.GetSize()
            np.testing.assert_allclose(label.GetOrigin(), image.GetOrigin(), atol=1e-3)
            found = int((SimpleITK.GetArrayViewFromImage(label) == row["label"]).sum())
            assert found == row[f"{grid}_voxels"] > 0
    assert rows["seg", 1]["native_voxels"] == 40
    assert rows["seg", 1]["native_path"] != rows["seg", 2]["native_path"]  # they overlap
    assert (rows["seg", 1]["label_name"], rows["seg", 1]["snomed_code"]) == ("Liver", "10200004")
    labels = json.loads((base / rows["seg", 1]["labels_path"]).read_text())
    assert [label["label_name"] for label in labels["labels"]] == ["Liver", "GTV1"]
    assert (base / rows["seg", 1]["preview_path"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.flows
def test_the_voxels_are_where_they_were_drawn(release: Path) -> None:
    row = next(r for r in table(release, "annotations") if (r["kind"], r["label"]) == ("seg", 1))
    label = SimpleITK.ReadImage(release / "curated/made" / row["native_path"])
    expected = annotated.position(GRID, 3, 4, 2)  # LPS mm, as SimpleITK has it
    index = label.TransformPhysicalPointToIndex(expected)
    assert label[index] == 1
    assert label[label.TransformPhysicalPointToIndex(annotated.position(GRID, 2, 4, 2))] == 0
    assert label[label.TransformPhysicalPointToIndex(annotated.position(GRID, 3, 4, 1))] == 0


@pytest.mark.flows
def test_the_ledger_says_what_each_file_became(release: Path) -> None:
    rows = tables.from_parquet((release / "work/made/ledger/ledger.parquet").read_bytes())
    other = {Path(row["source_path"]).stem: row for row in rows if row["source_path"].startswith("other/")}
    assert {name: (row["state"], row["reason"]) for name, row in other.items()} == {
        "seg": ("curated", None),
        "rtstruct": ("curated", None),
        "note": ("curated", None),
        "lost": ("quarantined", "unresolved_reference"),
    }
    assert None not in (other["seg"]["annotation_id"], other["seg"]["dicom_path"])
    assert (other["note"]["annotation_id"], other["lost"]["dicom_path"]) == (None, None)
    assert all(row["dicom_path"] for row in rows if row["volume_id"])


@pytest.mark.flows
def test_dicom_objects_are_nobody_s_and_point_to_each_other(release: Path) -> None:
    base = release / "curated/made"
    rows = {row["SOPInstanceUID"]: row for row in table(release, "instances")}
    objects = {row["dicom_path"]: pydicom.dcmread(base / row["dicom_path"]) for row in rows.values()}
    assert len(objects) == 2 * SLICES + 3
    for path, ds in objects.items():
        assert ds.PatientIdentityRemoved == "YES"
        assert rows[ds.SOPInstanceUID]["dicom_path"] == path
        assert PATIENT.encode() not in (base / path).read_bytes()
        assert b"Doe" not in (base / path).read_bytes()
    [seg] = [ds for ds in objects.values() if ds.Modality == "SEG"]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert rows[source]["Modality"] == "CT"
    volumes = {row["volume_id"] for row in table(release, "volumes")}
    assert {v for row in rows.values() for v in row["volume_ids"]} == volumes
    assert {(r["output"], r["action"]) for r in table(release, "deidentification")} >= {("dicom", "U"), ("dicom", "C")}


@pytest.mark.flows
def test_descriptions_are_useful_and_name_nobody(release: Path) -> None:
    assert {row["SeriesDescription"] for row in table(release, "series")} >= {"CT thorax 5mm"}


@pytest.mark.flows
def test_clinical_rows_have_the_pseudonyms_of_the_images(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = {row["subject_id"] for row in table(release, "subjects")}
    clinical = table(release, "clinical")
    assert {row["subject_id"] for row in clinical} == subjects  # a third patient has no images
    assert all(row["diagnosis_days"] is not None and row["topography"] for row in clinical)
    assert {row["subject_id"] for row in table(release, "links")} == subjects
    written = (release / "curated/made/releases/v1/tables/clinical.parquet").read_bytes()
    assert PATIENT.encode() not in written


@pytest.mark.flows
def test_the_clinical_counts_are_told_to_the_data_engineer(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.quarantine(release / "provider.yaml")
    said = capsys.readouterr().out
    assert "patients with a clinical row and no images: 1" in said
    assert "unresolved_reference" in said
    assert PATIENT not in said


@pytest.mark.flows
def test_everything_is_listed_and_holds(release: Path) -> None:
    report = verify(Store(str(release / "curated/made")))
    assert report.ok
    gates = {path.stem for path in (release / "curated/made/releases/v1/gates").glob("*.json")}
    assert {"annotations", "clinical", "cohort"} <= gates


@pytest.mark.flows
def test_the_code_for_consumers_runs(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(release / "curated/made")
    [code] = blocks("python")
    found: dict[str, Any] = {}
    exec(code, found)
    names = [item["name"] for item in found["items"]]
    assert len(names) == 4
    assert {"Liver", "GTV1", "label 3"} <= set(names)
