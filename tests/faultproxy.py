"""A TCP proxy on loopback that misbehaves: cuts connections, slows them down, lets none in.

Belongs here: passing bytes on, or not. Does not belong here: protocols, assertions.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Orders to the proxy; `passed` counts the bytes that went from server to client."""

    port: int
    cuts: list[int] = field(default_factory=list)  # bytes of answers after which a connection is cut, one each
    bytes_per_s: float | None = None
    refuses: int = 0  # connections that are closed at once
    passed: int = 0
    connections: int = 0


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """A proxy in front of a server."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1])

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                proxy.connections += 1
                if proxy.refuses:
                    proxy.refuses -= 1
                    client.close()
                    continue
                server = socket.create_connection((host, port))
                cut = proxy.cuts.pop(0) if proxy.cuts else None
                threading.Thread(target=_pass, args=(client, server), daemon=True).start()
                threading.Thread(target=_answer, args=(proxy, server, client, cut), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    _end(source, target)


def _answer(proxy: Proxy, source: socket.socket, target: socket.socket, cut: int | None) -> None:
    count = 0
    with suppress(OSError):
        while (cut is None or count < cut) and (data := source.recv(1 << 16)):
            piece = data if cut is None else data[: cut - count]
            if proxy.bytes_per_s:
                time.sleep(len(piece) / proxy.bytes_per_s)
            target.sendall(piece)
            count += len(piece)
            proxy.passed += len(piece)
    _end(source, target)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
