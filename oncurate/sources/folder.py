"""A local folder or file as a source, read in place.

Belongs here: walking it, refusing links. Does not belong here: copying, as nothing local is copied.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote_from_bytes

from oncurate.errors import StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.source_paths import clean, folder_prefix, unique
from oncurate.sources.interface import Listed
from oncurate.sources.settings import PullSettings, Selection
from oncurate.store_local import PARTIAL, path_of

_BUFFER_BYTES = 1 << 20


class FolderSource:
    """Every file below a folder, or one file.

    Links are refused, so that nothing outside the source is read; what they point to inside it is listed itself.
    """

    selects = False
    connections = 1

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:  # noqa: ARG002  # nobody waits
        self._root = path_of(url)
        self.url = self._root.as_uri()

    def entries(self) -> Iterator[Listed]:
        """The files by name, folder by folder."""
        root = self._root
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

    def open(self, listed: Listed) -> BinaryIO:
        """The file itself; a link that took its place since listing is refused (OSError)."""
        return open(path_of(listed.url), "rb", buffering=_BUFFER_BYTES, opener=_open_no_link)

    def close(self) -> None:
        """Nothing is held open."""


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
    """The entries of a folder by name, each with its source path; what a receiver is still writing is none."""
    with os.scandir(folder) as entries:
        found = sorted((e for e in entries if not e.name.startswith(PARTIAL)), key=lambda entry: entry.name)
    taken: set[str] = set()
    return iter([(entry, prefix + unique(clean(entry.name), taken)) for entry in found])


def _listed(name: str, path: str, status: os.stat_result) -> Listed:
    url = "file://" + quote_from_bytes(os.fsencode(path))
    return Listed(name, url, status.st_size, f"{status.st_mtime_ns}-{status.st_size}")


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
