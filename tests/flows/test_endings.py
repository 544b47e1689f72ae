"""How a run ends that must not go on: its exit code and its sentence, seen by a user."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import State

from oncurate.errors import Defect, GateRefused, StoreUnreachable
from oncurate.lease import Lease
from oncurate.store import Store
from tasks.guard import stage_task
from tests.command import oncurate
from tests.phantoms import ct_series
from tests.provider_files import provider_file

pytestmark = pytest.mark.flows

Run = Callable[[Path], dict[str, Any]]
MARKER = "DOE^JANE"


def test_a_second_run_on_one_data_set_is_turned_away(dask: str, tmp_path: Path) -> None:
    ct_series(tmp_path / "archive", slices=3)
    provider = provider_file(tmp_path)
    with Lease(Store((tmp_path / "work/made").as_uri())):
        ended = oncurate("curate", provider, "--dask", dask, home=tmp_path / "prefect", extra=_api())
    assert ended.returncode == 4
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("oncurate: ")]
    assert "another run works on" in line
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "curated/made").exists()


def _api() -> dict[str, str]:
    from prefect.settings import PREFECT_API_URL

    return {"PREFECT_API_URL": str(PREFECT_API_URL.value())}


def test_an_archive_without_any_image_is_refused_by_a_gate(run: Run, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/letter.txt").write_text("no image")
    with pytest.raises(GateRefused, match="series gate") as caught:
        run(provider_file(tmp_path))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "curated/made/current.json").exists()


def test_an_empty_archive_is_refused_by_a_gate(run: Run, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(GateRefused, match="objects gate"):
        run(provider_file(tmp_path))


@pytest.mark.slow
def test_a_run_that_refuses_more_than_its_limit_releases_nothing(run: Run, tmp_path: Path) -> None:
    ct_series(tmp_path / "archive/good", slices=4, patient="MADE-1")
    ct_series(tmp_path / "archive/gap", slices=8, missing=[3], patient="MADE-2")
    provider = provider_file(tmp_path, limits={"refused_share": 0.5})
    with pytest.raises(GateRefused, match=r"63\.6% of the files are quarantined, more than the limit of 50\.0%"):
        run(provider)
    assert not (tmp_path / "curated/made/current.json").exists()
    ended = oncurate("quarantine", provider, "--json", home=tmp_path / "prefect")
    assert json.loads(ended.stdout) == [{"reason": "missing_slices", "files": 7}]
    assert run(provider_file(tmp_path, limits={"refused_share": 0.7}))["current"]["version"] == "v1"


@pytest.mark.slow
def test_no_cluster_at_the_address(run: Run, tmp_path: Path) -> None:
    from flows.curate import curate

    ct_series(tmp_path / "archive", slices=3)
    with pytest.raises(StoreUnreachable, match="no Dask scheduler answers"):
        curate(str(provider_file(tmp_path)), "tcp://127.0.0.1:9")


def test_a_bug_in_a_task_leaves_no_value_in_prefect(dask: str, tmp_path: Path) -> None:
    @stage_task("convert", retries=0)
    def broken(number: int, total: int) -> None:
        raise ValueError(f"cannot read {MARKER}")

    @flow(name="broken", persist_result=False)
    def broken_flow() -> State[None]:
        return broken(number=1, total=1, return_state=True)

    state = broken_flow(return_state=True)
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs()
    (task_run,) = [
        r for r in runs if r.name == "convert 1 of 1" and r.state and r.state.is_failed() and r.state.message
    ]
    assert "ValueError" in task_run.state.message
    assert MARKER not in f"{task_run} {state}"
    with pytest.raises(Defect) as caught:
        state.result()
    assert MARKER not in str(caught.value)


def test_prefect_s_database_is_the_one_of_the_tests(dask: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    from prefect.settings import PREFECT_HOME

    home = PREFECT_HOME.value()
    assert home.is_relative_to(tmp_path_factory.getbasetemp())
    with sqlite3.connect(home / "prefect.db") as database:
        assert database.execute("select count(*) from flow_run").fetchone()[0] > 0
