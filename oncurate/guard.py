"""Keeps an unexpected exception's text, which may quote a header value, from travelling.

Belongs here: the one place that catches everything. Does not belong here: what to do about a defect, or Prefect's view
of it (`tasks.guard`).
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oncurate.errors import Defect, OncurateError

OURS = frozenset({"oncurate", "tasks", "flows", "expectations"})


def describe(error: BaseException) -> str:
    """Kind of an exception and where it was raised, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    ours = [f for f in frames if Path(f.filename).parent.name in OURS]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
    via = (
        f", called from {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours and ours[-1] is not frames[-1] else ""
    )
    return f"{type(error).__name__}{where}{via}"


def guarded(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with every unexpected exception replaced by a `Defect` that holds no value."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except OncurateError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may quote a header value; only kind and place may leave
            raise Defect(f"{what}: {describe(error)}") from None

    return run
