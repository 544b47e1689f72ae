"""A Prefect API of our own for the time of one run, where none is configured.

Belongs here: starting Prefect's server as a child process, waiting for it, stopping it. Does not belong here: a server
that stays (`flows.serve`, or a site's own). Prefect can do this itself, but only by importing its whole server into the
flow process, which costs two seconds of CPU and 100 MB (`python -X importtime -c "import prefect.server.api.server"`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Self

from oncurate.errors import StoreUnreachable

START_SECONDS = 120
"""A first start makes and migrates a database, which takes 6-16 s on two cores; slow machines get more."""
STOP_SECONDS = 15
EPHEMERAL = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "0"}
"""What Prefect sets for a server that only its own run uses: no UI, and only the services that recording runs needs."""

PR_SET_PDEATHSIG = 1
"""prctl(2)."""


class ApiServer:
    """Prefect's server on the loopback address; a context manager whose `url` is the API's."""

    def __init__(self) -> None:
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What PREFECT_API_URL must be for this server."""
        return f"http://127.0.0.1:{self._port}/api"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "flows.api_process", str(self._port)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **EPHEMERAL},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self._stop()
        raise StoreUnreachable("Prefect's server did not start; set PREFECT_API_URL to one that runs, or try again")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_parent() -> None:
    """On Linux, have this process end when the one that started it does, even if that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
