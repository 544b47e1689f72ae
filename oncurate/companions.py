"""Reads the header of an object that belongs to images without being one, into a `Companion`.

Belongs here: whose object it is and which images it points to. Does not belong here: what it says about them
(`oncurate.annotations`), images (`oncurate.headers`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements, headers
from oncurate.annotations.references import kind_of, references_of
from oncurate.annotations.source import opened
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Companion

OTHER = "other"


def read_companion(
    stream: BinaryIO,
    *,
    object: str,
    source_path: str,
    url: str,
    size: int,
    harvest: Callable[[Dataset], tuple[str, ...]],
) -> Companion:
    """Parse the header in `stream` (positioned at its start) of an object that `oncurate.kinds` takes for no image.

    Raises `Rejection`: MISSING_IDENTITY where a segmentation, structure set, dose, map or report lacks a UID, and
    NOT_AN_IMAGE where anything else does.
    """
    ds, _, _ = headers.parse(stream, size)
    sop_class = elements.text(ds, "SOPClassUID") or elements.text(ds.file_meta, "MediaStorageSOPClassUID")
    kind = kind_of(sop_class)
    try:
        identity = headers.identity_of(ds)
    except Rejection:
        if kind is None:
            raise Rejection(Reason.NOT_AN_IMAGE) from None
        raise
    references = references_of(ds)
    return Companion(
        object=object,
        source_path=source_path,
        url=url,
        bytes=size,
        kind=kind or OTHER,  # type: ignore[arg-type]  # `kind_of` returns one of the literals
        SOPClassUID=sop_class,
        **identity,
        FrameOfReferenceUID=elements.text(ds, "FrameOfReferenceUID"),
        PatientID=elements.text(ds, "PatientID"),
        IssuerOfPatientID=elements.text(ds, "IssuerOfPatientID"),
        Modality=elements.text(ds, "Modality"),
        StudyDate=elements.text(ds, "StudyDate"),
        referenced_frame_of_reference=references.frame_of_reference,
        referenced_series=references.series,
        referenced_instances=references.instances,
        identifiers=tuple(harvest(ds)),
    )


def content_digest(data: bytes) -> str | None:
    """SHA-256 over what an object says, whatever its encoding: its elements, and its decoded pixels.

    None where it cannot be read. File meta, group lengths and trailing padding do not count.
    """
    try:
        source = opened(data)
        digest = hashlib.sha256(json.dumps(source.ds.to_json_dict(), sort_keys=True, default=str).encode())
        if source.pixels is not None:
            for frame in source.frames():
                digest.update(np.ascontiguousarray(frame).tobytes())
    except (Rejection, *PARSE_ERRORS):
        return None
    return digest.hexdigest()
