"""What a person at a terminal sees while a flow runs.

Belongs here: one reporter for terminals (a live bar) and one for logs (a line a stage). Does not belong here: Prefect's
artifacts, which the operator's view shows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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


class Expected:
    """How far a stage is and when it is expected to end, by batches or by their bytes. Counts only, no names."""

    def __init__(self, weights: Sequence[int] = ()) -> None:
        self._weights = weights
        self._since = time.monotonic()

    def line(self, stage: str, done: int) -> str:
        """One line for the operator's view after `done` batches."""
        total = sum(self._weights)
        if not total:
            return f"{stage}: {done} batches done"
        finished, seconds = sum(self._weights[:done]), max(time.monotonic() - self._since, 1e-3)
        rate = finished / seconds
        end = f", {(total - finished) / rate:.0f} s to go" if rate and finished < total else ""
        return f"{stage}: {finished / 1e6:.1f} of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s{end}"


_current: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def current() -> Reporter:
    """The reporter of this run; a silent one where nobody looks on."""
    return _current.get() or Reporter(quiet=True)


def watch(reporter: Reporter) -> Reporter:
    """Make `reporter` the one of this run. A flow's parameters must be plain values, so it is none of them."""
    _current.set(reporter)
    return reporter
