"""What flow tests run on: one Prefect API and one Dask cluster for many runs, isolated from the user's own.

Belongs here: opening both. Does not belong here: archives and assertions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prefect.settings import (
    PREFECT_HOME,
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)

from flows.engine import dask_cluster, prefect_api

SECRET = "a secret of the flow tests, known to all"
WORKERS = 2


def isolated(home: Path) -> dict[str, str]:
    """Environment variables that keep everything Prefect writes in `home`."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "ONCURATE_SECRET": SECRET,
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of the context: worker and server processes inherit them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def prefect_and_dask(home: Path, extra: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a cluster whose workers know a Prefect API that writes below `home`."""
    home.mkdir(parents=True, exist_ok=True)
    values = isolated(home)
    settings = {
        PREFECT_HOME: home,
        PREFECT_LOCAL_STORAGE_PATH: home / "storage",
        PREFECT_SERVER_DATABASE_CONNECTION_URL: values["PREFECT_SERVER_DATABASE_CONNECTION_URL"],
    }
    with (
        environment({**values, **(extra or {})}),
        temporary_settings(settings),
        prefect_api(),
        dask_cluster(None, WORKERS) as (address, _),
    ):
        yield address
