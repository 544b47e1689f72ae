"""`oncurate deidentify` as a site runs it: a process of its own, no server, on real, planted and hostile files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from flows.s3server import S3Server
from oncurate import textnets
from oncurate.deid import DeidPolicy
from oncurate.elements import PARSE_ERRORS, tag_of
from oncurate.headers import quiet
from oncurate.identity import Keys
from oncurate.store import Store
from tasks import standalone
from tests.command import oncurate, start
from tests.engine import SECRET
from tests.flows import canary
from tests.flows.searching import Needles, search
from tests.golden.chain import shared_folder
from tests.phantoms import ct_series

PYDICOM = Path(str(files("pydicom"))) / "data/test_files"
KEYS = Keys(SECRET.encode())
TRUST = ("--burned-in-text", "trust")
"""Looking at pixels takes seconds an image; the tests of `oncurate.masking` do it."""


def command(tmp_path: Path, *arguments: object) -> dict[str, Any]:
    """The result of a run that ended well."""
    ended = oncurate("deidentify", *arguments, "--json", home=tmp_path / "home")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert list((tmp_path / "home").iterdir()) == []  # Prefect has not been here
    return json.loads(ended.stdout)


def assert_closed(found: dict[str, Any]) -> None:
    ends = found["written"] + found["present"] + found["duplicate"] + found["defects"] + sum(found["refused"].values())
    assert found["files"] == ends


@pytest.fixture(scope="module")
def pydicoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The output folder of a run over the files that pydicom ships, and the result."""
    folder = tmp_path_factory.mktemp("pydicom")
    return folder / "out", command(folder, PYDICOM, "--out", folder / "out", *TRUST)


def test_every_file_that_pydicom_ships_has_one_end(pydicoms: tuple[Path, dict[str, Any]]) -> None:
    out, found = pydicoms
    assert_closed(found)
    there = [path for path in PYDICOM.rglob("*") if path.is_file()]
    packed = [path for path in there if path.suffix == ".gz"]  # each holds one file
    assert found["refused"]["archive_unpacked"] == len(packed)
    assert found["files"] == len(there) + len(packed)
    assert found["written"] == len(list(out.rglob("*.dcm"))) == len([p for p in out.rglob("*") if p.is_file()])
    assert found["written"] >= 60
    assert found["defects"] == 0


def test_a_second_run_over_them_writes_nothing_new(pydicoms: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, found = pydicoms
    again = command(tmp_path, PYDICOM, "--out", out, *TRUST)
    assert (again["written"], again["present"]) == (0, found["written"])
    assert_closed(again)


def test_several_processes_write_the_same_objects(
    pydicoms: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone, "BATCH_FILES", 16)
    policy, text = standalone.policy_of(None, None, "trust")
    job = standalone.Job(str(tmp_path / "out"), SECRET.encode(), policy, text, is_audited=True)
    report = standalone.deidentify(str(PYDICOM), job, workers=2, audit=tmp_path / "audit.parquet")
    out, found = pydicoms
    assert (report.files, report.written) == (found["files"], found["written"])
    refused = Counter({reason.value: number for reason, number in report.reasons().items()})
    contested = refused.pop("conflicting_copies") + report.duplicate  # which of two comes first is a matter of chance
    assert contested == found["refused"]["conflicting_copies"] + found["duplicate"]
    assert refused == Counter({k: n for k, n in found["refused"].items() if k != "conflicting_copies"})
    assert {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.dcm")} == {
        p.relative_to(out) for p in out.rglob("*.dcm")
    }


def test_names_are_keyed_and_the_same_across_files(pydicoms: tuple[Path, dict[str, Any]]) -> None:
    out, _ = pydicoms
    quiet()
    written = {path.stem: path for path in out.rglob("*.dcm")}
    met = 0
    for source in sorted(PYDICOM.rglob("*")):
        try:
            ds = dcmread(source, stop_before_pixels=True)
            uids = [str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)]
        except PARSE_ERRORS:
            continue
        path = written.get(KEYS.uid(uids[2]))
        if path is None:
            continue
        met += 1
        cleaned = dcmread(path, stop_before_pixels=True)
        assert [cleaned.StudyInstanceUID, cleaned.SeriesInstanceUID, cleaned.SOPInstanceUID] == [
            KEYS.uid(uid) for uid in uids
        ]
        assert path.parts[-4:-1] == (cleaned.PatientID, cleaned.StudyInstanceUID, cleaned.SeriesInstanceUID)
    assert met >= len(written)


def test_no_planted_marker_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = canary.planted()
    monkeypatch.setattr(
        canary, "planted", lambda: {t: planted[t] for t in sorted(planted) if is_text(t, planted[t].VR)}
    )
    canary.build(tmp_path / canary.TEXT)
    left = tmp_path / "left"
    ended = oncurate(
        *("deidentify", tmp_path / canary.TEXT, "--out", left / "out", "--audit", left / "audit.parquet"),
        home=tmp_path / "home",
    )
    assert ended.returncode == 0, ended.stderr
    (left / "said.txt").write_text(ended.stdout + ended.stderr)
    searched = textnets.models() is not None  # without the extra 'ocr' what may hold text is refused
    assert len(list((left / "out").rglob("*.dcm"))) >= (3 * 3 + 3 if searched else 3)
    assert search(left, Needles((canary.TEXT, canary.NAME, canary.UID_ROOT, canary.DATE, SECRET))) == []


def is_text(tag: int, vr: str) -> bool:
    """What is planted: identification, patient, private elements. The rest is for the tests of the engine.

    EthnicGroup is kept (patient characteristics), and with an encapsulated document every object is refused.
    """
    if tag in (tag_of("EthnicGroup"), tag_of("EncapsulatedDocument")):
        return False
    group = tag >> 16
    return vr not in ("OF", "OD", "OL", "OW", "OV") and (group in (0x0008, 0x0010) or bool(group & 1))


def test_hostile_files_end_with_a_reason(tmp_path: Path) -> None:
    archive = tmp_path / "in"
    (path, *_) = ct_series(archive / "ct", slices=3)
    whole = path.read_bytes()
    for cut in (1, 100, 131, 132, 140, 300, 700, len(whole) - 5):
        (archive / f"cut-{cut}.dcm").write_bytes(whole[:cut])
    (archive / "empty").write_bytes(b"")
    (archive / "text.dcm").write_text("no image\n" * 50)
    (archive / "noise.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 40)
    (archive / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    (archive / "link.dcm").symlink_to("/etc/hostname")
    os.mkfifo(archive / "pipe.dcm")
    found = command(tmp_path, archive, "--out", tmp_path / "out")
    assert_closed(found)
    assert (found["files"], found["defects"]) == (17, 0)
    assert found["written"] >= 3
    assert found["refused"]["unsafe_member"] == 2
    assert found["refused"]["empty_file"] == 1


def test_it_needs_no_engine() -> None:
    code = "import sys, flows.cli, flows.explained, tasks.standalone; print({'prefect', 'dask'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.s3
def test_a_source_in_a_bucket(aws: S3Server, bucket_store: Store, tmp_path: Path) -> None:
    paths = ct_series(tmp_path / "in", slices=3)
    for path in paths[:2]:
        bucket_store.write(path.name, path.read_bytes())
    with zipfile.ZipFile(tmp_path / "rest.zip", "w") as file:
        file.write(paths[2], "last.dcm")
    bucket_store.write("rest.zip", (tmp_path / "rest.zip").read_bytes())
    job = standalone.Job(str(tmp_path / "out"), SECRET.encode(), DeidPolicy(), "quarantine", is_audited=False)
    report = standalone.deidentify(bucket_store.url, job, workers=1)
    assert (report.files, report.written) == (4, 3)
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


@pytest.mark.shared
def test_real_archives(tmp_path: Path) -> None:
    root = shared_folder()
    if root is None:
        pytest.skip("the archive of real images is not here")
    source = root / "data" / "QIICR+dcmqi"
    found = command(tmp_path, source, "--out", tmp_path / "out")
    assert_closed(found)
    assert found["defects"] == 0
    assert found["written"] > 0


def test_a_run_that_is_stopped_leaves_nothing_unpacked_and_is_finished_by_the_next(tmp_path: Path) -> None:
    paths = ct_series(tmp_path / "ct", slices=4)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        for number in range(2000):
            file.write(paths[number % 4], f"{number}/{number % 4}.dcm")
    arguments = ("deidentify", tmp_path / "in.zip", "--out", tmp_path / "out", "--workers", 2, "--json")
    (tmp_path / "tmp").mkdir()
    process = start(*arguments, home=tmp_path / "home", extra={"TMPDIR": str(tmp_path / "tmp")})
    with process:
        while process.poll() is None and not list((tmp_path / "tmp").glob("oncurate-deidentify-*/objects")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, (out, err)
    assert list((tmp_path / "tmp").iterdir()) == []
    found = oncurate(*arguments, home=tmp_path / "home")
    assert found.returncode == 0
    result = json.loads(found.stdout)
    assert_closed(result)
    assert (result["files"], result["written"] + result["present"]) == (2001, 4)
