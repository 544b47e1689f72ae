"""Colour: YCbCr by the definition, palettes of every make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space

from oncurate.colour import Palette, ybr_to_rgb
from oncurate.errors import Rejection
from oncurate.reasons import Reason

RAMP = np.arange(256, dtype=np.uint16)


def test_ybr_full_is_converted_as_pydicom_does() -> None:
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    found, wanted = ybr_to_rgb(array), convert_color_space(array, "YBR_FULL", "RGB")
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("ybr", "rgb"),
    [((16, 128, 128), (0, 0, 0)), ((235, 128, 128), (255, 255, 255)), ((82, 90, 240), (255, 0, 0))],
)
def test_partial_range_reaches_black_white_and_red(ybr: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    found = ybr_to_rgb(np.array([[ybr]], np.uint8), partial=True)
    assert np.abs(found[0, 0].astype(int) - rgb).max() <= 1  # BT.601 gives red to the nearest step


def palette(data: Any, *, count: int = 256, first: int = 0, bits: int = 8, segmented: bool = False) -> Palette:
    ds = Dataset()
    ds.set_original_encoding(False, True)
    ds.PixelRepresentation = 0
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [count % 65536, first, bits])
        setattr(ds, f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData", bytes(data))
    return Palette(ds)


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (RAMP.astype("u1"), 8),
        (RAMP.astype("<u2"), 8),  # one entry to a word
        (RAMP.astype("<u2"), 16),  # 8 bits in words
        ((RAMP * 257).astype("<u2"), 16),
    ],
)
def test_entries_of_8_and_16_bits(data: np.ndarray, bits: int) -> None:
    stored = np.array([[0, 7, 255]], np.uint8)
    assert palette(data, bits=bits).rgb(stored).tolist() == [[[0] * 3, [7] * 3, [255] * 3]]


def test_values_beyond_the_table_get_its_ends_and_the_first_value_is_minded() -> None:
    found = palette([10, 20, 30, 0], count=3, first=100).rgb(np.array([[0, 100, 101, 102, 9999]], np.uint16))
    assert found[0, :, 0].tolist() == [10, 10, 20, 30, 30]


def test_a_table_of_65536_entries_of_8_bits() -> None:
    data = (np.arange(65536) // 256).astype("u1")
    assert palette(data, count=65536).rgb(np.array([[0, 256, 65535]], np.uint16))[0, :, 1].tolist() == [0, 1, 255]


def test_segments_are_discrete_linear_and_indirect() -> None:
    data = [0, 2, 0, 4, 1, 4, 20, 2, 2, 0, 0, 0, 0]  # 0 4; line to 20; both again; padded
    found = palette(data, count=12, segmented=True).rgb(np.arange(12, dtype=np.uint8)[None])
    assert found[0, :, 0].tolist() == [0, 4, 8, 12, 16, 20, 0, 4, 8, 12, 16, 20]


def test_indirect_segments_of_16_bits_count_in_bytes() -> None:
    data = np.array([0, 1, 5, 0, 2, 256, 512, 2, 1, 6, 0], "<u2").tobytes()
    found = palette(data, count=5, bits=16, segmented=True).rgb(np.arange(5, dtype=np.uint8)[None])
    assert found[0, :, 0].tolist() == [0, 1, 2, 1, 2]


@pytest.mark.parametrize(
    "data",
    [
        [1, 4, 20],  # a line from nowhere
        [0, 200, 1],  # cut
        [0, 1, 9, 2, 1, 3, 0, 0, 0],  # a copy of a copy
        [0, 1, 9, 2, 1, 1, 0, 0, 0],  # a copy of half a segment
        [3, 1, 9, 0],  # unknown
        [0, 1, 9, 0],  # too short
    ],
)
def test_bad_segments_are_refused(data: list[int]) -> None:
    with pytest.raises(Rejection) as caught:
        palette(data, segmented=True)
    assert caught.value.reason is Reason.IMPLAUSIBLE_HEADER


def test_copies_of_copies_end() -> None:
    data = [0, 1, 9, 1, 255, 9] + [2, 2, 0, 0, 0, 0] * 3000
    assert palette(data, segmented=True).rgb(np.zeros((1, 1), np.uint8)).tolist() == [[[9] * 3]]


def test_a_missing_or_short_table_is_refused() -> None:
    with pytest.raises(Rejection) as caught:
        palette([1, 2])
    assert caught.value.detail == "RedPaletteColorLookupTableData"
    with pytest.raises(Rejection) as caught:
        Palette(Dataset())
    assert (caught.value.reason, caught.value.detail) == (
        Reason.MISSING_ATTRIBUTE,
        "RedPaletteColorLookupTableDescriptor",
    )
