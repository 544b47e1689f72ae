"""Geometry holds for any orientation: order does not matter, and the matrix inverts the header."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate import geometry
from oncurate.convert import affine_of
from oncurate.reasons import Reason

angles = st.floats(-180, 180)
lengths = st.floats(0.3, 6.0)


@st.composite
def grids(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float], np.ndarray]:
    """Orientation, normal, step, pixel spacing and origin of a stack, rounded as headers are."""
    a, b, c = (np.radians(draw(angles)) for _ in range(3))
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = rx @ ry @ rz
    origin = np.array([draw(st.floats(-500, 500)) for _ in range(3)])
    return (
        np.round(np.concatenate([turn[0], turn[1]]), 6),
        turn[2],
        draw(lengths),
        (draw(lengths), draw(lengths)),
        origin,
    )


def lay(grid: tuple, offsets: np.ndarray, order: np.ndarray) -> geometry.Layout:
    orientation, normal, step, spacing, origin = grid
    positions = np.round(origin + np.outer(offsets * step, normal), 5)[order]
    n = len(offsets)
    return geometry.lay_out(positions, np.tile(orientation, (n, 1)), np.tile(spacing, (n, 1)), np.tile((8, 6), (n, 1)))


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(2, 12), st.randoms(use_true_random=False))
def test_any_regular_stack_is_regular_in_any_order(grid: tuple, n: int, random: object) -> None:
    order = list(range(n))
    random.shuffle(order)  # type: ignore[attr-defined]  # Hypothesis' random is a Random
    layout = lay(grid, np.arange(n), np.array(order))
    assert layout.refusal is None
    assert [order[k] for k in layout.order] == list(range(n))
    assert layout.geometry == lay(grid, np.arange(n), np.arange(n)).geometry


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(4, 12), st.data())
def test_any_missing_slice_is_found(grid: tuple, n: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, n - 2))
    offsets = np.delete(np.arange(n), gone)
    layout = lay(grid, offsets, np.arange(n - 1))
    assert layout.refusal is not None
    if n > 4:
        assert (layout.refusal.reason, layout.refusal.detail) == (Reason.MISSING_SLICES, f"1 of {n} missing")


@settings(max_examples=60, deadline=None)
@given(grids(), st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 4)))
def test_the_matrix_places_a_pixel_where_the_header_says(grid: tuple, voxel: tuple[int, int, int]) -> None:
    orientation, normal, step, (between_rows, between_columns), origin = grid
    found = lay(grid, np.arange(5), np.arange(5)).geometry
    column, row, k = voxel
    lps = origin + normal * step * k + orientation[:3] * between_columns * column + orientation[3:] * between_rows * row
    ras = affine_of(found) @ [column, 8 - 1 - row, k, 1]
    np.testing.assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(grids(), st.floats(2, 40))
def test_any_tilt_is_measured(grid: tuple, degrees: float) -> None:
    orientation, normal, _, spacing, origin = grid
    step = 3.0
    shear = orientation[3:] * np.tan(np.radians(degrees))
    positions = np.array([origin + (normal + shear) * step * k for k in range(6)])
    layout = geometry.lay_out(
        positions, np.tile(orientation, (6, 1)), np.tile(spacing, (6, 1)), np.tile((8, 6), (6, 1))
    )
    assert layout.refusal is not None
    assert layout.refusal.reason is Reason.GANTRY_TILT
    assert abs(layout.geometry.gantry_tilt_degrees - degrees) < 0.01
