"""The engine's two ways: the quick one gives what the whole one gives, byte for byte; subjects and refusals."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from oncurate import deid
from oncurate.deid import files, known, repeated, scan
from oncurate.deid.written import IMPLEMENTATION_UID
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason
from tests import phantoms

KEYS = Keys(b"s" * 32)
POLICY = deid.DeidPolicy()
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
SHIPPED = sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm"))


def file_of(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def ended(clean, data: bytes):
    """A clean file, None, or the reason of the refusal."""
    try:
        return clean(data, None, "kept")
    except Rejection as rejection:
        return rejection.reason


def both(engine: deid.Engine, data: bytes) -> tuple[object, object]:
    return ended(engine._quickly, data), ended(engine._wholly, data)


def rich(number: int, **attributes) -> Dataset:
    """An image with sequences, private blocks, text beyond ASCII, a UN and what names somebody else."""
    item, deep = Dataset(), Dataset()
    deep.ReferencedSOPInstanceUID, deep.PatientName = f"1.2.3.4.{number}", "Doe^Test"
    item.ReferencedImageSequence = Sequence([deep])
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "4711", "99LOCAL", "Knie Doe links"
    ds = phantoms.dataset(
        number=number,
        SpecificCharacterSet="ISO_IR 100",
        SeriesDescription="Schädel Doe nativ",
        StudyDescription="CT thorax ACC-PHANTOM",
        RequestAttributesSequence=Sequence([item]),
        ReferencedImageSequence=Sequence([]),
        ImagePositionPatient=["-100.5", "20.25", str(number)],
        ScanOptions=["HELICAL", "DOE"],
        FrameOfReferenceUID="",
        **attributes,
    )
    block = ds.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", 1000.0)
    block.add_new(0x6E, "SH", "Doe^Test")
    ds.add_new(0x00091234, "LO", "without a creator")
    ds[0x00181030] = RawDataElement(BaseTag(0x00181030), "UN", 10, b"CT Doe hip", 0, False, True)
    ds.add_new(0x60003000, "OW", b"\1\0")
    ds.add_new(0xFFFCFFFC, "OB", b"\0\0")
    return ds


@pytest.mark.parametrize("syntax", PLAIN)
def test_both_ways_give_the_same_bytes_and_audit(syntax: str) -> None:
    engine = deid.Engine(KEYS, POLICY)
    for number in range(1, 6):
        quick, whole = both(engine, file_of(rich(number), syntax))
        assert quick is not None
        assert quick == whole
        assert {"00081030", "60003000", "00400275[0].00081140[0].00100010"} <= {entry.path for entry in quick.audit}


@pytest.mark.parametrize(
    "policy",
    [
        deid.DeidPolicy(dates="full", retain_institution_identity=True),
        deid.DeidPolicy(dates="none", clean_descriptors=False, retain_safe_private=False),
        deid.DeidPolicy(retain_uids=True, retain_device_identity=True, clean_graphics=False),
    ],
)
def test_both_ways_agree_under_other_policies(policy: deid.DeidPolicy) -> None:
    engine = deid.Engine(KEYS, policy)
    for number in range(1, 4):
        quick, whole = both(engine, file_of(rich(number)))
        assert quick == whole


@pytest.mark.parametrize("pixels", ["checked", "masked", "defaced"])
def test_both_ways_write_the_same_marks(pixels: str) -> None:
    engine = deid.Engine(KEYS, POLICY)
    data = file_of(rich(1, BurnedInAnnotation="NO"))
    assert engine._quickly(data, "subject", pixels) == engine._wholly(data, "subject", pixels)


def test_both_ways_agree_on_every_file_that_pydicom_ships() -> None:
    engine = deid.Engine(KEYS, POLICY)
    quickly = 0
    for path in SHIPPED:
        quick, whole = both(engine, path.read_bytes())
        assert quick is None or quick == whole, path.name
        quickly += isinstance(quick, deid.CleanFile)
    assert quickly >= 15


@pytest.mark.shared
@pytest.mark.slow
def test_both_ways_agree_on_every_real_file(shared_data: Path) -> None:
    engine, quickly, wrong = deid.Engine(KEYS, POLICY), 0, []
    for path in sorted(p for p in shared_data.rglob("*") if p.is_file()):
        quick, whole = both(engine, path.read_bytes())
        quickly += isinstance(quick, deid.CleanFile)
        if quick is not None and quick != whole:
            wrong.append(path.name)
    assert wrong == []
    assert quickly > 900


VALUES = st.one_of(
    st.text("DOE^Test \\=.-_/0123456789axialthorxü\0", max_size=24),
    st.sampled_from(
        ["CT thorax", "1.2.840.10008.1.2", "20230405", "101112.5", "12.5", "-1e3\\2", "PHANTOM^ONE", "AXIAL"]
    ),
)
TAGS = st.sampled_from(
    [
        *(0x00080005, 0x00080008, 0x00080020, 0x0008002A, 0x00080030, 0x00080050, 0x00080070, 0x00080090, 0x00081030),
        *(0x00081090, 0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00101010, 0x00101030, 0x00104000, 0x00180015),
        *(0x00180050, 0x00181020, 0x0020000D, 0x00200010, 0x00200013, 0x00200032, 0x00200052, 0x00280301, 0x00280103),
        *(0x00090010, 0x00091001, 0x20010010, 0x20011003, 0x2001106E, 0x00321060, 0x00400254, 0x00120062, 0x00080000),
    ]
)
VRS = st.sampled_from(["LO", "SH", "PN", "DA", "DT", "TM", "UI", "DS", "IS", "CS", "UN", "OB", "UT", "AS", "US"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TAGS, VRS, VALUES), max_size=12), st.sampled_from(PLAIN), st.integers(1, 3))
def test_both_ways_agree_whatever_elements_hold(elements: list, syntax: str, number: int) -> None:
    ds = phantoms.dataset(number=number)
    for tag, vr, value in elements:
        raw = value.encode("latin-1")
        raw += b" " * (len(raw) % 2)
        if tag == 0x00080005:  # what pydicom refuses to write
            vr, raw = "CS", raw.replace(b"\0", b"_")
        ds[tag] = RawDataElement(BaseTag(tag), vr, len(raw), raw, 0, False, True)
    ds.set_original_encoding(syntax == ImplicitVRLittleEndian, True, ds._character_set)
    quick, whole = both(ENGINE, file_of(ds, syntax))
    assert quick is None or quick == whole


ENGINE = deid.Engine(KEYS, POLICY)


def test_sequences_of_undefined_length_and_group_lengths() -> None:
    ds = rich(1)
    ds["RequestAttributesSequence"].is_undefined_length = True
    ds.RequestAttributesSequence[0].is_undefined_length_sequence_item = True
    data = file_of(ds)
    assert b"\xff\xff\xff\xff" in data
    at = data.index(b"\x08\0\x05\0CS")
    data = data[:at] + b"\x08\0\0\0UL\4\0\x10\0\0\0" + data[at:]
    quick, whole = both(deid.Engine(KEYS, POLICY), data)
    assert quick is not None
    assert quick == whole
    assert (0x0008, 0x0000) not in dcmread(io.BytesIO(quick.data))


@pytest.mark.parametrize("name", ["NONSENSE", "ISO_IR 999", "ISO 2022 IR 6\\BROKEN", ""])
def test_broken_character_sets(name: str, recwarn) -> None:
    ds = rich(1)
    data = file_of(ds).replace(
        b"CS\x0a\x00ISO_IR 100", b"CS" + bytes([len(name) + len(name) % 2, 0]) + name.encode() + b" " * (len(name) % 2)
    )
    clean = deid.Engine(KEYS, POLICY).clean(data)
    assert b"Doe" not in clean.data
    assert not [w for w in recwarn if "NONSENSE" in str(w.message)]


def test_empty_uids_stay_empty_but_those_that_name_the_object() -> None:
    ds = phantoms.dataset(FrameOfReferenceUID="")
    assert dcmread(io.BytesIO(ENGINE.clean(file_of(ds)).data)).FrameOfReferenceUID == ""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        data = file_of(phantoms.dataset())
        uid = str(phantoms.dataset()[keyword].value).encode()
        blank = data.replace(uid, b"\0" * len(uid))
        with pytest.raises(Rejection) as caught:
            ENGINE.clean(blank)
        assert caught.value.reason is Reason.MISSING_IDENTITY


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", Reason.EMPTY_FILE), (b"nothing" * 100, Reason.NOT_DICOM), (b"\0" * 128 + b"DICM", Reason.MISSING_IDENTITY)],
)
def test_what_is_no_object_is_refused(data: bytes, reason: Reason) -> None:
    with pytest.raises(Rejection) as caught:
        ENGINE.clean(data)
    assert caught.value.reason is reason


def test_cut_off_files_end_with_a_reason_or_a_file() -> None:
    data = file_of(rich(1))
    for length in range(100, len(data), 37):
        found = ended(lambda raw, *_: ENGINE.clean(raw), data[:length])
        assert isinstance(found, deid.CleanFile | Reason)
        if isinstance(found, deid.CleanFile):
            assert b"Doe^Test" not in found.data


def test_the_subject_is_the_patient_or_the_study() -> None:
    named = ENGINE.clean(file_of(phantoms.dataset(IssuerOfPatientID="HOSPITAL")))
    assert named.subject == KEYS.subject_id("PHANTOM-1", "HOSPITAL")
    nameless = ENGINE.clean(file_of(phantoms.dataset(PatientID="ANONYMOUS")))
    assert nameless.subject == KEYS.subject_from_study(phantoms.uid("study", "PHANTOM-1"))
    given_one = ENGINE.clean(file_of(phantoms.dataset()), subject="somebody")
    assert (given_one.subject, dcmread(io.BytesIO(given_one.data)).PatientID) == ("somebody", "somebody")


@pytest.mark.parametrize("syntax", [*PLAIN, ExplicitVRBigEndian])
def test_the_names_are_the_new_ones(syntax: str) -> None:
    ds = phantoms.dataset()
    if syntax == ExplicitVRBigEndian:
        del ds.PixelData
    clean = ENGINE.clean(file_of(ds, syntax))
    assert (clean.study_uid, clean.series_uid) == (KEYS.uid(ds.StudyInstanceUID), KEYS.uid(ds.SeriesInstanceUID))
    assert (clean.sop_instance_uid, clean.sop_class) == (KEYS.uid(ds.SOPInstanceUID), ds.SOPClassUID)
    assert clean.identifiers_searched >= 5


def test_an_identifier_in_the_pixels_is_noticed_on_either_way() -> None:
    engine = deid.Engine(KEYS, POLICY)
    assert engine.clean(file_of(phantoms.dataset(number=1, PatientName="Kowalska^Anna")))
    pixels = np.zeros((64, 64), np.uint16)
    for text in (b"Kowalska^Anna".ljust(14), "kowalska^ANNA".encode("utf-16-le"), "Kowalska^Anna".encode("utf-16-be")):
        raw = bytearray(pixels.tobytes())
        raw[101 : 101 + len(text)] = text
        hidden = np.frombuffer(bytes(raw), np.uint16).reshape(64, 64)
        data = file_of(phantoms.dataset(hidden, number=2, PatientName="Kowalska^Anna"))
        quick, whole = both(engine, data)
        assert quick is whole is Reason.IDENTIFIER_SURVIVED


def test_an_identifier_in_a_written_element_is_noticed(monkeypatch) -> None:
    engine = deid.Engine(KEYS, POLICY)
    original = repeated.Walk.single

    def leaky(self, source, element, place):
        out = original(self, source, element, place)
        if element.tag == 0x00200010 and b"7" in element.value:  # StudyID of one file
            out[element.tag] = element
        return out

    monkeypatch.setattr(repeated.Walk, "single", leaky)
    assert engine.clean(file_of(phantoms.dataset(number=1, StudyID="KOWALSKA-6")))
    for _ in range(2):
        with pytest.raises(Rejection) as caught:
            engine.clean(file_of(phantoms.dataset(number=2, StudyID="KOWALSKA-7")))
        assert caught.value.reason is Reason.IDENTIFIER_SURVIVED
    assert engine.clean(file_of(phantoms.dataset(number=3, StudyID="KOWALSKA-6")))


def test_what_is_remembered_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(known, "MOST_BYTES", 100_000)
    monkeypatch.setattr(repeated, "MOST_PIECES", 60)
    engine = deid.Engine(KEYS, POLICY)
    for number in range(1, 40):
        data = file_of(phantoms.dataset(number=number, patient=f"PHANTOM-{number % 12}"))
        quick, whole = both(engine, data)
        assert quick == whole
        assert engine._quick._elements._bytes < 2 * 100_000
        assert len(engine._quick._scenes) <= repeated.MOST_SCENES


def test_compressed_and_unusual_files_are_left_to_the_parser() -> None:
    ds = phantoms.dataset()
    assert scan.split(file_of(ds)) is not None
    assert scan.split(file_of(ds)[:-3]) is None
    assert scan.split(file_of(ds)[128:]) is None
    ds.compress(RLELossless)
    data = file_of(ds, RLELossless)
    assert scan.split(data) is None
    assert isinstance(ENGINE.clean(data), deid.CleanFile)


def test_the_pieces_of_a_file_join_to_the_file() -> None:
    for syntax in PLAIN:
        data = file_of(rich(1), syntax)
        found = scan.split(data)
        raw = [
            p.raw + len(found.pixels).to_bytes(4, "little") + bytes(found.pixels) if p.tag == 0x7FE00010 else p.raw
            for p in found.pieces
        ]
        assert b"".join((data[:132], *(p.raw for p in found.meta), *raw)) == data


def test_references_lead_to_what_they_led_to() -> None:
    """Every UID of every shipped object becomes its keyed one, at the same place."""
    checked = 0
    for path in SHIPPED:
        try:
            clean = ENGINE.clean(path.read_bytes())
        except Rejection:
            continue
        source, out = dcmread(path, force=True), dcmread(io.BytesIO(clean.data))
        for keyword in ("ReferencedSOPInstanceUID", "FrameOfReferenceUID", "ReferencedFrameOfReferenceUID"):
            before = {KEYS.uid(str(e.value)) for e in source.iterall() if e.keyword == keyword and e.value}
            after = {str(e.value) for e in out.iterall() if e.keyword == keyword and e.value}
            assert after <= before
            checked += len(after)
    assert checked > 20


def test_the_parser_is_asked_where_bytes_do_not_tell(monkeypatch) -> None:
    monkeypatch.setattr(files.scan, "split", lambda data: None)
    assert ENGINE.clean(file_of(rich(1))) == deid.Engine(KEYS, POLICY)._wholly(file_of(rich(1)), None, "kept")


def test_our_own_title_in_a_received_file_identifies_nobody() -> None:
    ds = phantoms.dataset(StationName="ONCURATE")
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    written = dcmread(io.BytesIO(out.getvalue()))
    written.file_meta.SourceApplicationEntityTitle = "ONCURATE"
    written.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    out = io.BytesIO()
    written.save_as(out)
    clean = deid.Engine(KEYS, deid.DeidPolicy()).clean(out.getvalue())
    assert b"ONCURATE" in clean.data  # as the implementation that wrote it
