"""Fixtures of the flow tests: what they run on, once a session, and data sets of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import prefect_and_dask


@pytest.fixture(scope="session")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the cluster that all flow tests share."""
    with prefect_and_dask(tmp_path_factory.mktemp("prefect")) as address:
        yield address


@pytest.fixture(scope="session")
def run(dask: str) -> Callable[[Path], dict[str, Any]]:
    """Runs the flow on a provider file in this process; returns what it returns."""
    from flows.curate import curate

    return lambda provider_file: curate(str(provider_file), dask)
