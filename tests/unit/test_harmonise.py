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
PT = PROFILES.choose("PT", "volume", "Bq/ml")
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
    assert [step.name for step in steps] == ["orient", "padding", "clip", "anti_alias", "resample", "cast"]
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
        assert [step.name for step in steps if step.arguments["applied"]] == ["cast"]


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


def applied(steps, name: str) -> dict:
    """The arguments of the one step of that name."""
    (step,) = (step for step in steps if step.name == name)
    return step.arguments


def test_repetitions_share_a_grid_and_are_each_as_if_alone():
    array = np.random.default_rng(0).integers(0, 900, (3, 6, 5, 4)).astype(np.int16).T
    image = Image(array, np.diag([-0.7, 1.3, 2.5, 1.0]), step_s=2.5)
    result, steps = harmonise(image, MR)
    assert (result.is_4d, result.count, result.step_s) == (True, 3, 2.5)
    for n in range(3):
        alone = harmonise(image.repetition(n), MR)[0]
        assert np.array_equal(result.repetition(n).array, alone.array)
        assert np.array_equal(result.affine, alone.affine)
        assert result.repetition(n).array.T.flags.c_contiguous
    assert applied(steps, "resample")["shape"] == list(result.shape)


def test_the_limit_of_a_grid_counts_repetitions():
    image = Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4))
    profile = MR.model_copy(update={"max_voxels": 3 * 64})
    assert harmonise(image, profile)[0].count == 3
    with pytest.raises(Rejection) as caught:
        harmonise(image, profile.model_copy(update={"max_voxels": 3 * 64 - 1}))
    assert caught.value.reason is Reason.GRID_TOO_LARGE


def test_a_colour_cine_keeps_its_grid_type_and_memory():
    array = np.random.default_rng(0).integers(0, 255, (6, 5, 1, 4, 3)).astype(np.uint8)
    cine = Image(array, np.diag([0.2, 0.2, 1, 1]), in_patient=False, is_colour=True, step_s=0.03)
    result, steps = harmonise(cine, PROFILES.choose("US", "cine", "stored"))
    assert np.shares_memory(result.array, array)
    assert (result.shape, result.count, result.is_colour, result.step_s) == ((6, 5, 1), 4, True, 0.03)
    assert not any(step.arguments["applied"] for step in steps)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_padding_within_the_range_of_tissue_becomes_air_before_it_can_bleed(dtype, spacing):
    array = np.full((6, 6, 6), 40, dtype)
    array[:3] = 63
    image = Image(array, np.diag([spacing] * 3 + [1.0]))
    result, steps = harmonise(image, CT, padding=(63, 63))
    assert applied(steps, "padding") == {"applied": True, "range": [63, 63], "value": -1024, "voxels": 3 * 36}
    air = np.where(array == 63, -1024, array)
    assert np.array_equal(result.array, harmonise(Image(air, image.affine), CT)[0].array)


@pytest.mark.parametrize(("padding", "voxels"), [((-2000, -2000), 108), ((-3000.5, -1999.5), 108), ((7, 9), 0)])
def test_padding_is_counted_also_where_clipping_does_the_work(padding, voxels):
    array = np.full((6, 6, 6), 40, np.int16)
    array[:3] = -2000
    result, steps = harmonise(Image(array, np.eye(4)), CT, padding=padding)
    assert (applied(steps, "padding")["voxels"], applied(steps, "padding")["applied"]) == (voxels, voxels > 0)
    assert np.unique(result.array).tolist() == [-1024, 40]


def test_without_a_clip_range_padding_stays_and_the_step_says_so():
    array = np.full((3, 3, 3), -2000, np.int16)
    result, steps = harmonise(Image(array, np.eye(4)), MR, padding=(-2000, -2000))
    assert (result.array == -2000).all()
    assert applied(steps, "padding") == {"applied": False, "range": [-2000, -2000]}


@pytest.mark.parametrize("spacing", [1.0, 4.0])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_pet_is_multiplied_by_its_suv_factor(spacing, dtype):
    array = np.random.default_rng(0).integers(0, 30000, (6, 5, 4)).astype(dtype)
    image = Image(array, np.diag([spacing] * 3 + [1.0]))
    before = array.copy()
    scaled, steps = harmonise(image, PT, scale=2.5e-4)
    plain, plain_steps = harmonise(image, PT)
    assert scaled.array.dtype == np.float32
    assert np.allclose(scaled.array, plain.array * 2.5e-4, rtol=1e-6)
    assert np.array_equal(array, before)
    assert applied(steps, "suvbw") == {"applied": True, "factor": 2.5e-4}
    assert applied(plain_steps, "suvbw") == {"applied": False, "factor": None}


def test_a_factor_is_not_used_where_the_profile_has_no_suv():
    image = Image(np.ones((3, 3, 3), np.float32), np.eye(4))
    for profile in (MR, PT.model_copy(update={"suv": False})):
        result, steps = harmonise(image, profile, scale=3.0)
        assert np.array_equal(result.array, image.array)
        assert "suvbw" not in [step.name for step in steps]


def test_cutting_and_padding_come_last_and_keep_every_voxel_s_place():
    array = np.full((30, 30, 30), -1000, np.int16)
    array[8:20, 9:22, 10:25] = 40
    image = Image(array, np.diag([2.0, 2.0, 2.0, 1.0]))
    profile = CT.model_copy(update={"crop": "body", "margin_mm": 5.0, "pad_to": (32, 32, 32)})
    whole = harmonise(image, CT)[0]
    framed, steps = harmonise(image, profile)
    assert [step.name for step in steps][-3:] == ["cast", "crop", "pad"]
    assert all(n % 32 == 0 for n in framed.shape)
    assert framed.array.min() == -1024
    assert np.count_nonzero(framed.array == 40) == np.count_nonzero(whole.array == 40)
    shift = np.linalg.solve(whole.affine, framed.affine)[:3, 3]
    start, before = applied(steps, "crop")["start"], applied(steps, "pad")["before"]
    assert np.allclose(shift, np.array(start) - before)


def test_a_grid_that_padding_makes_too_large_is_refused():
    profile = MR.model_copy(update={"pad_to": (1000, 1000, 1000), "max_voxels": 10**8})
    with pytest.raises(Rejection) as caught:
        harmonise(Image(np.zeros((3, 3, 3), np.int16), np.eye(4)), profile)
    assert caught.value.reason is Reason.GRID_TOO_LARGE
