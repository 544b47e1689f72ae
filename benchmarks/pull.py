"""What pulling costs beside a plain copy of the same bytes, in one run: large objects, small objects, memory.

Belongs here: servers on loopback, the plain copies, the table. Does not belong here: whether the bytes are right
(tests/integration/test_source_*.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from benchmarks.show import print_table
from flows.s3server import S3Server
from oncurate.sources import Places, source_of, taking
from oncurate.sources.settings import PullSettings
from oncurate.store import Store
from oncurate.store_s3 import filesystem

TURNS = 3
SMALL_FILES, SMALL_BYTES = 400, 150_000
"""About the slices of one CT series, 256 x 256 in 16 bits."""


def run(folder: Path, megabytes: int) -> list[dict[str, Any]]:
    """Median seconds of `TURNS` turns each, plain and ours by turns, and their ratio."""
    data = folder / "data"
    data.mkdir()
    large = _noise(data / "large.bin", megabytes)
    small = data / "small"
    small.mkdir()
    for number in range(SMALL_FILES):
        (small / f"{number:04d}").write_bytes(os.urandom(SMALL_BYTES))
    rows = [_folder(large, folder), _folder_tar(large, folder)]
    rows += _bucket(large, small, folder)
    rows += _web(large, folder)
    print_table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    return rows


def _noise(path: Path, megabytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))
    return path


def _folder(large: Path, folder: Path) -> dict[str, Any]:
    def plain() -> None:
        shutil.copyfile(large, folder / "copy")
        (folder / "copy").unlink()

    return _row("folder, read in place / cp", large.stat().st_size, plain, lambda: _pull(large.as_uri(), folder))


def _folder_tar(large: Path, folder: Path) -> dict[str, Any]:
    packed = folder / "packed.tar"
    subprocess.run(["tar", "-cf", packed, "-C", large.parent, "large.bin", "small"], check=True)
    out = folder / "out"

    def plain() -> None:
        out.mkdir()
        subprocess.run(["tar", "-xf", packed, "-C", out], check=True)
        shutil.rmtree(out)

    row = _row("tar in a folder / tar -x", packed.stat().st_size, plain, lambda: _pull(packed.as_uri(), folder))
    packed.unlink()
    return row


def _bucket(large: Path, small: Path, folder: Path) -> list[dict[str, Any]]:
    (folder / "s3").mkdir()
    server = S3Server(folder / "s3")
    server.start()
    try:
        os.environ.update(server.environment)
        store = Store(server.url("source", "bench"))
        store.upload("large/large.bin", large)
        for path in small.iterdir():
            store.write(f"small/{path.name}", path.read_bytes())
        path = store.url.removeprefix("s3://")

        def one() -> None:
            filesystem().get_file(f"{path}/large/large.bin", str(folder / "copy"))
            (folder / "copy").unlink()

        def many() -> None:
            filesystem().get(f"{path}/small/", str(folder / "copies"), recursive=True)
            shutil.rmtree(folder / "copies")

        size = SMALL_FILES * SMALL_BYTES
        return [
            _row("s3, one object / s3fs get", large.stat().st_size, one, lambda: _pull(store.url + "/large", folder)),
            _row(f"s3, {SMALL_FILES} objects / s3fs get", size, many, lambda: _pull(store.url + "/small", folder)),
        ]
    finally:
        server.stop()


def _web(large: Path, folder: Path) -> list[dict[str, Any]]:
    """A file from a server in a process of its own, so that it does not share our interpreter."""
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(large.parent)]
    url = f"http://127.0.0.1:{port}/large.bin"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(url)

            def plain() -> None:
                with httpx.stream("GET", url) as answer, (folder / "copy").open("wb") as file:
                    for piece in answer.iter_raw(1 << 20):
                        file.write(piece)
                (folder / "copy").unlink()

            size = large.stat().st_size
            return [_row("http, one file / httpx to a file", size, plain, lambda: _pull(url, folder))]
        finally:
            server.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.head(url)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    sys.exit("the web server of the benchmark did not start")


def _pull(url: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as zone:
        places = Places(Store(f"{zone}/source"), Store(f"{zone}/partial"))
        with closing(source_of(url, PullSettings())) as source:
            for rows in taking.take_all(source.entries(), source, places):
                if any(row.reason and row.reason.state == "quarantined" for row in rows):
                    sys.exit("the pull refused a file of the benchmark, so its figures are void")


def _row(name: str, size: int, plain: Callable[[], None], ours: Callable[[], None]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(TURNS):
        for what, action in (("plain", plain), ("ours", ours)):
            since = time.monotonic()
            action()
            seconds[what].append(time.monotonic() - since)
    before, after = median(seconds["plain"]), median(seconds["ours"])
    return {
        "what": name,
        "MB": round(size / 1e6),
        "plain MB/s": round(size / 1e6 / before),
        "ours MB/s": round(size / 1e6 / after),
        "ours / plain time": round(after / before, 2),
        "RSS MB": round(psutil.Process().memory_info().rss / 1e6),
    }
