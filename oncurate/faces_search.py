"""Where in an image a head may be: rigid starts for the registration, from the outline alone.

Belongs here: the coarse arrays that are compared, the search over all places and several poses. Does not belong here:
refining a start (`oncurate.faces_register`).

World coordinates are RAS mm. A transform is a 4x4 matrix from the image's world to the template's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from oncurate.bodycrop import foreground_level
from oncurate.image import Image
from oncurate.quality import BODY_HU
from oncurate.sampling import percentiles

WINDOW_HU = (-200.0, 300.0)
"""HU that tell air, fat, brain and bone apart; all below is air, all above is bone."""
PITCHES = (-30.0, -15.0, 0.0, 15.0, 30.0)
"""Degrees by which heads are tried as nodding, from chin on the chest to chin up."""
AS_STATED = (1.0, 1.0, 1.0)
TURNED = ((-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, -1.0, -1.0))
"""Signs of the axes: as the header has them, and turned by half about each axis, as where the header has the patient's
position wrong (prone for supine, feet for head first)."""
LEAST_OVERLAP = 0.3
"""Share of what is smaller, the image or the template, that the two must have in common at a start."""


@dataclass(frozen=True, eq=False)
class Head:
    """Arrays on a grid with RAS axes: `low` is the centre of the first voxel and `step` the spacing, mm.

    `values` are clipped intensities, float32; `body` is what is not air; `known` where the image has voxels at all.
    """

    values: np.ndarray
    body: np.ndarray
    known: np.ndarray
    low: np.ndarray
    step: float

    @property
    def affine(self) -> np.ndarray:
        """Voxel index -> RAS mm."""
        affine = np.diag([self.step, self.step, self.step, 1.0])
        affine[:3, 3] = self.low
        return affine


def prepared(image: Image, modality: str, step: float) -> Head:
    """The first repetition of `image` on a RAS grid of `step` mm."""
    array, affine = block_means(image.repetition(0).array, image.affine, step)
    low_value, high_value = WINDOW_HU if modality == "CT" else percentiles(array, 1, 99.5)
    level = BODY_HU if modality == "CT" else _body_level(array)
    places = affine[:3, :3] @ _corners(array.shape) + affine[:3, 3:]
    low = places.min(axis=1)
    shape = tuple(int(n) for n in np.floor((places.max(axis=1) - low) / step) + 1)
    grid = np.diag([step, step, step, 1.0])
    grid[:3, 3] = low
    values = on_grid(array, np.linalg.solve(affine, grid), shape, mode="nearest")
    known = on_grid(np.ones_like(array), np.linalg.solve(affine, grid), shape, mode="grid-constant") > 0.5
    clipped = np.where(known, np.clip(values, low_value, high_value), low_value).astype(np.float32)
    return Head(clipped, (values > level) & known, known, low, step)


def on_grid(array: np.ndarray, index: np.ndarray, shape: tuple[int, ...], *, mode: str = "constant") -> np.ndarray:
    """`array` sampled linearly where `index`, 4x4, leads the voxels of a grid of `shape`; float32."""
    source = array.astype(np.float32, copy=False)
    return ndimage.affine_transform(source, index[:3, :3], index[:3, 3], output_shape=shape, order=1, mode=mode)


def block_means(array: np.ndarray, affine: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of blocks of up to `step` mm, float32, and their affine; what fills no block at the end is left out."""
    affine = affine.copy()
    for axis, spacing in enumerate(np.linalg.norm(affine[:3, :3], axis=0)):
        factor = max(1, min(array.shape[axis], int(step / spacing + 0.01)))
        count = array.shape[axis] // factor
        kept = np.moveaxis(array, axis, 0)[: count * factor]
        array = np.moveaxis(kept.reshape(count, factor, *kept.shape[1:]).mean(axis=1, dtype=np.float32), 0, axis)
        affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
        affine[:3, axis] *= factor
    return array, affine


def thinned(head: Head, factor: int) -> Head:
    """Every voxel the mean of a block of `factor` voxels a side."""
    step = head.step * factor
    values, affine = block_means(head.values, head.affine, step)
    body, known = (block_means(mask.astype(np.float32), head.affine, step)[0] > 0.5 for mask in (head.body, head.known))
    return Head(values, body, known, affine[:3, 3], step)


def best_start(image: Head, template: Head, pose: tuple[float, float, float]) -> np.ndarray:
    """The rigid transform of `pose` under which the outlines match best, over all places and PITCHES."""
    return max((_match(image, template, _turn(pose, pitch)) for pitch in PITCHES), key=lambda match: match[0])[1]


def starts(image: Head, template: Head, brain: np.ndarray) -> Iterable[tuple[bool, np.ndarray]]:
    """Rigid starts, and whether each has the patient as the header says.

    In that pose both outlines are tried, the head's and the brain's: some MR images show little but the brain.
    """
    yield True, best_start(image, template, AS_STATED)
    yield True, best_start(image, replace(template, body=brain), AS_STATED)
    for pose in TURNED:
        yield False, best_start(image, template, pose)


def _body_level(array: np.ndarray) -> float:
    """Half of Otsu's level: skin and muscle are darker than fat and brain."""
    low = float(percentiles(array, 1, 99)[0])
    return low + (foreground_level(array) - low) / 2


def _corners(shape: tuple[int, ...]) -> np.ndarray:
    return np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1)


def _turn(pose: tuple[float, float, float], pitch: float) -> np.ndarray:
    """Rotation from the image's axes to the template's, 4x4: `pose`, then nodding by `pitch` degrees."""
    angle = np.radians(pitch)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ np.diag([*pose, 1.0])


def _match(image: Head, template: Head, turn: np.ndarray) -> tuple[float, np.ndarray]:
    """How well the outlines match at the best place, and the transform of that place."""
    body, known, low = _turned(template, turn)
    score, shift = _best_shift(image, body, known)
    move = np.eye(4)
    move[:3, 3] = low - (image.low + shift * image.step)
    return score, turn @ move


def _turned(head: Head, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Body and known of the head in the world that `turn` takes to its own, and where the first voxel is, mm."""
    seen = turn[:3, :3].T @ (_corners(head.body.shape) * head.step + head.low[:, None])
    low = seen.min(axis=1)
    shape = tuple(int(n) for n in np.ceil((seen.max(axis=1) - low) / head.step) + 1)
    index = np.eye(4)
    index[:3, :3] = turn[:3, :3]
    index[:3, 3] = (turn[:3, :3] @ low - head.low) / head.step
    body, known = (on_grid(mask, index, shape) > 0.5 for mask in (head.body, head.known))
    return body, known, low


def _best_shift(image: Head, body: np.ndarray, known: np.ndarray) -> tuple[float, np.ndarray]:
    """The highest correlation of two outlines over all shifts, where both are known, and that shift in voxels.

    Normalised correlation of masked images by Fourier transform (Padfield, IEEE Trans Image Process 2012).
    """
    shape = [a + b - 1 for a, b in zip(image.body.shape, body.shape, strict=True)]
    size = [fft.next_fast_len(n, real=True) for n in shape]
    one, own = (fft.rfftn(mask.astype(np.float32), size) for mask in (image.body & image.known, image.known))
    two, other = (fft.rfftn(mask[::-1, ::-1, ::-1].astype(np.float32), size) for mask in (body & known, known))
    part = tuple(slice(0, n) for n in shape)

    def voxels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.round(fft.irfftn(a * b, size)[part]).astype(np.float64)

    count = voxels(own, other)
    enough = count >= LEAST_OVERLAP * min(image.known.sum(), known.sum())
    count = np.maximum(count, 1)
    both, first, second = voxels(one, two), voxels(one, other), voxels(own, two)
    spread = (first - first**2 / count) * (second - second**2 / count)
    score = np.where(enough & (spread > 0), (both - first * second / count) / np.sqrt(np.maximum(spread, 1)), -1.0)
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return float(score[best]), np.array(best) - (np.array(body.shape) - 1)
