"""Real services for the tests: they start in a second, so nothing is mocked.

Belongs here: starting a service for a test session, and what happens where its program is missing. Does not belong
here: assertions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.s3server import S3Server, ServerMissing

REQUIRE = "ONCURATE_REQUIRE_SERVICES"
"""Where this variable is 1, as in CI, a missing program fails the tests that need it; elsewhere it skips them."""


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running S3 server with the buckets source, work and curated, and credentials that nobody else has."""
    server = S3Server(folder)
    try:
        server.start()
    except ServerMissing as missing:
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.stop()
