"""Whether a file is wanted: the key `select:` held against a header.

Belongs here: the lists of the selection, reading the six attributes it looks at, the decision. Does not belong here:
asking a server for matches only (the sources that can). The lists are personal data: no message holds a line of them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from oncurate import elements
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection, UsageError
from oncurate.headers import quiet
from oncurate.part10 import as_plain_stream, looks_like_dicom
from oncurate.recipe import digest
from oncurate.sources.settings import Selection

HEAD_BYTES = 1 << 18
"""Bytes from the start of a file in which all attributes of a selection lie; PatientID (0010,0020) is the last."""
_LAST_TAG = 0x00100020
_TELLING = ("SOPClassUID", "Modality", "PatientID")  # a header without any of them cannot be judged


@dataclass(frozen=True)
class Wanted:
    """A selection with its lists read."""

    selection: Selection

    @cached_property
    def patients(self) -> frozenset[str] | None:
        """The PatientIDs that are wanted; None for all."""
        return listed_values(self.selection.patients, "PatientID") if self.selection.patients else None

    @cached_property
    def accessions(self) -> frozenset[str] | None:
        """The AccessionNumbers that are wanted; None for all."""
        return listed_values(self.selection.accessions, "AccessionNumber") if self.selection.accessions else None

    @cached_property
    def digest(self) -> str:
        """What the selection comes to, its lists included: the same digest, the same decisions."""
        lists = [sorted(found) if found is not None else None for found in (self.patients, self.accessions)]
        rules = self.selection.model_dump(mode="json", exclude={"patients", "accessions"})
        return digest([rules, lists])

    def matches(self, of: Callable[[str], str | None]) -> bool:
        """Whether attributes, given by keyword, are those of something wanted. What is not stated is not wanted."""
        rules = self.selection
        modalities = {modality.upper() for modality in rules.modalities}
        if modalities and (of("Modality") or "").strip().upper() not in modalities:
            return False
        if not self._is_in_time(of("StudyDate")):
            return False
        texts = [of("StudyDescription") or "", of("SeriesDescription") or ""]
        if rules.description and not any(re.search(rules.description, text, re.IGNORECASE) for text in texts):
            return False
        if self.patients is not None and (of("PatientID") or "").strip() not in self.patients:
            return False
        return self.accessions is None or (of("AccessionNumber") or "").strip() in self.accessions

    def wants(self, head: bytes) -> bool:
        """Whether the file that starts with `head` (`HEAD_BYTES` are enough) is wanted.

        What is no DICOM, or has a header that cannot be read, is wanted: the stages say what it is.
        """
        if self.selection.is_all:
            return True
        ds = peek(io.BytesIO(head))
        return ds is None or self.matches(lambda keyword: elements.text(ds, keyword))

    def _is_in_time(self, study_date: str | None) -> bool:
        dates = self.selection.study_date
        if dates.first is None and dates.last is None:
            return True
        day = (study_date or "").strip().replace(".", "")
        if not re.fullmatch(r"\d{8}", day):
            return False
        return (dates.first is None or day >= f"{dates.first:%Y%m%d}") and (
            dates.last is None or day <= f"{dates.last:%Y%m%d}"
        )


def peek(stream: BinaryIO) -> Dataset | None:
    """The attributes that a selection looks at; None for what is no DICOM or cannot be read."""
    if not looks_like_dicom(stream):
        return None
    quiet()
    try:
        plain, _ = as_plain_stream(stream, HEAD_BYTES)
        ds = read_partial(plain, stop_when=_is_behind, force=True)
    except (*PARSE_ERRORS, InvalidDicomError, Rejection):
        return None
    return ds if any(keyword in ds for keyword in _TELLING) else None


def _is_behind(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's signature
    return tag > _LAST_TAG


def listed_values(path: str, column: str) -> frozenset[str]:
    """The values of a CSV file: of the column with this name, or one a line. `UsageError` names the file, no value."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"select: cannot read {path}: {type(error).__name__}") from None
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    names = [cell.strip() for cell in rows[0]] if rows else []
    if column in names:
        place, rows = names.index(column), rows[1:]
    elif all(len(row) == 1 for row in rows):
        place = 0
    else:
        raise UsageError(f"select: {path} needs a column {column}, or one value a line")
    found = frozenset(row[place].strip() for row in rows if len(row) > place) - {""}
    if not found:
        raise UsageError(f"select: {path} names nothing")
    return found
