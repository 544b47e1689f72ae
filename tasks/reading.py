"""Reading the bytes of one source object by URL, in a worker.

Belongs here: one way in for local files, read in place, and for stores. Does not belong here: what the bytes mean.
"""

from __future__ import annotations

from typing import BinaryIO

from oncurate.store import Store
from oncurate.store_local import path_of


def open_object(url: str) -> BinaryIO:
    """A seekable binary stream of the object; the caller closes it. FileNotFoundError if it has gone."""
    if url.startswith("file://"):
        return open(path_of(url), "rb")
    folder, _, name = url.rpartition("/")
    return Store(folder).open_read(name)


def read_object(url: str) -> bytes:
    """The whole object. FileNotFoundError if it has gone."""
    with open_object(url) as stream:
        return stream.read()
