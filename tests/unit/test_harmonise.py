"""Harmonising: steps in their order and their record, orientation, clipping before interpolation, refusals."""

import json

import numpy as np
import pytest

from oncurate.errors import Rejection
from oncurate.harmonise import harmonise, orient
from oncurate.image import Image
from oncurate.profiles import Profile, load
from oncurate.reasons import Reason

PROFILES = load()
CT = PROFILES.choose("CT", "volume", "HU")
MR = PROFILES.choose("MR", "volume", "stored")
PLANAR = PROFILES.choose("DX", "planar", "stored")


def lps(shape, spacing=(1.0, 1.0, 1.0), dtype=np.int16, **flags) -> Image:
    """A volume with a different number in each voxel, stored towards left, posterior, superior."""
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (90.0, 80.0, -40.0)
    return Image(array, affine, **flags)


def test_steps_come_in_order_and_are_json():
    steps = harmonise(lps((4, 5, 6), (0.7, 0.7, 3.0)), CT)[1]
    assert [step.name for step in steps] == ["orient", "clip", "anti_alias", "resample", "cast"]
    json.dumps([step.model_dump() for step in steps], allow_nan=False)
    arguments = {step.name: step.arguments for step in steps}
    assert arguments["orient"]["from"] == "LPS"
    assert arguments["orient"]["flipped"] == [True, True, False]
    assert arguments["clip"] == {"applied": True, "range": [-1024, 3071]}
    assert arguments["anti_alias"]["sigma_mm"][0] == pytest.approx((1 - 0.49) ** 0.5 / (8 * np.log(2)) ** 0.5)
    assert arguments["anti_alias"]["sigma_mm"][2] == 0
    assert arguments["resample"]["shape"] == [3, 4, 18]


def test_an_image_that_fits_its_profile_comes_back_bit_for_bit():
    profile = Profile(name="same", version="1", modalities=(), max_voxels=1000, orientation="RAS", spacing_mm=(1, 1, 1))
    image = Image(np.random.default_rng(1).normal(size=(3, 4, 5)), np.eye(4))
    result, steps = harmonise(image, profile)
    assert np.array_equal(result.array, image.array)
    assert np.array_equal(result.affine, image.affine)
    assert not any(step.arguments["applied"] for step in steps)


def test_orientation_of_a_sagittal_acquisition():
    affine = np.array([[0, 0, 3.0, -20], [-0.5, 0, 0, 60], [0, 0.5, 0, 7], [0, 0, 0, 1]])
    image = Image(np.arange(2 * 3 * 4).reshape(2, 3, 4), affine)
    view, axes, flipped = orient(image)
    assert axes == (2, 0, 1)
    assert flipped == (False, True, False)
    assert view.shape == (4, 2, 3)
    assert view.affine[:3, :3].tolist() == [[3, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    assert np.shares_memory(view.array, image.array)


def test_padding_is_clipped_before_it_can_bleed():
    array = np.full((6, 6, 6), 40, np.int16)
    array[:3] = -3024
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    result = harmonise(Image(array, affine), CT)[0].array
    first_between = result[np.abs(result - 40) > 0].max()
    assert result.min() == -1024
    assert first_between == pytest.approx(0.25 * -1024 + 0.75 * 40)  # -3024 would give -726


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_clip_range_beyond_the_voxel_type(dtype):
    array = np.full((2, 2, 2), 100, dtype)
    assert harmonise(Image(array, np.eye(4)), CT)[0].array.tolist() == np.full((2, 2, 2), 100).tolist()


def test_fractional_hu_round_half_to_even_without_resampling():
    array = np.array([0.5, 1.5, 2.5, -0.5], np.float32).reshape(4, 1, 1)
    result = harmonise(Image(array, np.eye(4)), CT)[0].array
    assert result.dtype == np.int16
    assert result.ravel().tolist() == [0, 2, 2, 0]


def test_projection_images_and_images_without_unit_keep_their_place():
    for image in (lps((4, 5, 6), (0.1, 0.1, 1), in_patient=False, has_unit=False),):
        result, steps = harmonise(image, MR)
        assert np.array_equal(result.array, image.array)
        assert np.array_equal(result.affine, image.affine)
        assert (result.in_patient, result.has_unit) == (False, False)
        assert [step.arguments["applied"] for step in steps] == [False, False, False, False, True]


def test_planar_grey_becomes_float32_and_colour_stays():
    grey = harmonise(lps((8, 6, 1), (0.2, 0.2, 1.0), np.uint16), PLANAR)[0]
    assert grey.array.dtype == np.float32
    assert grey.shape == (8, 6, 1)
    colour = Image(np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 1, 3), np.eye(4), is_colour=True)
    kept = harmonise(colour, PLANAR)[0]
    assert kept.array.dtype == np.uint8
    assert np.array_equal(kept.array, colour.array)


def test_colour_volumes_are_resampled_by_channel():
    colour = np.zeros((4, 4, 4, 3), np.uint8)
    colour[..., 0], colour[..., 1] = 255, 7
    result = harmonise(Image(colour, np.diag([2.0, 2.0, 2.0, 1.0]), is_colour=True), CT)[0]
    assert result.array.shape == (8, 8, 8, 3)
    assert np.unique(result.array.reshape(-1, 3), axis=0).tolist() == [[255, 7, 0]]


def test_a_grid_beyond_the_limit_is_refused_before_it_is_allocated():
    image = Image(np.zeros((2, 2, 2), np.int16), np.diag([1e6, 1e6, 1e6, 1.0]))
    with pytest.raises(Rejection) as caught:
        harmonise(image, CT)
    assert caught.value.reason is Reason.GRID_TOO_LARGE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = bad
    with pytest.raises(Rejection) as caught:
        harmonise(Image(array, np.eye(4)), MR)
    assert caught.value.reason is Reason.VALUES_NOT_FINITE


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 2), (5, 5, 5)])
def test_a_constant_image_stays_constant(shape):
    image = Image(np.full(shape, -37, np.int16), np.diag([0.6, 1.7, 4.0, 1.0]))
    assert np.unique(harmonise(image, CT)[0].array).tolist() == [-37]


def test_the_input_is_left_alone_and_the_output_is_the_same_again():
    image = lps((7, 8, 9), (0.6, 0.6, 2.0))
    before = image.array.copy()
    first, second = harmonise(image, CT)[0], harmonise(image, CT)[0]
    assert np.array_equal(image.array, before)
    assert first.array.tobytes() == second.array.tobytes()
    assert first.affine.tobytes() == second.affine.tobytes()
