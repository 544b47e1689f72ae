"""Objects in an S3 bucket, through s3fs.

Belongs here: requests, and what the errors of S3 and of the network mean. Does not belong here: retries, key rules and
messages, which all stores share (`oncurate.store`). The standard AWS variables and files say where S3 is and who we
are.
"""

from __future__ import annotations

import errno
import mimetypes
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
from aiohttp import ClientError as HttpError
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as ConnectError
from botocore.parsers import ResponseParserError
from s3fs import S3FileSystem

from oncurate import certificates

_PART_BYTES = 16 << 20
"""One part of a multipart upload; four at a time bound the memory to 64 MiB (s3fs's default is ten of 50 MiB)."""
_PARTS_AT_ONCE = 4
_MAX_PARTS = 9_000
"""S3 allows 10,000 parts an object (Amazon S3 user guide, multipart upload limits)."""
_CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 1},
    "max_pool_connections": 64,  # as many as pull.connections may be
}
"""Of both clients; times in seconds. Who asks again, and when, is decided above them."""
_TRANSIENT_NUMBERS = frozenset({errno.EBUSY, errno.EREMOTEIO, errno.EIO, errno.ECONNRESET, errno.EPIPE})
_TRANSIENT = (HTTPClientError, ConnectError, IncompleteReadError, ResponseParserError, HttpError, TimeoutError)
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})


class S3Root:
    """A bucket and a prefix in it. The connection belongs to the process and to the AWS environment it was made in."""

    ERRORS = (OSError, BotoCoreError, HttpError)

    root = None

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        return filesystem().cat_file(self._path(key), start=start or None, end=stop)

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data, "overwrite", _parts(len(data)))

    def create(self, key: str, data: bytes) -> None:
        try:
            # one request whatever the size: of racers that complete uploads in parts, some servers let two win
            self._put(key, data, "create", {"chunksize": max(len(data), _PART_BYTES), "max_concurrency": 1})
        except OSError as error:
            # a refused condition is code 412 on some servers, which s3fs turns into a bare EINVAL
            if error.errno == errno.EINVAL and self.exists(key):
                raise FileExistsError(errno.EEXIST, "the key is taken") from None
            raise

    def upload(self, key: str, local_path: Path) -> None:
        size = os.path.getsize(local_path)
        filesystem().put_file(str(local_path), self._path(key), **_parts(size), **_content_type(key))

    def download(self, key: str, local_path: Path) -> None:
        filesystem().get_file(self._path(key), str(local_path), chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def copy_from(self, key: str, other: object, other_key: str) -> bool:
        if isinstance(other, S3Root):
            filesystem().cp_file(other._path(other_key), self._path(key))
            return True
        return False

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except FileNotFoundError:
            return False
        return True

    def stat(self, key: str) -> tuple[int, str]:
        head = self._call("head_object", Key=self._key(key))
        return head["ContentLength"], head["ETag"].strip('"')

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=self._key(key))

    def entries(self, prefix: str) -> list[tuple[str, int, str]]:
        folder = self._key(prefix) + "/" if prefix else self.prefix and self.prefix + "/"
        cut = len(self.prefix) + 1 if self.prefix else 0
        found, more = [], {}
        while True:
            page = self._call("list_objects_v2", Prefix=folder, **more)
            found += [
                (item["Key"][cut:], item["Size"], item["ETag"].strip('"'))
                for item in page.get("Contents", ())
                if not item["Key"].endswith("/")  # consoles make such objects to show an empty folder
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def reach(self) -> None:
        # unlike HEAD, whose refusals have no body, a listing names what is wrong
        self._call("list_objects_v2", Prefix=self.prefix, MaxKeys=1)

    def sweep(self) -> int:
        page = self._call("list_multipart_uploads", Prefix=self.prefix and self.prefix + "/")
        pending = page.get("Uploads", ())
        for upload in pending:
            self._call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        return len(pending)

    def is_transient(self, error: BaseException) -> bool:
        if isinstance(error, OSError) and not isinstance(error, _TRANSIENT):
            return error.errno in _TRANSIENT_NUMBERS and not self.is_full(error)
        return isinstance(error, _TRANSIENT) and not certificates.complaint(error)

    def is_full(self, error: BaseException) -> bool:
        return error_code(error) in _FULL_CODES or (isinstance(error, OSError) and error.errno == errno.ENOSPC)

    def complaint(self, error: BaseException) -> str | None:
        code = error_code(error)
        if code == "NoSuchBucket":
            return "does not exist: there is no such bucket"
        if isinstance(error, FileNotFoundError | FileExistsError):
            return None
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if isinstance(error, PermissionError):
            return (
                f"refuses our credentials ({code or 'access denied'}): check the AWS variables and the bucket's policy"
            )
        where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        server = f"the S3 server at {where.rpartition('@')[2]}" if where else "the S3 server"
        if why := certificates.complaint(error, "AWS_CA_BUNDLE"):
            return f"cannot be used: {server} {why}"
        if isinstance(error, _TRANSIENT) or self.is_transient(error):
            return f"cannot be reached: {server} does not answer ({code or type(error).__name__})"
        return f"cannot be used: {server} reports {code or type(error).__name__}"

    def _put(self, key: str, data: bytes, mode: str, parts: dict[str, int]) -> None:
        filesystem().pipe_file(self._path(key), data, mode=mode, **parts, **_content_type(key))

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return filesystem().call_s3(method, Bucket=self.bucket, **arguments)

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _path(self, key: str) -> str:
        return f"{self.bucket}/{self._key(key)}"


def open_root(url: str) -> S3Root:
    """The bucket and prefix behind an `s3://` URL."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Root(bucket, prefix)


def filesystem() -> S3FileSystem:
    """This process's connection to the S3 server that the AWS variables name."""
    return _connect(os.getpid(), _environment())


@lru_cache(maxsize=4)
def _connect(
    pid: int,  # noqa: ARG001  # the cache's key, as is the environment
    environment: tuple[tuple[str, str], ...],  # noqa: ARG001
) -> S3FileSystem:
    """One connection pool a process (they do not survive a fork) and AWS environment. Nothing is cached or retried."""
    filesystem = S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        max_concurrency=_PARTS_AT_ONCE,
        config_kwargs=_CONFIG,
    )
    filesystem.retries = 1
    return filesystem


def client(endpoint: str | None = None) -> BaseClient:
    """A connection, to the server at `endpoint` if given, whose answers threads read into buffers of their own."""
    return _make_client(os.getpid(), _environment(), endpoint)


@lru_cache(maxsize=4)
def _make_client(
    pid: int,  # noqa: ARG001  # the cache's key, as is the environment
    environment: tuple[tuple[str, str], ...],  # noqa: ARG001
    endpoint: str | None,
) -> BaseClient:
    # unless asked to: with a range, some servers state the checksum of the whole object
    config = Config(**_CONFIG, response_checksum_validation="when_required")
    return botocore.session.get_session().create_client("s3", endpoint_url=endpoint, config=config)


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def _parts(size: int) -> dict[str, int]:
    return {"chunksize": max(_PART_BYTES, -(-size // _MAX_PARTS)), "max_concurrency": _PARTS_AT_ONCE}


def _content_type(key: str) -> dict[str, str]:
    kind, encoding = mimetypes.guess_type(key)
    return {"ContentType": kind} if kind and not encoding else {}


def error_code(error: BaseException) -> str:
    """The server's error code behind an exception that s3fs translated; empty if there is none."""
    response = getattr(error.__cause__ or error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
