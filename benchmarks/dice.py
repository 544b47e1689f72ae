"""How near drawn structures come to the truth: solids of known volume, and the masks that come with real samples.

Belongs here: the table. Does not belong here: the solids (`tests.structure_sets`), finding real samples
(`benchmarks.dice_samples`), bounds that must hold (the tests of `oncurate.annotations`).

Each solid is drawn with circles of 720 corners on every slice of a grid, at random places. Beside our way stands the
usual shortcut: corners rounded to voxels, and the outline filled with its border, as OpenCV's fillPoly does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks import dice_samples
from benchmarks.show import print_table
from oncurate.annotations import rasterise, rtstruct
from oncurate.records import Geometry
from tests import phantoms
from tests.structure_sets import Solid, contours_of, cylinder, grid, keyhole_ring, ring, sphere, structure_set

PLACES = 5
"""Random places of each solid on each grid."""
OBLIQUE = phantoms.turned(12, -25, 40)

GRIDS = {
    "1 x 1 x 2 mm": grid((48, 44, 20), (1.0, 1.0, 2.0)),
    "0.8 x 1.25 x 3 mm": grid((60, 36, 14), (0.8, 1.25, 3.0)),
    "1 x 1 x 2 mm oblique": grid((48, 44, 20), (1.0, 1.0, 2.0), OBLIQUE),
}
SOLIDS: dict[str, Callable[[float, float], Solid]] = {
    "sphere, r 15 mm": lambda x, y: sphere(x, y, 18.2, 15.0),
    "sphere, r 5 mm": lambda x, y: sphere(x, y, 18.2, 5.0),
    "cylinder, r 15 mm": lambda x, y: cylinder(x, y, (5.0, 29.0), 15.0),
    "ring, r 7 to 15 mm": lambda x, y: ring(x, y, (5.0, 29.0), (7.0, 15.0)),
    "keyhole ring": lambda x, y: keyhole_ring(x, y, (5.0, 29.0), (7.0, 15.0)),
}


def run(data: Sequence[Path]) -> dict[str, object]:
    """Print and return Dice and volume error of the solids, then of the samples below the folders `data`."""
    solids = [_row(name, made, where, on) for name, made in SOLIDS.items() for where, on in GRIDS.items()]
    head = ("solid", "grid", "Dice", "rounded", "volume", "rounded", "occupancy")
    print(f"against solids of known shape, worst of {PLACES} places\n")
    print_table(head, [tuple(_text(value) for value in row.values()) for row in solids])
    samples = [row for folder in data for row in dice_samples.rows(folder)]
    if samples:
        print("\nreal structure sets, against the masks that come with them\n")
        print_table(("sample", "structure", "ml", "mask ml", "Dice", "told"), [_cells(row) for row in samples])
    return {"solids": solids, "samples": samples}


def _row(name: str, made: Callable[[float, float], Solid], where: str, on: Geometry) -> dict[str, object]:
    """The worst figures of a solid on a grid: Dice, and volumes as shares of the true volume's error."""
    rng = np.random.default_rng(7)
    found = np.array([_figures(made(x, y), on) for x, y in rng.uniform(19, 24, (PLACES, 2))])
    worst = np.abs(found).argmax(axis=0)
    ours, rounded, volume, rounded_volume, occupancy = (
        found[:, 0].min(),
        found[:, 1].min(),
        *(found[worst[column], column] for column in (2, 3, 4)),
    )
    return {
        "solid": name,
        "grid": where,
        "dice": float(ours),
        "dice_rounded": float(rounded),
        "volume_error": float(volume),
        "volume_error_rounded": float(rounded_volume),
        "volume_error_occupancy": float(occupancy),
    }


def _figures(solid: Solid, on: Geometry) -> tuple[float, ...]:
    truth, voxel = solid.voxels(on), float(np.prod(on.spacing))
    ours = _drawn(solid, on)
    with patch.object(rasterise, "polygons", _rounded):
        rounded = _drawn(solid, on)
    volumes = [mask.sum() * voxel for mask in (ours, rounded)] + [_occupied(solid, on) * voxel]
    return (
        dice_samples.dice(ours, truth),
        dice_samples.dice(rounded, truth),
        *(v / solid.volume_mm3 - 1 for v in volumes),
    )


def _drawn(solid: Solid, on: Geometry) -> np.ndarray:
    return rtstruct.decode(structure_set({1: contours_of(solid, on)}), on, {}).mask(1)


def _occupied(solid: Solid, on: Geometry) -> float:
    """The solid's volume in voxels, by the share of each voxel that lies inside."""
    heights = np.arange(on.shape[2]) * on.spacing[2]
    outlines = [[o / np.array(on.spacing[:2]) for o in solid.outlines(height)] for height in heights]
    return float(sum(rasterise.occupancy(o, on.shape[:2], 8).sum() for o in outlines if o))


_exact = rasterise.polygons


def _rounded(contours: Sequence[np.ndarray], shape: tuple[int, int], **options: bool) -> rasterise.Patch:
    return _exact([np.rint(points) for points in contours], shape, **{**options, "closed": True})


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if value > 0.5 else f"{value:+.2%}"


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    return tuple(
        "-"
        if value is None
        else f"{value:.4f}"
        if key == "dice"
        else f"{value:.2f}"
        if key.endswith("ml")
        else str(value)
        for key, value in row.items()
    )
