"""Conversion: values, units, inversion, masks and where each voxel lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oncurate import geometry
from oncurate.convert import affine_of, convert, value_unit
from oncurate.errors import Rejection
from oncurate.image import Image
from oncurate.reasons import Reason
from oncurate.records import CohortVolume, PixelLocator, PlannedVolume, Repetition, Slice, Step
from tests import phantoms
from tests.unit import made


def volume(
    stored: np.ndarray,
    *,
    scales: list[tuple[float, float]] | None = None,
    modality: str = "CT",
    regions: tuple[tuple[int, int, int, int], ...] | None = None,
    attributes: dict[str, Any] | None = None,
    repetitions: tuple[Repetition, ...] = (Repetition(),),
    **form: Any,
) -> tuple[Image, str, bool, tuple[Step, ...]]:
    """Convert `stored` (slices, rows, columns), one made file for each slice; `repetitions` share the slices evenly."""
    slices, rows, columns = stored.shape
    planes = slices // len(repetitions)
    bits = stored.dtype.itemsize * 8
    base = {"BitsAllocated": bits, "BitsStored": bits, "PixelRepresentation": int(stored.dtype.kind == "i")}
    if stored.dtype.kind == "f":
        base["keyword"] = "FloatPixelData"
    pixel_format = made.pixel_format(**{**base, "Rows": rows, "Columns": columns, **form})
    files = {f"u{k}": b"head" + stored[k].tobytes() for k in range(slices)}
    locators = {
        f"o{k}": PixelLocator(object=f"o{k}", url=f"u{k}", bytes=len(files[f"u{k}"]), offset=4, format=pixel_format)
        for k in range(slices)
    }
    scales = scales or [(1.0, 0.0)] * slices
    planned = PlannedVolume(
        kind="volume",
        slices=tuple(
            Slice(object=f"o{k}", content=f"c{k}", frame=0, SOPInstanceUID=f"2.25.{k}", slope=s, intercept=i)
            for k, (s, i) in enumerate(scales)
        ),
        geometry=geometry.lay_out(
            np.array([[1.0, 2.0, 3.0 + 2 * k] for k in range(planes)]),
            np.tile(made.AXIAL, (planes, 1)),
            np.full((planes, 2), 0.5),
            np.tile((rows, columns), (planes, 1)),
        ).geometry,
        split_by=(),
        SamplesPerPixel=1,
        PhotometricInterpretation=pixel_format.PhotometricInterpretation,
        attributes=attributes or {},
        repetitions=repetitions,
    )
    wrapped = CohortVolume(
        volume_id="v", recipe="r", planned=planned, masked=regions is not None, regions=regions or ()
    )
    return convert(wrapped, modality, locators, files.__getitem__)


STORED = phantoms.voxels(3, 4, 5)


def test_voxels_are_stored_columns_first_rows_reversed() -> None:
    image, unit, inverted, steps = volume(STORED, scales=[(1.0, -1024.0)] * 3)
    assert image.shape == (5, 4, 3)
    assert image.array.dtype == np.int16
    np.testing.assert_array_equal(image.array, STORED.transpose(2, 1, 0)[:, ::-1] - 1024)
    assert (unit, inverted) == ("HU", False)
    assert [s.name for s in steps] == ["rescale"]


def test_the_matrix_places_every_corner() -> None:
    image, *_ = volume(STORED)
    first_pixel = image.affine @ [0, 3, 0, 1]  # column 0, row 0: the last j
    np.testing.assert_allclose(first_pixel[:3], [-1, -2, 3])
    next_column = image.affine @ [1, 3, 0, 1]
    np.testing.assert_allclose(next_column - first_pixel, [-0.5, 0, 0, 0])
    next_row = image.affine @ [0, 2, 0, 1]
    np.testing.assert_allclose(next_row - first_pixel, [0, -0.5, 0, 0])
    next_slice = image.affine @ [0, 3, 1, 1]
    np.testing.assert_allclose(next_slice - first_pixel, [0, 0, 2, 0])


@pytest.mark.parametrize(
    ("stored", "scale", "dtype"),
    [
        (STORED, (1.0, -1024.0), "int16"),
        (STORED.astype(np.uint16), (1.0, 0.0), "int16"),
        (STORED.astype(np.uint16) + 40000, (1.0, 0.0), "uint16"),
        (STORED.astype(np.uint16) + 40000, (1.0, -100.0), "uint16"),
        (STORED, (100.0, 0.0), "int32"),
        (STORED, (0.5, 0.0), "float32"),
        (STORED, (1.0, 0.25), "float32"),
        (STORED, (1e7, 0.0), "float32"),
        (STORED.astype(np.float32), (1.0, 0.0), "float32"),
        (STORED.astype(np.uint8), (1.0, 0.0), "int16"),
    ],
)
def test_the_smallest_type_that_holds_all_values_exactly(
    stored: np.ndarray, scale: tuple[float, float], dtype: str
) -> None:
    image, *_ = volume(stored, scales=[scale] * 3)
    assert image.array.dtype == dtype
    expected = (stored.astype(float) * scale[0] + scale[1]).transpose(2, 1, 0)[:, ::-1]
    np.testing.assert_allclose(image.array, expected, rtol=1e-7 if dtype == "float32" else 0)


def test_each_slice_has_its_own_rescale() -> None:
    image, *_ = volume(STORED, scales=[(1.0, 0.0), (2.0, 5.0), (1.0, -7.0)], modality="PT")
    for k, (slope, intercept) in enumerate([(1, 0), (2, 5), (1, -7)]):
        np.testing.assert_array_equal(image.array[:, ::-1, k].T, STORED[k] * slope + intercept)


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_inverted_once_over_its_codes(signed: bool) -> None:
    stored = STORED if signed else STORED.astype(np.uint16)
    image, _, inverted, steps = volume(stored, PhotometricInterpretation="MONOCHROME1", BitsStored=12, modality="DX")
    assert inverted
    assert steps[0] == Step(name="invert", arguments={"sum_of_codes": -1 if signed else 4095})
    np.testing.assert_array_equal(
        image.array[:, ::-1].transpose(2, 1, 0), (-1 if signed else 4095) - STORED.astype(int)
    )


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_monochrome1_does_not_turn_measured_values_round(modality: str) -> None:
    image, _, inverted, steps = volume(
        STORED, scales=[(1.0, -1024.0)] * 3, PhotometricInterpretation="MONOCHROME1", modality=modality
    )
    assert not inverted
    assert [s.name for s in steps] == ["rescale"]
    np.testing.assert_array_equal(image.array[:, ::-1].transpose(2, 1, 0), STORED - 1024)


def test_pixels_outside_the_regions_are_black() -> None:
    stored = STORED.astype(np.uint8) + 1
    image, _, _, steps = volume(stored, regions=((1, 0, 2, 1), (4, 3, 4, 3)), modality="US")
    kept = np.zeros(stored.shape, bool)
    kept[:, 0:2, 1:3] = kept[:, 3, 4] = True
    np.testing.assert_array_equal(image.array[:, ::-1].transpose(2, 1, 0), np.where(kept, stored, 0))
    assert steps[0].name == "mask"


def test_masked_and_inverted_is_black_too() -> None:
    stored = STORED.astype(np.uint8)
    image, *_ = volume(stored, regions=(), PhotometricInterpretation="MONOCHROME1", modality="US")
    assert not image.array.any()


def test_padding_is_left_alone() -> None:
    stored = STORED.copy()
    stored[0, 0, 0] = -2000
    image, *_ = volume(stored)
    assert image.array.min() == -2000


def test_values_that_overflow_are_refused() -> None:
    with pytest.raises(Rejection) as caught:
        volume(np.full((3, 4, 5), 3e38, np.float32), scales=[(10.0, 0.0)] * 3)
    assert caught.value.reason is Reason.VALUES_NOT_FINITE


@pytest.mark.parametrize(
    ("modality", "attributes", "unit"),
    [
        ("CT", {}, "HU"),
        ("CT", {"RescaleType": "HU"}, "HU"),
        ("CT", {"RescaleType": "US"}, "stored"),
        ("PT", {"Units": "BQML"}, "Bq/ml"),
        ("PT", {"Units": "CNTS"}, "counts"),
        ("PT", {"Units": "GML"}, "SUVbw g/ml"),
        ("PT", {"Units": "GML", "SUVType": "LBM"}, "GML"),
        ("PT", {}, "stored"),
        ("MR", {"RescaleType": "HU"}, "stored"),
    ],
)
def test_the_unit_of_values(modality: str, attributes: dict[str, str], unit: str) -> None:
    assert value_unit(modality, attributes) == unit


def test_a_projection_lies_like_an_axial_slice_without_a_place() -> None:
    plane = geometry.planar(None, None, (0.1, 0.2), (30, 20), thickness=1.0, spacing_source="ImagerPixelSpacing")
    np.testing.assert_allclose(affine_of(plane), [[-0.2, 0, 0, 0], [0, 0.1, 0, -2.9], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_repetitions_follow_each_other_along_the_fourth_axis() -> None:
    stored = np.arange(6 * 3 * 4, dtype=np.int16).reshape(6, 3, 4)
    times = tuple(Repetition(time_s=1.5 * n) for n in range(3))
    image, *_ = volume(stored, modality="MR", repetitions=times)
    assert (image.shape, image.count, image.step_s) == ((4, 3, 2), 3, 1.5)
    for n in range(3):
        alone, *_ = volume(stored[2 * n : 2 * n + 2], modality="MR")
        np.testing.assert_array_equal(image.repetition(n).array, alone.array)
        np.testing.assert_array_equal(image.affine, alone.affine)


def test_each_repetition_has_its_own_rescale() -> None:
    stored = np.full((4, 3, 4), 10, np.int16)
    scales = [(0.5, 0.0), (0.5, 0.0), (2.0, 1.0), (2.0, 1.0)]
    image, *_ = volume(stored, modality="PT", scales=scales, repetitions=(Repetition(), Repetition()))
    assert [image.repetition(n).array.ravel()[0] for n in range(2)] == [5.0, 21.0]
    assert image.step_s is None


@pytest.mark.parametrize(("times", "step"), [((0, 1, 2.02), 1.01), ((0, 1, 3), None), ((0, None, 2), None)])
def test_only_even_steps_in_time_are_one_number(times: tuple[float | None, ...], step: float | None) -> None:
    image, *_ = volume(np.zeros((6, 3, 4), np.int16), repetitions=tuple(Repetition(time_s=t) for t in times))
    assert image.step_s == (None if step is None else pytest.approx(step))
