"""Faces in real and made images: every real head is found, nothing else is; made heads in many poses."""

from functools import cache

import numpy as np
import pytest

from benchmarks import fidelity_series
from oncurate import faces, faces_register
from oncurate.errors import Rejection
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason
from tests.golden.chain import shared_folder
from tests.unit.test_faces import NODDED, brain, check, ct_head, grid, mr_head, pose

pytestmark = pytest.mark.slow  # a registration costs seconds

MADE = {
    "fine": (mr_head, NODDED, grid()),
    "small": (mr_head, pose((0, 4, 0), (1.2, 1.2, 1.2)), grid()),
    "thick slices": (mr_head, pose((-6, 0, 0), (1, 1, 1), (0, 3, 0)), grid(spacing=(1.5, 1.5, 5.0))),
    "without the crown": (mr_head, NODDED, grid(high=(110.0, 150.0, 30.0))),
    "CT": (ct_head, NODDED, grid()),
    "prone, said to be supine": (mr_head, pose((0, 0, 180)), grid(low=(-110, -150, -130), high=(110, 140, 120))),
}

HEADS = {
    "neurolabusc+dcm_qa_ct": "CT",
    "neurolabusc+dcm_qa_canon_61": "MR",
    "neurolabusc+dcm_qa_me": "MR",
    "neurolabusc+dcm_qa_uih": "MR",
    "neurolabusc+dcm_qa_xa30": "MR",
}
"""Sources in the shared archive with a head that reaches down to the brow at least, and its modality."""


@pytest.mark.parametrize("case", MADE)
def test_made_heads_are_found_in_any_pose(case):
    check(MADE[case])


@cache
def volumes(source: str) -> list:
    """The volumes of a source's series, their modality with them."""
    root = shared_folder()
    if root is None:
        pytest.skip("the shared archive of real images is not there")
    policy = GeometryPolicy(gantry_tilt="shear", variable_spacing="resample")
    found = []
    for series in fidelity_series.find_series(root / "data" / source):
        if series.uid and series.modality in faces.MODALITIES:
            curated = fidelity_series.curate(series.files, policy)
            found += [(series.modality, planned, image) for planned, image in curated.volumes]
    return [v for v in found if faces.recognisable_face_possible(v[1].attributes, v[0], v[1].geometry)]


@pytest.mark.shared
@pytest.mark.parametrize("source", HEADS)
def test_every_real_head_is_found_the_same_each_time_and_keeps_its_brain(source):
    heads = [v for v in volumes(source) if v[0] == HEADS[source]]
    assert heads
    modality, _, image = heads[0]
    mask = faces.face_mask(image, modality)
    assert 0 < mask.mean() < 0.3
    assert np.array_equal(mask, faces.face_mask(image, modality))
    fit = faces_register.register(image, modality)
    assert brain(image, fit.affine).any()
    assert not (mask & brain(image, fit.affine)).any()


@pytest.mark.shared
def test_the_mask_of_a_sheared_head_lands_on_the_pixels_of_its_slices():
    modality, planned, image = volumes("neurolabusc+dcm_qa_ct")[0]
    mask = faces.face_mask(image, modality)
    masks = list(faces.slice_masks(mask, image.affine, planned))
    columns, rows, count = planned.geometry.shape
    assert [m.shape for m in masks] == [(rows, columns)] * count
    along = np.array([piece.position for piece in planned.slices]) @ planned.geometry.normal
    area = planned.geometry.spacing[0] * planned.geometry.spacing[1]
    removed = sum(m.sum() * step for m, step in zip(masks, np.gradient(along), strict=True)) * area
    assert 0.8 < removed / (mask.sum() * np.prod(image.spacing)) < 1.05  # the sheared grid is wider than a slice


@pytest.mark.shared
@pytest.mark.parametrize("source", ["oncoray+mirp", "pwoznicki+AutoRadiomics", "theibsi+data_sets"])
def test_other_parts_of_the_body_are_refused_or_ruled_out_by_their_header(source):
    for modality, _, image in volumes(source):
        if modality == "PT":  # whole body: the head is in it
            assert 0 < faces.face_mask(image, modality).mean() < 0.03
            continue
        with pytest.raises(Rejection) as refused:
            faces.face_mask(image, modality)
        assert refused.value.reason is Reason.FACE_NOT_LOCATED
