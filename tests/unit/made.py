"""Instances made without files, for tests of planning and conversion.

Belongs here: records with sensible defaults. Does not belong here: DICOM bytes (`tests.phantoms`).
"""

from __future__ import annotations

from typing import Any

from oncurate import kinds
from oncurate.records import Frame, Instance, PixelFormat
from tests.phantoms import CT, MR

__all__ = ["CT", "MR"]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def pixel_format(**options: Any) -> PixelFormat:
    """A 16-bit signed grey native format of 16 rows and 12 columns."""
    base = {
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "Rows": 16,
        "Columns": 12,
        "NumberOfFrames": 1,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "keyword": "PixelData",
    }
    return PixelFormat(**{**base, **options})


def frame(index: int = 0, number: int = 1, **options: Any) -> Frame:
    """An axial frame at the origin."""
    base = {
        "index": index,
        "position": (0.0, 0.0, 0.0),
        "orientation": AXIAL,
        "spacing": (0.8, 0.8),
        "slope": 1.0,
        "intercept": -1024.0,
        "keys": {"instance_number": number},
        "number": number,
    }
    base["keys"] |= options.pop("keys", {})
    base["b_value"] = base["keys"].get("b_value")
    return Frame(**{**base, **options})


def instance(number: int = 1, frames: tuple[Frame, ...] | None = None, **options: Any) -> Instance:
    """A CT instance with one frame, named by its number."""
    keys = options.pop("keys", {})
    framed = {k: options.pop(k) for k in ("position", "orientation", "spacing") if k in options}
    base = {
        "object": f"{number:064d}",
        "source_path": f"{number:04d}.dcm",
        "url": f"file:///made/{number:04d}.dcm",
        "bytes": 1000,
        "SOPClassUID": CT,
        "SOPInstanceUID": f"2.25.{number}",
        "SeriesInstanceUID": "2.25.100000",
        "StudyInstanceUID": "2.25.200000",
        "FrameOfReferenceUID": "2.25.300000",
        "PatientID": "PHANTOM-1",
        "IssuerOfPatientID": "",
        "Modality": "CT",
        "StudyDate": "20230405",
        "lossy": False,
        "offset": 500,
        "format": pixel_format(NumberOfFrames=len(frames) if frames else 1),
        "frames": frames or (frame(number=number, keys=keys, **framed),),
        "attributes": {"KVP": 120.0, "SliceThickness": 2.0},
        "identifiers": ("PHANTOM^ONE",),
    }
    return Instance(**{**base, **options})


def stack(positions: list[float], *, first: int = 1, shift: float = 0.0, **options: Any) -> list[Instance]:
    """An axial stack with slices at these z; each is shifted by `shift` mm along y more than the one before."""
    return [instance(first + n, position=(0.0, n * shift, float(z)), **options) for n, z in enumerate(positions)]


def mr_stack(positions: list[float], **options: Any) -> list[Instance]:
    """Like `stack`, as MR."""
    assert MR in kinds.MR_CLASSES
    return stack(positions, SOPClassUID=MR, Modality="MR", **options)
