"""Our native volumes against the outputs of dcm2niix on the same real files: shape, matrix (1e-3 mm) and every voxel.

Verdicts: `identical`; `reoriented`: identical after turning both to the nearest patient axes; `other scale`: identical
stored values under another scale; `reordered`: the volumes of a 4-D output in another order; `float rounding`: float32
values whose least, greatest and mean agree to 1e-5; `absent: <reasons>`: we refused the series; `different`: anything
else, which is never right.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from oncurate.image import Image
from oncurate.records import PlannedVolume
from tests.golden import chain
from tests.golden.differences import DIFFERENCES

ROOT = chain.shared_folder()
ORACLE = chain.oracle(ROOT / "data") if ROOT else []
AFFINE_TOLERANCE_MM = 1e-3
FLOAT_TOLERANCE = 1e-5
MAX_REORDERED = 4
"""4-D outputs of up to this many volumes are compared in every order."""
VERDICTS = (
    "identical",
    "float rounding",
    "other scale",
    "reoriented",
    "reoriented, other scale",
    "reordered, identical",
    "reordered, other scale",
    "different",
)
"""From best to worst."""

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(ROOT is None, reason="the shared archive of real images is not here"),
]


def _curated(series: dict[str, Any]) -> chain.Curated:
    assert ROOT is not None
    instances, refused = chain.series_of(ROOT / "data", series["source"]).get(series["series_uid"], ([], []))
    return chain.curate(instances, refused)


def _to_patient_axes(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.ascontiguousarray(array), affine, dtype=array.dtype))
    return np.asarray(turned.dataobj), turned.affine


def _stored(planned: PlannedVolume, array: np.ndarray) -> np.ndarray:
    """Values before the rescale, which is one for the whole volume here."""
    first = planned.slices[0]
    return np.round((array.astype(np.float64) - first.intercept) / first.slope)


def _verdict(volumes: list[tuple[PlannedVolume, Image]], output: dict[str, Any]) -> str:
    """The best verdict over all runs of consecutive volumes that have the output's shape."""
    found = {"different"}
    count = output["shape"][3] if len(output["shape"]) == 4 else 1
    for start in range(len(volumes) - count + 1):
        run = volumes[start : start + count]
        for turned in (False, True):
            found.add(_compare(run, output, turned=turned))
        for reordered in permutations(run) if 1 < count <= MAX_REORDERED else ():
            verdict = _compare(list(reordered), output, turned=False)
            found.add("different" if verdict == "different" else f"reordered, {verdict}")
    return min(found, key=VERDICTS.index)


def _compare(run: list[tuple[PlannedVolume, Image]], output: dict[str, Any], *, turned: bool) -> str:
    def oriented(image: Image, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _to_patient_axes(values, image.affine) if turned else (values, image.affine)

    arrays, affines = zip(*(oriented(image, image.array) for _, image in run), strict=True)
    if any(list(a.shape[:3]) != output["shape"][:3] for a in arrays):
        return "different"
    if np.abs(affines[0] - np.array(output["affine"])).max() > AFFINE_TOLERANCE_MM:
        return "different"
    whole = np.stack(arrays, axis=-1) if len(output["shape"]) == 4 else arrays[0]
    if chain.raw_sha256(whole, output) == output["sha256_raw"]:
        return "reoriented" if turned else "identical"
    figures = np.array([whole.min(), whole.max(), whole.mean(dtype=np.float64)])
    theirs = np.array([output["min"], output["max"], output["mean"]])
    if whole.dtype.name == output["dtype"] == "float32" and np.allclose(
        figures, theirs, rtol=FLOAT_TOLERANCE, atol=1e-5
    ):
        return "different" if turned else "float rounding"
    stored = [oriented(image, _stored(planned, image.array))[0] for planned, image in run]
    raw = np.stack(stored, axis=-1) if len(output["shape"]) == 4 else stored[0]
    if chain.raw_sha256(raw, output | {"slope": 1.0, "inter": 0.0}) == output["sha256_raw"]:
        return "reoriented, other scale" if turned else "other scale"
    return "different"


@pytest.mark.parametrize("series", ORACLE, ids=[f"{s['source'][:20]}-{s['series_uid'][-12:]}" for s in ORACLE])
def test_every_output_is_identical_or_a_listed_difference(series: dict[str, Any]) -> None:
    curated = _curated(series)
    for output in series["outputs"]:
        absent = f"absent: {', '.join(sorted(curated.reasons))}"
        verdict = _verdict(curated.volumes, output) if curated.volumes else absent
        expected, why = DIFFERENCES.get((series["series_uid"][-12:], output["name"]), ("identical", "regular series"))
        print(f"{series['source'][:24]:24} {output['name'][:36]:36} {verdict}: {why}")
        assert verdict == expected, why


def test_every_listed_difference_is_an_output_of_the_oracle() -> None:
    outputs = {(s["series_uid"][-12:], o["name"]) for s in ORACLE for o in s["outputs"]}
    assert set(DIFFERENCES) <= outputs


@pytest.mark.parametrize("uid", sorted({uid for (uid, _), (v, _) in DIFFERENCES.items() if v == "float rounding"}))
def test_float_volumes_agree_voxel_by_voxel(uid: str, tmp_path: Path) -> None:
    program = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    series = next(s for s in ORACLE if s["series_uid"].endswith(uid))
    assert ROOT is not None
    instances, _ = chain.series_of(ROOT / "data", series["source"])[series["series_uid"]]
    given = tmp_path / "given"
    given.mkdir()
    for n, instance in enumerate(instances):
        shutil.copyfile(instance.url, given / f"{n:04d}.dcm")
    subprocess.run([program, "-b", "n", "-z", "n", "-o", str(tmp_path), str(given)], check=True, capture_output=True)
    theirs = nibabel.load(next(tmp_path.glob("*.nii"))).get_fdata()
    [(_, ours)] = _curated(series).volumes
    np.testing.assert_allclose(ours.array, theirs, rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE * np.abs(theirs).max())
