"""How two images of the same thing relate: their grids in mm, and their values voxel by voxel.

Belongs here: arithmetic on two arrays and two matrices. Does not belong here: what a relation means, or who is right
(`benchmarks.fidelity_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from nibabel import orientations

AFFINE_TOLERANCE_MM = 1e-3
"""Two matrices (voxel index -> RAS mm) are one if no element differs by more: single precision of a position."""
FLOAT_TOLERANCE = 1e-5
"""Difference, voxel by voxel, up to which two float values are one, as a share of what was added up to the value
(slope x stored, intercept): they were rounded at other places."""
COLOUR_TOLERANCE = 8
"""Levels of 255 by which colours may differ where both decode YBR to RGB: a level of chroma is up to 1.8 of a colour,
and decoders widen halved chroma by other filters (measured: 6 on a JPEG baseline cine)."""
LOSSY_TOLERANCE = 2.0
"""Codes by which two decodings of a lossy image may differ: each rounds its inverse transform (ITU-T T.83: one)."""
SAMPLE = 4096
"""Voxels looked at before all are."""
LEAST_WRAP = 2.0**8
"""Codes that differ by one power of two, this or more, were read with another sign."""


class Kind(IntEnum):
    """How ours relates to theirs, from the best to the worst."""

    IDENTICAL = 0
    ROUNDING = 1
    LINEAR = 2
    PALETTE = 3
    COLOUR_ROUNDING = 4
    CODES = 5
    WRAPPED = 6
    DIFFERENT = 7


@dataclass(frozen=True)
class Relation:
    """`kind`; for LINEAR, ours = `factor` * stored + `offset` of theirs; `share` of voxels differ, by `largest`
    relatively at most; CODES: by no more than `LOSSY_TOLERANCE` stored values; WRAPPED: all by `offset` stored values.
    `turned`: related after both were turned to the nearest patient axes.
    """

    kind: Kind
    factor: float = 1.0
    offset: float = 0.0
    share: float = 0.0
    largest: float = 0.0
    turned: bool = False

    @property
    def is_same(self) -> bool:
        """Whether both hold the same image, whatever its scale."""
        return self.kind is not Kind.DIFFERENT

    @property
    def rank(self) -> tuple[int, bool, float]:
        """The better, the lower."""
        return (int(self.kind), self.turned, self.share)


@dataclass(frozen=True, eq=False)
class Voxels:
    """One 3-D image, `[i, j, k]` or `[i, j, k, channel]`: a value is `slope` * stored + `intercept`."""

    stored: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    is_colour: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the three axes."""
        return self.stored.shape[:3]

    def turned(self) -> Voxels:
        """The same image with its axes along the nearest patient axes (R, A, S)."""
        turn = orientations.io_orientation(self.affine)
        affine = self.affine @ orientations.inv_ornt_aff(turn, self.shape)
        return replace(self, stored=orientations.apply_orientation(self.stored, turn), affine=affine)


def distance_mm(ours: Voxels, theirs: Voxels) -> float:
    """The largest difference of two elements of the matrices; the slice direction is left out of a single slice."""
    axes = [0, 1, 3] if ours.shape[2] == 1 else [0, 1, 2, 3]
    return float(np.abs(ours.affine - theirs.affine)[:3, axes].max())


def in_plane_distance_mm(ours: Voxels, theirs: Voxels) -> float:
    """The largest difference of the pixel sizes: all there is to compare where an image has no place in the patient."""
    sizes = [np.linalg.norm(v.affine[:3, :2], axis=0) for v in (ours, theirs)]
    return float(np.abs(sizes[0] - sizes[1]).max())


def relate(ours: Voxels, theirs: Voxels) -> Relation:
    """The best relation of the values, as stored or after both are turned to patient axes.

    Grids are looked at only as far as the turn goes: `distance_mm` says how far they are apart.
    """
    best = _values(ours, theirs) if ours.shape == theirs.shape else Relation(Kind.DIFFERENT, share=1.0)
    if best.kind is not Kind.DIFFERENT:
        return best
    turned = ours.turned(), theirs.turned()
    if turned[0].shape == turned[1].shape:
        best = min(best, replace(_values(*turned), turned=True), key=lambda r: r.rank)
    return best


def _values(ours: Voxels, theirs: Voxels) -> Relation:
    if ours.is_colour != theirs.is_colour:
        return _palette(ours, theirs) if ours.is_colour else Relation(Kind.DIFFERENT, share=1.0)
    if ours.is_colour:
        return _colours(ours.stored, theirs.stored)
    relation = _scaled(ours, theirs, slice(None, None, max(1, ours.stored.size // SAMPLE)))
    return _scaled(ours, theirs, slice(None)) if relation.is_same else relation


def _colours(ours: np.ndarray, theirs: np.ndarray) -> Relation:
    apart = np.abs(ours.astype(np.int16) - theirs.astype(np.int16))
    largest = int(apart.max())
    kind = Kind.IDENTICAL if largest == 0 else Kind.COLOUR_ROUNDING if largest <= COLOUR_TOLERANCE else Kind.DIFFERENT
    return Relation(kind, share=float((apart > 0).any(axis=-1).mean()), largest=largest / 255)


def roughness(values: np.ndarray) -> float:
    """Mean absolute difference of neighbours in the plane: what a decoder that loses track makes large."""
    plane = values.astype(np.float64)
    return float(np.abs(np.diff(plane, axis=0)).mean() + np.abs(np.diff(plane, axis=1)).mean())


def _palette(ours: Voxels, theirs: Voxels) -> Relation:
    """Whether each stored value of theirs stands for one colour of ours."""
    colours = ours.stored.reshape(-1, 3).astype(np.int64) @ np.array([65536, 256, 1])
    pairs = np.unique(np.stack([theirs.stored.ravel().astype(np.int64), colours]), axis=1)
    one_each = len(np.unique(pairs[0])) == pairs.shape[1]
    return Relation(Kind.PALETTE) if one_each else Relation(Kind.DIFFERENT, share=1.0)


def _scaled(ours: Voxels, theirs: Voxels, chosen: slice) -> Relation:
    mine = ours.stored.ravel()[chosen].astype(np.float64) * ours.slope + ours.intercept
    codes = theirs.stored.ravel()[chosen].astype(np.float64)
    values = codes * theirs.slope + theirs.intercept
    size = np.abs(codes * theirs.slope) + abs(theirs.intercept)
    relation = _compare(mine, values, size)
    if not relation.is_same:
        relation = _linear(mine, codes, relation)
    if not relation.is_same and theirs.slope and theirs.stored.dtype.kind in "iu":
        relation = _in_codes((mine - values) / theirs.slope, relation)
    return relation


def _compare(mine: np.ndarray, values: np.ndarray, size: np.ndarray) -> Relation:
    apart = np.where(np.isnan(mine) & np.isnan(values), 0.0, np.abs(mine - values))
    largest = float(apart.max())
    if largest == 0:
        return Relation(Kind.IDENTICAL)
    relative = apart / np.where(size > 0, size, 1.0)
    beyond = apart > FLOAT_TOLERANCE * size
    share, worst = float((apart > 0).mean()), float(np.nanmax(relative))
    if not beyond.any():
        return Relation(Kind.ROUNDING, share=share, largest=worst)
    return Relation(Kind.DIFFERENT, share=float(beyond.mean()), largest=worst)


def _in_codes(apart: np.ndarray, otherwise: Relation) -> Relation:
    """CODES if no code is far from the other; WRAPPED if all that differ do so by one power of two: one side took the
    sign for a bit of the value.
    """
    share = float((apart != 0).mean())
    if np.abs(apart).max() <= LOSSY_TOLERANCE:
        return Relation(Kind.CODES, share=share, largest=otherwise.largest)
    steps = np.unique(np.abs(apart[apart != 0]))
    alike = steps.size and np.isfinite(steps).all() and np.allclose(steps, steps[0])
    if not alike or steps[0] < LEAST_WRAP or not np.isclose(np.log2(steps[0]) % 1, 0):
        return otherwise
    return Relation(Kind.WRAPPED, offset=float(steps[0]), share=share)


def _linear(mine: np.ndarray, codes: np.ndarray, otherwise: Relation) -> Relation:
    """LINEAR if our values are one straight line over their stored ones."""
    low, high = int(codes.argmin()), int(codes.argmax())
    if codes[low] == codes[high] or not np.isfinite(mine).all():
        return otherwise
    factor = (mine[high] - mine[low]) / (codes[high] - codes[low])
    offset = mine[low] - factor * codes[low]
    if factor == 0:
        return otherwise
    size = max(abs(mine[low]), abs(mine[high]), abs(offset))
    if np.abs(factor * codes + offset - mine).max() > FLOAT_TOLERANCE * size:
        return otherwise
    return Relation(Kind.LINEAR, factor=float(factor), offset=float(offset))
