"""A real tilted head CT at three distances between slices: our corrections against dcm2niix's, and against the slices.

This series is one that dcm2niix corrects rightly, so both grids must be one. On made stacks that are tilted the other
way its `_Tilt` images are off: by part of a pixel in axial slices, by the whole shift in oblique ones.
`tests/unit/test_regrid.py` holds ours to the positions either way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oncurate import regrid
from oncurate.convert import affine_of, convert
from oncurate.geometry import lay_out
from oncurate.pixels import decode_frames
from oncurate.plan import plan_series
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason
from oncurate.records import CohortVolume, Instance
from tests.golden import chain

ROOT = chain.shared_folder()
TILTED = "150714813892"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(ROOT is None, reason="the shared archive of real images is not here"),
]


@pytest.fixture(scope="module")
def files() -> list[Instance]:
    assert ROOT is not None
    [series] = [s for s in chain.oracle(ROOT / "data") if s["series_uid"].endswith(TILTED)]
    return chain.series_of(ROOT / "data", series["source"])[series["series_uid"]][0]


def test_all_slices_on_one_grid_are_what_dcm2niix_makes_of_them(files: list[Instance]) -> None:
    assert ROOT is not None
    frames = [i.frames[0] for i in files]
    layout = lay_out(
        np.array([f.position for f in frames]),
        np.array([f.orientation for f in frames]),
        np.array([f.spacing for f in frames]),
        np.array([i.format.frame_size for i in files]),
    )
    assert layout.refusal is not None
    assert layout.refusal.detail == "1.08 to 7.00 mm, also tilted by 18.5 degrees"
    ordered = [files[n] for n in layout.order]
    stored = [decode_frames(i.locator, Path(i.url).read_bytes(), [0])[0] for i in ordered]
    assert {(f.slope, f.intercept) for f in frames} == {(1.0, 0.0)}
    positions = np.array([i.frames[0].position for i in ordered])
    found, geometry, _ = regrid.even_out(np.stack(stored), positions, layout.geometry)
    [theirs] = [
        output
        for series in chain.oracle(ROOT / "data")
        for output in series["outputs"]
        if series["series_uid"].endswith(TILTED) and "Tilt_Eq" in output["name"]
    ]
    assert list(geometry.shape) == theirs["shape"]
    np.testing.assert_allclose(affine_of(geometry), theirs["affine"], atol=1e-3)
    assert (found.min(), found.max()) == (theirs["min"], theirs["max"])
    # samples between two slices of which only one reaches: theirs mix it with the surroundings, ours are outside
    print(f"mean of ours {found.mean():.4f}, of theirs {theirs['mean']:.4f}")
    assert abs(found.mean() - theirs["mean"]) < 1.0


@pytest.mark.parametrize("policy", [GeometryPolicy(), GeometryPolicy(gantry_tilt="shear")])
def test_slices_that_are_tilted_and_uneven_need_both_policies(files: list[Instance], policy: GeometryPolicy) -> None:
    planned, outcomes = plan_series(files, lambda i: i.object, policy)
    assert planned is None
    assert {o.reason for o in outcomes} == {Reason.UNEVEN_SPACING}


def test_both_policies_make_one_volume_of_it(files: list[Instance]) -> None:
    policy = GeometryPolicy(gantry_tilt="shear", variable_spacing="resample")
    planned, outcomes = plan_series(files, lambda i: i.object, policy)
    assert not outcomes
    assert planned is not None
    assert [(len(v.slices), v.correction, v.split_by) for v in planned.volumes] == [(len(files), "resample", ())]


def test_a_policy_makes_a_volume_of_its_thin_half_that_holds_every_slice(files: list[Instance]) -> None:
    thinnest = min(i.frames[0].keys["thickness"] for i in files)
    thin = [i for i in files if i.frames[0].keys["thickness"] == thinnest]
    planned, outcomes = plan_series(thin, lambda i: i.object, GeometryPolicy(gantry_tilt="shear"))
    assert not outcomes
    assert planned is not None
    assert [(len(v.slices), v.correction) for v in planned.volumes] == [(14, "shear")]
    locators = {i.object: i.locator for i in files}
    for volume in planned.volumes:
        wrapped = CohortVolume(volume_id="x", recipe="x", planned=volume, masked=False)
        image, *_, steps = convert(wrapped, "CT", locators, lambda url: Path(url).read_bytes())
        assert steps[-1].name == "shear"
        for k, piece in enumerate(volume.slices):
            stored = decode_frames(locators[piece.object], Path(locators[piece.object].url).read_bytes(), [0])[0]
            origin = np.array(piece.position) * [-1, -1, 1]  # RAS mm of the centre of the first pixel
            i, j, slice_ = (np.linalg.inv(image.affine) @ [*origin, 1])[:3]
            assert (i, slice_) == pytest.approx((0, k), abs=1e-3)
            plane = image.array[:, :, k].T.astype(float)  # rows from the last
            at_place, one_off = (_difference(plane, stored, j + shift) for shift in (0.0, 1.0))
            assert at_place < 0.5 * one_off


def _difference(plane: np.ndarray, stored: np.ndarray, first: float) -> float:
    """Mean difference of stored values to `plane`, in which row r of them lies at row `first` - r."""
    rows = first - np.arange(1, len(stored) - 1)
    below = np.floor(rows).astype(int)
    weights = (rows - below)[:, None]
    found = plane[below] * (1 - weights) + plane[np.minimum(below + 1, len(plane) - 1)] * weights
    return float(np.abs(found - stored[1:-1]).mean())
