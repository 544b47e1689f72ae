"""What a decoded annotation is: labels, label maps, fractions and scalar maps.

Belongs here: the records that all decoders of annotations share, their axis order and units. Does not belong here: how
they come about (`oncurate.annotations.seg`, `rtstruct`, `rtdose`, `parametric`), files.

All of them are identified: names, algorithm and annotator are free text of the source, not cleaned. Arrays are
`[i, j, k]` (i = column, j = row, k = slice) on the grid of a `Geometry`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from oncurate.records import Geometry

Grid = Geometry
"""What an image's grid is: LPS mm, see `oncurate.records.Geometry`."""

LARGEST_LABEL = int(np.iinfo(np.uint16).max)
"""The largest label number that a layer holds."""


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme designator ("SCT", "DCM", "UCUM", ...) and meaning as written."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One structure. `number` is its voxel value, `source_number` its number in the source object.

    Names and `annotator` are the source's free text. `algorithm_type` is AUTOMATIC, SEMIAUTOMATIC, MANUAL or "".
    """

    number: int
    name: str
    category: Code | None = None
    type: Code | None = None
    type_modifiers: tuple[Code, ...] = ()
    region: tuple[Code, ...] = ()
    colour: tuple[int, int, int] | None = None  # sRGB, 0..255
    algorithm_type: str = ""
    algorithm_name: str = ""
    annotator: dict | None = None
    source_number: int = 0


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels as voxels of an image's grid.

    `layers` are uint16 `[i, j, k]`, 0 = background; to be written as one file per layer. Labels that share no voxel
    share a layer, overlapping ones lie in different layers: nothing is overwritten. `layer_of` maps a label's number
    to the index of its layer. `skipped` has the source number and the reason's slug of each structure that could not
    be drawn. `flags` maps a label's number to what a reader should know of it. `resampled` says that the source's
    voxels were on another grid.
    """

    layers: tuple[np.ndarray, ...]
    labels: tuple[Label, ...]
    layer_of: dict[int, int]
    skipped: tuple[tuple[int, str], ...] = ()
    flags: dict[int, tuple[str, ...]] = field(default_factory=dict)
    resampled: bool = False

    def mask(self, number: int) -> np.ndarray:
        """Voxels of one label, bool `[i, j, k]`."""
        return self.layers[self.layer_of[number]] == number


@dataclass(frozen=True, eq=False)
class FractionalMap:
    """A fractional segmentation: per label how probable it is in a voxel, or how much of the voxel it fills.

    `arrays` are float32 `[i, j, k]` in 0..1, in the order of `labels`; `kind` is PROBABILITY or OCCUPANCY;
    `label_map` holds the voxels of each label at `threshold` or above.
    """

    arrays: tuple[np.ndarray, ...]
    labels: tuple[Label, ...]
    kind: str
    threshold: float
    label_map: LabelMap


@dataclass(frozen=True, eq=False)
class ScalarMap:
    """A map of numbers on a grid of its own: a parametric map, a dose.

    `array` is float32 `[i, j, k]`, `unit` a UCUM code of a closed table or None where the source names none that is in
    it, `quantity` what the numbers mean, `terms` further coded terms of the source by DICOM keyword (`DoseType`, ...).
    """

    array: np.ndarray
    geometry: Geometry
    unit: str | None
    quantity: Code | None = None
    terms: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """What an annotation points to, by UID; each tuple without repetition, in order of appearance."""

    frame_of_reference: str = ""
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()


def grid_affine_lps(geometry: Geometry) -> np.ndarray:
    """Voxel index -> LPS mm, float64 4x4."""
    affine = np.eye(4)
    axes = (geometry.row, geometry.column, geometry.normal)
    for axis, (direction, spacing) in enumerate(zip(axes, geometry.spacing, strict=True)):
        affine[:3, axis] = np.asarray(direction, float) * spacing
    affine[:3, 3] = geometry.origin
    return affine


class LayerStack:
    """Collects masks into as few uint16 layers as a greedy choice gives: each label goes to the first layer it fits."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._layers: list[np.ndarray] = []
        self.layer_of: dict[int, int] = {}

    def add(self, number: int, mask: np.ndarray, corner: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Put a label (1..65535, new) where `mask`, bool `[i, j, k]` with its first voxel at `corner`, is true."""
        box = tuple(slice(start, start + n) for start, n in zip(corner, mask.shape, strict=True))
        free = (n for n, layer in enumerate(self._layers) if not np.any(layer[box][mask]))
        index = next(free, len(self._layers))
        if index == len(self._layers):
            self._layers.append(np.zeros(self._shape, np.uint16))
        self._layers[index][box][mask] = number
        self.layer_of[number] = index

    def label_map(self, labels: Iterable[Label], **extra: object) -> LabelMap:
        """The label map of what was added; at least one layer. `extra` are further fields of `LabelMap`."""
        layers = tuple(self._layers) or (np.zeros(self._shape, np.uint16),)
        return LabelMap(layers, tuple(labels), dict(self.layer_of), **extra)  # type: ignore[arg-type]
