"""What the engine writes is as valid as what it read: dciodvfy finds no error in it that the source did not have.

Belongs here: the comparison of messages, on pydicom's files and a sample of the shared ones. Does not belong here: what
else must be true of written files. Needs dciodvfy (Debian: dicom3tools); messages quote values, so none is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

from oncurate import deid
from oncurate.errors import Rejection
from oncurate.identity import Keys
from tests.golden import chain
from tests.services import REQUIRE

PROGRAM = shutil.which("dciodvfy")
SAMPLE = 2
"""Files of each shared folder: those of a series have the same header."""
TIMEOUT_S = 60
UNREAD = ("read failed", "Seek failed", "Tags out of order", "Information Object Not found")
"""Messages after which dciodvfy has not seen all of a file: it cannot tell which errors that has."""

_MASKS = (
    (re.compile(r"\bvalue <[^>]*>"), "value <>"),
    (re.compile(r"= <.*>(?= -|$)"), "= <>"),
    (re.compile(r'"[^"]*"'), '""'),
    (re.compile(r"- got .*"), ""),
    (re.compile(r"(?<![A-Za-z(,])[0-9][0-9.]*"), "#"),
)


def errors(path: Path) -> frozenset[str]:
    """The errors that dciodvfy finds, with values and counts masked."""
    ran = subprocess.run([PROGRAM, path], capture_output=True, timeout=TIMEOUT_S)
    lines = (ran.stdout + ran.stderr).decode("latin-1").splitlines()
    found = [line for line in lines if line.startswith("Error")]
    for pattern, mask in _MASKS:
        found = [pattern.sub(mask, line) for line in found]
    return frozenset(found)


def sources() -> Iterator[Path]:
    """Every file that pydicom ships, and a sample of the shared ones."""
    yield from sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm"))
    root = chain.shared_folder()
    if root is not None:
        folders: dict[Path, list[Path]] = defaultdict(list)
        for path in sorted(p for p in (root / "data").rglob("*") if p.is_file()):
            folders[path.parent].append(path)
        yield from (path for files in folders.values() for path in files[:SAMPLE])


@pytest.mark.slow
def test_no_error_that_the_source_did_not_have(tmp_path: Path) -> None:
    if PROGRAM is None:
        reason = "dciodvfy is not here: install Debian's dicom3tools"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    engine = deid.Engine(Keys(b"s" * 32), deid.DeidPolicy())
    pairs = []
    for number, path in enumerate(sources()):
        try:
            clean = engine.clean(path.read_bytes())
        except Rejection:
            continue
        written = tmp_path / f"{number}.dcm"
        written.write_bytes(clean.data)
        pairs.append((path, written))
    with ThreadPoolExecutor(2) as pool:
        before = list(pool.map(errors, [source for source, _ in pairs]))
        after = list(pool.map(errors, [written for _, written in pairs]))
    judged = [(b, a) for b, a in zip(before, after, strict=True) if not any(u in line for line in b for u in UNREAD)]
    assert len(judged) > 80
    assert sorted({line for b, a in judged for line in a - b}) == []
