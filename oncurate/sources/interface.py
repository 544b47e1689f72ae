"""What a source is: the one interface that folders, buckets, servers and PACS share, and the register of schemes.

Belongs here: `Source`, `Listed`, `source_of`. Does not belong here: any source (one module each), retries and rates
(`oncurate.sources.pace`), what happens to the bytes (`oncurate.sources.taking`).

Adding a source: a module with a class that has this interface and takes (url, settings, selection), a line in
`_SCHEMES`, and a case in tests/sources_suite.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol, runtime_checkable

from oncurate.errors import UsageError
from oncurate.reasons import Reason
from oncurate.sources.settings import PullSettings, Selection

__all__ = ["Describing", "Expecting", "Listed", "PullSettings", "Remembering", "Selection", "Source", "source_of"]


@dataclass(frozen=True)
class Listed:
    """One file that a source holds; `reason` is set where listing alone refuses it.

    `source_path` is its name in the ledger, unique in the source. `url` is what `Source.open` needs, without
    credentials. `bytes` is None where the source does not say. `version` changes when the file does; empty where the
    source cannot tell, so that the file is read at every pull. Files of one `group` (a series) are taken by one worker,
    one after the other.
    """

    source_path: str
    url: str
    bytes: int | None
    version: str
    reason: Reason | None = None
    group: str = ""


class Source(Protocol):
    """A provider's archive. Not shared between processes; `open` may be called from several threads at a time."""

    url: str
    selects: bool
    """Whether `entries` lists only what the selection wants, as the server was asked so."""
    connections: int
    """How many files may be open at a time; 1 where files of a group come together."""

    def entries(self) -> Iterator[Listed]:
        """Every file, streamed, in an order that depends on the names alone. Cheap: no file is opened.

        Raises `StoreUnreachable` where the source is not there, does not let us in, or fails after retries.
        """
        ...

    def open(self, listed: Listed) -> BinaryIO:
        """The file's bytes as a stream, seekable or forward-only.

        Reading it to its end raises `Rejection` (TRANSFER_INCOMPLETE, CHECKSUM_MISMATCH) where length or checksum are
        not what the source said: never a silently short read. FileNotFoundError where the file is gone,
        `StoreUnreachable` where the source is.
        """
        ...

    def close(self) -> None:
        """End connections."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A source that need not ask for what it can see to be unchanged (a series by its instance count)."""

    def remember(self, known: Iterable[Listed]) -> None:
        """What the last pull has, before `entries` is called; `entries` still yields every file.

        `url` is empty and `bytes` the size: the last pull keeps where its copies are, which is still so for all of
        these.
        """
        ...


@runtime_checkable
class Expecting(Protocol):
    """A source that fetches several files with one request, if it knows which are wanted."""

    def expect(self, listed: Iterable[Listed]) -> None:
        """What will be opened, in this order, before the first is."""
        ...


@runtime_checkable
class Describing(Protocol):
    """A source that knows the modality of what it lists without opening it."""

    def modality_of(self, listed: Listed) -> str | None:
        """Modality (0008,0060) of a file that `entries` just gave; None where it is not known."""
        ...


_SCHEMES = {
    "": "oncurate.sources.folder:FolderSource",
    "file": "oncurate.sources.folder:FolderSource",
    "s3": "oncurate.sources.bucket:BucketSource",
    "https": "oncurate.sources.web:WebSource",
    "http": "oncurate.sources.web:WebSource",
    "sftp": "oncurate.sources.sftp:SftpSource",
    "dicomweb+https": "oncurate.sources.dicomweb:DicomwebSource",
    "dicomweb+http": "oncurate.sources.dicomweb:DicomwebSource",
    "dimse": "oncurate.sources.dimse:DimseSource",
}
SCHEMES = tuple(scheme for scheme in _SCHEMES if scheme)


def source_of(url: str, settings: PullSettings | None = None, selection: Selection | None = None) -> Source:
    """The source behind a URL or path. `UsageError` for a scheme that there is no source for."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in _SCHEMES:
        raise UsageError(f"no source is called {scheme}://; there are {', '.join(f'{s}://' for s in SCHEMES)}")
    module, _, name = _SCHEMES[scheme].partition(":")
    return getattr(import_module(module), name)(url, settings or PullSettings(), selection or Selection())
