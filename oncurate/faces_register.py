"""Finds the affine transform from an image of a head to the head template, and says how well they agree.

Belongs here: registration by mutual information, the measures of its result. Does not belong here: which result is good
enough and what is removed (`oncurate.faces`), the search for a start (`oncurate.faces_search`).

World coordinates are RAS mm. Everything runs on one thread with fixed seeds, so that the same image gives the same
transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import SimpleITK as sitk

from oncurate import faces_template
from oncurate.errors import Rejection
from oncurate.faces_search import Head, on_grid, prepared, starts, thinned
from oncurate.image import Image
from oncurate.reasons import Reason

COARSE_MM = 8.0
"""Spacing of the search for a start: a head has 15 to 30 such voxels along each axis."""
FINE_MM = 4.0
"""Spacing of the registration: half a voxel is well within the margins of the face region."""
SCALES = (0.7, 1.5)
"""Size of the template's head over the image's along any direction: from large adults to infants."""
STRETCH = 1.3
"""The largest over the smallest of those: what is more is no head's shape but a fit gone astray."""
STATED_POSE_BONUS = 1.2
"""Factor of agreement in favour of the pose that the header states: it is seldom wrong."""
BINS = 32
AGREEMENT_BINS = 16
SEED = 1
LEAST_VOXELS = 200
"""Voxels of the image within the template's head below which nothing can be said of agreement."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found.

    `affine`: 4x4, RAS mm of the image -> RAS mm of the template. `information`: mutual information of the two, nats.
    `agreement`: the same within the template's head only, where the outline tells nothing. `covered`: share of the
    template's head that the image covers.
    """

    affine: np.ndarray
    information: float
    agreement: float
    covered: float


def register(image: Image, modality: str) -> Fit:
    """The best fit of `image`, its first repetition if it has several, to the template.

    Raises `Rejection` FACE_NOT_LOCATED where image and template can nowhere be compared.
    """
    coarse, fine = prepared(image, modality, COARSE_MM), prepared(image, modality, FINE_MM)
    small, small_brain = _template(COARSE_MM)
    template, _ = _template(FINE_MM)
    with _one_thread():
        start = _best_rigid(coarse, small, small_brain)
        start, value = _optimised(fine, template, sitk.Similarity3DTransform(), start)
        better, other = _optimised(fine, template, sitk.AffineTransform(3), start)
    affine, information = (better, other) if other > value and is_head_like(better) else (start, value)
    return Fit(affine, information, *_agreement(fine, template, affine))


def is_head_like(affine: np.ndarray) -> bool:
    """Whether an affine scales as one head to another: within SCALES, and STRETCH between directions."""
    scales = np.linalg.svd(affine[:3, :3])[1]
    return bool(scales.max() <= SCALES[1] and scales.min() >= max(SCALES[0], scales.max() / STRETCH))


@cache
def _template(step: float) -> tuple[Head, np.ndarray]:
    """The template and its brain at `step` mm."""
    read = faces_template.read()
    own = float(read.affine[0, 0])
    head = Head(read.values, read.head, read.known, read.affine[:3, 3], own)
    factor = round(step / own)
    return thinned(head, factor), thinned(Head(read.values, read.brain, read.known, head.low, own), factor).body


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK on one thread: sums over several would depend on which ends first."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _best_rigid(image: Head, template: Head, brain: np.ndarray) -> np.ndarray:
    """The start that agrees best after a rigid registration."""
    found = []
    for as_stated, start in starts(image, template, brain):
        try:
            moved, _ = _optimised(image, template, sitk.Euler3DTransform(), start)
        except Rejection:
            continue
        agreement, _ = _agreement(image, template, moved)
        found.append((agreement * (STATED_POSE_BONUS if as_stated else 1.0), moved))
    if not found:
        raise Rejection(Reason.FACE_NOT_LOCATED, "no overlap with the template")
    return max(found, key=lambda pair: pair[0])[1]


def _optimised(image: Head, template: Head, kind: sitk.Transform, start: np.ndarray) -> tuple[np.ndarray, float]:
    """`start` made better by a transform of `kind`, and the mutual information."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(_itk(image, _compared(image, template, start).astype(np.uint8)))
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(1.0 if image.step == COARSE_MM else 0.25, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=image.step / 4, minStep=image.step / 200, numberOfIterations=60, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    _begin(kind, start, _middle(template, start))
    method.SetInitialTransform(kind, inPlace=True)
    try:
        method.Execute(_itk(image, image.values), _itk(template, template.values))
    except RuntimeError:  # ITK: too few points to compare, or none left on the way
        raise Rejection(Reason.FACE_NOT_LOCATED, "no overlap with the template") from None
    return _matrix(kind), -float(method.GetMetricValue())


def _agreement(image: Head, template: Head, affine: np.ndarray) -> tuple[float, float]:
    """Mutual information within the template's head, nats, and the share of that head which the image covers."""
    index = np.linalg.solve(template.affine, affine @ image.affine)
    head = (on_grid(template.body, index, image.known.shape) > 0.5) & image.known
    voxel = (image.step / template.step) ** 3 * abs(np.linalg.det(affine[:3, :3]))
    covered = float(head.sum() * voxel / template.body.sum())
    if head.sum() < LEAST_VOXELS:
        return 0.0, covered
    expected = on_grid(template.values, index, image.known.shape)[head]
    return _mutual_information(_ranked(image.values[head]), _ranked(expected)), covered


def _ranked(values: np.ndarray) -> np.ndarray:
    """The quantile bin of each value: neither scale nor outliers count."""
    edges = np.quantile(values, np.linspace(0, 1, AGREEMENT_BINS + 1)[1:-1])
    return np.searchsorted(edges, values)


def _mutual_information(one: np.ndarray, other: np.ndarray) -> float:
    counts = np.bincount(one * AGREEMENT_BINS + other, minlength=AGREEMENT_BINS**2)
    both = counts.reshape(AGREEMENT_BINS, AGREEMENT_BINS) / counts.sum()
    apart = both.sum(axis=1, keepdims=True) * both.sum(axis=0, keepdims=True)
    seen = both > 0
    return float((both[seen] * np.log(both[seen] / apart[seen])).sum())


def _compared(image: Head, template: Head, start: np.ndarray) -> np.ndarray:
    """The image's voxels that lie within the template at `start`: what is far below the head does not count."""
    index = np.linalg.solve(template.affine, start @ image.affine)
    return (on_grid(template.known, index, image.known.shape) > 0.5) & image.known


def _itk(head: Head, array: np.ndarray) -> sitk.Image:
    """An array on the head's grid as an ITK image whose physical coordinates are RAS mm."""
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing([head.step] * 3)
    image.SetOrigin([float(v) for v in head.low])
    return image


def _middle(template: Head, start: np.ndarray) -> np.ndarray:
    """RAS mm of the image at the middle of the template's known part."""
    places = [np.flatnonzero(template.known.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    middle = template.low + template.step * np.array([(p[0] + p[-1]) / 2 for p in places])
    return np.linalg.solve(start, np.append(middle, 1.0))[:3]


def _begin(kind: sitk.Transform, start: np.ndarray, centre: np.ndarray) -> None:
    """Sets `kind` to `start`, turning about `centre`."""
    matrix, shift = start[:3, :3], start[:3, 3]
    kind.SetCenter([float(v) for v in centre])
    kind.SetMatrix([float(v) for v in matrix.ravel()])
    kind.SetTranslation([float(v) for v in matrix @ centre + shift - centre])


def _matrix(kind: sitk.Transform) -> np.ndarray:
    """The 4x4 matrix of a transform with a centre."""
    matrix, centre = np.array(kind.GetMatrix()).reshape(3, 3), np.array(kind.GetCenter())
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array(kind.GetTranslation()) + centre - matrix @ centre
    return affine
