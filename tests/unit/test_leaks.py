"""What is harvested from a header, and what counts as found again."""

from __future__ import annotations

import io
import json

import pytest
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from oncurate import leaks
from tests import phantoms

DIGEST = "3f2a000123bc" + "0" * 52


def reread(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """As a reader sees it: raw elements, in this transfer syntax."""
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream, stop_before_pixels=True)


def identified() -> Dataset:
    """A header with an identifying value in each kind of element, three levels deep."""
    ds = phantoms.dataset(patient="PAT-0042", InstitutionName="Phantom Hospital", StudyDescription="second look")
    ds.PatientAddress, ds.AdditionalPatientHistory = "Made Street 1", "history \\ with backslash"
    inner = Dataset()
    inner.PatientName, inner.PatientID, inner.ReferencedSOPInstanceUID = "INNER^NAME^^DR", "DEEP-77", "1.2.3.4.5678"
    middle = Dataset()
    middle.ReferencedImageSequence = Sequence([inner])
    ds.RequestAttributesSequence = Sequence([middle])
    block = ds.private_block(0x0041, "MADE VENDOR", create=True)
    block.add_new(0x01, "LO", "PRIVATE-ID-9")
    block.add_new(0x02, "UN", b"private secret ")
    block.add_new(0x03, "OB", b"\x01\x02 binary text")
    block.add_new(0x04, "DS", "1.5")
    return ds


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_identifying_values_are_harvested_at_any_depth(syntax):
    found = set(leaks.harvest(reread(identified(), syntax)))
    assert {
        *("PAT-0042", "PHANTOM^ONE", "PHANTOM", "Phantom Hospital", "second look", "Made Street 1", "19600203"),
        *("INNER^NAME^^DR", "INNER", "NAME", "DEEP-77", "1.2.3.4.5678", "history \\ with backslash", "ACC-PHANTOM"),
        *("PRIVATE-ID-9", "private secret", "REFERRER"),
    } <= found


def test_a_header_in_memory_gives_the_same():
    ds = identified()
    assert set(leaks.harvest(reread(identified()))) - {"1.2.826.0.1.3680043.8.498.1"} <= set(leaks.harvest(ds))


def test_what_says_nothing_is_not_harvested():
    found = leaks.harvest(reread(identified()))
    assert found == tuple(sorted(set(found)))
    assert not {phantoms.CT, ExplicitVRLittleEndian, "MADE VENDOR", "SIEMENS", "CHEST", "20230405", "1.5", "DR"} & set(
        found
    )


def test_other_character_sets_are_read():
    ds = phantoms.dataset(SpecificCharacterSet="ISO_IR 192", PatientName="M\u00fcller^J\u00f6rg=\u738b^\u5c0f\u4e1c")
    found = leaks.harvest(reread(ds))
    assert {"M\u00fcller", "J\u00f6rg", "\u5c0f\u4e1c"} <= set(found)
    assert leaks.search('{"a":"\u738b\u5c0f\u4e1c"}'.encode(), found) == 1
    assert leaks.search(json.dumps("M\u00fcller"), found) == 1  # as an escape


def test_values_that_violate_their_vr_are_harvested(monkeypatch):
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    ds = phantoms.dataset()
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    raw = stream.getvalue().replace(b"ACC-PHANTOM ", b"\xff\xfeACC\xe4NTO ")
    found = leaks.harvest(dcmread(io.BytesIO(raw), stop_before_pixels=True))
    assert any("NTO" in value for value in found)


def test_a_sequence_that_does_not_parse_is_read_as_text():
    ds = phantoms.dataset()
    ds.private_block(0x0041, "MADE VENDOR", create=True).add_new(
        0x01, "UN", b"\xfe\xff\x00\xe0\xff\xff\x01HIDDEN NAME\x01"
    )
    assert "HIDDEN NAME" in leaks.harvest(reread(ds))


def test_deep_nesting_ends():
    ds = phantoms.dataset()
    inner = ds
    for _ in range(40):
        item = Dataset()
        inner.ReferencedImageSequence = Sequence([item])
        inner = item
    assert "PHANTOM^ONE" in leaks.harvest(ds)


def test_long_values_are_cut_and_still_found():
    history = "word " * 400 + "end"
    found = leaks.harvest(phantoms.dataset(AdditionalPatientHistory=history))
    assert max(map(len, found)) <= leaks.LONGEST
    assert leaks.search(f"before {history} after", [v for v in found if v.startswith("word")]) == 1


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ('{"x":"doe^jane"}', "DOE^JANE"),
        ('{"x":"Jane Doe"}', "JANE"),
        ("doe_jane", "DOE^JANE"),
        ("xx-DOEJANE2-yy", "DOE^JANE"),
        ("file_hausmann1.nii", "HAUSMANN"),
        ('"000123"', "000123"),
        ("[1,19600203]", "19600203"),
        ('"1.2.826.5"', "1.2.826.5"),
        ("+49 555 123456", "555 123456"),
        ("20230405101112.5", "20230405101112.5"),
    ],
)
def test_an_identifier_is_found(text, identifier):
    assert leaks.search(text, [identifier]) == 1
    assert leaks.search(text.encode(), [identifier, identifier]) == 1


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (f'"{DIGEST}"', "000123"),  # digits inside a digest
        ("[12.345678, 345678.5]", "345678"),  # digits inside a number
        ('"1.2.826.55"', "1.2.826.5"),  # the beginning of another UID
        ('"BodyPartExamined":"LUNG"', "LUNG"),  # a term says nothing about a person
        ('"ConvolutionKernel":"FC52"', "FC52"),
        ('"ORIGINAL\\\\PRIMARY\\\\AXIAL"', "PRIMARY AXIAL"),
        ('"split_by":["echo_time"],"frame":0', "FRAME"),  # a field of ours
        ("[512,512,41]", "512512"),
        ("[512,512,41]", "512-512-41"),
        ("42", "42"),
        ("the lining", "LIN"),
        ("banner", "ANNE"),
        ("Marie", "MARIO"),
        ("", "DOE^JANE"),
        ("anything", "^^^^"),
    ],
)
def test_chance_is_not_a_find(text, identifier):
    assert leaks.search(text, [identifier]) == 0


def test_only_what_was_searched_for_is_counted():
    assert leaks.searchable(["LUNG", "12", "DOE^JANE", "DOE^JANE", "000123", "CT 5.0 B30f"]) == 2


def test_the_cost_does_not_multiply():
    """A release's text and the identifiers of many patients: one pass, not one for each."""
    text = " ".join(f'"name{i:05d}x":{i}.5' for i in range(20000))
    assert leaks.search(text, [f"PATIENT^NUMBER{i}" for i in range(20000)] + ["name00077x"]) == 1


def test_an_id_is_found_although_it_was_read_as_a_decimal_number():
    assert leaks.search('{"FrameReferenceTime":1234567.0}', ["1234567"]) == 1
    assert leaks.search('{"FrameReferenceTime":1234567.25}', ["1234567"]) == 0
    assert leaks.search('{"UID":"2.25.1234567.0"}', ["1234567"]) == 0
