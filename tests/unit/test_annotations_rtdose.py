"""Dose grids: values in Gy, both forms of plane offsets, any orientation, and every way in which one is bad."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from oncurate.annotations import rtdose, source
from oncurate.annotations.model import ScalarMap, grid_affine_lps
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import phantoms
from tests.structure_sets import dose, written

VALUES = np.random.default_rng(0).integers(0, 60_000, (5, 6, 4)).astype(np.uint16)
"""Planes, rows, columns."""
FEET_FIRST = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def decoded(ds: Dataset) -> ScalarMap:
    return rtdose.decode(source.opened(written(ds)))


def refused(ds: Dataset) -> Rejection:
    with pytest.raises(Rejection) as refusal:
        decoded(ds)
    return refusal.value


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_values_are_in_gray(dtype: type) -> None:
    stored = VALUES.astype(dtype) * (1 if dtype is np.uint16 else 60_000)
    found = decoded(dose(stored, 2.5e-5))
    assert found.unit == "Gy"
    assert found.array.dtype == np.float32
    assert found.array.shape == (4, 6, 5)
    np.testing.assert_allclose(found.array, stored.transpose(2, 1, 0) * 2.5e-5, rtol=1e-6)


def test_the_grid_is_that_of_the_planning_system() -> None:
    grid = decoded(dose(VALUES)).geometry
    assert grid.origin == (-10.0, -20.0, 30.0)
    assert grid.spacing == (2.0, 2.5, 3.0)
    assert grid.shape == (4, 6, 5)
    assert grid.regularly_spaced_3d_volume


def test_terms_are_kept_and_other_text_is_not() -> None:
    found = decoded(dose(VALUES, DoseSummationType="DOE^TEST", TissueHeterogeneityCorrection=["IMAGE", "WATER"]))
    assert found.terms == {"DoseType": "PHYSICAL", "TissueHeterogeneityCorrection": "IMAGE\\WATER"}


@pytest.mark.parametrize(
    ("orientation", "offsets", "order"),
    [
        (phantoms.AXIAL, [0, 3, 6, 9, 12], 1),
        (phantoms.AXIAL, [30, 33, 36, 39, 42], 1),  # z coordinates: the first is that of the position
        (phantoms.AXIAL, [0, -3, -6, -9, -12], -1),
        (phantoms.AXIAL, [30, 27, 24, 21, 18], -1),
        (FEET_FIRST, [0, 3, 6, 9, 12], 1),  # along the normal, which points to the feet
        (FEET_FIRST, [30, 27, 24, 21, 18], 1),
        (FEET_FIRST, [30, 33, 36, 39, 42], -1),
        (phantoms.turned(10, 20, 30), [0, 3, 6, 9, 12], 1),
        (phantoms.turned(10, 20, 30), [0, -3, -6, -9, -12], -1),
    ],
)
def test_every_plane_is_where_its_offset_says(orientation: tuple, offsets: list[float], order: int) -> None:
    found = decoded(dose(VALUES, ImageOrientationPatient=list(orientation), GridFrameOffsetVector=offsets))
    position = np.array([-10.0, -20.0, 30.0])
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    affine = grid_affine_lps(found.geometry)
    for plane, offset in enumerate(offsets):
        expected = position + offset * normal if offsets[0] == 0 else np.array([*position[:2], offset])
        k = plane if order > 0 else len(offsets) - 1 - plane
        np.testing.assert_allclose((affine @ [0, 0, k, 1])[:3], expected, atol=1e-6)
        np.testing.assert_allclose(found.array[:, :, k], VALUES[plane].T * 0.001, rtol=1e-6)
    assert np.linalg.det(affine[:3, :3]) > 0


def test_a_dose_in_one_plane_needs_a_thickness() -> None:
    single = {"GridFrameOffsetVector": None}
    found = decoded(dose(VALUES[:1], SliceThickness=4.0, **single))
    assert found.geometry.spacing == (2.0, 2.5, 4.0)
    assert found.array.shape == (4, 6, 1)
    assert refused(dose(VALUES[:1], **single)).reason == Reason.MISSING_ATTRIBUTE
    assert refused(dose(VALUES[:1], SliceThickness=0.0, **single)).reason == Reason.IMPLAUSIBLE_HEADER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"DoseUnits": "RELATIVE"}, Reason.DOSE_NOT_IN_GRAY),
        ({"DoseUnits": None}, Reason.DOSE_NOT_IN_GRAY),
        ({"DoseGridScaling": None}, Reason.MISSING_ATTRIBUTE),
        ({"DoseGridScaling": 0.0}, Reason.IMPLAUSIBLE_HEADER),
        ({"DoseGridScaling": "nan"}, Reason.IMPLAUSIBLE_HEADER),
        ({"DoseGridScaling": "1e40"}, Reason.VALUES_NOT_FINITE),
        ({"GridFrameOffsetVector": [0, 3, 6, 9.5, 12]}, Reason.DOSE_GRID_UNEVEN),
        ({"GridFrameOffsetVector": [0, 3, 6, 12, 15]}, Reason.DOSE_GRID_UNEVEN),
        ({"GridFrameOffsetVector": [0, 3, 3, 6, 9]}, Reason.DOSE_GRID_UNEVEN),
        ({"GridFrameOffsetVector": [1, 4, 7, 10, 13]}, Reason.DOSE_GRID_UNEVEN),
        (
            {"GridFrameOffsetVector": [30, 33, 36, 39, 42], "ImageOrientationPatient": list(phantoms.turned(9, 0, 0))},
            Reason.DOSE_GRID_UNEVEN,
        ),
        ({"GridFrameOffsetVector": [0, 3, 6]}, Reason.IMPLAUSIBLE_HEADER),
        ({"GridFrameOffsetVector": None}, Reason.MISSING_GEOMETRY),
        ({"ImagePositionPatient": None}, Reason.MISSING_GEOMETRY),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}, Reason.SHEARED_ORIENTATION),
        ({"PixelSpacing": [0, 2]}, Reason.IMPLAUSIBLE_HEADER),
        ({"PixelData": None}, Reason.NO_PIXEL_DATA),
        ({"NumberOfFrames": 6}, Reason.TRUNCATED_PIXEL_DATA),
    ],
)
def test_a_bad_dose_is_refused(changes: dict[str, object], reason: Reason) -> None:
    assert refused(dose(VALUES, **changes)).reason == reason


def test_compressed_dose() -> None:
    ds = dose(VALUES)
    expected = decoded(ds).array
    ds.compress(RLELossless)
    np.testing.assert_array_equal(decoded(ds).array, expected)


def test_the_files_that_pydicom_ships_are_relative() -> None:
    path = get_testdata_file("rtdose.dcm")
    with pytest.raises(Rejection) as refusal, open(path, "rb") as stream:
        rtdose.decode(source.opened(stream.read()))
    assert refusal.value.reason == Reason.DOSE_NOT_IN_GRAY
