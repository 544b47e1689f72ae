"""Label maps delivered as files beside the images: NIfTI and NRRD.

Belongs here: reading such a file, and laying it on the grid of its image. Does not belong here: which image it belongs
to (`oncurate.annotations.matching`), files of ours (`oncurate.nifti`).

Voxels and place are read by SimpleITK. Before that, the header is looked at here: a file whose header promises more
voxels than are taken, or that sends the reader to another file, is refused unread. In NIfTI files, values that are not
finite are background: the reader makes them 0.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK
from scipy import ndimage

from oncurate.annotations import lattice
from oncurate.annotations.model import LARGEST_LABEL, Code, Label, LabelMap, LayerStack
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Geometry
from oncurate.regrid import MAX_VOXELS

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
"""Names of label files, in small letters."""

_NRRD_MAGIC = b"NRRD000"
_NRRD_HEADER_BYTES = 1 << 20
_DETACHED = re.compile(rb"^data ?file:", re.IGNORECASE | re.MULTILINE)
_NRRD_SPACE = re.compile(rb"^space:", re.IGNORECASE | re.MULTILINE)
_NIFTI_CODES = ("qform_code", "sform_code")
_SEGMENT = re.compile(r"Segment([0-9]{1,5})_LabelValue")
_TERMS = "TerminologyEntry:"
_WHOLE = 1e-6
"""Values this close to a whole number are it."""


@dataclass(frozen=True, eq=False)
class Delivered:
    """A label file: `layers` are integer `[i, j, k]` arrays, `affine` 4x4 voxel index -> LPS mm.

    `names` are the labels that the file itself describes (`.seg.nrrd` of 3D Slicer), by (layer, value).
    """

    layers: tuple[np.ndarray, ...]
    affine: np.ndarray
    names: dict[tuple[int, int], Label] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        return tuple(self.layers[0].shape)  # type: ignore[return-value]


def read(data: bytes, name: str) -> Delivered:
    """The label map in the bytes of a file whose name ends in one of SUFFIXES.

    Raises `Rejection`: BROKEN_LABEL_FILE (not readable, detached, without a place in the patient, not of three axes),
    GRID_TOO_LARGE, LABELS_NOT_WHOLE, TOO_MANY_LABELS.
    """
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), None)
    if suffix is None:
        raise Rejection(Reason.BROKEN_LABEL_FILE, "suffix")
    if suffix == ".nrrd":
        _check_nrrd(data)
    with tempfile.TemporaryDirectory(prefix="oncurate-label-") as folder:
        path = Path(folder) / f"label{suffix}"  # the source's name may name a patient
        path.write_bytes(data)
        try:
            image, keys = _read(path, is_nifti=suffix != ".nrrd")
        except RuntimeError:  # ITK's messages quote the path and header
            raise Rejection(Reason.BROKEN_LABEL_FILE, "not readable") from None
    return Delivered(_layers(image), _affine(image), _described(keys))


def lay(delivered: Delivered, grid: Geometry, names: Mapping[int, str] | None = None) -> LabelMap:
    """A delivered label map on `grid`, padded to it.

    `names` gives the labels' names where the file has none. Numbers are the file's; where two layers of a file use one
    number for different labels, later ones get the next free number. Raises ANNOTATION_OFF_GRID where voxels of the
    file are not voxels of the grid, ANNOTATION_OUTSIDE_IMAGE where a label lies beyond it, EMPTY_ANNOTATION.
    """
    found = lattice.fit_volume(delivered.affine, delivered.shape, grid)
    if not found.fits:
        raise Rejection(Reason.ANNOTATION_OFF_GRID, f"{found.error_mm:.2f} mm off the grid of the image")
    stack, labels, outside = LayerStack(grid.shape), [], 0
    for index, layer in enumerate(delivered.layers):
        for value, box in _boxes(layer):
            start = tuple(part.start for part in box)
            mask, corner = found.laid(layer[box] == value, 0, (start[0], start[1], start[2]))
            if lattice.overhang(corner, mask.shape, grid):
                outside += 1
                continue
            number = value if value not in stack.layer_of else max(stack.layer_of) + 1
            if number > LARGEST_LABEL:
                raise Rejection(Reason.TOO_MANY_LABELS)
            stack.add(number, mask, (int(corner[0]), int(corner[1]), int(corner[2])))
            labels.append(_label(delivered.names.get((index, value)), number, value, names or {}))
    if outside:
        raise Rejection(Reason.ANNOTATION_OUTSIDE_IMAGE, f"{outside} of {outside + len(labels)} labels")
    if not labels:
        raise Rejection(Reason.EMPTY_ANNOTATION)
    return stack.label_map(labels)


def _label(described: Label | None, number: int, value: int, names: Mapping[int, str]) -> Label:
    if described is None:
        return Label(number=number, name=names.get(value, ""), source_number=value)
    return Label(
        number=number,
        name=names.get(value, described.name),
        category=described.category,
        type=described.type,
        region=described.region,
        colour=described.colour,
        source_number=value,
    )


def _check_nrrd(data: bytes) -> None:
    header = data[:_NRRD_HEADER_BYTES].partition(b"\n\n")[0].replace(b"\r", b"")
    if not header.startswith(_NRRD_MAGIC):
        raise Rejection(Reason.BROKEN_LABEL_FILE, "no NRRD header")
    if _DETACHED.search(header):
        raise Rejection(Reason.BROKEN_LABEL_FILE, "voxels in another file")
    if not _NRRD_SPACE.search(header):
        raise Rejection(Reason.BROKEN_LABEL_FILE, "no place in the patient")


def _read(path: Path, *, is_nifti: bool) -> tuple[SimpleITK.Image, dict[str, str]]:
    """The image and its header's keys; RuntimeError from ITK."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NiftiImageIO" if is_nifti else "NrrdImageIO")
    reader.ReadImageInformation()
    size = reader.GetSize()
    if np.prod(size, dtype=float) * reader.GetNumberOfComponents() > MAX_VOXELS:
        raise Rejection(Reason.GRID_TOO_LARGE)
    keys = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    if is_nifti and not any(int(keys.get(code, "0")) > 0 for code in _NIFTI_CODES):
        raise Rejection(Reason.BROKEN_LABEL_FILE, "no place in the patient")
    if len(size) != 3:
        raise Rejection(Reason.BROKEN_LABEL_FILE, f"{len(size)} axes")
    return reader.Execute(), keys


def _layers(image: SimpleITK.Image) -> tuple[np.ndarray, ...]:
    """`[i, j, k]` uint16 arrays, one for each component."""
    array = SimpleITK.GetArrayViewFromImage(image)
    parts = [array] if array.ndim == 3 else [array[..., n] for n in range(array.shape[-1])]
    return tuple(_whole(part.T) for part in parts)


def _whole(array: np.ndarray) -> np.ndarray:
    """The values as uint16; floats that are whole numbers are taken."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or np.abs(array - np.rint(array)).max(initial=0) > _WHOLE:
            raise Rejection(Reason.LABELS_NOT_WHOLE)
        array = np.rint(array)
    if array.min(initial=0) < 0:
        raise Rejection(Reason.LABELS_NOT_WHOLE, "below 0")
    if array.max(initial=0) > LARGEST_LABEL:
        raise Rejection(Reason.TOO_MANY_LABELS, "a value above 65535")
    return array.astype(np.uint16)


def _boxes(layer: np.ndarray) -> list[tuple[int, tuple[slice, slice, slice]]]:
    """Each value but 0 and the box that it fills."""
    boxes = ndimage.find_objects(layer.astype(np.int32))
    return [(value, box) for value, box in enumerate(boxes, 1) if box is not None]


def _affine(image: SimpleITK.Image) -> np.ndarray:
    """Voxel index -> LPS mm, which is what ITK keeps."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def _described(keys: Mapping[str, str]) -> dict[tuple[int, int], Label]:
    """The labels that the header of a `.seg.nrrd` describes, by layer and value."""
    found = {}
    for key, text in keys.items():
        match = _SEGMENT.fullmatch(key)
        value = _integer(text)
        layer = _integer(keys.get(f"Segment{match.group(1)}_Layer", "0")) if match else None
        if match is None or value is None or layer is None:
            continue
        prefix = f"Segment{match.group(1)}_"
        category, kind, region = _terminology(keys.get(f"{prefix}Tags", ""))
        found[layer, value] = Label(
            number=value,
            name=keys.get(f"{prefix}Name", ""),
            category=category,
            type=kind,
            region=(region,) if region else (),
            colour=_colour(keys.get(f"{prefix}Color", "")),
            source_number=value,
        )
    return found


def _integer(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _colour(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = (round(255 * float(part)) for part in text.split())
    except ValueError:
        return None
    return (red, green, blue) if all(0 <= part <= 255 for part in (red, green, blue)) else None


def _terminology(tags: str) -> tuple[Code | None, Code | None, Code | None]:
    """Category, type and region out of 3D Slicer's terminology tag: contexts and codes with ~ between, parts with ^."""
    entry = tags.partition(_TERMS)[2].partition("|")[0].split("~")
    codes = [_slicer_code(entry[place]) if len(entry) > place else None for place in (1, 2, 5)]
    return codes[0], codes[1], codes[2]


def _slicer_code(text: str) -> Code | None:
    scheme, _, rest = text.partition("^")
    value, _, meaning = rest.partition("^")
    return Code(value, scheme, meaning) if value else None
