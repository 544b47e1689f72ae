"""The ledger gives every file exactly one end, and says so loudly when it cannot."""

from __future__ import annotations

import pytest

from oncurate import ledger, tables
from oncurate.errors import Defect
from oncurate.ledger import Identity, Place
from oncurate.reasons import Reason, State
from oncurate.records import Outcome, SourceObject


def found(path: str, reason: Reason | None = None) -> SourceObject:
    return SourceObject(source_path=path, url=f"file:///{path}", bytes=10, version="1", sha256="0" * 64, reason=reason)


def refused(path: str, reason: Reason, stage: str = "index", detail: str = "") -> Outcome:
    return Outcome(key=path, stage=stage, state=reason.state, reason=reason, detail=detail)


def test_each_kind_of_end_becomes_one_row():
    objects = [found("b.dcm"), found("a.txt"), found("c.dcm"), found("d.zip", Reason.ARCHIVE_UNPACKED), found("e.dcm")]
    rows = ledger.build(
        objects,
        {"b.dcm": Identity("1.2", "1.1"), "c.dcm": Identity("1.3", "1.1")},
        [refused("a.txt", Reason.NOT_DICOM), refused("c.dcm", Reason.SAME_BYTES), refused("e.dcm", Reason.UNDECODABLE)],
        {"b.dcm": Place("2.25.1", "v"), "e.dcm": Place("2.25.2", None)},
    )
    assert [(r["source_path"], r["state"], r["reason"], r["stage"], r["volume_id"]) for r in rows] == [
        ("a.txt", "excluded", "not_dicom", "index", None),
        ("b.dcm", "curated", None, "publish", "v"),
        ("c.dcm", "duplicate", "same_bytes", "index", None),
        ("d.zip", "excluded", "archive_unpacked", "pull", None),
        ("e.dcm", "quarantined", "undecodable", "index", None),
    ]
    assert (rows[1]["SOPInstanceUID"], rows[1]["SeriesInstanceUID"]) == ("1.2", "1.1")
    assert rows[4]["cohort_series_uid"] == "2.25.2"
    assert tables.from_parquet(tables.to_parquet("ledger", rows)) == list(rows)
    assert (rows[-1], rows[1:3]) == (list(rows)[-1], list(rows)[1:3])


def test_the_first_outcome_decides():
    outcomes = [
        refused("a", Reason.MISSING_SLICES, detail="2 of 41"),
        Outcome(key="a", stage="convert", state=State.CURATED),
        refused("a", Reason.UNDECODABLE, "convert"),
    ]
    (row,) = ledger.build([found("a")], {}, outcomes, {})
    assert (row["reason"], row["stage"], row["detail"]) == ("missing_slices", "index", "2 of 41")


def test_sums_add_up_and_name_nothing():
    objects = [found("a"), found("b"), found("secret.dcm")]
    outcomes = [refused("a", Reason.LOCALIZER), refused("b", Reason.LOCALIZER)]
    sums = ledger.counts(ledger.build(objects, {}, outcomes, {"secret.dcm": Place("2.25.1", "v")}))
    assert sums.files == sum(sums.by_state.values()) == 3
    assert sums.by_state == {"curated": 1, "quarantined": 0, "duplicate": 0, "excluded": 2}
    assert sums.by_reason == {Reason.LOCALIZER: 2}
    assert "secret" not in sums.model_dump_json()


@pytest.mark.parametrize(
    ("objects", "outcomes", "places", "sentence"),
    [
        ([found("secret")], [], {}, "1 files were lost"),
        ([found("secret")], [], {"secret": Place("2.25.1", None)}, "1 files were lost"),
        (
            [found("secret")],
            [refused("secret", Reason.SAME_BYTES), refused("secret", Reason.MOSAIC)],
            {},
            "1 files have two different ends",
        ),
        ([found("secret", Reason.EMPTY_FILE)], [refused("secret", Reason.NOT_DICOM)], {}, "two different ends"),
        ([found("secret")], [refused("secret", Reason.MOSAIC)], {"secret": Place("2.25.1", "v")}, "took them out"),
        ([], [refused("secret", Reason.MOSAIC)], {}, "never found"),
        ([], [], {"secret": Place("2.25.1", "v")}, "never found"),
        ([found("secret"), found("secret")], [refused("secret", Reason.MOSAIC)], {}, "found more than once"),
        ([found("secret")], [Outcome(key="secret", stage="index", state=State.EXCLUDED)], {}, "has no reason"),
        (
            [found("secret")],
            [Outcome(key="secret", stage="index", state=State.EXCLUDED, reason=Reason.MOSAIC)],
            {},
            "another state",
        ),
    ],
)
def test_what_does_not_add_up_is_a_defect_that_names_no_file(objects, outcomes, places, sentence):
    with pytest.raises(Defect, match=sentence) as caught:
        ledger.build(objects, {}, outcomes, places)
    assert "secret" not in str(caught.value)


def test_conservation_is_checked_against_the_objects():
    rows = ledger.build([found("a"), found("b")], {}, [], {p: Place("2.25.1", "v") for p in "ab"})
    ledger.assert_conserved([found("a"), found("b")], rows)
    for broken, sentence in (
        (rows[:1], "lacks 1 files"),
        ([*rows, rows[0]], "more than one row"),
        ([rows[0], {**rows[1], "source_path": "c"}], "has 1 that were not"),
        ([rows[0], {**rows[1], "reason": "mosaic"}], "does not lead to"),
    ):
        with pytest.raises(Defect, match=sentence):
            ledger.assert_conserved([found("a"), found("b")], broken)
