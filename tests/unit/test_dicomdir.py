"""What a DICOMDIR lists is held against what lies beside it, in a folder or an archive; what lacks is a row."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pydicom.data
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RawDataStorage,
)

from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import dicomdir
from oncurate.sources.dicomdir import is_directory, listed_files, missing, missing_objects
from oncurate.store import Store
from tests.media import directory, record

PRIVATE = "1.3.46.670589.5.0.1"
"""A SOP class outside the standard's root."""


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir", "DICOMDIR;1", "DICOMDIR.;1", "DicomDir."])
@pytest.mark.parametrize("folder", ["", "a/b/", "a.zip!/", "x!!/"])
def test_a_directory_is_known_by_its_name(folder: str, name: str) -> None:
    assert is_directory(folder + name)


@pytest.mark.parametrize("name", ["DICOMDIR/a", "XDICOMDIR", "DICOMDIR.txt", "DICOMDIR2", "dicomdir.zip!/a", ""])
def test_other_names_are_none(name: str) -> None:
    assert not is_directory(name)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("is_undefined_length", [False, True])
def test_a_directory_lists_files_beside_it_in_any_encoding(syntax: str, is_undefined_length: bool) -> None:
    data = directory([["IMAGES", "I001"], "I002"], syntax, is_undefined_length=is_undefined_length)
    assert listed_files("disk.zip!/DICOMDIR", data) == ["disk.zip!/IMAGES/I001", "disk.zip!/I002"]
    assert listed_files("DICOMDIR", data) == ["IMAGES/I001", "I002"]


def test_real_directories_list_what_pydicom_finds_in_them() -> None:
    paths = [Path(path) for path in pydicom.data.get_testdata_files("dicomdirtests/DICOMDIR*")]
    assert len(paths) >= 3
    for path in paths:
        records = pydicom.dcmread(path).get("DirectoryRecordSequence", ())
        found = ["/".join(record.ReferencedFileID) for record in records if "ReferencedFileID" in record]
        assert listed_files("DICOMDIR", path.read_bytes()) == found


@pytest.mark.parametrize(
    ("of", "elements", "is_object"),
    [
        ("IMAGE", {}, True),
        ("IMAGE", {"ReferencedSOPClassUIDInFile": None}, True),  # a fault of the writer: it is an image all the same
        ("IMAGE", {"ReferencedSOPClassUIDInFile": PRIVATE}, True),
        ("RT DOSE", {}, True),
        ("PRIVATE", {"ReferencedSOPClassUIDInFile": None, "PrivateRecordUID": "1.2.3"}, False),
        ("PRIVATE", {"ReferencedSOPClassUIDInFile": PRIVATE, "PrivateRecordUID": "1.2.3"}, False),
        ("PRIVATE", {"ReferencedSOPClassUIDInFile": RawDataStorage, "PrivateRecordUID": "1.2.3"}, True),
        ("STUDY", {"ReferencedSOPClassUIDInFile": None, "RecordInUseFlag": None}, False),
        ("PATIENT", {"ReferencedSOPClassUIDInFile": None}, False),
        ("SERIES", {}, True),
        ("IMAGE", {"RecordInUseFlag": 0}, False),
    ],
)
def test_a_record_counts_where_it_lists_an_object(of: str, elements: dict[str, object], is_object: bool) -> None:
    """PS3.3 F.3.2.2 asks for the SOP class of an object in a file; F.6.1 lets readers pass over private records."""
    data = directory([record(["PRIV", "F1"], of, **elements), record(["IMAGES", "I1"])])
    assert listed_files("DICOMDIR", data) == ["PRIV/F1"] * is_object + ["IMAGES/I1"]


def test_records_without_a_file_list_none() -> None:
    levels = [record(None, of, ReferencedSOPClassUIDInFile=None) for of in ("PATIENT", "STUDY", "SERIES")]
    assert listed_files("DICOMDIR", directory([*levels, record(""), record(["A", "I1"])])) == ["A/I1"]


def _damaged() -> Iterator[bytes]:
    whole = directory([["IMAGES", "I001"], ["IMAGES", "I002"]])
    yield b""
    yield b"no directory"
    yield whole[:-20]
    yield whole[: len(whole) // 2]
    yield bytes(128) + b"DICM" + b"\x04\x00\x20\x12SQ\x00\x00\xff\xff\xff\xff\x00"
    yield bytes(128) + b"DICM"
    yield directory([])


@pytest.mark.parametrize("data", list(_damaged()))
def test_a_damaged_directory_lists_nothing(data: bytes) -> None:
    assert listed_files("DICOMDIR", data) == []


def _lacking(listed: list[str], *there: str, **refused: Reason) -> list[str]:
    return missing(listed, [*((path, None) for path in there), *refused.items()])


def test_names_are_compared_as_media_have_them() -> None:
    listed = ["d/IMAGES/I001", "d/IMAGES/I002", "d/IMAGES/I003", "d/I004"]
    assert _lacking(listed, "d/images/i001", "d/IMAGES/I002.;1", "d/IMAGES/I003;12") == ["d/I004"]
    assert _lacking(listed, "e/I004", "I004", "d/IMAGES/I004", "d/I004.dcm", "d/I004!/x") == sorted(listed)


def test_a_file_that_two_directories_list_is_one_row() -> None:
    assert _lacking(["d/sub/I1", "d/SUB/I1", "d/sub/I1"]) == ["d/SUB/I1"]


def test_nothing_is_said_of_what_nobody_could_look_into() -> None:
    listed = ["a/IMAGES/I1", "b.zip!/IMAGES/I1", "c!!/IMAGES/I1", "d/IMAGES/I1"]
    files = [
        ("a/images", Reason.UNREADABLE_FILE),
        ("b.zip", Reason.BROKEN_ARCHIVE),
        ("c!", Reason.UNSAFE_MEMBER),
        ("d/IMAGES", None),  # a file where a folder should be
    ]
    assert missing(listed, files) == ["d/IMAGES/I1"]
    assert missing(listed, [("b.zip", Reason.ARCHIVE_UNPACKED), ("a", None)]) == sorted(listed)


def test_a_long_listing_is_passed_over_once_and_not_kept() -> None:
    count = 200_000
    seen = 0

    def files() -> Iterator[tuple[str, None]]:
        nonlocal seen
        for seen in range(1, count + 1):
            yield f"other/{seen:09d}", None

    before = sys.getallocatedblocks()
    assert missing(["disk/I1"], files()) == ["disk/I1"]
    assert seen == count
    assert sys.getallocatedblocks() - before < 1_000


def _stored(zone: Store, path: str, data: bytes) -> SourceObject:
    zone.write("object", data)
    return SourceObject(source_path=path, url=zone.url_of("object"), bytes=len(data), version="v", sha256="0" * 64)


def _row(path: str, reason: Reason | None = None) -> SourceObject:
    return SourceObject(source_path=path, url="", bytes=1, version="v", sha256="", reason=reason)


def test_rows_of_what_a_medium_lacks(tmp_path: Path) -> None:
    zone = Store(str(tmp_path))
    found = _stored(zone, "p/disk.zip!/DICOMDIR", directory([["IMAGES", "I001"], ["IMAGES", "I002"], "I003"]))
    rows = [_row("p/disk.zip", Reason.ARCHIVE_UNPACKED), found, _row("p/disk.zip!/IMAGES/I002"), _row("p/I003")]
    expected = [
        SourceObject(
            source_path=f"p/disk.zip!/{name}",
            url="",
            bytes=0,
            version="missing",
            sha256="",
            reason=Reason.MISSING_ON_MEDIUM,
        )
        for name in ("I003", "IMAGES/I001")
    ]
    assert missing_objects(rows) == expected
    assert missing_objects(rows[::-1]) == expected
    assert missing_objects([row for row in rows if row is not found]) == []


def test_a_directory_that_cannot_be_read_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _stored(Store(str(tmp_path)), "DICOMDIR", directory(["I1"]))
    assert len(missing_objects([found])) == 1
    monkeypatch.setattr(dicomdir, "MAX_BYTES", found.bytes - 1)
    assert missing_objects([found]) == []
    monkeypatch.undo()
    (tmp_path / "object").unlink()
    assert missing_objects([found]) == []


def test_records_are_not_held_together(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[weakref.ref[Dataset]] = []
    most = 0
    real = dicomdir._is_of_object

    def seen(item: Dataset) -> bool:
        nonlocal most
        records.append(weakref.ref(item))
        most = max(most, sum(one() is not None for one in records))
        return real(item)

    monkeypatch.setattr(dicomdir, "_is_of_object", seen)
    assert len(listed_files("DICOMDIR", directory(f"I{n}" for n in range(50)))) == 50
    assert 1 <= most <= 2
