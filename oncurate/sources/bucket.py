"""A bucket and prefix of an S3 server as a source.

Belongs here: listing pages and versions, ranged requests, what ETags and checksums say. Does not belong here: zones on
S3 (`oncurate.store_s3`). Who we are and where S3 is say the standard AWS variables; `pull.endpoint` names another
server.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from botocore.exceptions import ClientError, FlexibleChecksumError, IncompleteReadError, ResponseStreamingError
from s3fs.errors import translate_boto_error
from urllib3.exceptions import HTTPError as BodyError

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources.checksums import MultipartMd5, etag_sum, parts_of, stated_sum
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again
from oncurate.sources.remote import RemoteSource, name_of
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import FIRST_BYTES, PART_BYTES, Verified
from oncurate.store_s3 import S3Root, client, error_code

T = TypeVar("T")

_PIECE_BYTES = 1 << 20
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "503", "429", "TooManyRequests", "RequestLimitExceeded"})
_CHANGED = frozenset({"PreconditionFailed", "412"})
_BROKEN_OFF = (IncompleteReadError, ResponseStreamingError, BodyError)


class BucketSource(RemoteSource):
    """Every object below a prefix (or the object of that very key), in the order of keys in UTF-8, as S3 lists them."""

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url.rstrip("/"), settings, selection)
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        self._bucket, self._prefix = bucket, prefix
        self._root = S3Root(bucket, prefix)
        self._client = client(settings.endpoint)
        self._payer = {"RequestPayer": "requester"} if settings.requester_pays else {}
        for name in ("botocore", "urllib3"):  # they name keys
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    def entries(self) -> Iterator[Listed]:
        """The objects, page by page; consoles' "folders" are left out, delete markers too."""
        found = False
        for item in self._items(self._prefix and self._prefix + "/"):
            found = True
            yield self._listed(item, len(self._prefix) + 1 if self._prefix else 0)
        if found:
            return
        for item in self._items(self._prefix) if self._prefix else ():
            if item["Key"] == self._prefix:
                found = True
                yield self._listed(item, self._prefix.rfind("/") + 1)
            else:
                break
        if not found:
            raise StoreUnreachable(f"the source {self.url} does not exist or is empty")

    def open(self, listed: Listed) -> BinaryIO:
        """The object in the version that was listed; changed since, it is refused (TRANSFER_INCOMPLETE)."""
        url = urlsplit(listed.url)
        key, version = unquote(url.path.lstrip("/")), parse_qs(url.query).get("versionId", [None])[0]
        etag = listed.version.partition(" ")[0]
        which: dict[str, Any] = {"Key": key, **self._payer, **({"VersionId": version} if version else {})}
        size = listed.bytes or 0
        if size <= FIRST_BYTES:
            answer, data = self.pace.ask(
                lambda: self._get({"IfMatch": f'"{etag}"', "ChecksumMode": "ENABLED", **which})
            )
            self.pace.spend(len(data))
            found = stated_sum(answer) or etag_sum(answer, etag)
            return cast(BinaryIO, Verified(io.BytesIO(data), size, [found] if found else []))
        head = self._ask("head_object", ChecksumMode="ENABLED", **which)
        if head["ETag"].strip('"') != etag or head["ContentLength"] != size:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "changed since it was listed")
        found = stated_sum(head) or etag_sum(head, etag)
        parts = None if found else self._md5_of_parts(head, etag, which)

        def fill(start: int, into: memoryview) -> None:
            self._fill({"Range": f"bytes={start}-{start + len(into) - 1}", "IfMatch": f'"{etag}"', **which}, into)
            if parts:
                parts.note(start, into)

        if parts is None:
            return self.ranged(fill, size, [found] if found else [])
        return self.ranged(fill, size, [(parts, etag)], PART_BYTES // parts.part_bytes * parts.part_bytes)

    def _md5_of_parts(self, head: dict[str, Any], etag: str, which: dict[str, Any]) -> MultipartMd5 | None:
        """What the ETag is made of, where the server tells the parts' size and they are all of it but the last."""
        count, size = parts_of(head, etag), head["ContentLength"]
        if count is None:
            return None
        first = self._ask("head_object", PartNumber=1, **which)
        part = first["ContentLength"]
        if first.get("PartsCount", 1 if count == 1 else None) != count or not (count - 1) * part < size <= count * part:
            return None
        last = self._ask("head_object", PartNumber=count, **which)["ContentLength"]
        return MultipartMd5(part, size) if last == size - (count - 1) * part else None

    def _items(self, prefix: str) -> Iterator[dict[str, Any]]:
        is_all = self.settings.versions == "all"
        method = "list_object_versions" if is_all else "list_objects_v2"
        more: dict[str, str] = {}
        while True:
            try:
                page = self._ask(method, Prefix=prefix, **more, **self._payer)
            except FileNotFoundError:
                raise StoreUnreachable(f"the source {self.url} cannot be listed: is that an S3 server?") from None
            for item in page.get("Versions" if is_all else "Contents", ()):
                if not item["Key"].endswith("/"):
                    yield item
            if not page.get("IsTruncated"):
                return
            if is_all:
                more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
            else:
                more = {"ContinuationToken": page["NextContinuationToken"]}

    def _listed(self, item: dict[str, Any], cut: int) -> Listed:
        name, reason = name_of(item["Key"][cut:])
        url = f"s3://{self._bucket}/{quote(item['Key'])}"
        version = item["ETag"].strip('"')
        if "VersionId" in item:
            name, url = f"{name}@{item['VersionId']}", f"{url}?versionId={quote(item['VersionId'], safe='')}"
            version = f"{version} {item['VersionId']}"
        return Listed(name, url, item["Size"], version, reason)

    def _get(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        def get() -> tuple[dict[str, Any], bytes]:
            answer = self._client.get_object(Bucket=self._bucket, **arguments)
            with closing(answer["Body"]) as body:
                return answer, body.read()

        return self._translated(get)

    def _fill(self, arguments: dict[str, Any], into: memoryview) -> None:
        def fill() -> None:
            with closing(self._client.get_object(Bucket=self._bucket, **arguments)["Body"]) as body:
                at = 0
                while piece := body.readinto(into[at : at + _PIECE_BYTES]):
                    at += piece
                if at < len(into):
                    raise Again("breaks off its answers", cut=True)
                if body.read(1):
                    raise Again("answers with more than was asked for", cut=True)

        self._translated(fill)

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        return self.pace.ask(
            lambda: self._translated(lambda: getattr(self._client, method)(Bucket=self._bucket, **arguments))
        )

    def _translated(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except FlexibleChecksumError:
            raise Rejection(Reason.CHECKSUM_MISMATCH) from None
        except _BROKEN_OFF:
            raise Again("breaks off its answers", cut=True) from None
        except ClientError as answer:
            why = self._meaning(translate_boto_error(answer))
        except self._root.ERRORS as error:
            why = self._meaning(error)
        raise why from None

    def _meaning(self, error: Exception) -> Exception:
        code = error_code(error)
        if code in _CHANGED:
            return Rejection(Reason.TRANSFER_INCOMPLETE, "changed while it was read")
        complaint = self._root.complaint(error)
        if code in _BUSY or self._root.is_transient(error):
            return Again(complaint or "does not answer")
        return error if complaint is None else StoreUnreachable(f"the source {self.url} {complaint}")
