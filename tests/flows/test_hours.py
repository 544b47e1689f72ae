"""A source that may be asked at certain hours only: when they end during a run, the next one finishes the job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import stages
from oncurate.lease import holder
from oncurate.sources.pace import WindowClosed
from oncurate.store import Store
from tests.phantoms import ct_series
from tests.provider_files import provider_file

pytestmark = [pytest.mark.flows, pytest.mark.slow]

Run = Callable[[Path], dict[str, Any]]
ALWAYS = "00:00-12:00, 12:00-00:00 UTC"


def test_hours_that_end_during_the_pull_end_the_run_and_the_next_one_finishes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct_series(tmp_path / "archive", slices=4)
    provider = provider_file(tmp_path, pull={"only": ALWAYS})
    real = stages.pull.survey

    def closing(*arguments: Any) -> None:
        real(*arguments)
        assert holder(Store((tmp_path / "work/made").as_uri())) is not None
        raise WindowClosed("over")

    monkeypatch.setattr(stages.pull, "survey", closing)
    with pytest.raises(WindowClosed) as ended:
        run(provider)
    monkeypatch.setattr(stages.pull, "survey", real)
    assert ended.value.exit_code == 4
    assert holder(Store((tmp_path / "work/made").as_uri())) is None
    assert not (tmp_path / "curated/made").exists()
    assert run(provider)["current"]["version"] == "v1"
