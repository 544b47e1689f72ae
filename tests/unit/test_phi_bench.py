"""The leak bench itself: its search finds every form of an identifier, and its judge can tell wrong from right."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian

from benchmarks.phi import locate, search
from benchmarks.phi.answers import Action, File, Item, Key, Reference, chain, private, step
from benchmarks.phi.documents import content
from benchmarks.phi.needles import Needles
from benchmarks.phi.people import SCRIPTS, People
from benchmarks.phi.score import Judge
from benchmarks.phi.verdict import Verdict
from tests import phantoms

NAME, ACCENTED, KANJI = "Quivelbranng", "Brägåxñez", "山田鈴木"
DAY, NUMBER, UID, PHONE = "19420917", "738291046", "2.999.7.640028519113", "+999 6 1234 5678"
SEVERAL = (NAME, ACCENTED, KANJI, DAY, NUMBER, UID, PHONE)

FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda t: t.encode(),
    "lower case": lambda t: t.lower().encode(),
    "capitals": lambda t: t.upper().encode(),
    "UTF-16 LE": lambda t: t.encode("utf-16-le"),
    "UTF-16 BE": lambda t: t.encode("utf-16-be"),
    "percent": lambda t: quote(t, safe="").encode(),
    "percent of every byte": lambda t: "".join(f"%{b:02X}" for b in t.encode()).encode(),
    "JSON": lambda t: json.dumps(t)[1:-1].encode(),
    "HTML": lambda t: html.escape(t).encode("ascii", "xmlcharrefreplace"),
    "hexadecimal": lambda t: t.encode().hex().encode(),
    "MD5": lambda t: hashlib.md5(t.encode()).hexdigest().encode(),
    "SHA-1": lambda t: hashlib.sha1(t.encode()).hexdigest().upper().encode(),
    "SHA-256": lambda t: hashlib.sha256(t.encode()).hexdigest().encode(),
    "SHA-256 of capitals": lambda t: hashlib.sha256(t.upper().encode()).hexdigest().encode(),
    "SHA-256 in base64": lambda t: base64.b64encode(hashlib.sha256(t.encode()).digest()),
    "SHA-1 cut short": lambda t: hashlib.sha1(t.encode()).hexdigest()[:32].encode(),
    "MD5 as a UID": lambda t: b"2.25." + str(int(hashlib.md5(t.encode()).hexdigest(), 16)).encode(),
    "SHA-256 as a UID": lambda t: b"2.25." + str(int.from_bytes(hashlib.sha256(t.encode()).digest()[:16])).encode(),
}


@pytest.fixture(scope="module")
def needles() -> Needles:
    return Needles(SEVERAL)


def identifiers(found: list[object]) -> set[str]:
    return {hit.identifier for hit in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize("identifier", SEVERAL)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_wherever_it_begins(needles: Needles, form: str, identifier: str) -> None:
    data = FORMS[form](identifier)
    for before in range(9):
        assert identifiers(needles.within(b"\xff" * before + data + b"\xff\xff")) == {identifier}


@pytest.mark.parametrize("identifier", SEVERAL)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_in_all_three_alignments(
    needles: Needles, encode: Callable[[bytes], bytes], identifier: str
) -> None:
    for before in range(3):
        assert identifier in identifiers(needles.within(encode(b"x" * before + identifier.encode() + b"yz")))
        assert identifier in identifiers(needles.within(encode(b"\0" * before + identifier.encode("utf-16-le"))))


@pytest.mark.parametrize(
    ("text", "charset"),
    [(ACCENTED, "latin-1"), (KANJI, "iso2022_jp"), (KANJI, "shift_jis"), (KANJI, "gb18030")],
)
def test_character_sets_of_dicom_are_found(needles: Needles, text: str, charset: str) -> None:
    assert identifiers(needles.within(b"ab" + text.encode(charset) + b"\\cd")) == {text}


def test_a_needle_across_two_chunks_is_found(needles: Needles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.phi.needles.CHUNK_BYTES", 32)
    for before in range(20, 40):
        assert identifiers(needles.within(b"." * before + NAME.encode() + b"." * 9)) == {NAME}


def test_a_number_is_found_alone_or_with_a_time_but_not_inside_another(needles: Needles) -> None:
    assert identifiers(needles.within(f"x {DAY}101112.5 y".encode())) == {DAY}
    assert identifiers(needles.within(f"x {DAY}101112.5 y".encode("utf-16-le"))) == {DAY}
    assert needles.within(f"2.25.77{DAY}4711".encode()) == []
    assert needles.within(f"x{NUMBER}0".encode()) == []
    assert needles.within(f"{UID}7".encode()) == []


def test_nothing_is_found_where_nothing_is(needles: Needles) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 1 << 20, np.uint8).tobytes()
    assert needles.within(noise) == []
    assert needles.within(b"") == []
    assert needles.within(b"1234567") == []


def _nifti(folder: Path) -> None:
    (folder / "a.nii.gz").write_bytes(gzip.compress(b"\0" * 148 + NAME.encode() + b"\0" * 100))


def _table(folder: Path) -> None:
    pq.write_table(pa.table({"text": [ACCENTED] * 3}), folder / "a.parquet", compression="zstd")


def _schema(folder: Path) -> None:
    pq.write_table(pa.table({"n": [1]}).replace_schema_metadata({"by": NAME}), folder / "a.parquet")


def _picture(folder: Path) -> None:
    said = PngInfo()
    said.add_text("Comment", NAME, zip=True)
    Image.new("L", (4, 4)).save(folder / "a.png", pnginfo=said)


def _database(folder: Path) -> None:
    with sqlite3.connect(folder / "a.db") as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (?)", (zlib.compress(NAME.encode()),))


def _file_name(folder: Path) -> None:
    (folder / NAME.lower()).mkdir()


def _object(folder: Path) -> None:
    ds = phantoms.dataset(SeriesDescription=f"CT {NAME}")
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    phantoms.write(ds, folder / "a.dcm")


@pytest.mark.parametrize("leak", [_nifti, _table, _schema, _picture, _database, _file_name, _object])
def test_a_leak_is_found_in_every_kind_of_file(needles: Needles, tmp_path: Path, leak: Callable[[Path], None]) -> None:
    assert search.folder(tmp_path, needles) == []
    leak(tmp_path)
    assert identifiers(search.folder(tmp_path, needles)) in ({NAME}, {ACCENTED})


def test_a_leak_in_an_object_names_its_element(needles: Needles) -> None:
    inner = Dataset()
    inner.PatientComments = f"seen by {NAME}"
    ds = phantoms.dataset(RequestAttributesSequence=Items([inner]))
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    found = [leak for leak in search.one(stream.getvalue(), needles, "a.dcm") if leak.layer == "elements"]
    assert {leak.place for leak in found} == {"00400275[0] 00104000"}


def test_people_are_drawn_once_and_are_long_enough_to_be_looked_for() -> None:
    people = People(1)
    drawn = [people.name(script) for script in SCRIPTS for _ in range(200)]
    drawn += [made() for made in (people.code, people.phone, people.number, people.street) for _ in range(200)]
    assert len(set(drawn)) == len(drawn)
    assert min(len(text.encode("utf-8")) for text in drawn) >= 8
    assert Needles(drawn[:5]).count > 5
    assert [People(7).name(), People(7).uid()] == [People(7).name(), People(7).uid()]


def test_a_path_leads_through_sequences_private_blocks_and_content_items() -> None:
    ds, inner = phantoms.dataset(), Dataset()
    inner.PatientName = "Doe^Test"
    ds.RequestAttributesSequence = Items([Dataset(), inner])
    ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", 800.0)
    first, second = content("TEXT", "1", "DCM", "One"), content("TEXT", "2", "DCM", "Two")
    first.TextValue, second.TextValue = "one", "two"
    ds.ContentSequence = Items([first, second])

    def at(path: str) -> object:
        element = locate.find(ds, path)
        return None if element is None else element.value

    assert at(chain(step("RequestAttributesSequence", 1), step("PatientName"))) == "Doe^Test"
    assert at(chain(step("RequestAttributesSequence", 2), step("PatientName"))) is None
    assert at(private(0x2001, 0x03, "Philips Imaging DD 001")) == 800.0
    assert at(private(0x2001, 0x03, "SOMEBODY ELSE")) is None
    assert at(chain(step("ContentSequence", "DCM:2"), step("TextValue"))) == "two"
    assert at(chain("meta", step("MediaStorageSOPInstanceUID"))) == ds.SOPInstanceUID


BOX = (2, 2, 6, 9)


def made() -> tuple[Key, dict[int, Dataset]]:
    """A key with an item of every action in two objects of one patient, and the objects."""
    key, files = Key(0), {}
    for number in (1, 2):
        pixels = np.full((16, 12), 20, np.uint8)
        pixels[3:5, 3:8] = 250
        ds = phantoms.dataset(pixels, number=number, patient="P-1", StudyDate=f"2020010{number}", EchoTime="92.5")
        ds.StudyDescription, ds.SOPInstanceUID = f"CT thorax {NAME}", f"2.999.{number}"
        ds.FrameOfReferenceUID, ds.ReferringPhysicianName = "2.999.77", f"{NAME}^A"
        referred = Dataset()
        referred.ReferencedSOPInstanceUID = "2.999.1"
        ds.SourceImageSequence = Items([referred])
        files[number] = ds
        key.files.append(File(number, f"{number}.dcm", "CT", "patient 1", True))
        for path, action, facts in (
            ("EchoTime", Action.TAG_RETAINED, {"value": "92.50"}),
            ("StudyDescription", Action.TEXT_RETAINED, {"kept": ("CT", "thorax")}),
            ("StudyDescription", Action.TEXT_REMOVED, {"absent": (NAME,)}),
            ("ReferringPhysicianName", Action.TEXT_REPLACED, {"absent": (NAME,)}),
            ("SOPInstanceUID", Action.UID_CHANGED, {"value": f"2.999.{number}"}),
            ("FrameOfReferenceUID", Action.UID_CONSISTENT, {"value": "2.999.77"}),
            ("PatientID", Action.PATIENT_CONSISTENT, {"value": "P-1"}),
            ("StudyDate", Action.DATE_SHIFTED, {"value": f"2020010{number}"}),
        ):
            key.items.append(Item(number, step(path), action, "root", **facts))  # type: ignore[arg-type]
        key.items.append(Item(number, "pixels", Action.PIXELS_HIDDEN, "pixels", box=BOX))
        key.items.append(Item(number, "pixels", Action.PIXELS_RETAINED, "pixels", box=(10, 0, 15, 11)))
        path = chain(step("SourceImageSequence", 0), step("ReferencedSOPInstanceUID"))
        key.references.append(Reference(number, path, 1))
    key.items.append(Item(2, step("StudyDate"), Action.INTERVAL_RETAINED, "interval", value="1", kept=("1",)))
    return key, files


def cleaned() -> dict[int, Dataset]:
    """The objects as they should leave."""
    _, files = made()
    for number, ds in files.items():
        ds.SOPInstanceUID, ds.FrameOfReferenceUID, ds.PatientID = f"2.25.{number}", "2.25.77", "ABC"
        ds.StudyDescription, ds.ReferringPhysicianName, ds.StudyDate = "CT thorax", "", f"2019121{number}"
        ds.SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.1"
        pixels = ds.pixel_array.copy()
        pixels[:8] = 0
        ds.PixelData = pixels.tobytes()
    return files


def wrong_after(change: Callable[[dict[int, Dataset]], None]) -> set[Action]:
    key, before = made()
    after = cleaned()
    change(after)
    score = Judge(key, before, after).judge()
    return {wrong.item.action for wrong in score.wrong}


def test_what_was_done_right_is_right() -> None:
    key, before = made()
    score = Judge(key, before, cleaned()).judge()
    assert score.wrong == []
    assert set(score.all) == set(Action)
    assert (score.references_intact, score.references_broken) == (2, [])
    assert Verdict("", score, [], score.left).failures() == []


def test_what_was_left_as_it_was_is_wrong() -> None:
    key, before = made()
    score = Judge(key, before, before).judge()
    assert {wrong.item.action for wrong in score.wrong} == {
        *(Action.TEXT_REMOVED, Action.TEXT_REPLACED, Action.UID_CHANGED, Action.DATE_SHIFTED, Action.PIXELS_HIDDEN),
    }
    assert Verdict("", score, [], score.left).failures()


def _set(keyword: str, value: object, number: int = 2) -> Callable[[dict[int, Dataset]], None]:
    return lambda files: setattr(files[number], keyword, value)


def _other_pixels(files: dict[int, Dataset]) -> None:
    pixels = files[1].pixel_array.copy()
    pixels[12, 3] += 1
    files[1].PixelData = pixels.tobytes()


def _faint_text(files: dict[int, Dataset]) -> None:
    pixels = files[1].pixel_array.copy()
    pixels[3:5, 3:8] = 40
    files[1].PixelData = pixels.tobytes()


@pytest.mark.parametrize(
    ("change", "action"),
    [
        (_set("EchoTime", "93"), Action.TAG_RETAINED),
        (_set("StudyDescription", "thorax"), Action.TEXT_RETAINED),
        (_set("StudyDescription", f"CT thorax x{NAME.upper()}y"), Action.TEXT_REMOVED),
        (lambda files: files[1].__delattr__("ReferringPhysicianName"), Action.TEXT_REPLACED),
        (_set("SOPInstanceUID", "2.25.01"), Action.UID_CHANGED),
        (_set("SOPInstanceUID", "1.2.840.10008.1.1"), Action.UID_CHANGED),
        (_set("FrameOfReferenceUID", "2.25.78"), Action.UID_CONSISTENT),
        (_set("PatientID", "ABD"), Action.PATIENT_CONSISTENT),
        (_set("StudyDate", "20191213"), Action.DATE_SHIFTED),
        (_set("StudyDate", ""), Action.DATE_SHIFTED),
        (_set("StudyDate", "20191214"), Action.INTERVAL_RETAINED),
        (_other_pixels, Action.PIXELS_RETAINED),
        (_faint_text, Action.PIXELS_HIDDEN),
        (lambda files: files.pop(1), Action.TAG_RETAINED),
    ],
)
def test_what_was_done_wrong_is_wrong(change: Callable[[dict[int, Dataset]], None], action: Action) -> None:
    assert action in wrong_after(change)


def test_a_broken_reference_and_a_leak_fail_the_run() -> None:
    key, before = made()
    after = cleaned()
    after[2].SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.3"
    score = Judge(key, before, after).judge()
    assert len(score.references_broken) == 1
    assert "1 broken" in " ".join(Verdict("", score, [], score.left).failures())
    good = Judge(key, before, cleaned()).judge()
    leak = search.Found("a", "bytes", "byte 1", NAME, "plain text")
    assert Verdict("", good, [leak], good.left).failures() == ["1 leaks"]


def test_a_file_that_must_not_leave_fails_the_run() -> None:
    key, before = made()
    key.files[1] = File(2, "2.dcm", "PDF", "patient 1", True, "refused")
    score = Judge(key, before, cleaned()).judge()
    assert Verdict("", score, [], score.left).failures() == ["1 files left that should not have"]


def test_an_empty_run_fails() -> None:
    score = Judge(Key(0), {}, {}).judge()
    assert len(Verdict("", score, [], score.left).failures()) == 3


def test_the_saved_key_holds_no_value_of_a_real_header(tmp_path: Path) -> None:
    key, _ = made()
    key.real = {"Real^Somebody"}
    key.save(tmp_path / "key.json")
    assert "Real^Somebody" not in (tmp_path / "key.json").read_text(encoding="utf-8")
