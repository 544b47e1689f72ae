"""Buckets as sources: the shared suite on a real S3 server, versions, checksums."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.s3server import S3Server, free_ports
from oncurate.errors import StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources import partial as partial_module
from oncurate.sources.bucket import BucketSource
from oncurate.sources.interface import Listed
from oncurate.sources.partial import partial_of
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.streams import Verified
from oncurate.store import Store, read_url
from oncurate.store_s3 import filesystem
from tests.certificates import certificates_in
from tests.faultproxy import proxy_to
from tests.recordingproxy import recording_proxy
from tests.sources_suite import LARGE, QUICK, SourceSuite, noise, places_in, taken
from tests.webserver import web_server

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


def versioned_bucket() -> str:
    """The URL of a new bucket that keeps versions."""
    name = f"versioned-{uuid.uuid4().hex}"
    filesystem().call_s3("create_bucket", Bucket=name)
    filesystem().call_s3("put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return f"s3://{name}"


class TestBucket(SourceSuite):
    """A prefix of a bucket."""


@pytest.mark.parametrize("size", [1, 2 << 20, LARGE])
def test_the_stated_checksum_is_verified(
    archive: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A checksum of the whole object, or where the server states none, the MD5 of its parts."""
    data = noise(size)
    archive.put({"a": data})
    real = BucketSource._fill

    def flipped(source: BucketSource, arguments: dict[str, Any], into: memoryview) -> None:
        real(source, arguments, into)
        into[-1] ^= arguments["Range"].endswith(f"-{size - 1}")

    def refusing(source: BucketSource, arguments: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        answer, found = real_get(source, arguments)
        return answer, bytes([found[0] ^ 1]) + found[1:]

    real_get = BucketSource._get
    assert read_url(taken(archive, places_in(tmp_path / "good"))["a"].url) == data
    monkeypatch.setattr(BucketSource, "_fill", flipped)
    monkeypatch.setattr(BucketSource, "_get", refusing)
    assert taken(archive, places_in(tmp_path))["a"].reason is Reason.CHECKSUM_MISMATCH
    assert list(places_in(tmp_path).zone.list()) == []


@pytest.mark.usefixtures("aws")
def test_all_versions_come_where_they_are_asked_for(tmp_path: Path) -> None:
    archive = Prefix(f"{versioned_bucket()}/p", SETTINGS.model_copy(update={"versions": "all"}))
    archive.put({"a": b"1"})
    archive.put({"a": b"2"})
    archive.put({"b": b"3"})
    rows = taken(archive, places_in(tmp_path))
    assert sorted(read_url(row.url) for row in rows.values()) == [b"1", b"2", b"3"]
    assert sorted(path.partition("@")[0] for path in rows) == ["a", "a", "b"]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("mode", ["latest", "all"])
def test_long_listings_come_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    def short_pages(source: BucketSource, method: str, **arguments: Any) -> dict[str, Any]:
        pages.append(method)
        return real(source, method, **arguments, **({"MaxKeys": 2} if method.startswith("list") else {}))

    pages, real = [], BucketSource._ask
    archive = Prefix(f"{versioned_bucket()}/p", SETTINGS.model_copy(update={"versions": mode}))
    archive.put(dict.fromkeys("abcde", b"1"))
    archive.put(dict.fromkeys("ace", b"22"))
    archive.remove("b")
    monkeypatch.setattr(BucketSource, "_ask", short_pages)
    rows = taken(archive, places_in(tmp_path))
    names = sorted(path.partition("@")[0] for path in rows)
    assert names == (list("aabccdee") if mode == "all" else list("acde"))
    assert len(pages) > 1
    sizes = [row.bytes for row in rows.values()]
    assert sorted(sizes) == ([1] * 5 + [2] * 3 if mode == "all" else [1, 2, 2, 2])


@pytest.mark.parametrize("versions", ["latest", "all"])
def test_who_pays_is_said_with_every_request(aws: S3Server, tmp_path: Path, versions: str) -> None:
    archive = Prefix(f"{versioned_bucket()}/p")
    archive.put({"small": b"1", "large": noise(LARGE)})
    with recording_proxy(aws.endpoint) as proxy:
        for pays in (True, False):
            keys = {"endpoint": proxy.url, "requester_pays": pays, "versions": versions}
            paying = Prefix(archive.url, SETTINGS.model_copy(update=keys))
            proxy.asked.clear()
            rows = taken(paying, places_in(tmp_path / str(pays)))
            assert {row.reason for row in rows.values()} == {None}
            said = {headers.get("x-amz-request-payer") for _, _, headers in proxy.asked}
            assert said == {"requester" if pays else None}
            assert {kind_of(method, path) for method, path, _ in proxy.asked} == {"list", "head", "get"}


@pytest.mark.parametrize(("times", "reason"), [(2, None), (100, Reason.TRANSFER_INCOMPLETE)])
def test_answers_that_break_off_are_asked_for_again_and_cost_no_other_object(
    aws: S3Server, tmp_path: Path, times: int, reason: Reason | None
) -> None:
    archive = Prefix(aws.url("source", uuid.uuid4().hex))
    data = noise(LARGE)
    archive.put({"large": data, "small": b"1"})
    with proxy_to("127.0.0.1", urlsplit(aws.endpoint).port or 0) as proxy:
        proxy.cuts = [3 << 20] * times
        cut = Prefix(archive.url, SETTINGS.model_copy(update={"endpoint": f"http://127.0.0.1:{proxy.port}"}))
        rows = taken(cut, places_in(tmp_path))
    assert {path: row.reason for path, row in rows.items()} == {"large": reason, "small": None}
    if reason is None:
        assert read_url(rows["large"].url) == data
    else:
        assert not rows["large"].url


def test_checksums_are_asked_for_of_whole_objects_only(aws: S3Server, tmp_path: Path) -> None:
    archive = Prefix(aws.url("source", uuid.uuid4().hex))
    archive.put({"small": b"1", "large": noise(LARGE)})
    with recording_proxy(aws.endpoint) as proxy:
        taken(Prefix(archive.url, SETTINGS.model_copy(update={"endpoint": proxy.url})), places_in(tmp_path))
    modes = {
        "range" in headers: headers.get("x-amz-checksum-mode")
        for method, path, headers in proxy.asked
        if kind_of(method, path) != "list"
    }
    assert modes == {False: "ENABLED", True: None}


def test_the_endpoint_of_the_source_is_asked_for_the_source_only(
    aws: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Prefix(aws.url("source", uuid.uuid4().hex))
    archive.put({"a": b"1"})
    (nobody,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody}")
    with recording_proxy(aws.endpoint) as proxy:
        other = Prefix(archive.url, SETTINGS.model_copy(update={"endpoint": proxy.url}))
        assert read_url(taken(other, places_in(tmp_path))["a"].url) == b"1"
        assert proxy.asked
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
        count = len(proxy.asked)
        zone = Store(aws.url("work", uuid.uuid4().hex))
        row = taken(other, replace(places_in(tmp_path), zone=zone))["a"]
        assert read_url(row.url) == b"1"  # by AWS_ENDPOINT_URL
        assert {kind_of(method, path) for method, path, _ in proxy.asked[count:]} == {"list", "get"}
        assert all("/work/" not in path for _, path, _ in proxy.asked)
        unreached = Prefix(archive.url, SETTINGS.model_copy(update={"endpoint": f"http://127.0.0.1:{nobody}"}))
        with pytest.raises(StoreUnreachable):
            taken(unreached, places_in(tmp_path / "none"))


def test_a_broken_answer_is_not_logged(
    aws: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The client's libraries log the address of an answer whose headers they cannot read, and keys may hold names."""
    archive = Prefix(aws.url("source", uuid.uuid4().hex))
    archive.put({"Doe^Jane.dcm": b"1"})
    with recording_proxy(aws.endpoint, last_header="no header at all") as proxy:
        through = Prefix(archive.url, SETTINGS.model_copy(update={"endpoint": proxy.url}))
        assert read_url(taken(through, places_in(tmp_path))["Doe^Jane.dcm"].url) == b"1"
    assert "Doe" not in caplog.text + "".join(capfd.readouterr())


def kind_of(method: str, path: str) -> str:
    """Listing, head or get: listings are of the bucket itself."""
    is_bucket = path.partition("?")[0].strip("/").count("/") == 0
    return "list" if is_bucket else method.lower()


class _Asked(io.BytesIO):
    """Notes from where it was read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.places: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        self.places.append(self.tell())
        return super().read(size)


def test_a_partial_object_is_kept_in_a_bucket(bucket_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_module, "PIECE_BYTES", 1000)
    data = noise(10_000)
    listed = Listed("a", "x://host/a", len(data), "v")
    with partial_of(bucket_store, listed) as partial:
        partial.attach(io.BytesIO(data))
        for _ in range(7):
            partial.readinto(bytearray(600))
    kept = sum(entry.bytes for entry in bucket_store.entries())
    assert 3000 <= kept <= 7 * 600
    asked = _Asked(data)
    with partial_of(bucket_store, listed) as partial:
        partial.attach(Verified(asked, len(data), [(hashlib.sha256(), hashlib.sha256(data).hexdigest())]))
        assert partial.peek(len(data) + 1) == data
        assert min(asked.places) == kept
        partial.drop()
    assert list(bucket_store.list()) == []


def test_a_certificate_that_nobody_we_trust_vouches_for_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = certificates_in(tmp_path)
    variables = {"ACCESS_KEY_ID": "made", "SECRET_ACCESS_KEY": "made", "DEFAULT_REGION": "made"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    why = "no authority that we trust vouches for; check it, and AWS_CA_BUNDLE"
    with web_server(certificates.server_context()) as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.url.rstrip("/"))
        with pytest.raises(StoreUnreachable, match=why):
            Store("s3://made").check_readable()
        for bundle, what in ((certificates.other_ca, why), (certificates.ca, "is that an S3 server")):
            monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
            source = BucketSource("s3://made", PullSettings(), Selection())
            with closing(source), pytest.raises(StoreUnreachable, match=what):
                list(source.entries())
