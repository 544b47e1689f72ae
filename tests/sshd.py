"""A real SSH server for the tests: OpenSSH on loopback, which lets one key in.

Belongs here: its configuration, start and end. Does not belong here: assertions. Debian: openssh-server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import asyncssh

from flows.s3server import free_ports
from tests.pacs import SBIN, missing

_READY_S = 20.0
_SEPARATION = Path("/run/sshd")
"""Where a server that root starts locks itself in before anybody is let in; it must be there."""


@dataclass(frozen=True)
class Sshd:
    """Where the server is, whose files it serves, the key that opens it, and the file of hosts that holds its own."""

    port: int
    user: str
    key_file: Path
    known_hosts: Path

    def url(self, path: Path) -> str:
        """The URL of a file or folder of this machine."""
        return f"sftp://127.0.0.1:{self.port}{path}"


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """A running server of this machine's files; what it needs is written to `folder`."""
    program = shutil.which("sshd", path=SBIN)
    if program is None:
        missing("no sshd here: install Debian's openssh-server")
    assert program is not None
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nPidFile none\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        _SEPARATION.mkdir(mode=0o755, exist_ok=True)
    command = [program, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    with subprocess.Popen(command) as process:
        try:
            _wait(port)
            yield Sshd(port, getuser(), folder / "user", folder / "known")
        finally:
            process.terminate()


def _wait(port: int) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.05)
    raise TimeoutError("sshd does not answer")
