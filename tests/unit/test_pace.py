"""Rates are kept, waits grow with jitter, a server's wish counts, and nothing is asked outside the time windows."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources import pace
from oncurate.sources.pace import (
    Again,
    Bucket,
    Pace,
    WindowClosed,
    backoff,
    check_window,
    wait_for_window,
    while_open,
)
from oncurate.sources.settings import PullSettings, Rate, Retries
from oncurate.sources.windows import Windows

QUICK = PullSettings.model_validate(
    {"retries": {"attempts": 3, "first_wait_s": 0.001, "longest_wait_s": 0.002, "total_s": 5}}
)


class Clock:
    """A clock that moves only by sleeping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_is_kept_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    bucket = Bucket(100.0)
    for _ in range(50):
        bucket.take(10)
    assert clock.now - 1000.0 == pytest.approx(500 / 100 - 1.0, abs=0.01)  # a second's worth is free at the start


def test_no_rate_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    Bucket(None).take(1e12)
    assert clock.now == 1000.0


def test_workers_share_the_rate() -> None:
    settings = PullSettings(rate=Rate(requests_per_s=8, bytes_per_s=1e6)).for_worker(4)
    assert settings.rate == Rate(requests_per_s=2, bytes_per_s=250_000)
    assert PullSettings().for_worker(4) == PullSettings()


def _state(attempt: int, error: BaseException) -> SimpleNamespace:
    return SimpleNamespace(attempt_number=attempt, outcome=SimpleNamespace(exception=lambda: error))


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    random.seed(1)
    retries = Retries(first_wait_s=1.0, longest_wait_s=10.0)
    for attempt, base in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 10.0)):
        waits = [backoff(retries, _state(attempt, Again("x"))) for _ in range(200)]
        assert base / 2 <= min(waits) < 0.6 * base
        assert 0.9 * base < max(waits) <= base


def test_what_a_server_asks_for_counts_within_bounds() -> None:
    retries = Retries(first_wait_s=1.0, longest_wait_s=10.0)
    assert 5.0 <= backoff(retries, _state(1, Again("x", 5.0))) <= 5.5
    assert backoff(retries, _state(1, Again("x", 86_400.0))) <= 10.5


def test_a_request_is_tried_again_and_then_given_up() -> None:
    answers = [Again("is busy"), Again("is busy"), "good"]
    tried: list[int] = []

    def action() -> str:
        tried.append(1)
        found = answers[len(tried) - 1]
        if isinstance(found, Again):
            raise found
        return found

    assert Pace(QUICK, "x://host").ask(action) == "good"
    answers[:] = [Again("is busy")] * 3
    tried.clear()
    with pytest.raises(StoreUnreachable, match="x://host is busy"):
        Pace(QUICK, "x://host").ask(action)
    assert len(tried) == 3


def test_a_transfer_that_always_breaks_off_is_the_files_end() -> None:
    def action() -> None:
        raise Again("breaks off", cut=True)

    with pytest.raises(Rejection) as refused:
        Pace(QUICK, "x://host").ask(action)
    assert refused.value.reason is Reason.TRANSFER_INCOMPLETE


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        ("2026-01-10T12:00", 7 * 3600),  # 13:00 in Amsterdam; opens at 20:00
        ("2026-01-10T19:00", 0),
        ("2026-01-11T04:59", 0),
        ("2026-01-11T05:00", 14 * 3600),
        ("2026-07-10T17:00", 3600),  # summer time: 19:00
        ("2026-03-28T18:59", 60),  # the night in which clocks go forward
        ("2026-03-29T04:00", 16 * 3600 - 2 * 3600),
    ],
)
def test_a_window_over_midnight_on_its_own_clock(now: str, seconds: float) -> None:
    windows = Windows.parse("20:00-06:00 Europe/Amsterdam")
    assert windows.opens_in(at(now)) == seconds
    assert windows.is_open(at(now)) is (seconds == 0)


def test_several_windows() -> None:
    windows = Windows.parse("12:00-13:00, 22:30-23:00 UTC")
    assert [windows.is_open(at(f"2026-01-01T{t}")) for t in ("11:59", "12:00", "13:00", "22:45")] == [
        False,
        True,
        False,
        True,
    ]
    assert windows.opens_in(at("2026-01-01T13:00")) == 9.5 * 3600


@pytest.mark.parametrize(
    "text", ["20:00-06:00", "20-6 UTC", "25:00-06:00 UTC", "20:00-20:00 UTC", "x", "", "1:00-2:00 Mars/X"]
)
def test_a_window_that_is_none_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValidationError, match=r"write it as|between 00:00"):
        PullSettings(only=text)


def test_nothing_is_asked_while_the_window_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hour = datetime.now(UTC).hour
    closed = PullSettings(only=f"{(hour + 2) % 24:02d}:00-{(hour + 3) % 24:02d}:00 UTC")
    with pytest.raises(WindowClosed) as stopped:
        check_window(closed)
    assert stopped.value.exit_code == 4
    check_window(PullSettings())

    class Slept(Exception): ...

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 3600
        raise Slept

    monkeypatch.setattr(time, "sleep", sleep)
    said: list[str] = []
    with pytest.raises(Slept):
        wait_for_window(closed, said.append)
    assert closed.only in said[0]
    with pytest.raises(Slept):
        wait_for_window(closed)
    shown = capsys.readouterr()
    assert (shown.err, shown.out) == (f"{said[0]}\n", "")


class Calendar:
    """A clock that moves only by sleeping, and knows the date."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
        self.time, self.slept = at(start), []
        monkeypatch.setattr(pace, "datetime", SimpleNamespace(now=lambda _: self.time))
        monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=time.monotonic, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


def test_who_waits_is_told_how_long_and_until_when(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Calendar(monkeypatch, "2026-01-10T16:30")
    said: list[str] = []
    wait_for_window(PullSettings(only="20:00-06:00 Europe/Amsterdam"), said.append)
    assert clock.time == at("2026-01-10T19:00")
    assert clock.slept == [3600.0, 3600.0, 1800.0]
    assert [line.partition(":")[0] for line in said] == [
        f"waiting {hours} h, until 2026-01-10 20" for hours in (2.5, 1.5, 0.5)
    ]
    assert said[0].endswith(
        "until 2026-01-10 20:00 Europe/Amsterdam: the source may be asked at 20:00-06:00 Europe/Amsterdam only"
    )
    wait_for_window(PullSettings(only="20:00-06:00 Europe/Amsterdam"), said.append)
    wait_for_window(PullSettings(), said.append)
    assert len(said) == 3


def test_a_listing_stops_when_its_hours_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Calendar(monkeypatch, "2026-01-10T20:00")
    monkeypatch.setattr(pace, "LOOK_S", 0.0)
    seen = []

    def look() -> None:
        for item in while_open(range(9), PullSettings(only="20:00-20:03 UTC")):
            seen.append(item)
            clock.sleep(60)

    with pytest.raises(WindowClosed):
        look()
    assert seen == [0, 1, 2]
    assert list(while_open(range(9), PullSettings())) == list(range(9))
