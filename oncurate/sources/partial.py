"""What has come of a large object so far, kept in the work zone until it is whole, so that a killed pull goes on there.

Belongs here: the temporary keys, reading through them, removing them. Does not belong here: whether the whole is right
(`oncurate.sources.streams.Verified`), where it goes then (`oncurate.sources.taking`).

On a local work zone it is one file that grows; on S3 it is objects of `PIECE_BYTES`, with a nameless local file beside.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from oncurate.sources.interface import Listed
from oncurate.sources.streams import CHUNK_BYTES, Verified
from oncurate.store import Store

PIECE_BYTES = 64 << 20


class Partial:
    """The bytes of one object, first those that are kept, then those of the stream; `read` keeps what it gives."""

    def __init__(self, store: Store, name: str, file: IO[bytes]) -> None:
        self.file = file
        self._store, self._name = store, name
        self._is_local = store.local_path(name) is not None
        self._kept = 0 if self._is_local else self._fetch_pieces()
        self._saved = self._kept
        self._stream: BinaryIO | None = None
        self._is_behind = True  # there is more in the file

    def attach(self, stream: BinaryIO) -> None:
        """Continue with `stream` after what is kept; a stream that cannot start there is read from its beginning."""
        kept = self.file.seek(0, os.SEEK_END)
        if kept and isinstance(stream, Verified) and stream.can_resume:
            self.file.seek(0)
            stream.resume(iter(lambda: self.file.read(CHUNK_BYTES), b""))
        elif kept:
            self.file.seek(0)
            self.file.truncate()
            self._saved = 0
        self._stream = stream
        self.file.seek(0)

    def read(self, count: int) -> bytes:
        """The next bytes, up to `count`."""
        data = self.file.read(count) if self._is_behind else b""
        if not data and self._stream is not None:
            self._is_behind = False
            data = self._stream.read(count)
            self.file.write(data)
            if not self._is_local and self.file.tell() - self._saved >= PIECE_BYTES:
                self._save_piece()
        return data

    def drop(self) -> None:
        """Remove what was kept."""
        _remove(self._store, self._name)

    def _save_piece(self) -> None:
        end = self.file.tell()
        self.file.seek(self._saved)
        self._store.write(f"{self._name}/{self._saved:020d}", self.file.read(end - self._saved))
        self.file.seek(end)
        self._saved = end

    def _fetch_pieces(self) -> int:
        at = 0
        for key in list(self._store.list(self._name)):
            if key != f"{self._name}/{at:020d}":
                break
            piece = self._store.read(key)
            self.file.write(piece)
            at += len(piece)
        return at


@contextmanager
def partial_of(store: Store, listed: Listed) -> Iterator[Partial]:
    """What is kept of one version of one object, on disk while the block runs; `drop` it when it is done with.

    Of an object without a version nothing is taken up again.
    """
    name = hashlib.sha256(f"{listed.url}\n{listed.version}\n{listed.bytes}".encode()).hexdigest()
    path = store.local_path(name)
    if not listed.version:
        _remove(store, name)
    if path is None:
        with tempfile.TemporaryFile() as file:
            yield Partial(store, name, file)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.fspath(path), "r+b", opener=_open_private) as file:
        yield Partial(store, name, file)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _remove(store: Store, name: str) -> None:
    if store.local_path(name) is not None:
        store.delete(name)
        return
    for key in list(store.list(name)):
        store.delete(key)
