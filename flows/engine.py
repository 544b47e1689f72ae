"""What a flow runs on: a Prefect API and a Dask cluster, opened for one run or joined if they exist.

Belongs here: starting and stopping them, and what keeps them quick. Does not belong here: what runs on them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dask.config
from distributed import Client, LocalCluster
from prefect.context import TagsContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.api import ApiServer
from oncurate.errors import StoreUnreachable, UsageError

DRAIN_SECONDS = 10
"""For the last events and log lines to reach the server before it stops."""


@contextmanager
def prefect_api() -> Iterator[str]:
    """The configured Prefect API, or one of our own for the time of the run.

    Workers find it through the environment; without that every worker process would start a server of its own.
    """
    configured = PREFECT_API_URL.value()
    if configured:
        yield configured
        return
    with ApiServer() as server:
        os.environ["PREFECT_API_URL"] = server.url
        try:
            with temporary_settings({PREFECT_API_URL: server.url}):
                try:
                    yield server.url
                finally:
                    EventsWorker.drain_all(timeout=DRAIN_SECONDS)  # else the queue would wait for a stopped server
                    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
        finally:
            del os.environ["PREFECT_API_URL"]


@contextmanager
def untagged() -> Iterator[None]:
    """Within it, task runs do not inherit the tags of their flow run.

    Before a task run with tags Prefect reads their concurrency limits and writes to them, also where there are none. On
    SQLite each such pair fails where another write comes between, and the task waits 2 s, 4 s, ... until it asks again.
    """
    with TagsContext(current_tags=set()):
        yield


@contextmanager
def dask_cluster(address: str | None, workers: int | None = None) -> Iterator[tuple[str, int]]:
    """The scheduler's address and the number of workers: a cluster that exists, or one process a core."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its worker lines quote task arguments
    if address:
        yield address, _workers_at(address)
        return
    count = workers or len(os.sched_getaffinity(0))
    # The worker's sampling profiler calls sys._current_frames every 10 ms, which can deadlock a busy process
    # (CPython gh-106883, mended in later releases than some that we run on): a run then hangs for ever.
    dask.config.set({"distributed.worker.profile.enabled": False})
    with LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster.scheduler_address, count


def _workers_at(address: str) -> int:
    if urlsplit(address).hostname not in {"127.0.0.1", "localhost", "::1"} and not PREFECT_API_URL.value():
        raise UsageError(
            "a Dask cluster on other machines needs a Prefect API that they can reach: set PREFECT_API_URL"
        )
    try:
        with Client(address, timeout="10s", set_as_default=False) as client:
            count = len(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, ValueError):
        raise StoreUnreachable(f"no Dask scheduler answers at {address}") from None
    if count == 0:
        raise StoreUnreachable(f"the Dask cluster at {address} has no workers")
    return count
