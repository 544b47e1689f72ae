"""Buckets as sources: the shared suite on a real S3 server, versions, checksums."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.s3server import S3Server
from oncurate.reasons import Reason
from oncurate.sources import partial as partial_module
from oncurate.sources.interface import Listed
from oncurate.sources.partial import partial_of
from oncurate.sources.settings import PullSettings
from oncurate.sources.streams import Verified
from oncurate.store import Store, read_url
from oncurate.store_s3 import filesystem
from tests.sources_suite import LARGE, QUICK, SourceSuite, noise, places_in, taken

pytestmark = pytest.mark.s3
SETTINGS = PullSettings.model_validate({"retries": QUICK})


@dataclass(frozen=True)
class Prefix:
    """A prefix of a bucket as an archive."""

    url: str
    settings: PullSettings = SETTINGS

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            Store(self.url).write(name, data)

    def remove(self, name: str) -> None:
        Store(self.url).delete(name)


@pytest.fixture
def archive(aws: S3Server) -> Prefix:
    return Prefix(aws.url("source", uuid.uuid4().hex))


class TestBucket(SourceSuite):
    """A prefix of a bucket."""


def test_the_stated_checksum_is_verified(archive: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.put({"small": b"1", "large": noise(2 << 20)})
    monkeypatch.setattr("oncurate.sources.bucket._sums", lambda *_: [(hashlib.md5(), "0" * 32)])
    rows = taken(archive, places_in(tmp_path))
    assert {row.reason for row in rows.values()} == {Reason.CHECKSUM_MISMATCH}
    assert list(places_in(tmp_path).zone.list()) == []


def test_objects_in_parts_have_no_checksum_that_is_mistaken_for_one(archive: Prefix, tmp_path: Path) -> None:
    data = noise(LARGE)
    archive.put({"a": data})
    assert read_url(taken(archive, places_in(tmp_path))["a"].url) == data


def test_all_versions_come_where_they_are_asked_for(aws: S3Server, tmp_path: Path) -> None:
    filesystem().call_s3("create_bucket", Bucket="versioned")
    filesystem().call_s3("put_bucket_versioning", Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    settings = SETTINGS.model_copy(update={"versions": "all"})
    archive = Prefix("s3://versioned/p", settings)
    archive.put({"a": b"1"})
    archive.put({"a": b"2"})
    archive.put({"b": b"3"})
    rows = taken(archive, places_in(tmp_path))
    assert sorted(read_url(row.url) for row in rows.values()) == [b"1", b"2", b"3"]
    assert sorted(path.partition("@")[0] for path in rows) == ["a", "a", "b"]


def test_a_partial_object_is_kept_in_a_bucket(bucket_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_module, "PIECE_BYTES", 1000)
    data = noise(10_000)
    listed = Listed("a", "x://host/a", len(data), "v")
    with partial_of(bucket_store, listed) as partial:
        partial.attach(io.BytesIO(data))
        for _ in range(7):
            partial.read(600)
    kept = sum(entry.bytes for entry in bucket_store.entries())
    assert 3000 <= kept <= 7 * 600
    asked = io.BytesIO(data)
    with partial_of(bucket_store, listed) as partial:
        partial.attach(Verified(asked, len(data), [(hashlib.sha256(), hashlib.sha256(data).hexdigest())]))
        assert asked.tell() == kept
        assert b"".join(iter(lambda: partial.read(600), b"")) == data
        partial.drop()
    assert list(bucket_store.list()) == []
