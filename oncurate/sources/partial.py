"""What has come of a large object so far, kept in the work zone until it is whole, so that a killed pull goes on there.

Belongs here: the temporary keys, reading through them, removing them. Does not belong here: whether the whole is right
(`oncurate.sources.streams.Verified`), where it goes then (`oncurate.sources.taking`).

On a local work zone it is one file that grows; on S3 it is objects of `PIECE_BYTES`, with a nameless local file beside.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from oncurate.passing import CHUNK_BYTES, Aside, Bytes, put, some_of
from oncurate.sources.interface import Listed
from oncurate.sources.streams import ReadAhead, Verified
from oncurate.store import Store

PIECE_BYTES = 64 << 20


class Partial:
    """The bytes of one object, first those that are kept, then those of the stream; reading keeps what it gives.

    `name` is where they are kept; None keeps nothing.
    """

    def __init__(self, store: Store, name: str | None, file: BinaryIO) -> None:
        self.file = file
        self._store, self._name = store, name
        self._in_pieces = name is not None and store.local_path(name) is None
        self._saved = self._fetch_pieces() if self._in_pieces else 0
        self._kept = some_of(file)
        self._is_behind = True  # there is more in the file
        self._stream: Verified | ReadAhead | None = None
        self._writing = Aside()

    def attach(self, stream: Any) -> None:
        """Continue with `stream` after what is kept; a stream that cannot start there is read from its beginning."""
        kept = self.file.seek(0, os.SEEK_END)
        by_ranges = isinstance(stream, Verified) and stream.can_resume
        if kept and by_ranges:
            self.file.seek(0)
            stream.resume(iter(lambda: self.file.read(CHUNK_BYTES), b""))
        elif kept:
            self.file.seek(0)
            self.file.truncate()
            self._saved = 0
        self._stream = stream if by_ranges else ReadAhead(stream)  # ranges are fetched ahead as it is
        self.file.seek(0)

    def peek(self, count: int) -> bytes:
        """The first `count` bytes, or all there are; they stay to be read."""
        pieces: list[bytes] = []
        left = count
        while left and (piece := self.some(left)):
            pieces.append(bytes(piece))
            left -= len(piece)
        self._writing.wait()
        self.file.seek(0)
        self._is_behind = True
        return b"".join(pieces)

    def some(self, count: int) -> Bytes:
        """The next bytes, up to `count`, which hold until the next call; none at the end."""
        self._writing.wait()
        if self._is_behind:
            if kept := self._kept(count):
                return kept
            self._is_behind = False
        piece = self._stream.some(count) if self._stream else b""
        self._writing.do(self._write, piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        """The next bytes into `buffer`; returns how many, 0 at the end."""
        return put(self.some(len(buffer)), buffer)

    def close(self) -> None:
        """Stop reading; what is kept stays."""
        if isinstance(self._stream, ReadAhead):
            self._stream.close()
        self._writing.close()

    def drop(self) -> None:
        """Remove what was kept."""
        if self._name is not None:
            _remove(self._store, self._name)

    def _write(self, piece: Bytes) -> None:
        self.file.write(piece)
        if self._in_pieces and self.file.tell() - self._saved >= PIECE_BYTES:
            self._save_piece()

    def _save_piece(self) -> None:
        end = self.file.tell()
        self.file.seek(self._saved)
        self._store.write(f"{self._name}/{self._saved:020d}", self.file.read(end - self._saved))
        self.file.seek(end)
        self._saved = end

    def _fetch_pieces(self) -> int:
        at = 0
        for key in list(self._store.list(self._name or "")):
            if key != f"{self._name}/{at:020d}":
                break
            piece = self._store.read(key)
            self.file.write(piece)
            at += len(piece)
        return at


@contextmanager
def partial_of(store: Store, listed: Listed) -> Iterator[Partial]:
    """What is kept of one version of one object, on disk while the block runs; `drop` it when it is done with.

    Of an object without a version nothing is taken up again. Where somebody else is at the same object, what comes to
    us is not kept.
    """
    name = hashlib.sha256(f"{listed.url}\n{listed.version}\n{listed.bytes}".encode()).hexdigest()
    path = store.local_path(name)
    file, is_ours = (None, True) if path is None else _locked(path, fresh=not listed.version)
    if path is None and not listed.version:
        _remove(store, name)
    with file or cast(BinaryIO, tempfile.TemporaryFile(dir=path and path.parent)) as content:
        partial = Partial(store, name if is_ours else None, content)
        try:
            yield partial
        finally:
            partial.close()


def _locked(path: Path, *, fresh: bool) -> tuple[BinaryIO | None, bool]:
    """The file at `path`, ours until it is closed; none where another process or thread has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(os.fspath(path), "r+b", opener=_open_private)  # noqa: SIM115  # the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return None, False
        if _is_there(file, path):
            if fresh:
                file.truncate()
            return file, True
        file.close()


def _is_there(file: BinaryIO, path: Path) -> bool:
    """Whether `path` still names the file, which whoever had it before may have removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _remove(store: Store, name: str) -> None:
    if store.local_path(name) is not None:
        store.delete(name)
        return
    for key in list(store.list(name)):
        store.delete(key)
