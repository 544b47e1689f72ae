"""What README.md prints is true: its query runs on a release, its provider file parses, what it names is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from oncurate import provider
from tests.phantoms import ct_series, mr_series
from tests.provider_files import provider_file

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.flows
def test_the_query_for_consumers_runs_on_a_release(
    run: Callable[[Path], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct_series(tmp_path / "archive" / "ct")
    mr_series(tmp_path / "archive" / "mr", patient="PHANTOM-2")
    run(provider_file(tmp_path))
    monkeypatch.chdir(tmp_path / "curated" / "made")
    [query] = blocks("sql")
    rows = duckdb.sql(query).fetchall()
    assert {row[2] for row in rows} == {"CT", "MR"}
    assert all(Path(row[-1]).is_file() for row in rows)


def test_the_provider_file_parses(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    assert provider.parse(yaml.safe_load(text), base=tmp_path).dataset == "lung-ct"


def test_everything_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
    named = re.findall(
        r"\]\(([^)#:]+)\)|`((?:oncurate|tasks|flows|tests|expectations|deployments|\.ci)/[\w./-]*)`", README
    )
    missing = [path for pair in named for path in pair if path and not (ROOT / path).exists()]
    assert not missing


def test_every_stage_of_its_table_has_a_module_and_a_gate() -> None:
    rows = re.findall(r"^\| (\w+) \| .* \| `(\w+)` \|$", README, re.MULTILINE)
    stages = ["pull", "index", "deidentify", "convert", "harmonise", "annotate", "check", "publish"]
    assert [stage for stage, _ in rows] == stages
    assert all((ROOT / "tasks" / f"{stage}.py").exists() for stage, _ in rows)
    assert {gate for _, gate in rows} | {"clinical"} == {p.stem for p in (ROOT / "expectations").glob("*.json")}
