"""A DICOMweb server as a source: QIDO-RS to find, WADO-RS to fetch each instance as it is stored (DICOM PS3.18).

Belongs here: pages of results, the JSON of rows, whole answers only. Does not belong here: HTTP itself, logins and
redirects (`oncurate.sources.web`), which instances are wanted (`oncurate.sources.pacs`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydicom.datadict import tag_for_keyword

from oncurate.archives import SPOOL_BYTES
from oncurate.errors import Rejection, StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.sources.interface import Listed
from oncurate.sources.multipart import boundary_of, copy_part
from oncurate.sources.pace import Again, Pace
from oncurate.sources.pacs import KEY_OF, RETURNED, Level, QuerySource
from oncurate.sources.questions import Row
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import CHUNK_BYTES
from oncurate.sources.web import PAGE_BYTES, WebSource

PAGE_ROWS = 1000
"""Rows of one query that are asked for; a server may give fewer, or all."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JSON = "application/dicom+json"
_PREFIX = "dicomweb+"


class DicomwebSource(QuerySource):
    """The instances of a server: `dicomweb+https://host/root`, without TLS (`dicomweb+http://`) on loopback only."""

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url, selection)
        parts = urlsplit(self.url)
        if parts.scheme == f"{_PREFIX}http" and parts.hostname not in _LOOPBACK:
            raise UsageError("images do not travel without TLS: use dicomweb+https://")
        _hush()
        self._web = WebSource(self.url.removeprefix(_PREFIX), settings, Selection())
        self.connections = settings.connections

    @property
    def pace(self) -> Pace:
        """How the server may be asked."""
        return self._web.pace

    def open(self, listed: Listed) -> BinaryIO:
        """The instance as the server stores it, in its transfer syntax, seekable; whole, or `Rejection`."""
        try:
            return self.pace.ask(lambda: self._fetch(listed))
        except StoreUnreachable:
            if not self._answers():
                raise
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "the server answers, but not for this instance") from None

    def close(self) -> None:
        """End connections."""
        self._web.close()

    def find(self, level: Level, match: Mapping[str, str], expected: int | None = None) -> Iterator[Row]:
        """The rows of a query, page by page: ends at an empty page, one without news, or when all expected are there.

        So neither a server that ignores limit and offset nor one that gives fewer than asked loses or repeats a row.
        """
        seen: set[str] = set()
        offset = 0
        while expected is None or len(seen) < expected:
            page = self._page(level, match, offset)
            news = 0
            for row in page:
                key = row.get(KEY_OF[level], "")
                if key not in seen:
                    seen.add(key)
                    news += 1
                    yield row
            if not news:
                return
            offset += len(page)

    def url_of(self, study: str, series: str, row: Row) -> str:
        """The URL of one instance."""
        instance = quote(row["SOPInstanceUID"], safe="")
        return f"{self.url}/studies/{quote(study)}/series/{quote(series)}/instances/{instance}"

    def _page(self, level: Level, match: Mapping[str, str], offset: int) -> list[Row]:
        path, rest = _resource(level, match)
        fields = [("includefield", keyword) for keyword in RETURNED[level]]
        query = urlencode([*rest.items(), *fields, ("limit", str(PAGE_ROWS)), ("offset", str(offset))])
        try:
            return self.pace.ask(lambda: self._rows(f"{self.url.removeprefix(_PREFIX)}/{path}?{query}"))
        except FileNotFoundError:
            if level == "STUDY":
                raise StoreUnreachable(f"the source {self.pace.name} has no DICOMweb service at that path") from None
            return []  # gone since the level above was listed, or a server that says so of an empty page
        except PermissionError as refused:
            raise StoreUnreachable(_refusal(self.pace.name, refused.errno)) from None
        except Rejection as refused:
            raise StoreUnreachable(f"the source {self.pace.name} cannot be listed: {refused.reason.value}") from None

    def _rows(self, url: str) -> list[Row]:
        with contextlib.closing(self._web.request("GET", url, {"Accept": _JSON})) as answer:
            text = bytearray()
            try:
                for piece in answer.iter_bytes(CHUNK_BYTES):
                    text += piece
                    if len(text) > PAGE_BYTES:
                        raise StoreUnreachable(f"a page of {self.pace.name} is longer than {PAGE_BYTES >> 20} MiB")
            except httpx.RequestError:
                raise Again("breaks off its answers") from None
        if not text.strip():
            return []
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise Again("answers a query with something else than DICOM JSON") from None
        if not isinstance(found, list):
            raise Again("answers a query with something else than DICOM JSON")
        return [row_of(item) for item in found if isinstance(item, dict)]

    def _fetch(self, listed: Listed) -> BinaryIO:
        file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # the reader closes it
        try:
            with contextlib.closing(self._request(listed)) as answer:
                self._copy(answer, file.write)
        except httpx.RequestError:
            file.close()
            raise Again("breaks off its answers", cut=True) from None
        except Rejection as cut:
            file.close()
            if cut.reason is Reason.TRANSFER_INCOMPLETE:
                raise Again("breaks off its answers", cut=True) from None
            raise
        except (OSError, Again):
            file.close()
            raise
        file.seek(0)
        return cast(BinaryIO, file)

    def _request(self, listed: Listed) -> httpx.Response:
        return self._web.request("GET", listed.url.removeprefix(_PREFIX), {"Accept": _AS_STORED})

    def _copy(self, answer: httpx.Response, write: Any) -> None:
        boundary = boundary_of(answer.headers.get("Content-Type", ""))
        pieces = self._paced(answer)
        if boundary is not None:
            copy_part(pieces, boundary, write)
            return
        has_end = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
        if not has_end or not answer.headers.get("Content-Type", "").startswith("application/dicom"):
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "neither multipart nor of a stated length")
        for piece in pieces:
            write(piece)

    def _paced(self, answer: httpx.Response) -> Iterator[bytes]:
        for piece in answer.iter_bytes(CHUNK_BYTES):
            self.pace.spend(len(piece))
            yield piece

    def _answers(self) -> bool:
        """Whether the server still answers a query."""
        try:
            self._rows(f"{self.url.removeprefix(_PREFIX)}/studies?limit=1")
        except (Again, OSError, Rejection, StoreUnreachable):
            return False
        return True


def row_of(item: Mapping[str, Any]) -> dict[str, str]:
    """One result in DICOM JSON (PS3.18 F) as a row of what is asked for; what is malformed is left out."""
    row = {}
    for tag, keyword in _KEYWORDS.items():
        element = item.get(tag)
        values = element.get("Value") if isinstance(element, dict) else None
        if isinstance(values, list):
            row[keyword] = "\\".join(_text(value) for value in values)
    return row


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else ""


def _resource(level: Level, match: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The path of a query below the service, and the conditions that remain."""
    rest = dict(match)
    path = "studies"
    if level != "STUDY":
        path += f"/{quote(rest.pop('StudyInstanceUID'), safe='')}/series"
    if level == "IMAGE":
        path += f"/{quote(rest.pop('SeriesInstanceUID'), safe='')}/instances"
    return path, rest


def _refusal(name: str, status: int | None) -> str:
    if status in (401, 403):
        return f"the source {name} refuses our credentials: see user_env or token_env of the key pull"
    return f"the source {name} refuses the query with status {status}"


def _hush() -> None:
    """Silence the loggers of the HTTP library in this process: they write URLs, which hold UIDs and patient ids."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return f"{tag:08X}"


_KEYWORDS = {_tag(keyword): keyword for keywords in RETURNED.values() for keyword in keywords}
