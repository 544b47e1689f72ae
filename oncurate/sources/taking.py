"""One listed file brought to where it can be read: in place, or in the source zone once it is whole and verified.

Belongs here: hashing, unpacking, selecting, storing under the digest, and which error is whose fault. Does not belong
here: listing and opening (each source), limits of archives (`oncurate.archives`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Protocol, cast

from oncurate.archive_formats import HEAD_BYTES as FORMAT_BYTES
from oncurate.archive_formats import Format, format_of
from oncurate.archives import SPOOL_BYTES, ArchiveLimits, Member, unpack
from oncurate.errors import Rejection, StoreUnreachable
from oncurate.forward import Forward
from oncurate.passing import CHUNK_BYTES, Bytes, some_of
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.source_paths import INSIDE
from oncurate.sources import selection as selecting
from oncurate.sources.interface import Listed, Source
from oncurate.sources.keeping import Keeper, keep
from oncurate.sources.pace import WindowClosed
from oncurate.sources.partial import Partial, partial_of
from oncurate.sources.selection import Wanted
from oncurate.sources.settings import Selection
from oncurate.sources.streams import PART_BYTES, ReadAhead
from oncurate.store import Store
from oncurate.store_local import PARTIAL

RETRIED = frozenset(
    {Reason.UNREADABLE_FILE, Reason.TRANSFER_INCOMPLETE, Reason.CHECKSUM_MISMATCH, Reason.REDIRECTED_ELSEWHERE}
)
"""Reasons that a second look may mend: the next pull tries such files again."""
SMALL_BYTES = 8 << 20
"""Remote files up to this size are fetched several at a time; of larger ones, several ranges are."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SOURCE_GONE = frozenset({errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV})


@dataclass(frozen=True)
class Places:
    """Where what is taken goes: whole objects into `zone`, unfinished ones into `partials` (a zone of its own)."""

    zone: Store
    partials: Store
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)
    wanted: Wanted = field(default_factory=lambda: Wanted(Selection()))
    heard: Callable[[int], None] = lambda _: None
    """Told of the bytes that are read of local files."""

    def spool(self) -> IO[bytes]:
        """A file for a large member that vanishes when it is closed, on the zone's file system where there is one."""
        path = self.partials.local_path(f"{PARTIAL}x")
        if path is None:
            return tempfile.TemporaryFile()
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(prefix=PARTIAL, dir=path.parent)


def take_all(
    items: Iterable[Listed], source: Source, places: Places, go_on: Callable[[], None] = lambda: None
) -> Iterator[list[SourceObject]]:
    """The rows of each file, in order; small remote files are fetched `connections` at a time.

    `go_on` is called before each file is started and may raise to stop; what was started is still given.
    """
    connections = getattr(source, "connections", 1)
    running: deque[Future[list[SourceObject]]] = deque()
    stopped: BaseException | None = None
    with ThreadPoolExecutor(connections, thread_name_prefix="take") as pool:
        for item in items:
            try:
                go_on()
            except WindowClosed as error:
                stopped = error
                break
            if connections > 1 and (item.bytes or 0) <= SMALL_BYTES:
                running.append(pool.submit(take, item, source, places))
                if len(running) >= 2 * connections:
                    yield running.popleft().result()
                continue
            while running:
                yield running.popleft().result()
            yield take(item, source, places)
        while running:
            yield running.popleft().result()
    if stopped is not None:
        raise stopped


def take(listed: Listed, source: Source, places: Places) -> list[SourceObject]:
    """One listed file as rows: its own, and after it those of its members where it is an archive file.

    What has to be copied is in the zone when this returns. Damage becomes a row's reason; a full disk or an unreachable
    store or source is `StoreUnreachable`.
    """
    if listed.reason:
        return refused(listed)
    try:
        if listed.url.startswith("file://"):
            with source.open(listed) as file:
                return _take_local(file, listed, places)
        return _take_remote(source, listed, places)
    except Rejection as why:
        return [_row(listed, listed.bytes or 0, reason=why.reason)]
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise StoreUnreachable("the folder for temporary files is full: make room, or set TMPDIR") from None
        if error.errno in _SOURCE_GONE:
            raise StoreUnreachable("the source's file system went away while it was read; run again") from None
        return [_row(listed, listed.bytes or 0, reason=Reason.UNREADABLE_FILE)]


def refused(listed: Listed) -> list[SourceObject]:
    """The row of a file that listing alone refused."""
    return [_row(listed, listed.bytes or 0, reason=listed.reason)]


def _take_local(file: BinaryIO, listed: Listed, places: Places) -> list[SourceObject]:
    head = file.read(FORMAT_BYTES)
    file.seek(0)
    if not head:
        return [_row(listed, 0, reason=Reason.EMPTY_FILE)]
    kind = format_of(head, listed.source_path)
    if kind is None and not _is_wanted(file, places.wanted):
        return [_row(listed, listed.bytes or 0, reason=Reason.NOT_SELECTED)]
    if kind not in (None, Format.ZIP, Format.UNSUPPORTED):
        return _unpack_passing(_Heard(file, places.heard), kind, listed, places)
    with _ahead(_Heard(file, places.heard), listed) as some:
        sha256, size = _hashed(some)
    if kind is None:
        return [_row(listed, size, sha256, listed.url)]
    file.seek(0)
    return _unpack_file(file, kind, _row(listed, size, sha256, listed.url), places)


def _take_remote(source: Source, listed: Listed, places: Places) -> list[SourceObject]:
    if listed.bytes is not None and listed.bytes <= SPOOL_BYTES:
        with closing(source.open(listed)) as stream:
            head, rest = _wanted_head(stream, places)
            if rest is None:
                return [_row(listed, listed.bytes, reason=Reason.NOT_SELECTED)]
            file = io.BytesIO(head + rest)
        return _take_whole(file, listed, places)
    with closing(source.open(listed)) as stream:
        if listed.bytes is None:
            head = read_all(stream, SMALL_BYTES)
            if len(head) < SMALL_BYTES:
                return _take_unsized(head, listed, places)
            stream = cast(BinaryIO, _Chained(head, stream))
        with partial_of(places.partials, listed) as partial:
            rows = _take_large(partial, stream, listed, places)
            if rows[0].reason is not Reason.TRANSFER_INCOMPLETE:
                partial.drop()
    return rows


def _take_unsized(data: bytes, listed: Listed, places: Places) -> list[SourceObject]:
    kind = format_of(data[:FORMAT_BYTES], listed.source_path)
    if kind is None and not places.wanted.wants(data[: selecting.HEAD_BYTES]):
        return [_row(listed, len(data), reason=Reason.NOT_SELECTED)]
    return _take_whole(io.BytesIO(data), listed, places)


class _Chained:
    """Bytes that were read from a stream already, and then the rest of it."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = io.BytesIO(head), stream

    def readinto(self, buffer: memoryview, /) -> int:
        return self._head.readinto(buffer) or cast(_Filling, self._stream).readinto(buffer)


def _take_large(partial: Partial, stream: BinaryIO, listed: Listed, places: Places) -> list[SourceObject]:
    """A file through its partial one; `Rejection` of the transfer itself becomes the row's reason."""
    try:
        return _take_through(partial, stream, listed, places)
    except Rejection as why:
        return [_row(listed, listed.bytes or 0, reason=why.reason)]


def _take_through(partial: Partial, stream: BinaryIO, listed: Listed, places: Places) -> list[SourceObject]:
    partial.attach(stream)
    head = partial.peek(selecting.HEAD_BYTES)
    kind = format_of(head[:FORMAT_BYTES], listed.source_path)
    if kind is None and not places.wanted.wants(head):
        return [_row(listed, listed.bytes or 0, reason=Reason.NOT_SELECTED)]
    if kind not in (None, Format.ZIP, Format.UNSUPPORTED):
        return _unpack_passing(partial, kind, listed, places)
    sha256, size = _hashed(partial.some)
    if not size:
        return [_row(listed, 0, reason=Reason.EMPTY_FILE)]
    if kind is None:
        partial.file.flush()
        return [_row(listed, size, sha256, keep(partial.file, sha256, places.zone, places.partials))]
    partial.file.seek(0)
    return _unpack_file(partial.file, kind, _row(listed, size, sha256), places)


def _take_whole(file: io.BytesIO, listed: Listed, places: Places) -> list[SourceObject]:
    """A small file that is here in memory, verified."""
    data = file.getbuffer()
    if not len(data):
        return [_row(listed, 0, reason=Reason.EMPTY_FILE)]
    sha256 = hashlib.sha256(data).hexdigest()
    kind = format_of(bytes(data[:FORMAT_BYTES]), listed.source_path)
    if kind is not None:
        return _unpack_file(file, kind, _row(listed, len(data), sha256), places)
    return [_row(listed, len(data), sha256, keep(file, sha256, places.zone, places.partials))]


def _wanted_head(stream: BinaryIO, places: Places) -> tuple[bytes, bytes | None]:
    """The head of a file and the rest of it; no rest where the selection does not want it."""
    if places.wanted.selection.is_all:
        return b"", read_all(stream)
    head = read_all(stream, selecting.HEAD_BYTES)
    if format_of(head[:FORMAT_BYTES], "") is None and not places.wanted.wants(head):
        return head, None
    return head, read_all(stream)


def read_all(stream: BinaryIO, limit: int | None = None) -> bytes:
    """The rest of a stream, up to `limit` bytes of it."""
    some = getattr(stream, "some", stream.read)
    pieces, left = [], limit if limit is not None else -1
    while left and (piece := some(min(left, CHUNK_BYTES) if left > 0 else CHUNK_BYTES)):
        pieces.append(bytes(piece))
        left -= len(piece) if limit is not None else 0
    return b"".join(pieces)


def _unpack_passing(file: _Filling, kind: Format, listed: Listed, places: Places) -> list[SourceObject]:
    """An archive that is hashed, unpacked and stored while it passes, once."""
    digest = hashlib.sha256()
    own = _row(listed, 0, reason=Reason.ARCHIVE_UNPACKED)
    rows: list[SourceObject] = []
    with _ahead(file, listed, digest.update) as some:
        stream = Forward(some)
        reason = _unpack_into(rows, cast(BinaryIO, stream), kind, own, lambda: stream.end, places)
        try:
            stream.drain()
        except Rejection as refused:
            reason = refused.reason
    if reason is Reason.CHECKSUM_MISMATCH:  # which members are the wrong ones cannot be told
        rows = [row.model_copy(update={"url": "", "reason": row.reason or reason}) for row in rows]
    own = own.model_copy(update={"bytes": stream.end, "sha256": digest.hexdigest(), "url": _in_place(listed)})
    return [own.model_copy(update={"reason": reason}), *rows]


def _unpack_file(file: BinaryIO, kind: Format, own: SourceObject, places: Places) -> list[SourceObject]:
    """An archive that is here as a whole."""
    rows: list[SourceObject] = []
    reason = _unpack_into(rows, file, kind, own, lambda: own.bytes, places)
    return [own.model_copy(update={"reason": reason}), *rows]


def _unpack_into(
    rows: list[SourceObject],
    file: BinaryIO,
    kind: Format,
    own: SourceObject,
    packed: Callable[[], int],
    places: Places,
) -> Reason:
    """Add a row a member, its bytes stored; returns how the archive itself ended."""
    with Keeper(places.zone, places.partials) as keeper:
        try:
            for member in unpack(file, kind, own.source_path, packed, places.limits, places.spool):
                rows.append(_member_row(member, own, places.wanted, keeper))  # noqa: PERF401  # those before a refusal stay
        except Rejection as refused:
            return refused.reason
    return Reason.ARCHIVE_UNPACKED


def _member_row(member: Member, own: SourceObject, wanted: Wanted, keeper: Keeper) -> SourceObject:
    row = SourceObject(
        source_path=own.source_path + INSIDE + member.path,
        url="",
        bytes=member.bytes,
        version=own.version,
        sha256=member.sha256,
        reason=member.reason,
    )
    if member.content is None:
        return row
    if not _is_wanted(member.content, wanted):
        return row.model_copy(update={"reason": Reason.NOT_SELECTED})
    return row.model_copy(update={"url": keeper.keep(member.content, member.sha256)})


def _is_wanted(file: IO[bytes], wanted: Wanted) -> bool:
    if wanted.selection.is_all:
        return True
    head = file.read(selecting.HEAD_BYTES)
    file.seek(0)
    return wanted.wants(head)


class _Filling(Protocol):
    """What bytes are read from, into a buffer; 0 at the end."""

    def readinto(self, buffer: memoryview, /) -> int: ...


class _Heard:
    """A file whose reading is told."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell = cast(_Filling, file), tell

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._file.readinto(buffer)
        self._tell(count)
        return count


@contextmanager
def _ahead(
    stream: _Filling, listed: Listed, watch: Callable[[Bytes], None] = lambda _: None
) -> Iterator[Callable[[int], Bytes]]:
    """Reading `stream`, in a thread of its own where the file is large enough to gain by it; `watch` sees all of it.

    What a call gives holds until the next one.
    """
    if listed.bytes is not None and listed.bytes < 4 * CHUNK_BYTES:
        buffer = memoryview(bytearray(min(CHUNK_BYTES, listed.bytes + 1)))
        yield Forward(some_of(stream, buffer), watch).some
        return
    ahead = ReadAhead(stream, watch)
    try:
        yield ahead.some
    finally:
        ahead.close()


def _hashed(some: Callable[[int], Bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := some(PART_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _in_place(listed: Listed) -> str:
    return listed.url if listed.url.startswith("file://") else ""


def _row(listed: Listed, size: int, sha256: str = "", url: str = "", reason: Reason | None = None) -> SourceObject:
    return SourceObject(
        source_path=listed.source_path, url=url, bytes=size, version=listed.version, sha256=sha256, reason=reason
    )
