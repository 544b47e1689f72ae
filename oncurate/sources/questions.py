"""What a selection means to a server that can be asked: conditions to send, and the same conditions on its answers.

Belongs here: queries of studies, and matching rows of studies and series. Does not belong here: the protocols, what a
selection means to a header (`oncurate.sources.selection`).

Servers ignore conditions that they do not support, so every answer is matched again here. A list of patients or
accessions becomes one query an entry, as neither attribute takes a list (DICOM PS3.4 C.2.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from oncurate.sources.selection import Wanted
from oncurate.sources.settings import Selection

Row = Mapping[str, str]
"""Keyword to text, several values joined by a backslash. Identified."""

_MATCHING = re.compile(r"[*?\\]")  # wildcards and the separator of lists: such a value cannot be asked for literally


class Questions:
    """A selection, ready to ask and to match with."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._wanted = Wanted(selection)
        self._of_study = Wanted(selection.model_copy(update={"modalities": (), "description": None}))

    def of_studies(self) -> Iterator[dict[str, str]]:
        """The conditions of each query of studies, from keyword to value."""
        common: dict[str, str] = {}
        dates = self._selection.study_date
        if dates.first or dates.last:
            common["StudyDate"] = "-".join(f"{day:%Y%m%d}" if day else "" for day in (dates.first, dates.last))
        if len(self._selection.modalities) == 1:
            common["ModalitiesInStudy"] = self._selection.modalities[0]
        lists = {"PatientID": self._wanted.patients, "AccessionNumber": self._wanted.accessions}
        given = {keyword: values for keyword, values in lists.items() if values is not None}
        if not given:
            yield common
            return
        keyword = min(given, key=lambda name: len(given[name]))
        yield from ({**common, keyword: value} for value in sorted(given[keyword]) if not _MATCHING.search(value))

    def wants_study(self, row: Row) -> bool:
        """Whether a study may hold wanted series."""
        there = {value.strip() for value in row.get("ModalitiesInStudy", "").split("\\")} - {""}
        asked = set(self._selection.modalities)
        return self._of_study.matches(row.get) and (not asked or not there or bool(asked & there))

    def wants_series(self, study: Row, series: Row) -> bool:
        """Whether a series of a wanted study is wanted."""
        return self._wanted.matches({**study, **series}.get)
