"""A canary in every element of every kind, and none in what is written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from oncurate import deid
from oncurate.deid import rules, tables
from oncurate.identity import Keys
from tests import phantoms

KEYS = Keys(b"s" * 32)
POLICY = deid.DeidPolicy()
CANARY = "Zwartekanarie"
SPELLINGS = [c for word in (CANARY, CANARY.upper()) for c in (word.encode(), word.encode("utf-16-le"))]
TEXT = rules.FREE_TEXT | rules.NAMES | {"CS", "AS", "DA", "DT", "TM", "UI", "IS", "DS"}


def cleaned(ds: Dataset, **options) -> bytes:
    return deid.write(deid.clean_object(ds, KEYS, POLICY, "subject", **options)[0])


def assert_none(data: bytes) -> None:
    assert not [spelling for spelling in SPELLINGS if spelling in data]
    assert not [spelling for spelling in SPELLINGS if spelling.lower() in data.lower()]


def reread(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """As a reader sees it: raw elements."""
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return dcmread(io.BytesIO(stream.getvalue()))


def raw(tag: int, vr: str, value: bytes) -> RawDataElement:
    return RawDataElement(BaseTag(tag), vr, len(value), value, 0, False, True)


def plant(ds: Dataset, depth: int) -> Dataset:
    """A canary in every element of the standard's dictionary whose value can be text or bytes; sequences hold more."""
    handled = {"binary", "pixels"}
    for tag, entry in DicomDictionary.items():
        if tag >> 16 in (0, 2, 4) or tag in ds or tag in (0x00080005, 0x00420011, 0x00041220, 0x00280301):
            continue
        vr = entry[0].partition(" or ")[0]
        addition = tables.additions().get(entry[4])
        if vr == "SQ" and depth:
            inner = Dataset()
            inner[0x00081048] = raw(0x00081048, "PN", CANARY.encode())
            inner[0x0040A160] = raw(0x0040A160, "UT", CANARY.encode())
            inner[0x00080104] = raw(0x00080104, "LO", CANARY.encode())
            inner[0x00080100] = raw(0x00080100, "SH", CANARY.encode())
            ds[tag] = DataElement(tag, "SQ", Sequence([inner]))
        elif vr in TEXT:
            ds[tag] = raw(tag, vr, CANARY.encode() + b" ")
        elif vr in rules.BINARY and not (addition and addition.handling in handled):
            ds[tag] = raw(tag, vr, CANARY.encode() + b"\0\0\0")
    return ds


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)


def test_in_every_standard_element_at_the_root_and_in_every_sequence() -> None:
    data = cleaned(plant(phantoms.dataset(), 1))
    assert_none(data)
    assert len(dcmread(io.BytesIO(data))) > 1000  # the sequences are still there


def test_in_an_item_of_an_item_of_an_item() -> None:
    ds = plant(Dataset(), 0)
    for keyword in ("ReferencedStudySequence", "ReferencedSeriesSequence", "RequestAttributesSequence") * 3:
        outer = Dataset()
        setattr(outer, keyword, Sequence([ds]))
        ds = outer
    root = phantoms.dataset()
    root.RequestAttributesSequence = ds[next(iter(ds.keys()))].value
    assert_none(cleaned(root))


def test_below_the_deepest_level_that_is_read() -> None:
    ds = Dataset()
    ds.PatientName = CANARY
    for _ in range(40):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([ds])
        ds = outer
    root = phantoms.dataset()
    root.RequestAttributesSequence = ds.RequestAttributesSequence
    assert_none(cleaned(root))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_in_private_elements_and_unknown_ones(syntax: str) -> None:
    ds = phantoms.dataset()
    if syntax == ExplicitVRBigEndian:
        del ds.PixelData
    block = ds.private_block(0x0009, CANARY, create=True)
    for number, vr in enumerate(("LO", "UN", "OB", "UT", "PN"), 1):
        block.add_new(number, vr, CANARY if vr not in ("UN", "OB") else CANARY.encode() + b" ")
    inner = Dataset()
    inner.PatientName = CANARY
    block.add_new(0x20, "SQ", Sequence([inner]))
    safe = ds.private_block(0x2001, "Philips Imaging DD 001", create=True)
    safe.add_new(0x0B, "CS", CANARY.upper())
    safe.add_new(0x6E, "SH", CANARY)
    safe.add_new(0x03, "FL", 1000.0)
    ds.add_new(0x00091234, "LO", CANARY)  # without a creator
    ds.add_new(0x12340010, "UN", CANARY.encode() + b" ")  # no such element
    out = deid.clean_object(reread(ds, syntax), KEYS, POLICY, "subject")[0]
    data = deid.write(out)
    assert_none(data)
    read = dcmread(io.BytesIO(data))
    assert read.private_block(0x2001, "Philips Imaging DD 001")[0x03].value == 1000.0


def test_a_safe_private_element_under_another_vr_or_creator_goes() -> None:
    ds = phantoms.dataset()
    ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "LO", CANARY)
    ds.private_block(0x0019, "SOMEBODY ELSE", create=True).add_new(0x0C, "IS", "1000")
    data = cleaned(ds)
    assert_none(data)
    assert not [e for e in dcmread(io.BytesIO(data)) if e.tag.is_private]


def test_in_safe_private_sequences() -> None:
    ds, inner, deep = phantoms.dataset(), Dataset(), Dataset()
    deep.PatientComments, deep.EchoTime = CANARY, "5"
    inner.PatientName = CANARY
    inner.ReferencedImageSequence = Sequence([deep])
    ds.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", Sequence([inner]))
    data = cleaned(ds)
    assert_none(data)
    read = dcmread(io.BytesIO(data))
    assert (
        read.private_block(0x2005, "Philips MR Imaging DD 005")[0x0F].value[0].ReferencedImageSequence[0].EchoTime == 5
    )


def test_un_that_is_a_sequence_is_read_as_one() -> None:
    inner = Dataset()
    inner.PatientName, inner.ReferencedSOPInstanceUID = CANARY, "1.2.3.4"
    holder = Dataset()
    holder.ReferencedImageSequence = Sequence([inner])
    stream = io.BytesIO()
    holder.save_as(stream, implicit_vr=True, little_endian=True)
    value = stream.getvalue()[8:]
    ds = phantoms.dataset()
    ds[0x00081140] = raw(0x00081140, "UN", value)
    out = deid.clean_object(ds, KEYS, POLICY, "subject")[0]
    assert_none(deid.write(out))
    assert out.ReferencedImageSequence[0].ReferencedSOPInstanceUID == KEYS.uid("1.2.3.4")


def test_un_that_is_no_sequence_goes() -> None:
    ds = phantoms.dataset()
    ds[0x00081140] = raw(0x00081140, "UN", b"\xfe\xff\x00\xe0" + CANARY.encode())
    ds[0x00081032] = raw(0x00081032, "UN", CANARY.encode())
    assert_none(cleaned(ds))


@pytest.mark.parametrize("tag", [0x00080060, 0x00180050, 0x00200013, 0x00080031, 0x0020000D, 0x00080008, 0x00101010])
def test_after_a_nul_in_a_string(tag: int) -> None:
    ds = phantoms.dataset(SliceThickness="2.5")
    value = str(ds[tag].value) if tag != 0x00080008 else "ORIGINAL\\PRIMARY"
    vr = ds[tag].VR
    ds[tag] = raw(tag, vr, value.encode() + b"\0" + CANARY.encode())
    out = deid.clean_object(ds, KEYS, POLICY, "subject")[0]
    assert_none(deid.write(out))
    assert tag in out
    assert str(out[tag].value)


@pytest.mark.parametrize(
    "value", ["1.2\\3.4\\Zwartekanarie", "Zwartekanarie", "1.2Zwartekanarie", "1e5\\\\Zwartekanarie"]
)
def test_in_numbers(value: str) -> None:
    ds = phantoms.dataset()
    ds[0x00200032] = raw(0x00200032, "DS", value.encode())
    assert_none(cleaned(ds))


def test_an_id_that_stands_as_a_number_goes() -> None:
    ds = phantoms.dataset(patient="123456789", SeriesNumber="123456789", AcquisitionNumber="12")
    out = deid.clean_object(reread(ds), KEYS, POLICY, "subject")[0]
    assert b"123456789" not in deid.write(out)
    assert out.AcquisitionNumber == 12


def test_under_another_vr_than_the_standard_gives() -> None:
    ds = phantoms.dataset()
    ds[0x00280010] = raw(0x00280010, "LO", CANARY.encode())  # Rows
    ds[0x00180081] = raw(0x00180081, "OB", CANARY.encode())  # EchoTime
    ds[0x00200052] = raw(0x00200052, "PN", CANARY.encode())  # FrameOfReferenceUID
    assert_none(cleaned(ds))


def test_in_preamble_and_file_meta() -> None:
    ds = phantoms.dataset()
    ds.preamble = CANARY.encode().ljust(128, b"\0")
    ds.file_meta.SourceApplicationEntityTitle = CANARY
    ds.file_meta.ImplementationVersionName = CANARY
    ds.file_meta.PrivateInformationCreatorUID = "1.2.3"
    ds.file_meta.PrivateInformation = CANARY.encode()
    data = cleaned(ds)
    assert_none(data)
    assert data[:128] == bytes(128)
    meta = dcmread(io.BytesIO(data)).file_meta
    assert {e.keyword for e in meta} == {
        *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
        *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName"),
    }


@pytest.mark.parametrize("policy", [POLICY, deid.DeidPolicy(roi_overlays="keep")])
def test_in_curves_and_overlays(policy: deid.DeidPolicy) -> None:
    ds = phantoms.dataset()
    for group in (0x6000, 0x6002, 0x601E):
        ds[group << 16 | 0x10] = raw(group << 16 | 0x10, "US", b"\x08\0")
        ds[group << 16 | 0x40] = raw(group << 16 | 0x40, "CS", b"R ")
        ds[group << 16 | 0x22] = raw(group << 16 | 0x22, "LO", CANARY.encode())
        ds[group << 16 | 0x1500] = raw(group << 16 | 0x1500, "LO", CANARY.encode())
        ds[group << 16 | 0x4000] = raw(group << 16 | 0x4000, "LT", CANARY.encode())
        ds[group << 16 | 0x3000] = raw(group << 16 | 0x3000, "OW", b"\x01" * 8)
    ds[0x50003000] = raw(0x50003000, "OW", CANARY.encode())
    ds[0x50002500] = raw(0x50002500, "LO", CANARY.encode())
    out = deid.clean_object(ds, KEYS, policy, "subject")[0]
    assert_none(deid.write(out))
    assert (0x60003000 in out) == (policy.roi_overlays == "keep")


def test_in_icons_signatures_and_trailing_padding() -> None:
    ds, icon, signature = phantoms.dataset(), phantoms.dataset(), Dataset()
    icon.PixelData = CANARY.encode() + b"\0"
    signature.Signature, signature.CertificateOfSigner = CANARY.encode(), CANARY.encode()
    ds.IconImageSequence = Sequence([icon])
    ds.DigitalSignaturesSequence = Sequence([signature])
    ds.MACParametersSequence = Sequence([signature])
    ds.EncryptedAttributesSequence = Sequence([signature])
    ds[0xFFFCFFFC] = raw(0xFFFCFFFC, "OB", CANARY.encode())
    out = deid.clean_object(ds, KEYS, POLICY, "subject")[0]
    assert_none(deid.write(out))
    assert {"IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence"}.isdisjoint(out.dir())


def test_behind_the_pixels_and_in_their_upper_bits() -> None:
    pixels = np.full((16, 12), 100, np.uint16)
    ds = phantoms.dataset(pixels, BitsStored=8, HighBit=7)
    hidden = np.frombuffer(CANARY.encode(), np.uint8).astype(np.uint16) << 8
    pixels[0, :12] |= hidden[:12]
    ds.PixelData = pixels.tobytes() + CANARY.encode() + b"\0"
    out = deid.clean_object(ds, KEYS, POLICY, "subject")[0]
    assert_none(deid.write(out))
    assert np.all(np.frombuffer(out.PixelData, np.uint16) == 100)
    assert len(out.PixelData) == pixels.nbytes


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Übermüller^Jörg"),
        ("ISO_IR 192", "Übermüller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),  # noqa: RUF001 - Cyrillic it is
        (["", "ISO 2022 IR 87"], "山田^太郎"),
        ("GB18030", "王^小东"),
    ],
)
def test_names_in_other_character_sets(charset: str | list[str], name: str) -> None:
    ds = phantoms.dataset(SpecificCharacterSet=charset)
    ds.PatientName = name
    ds.SeriesDescription = f"CT {name.replace('^', ' ')} thorax"
    ds.BodyPartExamined = "CHEST"
    source = reread(ds)
    out = deid.clean_object(source, KEYS, POLICY, "subject")[0]
    data = deid.write(out)
    assert dcmread(io.BytesIO(data)).SeriesDescription == "CT thorax"
    found = deid.source_identifiers(reread(ds), POLICY)
    assert name in found
    assert deid.verify(data, found) == 0


def test_vocabulary_beyond_ascii_is_written_in_utf_8() -> None:
    ds = phantoms.dataset(SpecificCharacterSet="ISO_IR 100", SeriesDescription="Schädel nativ")
    read = dcmread(io.BytesIO(cleaned(reread(ds))))
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert read.SeriesDescription == "Schädel nativ"


def test_the_audit_holds_no_value() -> None:
    _, audit = deid.clean_object(plant(phantoms.dataset(), 1), KEYS, POLICY, "subject")
    assert len(audit) > 2000
    assert CANARY.lower() not in repr(audit).lower()
    assert {entry.action for entry in audit} <= {"X", "Z", "D", "C", "U"}
    assert all(set(entry.path) <= set("0123456789ABCDEF[].") for entry in audit)
