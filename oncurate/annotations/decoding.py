"""One way to decode an annotation onto the volume that it belongs to, whatever kind of object it is.

Belongs here: what of a planned volume the decoders need, and the step from their grid to an image. Does not belong
here: the decoders themselves, which volume it is (`oncurate.belonging`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from oncurate.annotations import parametric, rtdose, rtstruct, seg
from oncurate.annotations.model import FractionalMap, LabelMap, ScalarMap
from oncurate.annotations.source import opened
from oncurate.convert import affine_of
from oncurate.image import Image
from oncurate.records import Geometry, PlannedVolume

Decoded = LabelMap | FractionalMap | ScalarMap


def decode(kind: str, data: bytes, planned: PlannedVolume, grid: Geometry, frame_of_reference: str) -> Decoded:
    """The annotation in the bytes of a DICOM object: labels on `grid`, the volume's; scalars on a grid of their own.

    `planned` and `frame_of_reference` have the same UIDs as `data`: both the source's, or both the cohort's. Raises
    `Rejection` as the decoder of the `kind` does.
    """
    if kind == "rtdose":
        return rtdose.decode(opened(data))
    if kind == "parametric_map":
        return parametric.decode(data)
    slices = slice_indices(planned)
    if kind == "rtstruct":
        return rtstruct.decode(opened(data).ds, grid, slices, frame_of_reference=frame_of_reference)
    return seg.decode(data, grid, frame_of_reference=frame_of_reference, slices=slices)


def slice_indices(planned: PlannedVolume) -> dict[str, int]:
    """Slice index by SOP Instance UID, of instances that hold one slice of one repetition."""
    count = Counter(piece.SOPInstanceUID for piece in planned.slices)
    planes = len(planned.slices) // len(planned.repetitions)
    return {s.SOPInstanceUID: k % planes for k, s in enumerate(planned.slices) if count[s.SOPInstanceUID] == 1}


def grid_of(planned: PlannedVolume, affine: np.ndarray, shape: tuple[int, int, int]) -> Geometry:
    """The grid of a volume's native image, `affine` (voxel index -> RAS mm) and `shape`: regridded where planned so."""
    if planned.correction is None:
        return planned.geometry
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    first_row = lps[:3, 3] + lps[:3, 1] * (shape[1] - 1)  # the last row is stored first
    return planned.geometry.model_copy(
        update={
            "origin": tuple(map(float, first_row)),
            "row": tuple(map(float, directions[:, 0])),
            "column": tuple(map(float, -directions[:, 1])),
            "normal": tuple(map(float, directions[:, 2])),
            "spacing": tuple(map(float, spacing)),
            "shape": tuple(shape),
        }
    )


def as_image(array: np.ndarray, grid: Geometry) -> Image:
    """An array `[i, j, k]` (column, row, slice) on `grid` in the storage order of native images, a view."""
    return Image(
        array=array[:, ::-1, :],
        affine=affine_of(grid),
        in_patient=grid.in_patient,
        has_unit=grid.spacing_source != "none",
    )
