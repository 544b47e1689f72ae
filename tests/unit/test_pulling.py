"""How far a pull is, by the names in its journal: sums, and nothing else of what was taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oncurate.provider import Provider
from tasks import pulling, zone
from tasks.pulling import Amount, Reading, UnderWay
from tests.unit.test_pull import archive, provider  # noqa: F401  # fixtures

PATH = "Doe^Test/19700101/1.2.3"


def row(path: str, size: int, reason: str | None = None) -> dict[str, Any]:
    return {"source_path": path, "url": "", "bytes": size, "version": "", "sha256": "", "reason": reason}


ROWS = [
    row(f"{PATH}/a", 10),
    row(f"{PATH}/b", 5, "transfer_incomplete"),
    row(f"{PATH}/c", 7, "not_selected"),
    row(f"{PATH}/z.zip", 100, "archive_unpacked"),
    row(f"{PATH}/z.zip!/m", 400),
]


def test_members_of_archives_are_not_counted_and_only_quarantine_is_a_refusal() -> None:
    assert pulling.amount_of(ROWS) == Amount(files=4, bytes=122, refused=1)


def test_a_journal_key_tells_amounts_and_no_path() -> None:
    key = pulling.journal_key("abc", ROWS)
    assert key.startswith("parts/pull/abc-4-122-1-")
    assert not any(word in key for word in ("Doe", "Test", "1970", "1.2.3"))
    assert key != pulling.journal_key("abc", [row("other", 10), *ROWS[1:]])


def test_what_is_under_way_is_summed_over_the_batches_of_this_pull(provider: Callable[..., Provider]) -> None:  # noqa: F811
    work = zone.work(provider())
    assert UnderWay(provider(), []).amount() == Amount()  # before there is a work zone
    work.write("partial/left", bytes(50))
    under_way = UnderWay(provider(), ["batches/one", "batches/two"])
    assert under_way.amount() == Amount()
    for batch in ("batches/one", "batches/two", "batches/of an earlier pull"):
        work.write(pulling.journal_key(zone.part_of("pull", batch).name, ROWS), b"")
    work.write(zone.part_of("pull", "batches/one").rows, b"")
    assert under_way.amount() == Amount(files=8, bytes=244, refused=2)
    work.write("partial/left", bytes(80))
    work.write("partial/new", bytes(1_000))
    assert under_way.amount().bytes == 244 + 30 + 1_000
    work.delete("partial/left")
    work.delete("partial/new")
    assert under_way.amount().bytes == 244


def test_what_is_read_of_a_local_archive_counts_until_its_rows_are_in_the_journal(
    provider: Callable[..., Provider],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, part = zone.work(provider()), zone.part_of("pull", "batches/one").name
    work.write(f"{pulling.READING}/{part}-999", b"")  # of a try that was killed
    under_way = UnderWay(provider(), ["batches/one"])
    reading = Reading(work, part)
    reading.heard(100)
    assert under_way.amount() == Amount()  # not yet due
    monkeypatch.setattr(pulling, "NOTE_S", 0.0)
    reading.heard(20)
    assert under_way.amount() == Amount(bytes=120)
    work.write(pulling.journal_key(part, ROWS[:1]), b"")
    reading.journalled(10)
    assert under_way.amount() == Amount(files=1, bytes=10 + 110)
    reading.close()
    assert under_way.amount() == Amount(files=1, bytes=10)
    assert list(work.list(pulling.READING)) == []
