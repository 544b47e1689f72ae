"""Series of which a PACS did not send everything: none of it is used until all of it is there.

Belongs here: telling which files those are. Does not belong here: asking again, which the next pull does by itself.

A volume made of the slices that happened to come would be released without a sign that some are missing: where the end
of a series is lacking, no gap shows it.
"""

from __future__ import annotations

from collections.abc import Iterable

from oncurate.reasons import Reason
from oncurate.records import Outcome, SourceObject

_BY_SERIES = ("dicomweb+", "dimse://")
"""Sources whose paths are study/series/instance."""


def of_incomplete_series(source: str, objects: Iterable[SourceObject]) -> list[Outcome]:
    """An outcome (TRANSFER_INCOMPLETE) for each readable object of a series that lacks one; none for other sources."""
    if not source.startswith(_BY_SERIES):
        return []
    listed = list(objects)
    lacking = {_series(item) for item in listed if item.reason is Reason.TRANSFER_INCOMPLETE}
    return [
        Outcome.refused(item.source_path, "pull", Reason.TRANSFER_INCOMPLETE, "another file of the series is missing")
        for item in listed
        if item.reason is None and _series(item) in lacking
    ]


def _series(item: SourceObject) -> str:
    return item.source_path.rpartition("/")[0]
