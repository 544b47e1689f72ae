"""A local store keeps its promises: whole objects, one winner, clear refusals. S3 has the same in tests/integration."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oncurate import store_local
from oncurate.errors import AlreadyExists, Defect, StoreUnreachable, UsageError
from oncurate.store import Patience, Store, normal_url, read_url

QUICK = Patience(attempts=3, first_wait=0.001, total=1.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "zone"), QUICK)


def test_what_is_written_is_read(store: Store) -> None:
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    assert store.size("a/b.bin") == 3
    assert store.exists("a/b.bin")
    assert not store.exists("a")
    assert store.sha256("a/b.bin") == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_a_private_folder_is_for_this_user_alone_and_one_that_is_there_stays_as_it_is(store: Store) -> None:
    store.child("new/zone").make_private()
    folder = store.local_path("new/zone")
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    store.child("new/zone").make_private()
    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_missing_object_is_file_not_found(store: Store) -> None:
    store.write("folder/x", b"")
    for key in ("nothing", "folder", "folder/x/y"):
        with pytest.raises(FileNotFoundError):
            store.read(key)
        assert not store.exists(key)
    store.delete("nothing")


def test_listing_is_recursive_sorted_and_hides_what_is_half_written(store: Store) -> None:
    for key in ("b", "a/z", "a/b/c", "a-b"):
        store.write(key, b"1")
    Path(store.local_path("a/x")).with_name(store_local.PARTIAL + "1").write_bytes(b"half")
    assert list(store.list()) == ["a-b", "a/b/c", "a/z", "b"]
    assert list(store.list("a")) == list(store.list("a/")) == ["a/b/c", "a/z"]
    assert list(store.list("nowhere")) == []
    assert list(store.child("a").list()) == ["b/c", "z"]
    assert store.sweep() == 1
    assert store.sweep() == 0


def test_version_changes_when_the_object_does(store: Store) -> None:
    store.write("k", b"1")
    before = next(store.entries()).version
    os.utime(store.local_path("k"), ns=(1, 1))
    assert next(store.entries()).version != before


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", ".", "a/", "a\x00"])
def test_a_key_cannot_lead_out(store: Store, key: str) -> None:
    for act in (store.read, store.exists, store.delete, store.local_path, lambda k: store.write(k, b"")):
        with pytest.raises(Defect):
            act(key)


def test_one_of_sixteen_creators_wins(store: Store) -> None:
    gate = threading.Barrier(16)

    def create(racer: int) -> int | None:
        gate.wait()
        try:
            store.create("pointer", b"%d" % racer)
        except AlreadyExists:
            return None
        return racer

    with ThreadPoolExecutor(16) as racers:
        winners = [racer for racer in racers.map(create, range(16)) if racer is not None]
    assert len(winners) == 1
    assert store.read("pointer") == b"%d" % winners[0]
    assert list(store.list()) == ["pointer"]


def test_put_if_absent_keeps_the_first(store: Store) -> None:
    assert store.put_if_absent("k", b"first")
    assert not store.put_if_absent("k", b"second")
    assert store.read("k") == b"first"


def test_a_reader_sees_the_old_or_the_new_object_but_nothing_between(store: Store) -> None:
    old, new = b"a" * 300_000, b"b" * 300_000
    store.write("k", old)
    done = threading.Event()

    def rewrite() -> None:
        for turn in range(60):
            store.write("k", new if turn % 2 else old)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(store.read("k"))
    writer.join()
    assert seen <= {old, new}


def test_a_failed_write_leaves_the_old_object_and_no_debris(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("k", b"old")
    monkeypatch.setattr(Path, "write_bytes", _raising(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StoreUnreachable, match="is full"):
        store.write("k", b"new")
    assert store.read("k") == b"old"
    assert os.listdir(store.local_path("k").parent) == ["k"]


def test_upload_and_copy_bring_the_same_bytes(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(3_000_000))
    store.upload("up", source)
    other = Store(str(tmp_path / "other"))
    other.copy_in("deep/copy", store, "up")
    other.download("deep/copy", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == source.read_bytes()
    with pytest.raises(FileNotFoundError):
        other.copy_in("x", store, "missing")


def test_copies_where_the_kernel_has_no_range_copy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", _raising(OSError(errno.EXDEV, "other device")))
    store.write("a", b"content")
    store.copy_in("b", store, "a")
    assert store.read("b") == b"content"


def test_transient_failures_are_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("k", b"1")
    real, failures = os.stat, [OSError(errno.ESTALE, "stale"), OSError(errno.EBUSY, "busy")]

    def flaky(path: str) -> os.stat_result:
        if failures:
            raise failures.pop()
        return real(path)

    monkeypatch.setattr(store_local.os, "stat", flaky)
    assert store.size("k") == 1


def test_a_failure_that_stays_is_unreachable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_local.os, "stat", _raising(OSError(errno.ESTALE, "stale")))
    with pytest.raises(StoreUnreachable, match="ESTALE"):
        store.size("k")


def test_no_permission_is_unreachable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_local, "open_object", _raising(PermissionError(errno.EACCES, "no")))
    with pytest.raises(StoreUnreachable, match="permissions"):
        store.read("k")


def test_checks_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match=r"missing does not exist"):
        Store(str(tmp_path / "missing")).check_readable()
    (tmp_path / "file").write_bytes(b"")
    for check in (Store(str(tmp_path / "file")).check_readable, Store(str(tmp_path / "file")).check_writable):
        with pytest.raises(StoreUnreachable, match="a file where a folder is needed"):
            check()
    new = Store(str(tmp_path / "new" / "zone"))
    new.check_writable()
    new.check_readable()
    assert list(new.list()) == []


def test_urls_have_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b%20ä").mkdir()
    plain, encoded = Store("a b%20ä"), Store((tmp_path / "a b%20ä").as_uri())
    assert plain == encoded
    assert plain.url.isascii()
    assert Store(f"file://{tmp_path}/x/") == Store(str(tmp_path / "x"))
    assert normal_url("s3://bucket/prefix/") == "s3://bucket/prefix"


def test_an_object_is_read_by_its_url_whatever_its_name(tmp_path: Path) -> None:
    for raw in (b"plain", b"a b%41#?.dcm", b"back\\slash", "ä".encode("latin-1")):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), raw)))
        path.write_bytes(raw)
        assert read_url(path.as_uri()) == raw


@pytest.mark.parametrize("url", ["ftp://host/x", "gs://bucket", "s3://", "s3://key:secret@bucket/x"])
def test_urls_that_cannot_be_zones_are_usage_errors(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Store(url)
    assert "secret" not in str(refused.value).replace("AWS_SECRET_ACCESS_KEY", "").lower()


def test_a_store_is_small_when_pickled_and_the_same_after(store: Store) -> None:
    store.write("k", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.read("k") == b"1"


def _raising(error: Exception):
    def act(*_: object, **__: object) -> None:
        raise error

    return act
