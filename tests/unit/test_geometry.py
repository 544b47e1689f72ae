"""Geometry: the facts and the verdict, one fault at a time, and that nothing but position and orientation places it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncurate import geometry
from oncurate.errors import Rejection
from oncurate.geometry import Layout
from oncurate.reasons import Reason
from tests.golden import chain
from tests.phantoms import AXIAL, placed_series, turned


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


def tilted(*along: float) -> Layout:
    return lay([0] * len(along), positions=np.array([[0, z * 0.4, z] for z in along], float))


def test_uneven_and_tilted_says_both() -> None:
    layout = tilted(0, 1, 5.5, 12)
    assert refusal(layout) == (Reason.UNEVEN_SPACING, "1.00 to 6.50 mm, also tilted by 21.8 degrees")
    assert (layout.drifts, layout.tilted) == (True, True)


def test_a_gap_in_a_tilted_stack_is_a_gap() -> None:
    layout = tilted(0, 2, 4, 8, 10, 12)
    assert refusal(layout) == (Reason.MISSING_SLICES, "1 of 7 missing, also tilted by 21.8 degrees")
    assert layout.runs == (3, 3)


def test_uneven_slices_that_drift_at_random_are_not_tilted() -> None:
    positions = np.array([[0, 3 * (z % 2), z] for z in (0, 1, 5.5, 12)], float)
    layout = lay([0] * 4, positions=positions)
    assert refusal(layout)[0] is Reason.UNEVEN_SPACING
    assert (layout.drifts, layout.tilted) == (True, False)


def test_two_slices_show_no_tilt() -> None:
    layout = lay([0, 2], v=0.7)
    assert refusal(layout) == (Reason.IN_PLANE_DRIFT, "0.70 mm")
    assert not layout.tilted


@pytest.mark.parametrize(
    ("along", "runs"),
    [([0, 2, 4, 8, 10], (3, 2)), ([0, 6, 8, 10, 20], (1, 3, 1)), ([0, 2, 4], (3,)), ([0, 2, 4, 7, 9], (5,))],
)
def test_runs_end_at_gaps_of_whole_slices_only(along: list[float], runs: tuple[int, ...]) -> None:
    assert lay(along).runs == runs


def test_orientations_that_fan_out_are_no_volume() -> None:
    angles = np.radians([-0.5, 0.0, 0.5])
    fan = np.array([[1, 0, 0, 0, np.cos(a), np.sin(a)] for a in angles])
    assert refusal(lay([0, 2, 4], orientations=fan))[0] is Reason.SHEARED_ORIENTATION


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


ON_THE_TABLE = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}
"""Directions of a slice seen from the front of the gantry, by position of the patient (PS3.3 C.7.3.1.1.2)."""
OTHERS = {
    "sagittal": (0, 1, 0, 0, 0, -1),
    "sagittal, mirrored": (0, -1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "coronal, upside down": (1, 0, 0, 0, 0, 1),
    "oblique": turned(25, 0, 0),
    "double oblique": turned(25, -40, 70),
}
MARK_LPS = np.array([-31.25, 12.5, 407.75])


def marked(folder: Path, orientation: tuple, position: str) -> tuple[np.ndarray, np.ndarray]:
    """RAS mm of the brightest voxel of the volume's NIfTI, and its 4 x 4 matrix; the mark is off centre on all axes."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    pixels = np.zeros((6, 16, 12), np.int16)
    pixels[1, 4, 9] = 3000
    first = MARK_LPS - 9 * 0.8 * row - 4 * 0.8 * column - 1 * 2.0 * normal
    paths = placed_series(
        folder, pixels, first + np.outer(2.0 * np.arange(6), normal), orientation, PatientPosition=position
    )
    found = chain.curate([chain.read(path, folder) for path in paths], [])
    [(_, image)] = found.volumes
    [voxel] = np.argwhere(image.array == 3000)
    return (image.affine @ [*voxel, 1])[:3], image.affine


@pytest.mark.parametrize("name", [*ON_THE_TABLE, *OTHERS])
def test_a_mark_keeps_its_place_in_the_patient(name: str, tmp_path: Path) -> None:
    orientation = {**ON_THE_TABLE, **OTHERS}[name]
    position = name if name in ON_THE_TABLE else "HFS"
    found, affine = marked(tmp_path / "one", orientation, position)
    np.testing.assert_allclose(found, MARK_LPS * [-1, -1, 1], atol=1e-4)
    again, same = marked(tmp_path / "other", orientation, "FFP" if position == "HFS" else "HFS")
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(same, affine)
