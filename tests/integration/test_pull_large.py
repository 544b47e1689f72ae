"""Memory stays flat whatever passes: a tar of 20 GB, a listing of a million objects, both generated."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import bucket, source_of, taking
from oncurate.sources.interface import Listed
from oncurate.sources.settings import PullSettings
from tasks import pull, zone
from tests.sources_suite import noise, places_in
from tests.unit.test_pull import archive, provider  # noqa: F401  # fixtures

MEMBER = 1 << 20


class Peak:
    """The most memory (RSS) that this process has above what it had at the start, bytes, while the block runs."""

    def __enter__(self) -> Peak:
        self._process = psutil.Process()
        self._start = self._process.memory_info().rss
        self.bytes, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)


class GeneratedTar(io.RawIOBase):
    """A tar of `members` members of the same bytes, made while it is read; can be wound back to its start."""

    def __init__(self, members: int) -> None:
        self._content, self._members = noise(MEMBER), members
        self._pieces: Iterator[bytes] = self._make()
        self._rest, self._at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        assert offset == whence == 0
        self._pieces, self._rest, self._at = self._make(), b"", 0
        return 0

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _make(self) -> Iterator[bytes]:
        for number in range(self._members):
            info = tarfile.TarInfo(f"{number:06d}")
            info.size = MEMBER
            yield info.tobuf()
            yield self._content
        yield bytes(1024)


@pytest.mark.parametrize(
    "gigabytes", [pytest.param(1), pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_a_large_tar_needs_no_more_memory_than_a_small_one(tmp_path: Path, gigabytes: int) -> None:
    members = gigabytes << 10
    stream = io.BufferedReader(GeneratedTar(members), 1 << 20)
    source: Any = SimpleNamespace(open=lambda _: stream, connections=1)
    listed = Listed("all.tar", "file:///generated/all.tar", members * (MEMBER + 512) + 1024, "v")
    with Peak() as peak:
        rows = taking.take(listed, source, places_in(tmp_path))
    assert rows[0].reason is Reason.ARCHIVE_UNPACKED
    assert len(rows) == members + 1
    assert peak.bytes < 150_000_000  # chunks ahead, one member twice; 1 kB a row


class Pages:
    """An S3 server that lists `count` objects, a thousand a page."""

    def __init__(self, count: int) -> None:
        self.count = count

    def list_objects_v2(self, **arguments: Any) -> dict[str, Any]:
        first = int(arguments.get("ContinuationToken", 0))
        last = min(self.count, first + 1000)
        found = [
            {"Key": f"p/{n // 500:06d}/{n:09d}.dcm", "ETag": f'"{n:032x}"', "Size": 524_288} for n in range(first, last)
        ]
        return {"Contents": found, "IsTruncated": last < self.count, "NextContinuationToken": str(last)}


@pytest.mark.parametrize(
    "count", [pytest.param(60_000), pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_a_long_listing_is_never_held(provider: Any, monkeypatch: pytest.MonkeyPatch, count: int) -> None:  # noqa: F811
    monkeypatch.setattr(bucket, "client", lambda *_: Pages(count))
    monkeypatch.setattr(pull, "open_source", lambda *_: source_of("s3://bucket/p", PullSettings()))
    since = time.monotonic()
    with Peak() as peak:
        survey = pull.survey(provider(), 2)
    assert (survey.files, survey.new) == (count, count)
    assert len(survey.batches) <= count // 1_000
    assert peak.bytes < 120_000_000  # the files of one cut, whatever the listing's length
    assert time.monotonic() - since < 600


def objects(count: int, home: str) -> Iterator[SourceObject]:
    """What a PACS holds: a path of three UIDs of 64 characters each."""
    for number in range(count):
        name = f"{number:064x}"
        path = f"{number // 1000:064d}/{number // 250:064d}/{number:064d}"
        yield SourceObject(source_path=path, url=home + name, bytes=524_288, version=name[:32], sha256=name)


class Remembered:
    """A source that lists what `objects` gives, unchanged."""

    url, selects, connections = "dicomweb+https://pacs.test/x", False, 1

    def __init__(self, count: int) -> None:
        self.count = count

    def entries(self) -> Iterator[Listed]:
        for item in objects(self.count, ""):
            yield Listed(item.source_path, "https://pacs.test/x", item.bytes, item.version)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "count", [pytest.param(60_000), pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_what_a_pull_remembers_of_a_million_objects_fits(
    provider: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    made = provider()
    store = zone.source_zone(made)
    keys = [f"objects/{number:064x}" for number in range(count)]
    monkeypatch.setattr(type(store), "list", lambda _, prefix="": iter(keys if prefix == "objects" else []))
    monkeypatch.setattr(pull, "open_source", lambda *_: Remembered(count))
    with Peak() as peak:
        pull.write_objects(made, objects(count, store.url_of("objects/x")[:-1]))
        survey = pull.survey(made, 2)
        pull.inputs_digest(survey.kept)
    assert (survey.files, survey.new, survey.vanished, len(survey.kept)) == (count, 0, 0, count)
    assert peak.bytes < 150_000_000 + 1_300 * count  # a row takes 0.7 kB, what finds it again 0.4 kB
