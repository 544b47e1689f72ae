"""De-identification as a command of its own, and the custodian's pseudonyms, in this process."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread

from flows import explained
from oncurate import tables
from oncurate.deid import CleanFile, DeidPolicy
from oncurate.errors import Rejection, UsageError
from oncurate.identity import Keys
from oncurate.reasons import Reason
from oncurate.store import Store
from tasks import standalone_files
from tests import phantoms
from tests.command import SECRET, Ended, in_this_process
from tests.provider_files import provider_file

KEYS = Keys(SECRET.encode())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command in this process, as its entry point does."""
    return in_this_process(monkeypatch, capsys)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A series of three slices, an image of another patient, and what is none."""
    folder = tmp_path / "archive"
    phantoms.ct_series(folder / "Doe Test", slices=3)
    phantoms.write(phantoms.dataset(patient="PHANTOM-2"), folder / "other.dcm")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "notes.txt").write_text("Doe Test, 3 slices")
    return folder


def objects(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_every_file_ends_in_one_line(run, archive: Path, tmp_path: Path) -> None:
    found = run("deidentify", archive, "--out", tmp_path / "out", "--json").found
    assert found["refused"] == {"empty_file": 1, "not_dicom": 1}
    assert (found["files"], found["written"], found["present"], found["duplicate"], found["defects"]) == (6, 4, 0, 0, 0)
    assert (found["subjects"], found["series"]) == (2, 2)
    assert found["bytes_written"] == sum(map(len, objects(tmp_path / "out").values()))


def test_an_object_lies_under_its_keyed_names(run, archive: Path, tmp_path: Path) -> None:
    source = dcmread(archive / "other.dcm")
    run("deidentify", archive / "other.dcm", "--out", tmp_path / "out")
    subject = KEYS.subject_id("PHANTOM-2", "")
    study, series, instance = (
        KEYS.uid(uid) for uid in (source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    )
    path = tmp_path / "out" / subject / study / series / f"{instance}.dcm"
    written = dcmread(path)
    assert [written.PatientID, written.StudyInstanceUID, written.SeriesInstanceUID, written.SOPInstanceUID] == [
        *(subject, study, series, instance)
    ]
    assert written.PatientIdentityRemoved == "YES"
    assert written.PixelData == source.PixelData


def test_a_second_run_writes_nothing_new(run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("deidentify", archive, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    found = run("deidentify", archive, "--out", out, "--json").found
    assert (found["written"], found["present"], found["bytes_written"]) == (0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_killed_writer_leaves_no_object(run, archive: Path, tmp_path: Path, monkeypatch) -> None:
    from oncurate import store_local

    def fails(*_: object) -> None:
        raise PermissionError

    out = tmp_path / "out"
    (out / "x").mkdir(parents=True)
    monkeypatch.setattr(store_local.os, "link", fails)
    assert run("deidentify", archive, "--out", out).code == 4
    assert objects(out) == {}


def test_copies_are_duplicates_and_contradictions_are_refused(run, tmp_path: Path) -> None:
    one = phantoms.dataset()
    phantoms.write(one, tmp_path / "in/a.dcm")
    phantoms.write(one, tmp_path / "in/b/again.dcm")
    phantoms.write(phantoms.dataset(phantoms.voxels(1, 16, 12, seed=9)[0]), tmp_path / "in/c.dcm")
    found = run("deidentify", tmp_path / "in", "--out", tmp_path / "out", "--json", "--files").found
    assert (found["written"], found["duplicate"]) == (1, 1)
    assert found["refused_files"] == [{"reason": "conflicting_copies", "source_path": "c.dcm", "detail": ""}]
    (written,) = objects(tmp_path / "out").values()
    assert one.PixelData in written


def test_members_of_an_archive_file(run, archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        for path in sorted(archive.rglob("*.*")):
            file.write(path, path.relative_to(archive))
        file.writestr("../outside.dcm", (archive / "other.dcm").read_bytes())
    found = run("deidentify", tmp_path / "in.zip", "--out", tmp_path / "out", "--json").found
    assert found["refused"] == {"archive_unpacked": 1, "empty_file": 1, "not_dicom": 1, "unsafe_member": 1}
    assert (found["files"], found["written"]) == (8, 4)
    run("deidentify", archive, "--out", tmp_path / "plain")
    assert objects(tmp_path / "out") == objects(tmp_path / "plain")


def test_refusals_are_told_without_any_value(run, archive: Path, tmp_path: Path) -> None:
    whole = (archive / "other.dcm").read_bytes()
    (archive / "cut.dcm").write_bytes(whole[:300])
    phantoms.write(phantoms.dataset(StudyInstanceUID=None, PatientID="SECRET-1"), archive / "no-study.dcm")
    phantoms.write(phantoms.dataset(BurnedInAnnotation="YES", PatientID="SECRET-2"), archive / "text.dcm")
    phantoms.write(phantoms.dataset(sop_class="1.2.3.4.5", PatientID="SECRET-3"), archive / "foreign.dcm")
    ended = run("deidentify", archive, "--out", tmp_path / "out", "--files")
    assert ended.code == 0
    lines = [line.split("\t") for line in ended.out.splitlines() if "\t" in line]
    assert ["missing_identity", "no-study.dcm", "StudyInstanceUID"] in lines
    assert {(reason, path) for reason, path, _ in lines} >= {
        ("burned_in_annotation", "text.dcm"),
        ("unknown_sop_class", "foreign.dcm"),
        ("empty_file", "empty.dcm"),
        ("not_dicom", "notes.txt"),
    }
    assert any(path == "cut.dcm" for _, path, _ in lines)
    assert Reason.EMPTY_FILE.advice.split(";")[0] in " ".join(ended.out.split())
    assert "SECRET" not in ended.out + ended.err
    quiet = run("deidentify", archive, "--out", tmp_path / "out")
    assert "cut.dcm" not in quiet.out


def test_refusals_fail_only_if_asked(run, archive: Path, tmp_path: Path) -> None:
    arguments = ("deidentify", archive, "--out", tmp_path / "out", "--fail-on-refused")
    assert run(*arguments).code == 3
    (archive / "empty.dcm").unlink()
    assert run(*arguments).code == 0  # a text file is excluded, not quarantined


def test_a_bug_concerns_one_file_and_is_told_without_its_text(run, archive: Path, tmp_path: Path, monkeypatch) -> None:
    whole = standalone_files.clean_file

    def fails(data: bytes, *rest: Any) -> Any:
        if b"PHANTOM-2" in data:
            raise ValueError("DOE^TEST")
        return whole(data, *rest)

    monkeypatch.setattr(standalone_files, "clean_file", fails)
    ended = run("deidentify", archive, "--out", tmp_path / "out", "--json")
    assert ended.code == 5
    found = json.loads(ended.out)
    assert (found["files"], found["written"], found["defects"]) == (6, 3, 1)
    assert "ValueError at test_cli_deidentify.py" in ended.err
    assert "DOE" not in ended.out + ended.err


def test_the_audit_tells_elements_and_rules(run, archive: Path, tmp_path: Path) -> None:
    audit = tmp_path / "audit/what.parquet"
    run("deidentify", archive, "--out", tmp_path / "out", "--audit", audit)
    table = pq.read_table(audit)
    assert set(table.column("object").to_pylist()) == set(objects(tmp_path / "out"))
    rows = {(row["element"], row["action"]) for row in table.to_pylist()}
    assert any("00080090" in element.replace(",", "") and action in "XZD" for element, action in rows)
    assert all(field.metadata[b"description"] for field in table.schema)
    assert b"REFERRER" not in audit.read_bytes()
    assert [path.name for path in audit.parent.iterdir()] == ["what.parquet"]


def test_options_reach_the_objects(run, archive: Path, tmp_path: Path) -> None:
    for dates, day in (("full", "20230405"), ("none", "")):
        out = tmp_path / dates
        run("deidentify", archive / "other.dcm", "--out", out, "--dates", dates)
        (path,) = out.rglob("*.dcm")
        assert (dcmread(path).get("StudyDate") or "") == day


def test_trust_lets_an_image_pass_that_says_it_carries_text(run, tmp_path: Path) -> None:
    phantoms.write(phantoms.dataset(BurnedInAnnotation="YES"), tmp_path / "in/a.dcm")
    arguments = ("deidentify", tmp_path / "in", "--out", tmp_path / "out", "--json")
    assert run(*arguments).found["refused"] == {"burned_in_annotation": 1}
    assert run(*arguments, "--burned-in-text", "trust").found["written"] == 1


def test_a_policy_file_counts_and_the_command_line_over_it(run, archive: Path, tmp_path: Path) -> None:
    path = provider_file(tmp_path, deidentify={"burned_in_text": "trust"}, secret_env="OTHER_SECRET")
    os.environ["OTHER_SECRET"] = "another secret of these tests"
    phantoms.write(phantoms.dataset(BurnedInAnnotation="YES"), archive / "text.dcm")
    out = tmp_path / "out"
    assert (
        "burned_in_annotation"
        not in run("deidentify", archive, "--out", out, "--policy", path, "--json").found["refused"]
    )
    assert Keys(b"another secret of these tests").subject_id("PHANTOM-2", "") in os.listdir(out)
    refused = run(
        *("deidentify", archive, "--out", tmp_path / "2", "--policy", path),
        *("--burned-in-text", "quarantine", "--secret-env", "ONCURATE_SECRET", "--json"),
    ).found["refused"]
    assert refused["burned_in_annotation"] == 1
    assert KEYS.subject_id("PHANTOM-2", "") in os.listdir(tmp_path / "2")


def test_a_mistake_in_the_policy_file_names_the_key(run, archive: Path, tmp_path: Path) -> None:
    path = provider_file(tmp_path, deidentify={"burned_in_txt": "trust"})
    ended = run("deidentify", archive, "--out", tmp_path / "out", "--policy", path)
    assert ended.code == 2
    assert "burned_in_txt" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "word"), [("", "is not set"), ("Kq7zZ", "16 bytes")])
def test_a_missing_or_short_secret_is_refused(run, archive: Path, tmp_path: Path, value: str, word: str) -> None:
    os.environ["ONCURATE_SECRET"] = value
    ended = run("deidentify", archive, "--out", tmp_path / "out")
    assert ended.code == 2
    assert word in ended.err
    assert "Kq7zZ" not in ended.err
    os.environ["MY_SECRET"] = SECRET
    assert run("deidentify", archive, "--out", tmp_path / "out", "--secret-env", "MY_SECRET").code == 0


def test_a_secret_that_is_not_the_work_zones_is_refused(run, archive: Path, tmp_path: Path) -> None:
    path = provider_file(tmp_path)
    assert run("pseudonym", path, stdin=b"PHANTOM-2\n").code == 0
    os.environ["ONCURATE_SECRET"] = "another secret of these tests"
    for arguments in (("pseudonym", path), ("deidentify", archive, "--out", tmp_path / "out", "--policy", path)):
        ended = run(*arguments, stdin=b"PHANTOM-2\n")
        assert ended.code == 2
        assert ended.out == ""
        assert "another secret" not in ended.err


@pytest.mark.parametrize(
    ("source", "out"), [("archive", "archive/out"), ("archive", "."), ("archive", "archive"), ("archive", "link/out")]
)
def test_source_and_output_do_not_lie_in_one_another(run, archive: Path, tmp_path: Path, source: str, out: str) -> None:
    (tmp_path / "link").symlink_to(archive)
    before = sorted(archive.rglob("*"))
    ended = run("deidentify", tmp_path / source, "--out", tmp_path / out)
    assert ended.code == 2
    assert "inside the" in ended.err
    assert sorted(archive.rglob("*")) == before


def test_an_audit_in_the_source_is_refused(run, archive: Path, tmp_path: Path) -> None:
    assert run("deidentify", archive, "--out", tmp_path / "out", "--audit", archive / "a.parquet").code == 2


def test_usage(run, archive: Path, tmp_path: Path) -> None:
    assert run("deidentify").code == 2
    assert run("deidentify", archive).code == 2
    assert run("deidentify", tmp_path / "nowhere", "--out", tmp_path / "out").code == 4
    assert run("deidentify", "ftp://host/x", "--out", tmp_path / "out").code == 2
    assert run("deidentify", archive, "--out", tmp_path / "out", "--element", "PatientID").code == 2


def test_an_empty_source(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    found = run("deidentify", tmp_path / "in", "--out", tmp_path / "out", "--json").found
    assert (found["files"], found["written"], found["refused"]) == (0, 0, {})


def test_every_state_of_a_report_adds_up() -> None:
    from tasks.standalone import Report
    from tasks.standalone_files import End

    report = Report()
    for number, end in enumerate(["present", "present", "written", "present"]):  # as two processes may report
        report.add(End(f"f{number}", end, key="s/1/2/3.dcm"))
    report.add(End("r", "refused", Reason.EMPTY_FILE))
    assert (report.files, report.written, report.present, report.duplicate) == (5, 1, 0, 3)
    assert report.quarantined == 1


@pytest.mark.parametrize("uid", ["..", "1.2/../../3", "", "1.2 3", "9" * 65])
def test_a_uid_is_not_a_way_out_of_the_output_folder(uid: str) -> None:
    with pytest.raises(Rejection) as refused:
        standalone_files.key_of(CleanFile(b"", (), "s", "1.2", uid, "1.3", "", 0))
    assert (refused.value.reason, refused.value.detail) == (Reason.IMPLAUSIBLE_HEADER, "SeriesInstanceUID")


def test_explain_says_what_happens(run) -> None:
    rows = run("deidentify", "--explain", "--json").found
    by_keyword = {row["keyword"]: row for row in rows}
    assert len(rows) > 5000
    assert by_keyword["ReferringPhysicianName"]["meaning"] in ("removed", "emptied")
    assert by_keyword["PatientID"]["meaning"] == "keyed name instead"
    assert by_keyword["StudyDate"]["meaning"] == "shifted"
    assert by_keyword["SOPInstanceUID"]["meaning"] == "new UID"
    assert by_keyword["PixelSpacing"]["meaning"] == "kept if a number"
    assert not any(row["meaning"] == "kept" for row in rows if row["vr"] == "SQ")
    assert all(row["rule"] for row in rows)


def test_explain_follows_the_options(run, tmp_path: Path) -> None:
    def meaning(*arguments: object) -> str:
        (row,) = run("deidentify", "--explain", "--element", "StudyDate", "--json", *arguments).found
        return row["meaning"]

    assert [meaning("--dates", dates) for dates in ("modified", "full", "none")] == ["shifted", "kept", "emptied"]


@pytest.mark.parametrize("name", ["0010,0010", "(0010,0010)", "00100010", "patientname", "PatientNam*"])
def test_explain_one_element(run, name: str) -> None:
    rows = run("deidentify", "--explain", "--element", name, "--json").found
    assert [row["keyword"] for row in rows] == ["PatientName"]


def test_explain_private_and_repeating_elements(run) -> None:
    rows = run("deidentify", "--explain", "--element", "0019,100c", "--element", "6002,3000", "--json").found
    assert "SIEMENS MR HEADER" in " ".join(row["tag"] for row in rows)
    assert any(row["tag"] == "(60xx,3000)" and row["meaning"] == "removed" for row in rows)


def test_explain_names_the_nearest_keyword(run) -> None:
    ended = run("deidentify", "--explain", "--element", "PatientNam")
    assert ended.code == 2
    assert "'PatientName'" in ended.err
    with pytest.raises(UsageError):
        explained.select([], ["x"])


def test_explain_as_a_table_and_as_csv(run) -> None:
    shown = run("deidentify", "--explain", "--element", "Patient*").out
    assert "Basic Application Confidentiality Profile (113100)" in shown
    assert max(map(len, shown.splitlines())) <= explained.WIDTH
    rows = list(csv.DictReader(io.StringIO(run("deidentify", "--explain", "--element", "Patient*", "--csv").out)))
    assert {row["keyword"] for row in rows} >= {"PatientName", "PatientBirthDate"}
    for row in rows[:20]:
        assert row["tag"] in shown
    assert f"{len(rows)} elements: " in shown


def test_explain_needs_no_secret_and_no_source(run) -> None:
    del os.environ["ONCURATE_SECRET"]
    assert run("deidentify", "--explain", "--element", "PatientID").code == 0


def test_every_action_has_words() -> None:
    from oncurate import deid

    for dates in ("modified", "full", "none"):
        for row in deid.explain(DeidPolicy(dates=dates)):
            assert explained.meaning(row["action"], row["vr"], row["tag"])


def test_a_policy_that_needs_volumes_is_refused() -> None:
    from pydantic import BaseModel

    from tasks.standalone import policy_of

    class Section(BaseModel):
        faces: str = "deface"

    with pytest.raises(UsageError, match="deface"):
        policy_of(Section(), None, None)
    assert policy_of(Section(faces="flag"), None, None) == (DeidPolicy(), "quarantine")


def test_pseudonyms_are_those_of_the_images(run, archive: Path, tmp_path: Path) -> None:
    path = provider_file(tmp_path)
    run("deidentify", archive, "--out", tmp_path / "out", "--policy", path)
    ended = run("pseudonym", path, stdin="\ufeffPHANTOM-1\r\n PHANTOM-2 \nPHANTOM-2^^^HOSPITAL\n".encode())
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [line[0] for line in lines] == ["PHANTOM-1", " PHANTOM-2 ", "PHANTOM-2^^^HOSPITAL"]
    assert {lines[0][1], lines[1][1]} == set(os.listdir(tmp_path / "out"))
    assert lines[2][1] == KEYS.subject_id("PHANTOM-2", "HOSPITAL") != lines[1][1]
    assert (tmp_path / "work/made").stat().st_mode & 0o077 == 0


def test_an_id_that_names_nobody_has_no_pseudonym(run, tmp_path: Path) -> None:
    ended = run("pseudonym", provider_file(tmp_path), stdin=b"PHANTOM-1\n\nANONYMOUS\n000\n")
    assert [line.split("\t")[1] != "" for line in ended.out.splitlines()] == [True, False, False, False]
    assert "3 of 4 ids are blank or placeholders" in ended.err
    found = run("pseudonym", provider_file(tmp_path), "--json", stdin=b"PHANTOM-1\nUNKNOWN\n").found
    assert [row["pseudonym"] is None for row in found] == [False, True]


def test_an_id_without_the_issuer_that_the_images_have_is_noticed(run, tmp_path: Path) -> None:
    path = provider_file(tmp_path)
    rows = [{"kind": "PatientID", "source": "PHANTOM-1^^^HOSPITAL", "cohort": "x"}]
    Store(str(tmp_path / "work/made")).write("keys/keys.parquet", tables.to_parquet("keys", rows))
    assert "1 ids were given without an issuer" in run("pseudonym", path, stdin=b"PHANTOM-1\nPHANTOM-9\n").err
    assert run("pseudonym", path, stdin=b"PHANTOM-1^^^HOSPITAL\n").err == ""


@pytest.mark.parametrize("stdin", [b"A\nB\tC\n", b"A\nJ\xfcrgen-1\n"])
def test_lines_that_cannot_be_ids(run, tmp_path: Path, stdin: bytes) -> None:
    ended = run("pseudonym", provider_file(tmp_path), stdin=stdin)
    assert ended.code == 2
    assert "line 2" in ended.err
    assert "rgen" not in ended.err
    assert ended.out == ""
