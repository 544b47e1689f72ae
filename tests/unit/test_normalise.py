"""Normalised derivatives: the bias field goes, the scale is the foreground's, and maps are never touched."""

import numpy as np
import pytest
import SimpleITK as sitk

from oncurate.allowlist import VOCABULARIES
from oncurate.image import Image
from oncurate.normalise import (
    MAP_IF_DERIVED_TERMS,
    QUANTITATIVE_TERMS,
    WEIGHTED_TERMS,
    is_quantitative,
    n4,
    normalise,
    why_not,
    zscore,
)
from oncurate.records import Geometry, PlannedVolume

GEOMETRY = Geometry(
    origin=(0, 0, 0),
    row=(1, 0, 0),
    column=(0, 1, 0),
    normal=(0, 0, 1),
    spacing=(1, 1, 1),
    shape=(4, 4, 4),
    in_patient=True,
    spacing_source="PixelSpacing",
    single_orientation=True,
    orthogonal_orientation=True,
    unique_slice_positions=True,
    consistent_in_plane_row=True,
    consistent_in_plane_col=True,
    consistent_pixel_spacing=True,
    consistent_image_dimensions=True,
    uniform_slice_spacing=True,
    obliquity_degrees=0,
    gantry_tilt_degrees=0,
    regularly_spaced_3d_volume=True,
)


def planned(image_type: str | None, *, kind="volume", **fields) -> PlannedVolume:
    return PlannedVolume(
        kind=kind,
        slices=(),
        geometry=GEOMETRY,
        split_by=(),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        attributes={} if image_type is None else {"ImageType": image_type},
        **fields,
    )


def shaded(side: int = 40) -> tuple[Image, np.ndarray]:
    """A ball of one value under a field that varies threefold, in dark noise; and where the ball is."""
    axis = np.linspace(-1, 1, side)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = x**2 + y**2 + z**2 < 0.7
    noise = np.abs(np.random.default_rng(0).normal(0, 2, ball.shape))
    return Image((ball * 200 * np.exp(0.5 * x - 0.3 * y) + noise).astype(np.float32), np.eye(4)), ball


def variation(values: np.ndarray) -> float:
    return float(values.std() / values.mean())


@pytest.mark.parametrize(
    "image_type",
    [
        *("DERIVED\\PRIMARY\\DIFFUSION\\ADC", "DERIVED\\PRIMARY\\DIFFUSION\\FA", "ORIGINAL\\PRIMARY\\T1_MAP"),
        *("DERIVED\\PRIMARY\\T2_MAP", "DERIVED\\PRIMARY\\M\\T2", "DERIVED\\PRIMARY\\FAT_FRACTION", "DERIVED\\CBF"),
        *("ORIGINAL\\PRIMARY\\P\\ND", "ORIGINAL\\PRIMARY\\PHASE MAP", "ORIGINAL\\PRIMARY\\R_FFE", "ORIGINAL\\I"),
        *("DERIVED\\PRIMARY\\B0_MAP", "ORIGINAL\\PRIMARY\\VELOCITY", "DERIVED\\SECONDARY\\SUBTRACTION"),
        *("DERIVED\\PRIMARY", "DERIVED\\SECONDARY\\OTHER", "DERIVED\\SECONDARY\\PROCESSED\\M"),
    ],
)
def test_maps_phases_and_derived_images_of_unknown_kind_are_quantitative(image_type):
    assert is_quantitative(planned(image_type))


@pytest.mark.parametrize(
    "image_type",
    [
        *(None, "ORIGINAL\\PRIMARY\\M\\ND", "ORIGINAL\\PRIMARY\\M_SE\\M\\SE", "ORIGINAL\\PRIMARY\\T1\\NONE"),
        *("DERIVED\\SECONDARY\\REFORMATTED\\M", "DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\ND", "DERIVED\\PRIMARY\\M\\NORM"),
        "DERIVED\\PRIMARY\\DIXON\\WATER",
    ],
)
def test_weighted_images_are_not(image_type):
    assert not is_quantitative(planned(image_type))


def test_a_unit_makes_it_quantitative_and_a_unit_of_one_does_not():
    assert is_quantitative(planned("ORIGINAL\\PRIMARY\\M", unit="mm2/s"))
    assert is_quantitative(planned("ORIGINAL\\PRIMARY\\M", unit="ms"))
    assert not is_quantitative(planned("ORIGINAL\\PRIMARY\\M", unit="1"))
    assert is_quantitative(planned("ORIGINAL\\PRIMARY", derived=True))


def test_the_terms_are_those_of_the_allow_list_and_in_one_list_each():
    known = set(VOCABULARIES["image_type"].terms)
    lists = (QUANTITATIVE_TERMS, MAP_IF_DERIVED_TERMS, WEIGHTED_TERMS)
    for number, terms in enumerate(lists):
        assert terms <= known, terms - known
        assert not any(terms & other for other in lists[number + 1 :])


def test_why_not():
    image = shaded(6)[0]
    four = Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4))
    assert why_not(planned("ORIGINAL\\PRIMARY\\M"), image) is None
    assert why_not(planned("ORIGINAL\\PRIMARY\\M"), four) == "more than one repetition"
    assert why_not(planned("DERIVED\\ADC"), image) == "quantitative map or not a magnitude"
    assert why_not(planned("ORIGINAL\\PRIMARY\\M", kind="planar"), image) == "not a volume"


def test_n4_removes_a_smooth_field_and_leaves_the_input_alone():
    image, ball = shaded()
    before = image.array.copy()
    result, step = n4(image)
    assert np.array_equal(image.array, before)
    assert result.array.dtype == np.float32
    assert variation(result.array[ball]) < variation(before[ball]) / 5
    assert step.arguments["applied"] is True
    assert step.arguments["shrink"] == [4, 4, 4]


def test_n4_gives_the_same_bytes_whatever_number_of_threads_itk_has():
    image, process = shaded(24)[0], sitk.ProcessObject
    held = process.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for threads in (1, 4):
            process.SetGlobalDefaultNumberOfThreads(threads)
            results.append(n4(image)[0].array.tobytes())
            assert process.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        process.SetGlobalDefaultNumberOfThreads(held)
    assert results[0] == results[1]


def test_zscore_gives_the_foreground_mean_0_and_deviation_1():
    image = shaded()[0]
    result, step = zscore(image)
    inside = image.array > step.arguments["foreground_above"]
    assert result.array[inside].mean() == pytest.approx(0, abs=1e-5)
    assert result.array[inside].std() == pytest.approx(1, abs=1e-5)
    assert step.arguments["foreground_voxels"] == np.count_nonzero(inside)
    undone = result.array * step.arguments["standard_deviation"] + step.arguments["mean"]
    assert np.allclose(undone, image.array, atol=1e-3)


def test_both_come_in_the_order_asked_for():
    image = shaded(24)[0]
    assert [step.name for step in normalise(image, ("n4", "zscore"))[1]] == ["n4", "zscore"]
    assert [step.name for step in normalise(image, ("zscore",))[1]] == ["zscore"]
    both = normalise(image, ("n4", "zscore"))[0].array
    assert np.array_equal(both, zscore(n4(image)[0])[0].array)


@pytest.mark.parametrize("shape", [(5, 5, 5), (9, 9, 1), (20, 20, 2), (64, 48, 3)])
def test_thin_and_small_volumes_are_no_trouble(shape):
    array = np.random.default_rng(0).uniform(1, 3, shape).astype(np.float32)
    array[: shape[0] // 2] += 100
    result, _ = normalise(Image(array, np.eye(4)), ("n4", "zscore"))
    assert np.isfinite(result.array).all()


def test_an_image_of_one_value_stays():
    image = Image(np.full((9, 9, 9), 5, np.int16), np.eye(4))
    result, steps = normalise(image, ("n4", "zscore"))
    assert np.array_equal(result.array, image.array)
    assert [step.arguments["applied"] for step in steps] == [False, False]
