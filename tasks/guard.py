"""How every stage's batch becomes a Prefect task: names, retries, and what its process must do first.

Belongs here: the task decorator. Does not belong here: what a stage does, or keeping messages clean (`oncurate.guard`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from oncurate.errors import OncurateError, StoreUnreachable
from oncurate.garbage import settle
from oncurate.guard import guarded
from oncurate.headers import quiet

RETRIES = 2
"""Further tries of a batch whose store failed; each store call has tried several times itself before that."""


def settled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, before which its process falls silent about headers and settles."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        quiet()
        settle()
        return function(*args, **kwargs)

    return run


def store_failed(_task: Any, _run: Any, state: Any) -> bool:
    """Retry only what may heal by itself: a store that could not be reached."""
    try:
        state.result()
    except StoreUnreachable:
        return True
    except OncurateError:
        return False
    return False


def stage_task(stage: str, run_name: str | None = None, retries: int = RETRIES) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: a stage's function as a Prefect task whose runs an operator can tell apart.

    It has no tags: they would cost each run two writes to the API's database (`flows.engine.untagged`).
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return task(
            guarded(f"stage {stage}", settled(function)),
            name=stage,
            task_run_name=run_name or f"{stage} {{number}} of {{total}}",
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.5,
            retry_condition_fn=store_failed,
            cache_policy=NO_CACHE,
            persist_result=False,
            log_prints=False,
        )

    return decorate
