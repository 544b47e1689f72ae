"""Series that did not come whole are held back, and only those."""

from __future__ import annotations

from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources.wholeness import of_incomplete_series


def _row(path: str, reason: Reason | None = None) -> SourceObject:
    return SourceObject(source_path=path, url="", bytes=1, version="1", sha256="", reason=reason)


def test_the_rest_of_an_incomplete_series_is_held_back() -> None:
    rows = [
        _row("1/2/a.dcm"),
        _row("1/2/b.dcm", Reason.TRANSFER_INCOMPLETE),
        _row("1/2/c.dcm", Reason.EMPTY_FILE),
        _row("1/3/a.dcm"),
        _row("1/3/b.dcm", Reason.UNREADABLE_FILE),
    ]
    for source in ("dimse://A@host:104", "dicomweb+https://host/dicom-web"):
        held = of_incomplete_series(source, rows)
        assert [(outcome.key, outcome.reason, outcome.stage) for outcome in held] == [
            ("1/2/a.dcm", Reason.TRANSFER_INCOMPLETE, "pull")
        ]
    assert of_incomplete_series("file:///archive", rows) == []
    assert of_incomplete_series("dimse://A@host:104", rows[3:]) == []
