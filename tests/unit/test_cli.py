"""The command line: one clear sentence and the right exit code for everything that goes wrong, and valid JSON.

No flow runs here; `tests/flows` has the commands that run one.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flows import cli
from oncurate import store_local, tables
from oncurate.errors import Defect, OncurateError
from oncurate.lease import Lease
from oncurate.store import Store
from tests.command import Ended, in_this_process
from tests.phantoms import ct_series
from tests.provider_files import provider_file
from tests.staging import stage


@pytest.fixture
def oncurate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command in this process, as its entry point does."""
    return in_this_process(monkeypatch, capsys)


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., Path]:
    """Writes a provider file; `keys` are put over the usual ones, None removes one."""
    (tmp_path / "archive").mkdir()
    return partial(provider_file, tmp_path)


def test_an_unknown_key_is_named_with_the_nearest_right_one(oncurate, provider) -> None:
    ended = oncurate("curate", provider(sorce="x"))
    assert ended.code == 2
    assert "'sorce'" in ended.sentence
    assert "'source'" in ended.sentence


def test_a_missing_key_is_named(oncurate, provider) -> None:
    ended = oncurate("curate", provider(title=None))
    assert ended.code == 2
    assert "'title' is missing" in ended.sentence


def test_bad_yaml_names_the_line(oncurate, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("dataset: [x\ntitle: y\n")
    ended = oncurate("curate", tmp_path / "p.yaml")
    assert ended.code == 2
    assert "line 2" in ended.sentence


@pytest.mark.parametrize("command", ["curate", "status", "quarantine"])
def test_a_provider_file_that_is_not_there(oncurate, tmp_path: Path, command: str) -> None:
    ended = oncurate(command, tmp_path / "gone.yaml")
    assert ended.code == 2
    assert "gone.yaml" in ended.sentence


@pytest.mark.parametrize(("value", "word"), [("", "is not set"), ("Kq7zZ", "16 bytes")])
def test_a_missing_or_short_secret_is_refused_without_repeating_it(oncurate, provider, value: str, word: str) -> None:
    os.environ["ONCURATE_SECRET"] = value
    ended = oncurate("curate", provider())
    assert ended.code == 2
    assert word in ended.sentence
    assert "ONCURATE_SECRET" in ended.sentence
    assert "Kq7zZ" not in ended.sentence


def test_a_changed_secret_is_refused_on_the_same_work_zone(oncurate, provider, tmp_path: Path) -> None:
    from oncurate.provider import read
    from tasks.prepare import prepare

    prepare(read(provider()))
    os.environ["ONCURATE_SECRET"] = "another secret of these tests"
    ended = oncurate("curate", provider())
    assert ended.code == 2
    assert "ONCURATE_SECRET" in ended.sentence
    assert "another secret" not in ended.sentence


def test_a_source_that_does_not_exist(oncurate, provider) -> None:
    ended = oncurate("curate", provider(source="nowhere"))
    assert ended.code == 4
    assert "nowhere does not exist" in ended.sentence


@pytest.mark.parametrize("keys", [{"source": "curated/in"}, {"work": "curated/work"}, {"source": "ftp://host/x"}])
def test_zones_that_cannot_be(oncurate, provider, keys: dict[str, str]) -> None:
    ended = oncurate("curate", provider(**keys))
    assert ended.code == 2
    assert next(iter(keys)) in ended.sentence


def test_a_target_that_holds_another_data_set_is_refused(oncurate, provider, tmp_path: Path) -> None:
    from oncurate import release

    work = Store((tmp_path / "other-work").as_uri())
    release.publish(Store((tmp_path / "curated/made").as_uri()), work, stage(work))
    ended = oncurate("curate", provider())
    assert ended.code == 2
    assert "another data set" in ended.sentence


def test_a_full_disk_ends_as_an_unusable_store(oncurate, provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_local.os, "replace", full)
    monkeypatch.setattr(store_local.os, "link", full)
    ended = oncurate("curate", provider())
    assert ended.code == 4
    assert "full" in ended.sentence


def test_a_target_that_may_not_be_written(oncurate, provider, tmp_path: Path) -> None:
    (tmp_path / "curated").write_text("a file where the target's folder should be")
    ended = oncurate("curate", provider())
    assert ended.code == 4
    assert "curated" in ended.sentence


def test_inspect_counts_and_writes_nothing(oncurate, provider, tmp_path: Path) -> None:
    ct_series(tmp_path / "archive/ct", slices=4)
    (tmp_path / "archive/note.txt").write_text("x")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    ended = oncurate("inspect", tmp_path / "archive", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert (found["files"], found["patients"], found["reasons"]) == (5, 1, {"not_dicom": 1})
    assert found["modalities"] == [{"modality": "CT", "series": 1, "volumes": 1, "planar": 0, "cines": 0, "files": 4}]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert "not_dicom" in oncurate("inspect", tmp_path / "archive").out


def test_inspect_of_what_is_not_there(oncurate, tmp_path: Path) -> None:
    assert oncurate("inspect", tmp_path / "nowhere").code == 4
    assert oncurate("inspect", "ftp://host/x").code == 2


def test_status_before_and_during_a_run(oncurate, provider, tmp_path: Path) -> None:
    path = provider()
    ended = oncurate("status", path, "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {"dataset": "made", "current": None, "ledger": None, "run": "none under way"}
    assert "no release yet" in oncurate("status", path).out
    with Lease(Store((tmp_path / "work/made").as_uri())):
        assert f"process {os.getpid()}" in json.loads(oncurate("status", path, "--json").out)["run"]


def test_quarantine_lists_reasons_and_files(oncurate, provider, tmp_path: Path) -> None:
    path = provider()
    ended = oncurate("quarantine", path)
    assert ended.code == 4
    assert "no run has finished" in ended.sentence
    rows = [
        {"source_path": "a", "state": "quarantined", "reason": "gantry_tilt", "detail": "0.5 mm"},
        {"source_path": "b", "state": "quarantined", "reason": "empty_file", "detail": ""},
        {"source_path": "c", "state": "curated", "reason": None, "detail": ""},
    ]
    Store((tmp_path / "work/made").as_uri()).write("ledger/ledger.parquet", tables.to_parquet("ledger", rows))
    assert json.loads(oncurate("quarantine", path, "--json").out) == [
        {"reason": "gantry_tilt", "files": 1},
        {"reason": "empty_file", "files": 1},
    ]
    listed = json.loads(oncurate("quarantine", path, "--json", "--files", "--reason", "empty_file").out)
    assert [row["source_path"] for row in listed] == ["b"]
    shown = oncurate("quarantine", path, "--files").out
    assert "gantry_tilt\ta\t0.5 mm" in shown
    assert "\tc\t" not in shown


def test_verify_says_whether_a_release_is_whole(oncurate, tmp_path: Path) -> None:
    from oncurate import release

    dataset, work = tmp_path / "curated/lung-ct", Store((tmp_path / "work").as_uri())
    release.publish(Store(str(dataset)), work, stage(work))
    ended = oncurate("verify", dataset, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["problems"] == []
    assert "every checksum holds" in oncurate("verify", dataset).out
    (dataset / "releases/v1/README.md").write_text("changed")
    ended = oncurate("verify", dataset)
    assert ended.code == 3
    assert "README.md" in ended.out
    assert len(json.loads(oncurate("verify", dataset, "--json").out)["problems"]) == 1


def test_verify_of_no_release(oncurate, tmp_path: Path) -> None:
    assert "holds no release" in oncurate("verify", tmp_path).sentence
    assert oncurate("verify", tmp_path, "--version", "v9").code == 2


def test_gate_accepts_and_refuses_a_table(oncurate, tmp_path: Path) -> None:
    row = {"source_path": "a", "url": "file:///a", "bytes": 5, "version": "1", "sha256": "a" * 64, "reason": None}
    (tmp_path / "good.parquet").write_bytes(tables.to_parquet("objects", [row]))
    (tmp_path / "empty.parquet").write_bytes(tables.to_parquet("objects", []))
    ended = oncurate("gate", "objects", tmp_path / "good.parquet", "--json")
    assert ended.code == 0, ended.out
    assert json.loads(ended.out)["passed"] is True
    ended = oncurate("gate", "objects", tmp_path / "empty.parquet", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["refusals"]
    assert "Gate objects: refused" in oncurate("gate", "objects", tmp_path / "empty.parquet").out


def test_gate_of_what_is_no_suite_or_no_table(oncurate, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("x")
    assert "objects" in oncurate("gate", "object", tmp_path / "t.parquet").sentence
    assert oncurate("gate", "object", tmp_path / "t.parquet").code == 2
    assert oncurate("gate", "objects", tmp_path / "t.parquet").code == 2
    assert oncurate("gate", "objects", tmp_path / "gone.parquet").code == 2


def test_every_kind_of_error_ends_with_its_code(oncurate, provider, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {kind.exit_code: kind for kind in OncurateError.__subclasses__()}
    assert sorted(kinds) == [2, 3, 4, 5]
    for code, kind in kinds.items():

        def fails(*_: object, kind: type[OncurateError] = kind, **__: object) -> None:
            raise kind("a sentence")

        monkeypatch.setattr(cli, "_curate", fails)
        ended = oncurate("curate", provider())
        assert (ended.code, ended.sentence) == (code, "oncurate: a sentence")
    assert Defect.exit_code == 5


def test_a_bug_is_said_without_its_text(oncurate, provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("DOE^JANE")

    monkeypatch.setattr(cli, "_curate", fails)
    ended = oncurate("curate", provider())
    assert ended.code == 5
    assert "ValueError at test_cli.py" in ended.sentence
    assert "DOE" not in ended.sentence


def test_usage_mistakes_have_exit_code_2(oncurate) -> None:
    assert oncurate("curat").code == 2
    assert oncurate("curate").code == 2
    assert oncurate("curate", "a", "b").code == 2
    assert oncurate("--help").code == 0
