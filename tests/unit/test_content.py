"""The digest of what an object says: blind to how it was carried, and to nothing else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence

from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests.contents import content_digest
from tests.phantoms import dataset


def written(ds: Dataset, **meta: Any) -> bytes:
    for keyword, value in meta.items():
        setattr(ds.file_meta, keyword, value)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def digest(data: bytes) -> str:
    return content_digest(io.BytesIO(data))


def nested(**attributes: Any) -> Dataset:
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-1", attributes.pop("meaning", "a made code")
    outer = Dataset()
    outer.ConceptCodeSequence = Sequence([inner, Dataset()])
    return dataset(ReferencedStudySequence=Sequence([outer]), **attributes)


def test_how_an_object_was_carried_does_not_count() -> None:
    same = digest(written(nested()))
    assert digest(written(nested(), ImplementationVersionName="OTHER", SourceApplicationEntityTitle="A")) == same
    undefined = nested()
    undefined["ReferencedStudySequence"].is_undefined_length = True
    undefined.ReferencedStudySequence[0].is_undefined_length_sequence_item = True
    assert written(undefined) != written(nested())
    assert digest(written(undefined)) == same
    padded = nested()
    padded.add_new(0xFFFCFFFC, "OB", bytes(100))
    assert digest(written(padded)) == same
    spaces = nested(PatientComments="made   ")
    assert digest(written(spaces)) == digest(written(nested(PatientComments="made")))
    lengths = nested()
    lengths.add_new(0x00080000, "UL", 1234)
    assert digest(written(lengths)) == same


def test_anything_else_counts() -> None:
    found = {
        digest(written(ds))
        for ds in (
            nested(),
            nested(meaning="another"),
            nested(PatientID="OTHER"),
            nested(StudyID=None),
            dataset(),
            dataset(number=2),
            dataset(pixels=dataset().pixel_array + 1),
        )
    }
    assert len(found) == 6  # the phantom has no StudyID to take away


def test_an_item_is_not_an_element_of_its_own() -> None:
    flat, deep = dataset(), dataset()
    inner = Dataset()
    inner.CodeValue = "T-1"
    flat.ConceptCodeSequence = Sequence([inner, Dataset()])
    deep.ConceptCodeSequence = Sequence([Dataset(), inner])
    assert digest(written(flat)) != digest(written(deep))


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm", "693_J2KI.dcm"])
def test_real_objects_have_one_whatever_stands_in_their_file_meta(name: str) -> None:
    with open(str(get_testdata_file(name)), "rb") as file:
        data = file.read()
    start = 144 + int.from_bytes(data[140:144], "little")
    other = dataset(sop_class="1.2.3").file_meta
    other.TransferSyntaxUID = dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID
    head = io.BytesIO()
    write_file_meta_info(head, other)
    assert digest(bytes(128) + b"DICM" + head.getvalue() + data[start:]) == digest(data)


def test_a_cut_object_is_another(tmp_path: Path) -> None:
    with open(str(get_testdata_file("CT_small.dcm")), "rb") as file:
        data = file.read()
    assert digest(data[:-2000]) != digest(data)


def test_what_cannot_be_read_is_refused() -> None:
    with open(str(get_testdata_file("image_dfl.dcm")), "rb") as file:
        data = file.read()
    with pytest.raises(Rejection) as refused:
        digest(data[:500])
    assert refused.value.reason is Reason.BROKEN_HEADER
