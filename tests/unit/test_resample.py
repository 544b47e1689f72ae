"""The arithmetic of resampling: extents, weights, agreement with SimpleITK, the anti-alias filter's response."""

import numpy as np
import pytest
import SimpleITK as sitk

from oncurate.resample import plan_axis, resample, weights

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
        results.append(resample(signal.reshape(shape).astype(FLOAT), axes, None, FLOAT).ravel())
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
    assert np.abs(resample(board, plain, None, FLOAT)).max() == 100
    assert np.abs(resample(board, axes, None, FLOAT)).max() < 100 / 20


def test_outside_the_first_and_last_centre_the_edge_value_goes_on():
    assert sampled(np.array([3.0, 5.0]), 0.25, anti_alias=False).tolist() == [3, 3, 3.25, 3.75, 4.25, 4.75, 5, 5]


def test_halves_round_to_even():
    axis, still = plan_axis(2, 1.0, 2.0, anti_alias=False), plan_axis(1, 1.0, 1.0, anti_alias=False)
    for pair, expected in (((0, 1), 0), ((1, 2), 2), ((-1, 0), 0), ((-2, -1), -2)):
        array = np.array(pair, np.int16).reshape(2, 1, 1)
        assert resample(array, (axis, still, still), None, np.dtype(np.int16)).item() == expected


def test_large_integers_keep_all_digits():
    array = np.full((4, 2, 2), 2**31 - 1, np.int32)
    axes = [plan_axis(n, 1.0, 0.7, anti_alias=False) for n in array.shape]
    assert np.unique(resample(array, axes, None, np.dtype(np.int32))).tolist() == [2**31 - 1]


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
    assert np.allclose(resample(array, axes, None, FLOAT), expected, atol=1e-3)
