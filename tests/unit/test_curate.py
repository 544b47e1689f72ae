"""What a run holds, and when: the source's hours are waited for before others could be waiting for this run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from flows import curate, progress
from flows.progress import Reporter
from oncurate.errors import StoreUnreachable, UsageError
from oncurate.lease import holder
from oncurate.provider import Provider, parse
from tasks import prepare, zone


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("ONCURATE_SECRET", "a secret of these tests")
    raw = {"dataset": "x", "title": "x", "provider": {"name": "x", "country": "NL"}, "source": "archive"}
    return parse({**raw, "pull": {"only": "20:00-06:00 Europe/Amsterdam"}}, base=tmp_path)


def test_the_hours_are_waited_for_before_anything_is_held(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[str, bool]] = []

    def noting(what: str) -> Callable[..., None]:
        return lambda *_: held.append((what, holder(zone.work(provider)) is not None))

    def cluster(_: object) -> AbstractContextManager[Any]:
        noting("cluster")()
        raise StoreUnreachable("no cluster in this test")

    monkeypatch.setattr(prepare, "wait_for_window", noting("wait"))
    monkeypatch.setattr(prepare, "_check_source", noting("source"))
    monkeypatch.setattr(curate, "dask_cluster", cluster)
    with pytest.raises(StoreUnreachable, match="no cluster"):
        curate._curate(provider, None)
    assert held == [("wait", False), ("source", False), ("cluster", True)]
    assert holder(zone.work(provider)) is None


def test_a_missing_secret_is_told_before_the_wait(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCURATE_SECRET")
    monkeypatch.setattr(prepare, "wait_for_window", lambda *_: pytest.fail("waited"))
    with pytest.raises(UsageError, match="ONCURATE_SECRET"):
        curate._curate(provider, None)


def test_who_waits_is_told_at_the_terminal_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Reporter()
    monkeypatch.setattr(progress, "current", lambda: reporter)
    monkeypatch.setattr(curate, "get_run_logger", lambda: logging.getLogger("made"))
    caplog.set_level(logging.INFO)
    curate._say("waiting 2.0 h")
    assert capsys.readouterr().err == "waiting 2.0 h\n"
    assert caplog.messages == ["waiting 2.0 h"]
