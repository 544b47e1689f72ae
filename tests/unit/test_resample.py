"""The arithmetic of resampling: extents, weights, agreement with SimpleITK, the anti-alias filter's response."""

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.antialias import by_scipy, structure, zone_plate
from oncurate.resample import Before, plan_axis, resample, weights

FLOAT = np.dtype(np.float32)


def sampled(signal: np.ndarray, target: float, *, anti_alias: bool) -> np.ndarray:
    """A signal of 1 mm samples along each axis in turn, resampled to `target` mm."""
    axis = plan_axis(signal.size, 1.0, target, anti_alias=anti_alias)
    still = plan_axis(1, 1.0, 1.0, anti_alias=False)
    results = []
    for place in range(3):
        shape = [1, 1, 1]
        shape[place] = signal.size
        axes = [still] * 3
        axes[place] = axis
        results.append(resample(signal.reshape(shape).astype(FLOAT), axes, FLOAT).ravel())
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    return results[0]


@pytest.mark.parametrize(
    ("size", "spacing", "target", "expected"),
    [(512, 0.7, 1.0, 358), (41, 5.0, 1.0, 205), (3, 0.1, 1.0, 1), (1, 1, 1, 1)],
)
def test_the_extent_is_covered_and_centred(size, spacing, target, expected):
    axis = plan_axis(size, spacing, target, anti_alias=False)
    assert axis.size == expected
    first_edge = (axis.start + 0.5) * spacing - target / 2
    last_edge = first_edge + axis.size * target
    assert first_edge == pytest.approx(size * spacing - last_edge, abs=1e-9)


@pytest.mark.parametrize("target", [1.0, 1 + 5e-7, 1 - 5e-7])
def test_equal_spacing_is_the_identity(target):
    assert plan_axis(10, 1.0, target, anti_alias=True).is_identity


@pytest.mark.parametrize("target", [0.3, 0.9, 1.4, 3.0, 50.0])
def test_weights_are_a_mean(target):
    matrix = weights(plan_axis(20, 1.0, target, anti_alias=True), np.dtype(np.float64))
    assert matrix.data.min() >= 0
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_a_period_of_one_target_voxel_is_suppressed_and_a_long_one_passes():
    x = np.arange(400) + 0.5
    fast, slow = np.sin(2 * np.pi * x / 4 + 0.3), np.sin(2 * np.pi * x / 80 + 0.3)  # new Nyquist period: 8 mm
    inner = slice(5, -5)
    assert np.abs(sampled(fast, 4.0, anti_alias=True)[inner]).max() < np.abs(fast).max() / 20
    assert np.abs(sampled(fast, 4.0, anti_alias=False)[inner]).max() > 0.2
    assert np.abs(sampled(slow, 4.0, anti_alias=True)[inner]).max() > 0.9


def test_a_checkerboard_becomes_grey():
    board = (np.indices((24, 24, 24)).sum(axis=0) % 2 * 200 - 100).astype(FLOAT)
    axes = [plan_axis(24, 1.0, 3.0, anti_alias=True)] * 3
    plain = [plan_axis(24, 1.0, 3.0, anti_alias=False)] * 3
    assert np.abs(resample(board, plain, FLOAT)).max() == 100
    assert np.abs(resample(board, axes, FLOAT)).max() < 100 / 20


def test_outside_the_first_and_last_centre_the_edge_value_goes_on():
    assert sampled(np.array([3.0, 5.0]), 0.25, anti_alias=False).tolist() == [3, 3, 3.25, 3.75, 4.25, 4.75, 5, 5]


def test_halves_round_to_even():
    axis, still = plan_axis(2, 1.0, 2.0, anti_alias=False), plan_axis(1, 1.0, 1.0, anti_alias=False)
    for pair, expected in (((0, 1), 0), ((1, 2), 2), ((-1, 0), 0), ((-2, -1), -2)):
        array = np.array(pair, np.int16).reshape(2, 1, 1)
        assert resample(array, (axis, still, still), np.dtype(np.int16)).item() == expected


def test_large_integers_keep_all_digits():
    array = np.full((4, 2, 2), 2**31 - 1, np.int32)
    axes = [plan_axis(n, 1.0, 0.7, anti_alias=False) for n in array.shape]
    assert np.unique(resample(array, axes, np.dtype(np.int32))).tolist() == [2**31 - 1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (0.5, 2.0, 0.9), (3.1, 0.7, 2.2)])
def test_it_agrees_with_simpleitk_in_any_memory_order(order, target):
    rng = np.random.default_rng(7)
    shape, spacing = (9, 11, 7), (0.8, 1.0, 2.5)
    array = rng.normal(0, 100, [shape[a] for a in order]).astype(FLOAT).transpose(np.argsort(order))
    assert array.shape == shape
    axes = [plan_axis(n, s, t, anti_alias=False) for n, s, t in zip(shape, spacing, target, strict=True)]
    reference = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    reference.SetSpacing(spacing)
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.UseNearestNeighborExtrapolatorOn()
    resampler.SetSize([axis.size for axis in axes])
    resampler.SetOutputSpacing(target)
    resampler.SetOutputOrigin([axis.start * s for axis, s in zip(axes, spacing, strict=True)])
    expected = sitk.GetArrayFromImage(resampler.Execute(reference)).T
    assert np.allclose(resample(array, axes, FLOAT), expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("repetitions", [(), (3,)])
@pytest.mark.parametrize("before", [Before(), Before(clip=(-300, 250))])
def test_the_same_grid_is_the_identity_bit_for_bit(dtype, repetitions, before):
    array = np.random.default_rng(0).normal(0, 200, (4, 5, 6, *repetitions)).astype(dtype)
    axes = [plan_axis(n, 0.7, 0.7, anti_alias=True) for n in array.shape[:3]]
    expected = array if before.clip is None else np.clip(array, *before.clip)
    assert resample(array, axes, array.dtype, before).tobytes() == expected.astype(dtype).tobytes()


def test_large_integers_on_the_same_grid_never_pass_through_floats():
    array = np.arange(2**31 - 24, 2**31, dtype=np.int64).astype(np.uint32).reshape(2, 3, 4)
    axes = [plan_axis(n, 1.0, 1.0, anti_alias=True) for n in array.shape]
    assert np.array_equal(resample(array, axes, array.dtype, Before(clip=(0, 2**32 - 1))), array)


@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (0.5, 2.0, 0.9), (2.4, 0.6, 3.0)])
@pytest.mark.parametrize("channels", [False, True])
def test_each_repetition_and_channel_is_resampled_as_if_alone(target, channels):
    array = np.random.default_rng(0).integers(0, 255, (6, 7, 8, 4, 3)).astype(np.uint8)
    axes = [plan_axis(n, 1.0, t, anti_alias=True) for n, t in zip(array.shape[:3], target, strict=True)]
    whole = resample(array, axes, array.dtype, channels=channels)
    for index in np.ndindex(4, 3):
        assert np.array_equal(whole[(..., *index)], resample(array[(..., *index)], axes, array.dtype))


def test_every_repetition_is_one_block_of_memory_in_the_order_of_the_source():
    array = np.zeros((5, 8, 7, 6), np.int16).T  # time, column, row, slice as in a NIfTI file, reversed
    axes = [plan_axis(n, 1.0, 0.8, anti_alias=False) for n in array.shape[:3]]
    result = resample(array, axes, FLOAT)
    assert result[..., 2].T.flags.c_contiguous
    assert result.T.flags.c_contiguous
    fastest = np.zeros((6, 7, 8, 5), np.int16)  # time varies fastest here
    assert resample(fastest, axes, FLOAT)[..., 1].flags.c_contiguous
    colour = np.zeros((6, 7, 8, 2, 3), np.uint8)
    assert resample(colour, axes, colour.dtype, channels=True)[..., 1, :].flags.c_contiguous


@pytest.mark.parametrize("target", [0.5, 1.0, 2.0])
def test_values_are_filled_then_clipped_then_scaled_before_anything_else(target):
    array = np.array([-2000, -1500, 0, 50, 9000], np.int16).reshape(5, 1, 1)
    before = Before(padding=(40, 60), filler=-1024, clip=(-1024, 3071), scale=0.5)
    axes = [plan_axis(n, 1.0, t, anti_alias=True) for n, t in zip(array.shape, (target, 1, 1), strict=True)]
    changed = np.array([-512, -512, 0, -512, 1535.5], np.float32).reshape(5, 1, 1)
    assert np.array_equal(resample(array, axes, FLOAT, before), resample(changed, axes, FLOAT))


@pytest.mark.parametrize("target", [1.3, 1.5, 2.0, 3.0, 4.7])
@pytest.mark.parametrize("kind", ["zone plate", "noise", "points"])
def test_it_is_scipy_s_gaussian_and_trilinear_interpolation(target, kind):
    side = 48
    rng = np.random.default_rng(0)
    points = np.zeros((side,) * 3, np.float32)
    points[tuple(rng.integers(8, side - 8, (3, 40)))] = 1000
    phantom = {"zone plate": zone_plate(side), "noise": rng.normal(0, 1, (side,) * 3), "points": points}[kind]
    phantom = phantom.astype(np.float32)
    axes = [plan_axis(side, 1.0, target, anti_alias=True)] * 3
    error = np.abs(resample(phantom, axes, FLOAT) - by_scipy(phantom.astype(np.float64), axes)).max()
    assert error < 2e-6 * np.abs(phantom).max()


@pytest.mark.parametrize(
    ("target", "most_false", "least_kept"), [(1.5, 0.15, 0.75), (2.0, 0.02, 0.7), (3.0, 0.02, 0.75)]
)
def test_a_zone_plate_shows_little_false_structure_and_keeps_the_true(target, most_false, least_kept):
    side = 96
    plate = zone_plate(side)
    axes, plain = ([plan_axis(side, 1.0, target, anti_alias=on)] * 3 for on in (True, False))
    false, kept = structure(resample(plate, axes, FLOAT), axes)
    unfiltered, _ = structure(resample(plate, plain, FLOAT), plain)
    assert false < most_false
    assert false < unfiltered / 2
    assert kept > least_kept


@pytest.mark.parametrize("target", [1.5, 2.0, 3.0, 5.0])
def test_a_point_spreads_to_the_width_of_a_target_voxel_and_keeps_its_mass_and_place(target):
    size = 4000
    axis = plan_axis(size, 1.0, target, anti_alias=True)
    matrix = weights(axis, np.dtype(np.float64)).tocsc()
    at = axis.start + axis.step * np.arange(axis.size)
    inner = range(1000, 1000 + 30 * int(target * 2))
    spread = np.zeros(len(inner))
    mass, place = spread.copy(), spread.copy()
    for n, source in enumerate(inner):
        column = matrix[:, [source]].toarray().ravel()
        mass[n] = column.sum() * axis.step
        place[n] = column @ at / column.sum() - source
        spread[n] = column @ (at - source) ** 2 / column.sum()
    assert mass.mean() == pytest.approx(1, abs=0.01)
    assert place.mean() == pytest.approx(0, abs=0.02)
    between = at - np.floor(at)
    matched = (target**2 - 1) / (8 * np.log(2)) + np.mean(between * (1 - between))  # interpolating widens it
    assert spread.mean() == pytest.approx(matched, rel=0.1)
