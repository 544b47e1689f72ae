"""What the workers of a run start with."""

from __future__ import annotations

import os

import dask.config
import pytest
from distributed import Client

from flows.engine import KEPT_BYTES, dask_cluster


def _seen() -> tuple[str | None, int, bool, bool]:
    kept = int(os.environ.get("MALLOC_TRIM_THRESHOLD_", 0))
    settings = ("distributed.worker.memory.pause", "distributed.worker.profile.enabled")
    return (os.environ.get("MALLOC_MMAP_MAX_"), kept, *(dask.config.get(name) for name in settings))


@pytest.mark.flows
def test_workers_keep_some_memory_never_wait_for_it_and_are_not_sampled() -> None:
    with dask_cluster(None, workers=1) as (address, count), Client(address, set_as_default=False) as client:
        [(mapped, kept, pause, sampled)] = client.run(_seen).values()
    assert (count, mapped, pause, sampled) == (1, "0", False, False)
    assert 0 < kept <= KEPT_BYTES
