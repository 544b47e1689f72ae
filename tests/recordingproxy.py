"""An HTTP proxy on loopback that passes requests on unchanged and notes them, for tests of what a client sends or logs.

Belongs here: passing on and noting. Does not belong here: faults (`tests.faultproxy`), assertions.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.serving import serving


@dataclass
class Recorded:
    """Where the proxy is, and the method, path with query, and headers (names in lower case) of each request."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def recording_proxy(to: str, last_header: str = "") -> Iterator[Recorded]:
    """A proxy in front of the server at the URL `to`. The Host header stays the client's, which signatures cover.

    `last_header` is a line to add to the headers of each answer, as it is.
    """
    recorded = Recorded()
    handler = type("Handler", (_Handler,), {"recorded": recorded, "to": urlsplit(to).netloc, "last": last_header})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server) as port:
        recorded.url = f"http://127.0.0.1:{port}"
        yield recorded


class _Handler(BaseHTTPRequestHandler):
    recorded: Recorded
    to: str
    last: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        self.recorded.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        server = http.client.HTTPConnection(self.to, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders()
        answer = server.getresponse()
        body = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        if self.last:
            self.flush_headers()
            self.wfile.write(f"{self.last}\r\n".encode())
        self.end_headers()
        self.wfile.write(body)
        server.close()
