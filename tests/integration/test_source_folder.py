"""Folders and DICOM media as sources: the shared suite, and what only they can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from oncurate.reasons import Reason
from oncurate.sources.settings import PullSettings
from tests.sources_suite import SourceSuite, places_in, taken


@dataclass(frozen=True)
class Folder:
    """A folder as an archive."""

    root: Path
    settings: PullSettings = field(default_factory=PullSettings)

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


@pytest.fixture
def archive(tmp_path: Path) -> Folder:
    (tmp_path / "archive").mkdir()
    return Folder(tmp_path / "archive")


class TestFolder(SourceSuite):
    """A local folder, read in place."""


def _directory(path: Path, listed: list[list[str] | str]) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.DirectoryRecordSequence = []
    for file_id in listed:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = file_id
        ds.DirectoryRecordSequence.append(record)
    dcmwrite(path, ds, enforce_file_format=True)


def test_what_a_medium_lists_and_lacks_is_reported(archive: Folder, tmp_path: Path) -> None:
    archive.put({"disk/IMAGES/I001": b"1", "disk/images2/i002": b"2", "disk/extra": b"3"})
    _directory(archive.root / "disk/DICOMDIR", [["IMAGES", "I001"], ["IMAGES2", "I002"], ["IMAGES", "I003"], "I004"])
    rows = taken(archive, places_in(tmp_path))
    assert {path: row.reason for path, row in rows.items()} == {
        "disk/DICOMDIR": None,
        "disk/IMAGES/I003": Reason.MISSING_ON_MEDIUM,
        "disk/I004": Reason.MISSING_ON_MEDIUM,
        "disk/IMAGES/I001": None,
        "disk/images2/i002": None,
        "disk/extra": None,
    }


def test_a_medium_cannot_list_its_way_out(archive: Folder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"1")
    _directory(archive.root / "DICOMDIR", [["..", "outside"]])
    rows = taken(archive, places_in(tmp_path))
    assert [row.reason for path, row in rows.items() if path != "DICOMDIR"] == [Reason.MISSING_ON_MEDIUM]


def test_a_damaged_directory_lists_nothing(archive: Folder, tmp_path: Path) -> None:
    archive.put({"DICOMDIR": bytes(128) + b"DICM" + b"\x04\x00\x20\x12SQ\x00\x00\xff\xff\xff\xff\x00", "a": b"1"})
    assert sorted(taken(archive, places_in(tmp_path))) == ["DICOMDIR", "a"]
