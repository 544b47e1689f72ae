"""Mosaics: every tile is the slice it was, where it was, or the file is refused with what is missing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from oncurate import pixels
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Instance
from tests import mosaics, phantoms
from tests.encoding import as_bytes, instance_of
from tests.golden.chain import oracle, raw_sha256, shared_folder

CONTENT = phantoms.voxels(7, 8, 6)
AXIAL_COSINES = tuple(phantoms.AXIAL)


def tiles(found: Instance, data: bytes) -> list[np.ndarray]:
    return pixels.decode_frames(found.locator, data, [f.index for f in found.frames])


def refused(ds: Dataset) -> tuple[Reason, str]:
    with pytest.raises(Rejection) as caught:
        instance_of(as_bytes(ds))
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("orientation", [mosaics.OBLIQUE, AXIAL_COSINES, (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [7, None])
def test_every_tile_is_the_slice_it_was_where_it_was(orientation: Any, sign: int, count: int | None) -> None:
    data = as_bytes(mosaics.siemens(CONTENT, orientation=orientation, sign=sign, count=count))
    found = instance_of(data)
    assert (found.format.tiles, found.format.frame_size, found.format.NumberOfFrames) == ((8, 6), (8, 6), 1)
    assert (found.format.Rows, found.format.Columns) == (24, 18)
    expected = mosaics.places(7, orientation, 4.0, sign=sign)
    np.testing.assert_allclose([f.position for f in found.frames], expected, atol=1e-6)
    assert {f.orientation for f in found.frames} == {tuple(orientation)}
    np.testing.assert_array_equal(tiles(found, data), CONTENT)


def test_tiles_of_one_file_share_their_keys_and_those_of_another_do_not() -> None:
    files = [instance_of(as_bytes(mosaics.siemens(CONTENT, number=n, AcquisitionNumber=n))) for n in (4, 5)]
    keys = [{tuple(sorted(f.keys.items())) for f in found.frames} for found in files]
    assert [len(k) for k in keys] == [1, 1]
    assert keys[0] != keys[1]
    assert [f.keys["instance_number"] for f in files[1].frames] == [5] * 7
    assert [f.number for f in files[1].frames] == [f.index for f in files[1].frames] == list(range(7))


def test_the_digest_is_over_the_image_as_stored() -> None:
    data = as_bytes(mosaics.siemens(CONTENT))
    found = instance_of(data)
    whole = found.locator.model_copy(update={"format": found.format.model_copy(update={"tiles": None})})
    assert pixels.digest(found.locator, data) == pixels.digest(whole, data) is not None


def test_the_step_comes_from_the_protocol_where_the_header_has_none() -> None:
    found = instance_of(as_bytes(mosaics.siemens(CONTENT, SpacingBetweenSlices=None)))
    np.testing.assert_allclose([f.position for f in found.frames], mosaics.places(7, mosaics.OBLIQUE, 4.0), atol=1e-5)


def test_without_a_protocol_the_header_is_believed() -> None:
    found = instance_of(as_bytes(mosaics.siemens(CONTENT, centres=[])))
    np.testing.assert_allclose(found.frames[6].position, mosaics.places(7, mosaics.OBLIQUE, 4.0)[6], atol=1e-6)


def test_a_volume_that_was_moved_after_planning_is_believed() -> None:
    planned = mosaics.places(7, AXIAL_COSINES, 4.0) + np.array([9.0, 8.0, 1.5])
    found = instance_of(as_bytes(mosaics.siemens(CONTENT, orientation=AXIAL_COSINES, centres=planned)))
    assert len(found.frames) == 7


AGAINST = (-np.cross(mosaics.OBLIQUE[:3], mosaics.OBLIQUE[3:])).tolist()
CENTRES = mosaics.places(7, mosaics.OBLIQUE, 4.0) + np.array([9, 8]) @ np.reshape(mosaics.OBLIQUE, (2, 3))


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"csa_fields": {}}, "NumberOfImagesInMosaic"),
        ({"csa_fields": {"NumberOfImagesInMosaic": [0]}}, "NumberOfImagesInMosaic"),
        ({"csa_fields": {"NumberOfImagesInMosaic": [20]}}, "NumberOfImagesInMosaic"),  # 5 x 5 does not divide 24 x 18
        ({"csa_fields": {"NumberOfImagesInMosaic": [7]}}, "SliceNormalVector"),
        ({"csa_fields": {"NumberOfImagesInMosaic": [7], "SliceNormalVector": [1, 0, 0]}}, "SliceNormalVector"),
        ({"csa_fields": {"NumberOfImagesInMosaic": [7], "SliceNormalVector": AGAINST}}, "SliceNormalVector"),
        ({"SpacingBetweenSlices": None, "centres": []}, "SpacingBetweenSlices"),
        ({"SpacingBetweenSlices": 0.0}, "SpacingBetweenSlices"),
        ({"SpacingBetweenSlices": 5.0}, "SpacingBetweenSlices"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"AcquisitionMatrix": [24, 0, 0, 24]}, "AcquisitionMatrix"),
    ],
)
def test_what_is_missing_or_contradicts_is_named(options: dict[str, Any], detail: str) -> None:
    assert refused(mosaics.siemens(CONTENT, **{"centres": CENTRES, **options})) == (Reason.MOSAIC, detail)


def test_a_mosaic_without_a_plane_is_refused() -> None:
    ds = mosaics.siemens(CONTENT, ImageOrientationPatient=[0.0, 0, 0, 0, 0, 0])
    assert refused(ds) == (Reason.SHEARED_ORIENTATION, "")


def test_a_mosaic_of_several_frames_or_another_vendor_is_refused() -> None:
    ds = phantoms.dataset(
        phantoms.voxels(2, 8, 6), modality="MR", sop_class=phantoms.MR, ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]
    )
    assert refused(ds) == (Reason.MOSAIC, "NumberOfFrames")
    ds = phantoms.dataset(modality="MR", sop_class=phantoms.MR, ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"])
    assert refused(ds) == (Reason.MOSAIC, "NumberOfImagesInMosaic")


@pytest.mark.parametrize("slices", [5, 6, 7])
def test_united_imaging_places_every_tile_and_leaves_out_empty_rows(slices: int) -> None:
    content, positions = CONTENT[:slices], mosaics.places(slices, mosaics.OBLIQUE, 5.0)
    data = as_bytes(mosaics.vframe(content, positions))
    found = instance_of(data)
    assert found.format.tiles == (8, 6)
    np.testing.assert_allclose([f.position for f in found.frames], positions, atol=1e-6)
    np.testing.assert_array_equal(tiles(found, data), content)


@pytest.mark.parametrize(
    ("positions", "detail"),
    [(np.zeros((6, 3)), "MRVFrameSequence"), (np.full((7, 3), np.nan), "ImagePositionPatient")],
)
def test_united_imaging_without_its_positions_is_refused(positions: np.ndarray, detail: str) -> None:
    assert refused(mosaics.vframe(CONTENT, positions)) == (Reason.MOSAIC, detail)


DATA = shared_folder()
REAL = [
    ("neurolabusc+dcm_qa_nih/In/20180918Si/mr_0003", "3_EPI_PE=AP.nii"),
    ("neurolabusc+dcm_qa_nih/In/20180918Si/mr_0004", "4_EPI_PE=PA.nii"),
    ("neurolabusc+dcm_qa_nih/In/20180918Si/mr_0005", "5_EPI_PE=RL.nii"),
    ("neurolabusc+dcm_qa_nih/In/20180918Si/mr_0006", "6_EPI_PE=LR.nii"),
    ("neurolabusc+dcm_qa_me/In/4_me_fMRI", "4_me_fMRI_e1.nii"),
    ("neurolabusc+dcm_qa_me/In/4_me_fMRI", "4_me_fMRI_e2.nii"),
    (
        "neurolabusc+dcm_qa_uih/In/DTI_132225/dti_tra_dir16_PA_rot_SaveBySlc__134057",
        "12_dti_tra_dir16_PA_rot_SaveBySlc.nii",
    ),
]


@pytest.mark.skipif(DATA is None, reason="the folder of real images is not there")
@pytest.mark.parametrize(("folder", "name"), REAL)
def test_real_mosaics_are_those_of_dcm2niix(folder: str, name: str) -> None:
    assert DATA is not None
    outputs = [o for series in oracle(DATA / "data") for o in series["outputs"] if o["name"] == name]
    by_echo = defaultdict(list)
    for path in sorted((DATA / "data" / folder).iterdir()):
        data = path.read_bytes()
        if path.suffix != ".txt":
            found = instance_of(data)
            keys = found.frames[0].keys
            by_echo[keys.get("echo_time")].append((keys["instance_number"], found, data))
    echoes = sorted(by_echo)
    files = sorted(by_echo[echoes[1 if name.endswith("_e2.nii") else 0]], key=lambda item: item[0])
    array = np.stack([np.stack(tiles(found, data))[:, ::-1] for _, found, data in files], axis=-1)
    frames = files[0][1].frames
    assert raw_sha256(array.transpose(2, 1, 0, 3), outputs[0]) == outputs[0]["sha256_raw"]
    last_row = np.array(frames[0].orientation[3:]) * frames[0].spacing[0] * (array.shape[1] - 1)
    lps = (np.array(frames[0].position) + last_row, np.array(frames[1].position) - np.array(frames[0].position))
    affine = np.array(outputs[0]["affine"])
    np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], [affine[:3, 3], affine[:3, 2]], atol=1e-3)
