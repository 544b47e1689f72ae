"""Bytes into the source zone under their digest: several at a time, while the next ones are read.

Belongs here: the keys of copied objects, links instead of copies, how much may be on its way. Does not belong here:
which bytes (`oncurate.sources.taking`).
"""

from __future__ import annotations

import io
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from oncurate.store import Store, descriptor_path

OBJECTS = "objects"
"""The folder of the source zone that holds copied objects, as <first 2 digits>/<SHA-256>."""
KEPT_AT_A_TIME = 4
ON_THEIR_WAY_BYTES = 64 << 20
"""Bytes of the objects that are being written, beyond which the reader waits."""


def key_of(sha256: str) -> str:
    """The key of a copied object in the source zone."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def keep(content: IO[bytes], sha256: str, zone: Store, partials: Store) -> str:
    """Put bytes into the zone unless they are there; the URL at which they can be read.

    A file that lies among the partial ones is linked, not copied, where the file system can.
    """
    key = key_of(sha256)
    if isinstance(content, io.BytesIO):
        zone.put_if_absent(key, content.getvalue())
    elif not zone.exists(key):
        name = os.path.basename(content.name) if isinstance(content.name, str) else ""
        if name and partials.local_path(name) == Path(content.name):
            content.flush()
            zone.copy_in(key, partials, name)
        else:
            zone.upload(key, descriptor_path(content))
    return zone.url_of(key)


class Keeper:
    """Keeps the members of an archive while it is read on. At the end of the block all of them are there."""

    def __init__(self, zone: Store, partials: Store) -> None:
        self._zone, self._partials = zone, partials
        self._pool = ThreadPoolExecutor(KEPT_AT_A_TIME, thread_name_prefix="keep")
        self._running: deque[tuple[Future[bool], int]] = deque()
        self._bytes = 0

    def keep(self, content: IO[bytes], sha256: str) -> str:
        """As `keep`. Bytes in memory are written later: the URL is where they will be."""
        if not isinstance(content, io.BytesIO):
            return keep(content, sha256, self._zone, self._partials)
        data = content.getvalue()
        self._running.append((self._pool.submit(self._zone.put_if_absent, key_of(sha256), data), len(data)))
        self._bytes += len(data)
        while self._bytes > ON_THEIR_WAY_BYTES:
            self._wait()
        return self._zone.url_of(key_of(sha256))

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, failed: object, *_: Any) -> None:
        try:
            while self._running and failed is None:
                self._wait()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _wait(self) -> None:
        future, size = self._running.popleft()
        self._bytes -= size
        future.result()
