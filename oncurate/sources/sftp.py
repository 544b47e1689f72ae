"""A folder or file of an SSH server as a source.

Belongs here: logging in, listing, reading by ranges over SFTP. Does not belong here: anything with a shell. The host's
key must be known (`pull.known_hosts`, or the user's own file); an unknown or changed one is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import asyncssh
from fsspec.asyn import get_loop

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.source_paths import clean, folder_prefix, unique
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again
from oncurate.sources.remote import RemoteSource
from oncurate.sources.settings import PullSettings, Selection

T = TypeVar("T")
_REQUEST_BYTES = 1 << 18
"""One SFTP read at most; a server may allow less (the extension limits@openssh.com says how much)."""
_CIPHERS = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"
"""First of the usual ones: processors have instructions for them."""
_GONE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_FOR_GOOD = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.SFTPInvalidFilename, asyncssh.SFTPLinkLoop)
_BROKEN = (asyncssh.Error, OSError, TimeoutError)


class SftpSource(RemoteSource):
    """Every regular file below a path, by name folder by folder. Links are refused, as in local folders.

    All requests share one connection, which is made anew where it breaks.
    """

    ranges_at_a_time = 2  # each is many requests that are sent at once; the second hides the end of the first

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url.rstrip("/"), settings, selection)
        parts = urlsplit(self.url)
        self._host, self._port = parts.hostname or "", parts.port or 22
        self._path = unquote_to_bytes(parts.path) or b"/"
        self._link = _Link(self._host, self._port, settings)
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL + 1)  # it names paths

    def entries(self) -> Iterator[Listed]:
        """The files; `version` is made of modification time (s) and size."""
        try:
            attributes = self._ask(lambda sftp: sftp.stat(self._path))
        except FileNotFoundError:
            raise StoreUnreachable(f"the source {self.pace.name} has no such folder or file") from None
        except PermissionError:
            raise StoreUnreachable(f"the source {self.pace.name} does not let us in") from None
        if stat.S_ISDIR(attributes.permissions or 0):
            yield from self._walk(self._path, "")
        else:
            yield self._listed(clean(os.fsdecode(self._path.rpartition(b"/")[2])), self._path, attributes)

    def open(self, listed: Listed) -> BinaryIO:
        """The file, if it still has the time and size that were listed."""
        path = unquote_to_bytes(urlsplit(listed.url).path)
        attributes = self._ask(lambda sftp: sftp.lstat(path))
        if _version(attributes) != listed.version or not stat.S_ISREG(attributes.permissions or 0):
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "changed since it was listed")
        wait = self.settings.timeout_s
        return self.ranged(
            lambda start, into: self._once(lambda sftp: _read(sftp, path, start, into, wait)), listed.bytes or 0
        )

    def close(self) -> None:
        super().close()
        self._link.close()

    def _walk(self, folder: bytes, prefix: str) -> Iterator[Listed]:
        try:
            found = sorted(self._ask(lambda sftp: sftp.readdir(folder)), key=lambda entry: _bytes(entry.filename))
        except OSError:
            yield Listed(prefix.rstrip("/") or clean(os.fsdecode(folder)), "", 0, "", Reason.UNREADABLE_FILE)
            return
        taken: set[str] = set()
        for entry in found:
            filename, mode = _bytes(entry.filename), entry.attrs.permissions or 0
            if filename in (b".", b".."):
                continue
            name = prefix + unique(clean(os.fsdecode(filename)) or "?", taken)
            path = folder.rstrip(b"/") + b"/" + filename
            if b"/" in filename or not filename:
                yield Listed(name, "", 0, "", Reason.UNSAFE_MEMBER)
            elif stat.S_ISDIR(mode):
                yield from self._walk(path, folder_prefix(name))
            elif stat.S_ISREG(mode):
                yield self._listed(name, path, entry.attrs)
            else:
                yield Listed(name, "", 0, str(entry.attrs.mtime), Reason.UNSAFE_MEMBER)

    def _listed(self, name: str, path: bytes, attributes: asyncssh.SFTPAttrs) -> Listed:
        netloc = urlsplit(self.url).netloc
        url = f"sftp://{netloc}{quote_from_bytes(path)}"
        return Listed(name, url, attributes.size or 0, _version(attributes))

    def _ask(self, action: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        """A short request, asked again where the connection breaks."""
        wait = self.settings.timeout_s
        return self.pace.ask(lambda: self._once(lambda sftp: asyncio.wait_for(action(sftp), wait)))

    def _once(self, action: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        try:
            return self._link.run(action)
        except asyncssh.PermissionDenied:
            raise StoreUnreachable(f"the source {self.pace.name} refuses our credentials; see the key pull") from None
        except asyncssh.HostKeyNotVerifiable:
            raise StoreUnreachable(
                f"the host key of {self.pace.name} is not known, or another than the known one; see pull.known_hosts"
            ) from None
        except _GONE:
            raise FileNotFoundError from None
        except _FOR_GOOD:
            raise PermissionError from None
        except _BROKEN:
            raise Again("does not answer") from None


class _Link:
    """The connection, in the thread in which fsspec runs what is asynchronous; safe between threads."""

    def __init__(self, host: str, port: int, settings: PullSettings) -> None:
        self._host, self._port, self._settings = host, port, settings
        self._loop: asyncio.AbstractEventLoop = get_loop()
        self._lock = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def run(self, action: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        """What the action comes to; raises what it raises."""

        async def run() -> T:
            client = await self._client()
            try:
                return await action(client)
            except (*_GONE, *_FOR_GOOD):
                raise
            except _BROKEN:
                if client is self._sftp:  # else another request has made a new connection since
                    self._drop()
                raise

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def close(self) -> None:
        """End the connection."""
        self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        """Give up the connection; the next request makes another."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()

    async def _client(self) -> asyncssh.SFTPClient:
        async with self._lock:
            if self._connection is not None and self._connection.is_closed():
                self._drop()
            if self._sftp is None:
                self._drop()
                self._connection = await asyncssh.connect(self._host, self._port, **self._options())
                self._sftp = await self._connection.start_sftp_client()
            return self._sftp

    def _options(self) -> dict[str, Any]:
        settings, wait = self._settings, self._settings.timeout_s
        options: dict[str, Any] = {
            "config": None,
            "connect_timeout": wait,
            "login_timeout": wait,
            "keepalive_interval": wait / 2,
            "keepalive_count_max": 2,
            "encryption_algs": _CIPHERS,
        }
        if settings.known_hosts:
            options["known_hosts"] = str(Path(settings.known_hosts).expanduser())
        basic = settings.basic()
        if basic:
            options["username"] = basic[0]
            if basic[1]:
                options |= {"password": basic[1], "client_keys": None, "agent_path": None}
        if settings.key_file_env:
            options |= {"client_keys": [settings.key_file()], "agent_path": None}
        return options


async def _read(sftp: asyncssh.SFTPClient, path: bytes, start: int, into: memoryview, wait_s: float) -> None:
    """The bytes from `start` on into all of `into`. Raises `Again` where they end early or none come for `wait_s`."""
    step = min(_REQUEST_BYTES, sftp.limits.max_read_len)
    came = 0

    async def piece(at: int, stop: int) -> None:
        nonlocal came
        while at < stop:
            data = _bytes(await file.read(stop - at, start + at))
            if not 0 < len(data) <= stop - at:
                raise Again("breaks off its answers", cut=True)
            into[at : at + len(data)] = data
            at += len(data)
            came += len(data)

    async with sftp.open(path, "rb", block_size=0) as file:
        pieces = [asyncio.ensure_future(piece(at, min(at + step, len(into)))) for at in range(0, len(into), step)]
        try:
            while pieces:
                before = came
                ended, waiting = await asyncio.wait(pieces, timeout=wait_s, return_when=asyncio.FIRST_EXCEPTION)
                for one in ended:
                    one.result()
                if waiting and came == before:
                    raise TimeoutError
                pieces = list(waiting)
        finally:
            for one in pieces:
                one.cancel()


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _version(attributes: asyncssh.SFTPAttrs) -> str:
    return f"{attributes.mtime}-{attributes.size}"
