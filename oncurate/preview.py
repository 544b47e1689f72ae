"""A small PNG of a volume by which a person sees at a glance whether it came out right.

Belongs here: choice of planes, display window, layout. Does not belong here: storing it. No text, no metadata: the
picture shows pixels of the de-identified volume and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Picture

from oncurate.harmonise import orient
from oncurate.image import Image
from oncurate.sampling import percentiles, subsample

SIDE = 256
"""Pixels of the longest side of a plane."""
GAP = 4
"""Pixels between planes."""
CT_WINDOW_HU = (-160.0, 240.0)
"""Level 40, width 400 HU: the usual soft-tissue window."""
SUV_WINDOW = (0.0, 10.0)
"""g/ml; liver is near 2, most tumours between 3 and 20."""
COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    np.uint8,
)
"""Colours of labels that people with any colour vision tell apart (Okabe and Ito, 2008)."""
SAMPLE = 2**18
"""Voxels from which percentiles are taken."""


def render(image: Image, modality: str, value_unit: str, labels: Sequence[np.ndarray] = ()) -> bytes:
    """PNG of the axial, coronal and sagittal plane through the centre; of the one plane that a single image has.

    Of a 4-D image or a cine, the first repetition. `labels` are label maps on its grid, integers `[i, j, k]`: the
    planes then go through their centre, and the border of each label is drawn in a colour of its own.

    Radiological convention: the patient's right is on the left, anterior and superior are up, and in the sagittal plane
    anterior is left. All planes have one scale in mm. Grey, or RGB for colour. The same image gives the same bytes.
    """
    first = image.repetition(0)
    low, high = _window(first, modality, value_unit)
    view = orient(first)[0]
    drawn = [orient(replace(first, array=layer, is_colour=False))[0].array for layer in labels]
    at = _centre(drawn, view.shape)
    planes = [_grey_or_colour(plane, low, high) for plane in _planes(view.array, at)]
    over = [_planes(layer, at) for layer in drawn]
    sizes = _sizes(view)
    if 1 in view.shape:
        shown = 0 if view.shape[2] == 1 else 2 - view.shape.index(1)  # the plane across the axis of one voxel
        planes, sizes, over = [planes[shown]], [sizes[shown]], [[layer[shown]] for layer in over]
    scale = SIDE / max(side for size in sizes for side in size)
    pictures = [
        Picture.fromarray(plane).resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Picture.Resampling.BILINEAR
        )
        for plane, (width, height) in zip(planes, sizes, strict=True)
    ]
    for layer in over:
        pictures = [_outlined(picture, plane) for picture, plane in zip(pictures, layer, strict=True)]
    return _png(pictures)


def _centre(drawn: Sequence[np.ndarray], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The voxel nearest to the middle of what is drawn, else of the image."""
    places = [np.argwhere(layer) for layer in drawn if layer.any()]
    if not places:
        return tuple(n // 2 for n in shape)
    together = np.concatenate(places)
    middle = together.mean(axis=0)
    return tuple(together[np.abs(together - middle).sum(axis=1).argmin()])


def _outlined(picture: Picture.Image, plane: np.ndarray) -> Picture.Image:
    """A picture in RGB with the border of each label of a plane, one pixel inside it, in the label's colour."""
    shown = Picture.fromarray(plane.astype(np.int32)).resize(picture.size, Picture.Resampling.NEAREST)
    labels = np.asarray(shown)
    padded = np.pad(labels, 1, mode="edge")
    differs = np.zeros(labels.shape, bool)
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        differs |= padded[row : row + labels.shape[0], column : column + labels.shape[1]] != labels
    border = differs & (labels > 0)
    out = np.array(picture.convert("RGB"))
    out[border] = COLOURS[(labels[border] - 1) % len(COLOURS)]
    return Picture.fromarray(out)


def _planes(array: np.ndarray, at: tuple[int, int, int]) -> list[np.ndarray]:
    """Axial, coronal, sagittal as (rows from above, columns from the left[, channel]) of an array in RAS order."""
    i, j, k = at
    axial, coronal, sagittal = array[::-1, ::-1, k], array[::-1, j, ::-1], array[i, ::-1, ::-1]
    return [plane.swapaxes(0, 1) for plane in (axial, coronal, sagittal)]


def _sizes(image: Image) -> list[tuple[float, float]]:
    """Width and height of the three planes, mm."""
    right, anterior, superior = (n * s for n, s in zip(image.shape, image.spacing, strict=True))
    return [(right, anterior), (right, superior), (anterior, superior)]


def _window(image: Image, modality: str, value_unit: str) -> tuple[float, float]:
    """The values shown as black and white: fixed where the unit has a meaning, percentiles elsewhere."""
    if image.is_colour:
        return 0.0, 255.0
    if modality == "CT" and value_unit == "HU":
        return CT_WINDOW_HU
    if modality == "PT" and value_unit.startswith("SUV"):
        return SUV_WINDOW
    values = subsample(image.array, SAMPLE).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0
    if modality == "PT":
        return 0.0, percentiles(values, 1, 99.5)[1]
    return percentiles(values, 1, 99)


def _grey_or_colour(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return np.zeros(plane.shape, np.uint8)
    levels = (np.nan_to_num(plane.astype(np.float32), nan=low, posinf=high, neginf=low) - low) * (255 / (high - low))
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def _png(pictures: list[Picture.Image]) -> bytes:
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    sheet = Picture.new(pictures[0].mode, (width, height))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, (height - picture.height) // 2))
        left += picture.width + GAP
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()
