"""How far a pull is: the journal's keys say how much each batch has taken, so that one listing tells it all.

Belongs here: the names of journal keys, sums over them. Does not belong here: what a journal holds (`tasks.pull`), how
an operator sees it (`flows.progress`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from oncurate.provider import Provider
from oncurate.reasons import Reason, State
from oncurate.recipe import content_name
from oncurate.source_paths import INSIDE
from tasks import zone

STAGE = "pull"
JOURNAL = f"parts/{STAGE}"

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


class UnderWay:
    """What the batches with these keys have taken: by the journal, and of large objects what has come of them so far.

    What an earlier run left of a large object does not count: it is not fetched now.
    """

    def __init__(self, provider: Provider, batches: Iterable[str]) -> None:
        self._work = zone.work(provider)
        self._parts = {zone.part_of(STAGE, batch).name for batch in batches}
        self._before = self._partials()

    def amount(self) -> Amount:
        """As of now; two listings. Raises `StoreUnreachable`."""
        found = [
            match for match in map(_KEY.search, self._work.list(JOURNAL)) if match and match["part"] in self._parts
        ]
        written = [sum(int(match[name]) for match in found) for name in Amount._fields]
        coming = sum(size - self._before.get(key, 0) for key, size in self._partials().items())
        files, size, refused = written
        return Amount(files, size + max(0, coming), refused)

    def _partials(self) -> dict[str, int]:
        return {entry.key: entry.bytes for entry in self._work.child("partial").entries()}
