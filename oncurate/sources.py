"""The provider's archive: what lies in it, and its bytes made readable, each file with a digest or a reason.

Belongs here: listing a folder, a file or an S3 prefix, skipping what an earlier pull has, and bringing members of
archive files and remote objects into the source zone. Does not belong here: what a file means (`oncurate.headers`).
Files of a local folder are read in place and never copied; what is copied is named by its digest alone.
"""

from __future__ import annotations

import bisect
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import quote_from_bytes

from oncurate.archive_formats import HEAD_BYTES, format_of
from oncurate.archives import SPOOL_BYTES, ArchiveLimits, unpack
from oncurate.errors import Rejection, StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.source_paths import INSIDE, clean, folder_prefix, unique
from oncurate.store import Entry, Store, descriptor_path
from oncurate.store_local import path_of

OBJECTS = "objects"
"""The folder of the source zone that holds copied objects, as <first 2 digits>/<SHA-256>."""

_CHUNK_BYTES = 1 << 20
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SOURCE_GONE = frozenset({errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV})


@dataclass(frozen=True)
class Listed:
    """One file that a source holds; `reason` is set where listing alone refuses it."""

    source_path: str
    url: str
    bytes: int
    version: str
    reason: Reason | None = None


def list_objects(source: str) -> Iterator[Listed]:
    """Every file of `source`, a folder, one file or an `s3://` prefix, in an order that depends on the names alone.

    Links are refused, so that nothing outside the source is read; what they point to inside it is listed itself.
    Raises `StoreUnreachable` where there is no such source or it does not let us in.
    """
    if source.startswith("s3://"):
        yield from _list_bucket(Store(source))
    elif "://" in source and not source.startswith("file://"):
        raise UsageError(f"a source is a folder, a file, file:// or s3://, not {source.partition('://')[0]}://")
    else:
        yield from _list_path(path_of(source))


def take(listed: Listed, zone: Store, limits: ArchiveLimits | None = None) -> list[SourceObject]:
    """One listed file as rows: its own, and after it those of its members where it is an archive file.

    What has to be copied is in `zone` when this returns. Damage becomes a row's reason; a full disk or an unreachable
    store is `StoreUnreachable`.
    """
    if listed.reason:
        return [_row(listed, listed.bytes, reason=listed.reason)]
    try:
        if listed.url.startswith("s3://"):
            return _take_remote(listed, zone, limits)
        with open(path_of(listed.url), "rb", buffering=_CHUNK_BYTES, opener=_open_no_link) as file:
            return _take_file(file, listed, zone, limits)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise StoreUnreachable("the folder for temporary files is full: make room, or set TMPDIR") from None
        if error.errno in _SOURCE_GONE:
            raise StoreUnreachable("the source's file system went away while it was read; run again") from None
        return [_row(listed, listed.bytes, reason=Reason.UNREADABLE_FILE)]


def reuse(
    listed: Iterable[Listed], previous: Mapping[str, SourceObject], zone: Store
) -> tuple[list[SourceObject], list[Listed]]:
    """The rows of an earlier pull that still hold, and the files that have to be taken.

    Rows hold while the file's version is the same, it was readable, and every copy is still in `zone`.
    """
    paths = sorted(previous)
    copies = {zone.url_of(key) for key in zone.list(OBJECTS)} if previous else set()
    home = zone.url_of(f"{OBJECTS}/x")[:-1]
    kept: list[SourceObject] = []
    missing: list[Listed] = []
    for item in listed:
        before = previous.get(item.source_path)
        if before is None or before.version != item.version or before.reason is Reason.UNREADABLE_FILE:
            missing.append(item)
            continue
        inside = item.source_path + INSIDE
        first = bisect.bisect_left(paths, inside)
        last = bisect.bisect_left(paths, inside[:-1] + "0")  # "0" follows "/"
        rows = [before, *(previous[path] for path in paths[first:last])]
        if all(row.url in copies for row in rows if row.url.startswith(home)):
            kept += rows
        else:
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


def _list_path(root: Path) -> Iterator[Listed]:
    try:
        status = os.stat(root)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(root).close()
    except FileNotFoundError:
        raise StoreUnreachable(f"the source {root} does not exist") from None
    except OSError as error:
        why = errno.errorcode.get(error.errno or 0, "an error")
        raise StoreUnreachable(f"the source {root} cannot be read ({why}): check its permissions") from None
    if stat.S_ISREG(status.st_mode):
        yield _listed(clean(root.name), str(root), status)
    elif stat.S_ISDIR(status.st_mode):
        yield from _walk(str(root), "")
    else:
        raise UsageError(f"the source {root} is neither a folder nor a file")


def _walk(folder: str, prefix: str) -> Iterator[Listed]:
    stack = [_children(folder, prefix)]
    while stack:
        entry, name = next(stack[-1], (None, ""))
        if entry is None:
            stack.pop()
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                stack.append(_children(entry.path, folder_prefix(name)))
                continue
            status = entry.stat(follow_symlinks=False)
        except OSError:
            yield Listed(name, "", 0, "", Reason.UNREADABLE_FILE)
            continue
        if stat.S_ISREG(status.st_mode):
            yield _listed(name, entry.path, status)
        else:
            yield Listed(name, "", 0, f"{status.st_mtime_ns}", Reason.UNSAFE_MEMBER)


def _children(folder: str, prefix: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    """The entries of a folder by name, each with its source path."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    taken: set[str] = set()
    return iter([(entry, prefix + unique(clean(entry.name), taken)) for entry in found])


def _listed(name: str, path: str, status: os.stat_result) -> Listed:
    url = "file://" + quote_from_bytes(os.fsencode(path))
    return Listed(name, url, status.st_size, f"{status.st_mtime_ns}-{status.st_size}")


def _list_bucket(store: Store) -> Iterator[Listed]:
    store.check_readable()
    found = False
    for entry in store.entries():
        found = True
        yield _listed_remote(f"{store.url}/{entry.key}", entry)
    if found:
        return
    folder, _, name = store.url.rpartition("/")
    try:
        yield _listed_remote(store.url, Store(folder).entry(name))
    except (FileNotFoundError, UsageError):  # the latter where the URL is a whole bucket
        raise StoreUnreachable(f"the source {store.url} does not exist or is empty") from None


def _listed_remote(url: str, entry: Entry) -> Listed:
    unsafe = any(part in ("", ".", "..") for part in entry.key.split("/"))
    return Listed(clean(entry.key), url, entry.bytes, entry.version, Reason.UNSAFE_MEMBER if unsafe else None)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _take_remote(listed: Listed, zone: Store, limits: ArchiveLimits | None) -> list[SourceObject]:
    folder, _, name = listed.url.rpartition("/")
    store = Store(folder, zone.patience)
    is_small = listed.bytes <= SPOOL_BYTES
    with io.BytesIO(store.read(name)) if is_small else store.open_read(name) as file:
        own, *members = _take_file(file, listed, zone, limits)
        if own.reason is not None:
            return [own, *members]
        if is_small:
            url = _keep(file, own.sha256, zone)
        else:
            url = zone.url_of(_key(own.sha256))
            if not zone.exists(_key(own.sha256)):
                zone.copy_in(_key(own.sha256), store, name)
        return [own.model_copy(update={"url": url})]


def _take_file(file: BinaryIO, listed: Listed, zone: Store, limits: ArchiveLimits | None) -> list[SourceObject]:
    digest, size, head = hashlib.sha256(), 0, b""
    while chunk := file.read(_CHUNK_BYTES):
        head = head or chunk[:HEAD_BYTES]
        size += len(chunk)
        digest.update(chunk)
    if not size:
        return [_row(listed, 0, reason=Reason.EMPTY_FILE)]
    kind = format_of(head, listed.source_path)
    if kind is None:
        return [_row(listed, size, digest.hexdigest(), listed.url)]
    file.seek(0)
    rows = [_row(listed, size, digest.hexdigest(), listed.url, Reason.ARCHIVE_UNPACKED)]
    try:
        for member in unpack(file, kind, listed.source_path, size, limits):
            path = listed.source_path + INSIDE + member.path
            url = _keep(member.content, member.sha256, zone) if member.content else ""
            rows.append(_row(replace(listed, source_path=path), member.bytes, member.sha256, url, member.reason))
    except Rejection as refused:
        rows[0] = rows[0].model_copy(update={"reason": refused.reason})
    return rows


def _keep(content: IO[bytes], sha256: str, zone: Store) -> str:
    """Put bytes into the source zone under their digest, unless they are there; the URL at which they can be read."""
    key = _key(sha256)
    if isinstance(content, io.BytesIO):
        zone.put_if_absent(key, content.getvalue())
    elif not zone.exists(key):
        zone.upload(key, descriptor_path(content))
    return zone.url_of(key)


def _key(sha256: str) -> str:
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def _row(listed: Listed, size: int, sha256: str = "", url: str = "", reason: Reason | None = None) -> SourceObject:
    return SourceObject(
        source_path=listed.source_path, url=url, bytes=size, version=listed.version, sha256=sha256, reason=reason
    )
