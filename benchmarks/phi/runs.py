"""What is put to the test: the engine on each file, and the whole job through the command line.

Belongs here: running them, and collecting what left. Does not belong here: searching or judging it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from pydicom import config, dcmread
from pydicom.dataset import Dataset

from benchmarks.phi.answers import Key
from benchmarks.phi.plant import planted_at
from oncurate import deid
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.identity import Keys

SECRET = "a secret of the leak bench, known to all"
RELEASED = 0
"""Exit code of a job that released what it could."""


@dataclass
class Left:
    """What left: objects by file number, all files below `folders` by the name to show, and what was said."""

    objects: dict[int, bytes] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    said: bytes = b""
    refused: Counter[str] = field(default_factory=Counter)
    code: int = 0
    unknown: int = 0


def quiet() -> None:
    """pydicom quotes values in warnings; those of real headers must not be shown."""
    warnings.simplefilter("ignore")
    config.settings.reading_validation_mode = config.IGNORE


def engine(key: Key, planted: Path) -> Left:
    """De-identify each planted file as one object, with the default policy."""
    left, machine = Left(), deid.Engine(Keys(SECRET.encode()), deid.DeidPolicy())
    for file in key.files:
        data = planted_at(planted, file.number).read_bytes()
        try:
            left.objects[file.number] = machine.clean(data).data
        except Rejection as rejection:
            left.refused[rejection.reason.value] += 1
    return left


def job(folder: Path, archive: Path) -> Left:
    """`oncurate curate` on the archive, with NIfTI and DICOM as outputs, in a process of its own."""
    home, target = folder / "prefect", folder / "curated"
    home.mkdir(parents=True, exist_ok=True)
    provider = folder / "provider.yaml"
    provider.write_text(
        json.dumps(
            {
                "dataset": "planted",
                "title": "Made and planted images",
                "provider": {"name": "Nobody", "country": "XX"},
                "source": str(archive),
                "target": str(target),
                "work": str(folder / "work"),
                "outputs": ["nifti", "dicom"],
            }
        ),
        encoding="utf-8",
    )
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("oncurate")), "curate", str(provider)],
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    left = Left(folders={"target/": target, "Prefect/": home}, said=ended.stdout + ended.stderr, code=ended.returncode)
    for data in _written(target):
        number = _number(data)
        if number is None or number in left.objects:
            left.unknown += 1
        else:
            left.objects[number] = data
    for path in (folder / "work").rglob("ledger/ledger.parquet"):
        rows = pq.read_table(path, columns=["state", "reason", "stage"]).to_pylist()
        left.refused.update(f"{row['stage']}: {row['reason']}" for row in rows if row["reason"])
    return left


def _environment(home: Path) -> dict[str, str]:
    """Variables that keep everything of Prefect in `home`, and make it say all that it can."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_", "ONCURATE_"))}
    return {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "200",
        "ONCURATE_SECRET": SECRET,
    }


def _written(target: Path) -> Iterator[bytes]:
    for path in sorted(target.rglob("*.dcm")):
        yield path.read_bytes()


def _number(data: bytes) -> int | None:
    """The number of the file that an object was: its InstanceNumber, which nothing may change."""
    try:
        return int(dcmread(io.BytesIO(data), specific_tags=["InstanceNumber"]).InstanceNumber)
    except PARSE_ERRORS:
        return None


def parsed(objects: dict[int, bytes]) -> dict[int, Dataset]:
    """The objects that left, parsed; one that cannot be parsed is left out and counts as not having left."""
    found = {}
    for number, data in objects.items():
        try:
            found[number] = dcmread(io.BytesIO(data))
        except PARSE_ERRORS:
            continue
    return found


def sources(key: Key, planted: Path) -> dict[int, Dataset]:
    """The planted files, parsed as far as anybody looks."""
    return {file.number: dcmread(planted_at(planted, file.number)) for file in key.files}
