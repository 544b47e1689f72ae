"""Archive files unpacked within limits, as if an enemy had made them: each member once, with its digest or a reason.

Belongs here: limits, nesting, names of members and their bytes. Does not belong here: the formats
(`oncurate.archive_formats`) and where the bytes go (`oncurate.sources.taking`). No name in an archive becomes a path
on disk.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from pydantic import BaseModel, ConfigDict

from oncurate.archive_formats import HEAD_BYTES, READ_ERRORS, Format, RawMember, format_of, is_damage, raw_members
from oncurate.errors import Rejection
from oncurate.passing import CHUNK_BYTES, Aside, Bytes, some_of
from oncurate.reasons import Reason
from oncurate.source_paths import INSIDE, clean, is_unsafe, unique

SPOOL_BYTES = 64 << 20
"""A member up to this size, bytes, is held in memory, a larger one in a temporary file without a name."""


class ArchiveLimits(BaseModel):
    """What one archive file of the source may unpack to, its nested archives included. Beyond it, ARCHIVE_BOMB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = 200.0  # unpacked over packed bytes; deflate reaches 1,032 on zeros, whole archives of images 2 to 20
    ratio_from_bytes: int = 1 << 30  # unpacked; below it the ratio is free: blank slices and masks pack very well
    member_bytes: int = 64 << 30
    total_bytes: int = 4 << 40
    members: int = 10_000_000  # entries of all kinds
    depth: int = 4  # archives within archives, the outermost counted


@dataclass
class _Budget:
    """What one outermost archive has used of its limits so far."""

    limits: ArchiveLimits
    packed_bytes: Callable[[], int]
    spool: Callable[[], IO[bytes]]
    total_bytes: int = 0
    entries: int = 0
    paths: set[str] = field(default_factory=set)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(CHUNK_BYTES)))
    writing: Aside = field(default_factory=Aside)

    def add_entry(self) -> None:
        self.entries += 1
        if self.entries > self.limits.members:
            raise Rejection(Reason.ARCHIVE_BOMB, "members")

    def add_bytes(self, count: int, of_member: int) -> None:
        self.total_bytes += count
        if of_member > self.limits.member_bytes:
            raise Rejection(Reason.ARCHIVE_BOMB, "member_bytes")
        if self.total_bytes > self.limits.total_bytes:
            raise Rejection(Reason.ARCHIVE_BOMB, "total_bytes")
        if self.total_bytes > max(self.limits.ratio_from_bytes, self.limits.ratio * self.packed_bytes()):
            raise Rejection(Reason.ARCHIVE_BOMB, "ratio")


@dataclass(frozen=True)
class Member:
    """One member: `path` within the outermost archive (nested ones joined by "!/"), unique in it, and its bytes.

    `content` is open only until the next member is asked for; None where `reason` says why there is none. A nested
    archive has reason ARCHIVE_UNPACKED and comes after its members.
    """

    path: str
    bytes: int
    sha256: str
    content: IO[bytes] | None = None
    reason: Reason | None = None


def unpack(
    file: BinaryIO,
    kind: Format,
    name: str,
    packed_bytes: int | Callable[[], int],
    limits: ArchiveLimits | None = None,
    spool: Callable[[], IO[bytes]] = tempfile.TemporaryFile,
) -> Iterator[Member]:
    """The members of the archive in `file`, nested archives included, in the order in which they lie there.

    `packed_bytes` is its size, or how much of it was read so far where it passes as a stream.
    `spool` makes the files that hold large members for the moment.

    Raises `Rejection` where the archive cannot be read further; the members before that are good.
    """
    packed = packed_bytes if callable(packed_bytes) else lambda: packed_bytes
    budget = _Budget(limits or ArchiveLimits(), packed, spool)
    with closing(budget.writing):
        yield from _walk(file, kind, name, "", 1, budget)


def _walk(file: BinaryIO, kind: Format, name: str, prefix: str, depth: int, budget: _Budget) -> Iterator[Member]:
    try:
        for raw in raw_members(file, kind, name):
            budget.add_entry()
            path = unique(prefix + clean(raw.name), budget.paths)
            if raw.reason or is_unsafe(raw.name):
                yield Member(path, 0, "", reason=raw.reason or Reason.UNSAFE_MEMBER)
            else:
                yield from _read(raw, path, depth, budget)
    except READ_ERRORS as error:
        if not is_damage(error):
            raise
        raise Rejection(Reason.BROKEN_ARCHIVE) from None


def _read(raw: RawMember, path: str, depth: int, budget: _Budget) -> Iterator[Member]:
    """One member, or the members of the archive that it is and then itself."""
    with _Spooled() as spooled:
        try:
            with raw.open() as stream:
                spooled.fill(stream, raw.bytes, budget)
        except Rejection as bomb:
            yield Member(path, spooled.bytes, "", reason=bomb.reason)
            raise
        except READ_ERRORS as error:
            if not is_damage(error):
                raise
            yield Member(path, spooled.bytes, "", reason=Reason.BROKEN_ARCHIVE)
            if raw.sequential:
                raise
            return
        if not spooled.bytes:
            yield Member(path, 0, "", reason=Reason.EMPTY_FILE)
            return
        inner = format_of(spooled.head(), path)
        if inner is None:
            yield Member(path, spooled.bytes, spooled.sha256, spooled.file)
            return
        yield from _nested(spooled, inner, path, depth, budget)


def _nested(spooled: _Spooled, kind: Format, path: str, depth: int, budget: _Budget) -> Iterator[Member]:
    reason, stop = Reason.ARCHIVE_UNPACKED, None
    if depth >= budget.limits.depth:
        reason = Reason.ARCHIVE_BOMB
    else:
        try:
            yield from _walk(spooled.file, kind, path, path + INSIDE, depth + 1, budget)
        except Rejection as refused:
            reason = refused.reason
            stop = refused if reason is Reason.ARCHIVE_BOMB else None
    yield Member(path, spooled.bytes, spooled.sha256, reason=reason)
    if stop:
        raise stop


class _Spooled:
    """The bytes of a member, read once: in memory while small, else in a file that vanishes when it is closed."""

    def __init__(self) -> None:
        self.file: IO[bytes] = io.BytesIO()
        self.bytes = 0
        self._digest = hashlib.sha256()

    def fill(self, stream: BinaryIO, stated: int, budget: _Budget) -> None:
        if stated > SPOOL_BYTES:
            self.file = budget.spool()
        some = some_of(stream, budget.buffer)
        try:
            while chunk := some(CHUNK_BYTES):
                self._add(chunk, budget)
                budget.writing.wait()
        finally:
            budget.writing.wait()
        self.file.seek(0)

    def _add(self, chunk: Bytes, budget: _Budget) -> None:
        self.bytes += len(chunk)
        budget.add_bytes(len(chunk), self.bytes)
        if self.bytes > SPOOL_BYTES and isinstance(self.file, io.BytesIO):
            small, self.file = self.file, budget.spool()
            self.file.write(small.getbuffer())
        if isinstance(self.file, io.BytesIO):
            self.file.write(chunk)
        else:
            budget.writing.do(self.file.write, chunk)
        self._digest.update(chunk)

    def head(self) -> bytes:
        head = self.file.read(HEAD_BYTES)
        self.file.seek(0)
        return head

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __enter__(self) -> _Spooled:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
