"""The account of a run: what stages say of objects, series and volumes becomes one outcome a file."""

from __future__ import annotations

import pytest

from flows.account import Account
from oncurate.ledger import Place
from oncurate.reasons import Reason
from oncurate.records import CohortObject, Outcome, SourceObject


def found(*names: str, reason: Reason | None = None) -> list[SourceObject]:
    return [SourceObject(source_path=n, url="", bytes=1, version="", sha256=n[0], reason=reason) for n in names]


def header(path: str) -> dict[str, str]:
    return {"source_path": path, "object": path[0], "SOPInstanceUID": f"i-{path}", "SeriesInstanceUID": "s"}


def outcome(key: str, reason: Reason, stage: str = "index") -> Outcome:
    return Outcome(key=key, stage=stage, state=reason.state, reason=reason)


@pytest.fixture
def account() -> Account:
    """Files a, b, c of one series; a and a-copy have the same bytes."""
    made = Account()
    made.found(found("c", "a", "b", "a-copy"))
    made.read([header(p) for p in ("a", "b", "c", "a-copy")])
    return made


def test_files_are_kept_in_order_and_identities_by_path(account: Account) -> None:
    assert [o.source_path for o in account.objects] == ["a", "a-copy", "b", "c"]
    assert account.identities["b"] == ("i-b", "s")


def test_the_first_outcome_of_a_file_stands(account: Account) -> None:
    account.files([outcome("a", Reason.SAME_BYTES)])
    account.files([outcome("a", Reason.MISSING_SLICES)])
    assert account.outcomes["a"].reason is Reason.SAME_BYTES


def test_an_object_s_outcome_is_that_of_its_files_that_are_still_open(account: Account) -> None:
    account.files([outcome("a-copy", Reason.SAME_BYTES)])
    account.by_object([outcome("a", Reason.GATE_SERIES)])
    assert {p: o.reason for p, o in account.outcomes.items()} == {
        "a": Reason.GATE_SERIES,
        "a-copy": Reason.SAME_BYTES,
    }


def test_a_refused_series_takes_its_files_along_and_is_named(account: Account) -> None:
    assert account.series([outcome("key", Reason.GATE_SERIES)], {"key": ["b", "c"]}) == ["key"]
    assert {p: o.key for p, o in account.outcomes.items()} == {"b": "b", "c": "c"}


def test_places_name_the_first_curated_volume_and_refusals_close_the_rest(account: Account) -> None:
    account.files([outcome("a-copy", Reason.SAME_BYTES)])
    account.volumes = {
        "v1": {"objects": ["a", "b"], "series": "cohort", "subject": "x"},
        "v2": {"objects": ["b"], "series": "cohort", "subject": "x"},
        "v3": {"objects": ["c"], "series": "cohort", "subject": "x"},
    }
    account.refuse([outcome("v1", Reason.UNDECODABLE, "convert"), outcome("v3", Reason.GATE_QUALITY, "check")])
    account.refuse([outcome("v1", Reason.GATE_QUALITY, "check")])
    assert account.skip() == {"v1", "v3"}
    places = account.places()
    assert places == {"a": Place("cohort", None), "b": Place("cohort", "v2"), "c": Place("cohort", None)}
    assert {p: (o.reason, o.stage) for p, o in account.outcomes.items() if p != "a-copy"} == {
        "a": (Reason.UNDECODABLE, "convert"),
        "c": (Reason.GATE_QUALITY, "check"),
    }


def test_sums_count_files_by_reason(account: Account) -> None:
    account.files([outcome("a", Reason.MISSING_SLICES), outcome("b", Reason.LOCALIZER), outcome("c", Reason.LOCALIZER)])
    assert account.sums() == {Reason.LOCALIZER: 2, Reason.MISSING_SLICES: 1}


def written(name: str, *volume_ids: str) -> CohortObject:
    return CohortObject(
        key=f"dicom/x/1.2/1.3/{name}.dcm",
        sha256="0",
        bytes=1,
        object=name,
        subject_id="x",
        StudyInstanceUID="1.2",
        SeriesInstanceUID="1.3",
        SOPInstanceUID="1.4",
        SOPClassUID="1.5",
        Modality="CT",
        volume_ids=volume_ids,
    )


def test_objects_go_with_their_volumes_and_other_objects_alone(account: Account) -> None:
    account.files([outcome("a-copy", Reason.SAME_BYTES)])
    account.volumes = {
        "v1": {"objects": ["a"], "series": "cohort", "subject": "x"},
        "v2": {"objects": ["a", "b"], "series": "cohort", "subject": "x"},
    }
    account.objects_written = {"a": written("a", "v1", "v2"), "b": written("b", "v2"), "c": written("c")}
    account.refuse([outcome("v2", Reason.UNDECODABLE, "convert")])
    assert account.places() == {
        "a": Place("cohort", "v1", dicom_path="dicom/x/1.2/1.3/a.dcm"),
        "b": Place("cohort"),
        "c": Place("1.3", dicom_path="dicom/x/1.2/1.3/c.dcm"),
    }
    assert [(o.object, o.volume_ids) for o in account.released_objects()] == [("a", ("v1",)), ("c", ())]
