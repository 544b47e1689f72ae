"""Files of a web server as a source: one file, a directory listing, or a plain list of files.

Belongs here: HTTP: listings, ranges, redirects, which answers mean "later". Does not belong here: DICOMweb
(`oncurate.sources.dicomweb`). Only the URL's own host ever gets our credentials.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from itertools import islice
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import httpx

from oncurate import certificates
from oncurate.errors import Rejection, StoreUnreachable, UsageError
from oncurate.passing import CHUNK_BYTES, Bytes
from oncurate.reasons import Reason
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again
from oncurate.sources.remote import RemoteSource, name_of
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import FIRST_BYTES, Hash, Verified

PAGE_BYTES = 64 << 20
"""The longest listing that is read: some 500,000 links."""
_DEPTH = 32
_REDIRECTS = 5
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class WebSource(RemoteSource):
    """A URL that ends in "/" is a listing (the index page of a server), one in ".txt" a list of paths or URLs, one a
    line; anything else is one file. Size and version (ETag, or date) of each file come from a HEAD request.
    """

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url, settings, selection)
        parts = urlsplit(url)
        self._login = _login(settings)
        if self._login and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UsageError("credentials go over https:// only")
        self._base = url if url.endswith("/") else urljoin(url, ".")
        self._client = _client(settings, through_proxy=parts.hostname not in _LOOPBACK)

    def entries(self) -> Iterator[Listed]:
        """The files of the listing, by name folder by folder; links out of the listing's own folder are left out."""
        with ThreadPoolExecutor(self.settings.connections) as pool:
            links = self._links()
            while batch := list(islice(links, 64)):
                yield from pool.map(self._listed, batch)

    def open(self, listed: Listed) -> BinaryIO:
        """The file in the version that was listed; changed since, or of another length, it is refused."""
        size = listed.bytes
        if size is None or size <= FIRST_BYTES:
            return cast(BinaryIO, _Body(self, listed))
        whole: dict[str, Any] = {}

        def fill(start: int, into: memoryview) -> None:
            headers = self._fill(listed, start, into)
            whole.setdefault("headers", headers)

        try:
            self.pace.ask(lambda: fill(0, memoryview(bytearray(1))))
        except _NoRanges:
            return cast(BinaryIO, _Body(self, listed))
        return self.ranged(fill, size, _sums(whole["headers"]))

    def close(self) -> None:
        super().close()
        self._client.close()

    def request(self, method: str, url: str, headers: dict[str, str]) -> httpx.Response:
        """An answer whose body is still to be read. Raises `Again`, FileNotFoundError, PermissionError, `Rejection`."""
        for _ in range(_REDIRECTS):
            ours = _origin(url) == _origin(self.url)
            login = self._login if ours else {}
            try:
                answer = self._client.send(
                    self._client.build_request(method, url, headers={**headers, **login}), stream=True
                )
            except httpx.TransportError as error:
                if why := certificates.complaint(error):
                    raise StoreUnreachable(f"the source {self.pace.name} {why}") from None
                raise Again("does not answer") from None
            except httpx.InvalidURL:
                raise Rejection(Reason.REDIRECTED_ELSEWHERE) from None
            if not answer.is_redirect:
                return _checked(answer)
            answer.close()
            target = urldefrag(urljoin(url, answer.headers["Location"])).url
            parts = urlsplit(target)
            is_other = _origin(target) != _origin(self.url)
            if parts.scheme not in ("http", "https") or (is_other and (self._login or parts.scheme == "http")):
                raise Rejection(Reason.REDIRECTED_ELSEWHERE)
            url = target
        raise Rejection(Reason.REDIRECTED_ELSEWHERE, "redirects without end")

    def _fill(self, listed: Listed, start: int, into: memoryview) -> httpx.Headers:
        """The bytes from `start` on, of the version that was listed, with one request for a range."""
        answer = self.request("GET", listed.url, {"Range": f"bytes={start}-{start + len(into) - 1}"})
        with contextlib.closing(answer):
            if answer.status_code != 206:
                raise _NoRanges
            stated = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if stated not in (str(listed.bytes), "*") or _version(answer, listed.bytes) != listed.version:
                raise Rejection(Reason.TRANSFER_INCOMPLETE, "another length or version than was listed")
            at = 0
            try:
                for piece in answer.iter_raw():
                    if at + len(piece) > len(into):
                        raise Again("answers with more than was asked for", cut=True)
                    into[at : at + len(piece)] = piece
                    at += len(piece)
            except httpx.TransportError:
                raise Again("breaks off its answers", cut=True) from None
        if at != len(into):
            raise Again("breaks off its answers", cut=True)
        return answer.headers

    def _links(self) -> Iterator[str]:
        if self.url.endswith("/"):
            yield from self._index(self.url, 1)
        elif urlsplit(self.url).path.endswith(".txt"):
            for line in self._page(self.url)[1].splitlines():
                link = urldefrag(urljoin(self.url, line.strip())).url
                if line.strip() and _origin(link) == _origin(self.url):
                    yield link
        else:
            yield self.url

    def _index(self, url: str, depth: int) -> Iterator[str]:
        final, text = self._page(url)
        parser = _Links()
        parser.feed(text)
        found = {urldefrag(urljoin(final, link)).url for link in parser.links}
        for link in sorted(found):
            if not link.startswith(url) or link == url or urlsplit(link).query:
                continue
            if not link.endswith("/"):
                yield link
            elif depth < _DEPTH:
                yield from self._index(link, depth + 1)
            else:
                raise StoreUnreachable(f"the listing {self.pace.name} is nested deeper than {_DEPTH} folders")

    def _page(self, url: str) -> tuple[str, str]:
        try:
            final, data = self.pace.ask(lambda: self._read_page(url))
        except FileNotFoundError:
            raise StoreUnreachable(f"the source {self.pace.name} has no such listing") from None
        except PermissionError:
            raise StoreUnreachable(f"the source {self.pace.name} refuses our credentials; see the key pull") from None
        except Rejection as refused:
            raise StoreUnreachable(f"the listing of {self.pace.name} cannot be read: {refused.reason.value}") from None
        if len(data) > PAGE_BYTES:
            raise StoreUnreachable(f"the listing of {self.pace.name} is longer than {PAGE_BYTES >> 20} MiB")
        return final, data.decode("utf-8", "replace")

    def _read_page(self, url: str) -> tuple[str, bytearray]:
        """Where redirects led, and the page, cut a little behind `PAGE_BYTES`."""
        data = bytearray()
        with contextlib.closing(self.request("GET", url, {})) as answer:
            try:
                for piece in answer.iter_raw(CHUNK_BYTES):
                    data += piece
                    if len(data) > PAGE_BYTES:
                        break
            except httpx.TransportError:
                raise Again("breaks off its answers", cut=True) from None
        return str(answer.url), data

    def _listed(self, link: str) -> Listed:
        relative = link.removeprefix(self._base) if link.startswith(self._base) else urlsplit(link).path.lstrip("/")
        name, reason = name_of(unquote(relative, errors="surrogateescape"))
        if reason:
            return Listed(name, link, 0, "", reason)
        try:
            answer = self.pace.ask(lambda: self._head(link))
        except FileNotFoundError:
            if link == self.url:
                raise StoreUnreachable(f"the source {self.pace.name} has no such file") from None
            return Listed(name, link, 0, "", Reason.UNREADABLE_FILE)
        except PermissionError:
            if link == self.url:
                raise StoreUnreachable(f"the source {self.pace.name} refuses our credentials; see pull") from None
            return Listed(name, link, 0, "", Reason.UNREADABLE_FILE)
        except Rejection as refused:
            return Listed(name, link, 0, "", refused.reason)
        length = answer.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
        return Listed(name, link, size, _version(answer, size))

    def _head(self, url: str) -> httpx.Response:
        answer = self.request("HEAD", url, {})
        answer.close()
        return answer


class _NoRanges(Exception):
    """The server answers a request for a range with the whole file."""


class _Body(io.RawIOBase):
    """One answer as a verified forward-only stream; broken off, it is asked for again and read up to where we were."""

    def __init__(self, source: WebSource, listed: Listed) -> None:
        self._source, self._listed, self._at = source, listed, 0
        self._rest = memoryview(b"")
        self._pieces: Iterator[bytes] = iter(())
        self._answer: httpx.Response | None = None
        self._breaks = 0
        self._start()
        assert self._answer is not None
        self._checked = Verified(cast(Any, _Raw(self)), listed.bytes, _sums(self._answer.headers))

    def readable(self) -> bool:
        return True

    def some(self, count: int) -> Bytes:
        """The next bytes, up to `count`; none at the end."""
        return self._checked.some(count)

    def readinto(self, buffer: Any) -> int:
        return self._checked.readinto(buffer)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()

    def take(self, count: int) -> memoryview:
        """As `some`, of the answer as it comes."""
        while not self._rest:
            try:
                self._rest = memoryview(next(self._pieces, b""))
            except httpx.TransportError:
                self._go_on()
                continue
            if not self._rest:
                return self._rest
            self._source.pace.spend(len(self._rest))
        piece, self._rest = self._rest[:count], self._rest[count:]
        self._at += len(piece)
        return piece

    def _go_on(self) -> None:
        self._breaks += 1
        if self._breaks >= self._source.settings.retries.attempts or not self._listed.version:
            raise Rejection(Reason.TRANSFER_INCOMPLETE)

        def again() -> None:
            self._start()
            skip = self._at
            try:
                while skip > 0 and (piece := next(self._pieces, b"")):
                    self._rest = memoryview(piece)[skip:]
                    skip -= len(piece)
            except httpx.TransportError:
                raise Again("breaks off its answers", cut=True) from None

        self._source.pace.ask(again)

    def _start(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer = self._source.pace.ask(lambda: self._source.request("GET", self._listed.url, {}))
        length = self._answer.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
        if self._listed.bytes is not None and size not in (None, self._listed.bytes):
            self._answer.close()
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "another length than was listed")
        if _version(self._answer, self._listed.bytes) != self._listed.version:
            self._answer.close()
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "changed since it was listed")
        self._pieces, self._rest = self._answer.iter_raw(), memoryview(b"")


class _Raw:
    """What `Verified` reads from."""

    def __init__(self, body: _Body) -> None:
        self.some = body.take

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The body is closed by its owner."""


class _Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _checked(answer: httpx.Response) -> httpx.Response:
    code = answer.status_code
    if code < 300:
        return answer
    answer.close()
    if code in _LATER:
        raise Again(f"answers with status {code}", _wait(answer.headers.get("Retry-After", "")))
    if code in (404, 410):
        raise FileNotFoundError(code, "no such file")
    raise PermissionError(code, "refused")


def _wait(text: str) -> float | None:
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return parts.scheme, None, None


def _version(answer: httpx.Response, size: int | None) -> str:
    """The strong ETag, else date and length; empty where the server states neither."""
    etag = answer.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag.strip('"')
    date = answer.headers.get("Last-Modified", "")
    return f"{date} {size}" if date else ""


def _sums(headers: httpx.Headers) -> list[tuple[Hash, str]]:
    """The SHA-256 of the whole file that the server states (RFC 9530 Repr-Digest, RFC 3230 Digest)."""
    for name, form in (("Repr-Digest", r"sha-256=:([^:]+):"), ("Digest", r"(?i:sha-256)=([^,\s]+)")):
        found = re.search(form, headers.get(name, ""))
        if found:
            try:
                return [(hashlib.sha256(), base64.b64decode(found[1], validate=True).hex())]
            except binascii.Error:
                continue
    return []


def _client(settings: PullSettings, *, through_proxy: bool) -> httpx.Client:
    """`through_proxy`: through the one that the standard variables name, if they name one."""
    try:
        return httpx.Client(
            verify=certificates.client_tls(settings.ca_file, settings.client_cert, settings.client_key),
            timeout=settings.timeout_s,
            trust_env=through_proxy,
            limits=httpx.Limits(max_connections=settings.connections + 2),
            headers={"Accept-Encoding": "identity", "User-Agent": "oncurate"},
        )
    except (ImportError, ValueError, httpx.InvalidURL):  # SOCKS needs a package more; a proxy's URL holds its password
        raise UsageError("the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used") from None


def _login(settings: PullSettings) -> dict[str, str]:
    token, basic = settings.token(), settings.basic()
    if token:
        return {"Authorization": f"Bearer {token}"}
    if basic:
        return {"Authorization": "Basic " + base64.b64encode(":".join(basic).encode()).decode()}
    return {}
