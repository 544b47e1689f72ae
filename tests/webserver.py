"""A web server on loopback for tests: index pages, ranges, ETags, and faults on order.

Belongs here: serving bytes from memory, and misbehaving. Does not belong here: assertions.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from tests.serving import serving


@dataclass
class Web:
    """The server's content and orders. Paths have no leading slash; `asked` are (method, path, headers)."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    answers: list[int] = field(default_factory=list)  # status codes given instead, one a GET of a file
    cuts: list[int] = field(default_factory=list)  # body bytes after which the connection is cut, one a GET
    stated: dict[str, int] = field(default_factory=dict)  # path -> the length that GET claims
    redirects: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # path -> Repr-Digest
    login: str | None = None  # the Authorization header that is asked for
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A running server, over TLS with the context; its `url` ends in a slash."""
    web = Web()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    if tls is not None:  # the handshake is the handler's thread's, so that one caller does not block others
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as port:
        web.url = f"http{'s' if tls else ''}://127.0.0.1:{port}/"
        yield web


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._serve(has_body=False)

    def do_GET(self) -> None:
        self._serve(has_body=True)

    def _serve(self, *, has_body: bool) -> None:
        web, path = self.web, unquote(self.path.lstrip("/"), errors="surrogateescape")
        web.asked.append((self.command, path, dict(self.headers)))
        if web.login is not None and self.headers.get("Authorization") != web.login:
            return self._answer(401, b"", {})
        if path in web.redirects:
            return self._answer(302, b"", {"Location": web.redirects[path]})
        if path == "" or (path.endswith("/") and any(name.startswith(path) for name in web.files)):
            return self._answer(200, self._index(path), {"Content-Type": "text/html"})
        if path not in web.files:
            return self._answer(404, b"", {})
        if has_body and web.answers and (code := web.answers.pop(0)) != 200:
            return self._answer(code, b"", {"Retry-After": "0"})
        self._file(path, web.files[path], has_body=has_body)
        return None

    def _file(self, path: str, data: bytes, *, has_body: bool) -> None:
        web = self.web
        headers = {"Accept-Ranges": "bytes"} if web.ranges else {}
        if web.etags:
            headers["ETag"] = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        if path in web.digests:
            headers["Repr-Digest"] = web.digests[path]
        asked = self.headers.get("Range", "")
        if not has_body:
            self._answer(200, b"", {**headers, "Content-Length": str(len(data))})
        elif asked and web.ranges:
            start, stop = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            part = data[start : stop + 1]
            total = web.stated.get(path, len(data))
            self._answer(206, part, {**headers, "Content-Range": f"bytes {start}-{stop}/{total}"})
        else:
            self._answer(200, data, {**headers, "Content-Length": str(web.stated.get(path, len(data)))})

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.web.cuts.pop(0) if self.web.cuts and body and code in (200, 206) else None
        if self.command == "GET":
            self.web.sent += len(body[:cut])
            self.wfile.write(body[:cut])
        if cut is not None or int(headers.get("Content-Length", len(body))) != len(body):
            self.close_connection = True

    def _index(self, folder: str) -> bytes:
        names = {path.removeprefix(folder).partition("/") for path in self.web.files if path.startswith(folder)}
        links = [f'<a href="{quote(name, errors="surrogateescape")}{slash}">x</a>' for name, slash, _ in sorted(names)]
        extra = ['<a href="../">up</a>', '<a href="?C=N;O=D">Name</a>', '<a href="https://example.org/x">other</a>']
        return "<html>{}</html>".format("\n".join([*extra, *links])).encode()
