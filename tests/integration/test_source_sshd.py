"""OpenSSH's server as a source: the shared suite, by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oncurate.sources.settings import PullSettings
from tests.integration.test_source_folder import Folder
from tests.sources_suite import QUICK, SourceSuite
from tests.sshd import Sshd, sshd


@dataclass(frozen=True)
class Remote(Folder):
    """A folder behind the server."""

    server: Sshd | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url(self.root)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def archive(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    (tmp_path / "archive").mkdir()
    monkeypatch.setenv("SITE_USER", server.user)
    monkeypatch.setenv("SITE_KEY", str(server.key_file))
    settings = {"user_env": "SITE_USER", "key_file_env": "SITE_KEY", "known_hosts": str(server.known_hosts)}
    return Remote(
        tmp_path / "archive", PullSettings.model_validate({**settings, "retries": QUICK, "timeout_s": 5.0}), server
    )


class TestSshd(SourceSuite):
    """A folder of OpenSSH's server."""
