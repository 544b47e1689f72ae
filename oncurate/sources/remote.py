"""What the sources on servers share: a name for messages without credentials, a pool of connections, a pace.

Belongs here: exactly that. Does not belong here: any protocol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from oncurate.errors import UsageError
from oncurate.reasons import Reason
from oncurate.source_paths import clean
from oncurate.sources.pace import Pace
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import Fill, Hash, RangeStream, Verified


class RemoteSource:
    """Base of the sources on servers: refuses credentials in the URL, holds the pool that fetches ranges."""

    selects = False
    ranges_at_a_time: int | None = None
    """Of a large file; None for as many as connections."""

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:  # noqa: ARG002
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise UsageError("credentials do not belong in a URL; name the variables that hold them in the key pull")
        if not parts.hostname:
            raise UsageError(f"the source names no {'bucket' if parts.scheme == 's3' else 'host'}")
        self.url = url
        self.settings = settings
        self.connections = settings.connections
        self.pace = Pace(settings, f"{parts.scheme}://{parts.netloc}")
        self._pool = ThreadPoolExecutor(self.ranges_at_a_time or settings.connections, thread_name_prefix="ranges")

    def close(self) -> None:
        """End the threads that fetch."""
        self._pool.shutdown(cancel_futures=True)

    def ranged(self, fill: Fill, size: int, sums: Iterable[tuple[Hash, str]] = (), part_bytes: int = 0) -> BinaryIO:
        """A verified stream over `fill`, which is asked again with back-off and kept to the rate."""

        def once(start: int, into: memoryview) -> None:
            self.pace.spend(len(into))
            self.pace.ask(lambda: fill(start, into))

        return cast(BinaryIO, Verified(RangeStream(once, size, self._pool, part_bytes), size, sums))


def name_of(key: str) -> tuple[str, Reason | None]:
    """The ledger's name of a remote object, and the reason where its key cannot be a path of files.

    Such keys get a mark from their digest, so that "a//b" does not pass for "a/b".
    """
    if any(part in ("", ".", "..") for part in key.split("/")):
        return f"{clean(key)}#{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}", (
            Reason.UNSAFE_MEMBER
        )
    return clean(key), None
