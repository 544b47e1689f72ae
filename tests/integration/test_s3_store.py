"""An S3 store keeps the same promises as a local one, against a real server that checks signatures."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.s3server import S3Server
from oncurate.errors import AlreadyExists, StoreUnreachable
from oncurate.lease import Lease
from oncurate.reasons import Reason
from oncurate.sources import list_objects, pull, reuse, taking
from oncurate.store import Patience, Store, read_url
from tests.unit.test_archives import tarred, zipped
from tests.unit.test_lease import HOLD

pytestmark = pytest.mark.s3

QUICK = Patience(attempts=3, first_wait=0.01, total=1.0)
PARTS = 40 << 20
"""Bytes that go up in several parts."""


def test_what_is_written_is_read(bucket_store: Store) -> None:
    store = bucket_store
    store.write("a/b ä%20#?.bin", b"one")
    store.write("a/b ä%20#?.bin", b"two")
    assert store.read("a/b ä%20#?.bin") == read_url(store.url_of("a/b ä%20#?.bin")) == b"two"
    assert store.size("a/b ä%20#?.bin") == 3
    assert store.sha256("a/b ä%20#?.bin") == hashlib.sha256(b"two").hexdigest()
    assert store.local_path("a") is None
    assert not store.exists("a")
    with pytest.raises(FileNotFoundError):
        store.read("a/c")
    with pytest.raises(FileNotFoundError):
        store.size("a/c")
    store.write("empty", b"")
    assert store.read("empty") == b""
    store.delete("empty")
    store.delete("empty")
    assert not store.exists("empty")


def test_listing_is_sorted_recursive_and_complete(bucket_store: Store) -> None:
    keys = sorted([f"many/{n:04d}" for n in range(1_100)] + ["a-b", "a/b/c", "a/z", "b"])
    with ThreadPoolExecutor(16) as writers:
        list(writers.map(lambda key: bucket_store.write(key, b""), keys))
    assert list(bucket_store.list()) == keys
    assert list(bucket_store.list("a")) == ["a/b/c", "a/z"]
    assert list(bucket_store.child("a").list()) == ["b/c", "z"]
    assert list(bucket_store.list("nowhere")) == []


@pytest.mark.parametrize("size", [10, PARTS])
def test_one_of_sixteen_creators_wins(bucket_store: Store, size: int) -> None:
    racers = 16 if size < PARTS else 3
    gate = threading.Barrier(racers)

    def create(racer: int) -> int | None:
        gate.wait()
        try:
            bucket_store.create("pointer", bytes([racer]) * size)
        except AlreadyExists:
            return None
        return racer

    with ThreadPoolExecutor(racers) as pool:
        winners = [racer for racer in pool.map(create, range(racers)) if racer is not None]
    assert len(winners) == 1
    assert bucket_store.read("pointer") == bytes([winners[0]]) * size


def test_large_objects_travel_whole(bucket_store: Store, tmp_path: Path) -> None:
    data = os.urandom(PARTS)
    (tmp_path / "large").write_bytes(data)
    bucket_store.upload("up", tmp_path / "large")
    bucket_store.child("other").copy_in("copy", bucket_store, "up")
    local = Store(str(tmp_path / "zone"))
    local.copy_in("down", bucket_store, "other/copy")
    bucket_store.copy_in("again", local, "down")
    assert bucket_store.sha256("again") == local.sha256("down") == hashlib.sha256(data).hexdigest()
    with bucket_store.open_read("again") as handle:
        handle.seek(-7, os.SEEK_END)
        assert handle.read() == data[-7:]
        handle.seek(123_456)
        assert handle.read(10_000_000) == data[123_456:10_123_456]


def test_an_upload_that_was_killed_leaves_no_object_and_is_swept(bucket_store: Store) -> None:
    script = (
        "import os, sys\nfrom oncurate.store import Store\nimport oncurate.store_s3 as s3\n"
        "real = s3.S3FileSystem._call_s3\n"
        "async def call(self, method, *a, **k):\n"
        "    if method == 'complete_multipart_upload': os.kill(os.getpid(), 9)\n"
        "    return await real(self, method, *a, **k)\n"
        "s3.S3FileSystem._call_s3 = call\n"
        f"Store(sys.argv[1]).write('k', bytes({PARTS}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, bucket_store.url], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not bucket_store.exists("k")
    assert bucket_store.sweep() == 1
    assert bucket_store.sweep() == 0


def test_checks_pass_on_a_good_bucket_and_leave_nothing(bucket_store: Store) -> None:
    bucket_store.check_readable()
    bucket_store.check_writable()
    assert list(bucket_store.list()) == []


def test_a_bucket_that_does_not_exist(aws: S3Server) -> None:
    store = Store("s3://no-such-bucket/x", QUICK)
    for act in (store.check_readable, store.check_writable, lambda: store.read("k"), lambda: store.write("k", b"")):
        with pytest.raises(StoreUnreachable, match=r"s3://no-such-bucket/x does not exist: there is no such bucket"):
            act()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "refuses our credentials"),
        ("AWS_ACCESS_KEY_ID", "wrong", "refuses our credentials"),
        ("AWS_ACCESS_KEY_ID", None, "credentials"),
    ],
)
def test_wrong_credentials(
    bucket_store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, words: str
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for act in (bucket_store.check_readable, bucket_store.check_writable, lambda: bucket_store.read("k")):
        with pytest.raises(StoreUnreachable, match=words) as refused:
            act()
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)


def test_a_port_that_refuses(aws: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnreachable, match=r"the S3 server at http://127\.0\.0\.1:9 does not answer"):
        Store("s3://work", QUICK).check_readable()


def test_a_server_that_restarts_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    with S3Server(tmp_path, buckets=["work"]) as server:  # `s3` has decided whether the program is there
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = Store("s3://work/x", Patience(attempts=20, first_wait=0.2, total=30.0))
        store.write("k", b"kept")
        server.kill()
        restart = threading.Timer(0.3, server.start)
        restart.start()
        assert store.read("k") == b"kept"
        restart.join()


def test_a_store_works_in_another_process_and_after_a_fork(bucket_store: Store) -> None:
    bucket_store.write("k", b"1")
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(bucket_store.read, ("k",)) == b"1"


def test_a_killed_holder_is_replaced_by_one_heir(bucket_store: Store) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, bucket_store.url], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnreachable, match=f"process {holder.pid}"), Lease(bucket_store):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()

    def take(_: int) -> Lease | None:
        try:
            return Lease(bucket_store).__enter__()
        except StoreUnreachable:
            return None

    with ThreadPoolExecutor(6) as takers:
        held = [lease for lease in takers.map(take, range(6)) if lease]
    assert len(held) == 1
    held[0].__exit__(None, None, None)
    with Lease(bucket_store):
        pass


def test_a_bucket_is_a_source(bucket_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, zone = bucket_store.child("archive"), bucket_store.child("zone")
    archive.write("p/1.dcm", b"one")
    archive.write("p/empty", b"")
    archive.write("all.zip", zipped({"x": b"two"}))
    archive.write("big.tar.gz", tarred({"x": os.urandom(5000), "y": b"three"}, "w:gz"))
    archive.write("large", b"large" * 1000)
    monkeypatch.setattr(taking, "SPOOL_BYTES", 4000)  # so that big.tar.gz and large are not held in memory
    rows = {row.source_path: row for row in pull(archive.url, zone, {})}
    assert {path: row.reason for path, row in rows.items()} == {
        "all.zip": Reason.ARCHIVE_UNPACKED,
        "all.zip!/x": None,
        "big.tar.gz": Reason.ARCHIVE_UNPACKED,
        "big.tar.gz!/x": None,
        "big.tar.gz!/y": None,
        "large": None,
        "p/1.dcm": None,
        "p/empty": Reason.EMPTY_FILE,
    }
    for path, data in (("p/1.dcm", b"one"), ("all.zip!/x", b"two"), ("big.tar.gz!/y", b"three")):
        assert rows[path].url.startswith(f"{zone.url}/objects/")
        assert read_url(rows[path].url) == data
    assert read_url(rows["large"].url) == b"large" * 1000
    assert reuse(list_objects(archive.url), rows, zone)[1] == []
    archive.write("p/1.dcm", b"other")
    assert [listed.source_path for listed in reuse(list_objects(archive.url), rows, zone)[1]] == ["p/1.dcm"]


def test_one_object_is_a_source(bucket_store: Store) -> None:
    bucket_store.write("in/all.zip", zipped({"x": b"two"}))
    rows = list(pull(bucket_store.url_of("in/all.zip"), bucket_store.child("zone"), {}))
    assert [row.source_path for row in rows] == ["all.zip", "all.zip!/x"]
    with pytest.raises(StoreUnreachable, match="does not exist or is empty"):
        list(list_objects(bucket_store.url_of("in/nothing")))
