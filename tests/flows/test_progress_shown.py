"""What operators see while a slow source is pulled: it moves before a batch ends, and names nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import stages
from tests.phantoms import ct_series
from tests.provider_files import provider_file
from tests.webserver import web_server

pytestmark = [pytest.mark.flows, pytest.mark.slow]

NAME = "Doe^Test"
LARGE = (64 << 20) + 1  # what is larger than 64 MiB comes through a file in the work zone
LINE = re.compile(
    r"pull: \d+ of 5 files, [\d.]+ of 67\.1 MB, 0 refused, [\d.]+ MB/s"
    r"(, \d:\d\d:\d\d to go: done at about \d{4}-\d\d-\d\d \d\d:\d\d UTC)?"
)


def test_a_pull_moves_within_a_batch_and_tells_its_end_but_no_name(
    run: Callable[[Path], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[float, str]] = []
    tables: dict[str, list[list[dict[str, Any]]]] = {}
    real_update, real_table = stages.update_progress_artifact, stages.create_table_artifact

    def update(artifact: Any, percent: float, text: str) -> None:
        shown.append((percent, text))
        real_update(artifact, percent, text)

    def table(*, key: str, table: list[dict[str, Any]]) -> None:
        tables.setdefault(key, []).append(table)
        real_table(key=key, table=table)

    monkeypatch.setattr(stages, "update_progress_artifact", update)
    monkeypatch.setattr(stages, "create_table_artifact", table)
    monkeypatch.setattr(stages, "LOOK_S", 0.5)
    with web_server() as web:
        web.files = {f"{NAME}/{path.name}": path.read_bytes() for path in ct_series(tmp_path / "made", slices=4)}
        web.files[f"{NAME}/large"] = bytes(LARGE)
        run(provider_file(tmp_path, source=web.url, pull={"rate": {"bytes_per_s": LARGE / 4}}))
    pulled = [(percent, text) for percent, text in shown if text.startswith("pull")]
    assert all(LINE.fullmatch(text) for _, text in pulled)
    percents = [percent for percent, _ in pulled]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    within = {percent for percent in percents if 0.1 < percent < 99}  # the small files come to 0.01 %
    assert len(within) >= 2
    assert any("to go: done at about" in text for _, text in pulled)
    first, last = ({row["what"]: row["files"] for row in rows} for rows in tables["made-pull-source"])
    assert (first["listed"], first["fetched"], last["listed"], last["fetched"]) == (5, 0, 5, 5)
    assert NAME not in str((shown, tables))
