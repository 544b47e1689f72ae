"""How far a pull is: the journal's keys say how much each batch has taken, so that one listing tells it all.

Belongs here: the names of journal keys and of notes about what is being read, sums over them. Does not belong here:
what a journal holds (`tasks.pull`), how an operator sees it (`flows.progress`).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from oncurate.errors import StoreUnreachable
from oncurate.provider import Provider
from oncurate.reasons import Reason, State
from oncurate.recipe import content_name
from oncurate.source_paths import INSIDE
from oncurate.store import Store
from tasks import zone

STAGE = "pull"
JOURNAL = f"parts/{STAGE}"
READING = f"reading/{STAGE}"
NOTE_S = 20.0
"""How often a batch notes how much it has read of local files that it has not finished."""

_KEY = re.compile(r"/(?P<part>[a-z2-7]+)-(?P<files>\d+)-(?P<bytes>\d+)-(?P<refused>\d+)-[a-z2-7]+\.rows\.json\.gz$")


class Amount(NamedTuple):
    """Files as the source lists them, members of archives not counted, their bytes, and how many were quarantined."""

    files: int = 0
    bytes: int = 0
    refused: int = 0


def amount_of(rows: Iterable[Mapping[str, Any]]) -> Amount:
    """What the rows of some files come to."""
    own = [row for row in rows if INSIDE not in row["source_path"]]
    bad = sum(bool(row["reason"]) and Reason(row["reason"]).state is State.QUARANTINED for row in own)
    return Amount(len(own), sum(row["bytes"] for row in own), bad)


def journal_key(part: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Key of a piece of the journal of the part of this name; says how much it holds, and of what by a digest only."""
    name = content_name([row["source_path"] for row in rows])
    return f"{JOURNAL}/{part}-{'-'.join(map(str, amount_of(rows)))}-{name}.rows.json.gz"


class Reading:
    """How much one batch has read of the local files that are not in its journal yet, noted now and then.

    A large archive file may be the whole source, and is one file to the journal. Safe between threads.
    """

    def __init__(self, work: Store, part: str) -> None:
        self._work, self._part, self._lock = work, part, threading.Lock()
        self._bytes, self._since = 0, time.monotonic()
        self._forget()

    def heard(self, count: int) -> None:
        """So many bytes more were read."""
        with self._lock:
            self._bytes += count
            is_due = time.monotonic() - self._since >= NOTE_S
            if is_due:
                self._note()

    def journalled(self, count: int) -> None:
        """Files of so many bytes are in the journal now."""
        with self._lock:
            self._bytes = max(0, self._bytes - count)
            self._note()

    def close(self) -> None:
        """The batch has ended."""
        self._forget()

    def _note(self) -> None:
        self._since = time.monotonic()
        self._forget()
        if self._bytes:
            with suppress(StoreUnreachable):  # a note is not worth a failure
                self._work.write(f"{READING}/{self._part}-{self._bytes}", b"")

    def _forget(self) -> None:
        with suppress(StoreUnreachable):
            for key in list(self._work.list(READING)):
                if key.startswith(f"{READING}/{self._part}-"):
                    self._work.delete(key)


class UnderWay:
    """What the batches with these keys have taken: by the journal, of large objects what has come of them so far, and
    of local files what is read.

    What an earlier run left of a large object does not count: it is not fetched now.
    """

    def __init__(self, provider: Provider, batches: Iterable[str]) -> None:
        self._work = zone.work(provider)
        self._parts = {zone.part_of(STAGE, batch).name for batch in batches}
        self._before = self._partials()

    def amount(self) -> Amount:
        """As of now; three listings. Raises `StoreUnreachable`."""
        found = [
            match for match in map(_KEY.search, self._work.list(JOURNAL)) if match and match["part"] in self._parts
        ]
        written = [sum(int(match[name]) for match in found) for name in Amount._fields]
        coming = sum(size - self._before.get(key, 0) for key, size in self._partials().items())
        files, size, refused = written
        notes = (key.rpartition("/")[2].rpartition("-") for key in self._work.list(READING))
        reading = sum(int(count) for part, _, count in notes if part in self._parts)
        return Amount(files, size + max(0, coming) + reading, refused)

    def _partials(self) -> dict[str, int]:
        return {entry.key: entry.bytes for entry in self._work.child("partial").entries()}
