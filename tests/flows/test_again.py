"""Running again: nothing new does nothing, and what is new makes a release that shares the rest with the last one.

One data set goes through five runs; the tests compare what lay in the target after each.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from oncurate import tables
from oncurate.recipe import sha256_hex
from oncurate.store import Store
from oncurate.verify import verify
from tests.command import environment, oncurate
from tests.phantoms import ct_series, mr_series
from tests.provider_files import provider_file

pytestmark = pytest.mark.flows

NOTHING_NEW_S = 15
"""A run that finds nothing new starts no server; on two idle cores it takes 2 s, one with a server 20 s."""


class After(NamedTuple):
    """A run's result and the target's files then: path -> modification time and digest."""

    finished: dict[str, Any]
    files: dict[str, tuple[int, str]]
    volumes: list[dict[str, Any]]

    @property
    def paths(self) -> set[str]:
        return {row[f"{kind}_path"] for row in self.volumes for kind in ("native", "harmonised", "preview", "metadata")}

    def ids(self, modality: str) -> set[str]:
        return {row["volume_id"] for row in self.volumes if row["Modality"] == modality}


class History(NamedTuple):
    """Five runs on one data set."""

    folder: Path
    first: After
    again: After
    added: After
    changed: After
    removed: After

    @property
    def dataset(self) -> Path:
        return self.folder / "curated" / "made"


def _after(folder: Path, finished: dict[str, Any]) -> After:
    target = folder / "curated"
    files = {
        path.relative_to(target).as_posix(): (path.stat().st_mtime_ns, sha256_hex(path.read_bytes()))
        for path in target.rglob("*")
        if path.is_file()
    }
    table = target / f"made/releases/{finished['current']['version']}/tables/volumes.parquet"
    return After(finished, files, tables.from_parquet(table.read_bytes()))


@pytest.fixture(scope="module")
def history(run: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("again")
    ct_series(folder / "archive/ct", patient="MADE-1")
    mr_series(folder / "archive/mr", patient="MADE-2", slices=4)
    provider = provider_file(folder)
    first = _after(folder, run(provider))
    again = _after(folder, run(provider))
    ct_series(folder / "archive/more", patient="MADE-3", slices=4)
    added = _after(folder, run(provider))
    provider_file(folder, harmonise={"CT": {"spacing_mm": [2.0, 2.0, 2.0]}})
    changed = _after(folder, run(provider))
    shutil.rmtree(folder / "archive/mr")
    removed = _after(folder, run(provider))
    return History(folder, first, again, added, changed, removed)


def test_a_run_with_nothing_new_changes_nothing_in_the_target(history: History) -> None:
    assert (history.first.finished["is_new"], history.again.finished["is_new"]) == (True, False)
    assert history.again.finished["current"] == history.first.finished["current"]
    assert history.again.finished["ledger"] == history.first.finished["ledger"]
    assert history.again.files == history.first.files


def test_a_new_series_makes_a_release_that_shares_all_older_objects(history: History) -> None:
    old, new = history.first, history.added
    assert (new.finished["is_new"], new.finished["current"]["version"]) == (True, "v2")
    assert old.paths < new.paths
    kept = {path: seen for path, seen in old.files.items() if path.startswith("made/") and path != "made/current.json"}
    assert kept.items() <= new.files.items()
    assert new.ids("MR") == old.ids("MR")
    assert len(new.ids("CT") - old.ids("CT")) == 1


def test_a_changed_profile_changes_only_the_volumes_that_it_is_about(history: History) -> None:
    old, new = history.added, history.changed
    assert new.finished["current"]["version"] == "v3"
    assert new.ids("MR") == old.ids("MR")
    assert not new.ids("CT") & old.ids("CT")
    assert {row["harmonised_spacing_mm"][0] for row in new.volumes if row["Modality"] == "CT"} == {2.0}
    assert {row["native_sha256"] for row in new.volumes} == {row["native_sha256"] for row in old.volumes}


def test_a_removed_series_is_not_in_the_next_release(history: History) -> None:
    assert history.removed.finished["current"]["version"] == "v4"
    assert history.removed.ids("MR") == set()
    assert history.removed.ids("CT") == history.changed.ids("CT")
    assert history.removed.finished["ledger"]["files"] == history.changed.finished["ledger"]["files"] - 4


def test_every_version_still_verifies(history: History) -> None:
    reports = [verify(Store(str(history.dataset)), version) for version in ("v1", "v2", "v3", "v4")]
    assert [report.problems for report in reports] == [()] * 4
    assert [report.is_current for report in reports] == [False, False, False, True]


def test_the_same_subject_keeps_its_pseudonym_in_every_version(history: History) -> None:
    runs = (history.first, history.added, history.changed)
    assert len({frozenset(r["subject_id"] for r in a.volumes if r["Modality"] == "MR") for a in runs}) == 1


def test_the_command_says_at_once_that_there_is_nothing_new(history: History, tmp_path: Path) -> None:
    before = history.removed.files
    began = time.monotonic()
    ended = oncurate("curate", history.folder / "provider.yaml", "--json", home=tmp_path)
    assert time.monotonic() - began < NOTHING_NEW_S
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["is_new"], said["current"]["version"]) == (False, "v4")
    assert _after(history.folder, said).files == before


def test_nothing_new_starts_no_server_and_no_cluster(history: History, tmp_path: Path) -> None:
    code = (
        "import sys; from flows import cli; from oncurate.provider import read\n"
        f"p = {str(history.folder / 'provider.yaml')!r}\n"
        "assert cli._curate(read(p), p, None, True)['is_new'] is False\n"
        "assert not {'distributed', 'prefect.server.api.server', 'great_expectations'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), check=True)
