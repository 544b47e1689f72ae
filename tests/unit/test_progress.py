"""What an operator sees of a running stage: counts, rate and end, also of a batch that takes hours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from flows import progress
from flows.progress import Pace, PullPace, is_done
from oncurate.errors import StoreUnreachable
from oncurate.provider import Provider
from tasks.pulling import Amount
from tests.unit.test_pull import archive, provider  # noqa: F401  # fixtures


class Told:
    """Stands for the journal: what it tells next, or fails with."""

    def __init__(self, *amounts: Amount | StoreUnreachable) -> None:
        self._amounts = iter(amounts)

    def amount(self) -> Amount:
        found = next(self._amounts)
        if isinstance(found, StoreUnreachable):
            raise found
        return found


@pytest.fixture
def pace(provider: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch) -> Callable[..., PullPace]:  # noqa: F811
    """A pace of two batches, on a clock that goes on by 10 s a look."""
    clock = iter(range(0, 1_000, 10))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def make(total: Amount, *told: Amount | StoreUnreachable) -> PullPace:
        monkeypatch.setattr(progress, "UnderWay", lambda *_: Told(*told))
        return PullPace(provider(), ["batches/one", "batches/two"], total)

    return make


def test_a_stage_moves_by_batches() -> None:
    assert Pace(4).look("convert", 1) == (25.0, "convert: 1 of 4 batches done")


def test_a_pull_moves_within_a_batch(pace: Callable[..., PullPace]) -> None:
    made = pace(Amount(1_000, 400_000_000), Amount(), Amount(250, 100_000_000, 3), Amount(500, 200_000_000, 3))
    assert made.look("pull", 0) == (0.0, "pull: 0 of 1,000 files, 0.0 of 400.0 MB, 0 refused, 0.0 MB/s")
    percent, text = made.look("pull", 0)
    assert percent == 25.0
    assert text.startswith("pull: 250 of 1,000 files, 100.0 of 400.0 MB, 3 refused, 5.0 MB/s, 0:01:00 to go: done at")
    percent, text = made.look("pull", 0)
    assert percent == 50.0
    assert "6.7 MB/s, 0:00:30 to go: done at about 20" in text


def test_a_source_that_tells_no_sizes_moves_by_files(pace: Callable[..., PullPace]) -> None:
    percent, text = pace(Amount(10), Amount(5, 7_000_000)).look("pull", 1)
    assert percent == 50.0
    assert text.startswith("pull: 5 of 10 files, 7.0 MB, 0 refused, 0.7 MB/s, 0:00:10 to go")


def test_the_view_never_goes_back_nor_beyond_the_end(pace: Callable[..., PullPace]) -> None:
    ahead = Amount(9, 90_000_000)
    made = pace(Amount(10, 100_000_000), ahead, Amount(), StoreUnreachable("gone"), Amount(11, 101_000_000))
    assert [round(made.look("pull", 0).percent) for _ in range(4)] == [90, 90, 90, 100]
    assert pace(Amount(10, 100_000_000), ahead).look("pull", 2).percent == 100.0


def test_an_end_that_is_too_far_off_is_not_told(pace: Callable[..., PullPace]) -> None:
    percent, text = pace(Amount(1, 10**18), Amount(0, 1)).look("pull", 0)
    assert percent == pytest.approx(0)
    assert "to go" not in text


class Waited:
    """A Prefect future whose wait ends by itself."""

    def __init__(self, then: Callable[[Future[Any]], None] = lambda _: None) -> None:
        self.wrapped_future: Future[Any] = Future()
        self.waited: list[float] = []
        self._then = then

    def wait(self, timeout: float) -> None:
        self.waited.append(timeout)
        self._then(self.wrapped_future)


def test_a_batch_that_fails_or_is_cancelled_has_ended_too() -> None:
    running: Any = Waited()
    assert (is_done(running), running.waited) == (False, [])
    assert (is_done(running, 5.0), running.waited) == (False, [5.0])
    assert is_done(Waited(lambda future: future.set_exception(OSError())), 5.0)  # type: ignore[arg-type]
    assert is_done(Waited(lambda future: future.cancel()), 5.0)  # type: ignore[arg-type]
