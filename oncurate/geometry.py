"""The grid that slices make in the patient: its facts, and why it is not a regular volume where it is not.

Belongs here: arithmetic on positions, orientations and spacings (LPS, mm). Does not belong here: deciding which slices
belong together (`oncurate.split`). Names and tolerances of the facts follow the volume geometry index of the Imaging
Data Commons; tilt is computed from the positions, because GantryDetectorTilt is missing or of the wrong sign too often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Geometry, Vector

ORIENTATION_TOLERANCE = 0.01
"""Largest difference of a direction cosine within one orientation, and of a vector's length from 1 (IDC)."""
PERPENDICULAR_TOLERANCE = 0.01
"""Largest cosine between row and column direction: half a degree. The norm of their product alone would pass 8."""
IN_PLANE_TOLERANCE_MM = 0.1
"""Slices of one volume shift sideways by less than this (IDC)."""
SLICE_SPACING_TOLERANCE = 0.01
"""Slice distances deviate from their mean by less than this share of it (IDC)."""
PIXEL_SPACING_TOLERANCE = 0.001
"""Relative difference up to which two pixel spacings are one value written with other rounding."""
GRID_TOLERANCE_MM = 0.05
GRID_TOLERANCE = 0.02
"""Slices that all lie this close (mm, and share of the spacing) to a regular grid are uniform, even where two
neighbours' small errors add up to more than 1 % of their distance: whole-body PET rounds the table at every bed."""
SAME_POSITION_MM = 0.01
"""Positions closer than this are one: repeated acquisitions differ by rounding, and no scanner slices this thin."""
NEGLIGIBLE_SKEW = 1e-4
"""Cosine between row and column direction up to which they are kept as given: rounding in the header. Beyond it the
column direction is made perpendicular, so that a rotation (the qform) can say the same as the matrix."""
SPACING_RANGE_MM = (0.001, 100.0)
"""Pixel or slice spacing outside this is not of a human body."""
POSITION_LIMIT_MM = 100_000.0
"""A position further than 100 m from the origin of its frame of reference is not one."""
_MISSING_REMAINDER = 0.1
"""A gap counts as k slices when it is within a tenth of the modal spacing (and 1 % of itself) of k times it."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Slices in order along the normal: `order` indexes the input, `refusal` says why it is no regular volume.

    `drifts`: slices shift sideways by 0.1 mm or more. `tilted`: they do so in proportion to their distance, as a tilted
    gantry makes them, so that nothing but shifting each slice back is needed. `runs`: lengths of the pieces between
    gaps of missing slices, in order; one where there is no such gap.
    """

    order: np.ndarray
    geometry: Geometry
    refusal: Rejection | None
    drifts: bool
    tilted: bool
    runs: tuple[int, ...]


def lay_out(positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray, sizes: np.ndarray) -> Layout:
    """Order slices and judge the grid they make.

    `positions` (n, 3), `orientations` (n, 6), `spacings` (n, 2) between rows then columns, `sizes` (n, 2) rows then
    columns; n >= 2. Raises `Rejection` for numbers that make no plane at all.
    """
    check_plausible(positions, orientations, spacings)
    row, column, _ = axes(orientations[0])
    order = np.argsort(positions @ _unit(np.cross(row, column)), kind="stable")
    positions, orientations = positions[order], orientations[order]
    row, column, orthogonal = axes(orientations[0])
    normal = _unit(np.cross(row, column))
    along, u, v = positions @ normal, positions @ row, positions @ column
    steps = np.diff(along)
    span = float(along[-1] - along[0])
    step = span / (len(along) - 1)
    unique = bool((steps > SAME_POSITION_MM).all())
    uniform = unique and is_uniform(along)
    drift_u, drift_v = float(np.ptp(u)), float(np.ptp(v))
    facts = {
        "single_orientation": bool(np.abs(orientations - orientations[0]).max() <= ORIENTATION_TOLERANCE),
        "orthogonal_orientation": orthogonal and all(axes(o)[2] for o in _distinct(orientations)),
        "unique_slice_positions": unique,
        "consistent_in_plane_row": drift_u < IN_PLANE_TOLERANCE_MM,
        "consistent_in_plane_col": drift_v < IN_PLANE_TOLERANCE_MM,
        "consistent_pixel_spacing": bool(np.allclose(spacings, spacings[0], rtol=PIXEL_SPACING_TOLERANCE, atol=0)),
        "consistent_image_dimensions": bool((sizes == sizes[0]).all()),
        "uniform_slice_spacing": uniform,
    }
    shear_u, shear_v = _slope(along, u), _slope(along, v)
    tilt = float(np.degrees(np.arctan(np.hypot(shear_u, shear_v))))
    drifts = not (facts["consistent_in_plane_row"] and facts["consistent_in_plane_col"])
    residual = max(float(np.ptp(u - shear_u * along)), float(np.ptp(v - shear_v * along)))
    tilted = drifts and residual < IN_PLANE_TOLERANCE_MM and len(along) > 2
    gaps = missing_slices(steps) if unique and not uniform and (tilted or not drifts) else np.zeros(len(steps), int)
    refusal = _refusal(facts, steps, int(gaps.sum()), tilt if tilted else None, max(drift_u, drift_v))
    geometry = Geometry(
        origin=_vector(positions[0]),
        row=_vector(row),
        column=_vector(column),
        normal=_vector(normal),
        spacing=(float(spacings[order[0], 1]), float(spacings[order[0], 0]), step if step > 0 else 1.0),
        shape=(int(sizes[order[0], 1]), int(sizes[order[0], 0]), len(positions)),
        in_patient=True,
        spacing_source="PixelSpacing",
        **facts,
        obliquity_degrees=obliquity(normal),
        gantry_tilt_degrees=tilt,
        regularly_spaced_3d_volume=refusal is None,
    )
    ends = [0, *(np.flatnonzero(gaps) + 1).tolist(), len(along)]
    return Layout(order, geometry, refusal, drifts, tilted, tuple(int(n) for n in np.diff(ends)))


def planar(
    position: Vector | None,
    orientation: tuple[float, ...] | None,
    spacing: tuple[float, float] | None,
    size: tuple[int, int],
    *,
    thickness: float,
    spacing_source: str,
) -> Geometry:
    """The plane of one image; without position and orientation it has a pixel size but no place in the patient."""
    in_patient = position is not None and orientation is not None
    step = (1.0, 1.0) if spacing is None else spacing
    if in_patient:
        check_plausible(np.array([position]), np.array([orientation]), np.array([step]))
        row, column, orthogonal = axes(np.array(orientation))
        if not orthogonal:
            raise Rejection(Reason.SHEARED_ORIENTATION)
    else:
        row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
        _check_spacing(np.array([step]))
    normal = _unit(np.cross(row, column))
    return Geometry(
        origin=_vector(position) if in_patient else (0.0, 0.0, 0.0),
        row=_vector(row),
        column=_vector(column),
        normal=_vector(normal),
        spacing=(float(step[1]), float(step[0]), thickness),
        shape=(size[1], size[0], 1),
        in_patient=in_patient,
        spacing_source=spacing_source if spacing is not None else "none",
        single_orientation=True,
        orthogonal_orientation=True,
        unique_slice_positions=True,
        consistent_in_plane_row=True,
        consistent_in_plane_col=True,
        consistent_pixel_spacing=True,
        consistent_image_dimensions=True,
        uniform_slice_spacing=True,
        obliquity_degrees=obliquity(normal) if in_patient else None,
        gantry_tilt_degrees=None,
        regularly_spaced_3d_volume=False,
    )


def axes(orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Unit row and column direction, and whether the given ones were perpendicular unit vectors within tolerance."""
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) == 0 or np.linalg.norm(np.cross(row, column)) < ORIENTATION_TOLERANCE:
        raise Rejection(Reason.SHEARED_ORIENTATION)
    straight = abs(np.linalg.norm(np.cross(row, column)) - 1) <= ORIENTATION_TOLERANCE
    straight = straight and max(abs(length - 1) for length in lengths) <= ORIENTATION_TOLERANCE
    perpendicular = abs(float(row @ column)) <= PERPENDICULAR_TOLERANCE
    row, column = row / lengths[0], column / lengths[1]
    skew = float(column @ row)
    if abs(skew) > NEGLIGIBLE_SKEW:
        column = column - skew * row
        column = column / np.linalg.norm(column)
    return row, column, bool(straight and perpendicular)


def is_uniform(along: np.ndarray) -> bool:
    """Whether ascending positions are evenly spaced: every step within 1 % of the mean, or all close to a grid."""
    step = float(along[-1] - along[0]) / (len(along) - 1)
    if np.abs(np.diff(along) - step).max() < SLICE_SPACING_TOLERANCE * step:
        return True
    off_grid = float(np.abs(along - (along[0] + step * np.arange(len(along)))).max())
    return off_grid < min(GRID_TOLERANCE_MM, GRID_TOLERANCE * step)


def positions_along(positions: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Distances along the normal of one orientation, mm."""
    row, column, _ = axes(orientation)
    return positions @ _unit(np.cross(row, column))


def obliquity(normal: np.ndarray) -> float:
    """Angle between the normal and the nearest patient axis, degrees."""
    return float(np.degrees(np.arccos(min(1.0, float(np.abs(normal).max() / np.linalg.norm(normal))))))


def check_plausible(positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray) -> None:
    """Refuse numbers that are not finite or not of this world; detail names the attribute."""
    if not np.isfinite(positions).all() or np.abs(positions).max() > POSITION_LIMIT_MM:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "ImagePositionPatient")
    if not np.isfinite(orientations).all():
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "ImageOrientationPatient")
    _check_spacing(spacings)


def _check_spacing(spacings: np.ndarray) -> None:
    low, high = SPACING_RANGE_MM
    if not np.isfinite(spacings).all() or spacings.min() < low or spacings.max() > high:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "PixelSpacing")


def _distinct(orientations: np.ndarray) -> np.ndarray:
    return np.unique(orientations, axis=0) if (orientations != orientations[0]).any() else orientations[:1]


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y over x; 0 where x does not vary."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    return float(centred @ (y - y.mean())) / spread if spread > 0 else 0.0


def _refusal(
    facts: dict[str, bool], steps: np.ndarray, missing: int, tilt: float | None, drift: float
) -> Rejection | None:
    """The most specific reason why slices make no regular volume; `tilt` in degrees if they are tilted, `drift` mm."""
    count = len(steps) + 1
    if not facts["orthogonal_orientation"] or not facts["single_orientation"]:
        return Rejection(Reason.SHEARED_ORIENTATION)
    if not facts["consistent_pixel_spacing"] or not facts["consistent_image_dimensions"]:
        return Rejection(Reason.MIXED_SIZES)
    if not facts["unique_slice_positions"]:
        repeated = int((steps <= SAME_POSITION_MM).sum())
        return Rejection(Reason.REPEATED_POSITIONS, f"{repeated} of {count} slices repeat a position")
    if steps.min() > SPACING_RANGE_MM[1]:
        return Rejection(Reason.IMPLAUSIBLE_HEADER, f"ImagePositionPatient: slices {steps.min():.0f} mm apart")
    sheared = f", also tilted by {tilt:.1f} degrees" if tilt is not None else ""
    if missing:
        return Rejection(Reason.MISSING_SLICES, f"{missing} of {count + missing} missing{sheared}")
    if not facts["uniform_slice_spacing"]:
        return Rejection(Reason.UNEVEN_SPACING, f"{steps.min():.2f} to {steps.max():.2f} mm{sheared}")
    if tilt is not None:
        return Rejection(Reason.GANTRY_TILT, f"{tilt:.1f} degrees")
    if not (facts["consistent_in_plane_row"] and facts["consistent_in_plane_col"]):
        return Rejection(Reason.IN_PLANE_DRIFT, f"{drift:.2f} mm")
    return None


def missing_slices(steps: np.ndarray) -> np.ndarray:
    """How many slices each step leaves out, if every step is a multiple of the modal one; zeros if they are not."""
    near = np.abs(steps[:, None] - steps[None, :]) < SLICE_SPACING_TOLERANCE * steps[None, :]
    votes = near.sum(axis=0)
    best = int(np.lexsort((steps, -votes))[0])
    modal = float(steps[near[:, best]].mean())
    multiples = np.round(steps / modal)
    tolerance = np.minimum(_MISSING_REMAINDER * modal, SLICE_SPACING_TOLERANCE * multiples * modal)
    if (multiples < 1).any() or (np.abs(steps - multiples * modal) >= tolerance).any():
        return np.zeros(len(steps), int)
    return (multiples - 1).astype(int)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _vector(values: np.ndarray | Vector) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))
