"""What every source must do, whatever it is: one suite, run against each kind by a class that serves the files.

Belongs here: behaviour that does not depend on a protocol. Does not belong here: faults of a protocol (each source's
own tests). A new source gets a subclass of `SourceSuite` with an `archive` fixture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

from oncurate.errors import StoreUnreachable
from oncurate.forward import Forward
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import Memory, Places, Source, source_of, taking
from oncurate.sources.dicomdir import missing_objects
from oncurate.sources.interface import Listed
from oncurate.sources.selection import Wanted
from oncurate.sources.settings import PullSettings, Selection
from oncurate.store import Store, read_url
from tasks.inspect import look_into
from tests.media import directory
from tests.phantoms import ct_series
from tests.unit.test_archives import tarred, zipped

LARGE = 20 << 20
QUICK = {"attempts": 3, "first_wait_s": 0.01, "longest_wait_s": 0.05, "total_s": 20.0}
"""Retries of tests."""


class Archive(Protocol):
    """Files behind a URL, and ways to change them."""

    url: str
    settings: PullSettings

    def put(self, files: Mapping[str, bytes]) -> None: ...
    def remove(self, name: str) -> None: ...


def opened(archive: Archive, selection: Selection | None = None) -> closing[Source]:
    """The source, closed at the end of the block."""
    return closing(source_of(archive.url, archive.settings, selection))


def places_in(folder: Path, selection: Selection | None = None) -> Places:
    """A source zone, and a place for what is unfinished."""
    zone, partials = Store(str(folder / "zone")), Store(str(folder / "partial"))
    return Places(zone, partials, wanted=Wanted(selection or Selection()))


def taken(archive: Archive, places: Places) -> dict[str, SourceObject]:
    """Every row by its path."""
    with opened(archive, places.wanted.selection) as source:
        rows = [row for found in taking.take_all(source.entries(), source, places) for row in found]
    by_path = {row.source_path: row for row in rows}
    assert len(by_path) == len(rows)
    return by_path


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return os.urandom(size)


class SourceSuite:
    """Tests that a subclass runs against the archive that its `archive` fixture gives, empty at first."""

    def test_every_file_is_listed_once_by_name(self, archive: Archive) -> None:
        names = ["b/deep/er/x", "a b%20.dcm", "c", "b/a", "ä#?.dcm"]
        archive.put({name: name.encode() for name in names})
        with opened(archive) as source:
            found = list(source.entries())
            assert list(source.entries()) == found
        assert sorted(item.source_path for item in found) == sorted(names)
        for item in found:
            assert item.bytes in (None, len(item.source_path.encode()))
            assert item.version
            assert item.reason is None

    def test_bytes_come_whole_small_and_large(self, archive: Archive, tmp_path: Path) -> None:
        files = {f"{size}.bin": noise(size) for size in (1, 511, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, LARGE)}
        archive.put(files)
        rows = taken(archive, places_in(tmp_path))
        assert {path: row.sha256 for path, row in rows.items()} == {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items()
        }
        for name, data in files.items():
            assert read_url(rows[name].url) == data

    def test_archives_are_unpacked_as_they_pass(
        self, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(taking, "SPOOL_BYTES", 1 << 16)
        monkeypatch.setattr(taking, "SMALL_BYTES", 1 << 16)
        inner = zipped({"one": noise(100_000), "two": b"2"})
        files = {"a": noise(70_000), "deep/b": b"b", "in.zip": inner, "c": noise(3 << 20)}
        archive.put({"all.tar": tarred(files), "all.tgz": tarred(files, "w:gz"), "all.zip": zipped(files)})
        rows = taken(archive, places_in(tmp_path))
        for name in ("all.tar", "all.tgz", "all.zip"):
            assert rows[name].reason is Reason.ARCHIVE_UNPACKED
            assert rows[f"{name}!/in.zip"].reason is Reason.ARCHIVE_UNPACKED
            for member in ("a", "deep/b", "c"):
                assert read_url(rows[f"{name}!/{member}"].url) == files[member]
            assert read_url(rows[f"{name}!/in.zip!/two"].url) == b"2"
        assert len(rows) == 3 * 7
        assert list(places_in(tmp_path).partials.list()) == []

    def test_a_later_pull_sees_what_is_new_changed_and_gone(self, archive: Archive, tmp_path: Path) -> None:
        archive.put({"same": b"1", "same.zip": zipped({"m": b"2"}), "changed": b"3", "gone": b"4"})
        places = places_in(tmp_path)
        before = taken(archive, places)
        archive.put({"changed": b"33", "new": b"5"})
        archive.remove("gone")
        memory = Memory(before, places.zone)
        with opened(archive) as source:
            memory.tell(source)
            asked = [item.source_path for item in source.entries() if not memory.rows(item)]
        assert sorted(asked) == ["changed", "new"]
        assert memory.vanished == 1

    def test_a_file_that_is_gone_since_listing_is_a_row(self, archive: Archive, tmp_path: Path) -> None:
        archive.put({"a": b"1", "b": b"2"})
        with opened(archive) as source:
            listed = list(source.entries())
            archive.remove("a")
            rows = [taking.take(item, source, places_in(tmp_path))[0] for item in listed]
        assert [row.reason in taking.RETRIED for row in rows] == [True, False]

    def test_a_file_that_changed_since_listing_does_not_enter_under_the_old_version(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        archive.put({"a": b"1"})
        with opened(archive) as source:
            listed = list(source.entries())
            archive.put({"a": b"other"})
            row = taking.take(listed[0], source, places_in(tmp_path))[0]
        assert row.reason is Reason.TRANSFER_INCOMPLETE or archive.url.startswith("file://")

    def test_a_killed_transfer_goes_on_where_it_was(
        self, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if archive.url.startswith("file://"):
            pytest.skip("local files are read in place")
        monkeypatch.setattr(taking, "SPOOL_BYTES", 1 << 16)
        monkeypatch.setattr(taking, "SMALL_BYTES", 1 << 16)
        data = tarred({"one": noise(LARGE // 2), "two": noise(LARGE // 2)})
        archive.put({"all.tar": data})
        places = places_in(tmp_path)

        class Killed(BaseException): ...

        def dying(self: Forward, count: int) -> bytes:
            if self.end > len(data) // 2:
                raise Killed
            return real(self, count)

        real = Forward._pull
        monkeypatch.setattr(Forward, "_pull", dying)
        with opened(archive) as source, pytest.raises(Killed):
            taking.take(next(source.entries()), source, places)
        monkeypatch.setattr(Forward, "_pull", real)
        kept = sum(entry.bytes for entry in places.partials.entries())
        assert kept > len(data) // 2
        asked: list[int] = []
        with opened(archive) as source:
            monkeypatch.setattr(source.pace, "spend", asked.append)
            rows = taking.take(next(source.entries()), source, places)
        assert rows[0].sha256 == hashlib.sha256(data).hexdigest()
        assert [row.reason for row in rows[1:]] == [None, None]
        assert sum(asked) == len(data) - kept
        assert list(places.partials.list()) == []

    def test_only_what_is_selected_comes(self, archive: Archive, tmp_path: Path) -> None:
        paths = ct_series(tmp_path / "made", slices=2)
        files = {f"{n}.dcm": path.read_bytes() for n, path in enumerate(paths)}
        archive.put({**files, "all.zip": zipped(files), "notes.txt": b"no image"})
        wanted = taken(archive, places_in(tmp_path, Selection(modalities=("CT",))))
        assert {path for path, row in wanted.items() if row.reason is None} == {
            "notes.txt",
            *files,
            *(f"all.zip!/{name}" for name in files),
        }
        other = taken(archive, places_in(tmp_path / "other", Selection(modalities=("MR",))))
        assert {path for path, row in other.items() if row.reason is Reason.NOT_SELECTED} == {
            *files,
            *(f"all.zip!/{name}" for name in files),
        }
        stored = list(places_in(tmp_path / "other").zone.list())
        assert len(stored) == (0 if archive.url.startswith("file://") else 1)  # notes.txt

    def test_what_a_medium_lists_and_lacks_is_told(self, archive: Archive, tmp_path: Path) -> None:
        listed = directory([["IMAGES", "I001"], ["IMAGES2", "I002"], ["IMAGES", "I003"], "I004"])
        there = {"DICOMDIR": listed, "IMAGES/I001": b"1", "images2/i002": b"2", "extra": b"3"}
        archive.put({f"disk/{name}": data for name, data in there.items()})
        archive.put({"one.zip": zipped(there), "two.tar": tarred({"in.tar": tarred(there)})})
        rows = taken(archive, places_in(tmp_path))
        lacking = missing_objects(list(rows.values()))
        assert [row.source_path for row in lacking] == [
            f"{medium}/{name}"
            for medium in ("disk", "one.zip!", "two.tar!/in.tar!")
            for name in ("I004", "IMAGES/I003")
        ]
        assert {row.reason for row in lacking} == {Reason.MISSING_ON_MEDIUM}
        assert [path for path, row in rows.items() if path.endswith("DICOMDIR") and row.reason] == []

    def test_a_look_at_a_medium_counts_what_it_lacks(self, archive: Archive) -> None:
        archive.put({"disk/DICOMDIR": directory(["I1", "I2", "I3"]), "disk/I2": b"2", "I1": b"1"})
        with opened(archive) as source:
            found = look_into(source, archive.settings, Wanted(Selection()))
        assert found["reasons"]["missing_on_medium"] == 2
        assert found["files"] == 5

    def test_a_source_that_is_not_there_says_so(self, archive: Archive) -> None:
        archive.put({"a": b"1"})
        missing = archive.url.rstrip("/") + "/no/such/folder/"
        with closing(source_of(missing, archive.settings)) as source, pytest.raises(StoreUnreachable):
            list(source.entries())

    def test_urls_hold_no_credentials(self, archive: Archive) -> None:
        archive.put({"a": b"1"})
        with opened(archive) as source:
            listed: Listed = next(source.entries())
        assert "@" not in listed.url
        assert "password" not in listed.url
