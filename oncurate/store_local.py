"""Objects as files below a local folder.

Belongs here: atomic writes, listing and copying on a file system, and what its errors mean. Does not belong here:
retries, key rules and messages, which all stores share (`oncurate.store`).
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

PARTIAL = ".partial-"
"""Files with this prefix are being written, or were when their writer was killed; no listing shows them."""

_TRANSIENT = frozenset({errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_RANGE_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})
_COPY_BYTES = 1 << 30


def path_of(url: str) -> Path:
    """The absolute path that a plain path or a `file://` URL names; percent-encoding is undone in URLs only."""
    if url.startswith("file://"):
        rest = url.removeprefix("file://")
        url = os.fsdecode(unquote_to_bytes(rest if rest.startswith("/") else "/" + rest.partition("/")[2]))
    return Path(os.path.abspath(os.path.expanduser(url)))


def make_private(folder: Path) -> None:
    """Make `folder` for this user alone; one that is there already keeps the permissions that the site gave it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)


def open_object(path: Path) -> BinaryIO:
    """The object at `path`; a folder there is no object."""
    try:
        return open(path, "rb")
    except (IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, "no object under this key") from None


class LocalRoot:
    """A folder that holds objects. Not thread-bound: it keeps nothing but the path."""

    ERRORS = (OSError,)

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        with open_object(self.root / key) as handle:
            handle.seek(start)
            return handle.read(-1 if stop is None else stop - start)

    def write(self, key: str, data: bytes) -> None:
        with self._partial(key) as partial:
            partial.write_bytes(data)
            os.replace(partial, self.root / key)

    def create(self, key: str, data: bytes) -> None:
        with self._partial(key) as partial:
            partial.write_bytes(data)
            os.link(partial, self.root / key)  # unlike a rename, a link fails if the name is taken

    def upload(self, key: str, local_path: Path) -> None:
        with self._partial(key) as partial:
            _copy(local_path, partial)
            os.replace(partial, self.root / key)

    def download(self, key: str, local_path: Path) -> None:
        _copy(self.root / key, local_path)

    def copy_from(self, key: str, other: object, other_key: str) -> bool:
        """Link the file where that can be: objects are only ever replaced, so two names may share one content."""
        if not isinstance(other, LocalRoot):
            return False
        path, source = self.root / key, other.root / other_key
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, path)
        except FileNotFoundError:
            raise
        except OSError:  # the name is taken, or another file system, or one without links
            self.upload(key, source)
        return True

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def stat(self, key: str) -> tuple[int, str]:
        try:
            return _facts(os.path.join(self.root, key))
        except NotADirectoryError:
            raise FileNotFoundError(errno.ENOENT, "no object under this key") from None

    def delete(self, key: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.root / key)

    def entries(self, prefix: str) -> list[tuple[str, int, str]]:
        found = []
        for folder, name in self._files(prefix):
            if name.startswith(PARTIAL):
                continue
            path = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # deleted since the folder was read
                found.append((os.path.relpath(path, self.root).replace(os.sep, "/"), *_facts(path)))
        return found

    def reach(self) -> None:
        os.scandir(self.root).close()

    def sweep(self) -> int:
        debris = [os.path.join(folder, name) for folder, name in self._files("") if name.startswith(PARTIAL)]
        for path in debris:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return len(debris)

    def is_transient(self, error: BaseException) -> bool:
        return isinstance(error, OSError) and error.errno in _TRANSIENT

    def is_full(self, error: BaseException) -> bool:
        return isinstance(error, OSError) and error.errno in _FULL

    def complaint(self, error: BaseException) -> str | None:
        if isinstance(error, FileNotFoundError | FileExistsError):
            return None
        if isinstance(error, NotADirectoryError | IsADirectoryError):
            return "cannot be used: there is a file where a folder is needed, or the reverse"
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
            return "does not let this user in: check the permissions of the folder and of what is in it"
        return f"cannot be used: the file system reports {_name(error)}"

    def _files(self, prefix: str) -> Iterator[tuple[str, str]]:
        def passing(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        for folder, _, names in os.walk(self.root / prefix, onerror=passing):
            for name in names:
                yield folder, name

    @contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        """A name beside the target to write to; gone afterwards, whatever happens."""
        target = self.root / key
        partial = target.parent / f"{PARTIAL}{uuid.uuid4().hex}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # that would mean that the key is taken
            raise NotADirectoryError(errno.ENOTDIR, "a file where a folder is needed") from None
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def _facts(path: str) -> tuple[int, str]:
    """Size in bytes, and a version that changes when the file is replaced or rewritten."""
    status = os.stat(path)
    return status.st_size, f"{status.st_mtime_ns}-{status.st_size}"


def _copy(source: Path, target: Path) -> None:
    """Copy a file's content inside the kernel, which shares the blocks where the file system can."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), _COPY_BYTES):
                pass
        except OSError as error:
            if error.errno not in _NO_RANGE_COPY:
                raise
            reader.seek(writer.seek(0, os.SEEK_END))
            shutil.copyfileobj(reader, writer, 1 << 20)


def _name(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__)


@lru_cache(maxsize=256)
def open_root(url: str) -> LocalRoot:
    """The folder behind a `file://` URL."""
    return LocalRoot(path_of(url))
