"""SSH servers as sources: the shared suite, and who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oncurate.errors import StoreUnreachable
from oncurate.reasons import Reason
from oncurate.sources import source_of
from oncurate.sources.settings import PullSettings
from oncurate.store import read_url
from tests.faultproxy import proxy_to
from tests.integration.test_source_folder import Folder
from tests.sftpserver import PASSWORD, USER, Sftp, sftp_server
from tests.sources_suite import LARGE, QUICK, SourceSuite, noise, places_in, taken


@dataclass(frozen=True)
class Remote(Folder):
    """A folder behind an SSH server."""

    server: Sftp | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url + "/archive"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    (tmp_path / "served/archive").mkdir(parents=True)
    monkeypatch.setenv("SITE_USER", USER)
    monkeypatch.setenv("SITE_PASSWORD", PASSWORD)
    with sftp_server(tmp_path / "served", tmp_path) as server:
        settings = {"user_env": "SITE_USER", "password_env": "SITE_PASSWORD", "known_hosts": str(server.known_hosts)}
        root = tmp_path / "served/archive"
        yield Remote(root, PullSettings.model_validate({**settings, "retries": QUICK, "timeout_s": 5.0}), server)


class TestSftp(SourceSuite):
    """A folder of an SSH server."""


def test_links_are_refused(archive: Remote, tmp_path: Path) -> None:
    archive.put({"a": b"1"})
    (archive.root / "out").symlink_to(tmp_path)
    rows = taken(archive, places_in(tmp_path))
    assert {path: row.reason for path, row in rows.items()} == {"a": None, "out": Reason.UNSAFE_MEMBER}


def test_an_unknown_host_is_refused(archive: Remote, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    settings = archive.settings.model_copy(update={"known_hosts": str(tmp_path / "none")})
    with closing(source_of(archive.url, settings)) as source, pytest.raises(StoreUnreachable, match="host key"):
        list(source.entries())


def test_a_wrong_password_is_refused(archive: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_PASSWORD", "wrong")
    with (
        closing(source_of(archive.url, archive.settings)) as source,
        pytest.raises(StoreUnreachable, match="credentials"),
    ):
        list(source.entries())


def test_cut_connections_are_survived(archive: Remote, tmp_path: Path) -> None:
    data = noise(LARGE)
    archive.put({"a": data})
    assert archive.server is not None
    real = urlsplit(archive.server.url)
    with proxy_to("127.0.0.1", real.port or 0) as proxy:
        key = archive.server.known_hosts.read_text()
        (tmp_path / "through").write_text(key.replace(f":{real.port} ", f":{proxy.port} "))
        proxy.cuts = [6_000_000, 8_000_000]
        server = Sftp(f"sftp://127.0.0.1:{proxy.port}", tmp_path / "through")
        settings = archive.settings.model_copy(update={"known_hosts": str(server.known_hosts)})
        assert read_url(taken(Remote(archive.root, settings, server), places_in(tmp_path))["a"].url) == data
        assert proxy.cuts == []
