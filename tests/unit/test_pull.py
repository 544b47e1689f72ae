"""The pull stage: what is new is batched, what was taken is remembered, and a kill costs little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oncurate import sources, tables
from oncurate.provider import Provider, parse
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import pace, taking
from oncurate.sources.interface import Listed
from oncurate.sources.pace import WindowClosed
from tasks import pull, zone
from tests.media import directory
from tests.phantoms import ct_series
from tests.unit.test_archives import zipped


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def provider(tmp_path: Path, archive: Path) -> Callable[..., Provider]:
    def make(**more: Any) -> Provider:
        raw = {"dataset": "x", "title": "x", "provider": {"name": "x", "country": "NL"}, "source": "archive", **more}
        return parse(raw, base=tmp_path)

    return make


def run(provider: Provider, workers: int = 2) -> tuple[pull.Survey, list[SourceObject]]:
    """Survey, every batch, the table: the stage without Prefect."""
    survey = pull.survey(provider, workers)
    taken = [
        SourceObject.model_validate(row)
        for n, key in enumerate(survey.batches, start=1)
        for row in zone.load_rows(zone.work(provider), batch(provider, key, n)).rows
    ]
    pull.write_objects(provider, pull.with_missing([*survey.kept, *taken]))
    return survey, taken


def batch(provider: Provider, key: str, number: int = 1) -> zone.Part:
    return pull.pull_batch.fn(provider, batch=key, number=number, total=1)


def test_a_second_survey_finds_what_is_new_and_gone(provider: Callable[..., Provider], archive: Path) -> None:
    for name in ("a", "b", "c"):
        (archive / name).write_text(name)
    (archive / "z.zip").write_bytes(zipped({"m": b"1", "n": b"2"}))
    survey, taken = run(provider())
    assert (survey.files, survey.new, survey.vanished, len(survey.batches)) == (4, 4, 0, 2)
    assert len(taken) == 6
    assert pull.unchanged(provider())[0]
    (archive / "a").unlink()
    (archive / "d").write_text("d")
    assert not pull.unchanged(provider())[0]
    survey, taken = run(provider())
    assert (survey.files, survey.new, survey.vanished) == (4, 1, 1)
    assert [row.source_path for row in taken] == ["d"]
    assert sorted(row.source_path for row in pull.known_objects(provider())) == [
        "b",
        "c",
        "d",
        "z.zip",
        "z.zip!/m",
        "z.zip!/n",
    ]
    assert pull.unchanged(provider())[0]


def test_a_vanished_file_alone_is_a_change(provider: Callable[..., Provider], archive: Path) -> None:
    for name in ("a", "b"):
        (archive / name).write_text(name)
    run(provider())
    (archive / "a").unlink()
    assert not pull.unchanged(provider())[0]


def test_a_killed_batch_is_not_asked_again_for_what_it_has(
    provider: Callable[..., Provider], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (archive / f"{number}.zip").write_bytes(zipped({"m": bytes([number])}))
    monkeypatch.setattr(pull, "JOURNAL_BYTES", 1)
    survey = pull.survey(provider(), 1)
    real, seen = taking.take, []

    class Killed(BaseException): ...

    def dying(listed: Listed, *rest: Any) -> list[SourceObject]:
        if len(seen) == 5:
            raise Killed
        seen.append(listed.source_path)
        return real(listed, *rest)

    monkeypatch.setattr(taking, "take", dying)
    with pytest.raises(Killed):
        batch(provider(), survey.batches[0])
    monkeypatch.setattr(taking, "take", lambda listed, *rest: seen.append(listed.source_path) or real(listed, *rest))
    again = pull.survey(provider(), 3)  # another number of workers, so other batches
    assert (again.new, len(again.kept)) == (4, 10)
    _, taken = run(provider(), 3)
    assert sorted(seen) == [f"{number}.zip" for number in range(9)]
    assert len(taken) == 8
    assert list(zone.work(provider()).list("parts/pull")) == []


def test_a_batch_that_is_tried_again_goes_on(
    provider: Callable[..., Provider], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (archive / name).write_text(name)
    key = pull.survey(provider(), 1).batches[0]
    checks = iter([None, None, WindowClosed("over"), None])

    def check(_: object) -> None:
        found = next(checks)
        if found is not None:
            raise found

    monkeypatch.setattr(pull, "check_window", check)
    with pytest.raises(WindowClosed):
        batch(provider(), key)
    rows = zone.load_rows(zone.work(provider()), batch(provider(), key)).rows
    assert sorted(row["source_path"] for row in rows) == ["a", "b", "c"]
    with pytest.raises(StopIteration):
        next(checks)


def test_an_archive_that_changed_after_the_table_was_written_keeps_no_old_members(
    provider: Callable[..., Provider], archive: Path
) -> None:
    (archive / "z.zip").write_bytes(zipped({"old": b"1", "both": b"2"}))
    run(provider())
    (archive / "z.zip").write_bytes(zipped({"both": b"22", "new": b"3"}))
    batch(provider(), pull.survey(provider(), 1).batches[0])  # killed before the table was written
    assert sorted(row.source_path for row in pull.known_objects(provider())) == ["z.zip", "z.zip!/both", "z.zip!/new"]


def test_another_selection_asks_again_for_what_was_left_out(provider: Callable[..., Provider], archive: Path) -> None:
    for path in ct_series(archive, slices=2):
        path.rename(archive / path.name)
    (archive / "notes").write_text("x")
    _, taken = run(provider(select={"modalities": ["MR"]}))
    assert sorted(str(row.reason) for row in taken) == ["None", "not_selected", "not_selected"]
    _, taken = run(provider(select={"modalities": ["MR"]}))
    assert taken == []
    assert not pull.unchanged(provider(select={"modalities": ["CT"]}))[0]
    survey, taken = run(provider(select={"modalities": ["CT"]}))
    assert [row.reason for row in taken] == [None, None]
    survey, taken = run(provider(select={"modalities": ["PT"]}))
    assert taken == []
    assert sum(row.reason is Reason.NOT_SELECTED for row in survey.kept) == 2


def test_the_operators_account_names_nothing(provider: Callable[..., Provider], archive: Path) -> None:
    (archive / "Doe^Test.dcm").write_bytes(b"1")
    (archive / "Doe^Test.zip").write_bytes(b"PK\x03\x04 broken")
    survey, taken = run(provider())
    shown = pull.account(survey, taken, pull.with_missing(taken), 2.0)
    assert {row["what"].partition(" ")[0]: row["files"] for row in shown} == {
        "listed": 2,
        "held": 0,
        "fetched": 2,
        "refused": 1,
        "vanished": 0,
        "missing": 0,
    }
    assert "Doe" not in str(shown)


def ledger_of(provider: Provider) -> dict[str, str | None]:
    """Why each row of the objects table goes no further."""
    rows = tables.from_parquet(zone.work(provider).read(zone.OBJECTS))
    return {row["source_path"]: row["reason"] for row in rows}


def test_what_a_medium_lacks_is_no_news_on_a_second_pull(provider: Callable[..., Provider], archive: Path) -> None:
    there = {"DICOMDIR": directory([["A", "I1"], ["A", "I2"]]), "A/I1": b"1"}
    (archive / "disk.zip").write_bytes(zipped(there))
    (archive / "A").mkdir()
    for name, data in there.items():
        (archive / name).write_bytes(data)
    survey, taken = run(provider())
    shown = pull.account(survey, taken, pull.with_missing(taken), 1.0)
    assert {row["what"]: row["files"] for row in shown}["missing on a medium"] == 2
    expected = {
        "A/I1": None,
        "A/I2": "missing_on_medium",
        "DICOMDIR": None,
        "disk.zip": "archive_unpacked",
        "disk.zip!/A/I1": None,
        "disk.zip!/A/I2": "missing_on_medium",
        "disk.zip!/DICOMDIR": None,
    }
    assert ledger_of(provider()) == expected
    first = pull.inputs_digest(pull.with_missing(taken))
    assert pull.unchanged(provider()) == (True, first)
    survey, taken = run(provider())
    assert (taken, survey.new, survey.vanished, len(survey.kept)) == ([], 0, 0, 5)
    assert ledger_of(provider()) == expected
    assert pull.unchanged(provider()) == (True, first)


def test_what_a_medium_lacked_and_has_now_is_taken(provider: Callable[..., Provider], archive: Path) -> None:
    (archive / "DICOMDIR").write_bytes(directory(["I1", "I2"]))
    (archive / "I1").write_bytes(b"1")
    run(provider())
    (archive / "I2").write_bytes(b"2")
    assert pull.unchanged(provider()) == (False, "")
    survey, taken = run(provider())
    assert ([row.source_path for row in taken], survey.vanished) == (["I2"], 0)
    assert ledger_of(provider()) == {"DICOMDIR": None, "I1": None, "I2": None}
    (archive / "I1").unlink()
    survey, _ = run(provider())
    assert survey.vanished == 1
    assert ledger_of(provider()) == {"DICOMDIR": None, "I1": "missing_on_medium", "I2": None}


def test_a_selection_does_not_hide_what_a_medium_lacks(provider: Callable[..., Provider], archive: Path) -> None:
    paths = ct_series(archive, slices=2)
    names = [str(path.relative_to(archive)) for path in paths]
    (archive / "DICOMDIR").write_bytes(directory([name.split("/") for name in [*names, "I9"]]))
    run(provider(select={"modalities": ["MR"]}))
    assert ledger_of(provider()) == {
        **dict.fromkeys(names, "not_selected"),
        "DICOMDIR": None,
        "I9": "missing_on_medium",
    }


@pytest.mark.parametrize("ask", [pull.survey, pull.unchanged])
def test_a_listing_ends_when_the_hours_are_over(
    provider: Callable[..., Provider], archive: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Provider], Any]
) -> None:
    for name in ("a", "b", "c"):
        (archive / name).write_text(name)
    run(provider())
    asked = provider(pull={"only": "00:00-12:00, 12:00-00:00 UTC"})
    ask(asked)
    answers = iter([None, None, WindowClosed("over")])

    def check(_: object) -> None:
        if (found := next(answers)) is not None:
            raise found

    monkeypatch.setattr(pace, "LOOK_S", 0.0)
    monkeypatch.setattr(pace, "check_window", check)
    with pytest.raises(WindowClosed) as ended:
        ask(asked)
    assert ended.value.exit_code == 4


def test_what_was_taken_before_the_hours_ended_is_not_asked_for_again(
    provider: Callable[..., Provider], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdef":
        (archive / f"{name}.zip").write_bytes(zipped({"m": name.encode()}))
    survey = pull.survey(provider(), 1)
    left = 4

    def check(_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise WindowClosed("over")

    monkeypatch.setattr(pull, "check_window", check)
    with pytest.raises(WindowClosed):
        batch(provider(), survey.batches[0])
    monkeypatch.undo()
    again = pull.survey(provider(), 2)
    assert (again.new, len(again.kept), again.vanished) == (2, 8, 0)
    _, taken = run(provider(), 2)
    assert sorted(row.source_path for row in taken) == ["e.zip", "e.zip!/m", "f.zip", "f.zip!/m"]
    assert len(ledger_of(provider())) == 12


class Generated:
    """A source that lists without end and holds nothing."""

    url, selects, connections = "x://generated", False, 1

    def __init__(self, count: int) -> None:
        self.count = count

    def entries(self) -> Iterator[Listed]:
        for n in range(self.count):
            yield Listed(f"study-{n // 1000}/{n:09d}.dcm", f"x://host/{n}", 500_000, "v", group=f"study-{n // 100}")

    def close(self) -> None: ...


def test_a_long_listing_is_cut_into_batches_as_it_comes(
    provider: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "source_of", lambda *_: Generated(5_000))
    monkeypatch.setattr(pull, "HELD", 1_000)
    survey = pull.survey(provider(), 2)
    assert (survey.files, survey.new, survey.bytes) == (5_000, 5_000, 2_500_000_000)
    store = zone.work(provider())
    paths, of_group = [], {}
    for key in survey.batches:
        for item in zone.unpack_json(store.read(key))["items"]:
            paths.append(item[0])
            assert of_group.setdefault(item[5], key) == key  # a group is in one batch
    assert sorted(paths) == [item.source_path for item in Generated(5_000).entries()]
