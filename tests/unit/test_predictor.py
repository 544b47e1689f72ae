"""Lossless JPEG of 16 bits: streams that two kinds of encoders mean differently are refused."""

from __future__ import annotations

import numpy as np
import pytest

from oncurate import codecs, codestream
from tests.encoding import jpeg_lossless
from tests.unit import made

SMOOTH = np.add.outer(np.arange(20) * 900, np.arange(24) * 700).astype(np.uint16)
STEEP = np.where(np.add.outer(np.arange(20), np.arange(24)) % 7 < 3, 40, 63536).astype(np.uint16)


def decoded(array: np.ndarray, predictor: int, signed: int = 0) -> np.ndarray:
    form = made.pixel_format(
        TransferSyntaxUID="1.2.840.10008.1.2.4.57", Rows=20, Columns=24, PixelRepresentation=signed
    )
    return codecs.decode(form, jpeg_lossless(predictor)(array, 16)).array


@pytest.mark.parametrize("predictor", range(1, 8))
def test_the_predictor_is_read_and_smooth_images_come_back(predictor: int) -> None:
    assert codestream.predictor(jpeg_lossless(predictor)(SMOOTH, 16)) == predictor
    np.testing.assert_array_equal(decoded(SMOOTH, predictor), SMOOTH)


@pytest.mark.parametrize("predictor", [1, 2, 3, 4, 7])
def test_steep_images_come_back_where_no_difference_is_halved(predictor: int) -> None:
    np.testing.assert_array_equal(decoded(STEEP, predictor), STEEP)


@pytest.mark.parametrize("predictor", [5, 6])
def test_steep_images_are_refused_where_half_a_difference_may_wrap(predictor: int) -> None:
    with pytest.raises(ValueError, match="predictor"):
        decoded(STEEP, predictor)


@pytest.mark.parametrize("predictor", [5, 6])
def test_a_signed_image_that_crosses_zero_comes_back(predictor: int) -> None:
    np.testing.assert_array_equal(decoded(STEEP, predictor, signed=1), STEEP.astype(np.int16))
