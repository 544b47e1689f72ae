"""A folder or file of an SSH server as a source.

Belongs here: logging in, listing, reading by ranges over SFTP. Does not belong here: anything with a shell. The host's
key must be known (`pull.known_hosts`, or the user's own file); an unknown or changed one is refused.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote, urlsplit

import paramiko

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.source_paths import clean, folder_prefix, unique
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again
from oncurate.sources.remote import RemoteSource
from oncurate.sources.settings import PullSettings, Selection

T = TypeVar("T")
_REQUEST_BYTES = 32_768
"""One SFTP read: what every server allows (draft-ietf-secsh-filexfer-02, section 3); many are sent ahead."""
_BROKEN = (EOFError, ConnectionError, TimeoutError, paramiko.SSHException)


class SftpSource(RemoteSource):
    """Every regular file below a path, by name folder by folder. Links are refused, as in local folders.

    Each thread has a channel of its own on one connection, as far as the server lets several be. A large file comes on
    one channel, many requests ahead: more would only compete for the processor that decrypts.
    """

    ranges_at_a_time = 1

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url.rstrip("/"), settings, selection)
        parts = urlsplit(self.url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 22, unquote(parts.path) or "/"
        self._local = threading.local()
        self._clients: list[paramiko.SSHClient] = []
        self._lock = threading.Lock()
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # it names paths

    def entries(self) -> Iterator[Listed]:
        """The files; `version` is made of modification time (s) and size."""
        try:
            status = self._ask(lambda sftp: sftp.stat(self._path))
        except FileNotFoundError:
            raise StoreUnreachable(f"the source {self.pace.name} has no such folder or file") from None
        except OSError:
            raise StoreUnreachable(f"the source {self.pace.name} does not let us in") from None
        if stat.S_ISDIR(status.st_mode or 0):
            yield from self._walk(self._path, "")
        else:
            yield self._listed(clean(self._path.rpartition("/")[2]), self._path, status)

    def open(self, listed: Listed) -> BinaryIO:
        """The file, if it still has the time and size that were listed."""
        path = unquote(urlsplit(listed.url).path)
        status = self._ask(lambda sftp: sftp.lstat(path))
        if _version(status) != listed.version or not stat.S_ISREG(status.st_mode or 0):
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "changed since it was listed")

        def fill(start: int, into: memoryview) -> None:
            if self._once(lambda sftp: _read(sftp, path, start, into)) != len(into):
                raise Again("breaks off its answers", cut=True)

        return self.ranged(fill, listed.bytes or 0)

    def close(self) -> None:
        super().close()
        for client in self._clients:
            client.close()

    def _walk(self, folder: str, prefix: str) -> Iterator[Listed]:
        try:
            found = sorted(self._ask(lambda sftp: sftp.listdir_attr(folder)), key=lambda entry: entry.filename)
        except OSError:
            yield Listed(prefix.rstrip("/") or clean(folder), "", 0, "", Reason.UNREADABLE_FILE)
            return
        taken: set[str] = set()
        for entry in found:
            name = prefix + unique(clean(entry.filename) or "?", taken)
            path = f"{folder.rstrip('/')}/{entry.filename}"
            if "/" in entry.filename or entry.filename in ("", ".", ".."):
                yield Listed(name, "", 0, "", Reason.UNSAFE_MEMBER)
            elif stat.S_ISDIR(entry.st_mode or 0):
                yield from self._walk(path, folder_prefix(name))
            elif stat.S_ISREG(entry.st_mode or 0):
                yield self._listed(name, path, entry)
            else:
                yield Listed(name, "", 0, str(entry.st_mtime), Reason.UNSAFE_MEMBER)

    def _listed(self, name: str, path: str, status: paramiko.SFTPAttributes) -> Listed:
        netloc = urlsplit(self.url).netloc
        return Listed(name, f"sftp://{netloc}{quote(path)}", status.st_size or 0, _version(status))

    def _ask(self, action: Callable[[paramiko.SFTPClient], T]) -> T:
        return self.pace.ask(lambda: self._once(action))

    def _once(self, action: Callable[[paramiko.SFTPClient], T]) -> T:
        try:
            return action(self._sftp())
        except paramiko.AuthenticationException:
            raise StoreUnreachable(f"the source {self.pace.name} refuses our credentials; see the key pull") from None
        except paramiko.BadHostKeyException:
            raise StoreUnreachable(f"the source {self.pace.name} shows another host key than the known one") from None
        except _BROKEN as error:
            self._local.sftp = None
            if "not found in known_hosts" in str(error):
                raise StoreUnreachable(f"the host key of {self.pace.name} is not known; see pull.known_hosts") from None
            raise Again("does not answer") from None
        except paramiko.ssh_exception.NoValidConnectionsError:
            raise Again("does not answer") from None

    def _sftp(self) -> paramiko.SFTPClient:
        """This thread's channel."""
        if getattr(self._local, "sftp", None) is None:
            with self._lock:
                if not self._clients or not _is_alive(self._clients[-1]):
                    self._clients.append(self._connected())
                try:
                    self._local.sftp = self._clients[-1].open_sftp()
                except paramiko.ChannelException:  # the server lets a connection have fewer
                    self._clients.append(self._connected())
                    self._local.sftp = self._clients[-1].open_sftp()
            self._local.sftp.get_channel().settimeout(self.settings.timeout_s)
        return self._local.sftp

    def _connected(self) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        if self.settings.known_hosts:
            client.load_host_keys(os.path.expanduser(self.settings.known_hosts))
        else:
            client.load_system_host_keys()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(self._host, self._port, **self._login())
        return client

    def _login(self) -> dict[str, Any]:
        basic = self.settings.basic()
        wait = self.settings.timeout_s
        login: dict[str, Any] = {"timeout": wait, "banner_timeout": wait, "auth_timeout": wait}
        if basic:
            login["username"] = basic[0]
            if basic[1]:
                login |= {"password": basic[1], "allow_agent": False, "look_for_keys": False}
        if self.settings.key_file_env:
            login |= {"key_filename": self.settings.key_file(), "allow_agent": False, "look_for_keys": False}
        return login


def _read(sftp: paramiko.SFTPClient, path: str, start: int, into: memoryview) -> int:
    """Read from `start` on into `into`; returns how many bytes came."""
    stop, count = start + len(into), 0
    with sftp.open(path, "rb") as file:
        for piece in file.readv([(at, min(_REQUEST_BYTES, stop - at)) for at in range(start, stop, _REQUEST_BYTES)]):
            if count + len(piece) > len(into):
                return count
            into[count : count + len(piece)] = piece
            count += len(piece)
    return count


def _is_alive(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _version(status: paramiko.SFTPAttributes) -> str:
    return f"{status.st_mtime}-{status.st_size}"
