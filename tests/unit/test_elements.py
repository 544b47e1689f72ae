"""Elements: plain values out of raw bytes, the same as pydicom's, and nothing out of nonsense."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from oncurate import elements
from tests import phantoms


def parsed(**attributes: object) -> Dataset:
    out = io.BytesIO()
    phantoms.dataset(**attributes).save_as(out, enforce_file_format=True)
    out.seek(0)
    return dcmread(out, stop_before_pixels=True)


def test_values_are_those_of_pydicom_before_and_after_its_conversion() -> None:
    ds = parsed(PixelSpacing=[0.5, 0.25], SpecificCharacterSet="ISO_IR 100", StudyDescription="Überblick", KVP=120)
    expected = {
        "PixelSpacing": [0.5, 0.25],
        "StudyDescription": ["Überblick"],
        "KVP": [120.0],
        "Rows": [16],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": ["PHANTOM^ONE"],
        "EchoTime": [],
        "NoSuchKeyword": [],
    }
    for _ in range(2):
        assert {k: elements.values(ds, k) for k in expected} == expected
        for keyword in expected:
            ds.get(keyword)  # converts in place


@pytest.mark.parametrize(("raw", "found"), [(b"1.5\\abc", []), (b"", []), (b" 2.5 ", [2.5]), (b"1.0 ", [1.0])])
def test_a_number_that_does_not_parse_is_no_value(raw: bytes, found: list[float]) -> None:
    ds = parsed()
    tag = elements.tag_of("SliceThickness")
    ds[tag] = RawDataElement(tag, "DS", len(raw), raw, 0, False, True)
    assert elements.values(ds, "SliceThickness") == found


def test_integers_are_whole_or_nothing() -> None:
    ds = parsed(InstanceNumber=7, SliceThickness=2.5)
    assert elements.integer(ds, "InstanceNumber") == 7
    assert elements.integer(ds, "SliceThickness") is None
    assert elements.number(ds, "SliceThickness") == 2.5
    assert elements.number(ds, "PatientID") is None


def test_items_of_what_is_no_sequence_are_none() -> None:
    ds = parsed()
    assert elements.items(ds, "PatientID") == []
    assert elements.first_item(ds, "ReferencedImageSequence") is None
    assert elements.first_item(None, "ReferencedImageSequence") is None


def test_private_elements_are_found_by_their_creator_in_any_block() -> None:
    made = phantoms.dataset()
    made.private_block(0x2001, "SOMEONE ELSE", create=True).add_new(0x03, "FL", 1.0)
    made.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", 800.0)
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    out.seek(0)
    ds = dcmread(out)
    assert elements.private(ds, 0x2001, "PHILIPS IMAGING DD 001", 0x03) == [800.0]
    assert elements.private(ds, 0x2001, "ABSENT", 0x03) == []


NUMBER = elements.PrivateTag(0x2001, "Philips Imaging DD 001", 0x03, "FL", "PHILIPS")


def test_a_private_element_of_unknown_vr_is_read_as_its_vendor_documents_it() -> None:
    ds = phantoms.dataset()
    ds.private_block(0x2001, NUMBER.creator, create=True).add_new(0x03, "UN", b"\x00\x00\x7a\x44")
    for again in (ds, reread(ds)):
        assert elements.private_values(again, NUMBER) == [1000.0]
        assert elements.private_values(again, NUMBER._replace(creator="ABSENT")) == []


def test_an_element_without_any_creator_is_read_only_if_asked() -> None:
    ds = phantoms.dataset()
    ds.add_new(0x20011003, "UN", b"\x00\x00\x7a\x44")
    ds = reread(ds)
    assert elements.private_values(ds, NUMBER) == []
    assert elements.private_values(ds, NUMBER, orphan=True) == [1000.0]
    ds.add_new(0x20010011, "LO", "SOMEONE ELSE")
    assert elements.private_values(ds, NUMBER, orphan=True) == []


def test_private_bytes_and_items_are_found_by_their_creator() -> None:
    ds, item = phantoms.dataset(), Dataset()
    item.PatientID = "X"
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", b"SV10")
    block.add_new(0x20, "SQ", Sequence([item]))
    ds = reread(ds)
    wanted = elements.PrivateTag(0x0029, "SIEMENS CSA HEADER", 0x10, "OB", "SIEMENS")
    assert elements.private_bytes(ds, wanted) == b"SV10"
    assert elements.private_bytes(ds, wanted._replace(element=0x11)) == b""
    assert [i.PatientID for i in elements.private_items(ds, wanted._replace(element=0x20))] == ["X"]
    assert elements.private_items(ds, wanted) == elements.private_items(ds, wanted._replace(creator="NONE")) == []


def reread(ds: Dataset) -> Dataset:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    out.seek(0)
    return dcmread(out)
