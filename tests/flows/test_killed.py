"""Killed at any moment, the next run finishes the job, and no reader ever saw half a release."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from oncurate import tables
from oncurate.recipe import sha256_hex
from oncurate.store import Store
from oncurate.verify import verify
from tests.command import oncurate, start
from tests.flows import archive
from tests.phantoms import ct_series, mr_series
from tests.provider_files import provider_file

pytestmark = [pytest.mark.flows, pytest.mark.slow, pytest.mark.timeout(900)]

LOOK_EVERY_S = 0.01
GIVE_UP_S = 240


def _build(folder: Path) -> int:
    for patient in range(6):
        ct_series(folder / f"archive/ct{patient}", patient=f"MADE-{patient}", rows=128, columns=128, slices=12)
    return 6 * 12 + len(mr_series(folder / "archive/mr", patient="MADE-MR"))


def _kill_when(process: psutil.Popen, reached: Callable[[], bool]) -> None:
    """SIGKILL the flow's process and then what it left behind, found from its own id."""
    since = time.monotonic()
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() - since < GIVE_UP_S
        time.sleep(LOOK_EVERY_S)
    parent = psutil.Process(process.pid)
    children = parent.children(recursive=True)
    parent.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait(30)
    psutil.wait_procs(children, timeout=30)


MOMENTS = {
    "after pull": "work/made/objects/objects.parquet",
    "while converting": "work/made/stage/volumes/*/*/native.nii.gz",
    "while harmonising": "work/made/stage/volumes/*/*/harmonised.nii.gz",
    "while placing objects": "curated/made/volumes/*/*/*",
    "while writing the release": "curated/made/releases/v1/*",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_finished_by_the_next(tmp_path: Path, moment: str) -> None:
    files = _build(tmp_path)
    provider = provider_file(tmp_path)
    with start("curate", provider, home=tmp_path / "prefect") as process:
        _kill_when(process, lambda: any(tmp_path.glob(MOMENTS[moment])))
    dataset = Store((tmp_path / "curated/made").as_uri())
    if (tmp_path / "curated/made/current.json").exists():
        assert verify(dataset).ok
    ended = oncurate("curate", provider, home=tmp_path / "prefect-2")
    assert ended.returncode == 0, ended.stderr
    report = verify(dataset)
    assert (report.problems, report.is_current) == ((), True)
    rows = tables.from_parquet((tmp_path / "work/made/ledger/ledger.parquet").read_bytes())
    assert [row["state"] for row in rows] == ["curated"] * files
    assert sorted(row["source_path"] for row in rows) == archive.listing(tmp_path / "archive")


def test_what_a_killed_run_had_made_is_not_made_again_and_comes_out_the_same(tmp_path: Path) -> None:
    _build(tmp_path)
    provider = provider_file(tmp_path)
    staged = tmp_path / "work/made/stage/volumes"
    with start("curate", provider, home=tmp_path / "prefect") as process:
        _kill_when(process, lambda: len(list(staged.glob("*/*/native.json"))) >= 3)
    made = {path: path.stat().st_mtime_ns for path in staged.glob("*/*/native.json")}
    assert oncurate("curate", provider, home=tmp_path / "prefect-2").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    undisturbed = provider_file(tmp_path, target="other", work="other-work")
    assert oncurate("curate", undisturbed, home=tmp_path / "prefect-3").returncode == 0
    assert _volumes(tmp_path / "curated/made") == _volumes(tmp_path / "other/made")


def _volumes(dataset: Path) -> dict[str, str]:
    return {
        path.relative_to(dataset).as_posix(): sha256_hex(path.read_bytes())
        for path in dataset.glob("volumes/**/*")
        if path.is_file()
    }
