"""Our native volumes against dcm2niix on real files: its recorded outputs, judged by the benchmark's rules.

Belongs here: that dcm2niix still writes what was recorded, that every output is identical or explained, and how many of
each kind there are. Does not belong here: the rules (`benchmarks.fidelity_rules`), tests of theirs without real files
(`tests.golden.test_fidelity_rules`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks import fidelity, fidelity_references, fidelity_series, oracle
from benchmarks.fidelity_series import Found
from benchmarks.fidelity_voxels import AFFINE_TOLERANCE_MM
from benchmarks.oracle import Output
from tests.golden import chain

ROOT = chain.shared_folder()
ORACLE = chain.oracle(ROOT / "data") if ROOT else []

EXPECTED = {
    "identical": 49,
    "identical + turned to patient axes": 5,
    "float rounding": 3,
    "float rounding + turned to patient axes": 3,
    "float rounding + reordered": 1,
    "identical + no diffusion table": 1,
    "excluded + secondary_capture": 5,
    "excluded + localizer": 1,
    "quarantined + missing_slices": 2,
    "second output + missing_slices": 2,
    "quarantined + uneven_spacing": 1,
    "second output + uneven_spacing": 1,
    "second output": 1,
    "quarantined + inconsistent_identity": 1,
    "quarantined + truncated_pixel_data + multiframe_not_a_volume": 1,
}
"""Outputs of the recorded series by verdict. A volume more or less, or a new difference, changes a number."""

REFERENCES = {
    "identical": 15,
    "identical + turned to patient axes": 15,
    "same grid": 5,
    "float rounding + turned to patient axes": 4,
    "split differently": 1,
    "excluded + secondary_capture": 1,
    "turned to patient axes + other scale": 1,
    "empty there": 1,
}
"""NIfTI files that the authors of the samples made themselves, by verdict."""

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(ROOT is None, reason="the shared archive of real images is not here"),
]


@cache
def _found() -> dict[tuple[str, str], Found]:
    assert ROOT is not None
    return {(one.label, one.uid): one for one in fidelity_series.find_series(ROOT / "data")}


@cache
def _judged(source: str, uid: str) -> fidelity.Judged:
    return fidelity.judge_series(_found()[source, uid], 1)


@pytest.mark.parametrize("series", ORACLE, ids=[f"{s['source'][:20]}-{s['series_uid'][-12:]}" for s in ORACLE])
def test_every_output_is_identical_or_explained(series: dict[str, Any]) -> None:
    judged = _judged(series["source"], series["series_uid"])
    for row in judged.rows:
        print(*row.cells, sep=" | ")
    assert [row.verdict.why for row in judged.rows if not row.verdict.is_explained] == []


@pytest.mark.parametrize("series", ORACLE, ids=[f"{s['source'][:20]}-{s['series_uid'][-12:]}" for s in ORACLE])
def test_dcm2niix_still_writes_what_was_recorded(series: dict[str, Any]) -> None:
    assert ROOT is not None
    recorded = json.loads((ROOT / "data" / "dcm2niix_oracle.json").read_text())["version"]
    if oracle.version() != recorded:
        pytest.skip("another version of dcm2niix is installed than the one that was recorded")
    written = list(_judged(series["source"], series["series_uid"]).outputs)
    assert len(written) == len(series["outputs"])
    for output in series["outputs"]:
        found = next((one for one in written if _is_recorded(one, output)), None)
        assert found is not None, (output["shape"], output["sha256_raw"])
        written.remove(found)


def _is_recorded(written: Output, output: dict[str, Any]) -> bool:
    raw = hashlib.sha256(np.ascontiguousarray(written.stored).tobytes()).hexdigest()[:16]
    same = (list(written.shape), raw) == (output["shape"], output["sha256_raw"])
    return same and np.allclose(written.affine, output["affine"], rtol=0, atol=AFFINE_TOLERANCE_MM)


def test_as_many_outputs_of_each_kind_as_expected() -> None:
    rows = [row for s in ORACLE for row in _judged(s["source"], s["series_uid"]).rows if row.is_output]
    assert Counter(row.verdict.label for row in rows) == EXPECTED


def test_images_and_masks_of_the_samples_authors_agree() -> None:
    assert ROOT is not None
    found = list(fidelity_references.judge_folder(ROOT / "data"))
    for one in found:
        print(one.number, one.label, one.theirs, one.verdict.label, one.verdict.why, sep=" | ")
    assert Counter(one.verdict.label for one in found) == REFERENCES
