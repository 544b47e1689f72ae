"""The whole job on a made archive: where every file ends, and what a consumer finds in the release."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from oncurate import tables
from oncurate.pixeltext import detector
from oncurate.reasons import Reason
from oncurate.recipe import sha256_hex
from oncurate.store import Store
from oncurate.verify import verify
from tests.flows import archive
from tests.provider_files import provider_file

pytestmark = pytest.mark.flows

NATIVE_SPACING_TOLERANCE_MM = 1e-4
"""NIfTI headers hold spacings as 32-bit floats."""


@dataclass(frozen=True)
class Job:
    """A finished run: its folder, what each file was expected to become, and what the flow returned."""

    folder: Path
    expected: archive.Expected
    finished: dict[str, Any]

    @property
    def target(self) -> Path:
        return self.folder / "curated" / "made"

    def table(self, name: str) -> list[dict[str, Any]]:
        return tables.from_parquet((self.target / f"releases/v1/tables/{name}.parquet").read_bytes())

    def ledger(self) -> dict[str, dict[str, Any]]:
        rows = tables.from_parquet((self.folder / "work/made/ledger/ledger.parquet").read_bytes())
        assert len({row["source_path"] for row in rows}) == len(rows)
        return {row["source_path"]: row for row in rows}


@pytest.fixture(scope="module")
def job(run: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("whole")
    expected = archive.build(folder / "archive")
    return Job(folder, expected, run(provider_file(folder)))


def test_every_file_found_has_exactly_one_row_in_the_ledger(job: Job) -> None:
    assert sorted(job.ledger()) == archive.listing(job.folder / "archive")
    assert job.finished["ledger"]["files"] == len(job.ledger()) == sum(job.finished["ledger"]["by_state"].values())


def test_every_file_ends_where_it_must(job: Job) -> None:
    rows = job.ledger()
    ends = {path: row["reason"] and Reason(row["reason"]) for path, row in rows.items()}
    copies = archive.one_of(job.expected)
    for pair in copies:
        assert {ends[path] for path in pair} == {job.expected[path] for path in pair}
    either = {path for pair in copies for path in pair}
    wrong = {p: (ends.get(p), reason) for p, reason in job.expected.items() if p not in either and ends[p] != reason}
    assert not wrong
    assert set(ends) == set(job.expected)
    for row in rows.values():
        assert row["state"] == (Reason(row["reason"]).state if row["reason"] else "curated")
        assert (row["volume_id"] is not None) == (row["state"] == "curated")


def test_the_release_passes_verification(job: Job) -> None:
    report = verify(Store(str(job.target)))
    assert (report.version, report.is_current, report.problems) == ("v1", True, ())


def test_tables_refer_to_each_other_and_to_the_ledger(job: Job) -> None:
    volumes, series, studies, subjects = (job.table(t) for t in ("volumes", "series", "studies", "subjects"))
    assert {v["SeriesInstanceUID"] for v in volumes} == {s["SeriesInstanceUID"] for s in series}
    assert {s["study_id"] for s in series} == {s["study_id"] for s in studies}
    assert {s["subject_id"] for s in studies} == {s["subject_id"] for s in subjects}
    assert {v["volume_id"] for v in volumes} == {q["volume_id"] for q in job.table("quality")}
    curated = [row for row in job.ledger().values() if row["state"] == "curated"]
    assert {row["volume_id"] for row in curated} == {v["volume_id"] for v in volumes}
    assert {row["cohort_series_uid"] for row in curated} == {s["SeriesInstanceUID"] for s in series}
    for name in ("volumes", "series", "studies", "subjects", "quality"):
        key = tables.TABLES[name].key
        rows = job.table(name)
        assert len({tuple(row[k] for k in key) for row in rows}) == len(rows) > 0
    counts = {s["subject_id"]: s["volumes"] for s in subjects}
    assert sum(counts.values()) == len(volumes) == job.finished["volumes"]


def test_one_patient_with_three_modalities_is_one_subject_with_one_study(job: Job) -> None:
    (subject,) = [s for s in job.table("subjects") if s["series"] == 3]
    assert (subject["studies"], subject["volumes"]) == (1, 3)  # CT, PT and one MR of two time points
    (study,) = [s for s in job.table("studies") if s["subject_id"] == subject["subject_id"]]
    assert study["modalities"] == ["CT", "MR", "PT"]


def test_every_image_is_the_one_that_the_table_describes(job: Job) -> None:
    for row in job.table("volumes"):
        for grid in ("native", "harmonised"):
            path = job.target / row[f"{grid}_path"]
            assert sha256_hex(path.read_bytes()) == row[f"{grid}_sha256"]
            image = nib.load(path)
            assert np.array_equal(image.get_qform(), image.get_sform())
            assert image.shape[:3] == tuple(row[f"{grid}_shape"])
            assert np.allclose(image.affine, np.reshape(row[f"{grid}_affine"], (4, 4)), atol=1e-4)
            assert np.allclose(
                image.header.get_zooms()[:3], row[f"{grid}_spacing_mm"], atol=NATIVE_SPACING_TOLERANCE_MM
            )
            values = np.asanyarray(image.dataobj)
            if row[f"{grid}_dtype"] != "rgb24":
                assert (values.min(), values.max()) == pytest.approx((row[f"{grid}_min"], row[f"{grid}_max"]))


def test_repetitions_are_the_fourth_axis_of_both_images(job: Job) -> None:
    rows = {tuple(r["repeated_by"]): r for r in job.table("volumes") if r["repetitions"] > 1}
    counts = {by: (r["kind"], r["repetitions"]) for by, r in rows.items()}
    assert counts == {
        ("temporal_position",): ("volume", 2),
        ("b_value", "gradient"): ("volume", len(archive.DIFFUSION)),
        ("frame",): ("cine", archive.CINE_FRAMES),
    }
    for row in rows.values():
        for grid in ("native", "harmonised"):
            assert nib.load(job.target / row[f"{grid}_path"]).shape[3] == row["repetitions"]
    assert rows[("frame",)]["repetition_times_s"] == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_diffusion_series_has_fsl_files_in_the_axes_of_each_image(job: Job) -> None:
    (row,) = [r for r in job.table("volumes") if r["b_values"]]
    assert row["b_values"] == [b for b, _ in archive.DIFFUSION]
    for grid in ("native", "harmonised"):
        assert (job.target / row[f"{grid}_bval_path"]).read_text().split() == ["0", "500", "1000"]
        vectors = np.loadtxt(job.target / row[f"{grid}_bvec_path"])
        affine = nib.load(job.target / row[f"{grid}_path"]).affine
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        if np.linalg.det(axes) > 0:
            vectors = vectors * [[-1], [1], [1]]  # FSL's convention
        in_lps = np.diag([-1, -1, 1]) @ axes @ vectors
        assert pytest.approx(np.array([d or [0, 0, 0] for _, d in archive.DIFFUSION]), abs=1e-4) == in_lps.T


def test_a_pet_is_harmonised_to_suv(job: Job) -> None:
    (row,) = [r for r in job.table("volumes") if r["Modality"] == "PT"]
    assert (row["value_unit"], row["harmonised_unit"], row["suvbw_status"]) == (
        "Bq/ml",
        "SUVbw g/ml",
        "computed: BQML START",
    )
    means = [np.asanyarray(nib.load(job.target / row[f"{g}_path"]).dataobj).mean() for g in ("native", "harmonised")]
    assert means[1] == pytest.approx(means[0] * row["suvbw_factor"], rel=0.05)


def test_volumes_are_on_the_grid_of_their_profile(job: Job) -> None:
    by_modality: dict[str, list[dict[str, Any]]] = {}
    for row in job.table("volumes"):
        by_modality.setdefault(row["Modality"], []).append(row)
    assert {m: len(rows) for m, rows in by_modality.items()} == {
        "CT": 5,
        "MR": 3,
        "PT": 1,
        "CR": 2,
        "DX": 1,
        "MG": 1,
        "US": 2 if detector() is None else 3,  # one says nothing of text in its pixels, and has none
    }
    for row in (r for m in ("CT", "MR", "PT") for r in by_modality[m]):
        assert row["kind"] == "volume"
        assert row["harmonised_spacing_mm"] == pytest.approx([1, 1, 1])
        image = nib.load(job.target / row["harmonised_path"])
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    for row in by_modality["CT"]:
        values = np.asanyarray(nib.load(job.target / row["harmonised_path"]).dataobj)
        assert values.dtype == np.int16
        assert values.min() >= -1024
        assert values.max() <= 3071
    beyond = [r for r in by_modality["CT"] if r["native_max"] > 3071 and r["native_min"] < -1024]
    assert [(r["harmonised_min"], r["harmonised_max"]) for r in beyond] == [(-1024, 3071)]
    assert [r["inverted"] for r in by_modality["CR"]].count(True) == 1


def test_volume_json_and_preview_belong_to_their_volume(job: Job) -> None:
    for row in job.table("volumes"):
        described = json.loads((job.target / row["metadata_path"]).read_bytes())
        assert {k: described[k] for k in ("volume_id", "subject_id", "SeriesInstanceUID", "Modality", "recipe")} == {
            k: row[k] for k in ("volume_id", "subject_id", "SeriesInstanceUID", "Modality", "recipe")
        }
        assert len(described["slices"]) == row["number_of_slices"]
        assert described["harmonised"]["image"]["sha256"] == row["harmonised_sha256"]
        with Picture.open(io.BytesIO((job.target / row["preview_path"]).read_bytes())) as picture:
            assert picture.format == "PNG"
            assert len({value for _, value in picture.convert("L").getcolors(1 << 20)}) > 1


def test_only_what_is_listed_lies_in_the_target(job: Job) -> None:
    listed = tables.from_parquet((job.target / "releases/v1/manifest.parquet").read_bytes())
    present = {p.relative_to(job.target).as_posix() for p in job.target.rglob("*") if p.is_file()}
    assert present - {entry["path"] for entry in listed} == {"current.json", "releases/v1/manifest.parquet"}


def test_gates_of_all_stages_are_kept_in_the_release(job: Job) -> None:
    kept = {path.stem: json.loads(path.read_bytes()) for path in (job.target / "releases/v1/gates").iterdir()}
    assert set(kept) == {"objects", "series", "cohort", "volumes", "harmonised", "quality", "release"}
    assert all(verdict["rows"] > 0 for verdict in kept.values())
