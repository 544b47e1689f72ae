"""A zone: objects under keys behind a URL, on a local folder or on S3, with the same promises on both.

Belongs here: what a key is, whole-object writes, create-only writes, retries, and the one place where a failing store
becomes `StoreUnreachable`. Does not belong here: how each kind of store does it (`oncurate.store_local`,
`oncurate.store_s3`), and what the objects mean.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_exponential_jitter

from oncurate import store_local
from oncurate.errors import AlreadyExists, Defect, StoreUnreachable, UsageError

T = TypeVar("T")
READ_BYTES = 8 << 20
"""One ranged request of a remote file, bytes: large enough to hide latency, small enough for many workers."""

_FULL = "is full: make room there and run again; what is done already stays"


@dataclass(frozen=True)
class Patience:
    """How long a store that fails is tried again: waits double from `first_wait`, each with jitter of its own size."""

    attempts: int = 5
    first_wait: float = 1.0  # s; 1 + 2 + 4 + 8 s outlast the restart of a server
    total: float = 30.0  # s, after which no new attempt starts


@dataclass(frozen=True)
class Entry:
    """One object of a listing; `version` changes when the object does."""

    key: str
    bytes: int
    version: str


class Backend(Protocol):
    """What a kind of store offers to `Store`. Raises `ERRORS`; `create` FileExistsError where the key is taken."""

    ERRORS: tuple[type[BaseException], ...]
    root: Path | None  # the folder, where the objects are local files

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes: ...
    def write(self, key: str, data: bytes) -> None: ...
    def create(self, key: str, data: bytes) -> None: ...
    def upload(self, key: str, local_path: Path) -> None: ...
    def download(self, key: str, local_path: Path) -> None: ...
    def copy_from(self, key: str, other: Backend, other_key: str) -> bool: ...
    def exists(self, key: str) -> bool: ...
    def stat(self, key: str) -> tuple[int, str]: ...
    def delete(self, key: str) -> None: ...
    def entries(self, prefix: str) -> list[tuple[str, int, str]]: ...
    def reach(self) -> None: ...
    def sweep(self) -> int: ...
    def is_transient(self, error: BaseException) -> bool: ...
    def is_full(self, error: BaseException) -> bool: ...
    def complaint(self, error: BaseException) -> str | None: ...


@dataclass(frozen=True)
class Store:
    """Objects under "/"-separated relative keys behind `url`: a path, `file://` or `s3://bucket/prefix`.

    Small, hashable and picklable: connections belong to the process, not to the object. Every write makes the whole
    object visible at once or not at all. A missing object is FileNotFoundError; a store that cannot be used is
    `StoreUnreachable`, after transient failures have been retried. S3 reads the standard AWS variables.
    """

    url: str
    patience: Patience = field(default=Patience(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", normal_url(self.url))

    def read(self, key: str) -> bytes:
        """The whole object."""
        return self._try(lambda backend: backend.read(checked(key)))

    def write(self, key: str, data: bytes) -> None:
        """Write or replace a whole object."""
        self._try(lambda backend: backend.write(checked(key), data))

    def create(self, key: str, data: bytes) -> None:
        """Write an object whose key must be free; of any number of racers exactly one succeeds.

        Raises `AlreadyExists`. A repeat after a lost answer that finds our own bytes counts as success.
        """
        checked(key)
        tries = 0

        def attempt(backend: Backend) -> None:
            nonlocal tries
            tries += 1
            try:
                backend.create(key, data)
            except FileExistsError:
                if tries == 1 or backend.read(key) != data:
                    raise

        try:
            self._try(attempt)
        except FileExistsError:
            raise AlreadyExists(key) from None

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless its key is taken; whether it was written."""
        if self.exists(key):
            return False
        try:
            self.create(key, data)
        except AlreadyExists:
            return False
        return True

    def upload(self, key: str, local_path: str | os.PathLike[str]) -> None:
        """Write or replace an object with the content of a local file."""
        self._try(lambda backend: backend.upload(checked(key), Path(local_path)))

    def download(self, key: str, local_path: str | os.PathLike[str]) -> None:
        """Fetch an object into a local file, in bounded memory."""
        self._try(lambda backend: backend.download(checked(key), Path(local_path)))

    def copy_in(self, key: str, other: Store, other_key: str) -> None:
        """Copy an object of another store to `key`, inside the store's system where both are of one kind."""
        checked(key)
        checked(other_key)
        if self._try(lambda backend: backend.copy_from(key, other._backend, other_key)):
            return
        path = other.local_path(other_key)
        if path is not None:
            self.upload(key, path)
            return
        with tempfile.TemporaryFile() as between:  # without a name, so that a killed process leaves nothing behind
            other.download(other_key, descriptor_path(between))
            self.upload(key, descriptor_path(between))

    def exists(self, key: str) -> bool:
        """Whether there is an object under `key`."""
        return self._try(lambda backend: backend.exists(checked(key)))

    def size(self, key: str) -> int:
        """Bytes of the object."""
        return self.entry(key).bytes

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        self._try(lambda backend: backend.delete(checked(key)))

    def entry(self, key: str) -> Entry:
        """One object as a listing shows it."""
        return Entry(key, *self._try(lambda backend: backend.stat(checked(key))))

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """All objects below the folder `prefix`, recursively, in the order of their keys."""
        folder = prefix.rstrip("/")
        for key, size, version in sorted(self._try(lambda backend: backend.entries(folder and checked(folder)))):
            yield Entry(key, size, version)

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys of all objects below the folder `prefix`, recursively, sorted."""
        return (entry.key for entry in self.entries(prefix))

    def open_read(self, key: str) -> BinaryIO:
        """The object as a seekable binary file that reads ahead; reads are retried like everything else."""
        checked(key)
        root = self._backend.root
        if root is None:
            return io.BufferedReader(_Remote(self, key, self.size(key)), READ_BYTES)
        return self._try(lambda _: store_local.open_object(root / key))

    def sha256(self, key: str) -> str:
        """SHA-256 of the object as 64 hexadecimal digits, read in pieces."""
        with self.open_read(key) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def local_path(self, key: str) -> Path | None:
        """Where the object is on this machine's disk; None on S3. The object need not exist."""
        root = self._backend.root
        return root / checked(key) if root is not None else None

    def url_of(self, key: str) -> str:
        """The URL of the object, for `read_url`."""
        path = self.local_path(key)
        return path.as_uri() if path is not None else f"{self.url}/{key}"

    def child(self, prefix: str) -> Store:
        """The store whose keys are those of this one below `prefix`."""
        path = self.local_path(prefix.rstrip("/"))
        return Store(path.as_uri() if path is not None else f"{self.url}/{checked(prefix.rstrip('/'))}", self.patience)

    def check_readable(self) -> None:
        """Raise `StoreUnreachable`, saying what is wrong, unless the folder or bucket is there and lets us list it."""
        try:
            self._try(lambda backend: backend.reach())
        except FileNotFoundError:
            raise StoreUnreachable(f"{self.url} does not exist") from None

    def check_writable(self) -> None:
        """Raise `StoreUnreachable` unless objects can be created and deleted; makes a local folder that is missing."""
        if self._backend.root is None:
            self.check_readable()  # or a server that makes buckets on demand would hide a misspelt one
        probe = f"probe-{uuid.uuid4().hex}"
        self.create(probe, b"")
        self.delete(probe)

    def make_private(self) -> None:
        """Make a local folder that is missing so that only this user can enter it; a bucket's policy is the site's."""
        root = self._backend.root
        if root is not None:
            self._try(lambda _: store_local.make_private(root))

    def sweep(self) -> int:
        """Remove what killed writers left half-written, and count it. Only for the holder of the data set's lease."""
        return self._try(lambda backend: backend.sweep())

    @property
    def _backend(self) -> Backend:
        return _backend(self.url)

    def _try(self, action: Callable[[Backend], T]) -> T:
        backend = self._backend
        wait = wait_exponential_jitter(multiplier=self.patience.first_wait, max=8.0, jitter=self.patience.first_wait)
        retrying = Retrying(
            stop=stop_after_attempt(self.patience.attempts) | stop_after_delay(self.patience.total),
            wait=wait,
            retry=retry_if_exception(backend.is_transient),
            reraise=True,
        )
        try:
            return retrying(action, backend)
        except backend.ERRORS as error:
            if backend.is_full(error):
                raise StoreUnreachable(f"{self.url} {_FULL}") from None
            complaint = backend.complaint(error)
            if complaint is None:
                raise
            raise StoreUnreachable(f"{self.url} {complaint}") from None


class _Remote(io.RawIOBase):
    """An object of a remote store as a file: each read is one ranged request, so nothing is held open between."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub says WriteableBuffer
        stop = min(self._size, self._at + len(buffer))
        if stop <= self._at:
            return 0
        data = self._store._try(lambda backend: backend.read(self._key, self._at, stop))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def checked(key: str) -> str:
    """`key` if it is relative, "/"-separated and cannot lead out of its store; anything else is a `Defect`."""
    if not key or any(part in ("", ".", "..") for part in key.split("/")) or "\x00" in key:
        raise Defect("a store key must be relative, without empty, '.' or '..' parts")
    return key


def descriptor_path(file: IO[bytes]) -> Path:
    """A path to an open file that has no name of its own."""
    file.flush()
    return Path(f"/dev/fd/{file.fileno()}")


def normal_url(url: str) -> str:
    """`url` in its one spelling: an absolute percent-encoded `file://` URL, or `s3://bucket[/prefix]`."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme in ("", "file"):
        return store_local.path_of(url).as_uri()
    if scheme != "s3":
        raise UsageError(f"a zone is a folder, file:// or s3://, not {scheme}://")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UsageError("a URL must not hold credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if not parts.netloc:
        raise UsageError("an s3:// URL needs a bucket: s3://bucket/prefix")
    return url.rstrip("/")


def read_url(url: str, patience: Patience = Patience(), stop: int | None = None) -> bytes:
    """The object at a URL that `Store.url_of` or a `SourceObject` gave, or its bytes before `stop`.

    The name of a provider's file is free.
    """
    folder, _, name = url.rpartition("/")
    if url.startswith("file://"):
        name = store_local.path_of(url).name
    return Store(folder, patience)._try(lambda backend: backend.read(name, stop=stop))


def _backend(url: str) -> Backend:
    if url.startswith("file://"):
        return store_local.open_root(url)
    from oncurate import store_s3  # half a second to import, which a run on local folders does not pay

    return store_s3.open_root(url)
