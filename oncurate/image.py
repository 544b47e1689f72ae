"""An image in memory: voxels and the matrix that places them.

Belongs here: the one in-memory form that convert, harmonise, check and preview share. Does not belong here: reading or
writing files (`oncurate.nifti`), resampling (`oncurate.harmonise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Image:
    """`array[i, j, k]` (or `[i, j, k, channel]` for RGB, uint8) and `affine`, float64 4x4, voxel index -> RAS mm.

    `in_patient` is False for projection images: their affine holds the pixel size but no place in the patient.
    `has_unit` is False where no attribute gave a pixel size, so that the affine is in pixels, not mm.
    """

    array: np.ndarray
    affine: np.ndarray
    in_patient: bool = True
    has_unit: bool = True

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along the three array axes, mm."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three array axes, without the channel axis."""
        return tuple(int(n) for n in self.array.shape[:3])  # type: ignore[return-value]

    @property
    def is_colour(self) -> bool:
        """Whether it is an RGB image."""
        return self.array.ndim == 4
