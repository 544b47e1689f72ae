"""A DICOMweb server on loopback that misbehaves on order: pages, statuses, cuts, wrong lengths, redirects.

Belongs here: QIDO-RS and WADO-RS over instances in memory, and faults. Does not belong here: assertions; what a sound
server does is tested against a real one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.serving import serving

BOUNDARY = "made-boundary"


@dataclass
class Server:
    """Content and orders. `asked` are (path, query, headers)."""

    files: dict[str, bytes] = field(default_factory=dict)  # SOP Instance UID -> file
    ignores_paging: bool = False
    page_at_most: int | None = None
    ignores_conditions: bool = False
    counts: int = 0  # added to the counts that series state
    statuses: list[int] = field(default_factory=list)  # given to requests, one each, before they are served
    broken: set[str] = field(default_factory=set)  # instances that are answered with status 500
    bodies: list[str] = field(default_factory=list)  # faults of instance bodies, one each: see `_spoilt`
    redirect: str | None = None  # where instances are sent to
    login: str | None = None
    asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.port}/dicom-web"

    def put(self, *files: bytes) -> None:
        """Store DICOM files."""
        for data in files:
            self.files[str(_header(data).SOPInstanceUID)] = data

    def queries(self) -> list[str]:
        """The paths that were asked for, without those of single instances."""
        return [path for path, _, _ in self.asked if "/instances/" not in path]


@contextmanager
def dicomweb_server() -> Iterator[Server]:
    """A running, empty server."""
    orders = Server()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"orders": orders}))
    with serving(server) as orders.port:
        yield orders


class _Handler(BaseHTTPRequestHandler):
    orders: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix("/dicom-web/"), parse_qs(parts.query)
        self.orders.asked.append((path, query, dict(self.headers)))
        if self.orders.login is not None and self.headers.get("Authorization") != self.orders.login:
            self._answer(401, b"", {})
        elif self.orders.statuses and (status := self.orders.statuses.pop(0)) != 200:
            self._answer(status, b"", {"Retry-After": "0"})
        elif "/instances/" in path:
            self._instance(path.rpartition("/")[2])
        else:
            self._answer(200, json.dumps(self._page(path, query)).encode(), {"Content-Type": "application/dicom+json"})

    def _page(self, path: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        parts = path.split("/")
        headers = [_header(data) for data in self.orders.files.values()]
        if len(parts) > 1:
            headers = [ds for ds in headers if ds.StudyInstanceUID == parts[1]]
        if len(parts) > 3:
            headers = [ds for ds in headers if ds.SeriesInstanceUID == parts[3]]
        if not self.orders.ignores_conditions:
            for keyword in ("PatientID", "AccessionNumber"):
                headers = [ds for ds in headers if keyword not in query or ds.get(keyword) == query[keyword][0]]
        key = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}[parts[-1]]
        rows = {str(ds[key].value): self._row(ds, headers) for ds in headers}
        found = [rows[uid] for uid in sorted(rows)]
        if self.orders.ignores_paging:
            return found
        limit, offset = int(query["limit"][0]), int(query.get("offset", ["0"])[0])
        return found[offset : offset + min(limit, self.orders.page_at_most or limit)]

    def _row(self, ds: Dataset, all_of: list[Dataset]) -> dict[str, Any]:
        small = Dataset()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"):
            setattr(small, keyword, ds.get(keyword))
        for keyword in ("StudyDate", "PatientID", "AccessionNumber", "SeriesDescription", "InstanceNumber"):
            setattr(small, keyword, ds.get(keyword))
        siblings = sum(other.SeriesInstanceUID == ds.SeriesInstanceUID for other in all_of)
        small.NumberOfSeriesRelatedInstances = siblings + self.orders.counts
        return small.to_json_dict()

    def _instance(self, uid: str) -> None:
        if self.orders.redirect:
            return self._answer(302, b"", {"Location": self.orders.redirect})
        if uid not in self.orders.files:
            return self._answer(404, b"", {})
        if uid in self.orders.broken:
            return self._answer(500, b"", {})
        data = self.orders.files[uid]
        fault = self.orders.bodies.pop(0) if self.orders.bodies else ""
        kind, body, length = _spoilt(data, fault)
        self._answer(200, body, {"Content-Type": kind, "Content-Length": str(length)})
        return None

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = int(headers.get("Content-Length", len(body))) != len(body)


def multipart(data: bytes, stated: int | None = None, closing: bytes = b"--") -> bytes:
    """A multipart body with one part."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {stated or len(data)}\r\n\r\n"
    return head.encode() + data + f"\r\n--{BOUNDARY}".encode() + closing


def _spoilt(data: bytes, fault: str) -> tuple[str, bytes, int]:
    """Content type, body and stated length of an instance with a fault."""
    kind, body = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', multipart(data)
    if fault == "cut":  # the connection ends before the stated length
        return kind, body[: len(body) // 2], len(body)
    if fault == "truncated":  # the length fits, the closing boundary is not there
        return kind, body[: len(body) // 2], len(body) // 2
    if fault == "short length":  # the stated length cuts the body
        return kind, body, len(body) - 100
    if fault == "long length":
        return kind, body, len(body) + 100
    if fault == "part length":
        body = multipart(data, len(data) + 2)
    elif fault == "two parts":
        body = multipart(data, closing=b"\r\n\r\n") + multipart(data)
    elif fault == "html":
        kind, body = "text/html", b"<html>please log in</html>"
    elif fault == "plain":  # sound: a server may leave out the multipart around one instance
        kind, body = "application/dicom", data
    return kind, body, len(body)


def _header(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data), stop_before_pixels=True)
