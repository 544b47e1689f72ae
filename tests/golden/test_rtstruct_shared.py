"""Real structure sets: our label maps against the masks that come with them, and what is told of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from benchmarks import dice_samples
from benchmarks.dice_samples import SAMPLES, Decoded
from oncurate.annotations import contours, rasterise, rtdose, source
from oncurate.annotations.model import grid_affine_lps
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests.golden import chain

ROOT = chain.shared_folder()
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(ROOT is None, reason="the shared archive of real images is not here"),
]
BY_NAME = {sample.name: sample for sample in SAMPLES}


def decoded(name: str) -> Decoded:
    assert ROOT is not None
    return dice_samples.decoded(ROOT / "data", BY_NAME[name])


@pytest.mark.parametrize("modality", ["CT", "PET", "MR_T1"])
def test_the_masks_of_the_ibsi_samples_are_ours_to_the_voxel(modality: str) -> None:
    found = decoded(f"IBSI STS_025 {modality}")
    assert found.mask is not None
    np.testing.assert_array_equal(found.label_map.mask(1), found.mask)
    # the samples' images were given new instance UIDs when they were exported; their frame of reference stayed
    assert found.label_map.flags[1] == ("unresolved_references=15",)


@pytest.mark.parametrize("name", ["DRO 0_0", "DRO 2_4"])
def test_the_mask_of_the_reference_objects_is_another_thing_than_their_contour(name: str) -> None:
    """The mask is the whole phantom: 18 slices, radius 60 voxels. The contour was drawn inside it: 16, radius 59.

    So the Dice of 0.92 is that of the two, and ours is the contour: within the mask, and of the contour's own area.
    """
    assert ROOT is not None
    found = decoded(name)
    assert found.mask is not None
    ours = found.label_map.mask(3)
    assert not (ours & ~found.mask).any()
    assert np.flatnonzero(ours.any(axis=(0, 1))).tolist() == list(range(2, 18))
    assert np.flatnonzero(found.mask.any(axis=(0, 1))).tolist() == list(range(1, 19))
    to_index = np.linalg.inv(grid_affine_lps(found.grid))
    [drawn] = dcmread(ROOT / "data" / BY_NAME[name].structures).ROIContourSequence
    read = [contours.read(item, to_index, found.grid.spacing) for item in drawn.ContourSequence]
    area = sum(rasterise.area(one.points) for one in read if one is not None)
    assert ours.sum() == pytest.approx(area, rel=3e-3)
    assert dice_samples.dice(ours, found.mask) == pytest.approx(2 * area / (area + found.mask.sum()), abs=2e-3)


def test_structures_that_overlap_on_a_whole_body_pet_lie_in_two_layers() -> None:
    found = decoded("STS_001 PET").label_map
    assert [label.source_number for label in found.labels] == [1, 2]
    assert found.flags == {}
    assert found.skipped == ()
    assert len(found.layers) == 2
    assert (found.mask(1) & found.mask(2)).any()


@pytest.mark.parametrize("name", ["rt-utils invalid reference", "rt-utils no reference"])
def test_a_contour_on_a_slice_that_is_missing_is_counted(name: str) -> None:
    found = decoded(name).label_map
    assert len(found.labels) == 4
    assert all(flags == ("contours_outside=1", "unresolved_references=1") for flags in found.flags.values())


def test_a_set_of_98_slices_of_which_one_is_there() -> None:
    found = decoded("dicompyler, one slice of 98").label_map
    assert found.flags == {1: ("contours_outside=137", "unresolved_references=137"), 2: ("declared_empty",)}
    assert {slug for _, slug in found.skipped} == {Reason.UNRESOLVED_REFERENCE}


def test_every_dose_of_the_samples_is_relative() -> None:
    assert ROOT is not None
    paths = sorted((ROOT / "data/pydicom+pydicom/src/pydicom/data/test_files").glob("rtdose*.dcm"))
    assert len(paths) == 6
    for path in paths:
        with pytest.raises(Rejection) as refusal:
            rtdose.decode(source.opened(path.read_bytes()))
        assert refusal.value.reason == Reason.DOSE_NOT_IN_GRAY
