"""Geometry holds for any orientation: order does not matter, the matrix inverts the header, every planted fault is
found under its own name, and none is found where none was planted. Numbers are rounded as headers round them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oncurate import geometry, regrid
from oncurate.convert import affine_of
from oncurate.reasons import Reason
from tests.phantoms import turned

angles = st.floats(-180, 180)
lengths = st.floats(0.3, 10.0)
counts = st.integers(3, 80)
few = settings(max_examples=300, deadline=None)


def header(values: np.ndarray) -> np.ndarray:
    """Numbers as a decimal string of at most 16 characters gives them back: 10 digits, a sign, a point, an exponent."""
    written = [f"{round(x, 12):.10g}" for x in np.ravel(values).tolist()]
    assert max(map(len, written)) <= 16
    return np.array([float(x) for x in written]).reshape(np.shape(values))


@dataclass(frozen=True)
class Grid:
    """A stack in any orientation; `step` and `spacing` in mm."""

    orientation: np.ndarray
    step: float
    spacing: tuple[float, float]
    origin: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and normal."""
        row, column = self.orientation[:3], self.orientation[3:]
        return row, column, np.cross(row, column)

    def lay(self, along: np.ndarray, across: np.ndarray | None = None, order: np.ndarray | None = None) -> tuple:
        """Positions and layout of slices at these distances (in steps), shifted by `across` (n, 2) mm in plane."""
        row, column, normal = self.axes
        positions = self.origin + np.outer(np.asarray(along) * self.step, normal)
        if across is not None:
            positions = positions + across @ np.array([row, column])
        positions = header(positions)
        if order is not None:
            positions = positions[order]
        n = len(positions)
        return positions, geometry.lay_out(
            positions,
            np.tile(header(self.orientation), (n, 1)),
            np.tile(header(np.array(self.spacing)), (n, 1)),
            np.tile((8, 6), (n, 1)),
        )


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    orientation = np.array(turned(draw(angles), draw(angles), draw(angles)))
    origin = np.array([draw(st.floats(-500, 500)) for _ in range(3)])
    return Grid(orientation, draw(lengths), (draw(lengths), draw(lengths)), origin)


def refusal(layout: geometry.Layout) -> Reason | None:
    return layout.refusal.reason if layout.refusal else None


@few
@given(grids(), counts, st.randoms(use_true_random=False))
def test_any_regular_stack_is_regular_in_any_order(grid: Grid, n: int, random: object) -> None:
    order = list(range(n))
    random.shuffle(order)  # type: ignore[attr-defined]  # Hypothesis' random is a Random
    _, layout = grid.lay(np.arange(n), order=np.array(order))
    assert layout.refusal is None
    assert (layout.runs, layout.drifts, layout.tilted) == ((n,), False, False)
    assert [order[k] for k in layout.order] == list(range(n))
    assert layout.geometry == grid.lay(np.arange(n))[1].geometry


@few
@given(grids(), st.integers(6, 80), st.data())
def test_any_gap_is_found_and_counted(grid: Grid, n: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, n - 2))
    count = data.draw(st.integers(1, n - 1 - first))
    assume(n - count >= 4)
    along = np.delete(np.arange(n), range(first, first + count))
    _, layout = grid.lay(along)
    assert layout.refusal is not None
    assert (layout.refusal.reason, layout.refusal.detail) == (Reason.MISSING_SLICES, f"{count} of {n} missing")
    assert layout.runs == (first, n - count - first)


@few
@given(grids(), counts, st.data())
def test_any_repeated_position_is_found(grid: Grid, n: int, data: st.DataObject) -> None:
    twice = data.draw(st.integers(0, n - 1))
    _, layout = grid.lay(np.array([*range(n), twice]))
    assert layout.refusal is not None
    assert layout.refusal.reason is Reason.REPEATED_POSITIONS
    assert layout.refusal.detail == f"1 of {n + 1} slices repeat a position"


@few
@given(grids(), counts, st.floats(0.5, 40), angles)
def test_any_tilt_is_measured(grid: Grid, n: int, degrees: float, towards: float) -> None:
    shift = np.tan(np.radians(degrees)) * np.array([np.cos(np.radians(towards)), np.sin(np.radians(towards))])
    across = np.outer(np.arange(n) * grid.step, shift)
    assume(np.ptp(across, axis=0).max() > 0.11)  # less than 0.1 mm in all is no drift
    _, layout = grid.lay(np.arange(n), across)
    assert refusal(layout) is Reason.GANTRY_TILT
    assert abs(layout.geometry.gantry_tilt_degrees - degrees) < 0.01


@few
@given(grids(), st.integers(4, 80), st.data())
def test_any_jitter_is_found(grid: Grid, n: int, data: st.DataObject) -> None:
    moved = data.draw(st.integers(1, n - 2))
    least = max(0.03, 0.06 / grid.step)
    assume(least < 0.4)
    along = np.arange(n, dtype=float)
    along[moved] += data.draw(st.floats(least, 0.4)) * data.draw(st.sampled_from([-1, 1]))
    _, layout = grid.lay(along)
    assert refusal(layout) is Reason.UNEVEN_SPACING
    assert not layout.drifts


@few
@given(grids(), counts, st.data())
def test_any_slice_out_of_line_is_found(grid: Grid, n: int, data: st.DataObject) -> None:
    across = np.zeros((n, 2))
    across[data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, 1))] = data.draw(st.floats(0.4, 50))
    _, layout = grid.lay(np.arange(n), across)
    assert refusal(layout) is Reason.IN_PLANE_DRIFT


@few
@given(grids(), st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 4)))
def test_the_matrix_places_a_pixel_where_the_header_says(grid: Grid, voxel: tuple[int, int, int]) -> None:
    positions, layout = grid.lay(np.arange(5))
    column, row, k = voxel
    between_rows, between_columns = grid.spacing
    lps = positions[k] + grid.orientation[:3] * between_columns * column + grid.orientation[3:] * between_rows * row
    ras = affine_of(layout.geometry) @ [column, 8 - 1 - row, k, 1]
    np.testing.assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-3)


@few
@given(
    grids(),
    st.lists(st.floats(0.5, 3.0), min_size=3, max_size=12),
    st.floats(-40, 40),
    st.floats(-40, 40),
)
def test_any_stack_is_put_on_an_even_grid_that_holds_it(
    grid: Grid, steps: list[float], over_rows: float, over_columns: float
) -> None:
    along = np.cumsum([0.0, *steps])
    shift = np.tan(np.radians([over_columns, over_rows]))
    positions, layout = grid.lay(along, np.outer(along * grid.step, shift))
    found = layout.geometry
    row, column, normal = (np.array(v) for v in (found.row, found.column, found.normal))
    dx, dy, _ = found.spacing
    weights = np.array([0.3, -0.7, 0.5])  # a field that linear interpolation keeps as it is

    def field(origins: np.ndarray, rows: int, columns: int) -> np.ndarray:
        right, down = np.arange(columns)[:, None] * dx * row, np.arange(rows)[:, None] * dy * column
        return (origins[:, None, None] + down[None, :, None] + right[None, None]) @ weights

    array, evened, _ = regrid.even_out(field(positions, 8, 6), positions, found, outside=-1e6)
    columns, rows, slices = evened.shape
    assert array.shape == (slices, rows, columns)
    assert len(positions) <= slices <= regrid.MOST_SLICES * len(positions)
    extent = float((positions[-1] - positions[0]) @ normal)
    assert abs(evened.spacing[2] * (slices - 1) - extent) < 1e-6
    origins = np.array(evened.origin) + np.outer(np.arange(slices) * evened.spacing[2], normal)
    covered = array > -1e5
    assert covered[0].sum() == covered[-1].sum() == 8 * 6
    edge = (abs(row @ weights) * dx + abs(column @ weights) * dy) / 2
    # a sample is nearer than 0.1 mm to where the header put it where slices drift by less than that
    assert np.abs(array - field(origins, rows, columns))[covered].max() <= edge + 0.15
