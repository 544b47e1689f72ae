"""References of every kind of annotation are found where they are, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate.annotations.references import kind_of, references_of
from tests import annotated, phantoms

STUDY, SERIES, FRAME = "2.25.1", "2.25.2", "2.25.3"
ONE, TWO, THREE = "2.25.11", "2.25.12", "2.25.13"


def item(**attributes) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, Items(value) if isinstance(value, list) else value)
    return made


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "seg"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "seg"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "rtstruct"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "rtdose"),
        ("1.2.840.10008.5.1.4.1.1.30", "parametric_map"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "sr"),
        ("1.2.840.10008.5.1.4.1.1.88.59", None),
        (phantoms.CT, None),
        ("", None),
    ],
)
def test_kinds(sop_class, kind):
    assert kind_of(sop_class) == kind


def test_segmentation():
    grid = annotated.grid()
    frame = np.ones(grid.shape[1::-1], np.uint8)
    ds = annotated.segmentation([(1, 0, frame), (1, 1, frame), (1, 2, frame)], grid, sources=[ONE, TWO, ONE])
    ds.ReferencedSeriesSequence = Items(
        [item(SeriesInstanceUID=SERIES, ReferencedInstanceSequence=[item(ReferencedSOPInstanceUID=THREE)])]
    )
    ds.ReferencedPerformedProcedureStepSequence = Items([item(ReferencedSOPInstanceUID="2.25.99")])
    ds.ReferencedStudySequence = Items([item(ReferencedSOPInstanceUID=STUDY)])
    found = references_of(ds)
    assert found.frame_of_reference == annotated.FRAME_OF_REFERENCE
    assert found.series == (SERIES,)
    assert set(found.instances) == {ONE, TWO, THREE}
    assert len(found.instances) == 3
    assert found.studies == (STUDY,)


def test_structure_set():
    image = item(ReferencedSOPInstanceUID=ONE)
    series = item(SeriesInstanceUID=SERIES, ContourImageSequence=[image])
    study = item(ReferencedSOPInstanceUID=STUDY, RTReferencedSeriesSequence=[series])
    frame = item(FrameOfReferenceUID=FRAME, RTReferencedStudySequence=[study])
    contour = item(ContourImageSequence=[item(ReferencedSOPInstanceUID=TWO)])
    ds = item(
        ReferencedFrameOfReferenceSequence=[frame],
        ROIContourSequence=[item(ContourSequence=[contour])],
        StructureSetROISequence=[item(ReferencedFrameOfReferenceUID=FRAME)],
        PredecessorStructureSetSequence=[item(ReferencedSOPInstanceUID="2.25.99")],
    )
    found = references_of(ds)
    assert found.frame_of_reference == FRAME
    assert (found.series, found.studies) == ((SERIES,), (STUDY,))
    assert found.instances == (ONE, TWO)


def test_dose():
    ds = item(
        FrameOfReferenceUID=FRAME,
        ReferencedRTPlanSequence=[item(ReferencedSOPInstanceUID=ONE)],
        ReferencedStructureSetSequence=[item(ReferencedSOPInstanceUID=TWO)],
    )
    assert set(references_of(ds).instances) == {ONE, TWO}


def test_report():
    evidence = item(
        StudyInstanceUID=STUDY,
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=SERIES, ReferencedSOPSequence=[item(ReferencedSOPInstanceUID=ONE)])
        ],
    )
    content = item(ContentSequence=[item(ReferencedSOPSequence=[item(ReferencedSOPInstanceUID=TWO)])])
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        found = references_of(item(**{keyword: [evidence], "ContentSequence": [content]}))
        assert (found.studies, found.series) == ((STUDY,), (SERIES,))
        assert set(found.instances) == {ONE, TWO}


def test_a_header_without_references_and_one_without_end():
    assert references_of(Dataset()).instances == ()
    deep = item(ReferencedSOPInstanceUID=ONE)
    for _ in range(60):
        deep = item(ContentSequence=[deep])
    assert references_of(deep).instances == ()
