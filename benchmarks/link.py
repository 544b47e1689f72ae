"""A link of a given rate between a client and a server on this machine: `python -m benchmarks.link HOST PORT MBIT_S`.

Belongs here: passing bytes on no quicker than the link would, all connections together, without latency. Does not
belong here: faults (`tests.faultproxy`), what is measured (`benchmarks.pull`).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from oncurate.sources.pace import Bucket

_PIECE_BYTES = 1 << 18
_SLACK_S = 0.005
"""How late a piece may be for the next ones to catch up: timers are not exact."""


@contextmanager
def link_to(host: str, port: int, megabits_per_s: int) -> Iterator[int]:
    """The port of a link to a server; it runs in a process of its own, so that it shares no interpreter."""
    command = [sys.executable, "-m", "benchmarks.link", host, str(port), str(megabits_per_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as link:
        try:
            assert link.stdout
            yield int(link.stdout.readline())
        finally:
            link.terminate()


def _pass_on(source: socket.socket, target: socket.socket, rate: Bucket | None) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    with suppress(OSError):
        while count := source.recv_into(buffer):
            if rate:
                rate.take(count)
            target.sendall(buffer[:count])
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _serve(host: str, port: int, megabits_per_s: int) -> None:
    rate = Bucket(megabits_per_s * 1e6 / 8, _SLACK_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, port))
            for way in ((client, server, None), (server, client, rate)):
                threading.Thread(target=_pass_on, args=way, daemon=True).start()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
