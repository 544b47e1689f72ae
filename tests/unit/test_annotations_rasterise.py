"""Filling polygons: exact by an independent rule, no voxel twice, areas of known solids, holes, crossings."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial import Delaunay

from oncurate.annotations import rasterise
from tests.structure_sets import circle

SHAPE = (24, 20)
"""Columns, rows."""
KENDALL = 0.676497
"""Voxel centres in a circle of radius r, placed at random, number pi r^2 with variance KENDALL r (Kendall 1948)."""


def whole(patch: rasterise.Patch, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The plane, bool (rows, columns)."""
    plane = np.zeros(shape[::-1], bool)
    plane[patch.box] = patch.mask
    return plane


def exact(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Every voxel by itself, in fractions: crossings at or to the left of its centre; edges hold their upper end."""
    corners = [(Fraction(float(x)), Fraction(float(y))) for x, y in points]
    plane = np.zeros(shape[::-1], bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        for row in range(shape[1]):
            if min(y0, y1) <= row < max(y0, y1):
                crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
                plane[row] ^= np.array([column >= crossing for column in range(shape[0])])
    return plane


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_is_filled_as_exact_arithmetic_fills_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # halves and quarters put corners and edges on voxel centres; some corners lie outside the plane
    points = rng.integers(-16, 112, (rng.integers(3, 12), 2)) / 4
    np.testing.assert_array_equal(whole(rasterise.polygon(points, SHAPE)), exact(points, SHAPE))


@pytest.mark.parametrize("step", [1.0, 0.25, 0.37])
def test_triangles_that_share_edges_share_no_voxel_and_leave_none_out(step: float) -> None:
    rng = np.random.default_rng(3)
    low, high = 2.0, 17.0
    within = low + step * rng.integers(1, (high - low) / step, (60, 2))
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    points = np.unique(np.concatenate([corners, within]), axis=0)
    times = np.zeros(SHAPE[::-1], int)
    for triangle in points[Delaunay(points).simplices]:
        times += whole(rasterise.polygon(triangle, SHAPE))
    np.testing.assert_array_equal(times, whole(rasterise.polygon(corners, SHAPE)).astype(int))
    assert times.sum() == 15 * 15


def test_edges_belong_to_what_is_right_of_them_and_below() -> None:
    square = np.array([[2, 3], [6, 3], [6, 7], [2, 7]], float)
    found = whole(rasterise.polygon(square, SHAPE))
    assert np.flatnonzero(found.any(axis=0)).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(found.any(axis=1)).tolist() == [3, 4, 5, 6]


def test_a_shift_of_a_tenth_of_a_voxel_moves_the_edge_only_where_it_passes_a_centre() -> None:
    square = np.array([[1.95, 3.5], [6.5, 3.5], [6.5, 7.5], [1.95, 7.5]])
    before, after = (rasterise.polygon(square + np.array([shift, 0]), SHAPE).mask.sum() for shift in (0.0, 0.1))
    assert (before, after) == (20, 16)


@pytest.mark.parametrize("radius", [5.0, 20.0, 80.0])
def test_circles_anywhere_have_their_area_within_what_theory_allows(radius: float) -> None:
    rng = np.random.default_rng(int(radius))
    side = int(2 * radius) + 6
    counts = []
    for x, y in rng.uniform(side / 2 - 1, side / 2, (40, 2)):
        points = circle(x, y, radius)
        j, i = np.mgrid[:side, :side]
        found = whole(rasterise.polygon(points, (side, side)), (side, side))
        assert (found != ((i - x) ** 2 + (j - y) ** 2 < radius**2)).sum() <= 3  # a circle has no corners
        counts.append(found.sum())
    error = np.array(counts) - np.pi * radius**2
    spread = np.sqrt(KENDALL * radius)
    assert abs(error.mean()) < 4 * spread / np.sqrt(len(error))
    assert np.abs(error).max() < 5 * spread


def test_the_direction_and_the_start_of_a_contour_do_not_matter() -> None:
    points = circle(11.3, 9.1, 6.4, 50)
    expected = whole(rasterise.polygon(points, SHAPE))
    np.testing.assert_array_equal(whole(rasterise.polygon(points[::-1], SHAPE)), expected)
    np.testing.assert_array_equal(whole(rasterise.polygon(np.roll(points, 17, axis=0), SHAPE)), expected)
    np.testing.assert_array_equal(whole(rasterise.polygon(np.vstack([points, points[:1]]), SHAPE)), expected)


def test_what_lies_beyond_the_plane_is_cut_off() -> None:
    assert whole(rasterise.polygon(np.array([[-50, -50], [90, -50], [90, 90], [-50, 90]], float), SHAPE)).all()
    half = whole(rasterise.polygon(circle(0, 9, 5), SHAPE))
    assert half[:, 0].sum() == 9
    assert not whole(rasterise.polygon(circle(-20, 9, 5), SHAPE)).any()


def test_a_contour_within_another_is_a_hole_and_one_within_that_an_island() -> None:
    rings = [circle(11, 10, radius) for radius in (3.2, 9.3, 6.1)]
    discs = [whole(rasterise.polygon(one, SHAPE)) for one in rings]
    found = rasterise.polygons(rings, SHAPE)
    np.testing.assert_array_equal(whole(found), discs[1] & ~discs[2] | discs[0])
    np.testing.assert_array_equal(whole(rasterise.polygons(rings, SHAPE, xor=True)), whole(found))
    assert not found.overlap
    assert not found.crosses_itself


def test_contours_that_overlap_in_part_are_united_and_told() -> None:
    pair = [circle(8, 10, 5), circle(13, 10, 4)]
    discs = [whole(rasterise.polygon(one, SHAPE)) for one in pair]
    found = rasterise.polygons(pair, SHAPE)
    np.testing.assert_array_equal(whole(found), discs[0] | discs[1])
    assert found.overlap
    exclusive = rasterise.polygons(pair, SHAPE, xor=True)
    np.testing.assert_array_equal(whole(exclusive), discs[0] ^ discs[1])
    assert not exclusive.overlap


def test_contours_side_by_side_are_both_there() -> None:
    pair = [circle(5, 10, 3), circle(15, 10, 4)]
    found = rasterise.polygons(pair, SHAPE)
    assert whole(found).sum() == sum(rasterise.polygon(one, SHAPE).mask.sum() for one in pair)
    assert not found.overlap


def test_a_keyhole_leaves_its_hole_and_does_not_count_as_crossing() -> None:
    outer, inner = circle(11, 10, 8), circle(11, 10, 4)
    outline = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    found = rasterise.polygon(outline, SHAPE)
    expected = whole(rasterise.polygons([outer, inner], SHAPE))
    np.testing.assert_array_equal(whole(found), expected)
    assert not found.crosses_itself


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([[2, 2], [12, 12], [12, 2], [2, 12]], True),  # a bow tie turns both ways
        (np.concatenate([circle(10, 10, 7), circle(11, 10, 4)]), True),  # a loop within a loop turns twice
        ([[2, 2], [14, 2], [8, 7], [14, 14], [2, 14]], False),  # not convex, and no harm
    ],
)
def test_a_contour_that_crosses_itself_is_told(points: object, crosses: bool) -> None:
    found = rasterise.polygons([np.array(points, float)], SHAPE)
    assert found.crosses_itself is crosses
    np.testing.assert_array_equal(whole(found), exact(np.array(points, float), SHAPE))


def test_closed_contours_hold_the_centres_that_they_pass_through() -> None:
    # traced from centre to centre around the voxels 3..6 x 4..8, with a slanting corner
    traced = np.array([[3, 4], [6, 4], [6, 7], [5, 8], [3, 8]], float)
    rows, columns = np.mgrid[:20, :24]
    expected = (columns >= 3) & (columns <= 6) & (rows >= 4) & (rows <= 8) & (rows + columns <= 13)
    np.testing.assert_array_equal(whole(rasterise.polygons([traced], SHAPE, closed=True)), expected)
    np.testing.assert_array_equal(whole(rasterise.polygons([traced[::-1]], SHAPE, closed=True)), expected)
    assert whole(rasterise.polygons([traced], SHAPE)).sum() < expected.sum()


def test_a_closed_hole_keeps_the_centres_on_its_contour() -> None:
    outer = np.array([[1, 1], [12, 1], [12, 12], [1, 12]], float)
    hole = np.array([[4, 4], [8, 4], [8, 8], [4, 8]], float)
    found = whole(rasterise.polygons([outer, hole], SHAPE, closed=True))
    assert found.sum() == 12 * 12 - 3 * 3
    assert not found[5:8, 5:8].any()


def test_contours_between_centres_are_the_same_closed_or_not() -> None:
    points = [circle(11.2, 9.7, 7.3, 90)]
    np.testing.assert_array_equal(
        whole(rasterise.polygons(points, SHAPE, closed=True)), whole(rasterise.polygons(points, SHAPE))
    )


def test_occupancy_is_the_area_inside_each_voxel() -> None:
    square = np.array([[2.25, 3.5], [6.5, 3.5], [6.5, 7.5], [2.25, 7.5]])
    found = rasterise.occupancy([square], SHAPE, 8)
    assert found.shape == SHAPE[::-1]
    assert found[4, 2] == pytest.approx(0.25)
    assert found[4, 3] == 1
    assert found.sum() == pytest.approx(rasterise.area(square))
    disc = circle(11.3, 9.1, 6.4)
    assert rasterise.occupancy([disc], SHAPE, 8).sum() == pytest.approx(np.pi * 6.4**2, rel=5e-3)


def test_many_crossings_are_counted_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(5).uniform(-3, 25, (200, 2))
    expected = whole(rasterise.polygons([points], SHAPE, closed=True))
    monkeypatch.setattr(rasterise, "CROSSINGS_AT_A_TIME", 7)
    np.testing.assert_array_equal(whole(rasterise.polygons([points], SHAPE, closed=True)), expected)


def test_nothing_to_fill() -> None:
    assert not rasterise.polygons([], SHAPE, closed=True).mask.size
    assert not whole(rasterise.polygons([np.array([[3.0, 3.0], [9.0, 9.0]])], SHAPE)).any()
