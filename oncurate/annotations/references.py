"""What an annotation points to: images, series, studies and the frame of reference it lies in.

Belongs here: the kinds of annotation objects, and collecting references from a header, at any depth. Does not belong
here: finding what they point to. Works on SEG, RTSTRUCT, RTDOSE, parametric maps, SR, presentation states and key
object selections alike: which sequences hold references is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.annotations.model import References

Kind = Literal["seg", "rtstruct", "rtdose", "parametric_map", "sr"]

_KINDS: dict[str, Kind] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",  # Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.66.7": "seg",  # Label Map Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.481.3": "rtstruct",
    "1.2.840.10008.5.1.4.1.1.481.2": "rtdose",
    "1.2.840.10008.5.1.4.1.1.30": "parametric_map",
    "1.2.840.10008.5.1.4.1.1.88.11": "sr",  # Basic Text
    "1.2.840.10008.5.1.4.1.1.88.22": "sr",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.88.33": "sr",  # Comprehensive
    "1.2.840.10008.5.1.4.1.1.88.34": "sr",  # Comprehensive 3D
    "1.2.840.10008.5.1.4.1.1.88.35": "sr",  # Extensible
}
_SERIES = frozenset({"ReferencedSeriesSequence", "RTReferencedSeriesSequence", "SourceSeriesSequence"})
_STUDIES = frozenset(
    {
        "StudiesContainingOtherReferencedInstancesSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "PertinentOtherEvidenceSequence",
    }
)
_STUDIES_BY_INSTANCE = frozenset({"ReferencedStudySequence", "RTReferencedStudySequence"})
"""Their items name a study by ReferencedSOPInstanceUID, as if it were an object."""
_NO_IMAGES = frozenset(
    {
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedPatientSequence",
        "ReferencedVisitSequence",
        "ReferencedRequestSequence",
        "RequestAttributesSequence",
        "PredecessorDocumentsSequence",
        "PredecessorStructureSetSequence",
        "HL7StructuredDocumentReferenceSequence",
    }
)
_DEEPEST = 24
"""Sequences within sequences; the deepest references of the standard are six or seven down, those of an SR as deep as
its tree."""


def kind_of(sop_class: str) -> Kind | None:
    """What kind of annotation an object of this SOP class is; None if it is none that is read."""
    return _KINDS.get(sop_class)


def references_of(ds: Dataset) -> References:
    """All that a header points to; without what is no image or annotation (procedures, patients, former versions)."""
    found: dict[str, dict[str, None]] = {"frames": {}, "series": {}, "instances": {}, "studies": {}}
    for name, uid in _walk(ds, "", 0):
        found[name].setdefault(uid)
    return References(
        frame_of_reference=next(iter(found["frames"]), ""),
        series=tuple(found["series"]),
        instances=tuple(found["instances"]),
        studies=tuple(found["studies"]),
    )


def _walk(ds: Dataset, within: str, depth: int) -> Iterator[tuple[str, str]]:
    """Each reference of a data set and what is in it: what kind of thing it names, and the UID."""
    yield from _of_item(ds, within)
    if depth == _DEEPEST:
        return
    for tag in list(ds.keys()):
        keyword = keyword_for_tag(tag)
        if keyword and keyword not in _NO_IMAGES and dictionary_VR(tag) == "SQ":
            for item in elements.items(ds, keyword):
                yield from _walk(item, keyword, depth + 1)


def _of_item(ds: Dataset, within: str) -> Iterator[tuple[str, str]]:
    wanted = [("frames", "FrameOfReferenceUID"), ("frames", "ReferencedFrameOfReferenceUID")]
    wanted.append(("studies" if within in _STUDIES_BY_INSTANCE else "instances", "ReferencedSOPInstanceUID"))
    if within in _SERIES:
        wanted.append(("series", "SeriesInstanceUID"))
    if within in _STUDIES:
        wanted.append(("studies", "StudyInstanceUID"))
    for name, keyword in wanted:
        uid = elements.text(ds, keyword)
        if uid:
            yield name, uid
