"""The head template: an average head, and where its face, its brain and its outline are.

Belongs here: reading the two files of `oncurate/data/faces` (their README says what they were made from). Does not
belong here: finding a head in an image (`oncurate.faces_register`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from oncurate import nifti
from oncurate.image import Image

NAME, VERSION = "pydeface mean_reg2mean at 2 mm", "1"
"""For the record of what was done; the version goes up with every change of the two files."""

FACE, BRAIN, HEAD = 1, 2, 4
"""Bits of the regions."""
KNOWN = (slice(1, 91), slice(3, 130), slice(16, 137))
"""Voxels of the grid that lie within the grid of the template's source; beyond, its values are unknown, not air."""


@dataclass(frozen=True, eq=False)
class Template:
    """Arrays on one grid with RAS axes; `affine` is voxel index -> RAS mm.

    `values`: intensities like a T1-weighted MR's, float32. `known`: where the template's source has voxels. `face` is
    what is removed, from inside the head to the air in front of it; `brain` is the brain with its ventricles; `head`
    is all within the skin.
    """

    affine: np.ndarray
    values: np.ndarray
    known: np.ndarray
    face: np.ndarray
    brain: np.ndarray
    head: np.ndarray


@cache
def read() -> Template:
    """The template that oncurate ships; do not write to its arrays."""
    template, regions = _file("template.nii.gz"), _file("regions.nii.gz").array
    known = np.zeros(template.shape, bool)
    known[KNOWN] = True
    face, brain, head = (regions & bit > 0 for bit in (FACE, BRAIN, HEAD))
    return Template(template.affine, template.array.astype(np.float32), known, face, brain, head)


def _file(name: str) -> Image:
    return nifti.read(resources.files("oncurate").joinpath("data", "faces", name).read_bytes())
