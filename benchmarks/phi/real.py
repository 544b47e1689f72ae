"""Real files that the bench plants into: those that packages ship, and a sample of the shared archive if it is there.

Belongs here: choosing and reading them, and what of their own headers identifies. Does not belong here: planting.
Their values are searched for, and shown nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID_dictionary

from benchmarks.archive import default_data
from oncurate.elements import PARSE_ERRORS

BYTES_AT_MOST = 2_000_000
"""Larger files say nothing more about headers."""
EACH_FOLDER = 2
"""Files of one folder of the shared archive: its series repeat their headers."""

_SPOKEN = frozenset({"PN"})
_NUMBERS = frozenset(
    {"AccessionNumber", "PatientID", "StudyID", "DeviceSerialNumber", "StationName", "InstitutionName"}
)
_PLACEHOLDERS = ("anon", "test", "phantom", "patient", "unknown", "name", "none", "removed", "deid", "example")
_DICOM = "1.2.840.10008."
LEAST_CHARACTERS = 8
"""Of a value of a real header that is searched for: shorter ones are in every archive by chance."""


def files(limit: int) -> list[Path]:
    """At most `limit` files: those of pydicom first, then the shared archive's or pydicom-data's."""
    shipped = [_package("pydicom") / "data" / "test_files", *default_data()]
    found: list[Path] = []
    for folder in shipped:
        seen: dict[Path, int] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size <= BYTES_AT_MOST):
            own = "shared" in str(folder) or "data_store" in str(folder)
            if own and seen.get(path.parent, 0) >= EACH_FOLDER:
                continue
            seen[path.parent] = seen.get(path.parent, 0) + 1
            found.append(path)
    if len(found) <= limit:
        return found
    return [found[i * len(found) // limit] for i in range(limit)]


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ())))


def read(path: Path) -> Dataset | None:
    """A file as a data set that can be planted into; None if it is no object of one patient."""
    try:
        ds = dcmread(path)
        if not (ds.get("SOPClassUID") and ds.get("SOPInstanceUID") and ds.get("SeriesInstanceUID")):
            return None
        return None if "DirectoryRecordSequence" in ds or "TransferSyntaxUID" not in ds.file_meta else ds
    except PARSE_ERRORS:
        return None


def identifying(ds: Dataset) -> Iterator[str]:
    """Names, UIDs and ids of a header at any depth, that are long enough to be no coincidence."""
    for element in _elements(ds):
        if element.VR in _SPOKEN or element.keyword in _NUMBERS:
            for value in _many(element.value):
                text = str(value).strip(" \0")
                if len(text) >= LEAST_CHARACTERS and not any(word in text.casefold() for word in _PLACEHOLDERS):
                    yield text
        elif element.VR == "UI":
            for value in _many(element.value):
                text = str(value)
                if len(text) > 2 * LEAST_CHARACTERS and not text.startswith(_DICOM) and text not in UID_dictionary:
                    yield text


def _elements(ds: Dataset) -> Iterator[object]:
    for tag in list(ds.keys()):
        try:
            element = ds[tag]
            if isinstance(element.value, Items):
                for item in element.value:
                    yield from _elements(item)
            elif element.value:
                yield element
        except PARSE_ERRORS:
            continue


def _many(value: object) -> list[object]:
    return list(value) if isinstance(value, MultiValue | list) else [value]
