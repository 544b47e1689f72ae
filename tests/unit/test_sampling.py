"""The subset is fixed, bounded, spread over all axes, and a view."""

import numpy as np
import pytest

from oncurate.sampling import luminance, percentiles, subsample


@pytest.mark.parametrize("shape", [(1, 1, 1), (512, 3, 2), (40, 50, 60), (3000, 2000, 1), (7, 7, 7, 3)])
@pytest.mark.parametrize("limit", [1, 100, 10_000])
def test_it_is_a_bounded_view_of_every_axis(shape, limit):
    array = np.zeros(shape, np.uint8)
    taken = subsample(array, limit)
    assert 1 <= np.prod(taken.shape[:3]) <= limit
    assert np.shares_memory(taken, array)
    assert taken.shape[3:] == shape[3:]


def test_small_arrays_are_taken_whole_and_large_ones_nearly_to_the_limit():
    array = np.zeros((40, 50, 60))
    assert subsample(array, array.size).shape == array.shape
    assert subsample(array, 20_000).size > 10_000


def test_thinning_is_even_over_the_axes():
    assert subsample(np.zeros((64, 64, 64)), 16**3).shape == (16, 16, 16)


def test_luminance_of_grey_is_grey_and_green_is_brightest():
    assert luminance(np.full((2, 2, 1, 3), 77, np.uint8)) == pytest.approx(77)
    primaries = np.eye(3, dtype=np.uint8).reshape(3, 1, 1, 3) * 255
    assert np.argmax(luminance(primaries)) == 1


def test_percentiles_occur():
    assert percentiles(np.array([0, 10, 20, 1000]), 1, 99) == (0, 1000)
    assert percentiles(np.arange(101), 1, 99) == (1, 99)
