"""No value of an identified header leaves: a marker in every element of an archive is found nowhere afterwards.

Searched: every byte of the target, of Prefect's database and storage, and of what the run printed and logged.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from oncurate import nifti, tables, textnets
from oncurate.image import Image
from oncurate.reasons import Reason
from oncurate.store import Store
from oncurate.verify import verify
from tests.command import oncurate
from tests.engine import SECRET
from tests.flows import canary
from tests.flows.searching import Needles, search
from tests.provider_files import provider_file

pytestmark = pytest.mark.flows


class Run(NamedTuple):
    """A finished run over the planted archive."""

    folder: Path
    command: CompletedProcess[str]

    @property
    def target(self) -> Path:
        return self.folder / "curated"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("canary")
    canary.build(folder / "archive")
    loud = {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"}
    command = oncurate("curate", provider_file(folder), home=folder / "prefect", extra=loud)
    assert command.returncode == 0, command.stderr[-2000:]
    return Run(folder, command)


@pytest.fixture(scope="module")
def needles() -> Needles:
    return Needles((*canary.MARKERS, SECRET), canary.NUMBERS)


@pytest.mark.skipif(textnets.models() is None, reason="the extra 'ocr' is not installed: what may hold text is refused")
def test_the_planted_images_were_curated_and_the_others_refused(ended: Run) -> None:
    rows = tables.from_parquet((ended.folder / "work/made/ledger/ledger.parquet").read_bytes())
    ends = {(row["source_path"].split("/")[-1], row["reason"]) for row in rows}
    assert sum(row["state"] == "curated" for row in rows) == 3 * 3 + 3 + 3  # CT, MR, PT, MG and two US, the zip's CT
    assert {reason for _, reason in ends if reason} == {
        Reason.ARCHIVE_UNPACKED,
        Reason.MISSING_SLICES,
        Reason.NOT_DICOM,
        Reason.TRUNCATED_PIXEL_DATA,
        Reason.UNKNOWN_SOP_CLASS,
        Reason.UNSUPPORTED_SYNTAX,
    }
    modalities = tables.from_parquet((ended.target / "made/releases/v1/tables/volumes.parquet").read_bytes())
    assert sorted(row["Modality"] for row in modalities) == ["CT", "CT", "MG", "MR", "PT", "US", "US"]


def test_the_archive_holds_the_marker_and_so_does_the_restricted_work_zone(ended: Run, needles: Needles) -> None:
    assert len(canary.planted()) > 4000
    assert search(ended.folder / "archive", needles)
    assert search(ended.folder / "work" / "made" / "ledger", needles)


def test_no_marker_is_in_the_target(ended: Run, needles: Needles) -> None:
    assert verify(Store(str(ended.target / "made"))).ok
    assert search(ended.target, needles) == []


def test_no_marker_is_in_what_prefect_keeps(ended: Run, needles: Needles) -> None:
    home = ended.folder / "prefect"
    with sqlite3.connect(home / "prefect.db") as database:
        assert database.execute("select count(*) from task_run").fetchone()[0] > 10
        assert database.execute("select count(*) from artifact").fetchone()[0] > 5
        assert database.execute("select count(*) from log").fetchone()[0] > 5
    assert search(home, needles) == []


def test_no_marker_is_in_what_the_run_printed(ended: Run, needles: Needles) -> None:
    said = ended.command.stdout + ended.command.stderr
    assert "released made v1" in said
    assert "DEBUG" in said
    assert needles.within(said.encode()) == set()


def _volume(target: Path) -> dict[str, str]:
    return tables.from_parquet((target / "made/releases/v1/tables/volumes.parquet").read_bytes())[0]


def _in_nifti(target: Path) -> None:
    path = target / "made" / _volume(target)["native_path"]
    array = np.frombuffer(canary.TEXT.encode().ljust(16), np.int16).reshape(8, 1, 1)
    path.write_bytes(nifti.write(Image(array.copy(), np.eye(4))))


def _in_table(target: Path) -> None:
    path = target / "made/releases/v1/tables/volumes.parquet"
    path.write_bytes(tables.to_parquet("volumes", [{**_volume(target), "steps": f"x{canary.NAME.upper()}y"}]))


def _in_table_metadata(target: Path) -> None:
    path = target / "made/releases/v1/tables/series.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"made by": canary.TEXT.lower()}), path)


def _in_json(target: Path) -> None:
    path = target / "made" / _volume(target)["metadata_path"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": canary.NAME}))


def _in_preview(target: Path) -> None:
    path = target / "made" / _volume(target)["preview_path"]
    said = PngInfo()
    said.add_text("Comment", canary.TEXT, zip=True)
    with Picture.open(io.BytesIO(path.read_bytes())) as picture:
        picture.save(path, pnginfo=said)


def _in_page(target: Path) -> None:
    path = target / "catalogue" / "index.html"
    path.write_text(path.read_text() + f"<a href='?{''.join(f'%{b:02X}' for b in canary.TEXT.encode())}'>")


def _in_card(target: Path) -> None:
    path = target / "made/releases/v1/README.md"
    path.write_bytes(path.read_bytes() + canary.TEXT.encode("utf-16"))


def _in_name(target: Path) -> None:
    (target / "made" / f"{canary.UID_ROOT}.3").mkdir()


def _in_database(target: Path) -> None:
    with sqlite3.connect(target / "some.db") as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (?)", (zlib.compress(canary.TEXT.encode()),))


def _in_base64(target: Path) -> None:
    (target / "result").write_bytes(base64.b64encode(f"ab{canary.DATE}cd".encode()))


@pytest.mark.parametrize(
    "plant",
    [
        _in_nifti,
        _in_table,
        _in_table_metadata,
        _in_json,
        _in_preview,
        _in_page,
        _in_card,
        _in_name,
        _in_database,
        _in_base64,
    ],
)
def test_a_marker_that_had_leaked_would_be_found(
    ended: Run, needles: Needles, tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    copy = shutil.copytree(ended.target, tmp_path / "curated")
    plant(copy)
    assert search(copy, needles)
