"""What the workers of a run start with."""

from __future__ import annotations

import dask.config
import pytest
from distributed import Client
from prefect import tags
from prefect.context import TagsContext

from flows.engine import dask_cluster, untagged


def _sampled() -> bool:
    return dask.config.get("distributed.worker.profile.enabled")


@pytest.mark.flows
def test_workers_are_not_sampled() -> None:
    with dask_cluster(None, workers=1) as (address, count), Client(address, set_as_default=False) as client:
        assert (count, list(client.run(_sampled).values())) == (1, [False])


def test_task_runs_inherit_no_tags() -> None:
    with tags("dataset:made"):
        with untagged():
            assert TagsContext.get().current_tags == set()
        assert TagsContext.get().current_tags == {"dataset:made"}
