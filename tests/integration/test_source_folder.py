"""Folders as sources: the shared suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oncurate.sources.settings import PullSettings
from tests.sources_suite import SourceSuite


@dataclass(frozen=True)
class Folder:
    """A folder as an archive."""

    root: Path
    settings: PullSettings = field(default_factory=PullSettings)

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


@pytest.fixture
def archive(tmp_path: Path) -> Folder:
    (tmp_path / "archive").mkdir()
    return Folder(tmp_path / "archive")


class TestFolder(SourceSuite):
    """A local folder, read in place."""
