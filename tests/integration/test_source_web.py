"""Web servers as sources: the shared suite, and servers that are busy, break off, lie, or send us elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from oncurate.errors import StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.sources import source_of, taking
from oncurate.sources.settings import PullSettings
from oncurate.store import read_url
from tasks.inspect import inspect
from tests.certificates import certificates_in
from tests.faultproxy import proxy_to
from tests.phantoms import ct_series
from tests.sources_suite import LARGE, QUICK, SourceSuite, noise, opened, places_in, taken
from tests.unit.test_archives import zipped
from tests.webserver import Web, web_server

SETTINGS = PullSettings.model_validate({"retries": QUICK, "timeout_s": 5.0})


@dataclass(frozen=True)
class Site:
    """A web server as an archive."""

    web: Web
    settings: PullSettings = SETTINGS

    @property
    def url(self) -> str:
        return self.web.url

    def put(self, files: Mapping[str, bytes]) -> None:
        self.web.files.update(files)

    def remove(self, name: str) -> None:
        del self.web.files[name]


@pytest.fixture
def archive() -> Iterator[Site]:
    with web_server() as web:
        yield Site(web)


class TestWeb(SourceSuite):
    """A server with index pages and ranges."""


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_breaks_off_goes_on(archive: Site, tmp_path: Path, ranges: bool) -> None:
    data = noise(LARGE)
    archive.put({"a": data})
    archive.web.ranges = ranges
    archive.web.cuts = [1, 5_000_000, 70_000] if ranges else [5_000_000, 12_000_000]
    row = taken(archive, places_in(tmp_path))["a"]
    assert read_url(row.url) == data
    assert archive.web.cuts == []


def test_a_server_that_always_breaks_off_costs_one_file(archive: Site, tmp_path: Path) -> None:
    archive.put({"a": noise(100_000), "b": b"2"})
    with opened(archive) as source:
        listed = list(source.entries())
        archive.web.cuts = [10, 10, 10]
        rows = [taking.take(item, source, places_in(tmp_path))[0] for item in listed]
    assert [row.reason for row in rows] == [Reason.TRANSFER_INCOMPLETE, None]
    assert rows[0].url == ""
    assert len(list(places_in(tmp_path).zone.list())) == 1


def test_a_busy_server_is_asked_again(archive: Site, tmp_path: Path) -> None:
    archive.put({"a": b"1"})
    archive.web.answers = [503, 429, 200]
    assert taken(archive, places_in(tmp_path))["a"].reason is None


def test_a_server_that_stays_busy_ends_the_pull(archive: Site, tmp_path: Path) -> None:
    archive.put({"a": b"1"})
    archive.web.answers = [503] * 9
    with pytest.raises(StoreUnreachable, match="503"):
        taken(archive, places_in(tmp_path))


@pytest.mark.parametrize("stated", [999, 3_000_000_000])
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_server_that_lies_about_lengths_is_refused(archive: Site, tmp_path: Path, size: int, stated: int) -> None:
    archive.put({"a": noise(size), "b": b"2"})
    archive.web.stated = {"a": stated}
    rows = taken(archive, places_in(tmp_path))
    assert rows["a"].reason is Reason.TRANSFER_INCOMPLETE
    assert rows["b"].reason is None


def test_a_stated_checksum_is_verified(archive: Site, tmp_path: Path) -> None:
    archive.put({"good": noise(2 << 20), "bad": noise(2 << 20)})
    for name, data in (("good", archive.web.files["good"]), ("bad", b"other")):
        archive.web.digests[name] = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    rows = taken(archive, places_in(tmp_path))
    assert (rows["good"].reason, rows["bad"].reason) == (None, Reason.CHECKSUM_MISMATCH)
    assert len(list(places_in(tmp_path).zone.list())) == 1


def test_credentials_come_from_the_environment_and_go_to_one_host_only(
    archive: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_TOKEN", "a token of these tests")
    mine = Site(archive.web, SETTINGS.model_copy(update={"token_env": "SITE_TOKEN"}))
    archive.web.login = "Bearer a token of these tests"
    archive.put({"a": b"1", "b": b"2"})
    with web_server() as other:
        other.files["b"] = b"stolen"
        archive.web.redirects["b"] = other.url + "b"
        rows = taken(mine, places_in(tmp_path))
        assert other.asked == []
    assert rows["a"].reason is None
    assert rows["b"].reason is Reason.REDIRECTED_ELSEWHERE
    with pytest.raises(StoreUnreachable, match="credentials"):
        taken(archive, places_in(tmp_path))


def test_redirects_within_the_host_are_followed(archive: Site, tmp_path: Path) -> None:
    archive.put({"a": b"1", "b": b"2"})
    archive.web.redirects = {"a": "/b"}
    assert read_url(taken(archive, places_in(tmp_path))["a"].url) == b"2"
    archive.web.redirects = {"a": "/a"}
    assert taken(archive, places_in(tmp_path / "x"))["a"].reason is Reason.REDIRECTED_ELSEWHERE


def test_credentials_do_not_go_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TOKEN", "a token of these tests")
    with pytest.raises(UsageError, match="https"):
        source_of("http://example.org/x/", SETTINGS.model_copy(update={"token_env": "SITE_TOKEN"}))
    with pytest.raises(UsageError, match="credentials"):
        source_of("https://user:password@example.org/x/")


def test_one_file_and_a_list_of_files_are_sources(archive: Site) -> None:
    archive.put({"p/a.dcm": b"1", "p/b c": b"2", "p/list.txt": b"a.dcm\n\nb%20c\nhttps://example.org/other\n"})
    for path, names in (("p/a.dcm", ["a.dcm"]), ("p/list.txt", ["a.dcm", "b c"])):
        with closing(source_of(archive.url + path, SETTINGS)) as source:
            assert [item.source_path for item in source.entries()] == names


def test_cut_connections_and_refusals_are_survived(archive: Site, tmp_path: Path) -> None:
    data = noise(LARGE)
    archive.put({"a": data})
    with proxy_to("127.0.0.1", urlsplit(archive.url).port or 0) as proxy:
        proxy.cuts = [100, 3_000_000, 9_000_000]
        proxy.refuses = 1
        through = Site(archive.web, SETTINGS)
        object.__setattr__(through, "web", Web(files=archive.web.files, url=f"http://127.0.0.1:{proxy.port}/"))
        assert read_url(taken(through, places_in(tmp_path))["a"].url) == data
        assert proxy.connections > 4


def test_inspect_says_what_would_come_and_moves_only_heads(archive: Site, tmp_path: Path) -> None:
    paths = ct_series(tmp_path / "made", slices=2, rows=1200, columns=1200)
    files = {f"{n}.dcm": path.read_bytes() for n, path in enumerate(paths)}
    archive.put({**files, "all.zip": zipped({"m": b"1"}), "notes.txt": b"x"})
    raw = {"dataset": "x", "title": "x", "provider": {"name": "x", "country": "NL"}, "source": archive.url}
    for modality, found in (("CT", {"(archive files)": 1, "CT": 2}), ("MR", {"(archive files)": 1})):
        (tmp_path / "provider.yaml").write_text(yaml.safe_dump({**raw, "select": {"modalities": [modality]}}))
        archive.web.sent = 0
        seen = inspect(str(tmp_path / "provider.yaml"))
        assert {row["modality"]: row["files"] for row in seen["modalities"]} == found
        assert seen["reasons"] == {"not_dicom": 1, **({} if modality == "CT" else {"not_selected": 2})}
        assert seen["files"] == 4
        assert archive.web.sent < sum(map(len, files.values())) / 2
    assert not (tmp_path / "curated-work").exists()


def test_a_certificate_that_nobody_we_trust_vouches_for_is_said_at_once(tmp_path: Path) -> None:
    certificates = certificates_in(tmp_path)
    with web_server(certificates.server_context()) as web:
        web.files["a.dcm"] = b"content"
        trusting = SETTINGS.model_copy(update={"ca_file": str(certificates.ca)})
        with closing(source_of(web.url, trusting)) as source:
            assert [item.source_path for item in source.entries()] == ["a.dcm"]
        patient = PullSettings(ca_file=str(certificates.other_ca))  # whose retries would take minutes
        for settings in (patient, PullSettings()):
            with closing(source_of(web.url, settings)) as source, pytest.raises(StoreUnreachable, match="no authority"):
                list(source.entries())


def test_a_server_behind_the_proxy_of_a_site_is_asked_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        proxy.files["http://archive.invalid/ct/a.dcm"] = b"content"
        with closing(source_of("http://archive.invalid/ct/", SETTINGS)) as source:
            rows = [row for item in source.entries() for row in taking.take(item, source, places_in(tmp_path))]
        assert [(row.source_path, row.reason) for row in rows] == [("a.dcm", None)]
        assert read_url(rows[0].url) == b"content"


@pytest.mark.parametrize("proxy", ["gopher://made:secret@proxy.invalid", "http://made:secret@proxy.invalid:port"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(UsageError, match="ALL_PROXY") as said:
        source_of("https://archive.invalid/ct/", SETTINGS)
    assert "secret" not in str(said.value)
