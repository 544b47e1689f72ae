"""What a source holds is listed whole and in order, read once, and ends as one row a file with a digest or a reason."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random
from pathlib import Path

import pytest

from oncurate import sources
from oncurate.archives import ArchiveLimits
from oncurate.errors import StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import folder, list_objects, pull, reuse, take, taking
from oncurate.store import Store, read_url
from tests.unit.test_archives import tarred, zipped


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def zone(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "zone"))


def pulled(source: Path, zone: Store, **limits: float) -> dict[str, SourceObject]:
    rows = list(pull(str(source), zone, {}, ArchiveLimits(**limits)))
    by_path = {row.source_path: row for row in rows}
    assert len(by_path) == len(rows)
    return by_path


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_files_are_listed_by_name_at_any_depth_and_read_in_place(source: Path, zone: Store) -> None:
    names = ["b/deep/er/x", "a b%20.dcm", "c", "b/a"]
    for name in names:
        _write(source / name, name.encode())
    rows = pulled(source, zone)
    assert list(rows) == sorted(names)
    for name, row in rows.items():
        assert row.url == (source / name).as_uri()
        assert read_url(row.url) == name.encode()
        assert row.sha256 == hashlib.sha256(name.encode()).hexdigest()
        assert row.bytes == len(name)
    assert list(zone.list()) == []


def test_the_order_does_not_depend_on_the_file_system(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1", "2", "d/3", "d/4"):
        _write(source / name, b"1")
    expected = list(list_objects(str(source)))
    real = os.scandir

    class Shuffled:
        def __init__(self, path: str) -> None:
            with real(path) as entries:
                self.entries = list(entries)
            random.Random(3).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(folder.os, "scandir", Shuffled)
    assert list(list_objects(str(source))) == expected


def test_one_file_is_a_source(source: Path, zone: Store) -> None:
    _write(source / "one.dcm", b"1")
    assert list(pulled(source / "one.dcm", zone)) == ["one.dcm"]
    _write(source / "all.zip", zipped({"a/b": b"2"}))
    assert list(pulled(source / "all.zip", zone)) == ["all.zip", "all.zip!/a/b"]


def test_members_lie_in_the_zone_under_their_digest(source: Path, zone: Store) -> None:
    _write(source / "p/all.tar.gz", tarred({"x/1.dcm": b"one", "2": b"two", "copy": b"one"}, "w:gz"))
    rows = pulled(source, zone)
    assert rows["p/all.tar.gz"].reason is Reason.ARCHIVE_UNPACKED
    for name, data in (("x/1.dcm", b"one"), ("2", b"two"), ("copy", b"one")):
        row = rows[f"p/all.tar.gz!/{name}"]
        sha256 = hashlib.sha256(data).hexdigest()
        assert (row.sha256, row.bytes, row.reason) == (sha256, 3, None)
        assert row.url == zone.url_of(f"objects/{sha256[:2]}/{sha256}")
        assert read_url(row.url) == data
    assert len(list(zone.list())) == 2


def test_a_large_member_is_uploaded_from_its_file(source: Path, zone: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oncurate.archives.SPOOL_BYTES", 1000)
    data = os.urandom(5000)
    _write(source / "a.zip", zipped({"large": data}))
    assert read_url(pulled(source, zone)["a.zip!/large"].url) == data


def test_what_is_empty_broken_or_a_link_has_a_reason(source: Path, zone: Store, tmp_path: Path) -> None:
    _write(source / "empty.dcm", b"")
    _write(source / "cut.tar.gz", tarred({"1": os.urandom(9000), "2": os.urandom(40_000)}, "w:gz")[:30_000])
    _write(source / "bomb.zip", zipped({"zeros": bytes(4 << 20)}))
    _write(source / "scan.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99))
    (source / "out").symlink_to(_write(tmp_path / "secret", b"1"))
    (source / "folder").symlink_to(tmp_path)
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    rows = pulled(source, zone, total_bytes=1 << 20)
    assert {path: row.reason for path, row in rows.items()} == {
        "empty.dcm": Reason.EMPTY_FILE,
        "cut.tar.gz": Reason.BROKEN_ARCHIVE,
        "cut.tar.gz!/1": None,
        "cut.tar.gz!/2": Reason.BROKEN_ARCHIVE,
        "bomb.zip": Reason.ARCHIVE_BOMB,
        "bomb.zip!/zeros": Reason.ARCHIVE_BOMB,
        "scan.7z": Reason.UNSUPPORTED_ARCHIVE,
        "out": Reason.UNSAFE_MEMBER,
        "folder": Reason.UNSAFE_MEMBER,
        "dangling": Reason.UNSAFE_MEMBER,
        "pipe": Reason.UNSAFE_MEMBER,
    }


def test_a_file_that_becomes_a_link_after_listing_is_not_followed(source: Path, zone: Store, tmp_path: Path) -> None:
    path = _write(source / "x", b"1")
    listed = next(list_objects(str(source)))
    path.unlink()
    path.symlink_to(_write(tmp_path / "secret", b"1"))
    assert take(listed, zone)[0].reason is Reason.UNREADABLE_FILE


def test_a_file_that_vanishes_after_listing_has_a_reason(source: Path, zone: Store) -> None:
    path = _write(source / "x", b"1")
    listed = next(list_objects(str(source)))
    path.unlink()
    assert take(listed, zone)[0].reason is Reason.UNREADABLE_FILE


def test_an_unreadable_folder_is_a_row(source: Path, zone: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(source / "closed/x", b"1")
    _write(source / "open", b"1")
    real = os.scandir

    def refusing(path: str):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "no")
        return real(path)

    monkeypatch.setattr(folder.os, "scandir", refusing)
    rows = pulled(source, zone)
    assert rows["closed"].reason is Reason.UNREADABLE_FILE
    assert rows["open"].reason is None


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "full"), (errno.ESTALE, "went away")])
def test_a_failing_machine_is_not_the_files_fault(
    source: Path, zone: Store, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    _write(source / "x", b"1")
    listed = next(list_objects(str(source)))

    def failing(*_: object) -> None:
        raise OSError(number, "broken")

    monkeypatch.setattr(taking, "_take_local", failing)
    with pytest.raises(StoreUnreachable, match=words):
        take(listed, zone)


def test_names_are_valid_text_and_unique(source: Path, zone: Store) -> None:
    raw = os.fsencode(source)
    for name in (b"\xe4.dcm", b"\\xe4.dcm", b"a.zip!/x"):
        _write(Path(os.fsdecode(os.path.join(raw, name))), b"1")
    _write(source / "a.zip", zipped({"x": b"2"}))
    rows = pulled(source, zone)
    assert sorted(rows) == ["\\xe4.dcm", "\\xe4.dcm#2", "a.zip", "a.zip!!/x", "a.zip!/x"]
    assert read_url(rows["a.zip!!/x"].url) == b"1"
    assert read_url(rows["a.zip!/x"].url) == b"2"
    assert all(read_url(row.url) for row in rows.values())


def test_compressed_nifti_stays_one_file(source: Path, zone: Store) -> None:
    _write(source / "t1.nii.gz", gzip.compress(b"1"))
    _write(source / "t1.dcm.gz", gzip.compress(b"1"))
    assert list(pulled(source, zone)) == ["t1.dcm.gz", "t1.dcm.gz!/t1.dcm", "t1.nii.gz"]


def test_a_second_pull_reads_only_what_changed(source: Path, zone: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(source / "same", b"1")
    _write(source / "same.zip", zipped({"m": b"2", "n": b"3"}))
    changed = _write(source / "changed", b"4")
    _write(source / "gone", b"5")
    before = pulled(source, zone)
    changed.write_bytes(b"44")
    (source / "gone").unlink()
    _write(source / "new", b"6")
    taken = []
    real = take
    monkeypatch.setattr(sources, "take", lambda listed, *rest: taken.append(listed.source_path) or real(listed, *rest))
    after = {row.source_path: row for row in pull(str(source), zone, before)}
    assert taken == ["changed", "new"]
    assert sorted(after) == ["changed", "new", "same", "same.zip", "same.zip!/m", "same.zip!/n"]
    assert after["changed"].bytes == 2
    assert {path: after[path] for path in ("same", "same.zip!/m")} == {
        path: before[path] for path in ("same", "same.zip!/m")
    }


def test_rows_whose_copy_is_gone_are_taken_again(source: Path, zone: Store) -> None:
    _write(source / "a.zip", zipped({"m": b"2"}))
    before = pulled(source, zone)
    assert reuse(list_objects(str(source)), before, zone)[1] == []
    zone.delete(next(zone.list()))
    kept, missing = reuse(list_objects(str(source)), before, zone)
    assert kept == []
    assert [listed.source_path for listed in missing] == ["a.zip"]


def test_an_unreadable_file_is_tried_again(source: Path, zone: Store) -> None:
    path = _write(source / "x", b"1")
    row = take(next(list_objects(str(source))), zone)[0].model_copy(update={"reason": Reason.UNREADABLE_FILE})
    assert path.exists()
    assert len(reuse(list_objects(str(source)), {"x": row}, zone)[1]) == 1


def test_a_source_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="does not exist"):
        list(list_objects(str(tmp_path / "nothing")))
    with pytest.raises(UsageError, match="ftp://"):
        list(list_objects("ftp://host/x"))


def test_an_empty_folder_is_a_source_without_files(source: Path, zone: Store) -> None:
    assert pulled(source, zone) == {}


@pytest.mark.shared
def test_the_shared_archive_is_the_same_packed_and_plain(shared_data: Path, tmp_path: Path, zone: Store) -> None:
    folder = next(path for path in sorted(shared_data.rglob("*")) if path.is_dir() and any(path.glob("*.dcm")))
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    packed = _write(tmp_path / "packed.tar.gz", tarred(files, "w:gz"))
    plain = {row.sha256 for row in pulled(folder, zone).values() if row.reason is None}
    assert {row.sha256 for row in pulled(packed, zone).values() if row.reason is None} == plain
