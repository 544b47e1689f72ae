"""Politeness towards a source: its rate, its time windows, and waiting before asking again.

Belongs here: when the next request or byte may be asked for, and how often a failing one is tried. Does not belong
here: which answers of which server mean "later" (each source says so by raising `Again`).
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay

from oncurate.errors import OncurateError, Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources.settings import PullSettings, Retries

T = TypeVar("T")

LOOK_S = 1.0
"""How often a listing looks whether its time is over."""


class Again(Exception):
    """A request failed in a way that may pass: `wait` is what the server asked for, s; `cut`: after bytes came.

    `what` is shown to the operator when patience ends: plain words, no path and no value.
    """

    def __init__(self, what: str, wait: float | None = None, *, cut: bool = False) -> None:
        super().__init__(what)
        self.what, self.wait, self.cut = what, wait, cut


class WindowClosed(OncurateError):
    """The time in which the source may be asked is over; what was taken stays, and the next run goes on."""

    exit_code = 4


class Bucket:
    """A token bucket: at most `per_s` units a second, `burst_s` seconds' worth at a time. Safe between threads."""

    def __init__(self, per_s: float | None, burst_s: float = 1.0) -> None:
        self._per_s, self._burst_s, self._free_at, self._lock = per_s, burst_s, 0.0, threading.Lock()

    def take(self, units: float) -> None:
        """Wait until `units` may be spent."""
        if self._per_s is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - self._burst_s) + units / self._per_s
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


class Pace:
    """How one process may ask one source."""

    def __init__(self, settings: PullSettings, name: str) -> None:
        self.name = name  # of the source, for messages: scheme and host
        self._retries = settings.retries
        self._requests = Bucket(settings.rate.requests_per_s)
        self._bytes = Bucket(settings.rate.bytes_per_s)

    def ask(self, action: Callable[[], T]) -> T:
        """Do one request, again where it raises `Again`: back-off with jitter, or as long as the server asked.

        When patience ends: `Rejection` (TRANSFER_INCOMPLETE) where the transfer broke off each time, else
        `StoreUnreachable`.
        """

        def attempt() -> T:
            self._requests.take(1)
            return action()

        retrying = Retrying(
            stop=stop_after_attempt(self._retries.attempts) | stop_after_delay(self._retries.total_s),
            wait=lambda state: backoff(self._retries, state),
            retry=retry_if_exception_type(Again),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Again as last:
            if last.cut:
                raise Rejection(Reason.TRANSFER_INCOMPLETE) from None
            raise StoreUnreachable(f"the source {self.name} {last.what}; run again later") from None

    def spend(self, count: int) -> None:
        """Wait as long as `count` bytes cost."""
        self._bytes.take(count)


def backoff(retries: Retries, state: RetryCallState) -> float:
    """Seconds before the next attempt: doubled each time, with jitter of the same size; a server's wish counts."""
    error = state.outcome.exception() if state.outcome else None
    base = min(retries.longest_wait_s, retries.first_wait_s * 2 ** (state.attempt_number - 1))
    wished = min(getattr(error, "wait", None) or 0.0, retries.longest_wait_s)
    return max(wished, base / 2) + random.uniform(0.0, base / 2)


def check_window(settings: PullSettings) -> None:
    """Raise `WindowClosed` while the source must not be asked."""
    windows = settings.windows()
    if windows is not None and not windows.is_open(datetime.now(UTC)):
        raise WindowClosed(
            f"the source may be asked at {settings.only} only, which is over; what was taken stays: run again then"
        )


def while_open(items: Iterable[T], settings: PullSettings) -> Iterator[T]:
    """The items that a source lists, for as long as it may be asked; then `WindowClosed`."""
    looked = float("-inf")
    for item in items:
        if settings.only and time.monotonic() - looked >= LOOK_S:
            check_window(settings)
            looked = time.monotonic()
        yield item


def say(line: str) -> None:
    """A line for whoever started this process."""
    print(line, file=sys.stderr, flush=True)


def wait_for_window(settings: PullSettings, tell: Callable[[str], None] = say) -> None:
    """Sleep until the source may be asked. Call it before anything is held that others wait for.

    `tell` gets a line for the operator first, and again every hour: how long, and until when.
    """
    windows = settings.windows()
    while windows is not None and (wait := windows.opens_in(now := datetime.now(UTC))) > 0:
        tell(
            f"waiting {wait / 3600:.1f} h, until {windows.opens_at(now):%Y-%m-%d %H:%M} {windows.zone}:"
            f" the source may be asked at {settings.only} only"
        )
        time.sleep(min(wait, 3600.0))
