"""An image in memory: voxels and the matrix that places them.

Belongs here: the one in-memory form that convert, harmonise, check and preview share. Does not belong here: reading or
writing files (`oncurate.nifti`), resampling (`oncurate.harmonise`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels and `affine`, float64 4x4, voxel index -> RAS mm.

    `array` is `[i, j, k]`, or `[i, j, k, repetition]` for a 4-D image; RGB images (uint8) end with a channel axis.

    `in_patient` is False for projection images: their affine holds the pixel size but no place in the patient.
    `has_unit` is False where no attribute gave a pixel size, so that the affine is in pixels, not mm. `step_s` is the
    time from one repetition to the next where it is known and even, s.
    """

    array: np.ndarray
    affine: np.ndarray
    in_patient: bool = True
    has_unit: bool = True
    is_colour: bool = False
    step_s: float | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along the three array axes, mm."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three spatial axes."""
        return tuple(int(n) for n in self.array.shape[:3])  # type: ignore[return-value]

    @property
    def is_4d(self) -> bool:
        """Whether the array has an axis of repetitions."""
        return self.array.ndim == 4 + self.is_colour

    @property
    def count(self) -> int:
        """Repetitions: 1 for a 3-D image."""
        return int(self.array.shape[3]) if self.is_4d else 1

    def repetition(self, index: int) -> Image:
        """One of the repetitions as a 3-D image; a view."""
        if not self.is_4d:
            return self
        return replace(self, array=self.array[:, :, :, index], step_s=None)
