"""NIfTI files: read back by us and by nibabel."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from oncurate import nifti
from oncurate.errors import Defect
from oncurate.image import Image
from tests import phantoms

OBLIQUE = np.array(
    [
        [-0.7030, -0.0379, -0.0219, 96.6],
        [-0.0380, 0.7021, 0.1485, -78.6],
        [-0.0033, -0.0350, 2.9962, -33.5],
        [0, 0, 0, 1],
    ]
)


def image(dtype: str = "int16", affine: np.ndarray = OBLIQUE, **flags: bool) -> Image:
    return Image(phantoms.voxels(3, 4, 5).astype(dtype).transpose(2, 1, 0)[:, ::-1], affine, **flags)


def independent(data: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_nibabel_reads_the_same_voxels_and_matrix(dtype: str) -> None:
    given = image(dtype)
    found = independent(nifti.write(given))
    assert found.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(found.dataobj), given.array)
    np.testing.assert_allclose(found.get_sform(), OBLIQUE, atol=1e-5)
    assert found.header.get_xyzt_units() == ("mm", "unknown")
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == (1, 1)
    assert (found.dataobj.slope, found.dataobj.inter) == (1.0, 0.0)
    assert found.header["descrip"] == b""


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (180, 0, 0), (0, 180, 0), (0, 0, 180), (90, 90, 0), (12, -70, 155)])
def test_the_quaternion_says_the_same_as_the_matrix(handed: int, degrees: tuple[float, float, float]) -> None:
    x, y, z = np.radians(degrees)
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rx @ ry @ rz @ np.diag([0.7, 0.8, 2.5 * handed])
    affine[:3, 3] = [10, -20, 30]
    found = independent(nifti.write(image(affine=affine)))
    np.testing.assert_allclose(found.get_qform(), affine, atol=1e-4)
    np.testing.assert_allclose(found.get_sform(), affine, atol=1e-5)


def test_colour_is_rgb24() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (5, 4, 1, 3)).astype(np.uint8)
    data = nifti.write(Image(rgb, np.eye(4), in_patient=False, is_colour=True))
    found = independent(data)
    assert int(found.header["datatype"]) == 128
    voxels = np.asarray(found.dataobj)
    np.testing.assert_array_equal(np.stack([voxels[c] for c in "RGB"], -1), rgb)
    np.testing.assert_array_equal(nifti.read(data).array, rgb)


@pytest.mark.parametrize("flags", [{}, {"in_patient": False}, {"in_patient": False, "has_unit": False}])
def test_what_is_read_is_what_was_written(flags: dict[str, bool]) -> None:
    given = image(**flags)
    found = nifti.read(nifti.write(given))
    np.testing.assert_array_equal(found.array, given.array)
    np.testing.assert_allclose(found.affine, given.affine, atol=1e-5)
    assert (found.in_patient, found.has_unit) == (given.in_patient, given.has_unit)


def test_the_same_image_gives_the_same_bytes_without_time_or_name() -> None:
    data = nifti.write(image())
    assert data == nifti.write(image())
    assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_what_does_not_fit_is_a_defect() -> None:
    with pytest.raises(Defect, match="32768"):
        nifti.write(Image(np.zeros((32768, 1, 1), np.int16), np.eye(4)))
    with pytest.raises(Defect, match="int64"):
        nifti.write(image("int64"))
    with pytest.raises(Defect, match="too short"):
        nifti.read(b"short")
    with pytest.raises(Defect, match="no such header"):
        nifti.read(bytes(1000))


@pytest.mark.parametrize(("dtype", "colour"), [("int16", False), ("float32", False), ("uint8", True)])
def test_repetitions_are_the_fourth_axis_and_their_step_is_in_seconds(dtype: str, colour: bool) -> None:
    shape = (5, 4, 1, 7, 3) if colour else (5, 4, 3, 7)
    array = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    given = Image(array, OBLIQUE, is_colour=colour, step_s=0.25)
    data = nifti.write(given)
    found = independent(data)
    assert found.shape == shape[:4]
    voxels = np.asarray(found.dataobj)
    np.testing.assert_array_equal(np.stack([voxels[c] for c in "RGB"], -1) if colour else voxels, array)
    assert (found.header["pixdim"][4], found.header.get_xyzt_units()) == (0.25, ("mm", "sec"))
    again = nifti.read(bytes(data))
    np.testing.assert_array_equal(again.array, array)
    assert (again.count, again.is_colour, again.step_s, again.has_unit) == (7, colour, 0.25, True)
    np.testing.assert_array_equal(again.repetition(3).array, array[:, :, :, 3])


def test_a_three_dimensional_image_stays_one() -> None:
    again = nifti.read(bytes(nifti.write(image())))
    assert (again.is_4d, again.count, again.step_s) == (False, 1, None)
    assert independent(nifti.write(image())).ndim == 3
