"""A bucket and prefix of an S3 server as a source.

Belongs here: listing pages and versions, ranged requests, what ETags and checksums say. Does not belong here: zones on
S3 (`oncurate.store_s3`). Who we are and where S3 is say the standard AWS variables; `pull.endpoint` names another
server.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from botocore.exceptions import FlexibleChecksumError
from fsspec.asyn import sync

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources.checksums import MultipartMd5, etag_sum, parts_of, stated_sum
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again
from oncurate.sources.remote import RemoteSource, name_of
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import FIRST_BYTES, Hash, Verified
from oncurate.store_s3 import S3Root, error_code, filesystem

_PIECE_BYTES = 1 << 18
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "503", "429", "TooManyRequests", "RequestLimitExceeded"})
_CHANGED = frozenset({"PreconditionFailed", "412"})


class BucketSource(RemoteSource):
    """Every object below a prefix (or the object of that very key), in the order of keys in UTF-8, as S3 lists them."""

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url.rstrip("/"), settings, selection)
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        self._bucket, self._prefix = bucket, prefix
        self._root = S3Root(bucket, prefix)
        self._fs = filesystem(settings.endpoint)
        self._payer = {"RequestPayer": "requester"} if settings.requester_pays else {}

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
        parts = urlsplit(listed.url)
        key, version = unquote(parts.path.lstrip("/")), parse_qs(parts.query).get("versionId", [None])[0]
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
        found = stated_sum(head) or etag_sum(head, etag) or self._sum_of_parts(head, etag, which)

        def fill(start: int, into: memoryview) -> None:
            self._fill({"Range": f"bytes={start}-{start + len(into) - 1}", "IfMatch": f'"{etag}"', **which}, into)

        return self.ranged(fill, size, [found] if found else [])

    def _sum_of_parts(self, head: dict[str, Any], etag: str, which: dict[str, Any]) -> tuple[Hash, str] | None:
        """The ETag of an object in parts, where the server tells their size and they are all of it but the last."""
        count, size = parts_of(head, etag), head["ContentLength"]
        if count is None:
            return None
        first = self._ask("head_object", PartNumber=1, **which)
        part = first["ContentLength"]
        if first.get("PartsCount", 1 if count == 1 else None) != count or not (count - 1) * part < size <= count * part:
            return None
        last = self._ask("head_object", PartNumber=count, **which)["ContentLength"]
        return (MultipartMd5(part), etag) if last == size - (count - 1) * part else None

    def _items(self, prefix: str) -> Iterator[dict[str, Any]]:
        is_all = self.settings.versions == "all"
        method = "list_object_versions" if is_all else "list_objects_v2"
        more: dict[str, str] = {}
        while True:
            page = self._ask(method, Prefix=prefix, **more, **self._payer)
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
        async def get() -> tuple[dict[str, Any], bytes]:
            answer = await self._fs._call_s3("get_object", Bucket=self._bucket, **arguments)
            async with answer["Body"] as body:
                return answer, await body.read()

        return self._translated(lambda: sync(self._fs.loop, get))

    def _fill(self, arguments: dict[str, Any], into: memoryview) -> None:
        async def fill() -> None:
            answer = await self._fs._call_s3("get_object", Bucket=self._bucket, **arguments)
            at = 0
            async with answer["Body"] as body:
                while piece := await body.read(_PIECE_BYTES):
                    if at + len(piece) > len(into):
                        raise Again("answers with more than was asked for", cut=True)
                    into[at : at + len(piece)] = piece
                    at += len(piece)
            if at != len(into):
                raise Again("breaks off its answers", cut=True)

        self._translated(lambda: sync(self._fs.loop, fill))

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        return self.pace.ask(
            lambda: self._translated(lambda: self._fs.call_s3(method, Bucket=self._bucket, **arguments))
        )

    def _translated(self, action: Any) -> Any:
        try:
            return action()
        except FlexibleChecksumError:
            raise Rejection(Reason.CHECKSUM_MISMATCH) from None
        except self._root.ERRORS as error:
            code = error_code(error)
            if code in _CHANGED:
                raise Rejection(Reason.TRANSFER_INCOMPLETE, "changed while it was read") from None
            if code in _BUSY or self._root.is_transient(error):
                raise Again(self._root.complaint(error) or "does not answer") from None
            complaint = self._root.complaint(error)
            if complaint is None:
                raise
            raise StoreUnreachable(f"the source {self.url} {complaint}") from None
