"""Geometry: the facts and the verdict, one fault at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oncurate import geometry
from oncurate.errors import Rejection
from oncurate.geometry import Layout
from oncurate.reasons import Reason

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def lay(along: list[float], *, u: float = 0.0, v: float = 0.0, **changed: Any) -> Layout:
    n = len(along)
    positions = np.array([[k * u, k * v, z] for k, z in enumerate(along)])
    given = {
        "positions": positions,
        "orientations": np.tile(AXIAL, (n, 1)),
        "spacings": np.full((n, 2), 0.8),
        "sizes": np.tile((16, 12), (n, 1)),
        **changed,
    }
    return geometry.lay_out(**given)


def refusal(layout: Layout) -> tuple[Reason, str]:
    assert layout.refusal is not None
    assert not layout.geometry.regularly_spaced_3d_volume
    return layout.refusal.reason, layout.refusal.detail


def test_a_regular_stack_is_ordered_along_its_normal() -> None:
    layout = lay([4.0, 0.0, 2.0])
    assert layout.refusal is None
    assert layout.order.tolist() == [1, 2, 0]
    assert layout.geometry.origin == (0.0, 0.0, 0.0) or layout.geometry.origin[2] == 0.0
    assert layout.geometry.spacing == (0.8, 0.8, 2.0)
    assert layout.geometry.shape == (12, 16, 3)
    assert layout.geometry.regularly_spaced_3d_volume
    assert layout.geometry.gantry_tilt_degrees == pytest.approx(0)


def test_spacing_is_column_distance_first() -> None:
    layout = lay([0, 2], spacings=np.array([[0.5, 0.7]] * 2))
    assert layout.geometry.spacing == (0.7, 0.5, 2.0)


def test_the_tilt_is_computed_from_the_positions() -> None:
    step = 2.0
    layout = lay([0, step, 2 * step, 3 * step], v=step * np.tan(np.radians(18.5)))
    assert refusal(layout) == (Reason.GANTRY_TILT, "18.5 degrees")
    assert layout.geometry.gantry_tilt_degrees == pytest.approx(18.5)
    assert not layout.geometry.consistent_in_plane_col
    assert layout.geometry.consistent_in_plane_row


def test_a_drift_that_is_not_linear_is_no_tilt() -> None:
    positions = np.array([[0, 0, 0], [0, 3, 2], [0, 0, 4], [0, 3, 6]], float)
    assert refusal(lay([0, 2, 4, 6], positions=positions))[0] is Reason.IN_PLANE_DRIFT


@pytest.mark.parametrize(
    ("along", "detail"),
    [([0, 2, 4, 8, 10], "1 of 6 missing"), ([0, 5, 15], "1 of 4 missing"), ([0, 1, 2, 3, 203], "199 of 204 missing")],
)
def test_gaps_of_whole_slices_are_missing_slices(along: list[float], detail: str) -> None:
    assert refusal(lay(along)) == (Reason.MISSING_SLICES, detail)


def test_other_gaps_are_uneven_spacing() -> None:
    assert refusal(lay([0, 2, 4, 7, 9]))[0] is Reason.UNEVEN_SPACING
    assert refusal(lay([0, 1.08, 8.08, 9.08])) == (Reason.UNEVEN_SPACING, "1.00 to 7.00 mm")


def test_uneven_and_tilted_says_both() -> None:
    positions = np.array([[0, z * 0.4, z] for z in (0, 1, 5, 12)], float)
    assert refusal(lay([0] * 4, positions=positions)) == (
        Reason.UNEVEN_SPACING,
        "1.00 to 7.00 mm, also tilted by 21.8 degrees",
    )


@pytest.mark.parametrize(("jitter", "uniform"), [(0.019, True), (0.045, False)])
def test_a_step_may_deviate_by_one_per_cent(jitter: float, uniform: bool) -> None:
    layout = lay([0, 2, 4 + jitter, 6, 8])
    assert layout.geometry.uniform_slice_spacing is uniform


def test_rounded_table_positions_are_uniform_though_one_step_is_two_per_cent_off() -> None:
    along = 3.27 * np.arange(40)
    along[10:] += 0.02
    along[20:] -= 0.08
    along[30:] += 0.02
    assert np.abs(np.diff(along) - 3.27).max() > 0.01 * 3.27
    assert lay(along.tolist()).geometry.uniform_slice_spacing


def test_the_grid_tolerance_does_not_help_thin_slices() -> None:
    along = 0.5 * np.arange(9)
    along[4] += 0.03
    assert not lay(along.tolist()).geometry.uniform_slice_spacing


def test_repeated_positions() -> None:
    assert refusal(lay([0, 2, 2, 4])) == (Reason.REPEATED_POSITIONS, "1 of 4 slices repeat a position")


def test_a_sheared_orientation() -> None:
    sheared = np.tile((1.0, 0.0, 0.0, 0.05, 0.99875, 0.0), (3, 1))
    assert refusal(lay([0, 2, 4], orientations=sheared))[0] is Reason.SHEARED_ORIENTATION
    long = np.tile((1.1, 0.0, 0.0, 0.0, 1.0, 0.0), (3, 1))
    assert refusal(lay([0, 2, 4], orientations=long))[0] is Reason.SHEARED_ORIENTATION
    with pytest.raises(Rejection, match="sheared"):
        lay([0, 2], orientations=np.zeros((2, 6)))


def test_rounded_direction_cosines_are_kept_and_larger_skew_is_squared() -> None:
    kept = geometry.axes(np.array([1, 0, 0, 5e-5, 1, 0]))
    assert kept[1][0] == pytest.approx(5e-5)
    squared = geometry.axes(np.array([1, 0, 0, 5e-3, 1, 0]))
    assert squared[0] @ squared[1] == pytest.approx(0, abs=1e-12)
    assert kept[2]
    assert squared[2]


def test_mixed_sizes() -> None:
    assert refusal(lay([0, 2], sizes=np.array([(16, 12), (16, 13)])))[0] is Reason.MIXED_SIZES
    assert refusal(lay([0, 2], spacings=np.array([[0.8, 0.8], [0.8, 0.9]])))[0] is Reason.MIXED_SIZES


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"positions": np.array([[0, 0, 0], [0, 0, np.nan]])}, "ImagePositionPatient"),
        ({"positions": np.array([[0, 0, 0], [0, 0, 1e9]])}, "ImagePositionPatient"),
        ({"orientations": np.full((2, 6), np.inf)}, "ImageOrientationPatient"),
        ({"spacings": np.zeros((2, 2))}, "PixelSpacing"),
        ({"spacings": np.full((2, 2), 500.0)}, "PixelSpacing"),
    ],
)
def test_numbers_that_cannot_be_are_implausible(changed: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejection) as caught:
        lay([0, 2], **changed)
    assert (caught.value.reason, caught.value.detail) == (Reason.IMPLAUSIBLE_HEADER, detail)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (30, 30), (60, 30), (90, 0)])
def test_obliquity_is_the_angle_to_the_nearest_axis(degrees: float, expected: float) -> None:
    angle = np.radians(degrees)
    assert geometry.obliquity(np.array([0, np.sin(angle), np.cos(angle)])) == pytest.approx(expected, abs=1e-5)


def test_a_projection_has_a_pixel_size_but_no_place() -> None:
    found = geometry.planar(None, None, (0.1, 0.2), (30, 20), thickness=1.0, spacing_source="ImagerPixelSpacing")
    assert (found.in_patient, found.spacing, found.shape) == (False, (0.2, 0.1, 1.0), (20, 30, 1))
    assert (found.obliquity_degrees, found.regularly_spaced_3d_volume) == (None, False)
    bare = geometry.planar(None, None, None, (30, 20), thickness=1.0, spacing_source="none")
    assert (bare.spacing, bare.spacing_source) == ((1.0, 1.0, 1.0), "none")
