"""The provider's archive: what lies in it, and its bytes made readable, each file with a digest or a reason.

Belongs here: one way to list, reuse and take for every kind of source. Does not belong here: a kind of source (a module
each, behind `oncurate.sources.interface`), what a file means (`oncurate.headers`). Files of a local folder are read in
place and never copied; what is copied is named by its digest alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from oncurate.archives import ArchiveLimits
from oncurate.records import SourceObject
from oncurate.source_paths import INSIDE
from oncurate.sources import taking
from oncurate.sources.interface import Listed, Remembering, Source, source_of
from oncurate.sources.keeping import OBJECTS
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.taking import RETRIED, Places
from oncurate.store import Store

__all__ = ["OBJECTS", "Listed", "Memory", "Places", "PullSettings", "Selection", "Source", "list_objects", "pull"]
__all__ += ["reuse", "source_of", "take"]


def list_objects(source: str, settings: PullSettings | None = None) -> Iterator[Listed]:
    """Every file of the source behind a URL or path, in an order that depends on the names alone.

    Raises `StoreUnreachable` where there is no such source or it does not let us in.
    """
    with closing(source_of(source, settings)) as opened:
        yield from opened.entries()


def take(listed: Listed, zone: Store, limits: ArchiveLimits | None = None) -> list[SourceObject]:
    """One listed file as rows, by a source made for it alone; see `oncurate.sources.taking.take`."""
    if listed.reason:
        return taking.refused(listed)
    settings = PullSettings(limits=limits or ArchiveLimits())
    with closing(source_of(listed.url, settings)) as source:
        return taking.take(listed, source, Places(zone, zone.child("partial"), settings.limits))


class Memory:
    """What an earlier pull took, as far as every copy of it is still in `zone`."""

    def __init__(self, previous: Mapping[str, SourceObject], zone: Store) -> None:
        self._previous = previous
        self._paths = sorted(previous)
        self._copies = {zone.url_of(key) for key in zone.list(OBJECTS)} if previous else set()
        self._home = zone.url_of(f"{OBJECTS}/x")[:-1]
        self._seen = 0

    def rows(self, listed: Listed) -> list[SourceObject]:
        """The rows that still hold of a file and its members; none where it has to be taken (again).

        Rows hold while the file's version is the same (and is known), and reading it again would not help.
        """
        before = self._previous.get(listed.source_path)
        if before is None:
            return []
        self._seen += 1
        return self._held(before) if before.version == listed.version else []

    def tell(self, source: Source) -> None:
        """Let a source that can use it know what it need not ask for."""
        if isinstance(source, Remembering):
            source.remember(
                Listed(row.source_path, "", row.bytes, row.version)
                for row in self._previous.values()
                if INSIDE not in row.source_path and self._held(row)
            )

    @property
    def vanished(self) -> int:
        """Files of the earlier pull, members not counted, that no call of `rows` has asked for."""
        return sum(INSIDE not in path for path in self._paths) - self._seen

    def _held(self, before: SourceObject) -> list[SourceObject]:
        if not before.version or before.reason in RETRIED:
            return []
        inside = before.source_path + INSIDE
        first = bisect.bisect_left(self._paths, inside)
        last = bisect.bisect_left(self._paths, inside[:-1] + "0")  # "0" follows "/"
        rows = [before, *(self._previous[path] for path in self._paths[first:last])]
        return rows if all(row.url in self._copies for row in rows if row.url.startswith(self._home)) else []


def reuse(
    listed: Iterable[Listed], previous: Mapping[str, SourceObject], zone: Store
) -> tuple[list[SourceObject], list[Listed]]:
    """The rows of an earlier pull that still hold, and the files that have to be taken."""
    memory = Memory(previous, zone)
    kept: list[SourceObject] = []
    missing: list[Listed] = []
    for item in listed:
        rows = memory.rows(item)
        kept += rows
        if not rows:
            missing.append(item)
    return kept, missing


def pull(
    source: str, zone: Store, previous: Mapping[str, SourceObject], limits: ArchiveLimits | None = None
) -> Iterator[SourceObject]:
    """Every file of `source` and every member of its archive files as a row; what `previous` has is not read again."""
    kept, missing = reuse(list_objects(source), previous, zone)
    yield from kept
    for listed in missing:
        yield from take(listed, zone, limits)
