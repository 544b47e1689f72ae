"""No exception's own text leaves a task: only its kind and the place where it was raised."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path

import pytest

from oncurate.errors import Defect, GateRefused, StoreUnreachable
from oncurate.guard import guarded
from tasks import guard

MARKER = "DOE^JANE"
TASKS = Path(guard.__file__).parent


def fails_with(error: BaseException):
    def function() -> None:
        try:
            raise KeyError(MARKER)
        except KeyError as inner:
            inner.add_note(MARKER)
            raise error from inner

    return guarded("stage convert", function)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"invalid value {MARKER}"),
        UnicodeDecodeError("utf-8", MARKER.encode(), 0, 1, MARKER),
        OSError(2, "no such file", f"/archive/{MARKER}.dcm"),
        RecursionError(MARKER),
        type(f"Error{MARKER[:3]}", (Exception,), {})(MARKER),
    ],
)
def test_a_bug_ends_as_a_defect_without_its_text(error: Exception) -> None:
    with pytest.raises(Defect) as caught:
        fails_with(error)()
    said = "".join(traceback.format_exception(caught.value))
    assert MARKER not in str(caught.value)
    assert MARKER not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert type(error).__name__ in str(caught.value)
    assert "test_guard.py:" in str(caught.value)
    assert "stage convert" in str(caught.value)


@pytest.mark.parametrize("kind", [StoreUnreachable, GateRefused, Defect])
def test_errors_of_ours_pass_as_they_are(kind: type[Exception]) -> None:
    error = kind("a sentence of ours")

    def function() -> None:
        raise error

    with pytest.raises(kind) as caught:
        guarded("pull", function)()
    assert caught.value is error


def test_the_place_of_ours_that_called_a_library_is_named() -> None:
    from oncurate.recipe import canonical_json

    with pytest.raises(Defect) as caught:
        guarded("index", lambda: canonical_json({"x": object()}))()
    assert "called from recipe.py:" in str(caught.value)


def test_only_an_unreachable_store_is_tried_again() -> None:
    class Ended:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def result(self) -> None:
            raise self.error

    assert guard.store_failed(None, None, Ended(StoreUnreachable("gone")))
    assert not guard.store_failed(None, None, Ended(Defect("a bug")))
    assert not guard.store_failed(None, None, Ended(GateRefused("no")))


def test_every_task_is_guarded() -> None:
    """`prefect.task` is applied in one place, which guards, and nowhere else."""
    for path in TASKS.glob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect")
            for alias in node.names
        }
        assert "task" not in names or path.name == "guard.py", path.name
