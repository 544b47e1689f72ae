"""Made mosaics: the slices of a volume side by side in one image, with the private elements that place them.

Belongs here: Siemens mosaics with their CSA headers, United Imaging VFRAME files. Does not belong here: assertions, or
other images (`tests.phantoms`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from tests import phantoms

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)
"""An orthonormal row and column that lie along no axis."""


def csa_header(fields: Mapping[str, Sequence[object]], *, second: bool = True) -> bytes:
    """A CSA header: of the second kind, else of the first."""
    out = b"SV10\4\3\2\1" if second else b""
    out += struct.pack("<II", len(fields), 77)
    first: int | None = None
    for name, values in fields.items():
        texts = [str(value).encode() for value in values]
        first = len(texts) if first is None else first
        out += struct.pack("<64si4siii", name.encode(), len(texts), b"FD\0\0", 4, len(texts), 77)
        for text in texts:
            raw = text + b"\0"
            length = len(raw) if second else len(raw) + first
            out += struct.pack("<4i", length, len(raw), 77, len(raw)) + raw + b"\0" * (-len(raw) % 4)
    return out


def protocol(centres: Sequence[Sequence[float]]) -> bytes:
    """The part of a series header's protocol that places slices; coordinates of 0 are left out."""
    lines = [f"sSliceArray.lSize\t = \t{len(centres)}"]
    for index, centre in enumerate(centres):
        for axis, number in zip(("Sag", "Cor", "Tra"), centre, strict=True):
            if number:
                lines.append(f"sSliceArray.asSlice[{index}].sPosition.d{axis}\t = \t{number:.9g}")
    return "\n".join(["### ASCCONV BEGIN ###", *lines, "### ASCCONV END ###"]).encode()


def tiled(content: np.ndarray, across: int, down: int) -> np.ndarray:
    """`(slices, rows, columns)` as one image, row by row, zeros where there are fewer slices than places."""
    slices, rows, columns = content.shape
    out = np.zeros((down * rows, across * columns), content.dtype)
    for k in range(slices):
        top, left = k // across * rows, k % across * columns
        out[top : top + rows, left : left + columns] = content[k]
    return out


def places(
    slices: int, orientation: Sequence[float], step: float, *, sign: int = 1, origin: Sequence[float] = (-10, 20, 30)
) -> np.ndarray:
    """(slices, 3) positions along the normal, or against it."""
    return np.array(origin) + np.outer(np.arange(slices) * step * sign, np.cross(orientation[:3], orientation[3:]))


def siemens(
    content: np.ndarray,
    *,
    orientation: Sequence[float] = OBLIQUE,
    step: float = 4.0,
    spacing: tuple[float, float] = (2.0, 3.0),
    sign: int = 1,
    csa_fields: Mapping[str, Sequence[object]] | None = None,
    centres: Sequence[Sequence[float]] | None = None,
    count: int | None = None,
    **attributes: Any,
) -> Dataset:
    """A mosaic of `content` (slices, rows, columns); its tiles lie at `places(...)`.

    `count` None leaves out the private number of images; `centres` None writes a protocol that agrees.
    """
    slices, rows, columns = content.shape
    grid = math.ceil(math.sqrt(slices))
    row, column = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    positions = places(slices, orientation, step, sign=sign)
    corner = positions[0] - row * columns * (grid - 1) / 2 - column * rows * (grid - 1) / 2
    normal = np.cross(orientation[:3], orientation[3:]) * sign
    ds = phantoms.dataset(
        tiled(content, grid, grid),
        **{
            "modality": "MR",
            "sop_class": phantoms.MR,
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
            "ImagePositionPatient": [float(f"{x:.8f}") for x in corner],
            "ImageOrientationPatient": [float(x) for x in orientation],
            "PixelSpacing": [float(s) for s in spacing],
            "SpacingBetweenSlices": step,
            "AcquisitionMatrix": [columns, 0, 0, rows],
            **attributes,
        },
    )
    if count is not None:
        ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    fields = {"NumberOfImagesInMosaic": [slices], "SliceNormalVector": [f"{x:.8f}" for x in normal]}
    if centres is None:
        centres = positions + row * columns / 2 + column * rows / 2
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa_header(fields if csa_fields is None else csa_fields))
    block.add_new(0x20, "OB", protocol(centres) + b" " * (len(protocol(centres)) % 2))
    return ds


def vframe(content: np.ndarray, positions: np.ndarray, **attributes: Any) -> Dataset:
    """A United Imaging file of `content` (slices, rows, columns), its tiles at `positions` (slices, 3)."""
    slices = len(content)
    across = math.ceil(math.sqrt(slices))
    ds = phantoms.dataset(
        tiled(content, across, math.ceil(slices / across)),
        **{
            "modality": "MR",
            "sop_class": phantoms.MR,
            "Manufacturer": "UIH",
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"],
            "ImageOrientationPatient": [float(x) for x in OBLIQUE],
            "PixelSpacing": [2.0, 3.0],
            **attributes,
        },
    )
    items = []
    for position in positions:
        item = Dataset()
        item.ImagePositionPatient = [float(f"{x:.8f}") for x in position]
        items.append(item)
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(slices))
    block.add_new(0x51, "SQ", Items(items))
    return ds
