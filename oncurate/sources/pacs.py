"""What the sources that are asked by query share: studies, series and instances found, and listed one by one.

Belongs here: which questions a selection becomes, matching the answers once more, names and versions of instances, and
not asking again for a series that did not change. Does not belong here: the protocols (`oncurate.sources.dicomweb`,
`oncurate.sources.dimse`).

Rows and source paths are identified and stay in the restricted zones.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from oncurate.errors import StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources.interface import Listed
from oncurate.sources.questions import Questions, Row
from oncurate.sources.settings import Selection

Level = Literal["STUDY", "SERIES", "IMAGE"]
KEY_OF: dict[Level, str] = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
RETURNED: dict[Level, tuple[str, ...]] = {
    "STUDY": (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyDescription",
        "PatientID",
        "AccessionNumber",
        "ModalitiesInStudy",
        "NumberOfStudyRelatedSeries",
    ),
    "SERIES": (
        "SeriesInstanceUID",
        "Modality",
        "SeriesDescription",
        "SeriesNumber",
        "SeriesDate",
        "SeriesTime",
        "NumberOfSeriesRelatedInstances",
    ),
    "IMAGE": (
        "SOPInstanceUID",
        "SOPClassUID",
        "InstanceNumber",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "AvailableTransferSyntaxUID",
    ),
}
"""What is asked for at each level (DICOM PS3.4 C.6.2.1, PS3.18 10.6); a server may leave most of it out."""

EXPECTED: dict[Level, str] = {"SERIES": "NumberOfStudyRelatedSeries", "IMAGE": "NumberOfSeriesRelatedInstances"}
"""Which attribute of the level above says how many rows there are."""

_DATING = ("StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "Modality")
_UID = re.compile(r"[0-9A-Za-z.\-]{1,64}")  # wider than PS3.5 9.1: real archives hold others, none of which is a path
_VERSION_DIGITS = 16
_SUFFIX = ".dcm"
_SERIES_NOTED = 16  # whoever groups a listing looks ahead into the next series


class QuerySource(ABC):
    """Base of the sources that are asked by query: `Source`, `Remembering` and `Describing` but for opening files."""

    selects = True

    def __init__(self, url: str, selection: Selection) -> None:
        self.url = url.rstrip("/")
        self._questions = Questions(selection)
        self._known: dict[str, list[tuple[str, str]]] = {}
        self._modalities: dict[str, str] = {}  # of the series that were listed last, by group

    @abstractmethod
    def find(self, level: Level, match: Mapping[str, str], expected: int | None = None) -> Iterator[Row]:
        """The rows of `level` that match, each with the keywords of `RETURNED` that the server knows.

        `match` holds the unique keys of the levels above, and at STUDY the conditions. `expected` is how many rows
        there should be, where that is known.
        """

    @abstractmethod
    def url_of(self, study: str, series: str, row: Row) -> str:
        """The URL of one instance, for `open`."""

    def remember(self, known: Iterable[Listed]) -> None:
        """What the last pull has; a series with the same dates and number of instances is not asked for again."""
        self._known = {}
        for item in known:
            if item.version:
                group = item.source_path.rpartition("/")[0]
                self._known.setdefault(group, []).append((item.source_path, item.version))

    def modality_of(self, listed: Listed) -> str | None:
        """The modality of the series, where it is one of those that `entries` gave last."""
        return self._modalities.get(listed.group) or None

    def entries(self) -> Iterator[Listed]:
        """Every instance that is wanted, by study, series and instance UID; streamed a series at a time.

        Holds the rows of all studies. What a server says that it has and does not list becomes one row of its series
        with TRANSFER_INCOMPLETE, so that it is seen and asked for again.
        """
        studies = {
            row.get("StudyInstanceUID", ""): row
            for match in self._questions.of_studies()
            for row in self.find("STUDY", match)
            if self._questions.wants_study(row)
        }
        for study in sorted(studies):
            if is_uid(study):
                yield from self._of_study(studies[study])
            else:
                yield _unnamed("study", study)

    def _of_study(self, study: Row) -> Iterator[Listed]:
        above = {"StudyInstanceUID": study["StudyInstanceUID"]}
        found = {row.get("SeriesInstanceUID", ""): row for row in self.find("SERIES", above, _count(study, "SERIES"))}
        for uid in sorted(found):
            series = found[uid]
            if not self._questions.wants_series(study, series):
                continue
            if not is_uid(uid):
                yield _unnamed(f"{study['StudyInstanceUID']}/series", uid)
                continue
            group = f"{study['StudyInstanceUID']}/{uid}"
            dating = digest_of({**study, **series}, _DATING)
            self._note(group, series.get("Modality", ""))
            count = _count(series, "IMAGE")
            yield from self._unchanged(group, dating, count) or self._of_series(group, dating, count)

    def _note(self, group: str, modality: str) -> None:
        self._modalities[group] = modality
        if len(self._modalities) > _SERIES_NOTED:
            del self._modalities[next(iter(self._modalities))]

    def _unchanged(self, group: str, dating: str, count: int | None) -> list[Listed] | None:
        """The instances of a series as they were; None where their number or the series' dates are others."""
        found = self._known.get(group, [])
        if not found or count != len(found) or any(not version.startswith(f"{dating}-") for _, version in found):
            return None
        return list(self._as_known(group))

    def _of_series(self, group: str, dating: str, count: int | None) -> Iterator[Listed]:
        study, _, series = group.partition("/")
        rows = self._rows_of_series(study, series, count)
        if rows is None:
            yield from self._as_known(group)
            yield _not_listed(group)
            return
        for uid in sorted(rows):
            if not is_uid(uid):
                yield _unnamed(f"{group}/instance", uid)
                continue
            version = f"{dating}-{digest_of(rows[uid], RETURNED['IMAGE'])}"
            yield Listed(f"{group}/{uid}{_SUFFIX}", self.url_of(study, series, rows[uid]), None, version, group=group)
        if count is not None and len(rows) < count:
            yield _not_listed(group)

    def _rows_of_series(self, study: str, series: str, count: int | None) -> dict[str, Row] | None:
        """The rows by instance UID; None where the server answers other questions, but not this one.

        A server that reads files to answer fails at each series of which it has lost one.
        """
        above = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        try:
            return {row.get("SOPInstanceUID", ""): row for row in self.find("IMAGE", above, count)}
        except StoreUnreachable:
            list(self.find("STUDY", {"StudyInstanceUID": study}))  # raises where it is not about this series
            return None

    def _as_known(self, group: str) -> Iterator[Listed]:
        """The instances of a series that the last pull has."""
        study, _, series = group.partition("/")
        for path, version in sorted(self._known.get(group, [])):
            url = self.url_of(study, series, {"SOPInstanceUID": path.rpartition("/")[2].removesuffix(_SUFFIX)})
            yield Listed(path, url, None, version, group=group)


def _count(row: Row, level: Level) -> int | None:
    """How many rows of `level` the row above it promises; None where it does not say."""
    text = row.get(EXPECTED[level], "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def _unnamed(what: str, uid: str) -> Listed:
    """The row of a study, series or instance whose UID cannot stand in a path."""
    return Listed(f"{what}-{hashlib.sha256(uid.encode()).hexdigest()[:8]}", "", None, "", Reason.UNSAFE_MEMBER)


def _not_listed(group: str) -> Listed:
    """The row of what a server says that a series has, and does not list."""
    return Listed(f"{group}/not-listed", "", None, "", Reason.TRANSFER_INCOMPLETE, group)


def is_uid(text: str) -> bool:
    """Whether a text can be used as a UID in a path or query."""
    return bool(_UID.fullmatch(text)) and text.strip(".") != ""


def digest_of(row: Row, keywords: Iterable[str]) -> str:
    """A digest of some attributes of a row."""
    text = json.dumps([row.get(keyword, "") for keyword in keywords])
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_DIGITS]
