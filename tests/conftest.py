"""Fixtures that tests of every kind share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.s3server import S3Server
from oncurate.store import Patience, Store
from tests.services import s3_server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server; `s3.environment` holds the AWS variables, `s3.url(bucket, prefix)` makes URLs."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def aws(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with this process's AWS variables leading to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def bucket_store(aws: S3Server) -> Store:
    """An empty store of its own in the work bucket."""
    return Store(aws.url("work", uuid.uuid4().hex), Patience(attempts=3, first_wait=0.05, total=2.0))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, found by ONCURATE_SHARED or beside the checkout; skips where there is none."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("ONCURATE_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip("the shared archive of real images is not here: set ONCURATE_SHARED")
    return folder
