"""Made DICOM media: the file DICOMDIR of file-sets that do not exist.

Belongs here: writing directory records, well and badly. Does not belong here: the images that they list, assertions.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from tests.phantoms import CT, uid

FileID = str | list[str]


def record(file_id: FileID | None, of: str = "IMAGE", **elements: Any) -> Dataset:
    """A directory record of type `of` that lists a file; `elements` are put over the usual ones, None removes one."""
    usual = {
        "OffsetOfTheNextDirectoryRecord": 0,
        "RecordInUseFlag": 0xFFFF,
        "OffsetOfReferencedLowerLevelDirectoryEntity": 0,
        "DirectoryRecordType": of,
        "ReferencedFileID": file_id,
        "ReferencedSOPClassUIDInFile": CT,
        "ReferencedSOPInstanceUIDInFile": uid("media", file_id),
        "ReferencedTransferSyntaxUIDInFile": ExplicitVRLittleEndian,
    }
    ds = Dataset()
    for keyword, value in {**usual, **elements}.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def directory(
    listed: Iterable[FileID | Dataset], syntax: UID = ExplicitVRLittleEndian, *, is_undefined_length: bool = False
) -> bytes:
    """A DICOMDIR of these records, or of images with these file IDs; its sequence may end with a delimiter."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = uid("media")
    ds.file_meta.TransferSyntaxUID = syntax
    ds.FileSetID = "MADE"
    ds.DirectoryRecordSequence = [item if isinstance(item, Dataset) else record(item) for item in listed]
    ds["DirectoryRecordSequence"].is_undefined_length = is_undefined_length
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()
