"""What people see while a flow runs: of a stage how far it is, and of a pull when it is expected to end.

Belongs here: one reporter for terminals (a live bar) and one for logs (a line a stage), and the words and figures of
the operator's view. Does not belong here: writing Prefect's artifacts (`flows.stages`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from prefect_dask.task_runners import PrefectDaskFuture
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from oncurate.errors import StoreUnreachable
from oncurate.provider import Provider
from tasks.pulling import Amount, UnderWay

LOOK_S = 10.0
"""How often the operator's view of a running stage is renewed."""
_FAR_S = 366 * 86_400


class Reporter:
    """Reports stages to standard error: a live bar on a terminal, one line a stage elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal and not quiet
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
        )
        self._ids: dict[str, int] = {}
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, stage: str, total: int) -> None:
        """A stage begins; it has `total` batches."""
        self._ids[stage] = self._progress.add_task(stage, total=total)

    def advance(self, stage: str) -> None:
        """One batch of the stage is done."""
        self._progress.advance(self._ids[stage])  # type: ignore[arg-type] - rich's TaskID is an int

    def finish(self, stage: str, summary: str) -> None:
        """The stage is done; `summary` holds counts only."""
        now = time.monotonic()
        self.line(f"{stage:<12} {now - self._since:6.1f} s  {summary}")
        self._since = now

    def line(self, text: str) -> None:
        """One line of plain text."""
        if self._quiet:
            return
        if self._live:
            self._progress.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


class Shown(NamedTuple):
    """What a progress artifact shows: counts only, no names."""

    percent: float
    text: str


class Pace:
    """How far a stage is, by batches."""

    def __init__(self, batches: int) -> None:
        self._batches = batches

    def look(self, stage: str, finished: int) -> Shown:
        """The operator's view now that so many batches are finished."""
        return Shown(100 * finished / self._batches, f"{stage}: {finished} of {self._batches} batches done")


class PullPace(Pace):
    """How far a pull is, by files and bytes, also within a batch, its rate, and when it is expected to end."""

    def __init__(self, provider: Provider, batches: Sequence[str], total: Amount) -> None:
        super().__init__(len(batches))
        self._total, self._under_way = total, UnderWay(provider, batches)
        self._most = Amount()
        self._since = time.monotonic()

    def look(self, stage: str, finished: int) -> Shown:
        """As of a `Pace`; where the journal cannot be listed now, as it was at the last look."""
        with suppress(StoreUnreachable):
            self._most = Amount(*map(max, self._most, self._under_way.amount()))
        total, done, seconds = self._total, self._most, max(time.monotonic() - self._since, 1e-3)
        share = min(1.0, done.bytes / total.bytes if total.bytes else done.files / total.files)
        of = f" of {total.bytes / 1e6:,.1f}" if total.bytes else ""
        text = (
            f"{stage}: {min(done.files, total.files):,} of {total.files:,} files, {done.bytes / 1e6:,.1f}{of} MB, "
            f"{done.refused:,} refused, {done.bytes / 1e6 / seconds:,.1f} MB/s"
        )
        if finished == self._batches:
            return Shown(100.0, text)
        return Shown(100 * share, text + (_end(seconds / share - seconds) if share else ""))


def _end(seconds: float) -> str:
    """How long it will take, and when that is; nothing where it is too far off to mean anything."""
    if seconds > _FAR_S:
        return ""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return f", {timedelta(seconds=round(seconds))} to go: done at about {at:%Y-%m-%d %H:%M} UTC"


def is_done(future: PrefectDaskFuture[Any], wait_s: float = 0.0) -> bool:
    """Whether a batch has ended, however it did; waits up to `wait_s` seconds for that."""
    if wait_s and not future.wrapped_future.done():
        future.wait(wait_s)
    return future.wrapped_future.done()


_current: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def current() -> Reporter:
    """The reporter of this run; a silent one where nobody looks on."""
    return _current.get() or Reporter(quiet=True)


def watch(reporter: Reporter) -> Reporter:
    """Make `reporter` the one of this run. A flow's parameters must be plain values, so it is none of them."""
    _current.set(reporter)
    return reporter
