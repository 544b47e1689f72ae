"""Makes the two files of `oncurate/data/faces` from the data of the pydeface package.

Belongs here: what was done to the package's template, so that the two files can be made again. Does not belong here:
anything that the pipeline runs.

    python -m benchmarks.face_template FOLDER    # FOLDER: pydeface/data of an unpacked wheel

World coordinates are RAS mm of the package's template; its origin lies near the anterior commissure. The levels and
lengths below were read off the template.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

import oncurate
from oncurate import nifti
from oncurate.image import Image

FOLDER = Path(oncurate.__file__).parent / "data" / "faces"
STEP = 2.0
LOW, SIZE = (-92.0, -126.0, -152.0), (93, 141, 138)  # mm of the first voxel; voxels
HEAD_LEVEL = 40.0  # intensity: a tenth of the scalp's
SKIN_LEVEL = 150.0  # intensity: a third of the scalp's; below are the blurred noses and brows of a few
BRAIN_LEVEL = 170.0  # intensity: above bone and CSF
BRAIN_FLOOR = -58.0  # mm: the foramen magnum; below lies the neck
FACE_FLOOR = -142.0  # mm: 20 below the chin, where the package's template ends, for chins that are longer
FACE, BRAIN, HEAD = 1, 2, 4  # bits of the regions


def main(folder: Path) -> None:
    """Write both files."""
    template, removed = _on_grid(folder / "mean_reg2mean.nii.gz", 1), _on_grid(folder / "facemask.nii.gz", 0) == 0
    head, skin = _head(template, HEAD_LEVEL), _head(template, SKIN_LEVEL)
    brain = _brain(template)
    _, _, z = _places(head.shape)
    face = (removed | _eyes_and_brow(skin)) & (z > FACE_FLOOR) & ~ndimage.binary_dilation(brain, _ball(4.0))
    small = np.clip(np.where(template > HEAD_LEVEL / 4, template, 0) * (255 / 646), 0, 255).round().astype(np.uint8)
    regions = (face * FACE + brain * BRAIN + head * HEAD).astype(np.uint8)
    for name, array in (("template", small), ("regions", regions)):
        (FOLDER / f"{name}.nii.gz").write_bytes(nifti.write(Image(array, _affine())))


def _affine() -> np.ndarray:
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = LOW
    return affine


def _on_grid(path: Path, order: int) -> np.ndarray:
    """A file of the package on our grid; masks continue beyond their grid, the template does not."""
    source = nifti.read(path.read_bytes())
    array = source.array.astype(np.float32)
    if order:
        array = ndimage.gaussian_filter(array, 0.8)
    back = np.linalg.solve(source.affine, _affine())
    mode = "constant" if order else "nearest"
    return ndimage.affine_transform(array, back[:3, :3], back[:3, 3], output_shape=SIZE, order=order, mode=mode)


def _ball(radius_mm: float) -> np.ndarray:
    reach = round(radius_mm / STEP)
    grid = np.mgrid[tuple(slice(-reach, reach + 1) for _ in range(3))]
    return (grid**2).sum(0) <= reach**2


def _places(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RAS mm of every voxel, as three arrays that broadcast."""
    return tuple(  # type: ignore[return-value]
        (LOW[a] + STEP * np.arange(shape[a])).reshape([-1 if b == a else 1 for b in range(3)]) for a in range(3)
    )


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, _ = ndimage.label(mask)
    return parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1


def _head(template: np.ndarray, level: float) -> np.ndarray:
    """Skin and all within, without holes; the nose bridge and the mouth are closed."""
    solid = _largest(template > level)
    wide = np.pad(solid, 12)
    closed = ndimage.binary_closing(wide, _ball(12.0))[12:-12, 12:-12, 12:-12]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in closed.transpose(2, 0, 1)], axis=2)


def _brain(template: np.ndarray) -> np.ndarray:
    """The brain with its sulci and ventricles: what is left of the bright tissue when thin bridges are opened."""
    _, _, z = _places(template.shape)
    bright = (template > BRAIN_LEVEL) & (z > BRAIN_FLOOR)
    core = _largest(ndimage.binary_erosion(bright, _ball(10.0)))
    grown = ndimage.binary_dilation(core, _ball(12.0)) & bright
    wide = np.pad(grown, 12)
    closed = ndimage.binary_closing(wide, _ball(12.0))[12:-12, 12:-12, 12:-12]
    return ndimage.binary_opening(ndimage.binary_fill_holes(closed), _ball(10.0))


def _eyes_and_brow(head: np.ndarray) -> np.ndarray:
    """What the package's mask leaves of a face: 14 mm from the skin inwards at the eyes, 5 mm of brow and temples.

    In front of the skin everything is taken, so that a face that stands out further than the template's goes too.
    """
    x, y, z = _places(head.shape)
    depth = ndimage.distance_transform_edt(head) * STEP
    eyes = (np.abs(x) < 52) & (z < -9) & (y > 45)
    sector = (np.abs(x) < 80) & (y > 35) & (z < 12)
    return sector & (depth <= np.where(eyes, 14.0, 5.0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
