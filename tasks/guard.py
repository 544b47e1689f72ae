"""How every stage's batch becomes a Prefect task: names, tags, retries, and the guard that keeps messages clean.

Belongs here: the task decorator, and the one place that catches everything: an unexpected exception's text may quote a
header value, and Prefect stores that text as the state's message, so only its kind and place go on. Does not belong
here: what a stage does.
"""

from __future__ import annotations

import functools
import gc
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from oncurate.errors import Defect, OncurateError, StoreUnreachable
from oncurate.headers import quiet

RETRIES = 2
"""Further tries of a batch whose store failed; each store call has tried several times itself before that."""


GARBAGE_THRESHOLD = 50_000
"""New container objects before a look for cyclic garbage; Python's 700 costs a run that makes records 4 % of its CPU.
"""


def describe(error: BaseException) -> str:
    """Kind of an exception and where it was raised, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    ours = [f for f in frames if Path(f.filename).parent.name in {"oncurate", "tasks", "expectations"}]
    via = (
        f", called from {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours and ours[-1] is not frames[-1] else ""
    )
    return f"{type(error).__name__}{where}{via}"


@functools.cache
def _settle() -> None:
    """Once a process: what imports made stays for good, and records are not cyclic, so look for garbage less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def guarded(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with every unexpected exception replaced by a `Defect` that holds no value."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        quiet()
        _settle()
        try:
            return function(*args, **kwargs)
        except OncurateError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may quote a header value; only kind and place may leave
            raise Defect(f"stage {stage}: {describe(error)}") from None

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
    """Decorator: a stage's function as a Prefect task whose runs an operator can tell apart."""

    def decorate(function: Callable[..., Any]) -> Any:
        return task(
            guarded(stage, function),
            name=stage,
            task_run_name=run_name or f"{stage} {{number}} of {{total}}",
            tags=["oncurate", f"stage:{stage}"],
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.5,
            retry_condition_fn=store_failed,
            cache_policy=NO_CACHE,
            persist_result=False,
            log_prints=False,
        )

    return decorate
