"""Blocks of voxels land where their affine says, whatever way their axes run, or do not fit."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from oncurate.annotations import lattice
from oncurate.annotations.model import grid_affine_lps
from tests import annotated, phantoms

GRID = annotated.grid((9, 8, 7), (0.7, 0.9, 2.5), phantoms.turned(7, -12, 33))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_all_directions(order, signs):
    block = np.random.default_rng(1).random((4, 3, 5))
    step = np.zeros((4, 4))
    for axis, (along, sign) in enumerate(zip(order, signs, strict=True)):
        step[along, axis] = sign
    step[:3, 3] = [4, 3, 4]
    step[3, 3] = 1
    found = lattice.fit_volume(grid_affine_lps(GRID) @ step, block.shape, GRID)
    assert found.fits
    assert found.error_mm < 1e-9
    assert not lattice.is_turned(grid_affine_lps(GRID) @ step, block.shape, GRID)
    start = (1, 0, 2)
    laid, corner = found.laid(block[1:4, 0:2, 2:5], 0, start)
    for index in np.ndindex(3, 2, 3):
        place = (step @ [*(np.add(index, start)), 1])[:3].astype(int)
        assert laid[tuple(place - corner)] == block[tuple(np.add(index, start))]


@pytest.mark.parametrize(("shift_mm", "fits"), [((0.09, 0, 0), True), ((0.11, 0, 0), False), ((0, 0, 0.12), False)])
def test_a_tenth_of_a_millimetre(shift_mm, fits):
    affine = grid_affine_lps(GRID)
    affine[:3, 3] += affine[:3, :3] / np.array(GRID.spacing) @ shift_mm
    found = lattice.fit_volume(affine, (4, 4, 4), GRID)
    assert found.fits is fits
    assert found.error_mm == pytest.approx(max(shift_mm))


def test_of_thick_slices_two_hundredths_and_of_small_voxels_a_quarter():
    thick = annotated.grid((4, 4, 4), (0.8, 0.8, 10.0))
    small = annotated.grid((4, 4, 4), (0.2, 0.2, 0.2))
    for grid, shift, fits in ((thick, 0.19, True), (thick, 0.21, False), (small, 0.049, True), (small, 0.051, False)):
        affine = grid_affine_lps(grid)
        affine[2, 3] += shift
        assert lattice.fit_volume(affine, (4, 4, 4), grid).fits is fits


def test_a_spacing_that_differs_counts_over_the_whole_block():
    affine = grid_affine_lps(GRID)
    affine[:3, 0] *= 1.01  # 0.007 mm a column
    assert lattice.fit_volume(affine, (9, 8, 7), GRID).fits
    assert not lattice.fit_volume(affine, (20, 8, 7), GRID).fits


def test_a_turned_grid_does_not_fit():
    turned = annotated.grid((9, 8, 7), (0.7, 0.9, 2.5), phantoms.turned(7, -12, 38))
    affine = grid_affine_lps(turned)
    assert not lattice.fit_volume(affine, turned.shape, GRID).fits
    assert lattice.is_turned(affine, turned.shape, GRID)
    assert not lattice.fit_volume(grid_affine_lps(GRID) @ np.diag([0.5, 1, 1, 1]), (2, 2, 2), GRID).fits
