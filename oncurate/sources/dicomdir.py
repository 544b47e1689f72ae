"""The directory of a DICOM medium (PS3.10 section 8, PS3.3 annex F): which files it lists that are not there.

Belongs here: reading DICOMDIR. Does not belong here: reading the files, which a source lists whether named there or
not.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from oncurate.elements import PARSE_ERRORS

NAME = "DICOMDIR"
_MAX_BYTES = 1 << 28
"""A directory record takes some 500 bytes: room for half a million files."""


def missing(path: Path) -> list[str]:
    """The "/"-separated paths, relative to its folder, that the DICOMDIR lists and that are no files; sorted.

    Names are compared without regard to case and to the ";1" of ISO 9660. A file that is no DICOMDIR lists nothing.
    """
    if path.stat().st_size > _MAX_BYTES:
        return []
    try:
        records = dcmread(path).get("DirectoryRecordSequence") or ()
        listed = {_path(record) for record in records} - {()}
    except (*PARSE_ERRORS, InvalidDicomError, OSError):
        return []
    folders: dict[Path, dict[str, Path]] = {}
    return sorted("/".join(parts) for parts in listed if not _is_file(path.parent, parts, folders))


def _path(record: object) -> tuple[str, ...]:
    value = record.get("ReferencedFileID")  # type: ignore[attr-defined]
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(str(part) for part in value)


def _is_file(folder: Path, parts: tuple[str, ...], folders: dict[Path, dict[str, Path]]) -> bool:
    for part in parts:
        if folder not in folders:
            folders[folder] = _names(folder)
        found = folders[folder].get(part.upper())
        if found is None:
            return False
        folder = found
    return folder.is_file()


def _names(folder: Path) -> dict[str, Path]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name.upper().partition(";")[0].rstrip("."): Path(entry.path) for entry in entries}
    except OSError:
        return {}
