"""Quality metrics: each against a value known from how the image was made; nothing raises on images without content."""

import warnings

import numpy as np
import pytest

from oncurate.image import Image
from oncurate.quality import INTENSITY_METRICS, cnr, efc, fber, measure, noise, otsu, sharpness, snr, snr_dietrich
from oncurate.tables import TABLES

RNG = np.random.default_rng(11)
COLUMNS = {name for name, _, _ in TABLES["quality"].columns}
ELSEWHERE = {"volume_id", "subject_id", "Modality", "stratum", "outlier_metrics", "robust_z_max"}


def head(noise_sigma: float, shape=(60, 60, 12)) -> np.ndarray:
    """A sphere of 1000 with a core of 1500 in air, under Rician noise."""
    index = np.indices(shape).reshape(3, -1).T - np.array(shape) / 2
    radius = np.linalg.norm(index / (np.array(shape) / 2), axis=1).reshape(shape)
    signal = np.where(radius < 0.4, 1500.0, np.where(radius < 0.8, 1000.0, 0.0))
    real, imaginary = RNG.normal(0, noise_sigma, (2, *shape))
    return np.hypot(signal + real, imaginary)


def test_the_metrics_are_the_columns_of_the_table():
    assert set(measure(Image(head(20), np.eye(4)), "MR", "stored")) == COLUMNS - ELSEWHERE


@pytest.mark.parametrize(
    ("modality", "unit", "shape", "applicable"),
    [
        ("CT", "HU", (40, 40, 8), {"noise_hu", "sharpness", "clipped_share", "slice_jump_max"}),
        (
            "MR",
            "stored",
            (40, 40, 8),
            {"snr", "snr_dietrich", "cnr", "efc", "fber", "sharpness", "clipped_share", "slice_jump_max"},
        ),
        ("PT", "Bq/ml", (40, 40, 8), {"snr", "efc", "fber", "sharpness", "clipped_share", "slice_jump_max"}),
        ("DX", "stored", (80, 80, 1), {"snr", "efc", "fber", "sharpness", "clipped_share"}),
    ],
)
def test_which_metrics_apply(modality, unit, shape, applicable):
    values = RNG.normal(40, 20, shape) if modality == "CT" else head(20, (*shape[:2], 16))[:, :, 4 : 4 + shape[2]]
    found = measure(Image(values, np.eye(4)), modality, unit)
    assert {name for name in INTENSITY_METRICS if found[name] is not None} == applicable


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 1, 1), np.int16),
        np.full((8, 8, 8), 7, np.int16),
        np.full((4, 4, 4), np.nan, np.float32),
        np.arange(2, dtype=np.uint8).reshape(1, 1, 2),
        np.arange(18, dtype=np.float32).reshape(3, 3, 2),
        np.where(np.arange(64).reshape(4, 4, 4) == 5, 100.0, 0.0),
        np.where(np.arange(64).reshape(4, 4, 4) == 5, np.inf, 1.0),
        np.full((6, 6, 1, 3), 9, np.uint8),
        np.arange(300, dtype=np.uint8)[:288].reshape(12, 8, 1, 3),
        np.linspace(-3e38, 3e38, 125, dtype=np.float32).reshape(5, 5, 5),
    ],
)
@pytest.mark.parametrize(("modality", "unit"), [("CT", "HU"), ("MR", "stored"), ("PT", "SUVbw g/ml"), ("US", "stored")])
def test_no_image_makes_it_raise_warn_or_return_nan(array, modality, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(Image(array, np.eye(4)), modality, unit)
    for value in found.values():
        assert type(value) in (float, int, bool, list, type(None))
        assert not isinstance(value, float) or np.isfinite(value)


def test_an_image_with_a_voxel_that_is_not_finite_has_only_its_share():
    array = np.ones((4, 5, 5), np.float32)
    array[0, 0, 0] = np.nan
    found = measure(Image(array, np.eye(4)), "MR", "stored")
    assert found["nan_share"] == pytest.approx(0.01)
    assert all(found[name] is None for name in INTENSITY_METRICS)


def test_constant_and_empty_slices():
    array = RNG.integers(0, 100, (9, 9, 6)).astype(np.int16)
    array[:, :, 2] = array[:, :, 5] = 3
    found = measure(Image(array, np.eye(4)), "MR", "stored")
    assert (found["empty_slices"], found["constant"], found["nan_share"]) == (2, False, 0)
    found = measure(Image(np.full((3, 3, 4), -5, np.int16), np.eye(4)), "CT", "HU")
    assert (found["empty_slices"], found["constant"]) == (4, True)


def test_field_of_view_has_a_unit_or_is_absent():
    image = Image(head(5, (10, 20, 8)), np.diag([-0.5, 2.0, 3.0, 1.0]))
    found = measure(image, "MR", "stored")
    assert (found["field_of_view_mm"], found["spacing_mm"]) == ([5, 40, 24], [0.5, 2, 3])
    without = measure(Image(image.array, image.affine, has_unit=False), "DX", "stored")
    assert (without["field_of_view_mm"], without["spacing_mm"]) == (None, None)


def test_snr_by_hand():
    values = np.array([9.0, 10.0, 11.0])
    assert snr(values) == pytest.approx(10 / (np.std(values) * np.sqrt(3 / 2)))
    assert snr(np.array([5.0])) is None
    assert snr(np.array([5.0, 5.0])) is None


def test_snr_dietrich_is_signal_over_the_noise_behind_rayleigh_air():
    air = np.hypot(*RNG.normal(0, 20, (2, 100_000)))
    assert snr_dietrich(np.full(10, 1000.0), air) == pytest.approx(1000 / 20, rel=0.01)
    assert snr_dietrich(np.full(10, 1000.0), np.zeros(9)) is None


def test_snr_dietrich_of_a_whole_volume():
    found = measure(Image(head(20), np.eye(4)), "MR", "stored")
    assert found["snr_dietrich"] == pytest.approx(1060 / 20, rel=0.05)


def test_cnr_by_hand():
    foreground = np.concatenate([np.tile([99.0, 101.0], 50), np.tile([199.0, 201.0], 50)])
    background = np.tile([0.0, 2.0], 50)
    assert cnr(foreground, background) == pytest.approx(100 / np.sqrt(3))


def test_efc_is_0_for_one_bright_voxel_and_1_for_equal_ones():
    one = np.zeros(1000)
    one[3] = 7
    assert efc(one) == pytest.approx(0, abs=1e-9)
    assert efc(np.full(1000, 4.2)) == pytest.approx(1)
    assert efc(np.zeros(1000)) is None
    blurred = np.convolve(RNG.random(1000) ** 8, np.ones(9) / 9)
    assert efc(RNG.random(1000) ** 8) < efc(blurred)


def test_fber_by_hand():
    assert fber(np.array([10.0, 10.0, 40.0]), np.array([1.0, 2.0, 9.0])) == 25
    assert fber(np.array([10.0]), np.zeros(5)) == -1
    assert fber(np.array([10.0]), np.array([])) is None


@pytest.mark.parametrize("sigma", [5.0, 15.0, 40.0])
def test_ct_noise_is_what_was_put_in(sigma):
    array = np.full((100, 100, 5), -1000.0)
    array[10:60, 10:90] = 40
    array[60:90, 10:90] = 700
    array += RNG.normal(0, sigma, array.shape)
    found = measure(Image(np.rint(array).astype(np.int16), np.eye(4)), "CT", "HU")
    assert found["noise_hu"] == pytest.approx(sigma, rel=0.05)


def test_ct_noise_needs_soft_tissue():
    assert noise(np.full((50, 50, 3), -1000, np.int16)) is None
    assert noise(np.zeros((4, 50, 3), np.int16)) is None


def test_sharpness_falls_when_an_image_is_blurred():
    sharp = head(0)
    blurred = (np.roll(sharp, 1, 0) + sharp + np.roll(sharp, -1, 0)) / 3
    assert sharpness(blurred, 100, (0, 1500)) < 0.7 * sharpness(sharp, 100, (0, 1500))
    assert sharpness(sharp * 10, 1000, (0, 15000)) == pytest.approx(sharpness(sharp, 100, (0, 1500)))


def test_clipping_counts_the_top_code_only():
    array = RNG.integers(1, 200, (50, 50, 4)).astype(np.int16)
    array[:25, :, 0] = 4095
    array[:, :, 1] = 0
    found = measure(Image(array, np.eye(4)), "MR", "stored")
    assert found["clipped_share"] == pytest.approx(0.125)


def test_a_jump_between_slices_stands_out():
    array = np.repeat(np.arange(10.0), 64).reshape(10, 8, 8).transpose(1, 2, 0) + RNG.normal(0, 0.01, (8, 8, 10))
    array[:, :, 6:] += 20
    assert measure(Image(array, np.eye(4)), "MR", "stored")["slice_jump_max"] == pytest.approx(21, rel=0.05)


def test_otsu_separates_two_classes():
    values = np.concatenate([RNG.normal(10, 1, 5000), RNG.normal(50, 3, 500)])
    assert 14 < otsu(values) < 40


def test_colour_is_measured_by_its_luminance():
    grey = head(30, (40, 40, 16))[:, :, 8:9] / 10
    colour = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=3)
    of_colour = measure(Image(colour, np.eye(4), is_colour=True), "US", "stored")
    of_grey = measure(Image(grey.astype(np.uint8), np.eye(4)), "US", "stored")
    assert of_colour["snr"] == pytest.approx(of_grey["snr"], rel=1e-4)


def test_large_volumes_give_nearly_what_small_ones_give():
    small = head(20, (64, 64, 64))
    large = np.tile(small, (2, 2, 5))
    a, b = (measure(Image(volume, np.eye(4)), "MR", "stored") for volume in (small, large))
    for name in ("snr", "snr_dietrich", "cnr", "fber"):
        assert b[name] == pytest.approx(a[name], rel=0.03)


def test_a_series_of_images_is_measured_by_its_first_and_searched_whole():
    first = np.random.default_rng(0).normal(100, 5, (20, 20, 6)).astype(np.float32)
    second = first * 3
    second[:, :, 2] = 7
    second[0, 0, 0] = np.nan
    alone, together = (
        measure(Image(a, np.eye(4)), "MR", "stored") for a in (first, np.stack([first, second], axis=-1))
    )
    assert (alone["empty_slices"], together["empty_slices"]) == (0, 1)
    assert together["nan_share"] == pytest.approx(1 / (2 * first.size))
    clean = measure(Image(np.stack([first, first * 3], axis=-1), np.eye(4)), "MR", "stored")
    assert {k: clean[k] for k in ("snr", "efc", "sharpness")} == {k: alone[k] for k in ("snr", "efc", "sharpness")}


def test_a_colour_cine_has_one_plane_and_counts_its_empty_frames():
    cine = np.random.default_rng(0).integers(0, 255, (12, 10, 1, 5, 3)).astype(np.uint8)
    cine[:, :, :, 4] = 0
    found = measure(Image(cine, np.eye(4), is_colour=True), "US", "stored")
    assert (found["empty_slices"], found["constant"], found["nan_share"]) == (1, False, 0)
