"""A second opinion on a written NIfTI: does SimpleITK, which consumers use, place it where we meant it?

Belongs here: reading a written header with a reader that is not ours, and comparing. Does not belong here: writing
(`oncurate.nifti`). A header that only our own reader understands, or that ITK refuses because its directions are not
perpendicular, is found here and not at a consumer's desk.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK
from isal import isal_zlib

from oncurate.errors import Defect
from oncurate.image import Image

HEADER_BYTES = 352
"""Header and extension flag of a single-file NIfTI-1; the voxels follow."""

PLACE_TOLERANCE_MM = 1e-3
"""How far a corner of the grid may lie from where we meant it, mm: NIfTI keeps its matrix in float32."""

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check(data: bytes, image: Image) -> None:
    """Raise `Defect` unless SimpleITK reads the grid of `image` from the .nii.gz bytes `data`, corner by corner."""
    header = isal_zlib.decompressobj(wbits=31).decompress(data[: 4 * HEADER_BYTES], HEADER_BYTES)
    reader = SimpleITK.ImageFileReader()
    with tempfile.NamedTemporaryFile(suffix=".nii") as file:
        Path(file.name).write_bytes(header)
        reader.SetFileName(file.name)
        try:
            reader.ReadImageInformation()
        except RuntimeError:  # its message names the temporary file only, but says nothing that we could act on
            raise Defect("SimpleITK does not read an image that was written") from None
    size = reader.GetSize()[:3]
    if size != image.shape:
        raise Defect("SimpleITK reads another grid size than was written")
    direction = np.array(reader.GetDirection()).reshape(len(reader.GetSize()), -1)[:3, :3]
    read = np.eye(4)
    read[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
    read[:3, 3] = reader.GetOrigin()[:3]
    corners = np.array([[i, j, k, 1.0] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)]).T
    if np.abs((read - _LPS @ image.affine) @ corners).max() > PLACE_TOLERANCE_MM:
        raise Defect("SimpleITK places an image elsewhere than was meant")
