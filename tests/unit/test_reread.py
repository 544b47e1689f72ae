"""The second opinion on a written NIfTI."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest

from oncurate import nifti, reread
from oncurate.errors import Defect
from oncurate.image import Image

OBLIQUE = np.array(
    [[-0.8, 0.0, 0.0, 60.5], [0.0, 0.7 * 0.8, 2.0 * -0.6, -80.25], [0.0, 0.7 * 0.6, 2.0 * 0.8, 31.0], [0, 0, 0, 1.0]]
)


def image(affine: np.ndarray, shape: tuple[int, ...] = (5, 6, 7)) -> Image:
    return Image(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape), affine)


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 1), (5, 6, 1, 3)])
def test_what_was_meant_is_what_simpleitk_reads(shape: tuple[int, ...]) -> None:
    written = image(OBLIQUE, shape)
    reread.check(nifti.write(written), written)


@pytest.mark.parametrize(("row", "column"), [(0, 3), (1, 3), (2, 2)])
def test_another_place_is_found(row: int, column: int) -> None:
    written, meant = image(OBLIQUE), OBLIQUE.copy()
    meant[row, column] += 0.01
    with pytest.raises(Defect, match="elsewhere"):
        reread.check(nifti.write(written), image(meant))


def test_another_size_is_found() -> None:
    with pytest.raises(Defect, match="size"):
        reread.check(nifti.write(image(OBLIQUE)), image(OBLIQUE, (5, 7, 6)))


def test_a_file_that_simpleitk_refuses_is_found() -> None:
    with pytest.raises(Defect, match="does not read"):
        reread.check(with_bad_magic(nifti.write(image(OBLIQUE))), image(OBLIQUE))


def with_bad_magic(data: bytes) -> bytes:
    raw = bytearray(gzip.decompress(data))
    raw[344:348] = b"xxxx"
    raw[0:4] = b"\0\0\0\0"
    return gzip.compress(bytes(raw))


@pytest.mark.parametrize(("shape", "colour"), [((5, 6, 7, 4), False), ((5, 6, 1, 4), False), ((5, 6, 1, 4, 3), True)])
def test_repetitions_are_no_part_of_the_place(shape: tuple[int, ...], colour: bool) -> None:
    written = replace(image(OBLIQUE, shape), is_colour=colour, step_s=1.5)
    reread.check(nifti.write(written), written)
