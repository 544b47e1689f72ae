"""Regridding: what is at a place in the patient before is there afterwards, whatever the tilt and the distances."""

from __future__ import annotations

import numpy as np
import pytest

from oncurate import regrid
from oncurate.errors import Rejection
from oncurate.geometry import lay_out
from oncurate.reasons import Reason
from oncurate.records import Geometry
from tests.phantoms import AXIAL, turned

EVEN = 3.0 * np.arange(14)
UNEVEN = np.cumsum([0, 4, 4, 4, 4, 1.08, 7, 7, 7])
OBLIQUE = turned(20, 35, -50)
ROWS, COLUMNS = 40, 34
SPACING = (0.9, 1.1)  # between rows, between columns


def stack(along: np.ndarray, *, u: float = 0.0, v: float = 0.0, orientation: tuple = AXIAL) -> tuple:
    """Positions and geometry of slices that shift by `u` and `v` mm along row and column for each mm of normal."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    positions = np.array([-31.0, 12.0, 77.0]) + np.outer(along, normal + u * row + v * column)
    n = len(along)
    layout = lay_out(
        positions, np.tile(orientation, (n, 1)), np.tile(SPACING, (n, 1)), np.tile((ROWS, COLUMNS), (n, 1))
    )
    assert layout.order.tolist() == list(range(n))
    return positions, layout.geometry


def places(origins: np.ndarray, geometry: Geometry, rows: int, columns: int) -> np.ndarray:
    """LPS mm of every pixel of slices whose first pixels are at `origins`: (slices, rows, columns, 3)."""
    right = np.arange(columns)[:, None] * geometry.spacing[0] * np.array(geometry.row)
    down = np.arange(rows)[:, None] * geometry.spacing[1] * np.array(geometry.column)
    return origins[:, None, None] + down[None, :, None] + right[None, None]


def grid(geometry: Geometry) -> np.ndarray:
    """LPS mm of every voxel of a regular grid."""
    columns, rows, slices = geometry.shape
    along = np.arange(slices)[:, None] * geometry.spacing[2] * np.array(geometry.normal)
    return places(np.array(geometry.origin) + along, geometry, rows, columns)


def slope(points: np.ndarray) -> np.ndarray:
    """A field that linear interpolation does not change."""
    return points @ np.array([0.7, -1.3, 0.4]) + 500


def ball(points: np.ndarray, centre: np.ndarray, radius: float = 9.0) -> np.ndarray:
    """1000 in a ball with a soft edge of 2 mm, 0 around it."""
    return 1000 / (1 + np.exp((np.linalg.norm(points - centre, axis=-1) - radius) / 0.5))


CASES = [
    pytest.param(along, u, v, orientation, id=f"{name}-{u}-{v}-{turn}")
    for along, name in ((EVEN, "even"), (UNEVEN, "uneven"))
    for u, v in ((0.0, 0.33), (0.0, -0.33), (0.25, 0.0), (-0.2, 0.4))
    for orientation, turn in ((AXIAL, "axial"), (OBLIQUE, "oblique"))
]


@pytest.mark.parametrize(("along", "u", "v", "orientation"), CASES)
def test_every_voxel_is_where_it_was(along: np.ndarray, u: float, v: float, orientation: tuple) -> None:
    positions, tilted = stack(along, u=u, v=v, orientation=orientation)
    array = slope(places(positions, tilted, ROWS, COLUMNS)).astype(np.float32)
    done = regrid.even_out if along is UNEVEN else regrid.shear
    found, geometry, _ = done(array, positions, tilted, outside=-5000)
    assert found.shape == geometry.shape[::-1]
    wrong = np.abs(found - slope(grid(geometry)))
    covered = found != -5000
    if along is EVEN:
        assert covered.sum(axis=(1, 2)).tolist() == [ROWS * COLUMNS] * len(found)
    else:
        assert covered.sum() > 0.8 * len(found) * ROWS * COLUMNS
    assert np.median(wrong[covered]) < 1e-3
    half_a_pixel = (
        np.abs(np.array([[0.7, -1.3, 0.4]]) @ np.array([tilted.row, tilted.column]).T * SPACING[::-1]).sum() / 2
    )
    assert wrong[covered].max() < half_a_pixel + 1e-3


@pytest.mark.parametrize(("along", "u", "v", "orientation"), CASES)
def test_a_ball_stays_where_it_is(along: np.ndarray, u: float, v: float, orientation: tuple) -> None:
    positions, tilted = stack(along, u=u, v=v, orientation=orientation)
    pixels = places(positions, tilted, ROWS, COLUMNS)
    centre = pixels[len(along) // 2, ROWS // 2, COLUMNS // 2]
    done = regrid.even_out if along is UNEVEN else regrid.shear
    found, geometry, _ = done(ball(pixels, centre).astype(np.int16), positions, tilted, outside=0)
    where = grid(geometry)
    centroid = (where * found[..., None]).sum(axis=(0, 1, 2)) / found.sum()
    away = centroid - centre
    normal = np.array(geometry.normal)
    assert np.linalg.norm(away - away @ normal * normal) < 0.1
    assert abs(away @ normal) < (0.1 if along is EVEN else 0.1 * geometry.spacing[2])
    again = np.abs(found - ball(where, centre))
    assert again.mean() < 0.01 * 1000
    assert found.dtype == np.int16


def test_the_grid_grows_by_the_shift_and_keeps_every_slice_whole() -> None:
    positions, tilted = stack(EVEN, v=0.3)  # 39 mm along the normal: 11.7 mm, 13 rows of 0.9 mm
    array = np.arange(14 * ROWS * COLUMNS, dtype=np.int32).reshape(14, ROWS, COLUMNS)
    found, geometry, step = regrid.shear(array, positions, tilted, outside=-7)
    assert geometry.shape == (COLUMNS, ROWS + 13, 14)
    assert geometry.regularly_spaced_3d_volume
    assert geometry.gantry_tilt_degrees == 0.0
    assert [int((plane != -7).sum()) for plane in found] == [ROWS * COLUMNS] * 14
    np.testing.assert_array_equal(found[3, 3 : 3 + ROWS], array[3])  # 9 mm: 2.7 mm, exactly 3 rows
    assert step.name == "shear"
    assert step.arguments == {
        "interpolation": "linear",
        "old_shape": [COLUMNS, ROWS, 14],
        "new_shape": [COLUMNS, ROWS + 13, 14],
        "old_spacing_mm": pytest.approx([1.1, 0.9, 3.0]),
        "new_spacing_mm": pytest.approx([1.1, 0.9, 3.0]),
        "degrees": pytest.approx(np.degrees(np.arctan(0.3))),
        "outside": -7,
    }


def test_a_backward_shift_moves_the_origin() -> None:
    positions, tilted = stack(EVEN, v=-0.3)
    _, geometry, _ = regrid.shear(np.zeros((14, ROWS, COLUMNS), np.int16), positions, tilted)
    np.testing.assert_allclose(np.array(geometry.origin) - positions[0], [0, -11.7, 0], atol=1e-9)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    positions, tilted = stack(np.array([0.0, 3.0, 6.0]), v=0.15)  # 0, half a row, one row
    array = np.zeros((3, ROWS, COLUMNS), np.int16)
    array[1, 10:] = 10
    found, _, _ = regrid.shear(array, positions, tilted)
    assert found[1, 8:13, 0].tolist() == [0, 0, 5, 10, 10]


def test_evened_slices_reach_from_the_first_to_the_last_and_keep_what_coincides() -> None:
    along = np.array([0.0, 2.0, 4.0, 7.0, 10.0, 13.0])
    positions, geometry = stack(along)
    array = np.random.default_rng(0).integers(0, 1000, (6, ROWS, COLUMNS)).astype(np.int16)
    found, evened, step = regrid.even_out(array, positions, geometry)
    # the smallest distance that divides 13 mm nearest to 2 mm: 13 / 6
    assert evened.shape[2] == 7
    assert evened.spacing[2] == pytest.approx(13 / 6)
    np.testing.assert_array_equal(found[[0, -1]], array[[0, -1]])
    assert evened.origin == geometry.origin
    assert step.arguments["acquired_steps_mm"] == [2.0, 3.0]
    assert step.arguments["degrees"] == 0.0
    mixed = array[1] * (1 - 1 / 12) + array[2] * (1 / 12)
    assert np.abs(found[1] - mixed).max() < 0.5 + 1e-9


def test_whole_multiples_keep_all_acquired_slices() -> None:
    along = np.array([0.0, 1.5, 3.0, 6.0, 9.0, 12.0])
    positions, geometry = stack(along)
    array = np.random.default_rng(0).normal(size=(6, ROWS, COLUMNS)).astype(np.float32)
    found, evened, _ = regrid.even_out(array, positions, geometry)
    assert evened.shape[2] == 9
    np.testing.assert_array_equal(found[[0, 1, 2, 4, 6, 8]], array)
    np.testing.assert_allclose(found[3], (array[2] + array[3]) / 2, rtol=1e-6)


def test_integers_are_rounded_half_to_even() -> None:
    positions, geometry = stack(np.array([0.0, 1.5, 3.0, 6.0, 9.0, 12.0]))
    array = np.zeros((6, ROWS, COLUMNS), np.int16)
    array[3, 0, :4] = [1, 3, 5, -1]
    assert regrid.even_out(array, positions, geometry)[0][3, 0, :4].tolist() == [0, 2, 2, 0]


def test_jitter_keeps_the_number_of_slices() -> None:
    along = np.round(1.25 * np.arange(60), 1)
    positions, geometry = stack(along)
    assert not geometry.uniform_slice_spacing
    found, evened, _ = regrid.even_out(np.zeros((60, ROWS, COLUMNS), np.int16), positions, geometry)
    assert len(found) == 60
    assert evened.spacing[2] == pytest.approx(along[-1] / 59)


def test_two_slices_that_nearly_touch_do_not_set_the_distance_of_all() -> None:
    positions, geometry = stack(np.array([0.0, 3.0, 3.05, 6.0, 9.0]))
    assert regrid.even_out(np.zeros((5, ROWS, COLUMNS), np.int16), positions, geometry)[1].shape[2] == 10


@pytest.mark.parametrize(
    ("dtype", "outside", "filled"),
    [
        (np.int16, -1024.0, -1024),
        (np.uint16, -1024.0, 3),
        (np.int16, 0.5, 3),
        (np.int16, None, 3),
        (np.float32, -0.5, -0.5),
        (np.float32, float("nan"), 3),
    ],
)
def test_what_no_slice_covers_is_outside_or_the_least_value(dtype: type, outside: float | None, filled: float) -> None:
    positions, tilted = stack(EVEN, v=0.3)
    found, _, step = regrid.shear(np.full((14, ROWS, COLUMNS), 3, dtype), positions, tilted, outside=outside)
    assert found.dtype == dtype
    assert found[0, -1, 0] == filled
    assert step.arguments["outside"] == filled


def test_colour_is_shifted_as_grey_is() -> None:
    positions, tilted = stack(EVEN, u=-0.2, v=0.37)
    grey = np.random.default_rng(0).integers(0, 255, (14, ROWS, COLUMNS)).astype(np.uint8)
    colour = np.stack([grey, grey // 2, grey], axis=-1)
    np.testing.assert_array_equal(
        regrid.shear(colour, positions, tilted, outside=0)[0][..., 0],
        regrid.shear(grey, positions, tilted, outside=0)[0],
    )


def test_positions_that_lie_do_not_allocate_what_they_ask_for() -> None:
    positions, tilted = stack(EVEN * 10, v=200.0)
    with pytest.raises(Rejection) as caught:
        regrid.shear(np.zeros((14, ROWS, 1000), np.int16), positions, tilted)
    assert caught.value.reason is Reason.GRID_TOO_LARGE


def test_the_input_is_not_changed() -> None:
    positions, tilted = stack(UNEVEN, v=0.37)
    array = np.random.default_rng(0).integers(0, 255, (9, ROWS, COLUMNS)).astype(np.int16)
    before = array.copy()
    regrid.even_out(array, positions, tilted)
    np.testing.assert_array_equal(array, before)
