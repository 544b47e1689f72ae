"""Made annotations: segmentations, parametric maps, reports and label files of images that do not exist.

Belongs here: building them, with the faults that a test asks for. Does not belong here: assertions.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate import geometry
from oncurate.records import Geometry
from tests import phantoms

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
REPORT = "1.2.840.10008.5.1.4.1.1.88.33"
FRAME_OF_REFERENCE = phantoms.uid("frame of the annotated")
LIVER = ("10200004", "SCT", "Liver")

Shown = tuple[int, int, np.ndarray]
"""One frame: segment number, slice index, pixels (rows, columns)."""


def grid(
    shape: tuple[int, int, int] = (10, 8, 6),
    spacing: tuple[float, float, float] = (0.8, 0.9, 2.5),
    orientation: Sequence[float] = phantoms.AXIAL,
    origin: Sequence[float] = (-20.0, 10.0, 40.0),
) -> Geometry:
    """A grid of `shape` columns, rows, slices and mm between columns, rows, slices."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    positions = np.array(origin) + np.outer(np.arange(shape[2]) * spacing[2], np.cross(row, column))
    count = shape[2]
    layout = geometry.lay_out(
        positions,
        np.tile(orientation, (count, 1)).astype(float),
        np.tile([spacing[1], spacing[0]], (count, 1)),
        np.tile([shape[1], shape[0]], (count, 1)),
    )
    return layout.geometry


def position(of: Geometry, i: float, j: float, k: float) -> list[float]:
    """LPS mm of a voxel index, as a header writes it."""
    place = np.array(of.origin)
    for index, direction, spacing in zip((i, j, k), (of.row, of.column, of.normal), of.spacing, strict=True):
        place = place + np.array(direction) * (index * spacing)
    return [float(f"{x:.6f}") for x in place]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def segment(number: int, name: str = "", kind: tuple[str, str, str] = LIVER, **attributes: Any) -> Dataset:
    """An item of Segment Sequence."""
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, name or f"structure {number}"
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = Items([code("123037004", "SCT", "Anatomical Structure")])
    item.SegmentedPropertyTypeCodeSequence = Items([code(*kind)])
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def multiframe(pixels: np.ndarray, on: Geometry, places: Sequence[list[float]], **attributes: Any) -> Dataset:
    """Frames (n, rows, columns) with the orientation and spacing of `on`, each at its own place."""
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [on.spacing[1], on.spacing[0]]
    measures.SliceThickness = measures.SpacingBetweenSlices = on.spacing[2]
    plane.ImageOrientationPatient = [float(f"{x:.6f}") for x in (*on.row, *on.column)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([plane])
    frames = []
    for place in places:
        frame, at = Dataset(), Dataset()
        at.ImagePositionPatient = place
        frame.PlanePositionSequence = Items([at])
        frames.append(frame)
    return phantoms.dataset(
        pixels,
        SharedFunctionalGroupsSequence=Items([shared]),
        PerFrameFunctionalGroupsSequence=Items(frames),
        FrameOfReferenceUID=FRAME_OF_REFERENCE,
        NumberOfFrames=len(pixels),
        **attributes,
    )


def segmentation(
    shown: Sequence[Shown],
    on: Geometry,
    *,
    kind: str = "BINARY",
    segments: Sequence[Dataset] | None = None,
    sources: Sequence[str] | None = None,
    corner: tuple[float, float, float] = (0, 0, 0),
    **attributes: Any,
) -> Dataset:
    """A SEG whose frames lie on `on`, the first pixel of slice 0 at voxel `corner`; `sources` has an image a frame."""
    pixels = np.array([image for _, _, image in shown]).astype(np.uint16 if kind == "LABELMAP" else np.uint8)
    places = [position(on, corner[0], corner[1], corner[2] + k) for _, k, _ in shown]
    base = {"sop_class": LABEL_MAP if kind == "LABELMAP" else SEGMENTATION, "modality": "SEG", "SegmentationType": kind}
    if kind == "FRACTIONAL":
        base |= {"MaximumFractionalValue": 200, "SegmentationFractionalType": "PROBABILITY"}
    ds = multiframe(pixels, on, places, **{**base, **attributes})
    numbers = sorted({number for number, _, _ in shown})
    ds.SegmentSequence = Items(segments if segments is not None else [segment(number) for number in numbers])
    for index, ((number, _, _), frame) in enumerate(zip(shown, ds.PerFrameFunctionalGroupsSequence, strict=True)):
        if kind != "LABELMAP":
            named = Dataset()
            named.ReferencedSegmentNumber = number
            frame.SegmentIdentificationSequence = Items([named])
        if sources is not None:
            frame.DerivationImageSequence = Items([_derived_from(sources[index])])
    if kind == "BINARY":
        ds.BitsAllocated = ds.BitsStored = 1
        ds.HighBit = 0
        packed = np.packbits(pixels.ravel() != 0, bitorder="little").tobytes()
        ds.PixelData = packed + b"\0" * (len(packed) % 2)
    return ds


def _derived_from(uid: str) -> Dataset:
    image, derivation = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = phantoms.CT, uid
    derivation.SourceImageSequence = Items([image])
    return derivation


def real_world(
    slope: float = 1.0, intercept: float = 0.0, unit: tuple[str, str, str] = ("mm2/s", "UCUM", "")
) -> Dataset:
    """A linear real-world value mapping."""
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 65535
    item.MeasurementUnitsCodeSequence = Items([code(*unit)])
    return item


def content(kind: str, name: tuple[str, str, str], *children: Dataset, **attributes: Any) -> Dataset:
    """A content item of a report."""
    item = Dataset()
    item.ValueType = kind
    item.ConceptNameCodeSequence = Items([code(*name)])
    if children:
        item.ContentSequence = Items(children)
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def number(name: tuple[str, str, str], value: str, unit: tuple[str, str, str], *children: Dataset) -> Dataset:
    """A content item that holds a measured number."""
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = Items([code(*unit)])
    return content("NUM", name, *children, MeasuredValueSequence=Items([measured]))


def as_bytes(ds: Dataset) -> bytes:
    """The file."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def label_file(array: np.ndarray, of: Geometry, suffix: str = ".nii.gz", keys: dict[str, str] | None = None) -> bytes:
    """A label file of `[i, j, k]` (or `[i, j, k, component]`) voxels on a grid, as SimpleITK writes it."""
    image = SimpleITK.GetImageFromArray(
        np.ascontiguousarray(array.transpose(2, 1, 0, *range(3, array.ndim))), isVector=array.ndim == 4
    )
    image.SetSpacing(of.spacing)
    image.SetOrigin(of.origin)
    image.SetDirection(np.stack([of.row, of.column, of.normal], axis=1).ravel().tolist())
    for key, value in (keys or {}).items():
        image.SetMetaData(key, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"label{suffix}"
        SimpleITK.WriteImage(image, str(path))
        return path.read_bytes()
