"""The chain's last step: SimpleITK's linear resampling of every NIfTI file to the grid that our profiles ask for.

Belongs here: the plainest script that does it. Does not belong here: anti-aliasing or checks, which it lacks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import SimpleITK as sitk

TYPES = {"int16": sitk.sitkInt16, "float32": sitk.sitkFloat32}


def main(source: Path, target: Path, grids: dict[str, tuple[list[float], str]]) -> None:
    """Resample every volume in `source`; a time series becomes one volume a time.

    `grids` holds spacing (mm) and voxel type by modality.
    """
    for path in sorted(source.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        modality = json.loads((source / f"{name}.json").read_text(encoding="utf-8"))["Modality"]
        spacing, kind = grids[modality]
        image = sitk.ReadImage(str(path))
        volumes = [image[..., t] for t in range(image.GetSize()[3])] if image.GetDimension() == 4 else [image]
        for number, volume in enumerate(volumes):
            out = resample(volume, spacing, TYPES[kind])
            sitk.WriteImage(out, str(target / f"{name}-{number}.nii.gz"), True)


def resample(image: sitk.Image, spacing: list[float], pixel_type: int) -> sitk.Image:
    """The image on another spacing over its own extent."""
    was = zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    size = [max(1, round(n * s / t)) for n, s, t in was]
    direction, origin = image.GetDirection(), image.GetOrigin()
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, direction, 0.0, pixel_type)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
