"""Made structure sets and doses: solids of known volume, drawn as contours on the planes of a made grid.

Belongs here: grids, solids and their contours, RTSTRUCT and RTDOSE objects of patients who do not exist. Does not
belong here: assertions. Solids live in the grid's own frame: mm along a row, along a column and along the normal, from
the centre of the first voxel.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from oncurate.deid.reading import typed
from oncurate.geometry import lay_out
from oncurate.records import Geometry
from tests import phantoms

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
CORNERS = 720
"""Corners of a drawn circle: its area is 1e-5 less than that of the circle."""
CONTOUR_DATA = BaseTag(0x30060050)
FRAME = phantoms.uid("frame", "structure sets")


def grid(
    shape: tuple[int, int, int] = (48, 44, 20),
    spacing: tuple[float, float, float] = (1.0, 1.0, 2.0),
    orientation: Sequence[float] = phantoms.AXIAL,
    origin: Sequence[float] = (-20.0, -30.0, 40.0),
) -> Geometry:
    """A regular grid: columns, rows, slices; mm between columns, rows, slices."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    positions = np.array(origin) + np.arange(shape[2])[:, None] * spacing[2] * np.cross(row, column)
    sizes, spacings = np.tile((shape[1], shape[0]), (shape[2], 1)), np.tile((spacing[1], spacing[0]), (shape[2], 1))
    return lay_out(positions, np.tile(orientation, (shape[2], 1)), spacings, sizes).geometry


@dataclass(frozen=True)
class Solid:
    """`outlines` gives the contours, each (n, 2) mm, at a height; `holds` whether points are inside; volume in mm3."""

    name: str
    outlines: Callable[[float], list[np.ndarray]]
    holds: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    volume_mm3: float
    xor: bool = False

    def drawn(self, heights: Iterable[float]) -> list[tuple[float, np.ndarray]]:
        """Its contours at these heights along the normal."""
        return [(height, outline) for height in heights for outline in self.outlines(height)]

    def voxels(self, on: Geometry) -> np.ndarray:
        """The voxels of a grid whose centres it holds, `[i, j, k]`."""
        axes = [np.arange(n) * step for n, step in zip(on.shape, on.spacing, strict=True)]
        return self.holds(*np.meshgrid(*axes, indexing="ij"))


def circle(x: float, y: float, radius: float, corners: int = CORNERS) -> np.ndarray:
    """A polygon on a circle, (n, 2), in the direction in which x turns to y."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + 0.1
    return np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])


def sphere(x: float, y: float, z: float, radius: float) -> Solid:
    """A ball."""

    def outlines(height: float) -> list[np.ndarray]:
        squared = radius**2 - (height - z) ** 2
        return [circle(x, y, np.sqrt(squared))] if squared > 0 else []

    return Solid(
        "sphere",
        outlines,
        lambda u, v, w: (u - x) ** 2 + (v - y) ** 2 + (w - z) ** 2 < radius**2,
        4 / 3 * np.pi * radius**3,
    )


def cylinder(x: float, y: float, z: tuple[float, float], radius: float) -> Solid:
    """A cylinder along the normal, from the height z[0] to before z[1]."""
    return _tube("cylinder", z, np.pi * radius**2, [circle(x, y, radius)], lambda r2: r2 < radius**2, (x, y))


def ring(x: float, y: float, z: tuple[float, float], radii: tuple[float, float], *, xor: bool = False) -> Solid:
    """A tube, drawn as an inner and an outer contour."""
    inner, outer = radii
    outlines = [circle(x, y, inner), circle(x, y, outer)]
    return _tube("ring", z, np.pi * (outer**2 - inner**2), outlines, _between(*radii), (x, y), xor)


def keyhole_ring(x: float, y: float, z: tuple[float, float], radii: tuple[float, float]) -> Solid:
    """A tube, drawn as one contour: around, in through a channel without width, around the other way, and out."""
    inner, outer = circle(x, y, radii[0]), circle(x, y, radii[1])
    outline = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    return _tube("keyhole", z, np.pi * (radii[1] ** 2 - radii[0] ** 2), [outline], _between(*radii), (x, y))


def _between(inner: float, outer: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda r2: (r2 >= inner**2) & (r2 < outer**2)


def _tube(
    name: str,
    z: tuple[float, float],
    area: float,
    outlines: list[np.ndarray],
    holds: Callable[[np.ndarray], np.ndarray],
    centre: tuple[float, float],
    xor: bool = False,
) -> Solid:
    return Solid(
        name,
        lambda height: outlines if z[0] <= height < z[1] else [],
        lambda u, v, w: holds((u - centre[0]) ** 2 + (v - centre[1]) ** 2) & (w >= z[0]) & (w < z[1]),
        area * (z[1] - z[0]),
        xor,
    )


def contour(points: np.ndarray, kind: str = "CLOSED_PLANAR", image: str | None = None, **attributes: Any) -> Dataset:
    """An item of ContourSequence: (n, 3) LPS mm, and the SOP instance it was drawn on. `None` removes a keyword."""
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    data = "\\".join([f"{x:.9f}"[:16] for x in np.asarray(points, float).ravel().tolist()])
    item[CONTOUR_DATA] = typed(CONTOUR_DATA, "DS", data)  # as a reader finds it: pydicom's own way takes milliseconds
    if image is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = phantoms.CT, image
        item.ContourImageSequence = Items([reference])
    with disable_value_validation():  # of numbers that are none
        for keyword, value in attributes.items():
            delattr(item, keyword) if value is None else setattr(item, keyword, value)
    return item


def placed(on: Geometry, height: float, outline: np.ndarray) -> np.ndarray:
    """(n, 3) LPS mm of an outline (n, 2) at a height, both in the grid's own frame."""
    axes = np.array([on.row, on.column, on.normal])
    return np.column_stack([outline, np.full(len(outline), height)]) @ axes + on.origin


def contours_of(solid: Solid, on: Geometry, heights: Iterable[float] | None = None) -> list[Dataset]:
    """Items of a solid drawn on the slices of a grid, or at these heights."""
    heights = np.arange(on.shape[2]) * on.spacing[2] if heights is None else heights
    kind = "CLOSEDPLANAR_XOR" if solid.xor else "CLOSED_PLANAR"
    return [contour(placed(on, height, outline), kind) for height, outline in solid.drawn(heights)]


def structure_set(structures: dict[int, list[Dataset] | None], frame: str = FRAME, **attributes: Any) -> Dataset:
    """An RTSTRUCT of structures by ROI number; None: declared, without an item in ROIContourSequence."""
    ds = phantoms.dataset(sop_class=STRUCTURE_SET, modality="RTSTRUCT")
    del ds.PixelData
    declared, drawn, observed = [], [], []
    for number, contours in structures.items():
        roi, seen = Dataset(), Dataset()
        roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName = number, frame, f"made {number}"
        roi.ROIGenerationAlgorithm = "MANUAL"
        declared.append(roi)
        seen.ObservationNumber, seen.ReferencedROINumber, seen.RTROIInterpretedType = number, number, "GTV"
        observed.append(seen)
        if contours is not None:
            item = Dataset()
            item.ReferencedROINumber, item.ROIDisplayColor = number, [255, 128, 0]
            item.ContourSequence = Items(contours)
            drawn.append(item)
    ds.StructureSetROISequence, ds.ROIContourSequence = Items(declared), Items(drawn)
    ds.RTROIObservationsSequence = Items(observed)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def dose(values: np.ndarray, scaling: float | None = 0.001, **attributes: Any) -> Dataset:
    """An RTDOSE of stored values (planes, rows, columns), planes 3 mm apart; `None` removes a keyword."""
    base = {
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN",
        "DoseGridScaling": scaling,
        "GridFrameOffsetVector": [3.0 * k for k in range(len(values))],
        "ImagePositionPatient": [-10.0, -20.0, 30.0],
        "ImageOrientationPatient": list(phantoms.AXIAL),
        "PixelSpacing": [2.5, 2.0],
    }
    with disable_value_validation():
        return phantoms.dataset(values, modality="RTDOSE", sop_class=DOSE, **{**base, **attributes})


def written(ds: Dataset) -> bytes:
    """The bytes of an object as a DICOM file."""
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
