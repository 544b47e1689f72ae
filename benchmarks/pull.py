"""What pulling costs beside a plain copy of the same bytes, in one run: large objects, small objects, memory.

Belongs here: servers on loopback, the plain copies, the table. Does not belong here: whether the bytes are right
(tests/integration/test_source_*.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from socket import create_server
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks import pull_servers
from benchmarks.link import link_to
from benchmarks.show import print_table
from flows.s3server import S3Server
from oncurate.sources import Places, source_of, taking
from oncurate.sources.interface import Expecting
from oncurate.sources.settings import PullSettings
from oncurate.store import Store
from oncurate.store_s3 import filesystem

TURNS = 7
_BUFFERS_BYTES = 256 << 20
"""More than either side holds in memory."""
SMALL_FILES, SMALL_BYTES = 400, 150_000
"""About the slices of one CT series, 256 x 256 in 16 bits."""
LINKS_MBIT_S = (1000, 5000)
"""On loopback the server, the plain copy's client and ours share this machine's cores and nothing else is slow: there
digests compete with copying. Over a link, as archives are pulled, they run beside it."""

Action = Callable[[Path], object]
"""Brings the bytes into an empty folder."""


def run(folder: Path, megabytes: int) -> list[dict[str, Any]]:
    """Seconds of `TURNS` turns each, plain and ours by turns, and the ratios of the medians and of the best turns.

    Both write to the same disk.
    """
    data = folder / "data"
    data.mkdir()
    large = _noise(data / "large.bin", megabytes)
    small = data / "small"
    small.mkdir()
    for number in range(SMALL_FILES):
        (small / f"{number:04d}").write_bytes(os.urandom(SMALL_BYTES))
    rows = [*_folder(large, folder), *_folder_tar(large, small, folder)]
    rows += _bucket(large, small, folder)
    rows += _web(large, folder)
    rows += [*_sftp(large, folder), *_pacs(folder)]
    print_table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    return rows


def _noise(path: Path, megabytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))
    return path


def _folder(large: Path, folder: Path) -> list[dict[str, Any]]:
    """From the disk, as an archive larger than memory is; and from memory, where a copy costs next to nothing.

    There the digest alone, of which there is one a file, takes longer than a copy.
    """

    def plain(into: Path) -> None:
        shutil.copyfile(large, into / "copy")

    def ours(into: Path) -> None:
        _pull(large.as_uri(), into)

    size = large.stat().st_size
    return [
        _row("folder on disk, read in place / cp", size, _Cold(large, plain), _Cold(large, ours), folder),
        _row("folder in memory, read in place / cp", size, plain, ours, folder),
        _row("SHA-256 alone of bytes in memory / cp", size, plain, _digest_of(large.read_bytes()), folder),
        _folder_by_all(large, folder),
    ]


def _folder_by_all(large: Path, folder: Path) -> dict[str, Any]:
    """As a run takes an archive: its files by as many processes as there are cores. One file hashes on one core."""
    cores = os.cpu_count() or 1
    files = [folder / f"copy{number}.bin" for number in range(cores)]
    for file in files:
        shutil.copyfile(large, file)

    def plain(into: Path) -> None:
        for file in files:
            shutil.copyfile(file, into / file.name)

    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:

        def ours(into: Path) -> None:
            list(pool.map(_pull, [file.as_uri() for file in files], [into / file.name for file in files]))

        size = cores * large.stat().st_size
        row = _row(f"folder in memory, {cores} objects by {cores} processes / cp", size, plain, ours, folder)
    for file in files:
        file.unlink()
    return row


@dataclass(frozen=True)
class _Cold:
    """An action whose file the kernel forgets before each turn."""

    file: Path
    action: Action

    def __call__(self, into: Path) -> None:
        self.action(into)

    def prepare(self) -> None:
        with self.file.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _digest_of(data: bytes) -> Action:
    """The SHA-256 of bytes that are here: what no pull of one file can do without."""
    return lambda _: hashlib.sha256(data).digest()


def _folder_tar(large: Path, small: Path, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name, member in (("one object", large), (f"{SMALL_FILES} objects", small)):
        packed = folder / "packed.tar"
        subprocess.run(["tar", "-cf", packed, "-C", member.parent, member.name], check=True)

        def plain(into: Path, packed: Path = packed) -> None:
            subprocess.run(["tar", "-xf", packed, "-C", into], check=True)

        def ours(into: Path, packed: Path = packed) -> None:
            _pull(packed.as_uri(), into)

        rows.append(_row(f"tar in a folder, {name} / tar -x", packed.stat().st_size, plain, ours, folder))
        packed.unlink()
    return rows


def _bucket(large: Path, small: Path, folder: Path) -> list[dict[str, Any]]:
    (folder / "s3").mkdir()
    server = S3Server(folder / "s3")
    server.start()
    try:
        os.environ.update(server.environment)
        store = Store(server.url("source", "bench"))
        store.upload("large/large.bin", large)
        store.create("whole/large.bin", large.read_bytes())
        for path in small.iterdir():
            store.write(f"small/{path.name}", path.read_bytes())
        path = store.url.removeprefix("s3://")

        def one(into: Path) -> None:
            filesystem().get_file(f"{path}/large/large.bin", str(into / "copy"))

        def whole(into: Path) -> None:
            filesystem().get_file(f"{path}/whole/large.bin", str(into / "copy"))

        def many(into: Path) -> None:
            filesystem().get(f"{path}/small/", str(into / "copies"), recursive=True)

        size, many_size = large.stat().st_size, SMALL_FILES * SMALL_BYTES
        ours = [lambda into, part=part: _pull(f"{store.url}/{part}", into) for part in ("large", "whole", "small")]
        rows = [
            _row("s3, one object, MD5 of parts / s3fs get", size, one, ours[0], folder),
            _row("s3, one object, CRC of the whole / s3fs get", size, whole, ours[1], folder),
            _row(f"s3, {SMALL_FILES} objects / s3fs get", many_size, many, ours[2], folder),
        ]
        endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
        for rate in LINKS_MBIT_S:
            with link_to(endpoint.hostname or "", endpoint.port or 80, rate) as port:
                os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
                name = f"s3 over {rate} Mbit/s, one object, MD5 of parts / s3fs get"
                rows.append(_row(name, size, one, ours[0], folder))
        return rows
    finally:
        server.stop()


def _web(large: Path, folder: Path) -> list[dict[str, Any]]:
    """A file from a server in a process of its own, so that it does not share our interpreter."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(large.parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(_web_url(port))
            rows = [_web_row("http, one file / httpx to a file", port, large, folder)]
            for rate in LINKS_MBIT_S:
                with link_to("127.0.0.1", port, rate) as link:
                    rows.append(_web_row(f"http over {rate} Mbit/s, one file / httpx to a file", link, large, folder))
            return rows
        finally:
            server.terminate()


def _web_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/large.bin"


def _web_row(name: str, port: int, large: Path, folder: Path) -> dict[str, Any]:
    url = _web_url(port)

    def plain(into: Path) -> None:
        with httpx.stream("GET", url) as answer, (into / "copy").open("wb") as file:
            for piece in answer.iter_raw(1 << 20):
                file.write(piece)

    return _row(name, large.stat().st_size, plain, lambda into: _pull(url, into), folder)


def _sftp(large: Path, folder: Path) -> list[dict[str, Any]]:
    with pull_servers.ssh(folder) as ssh:
        if ssh is None:
            return []
        size, url = large.stat().st_size, ssh.server.url(large)
        ways = {"asyncssh get": ssh.get_by_asyncssh, "OpenSSH's sftp": ssh.get_by_openssh}
        return [
            _row(
                f"sftp, one file / {name}",
                size,
                lambda into, plain=plain: plain(large, into),
                lambda into: _pull(url, into, ssh.settings),
                folder,
            )
            for name, plain in ways.items()
        ]


def _pacs(folder: Path) -> list[dict[str, Any]]:
    with pull_servers.pacs(folder) as series:
        if series is None:
            return []
        web, dimse, settings = series.server.web, series.server.dimse, series.web_settings
        number = pull_servers.SLICES
        return [
            _row(
                f"DICOMweb, {number} slices / httpx, as many at a time",
                series.size,
                series.get_by_web,
                lambda into: _pull(web, into, settings),
                folder,
            ),
            _row(
                f"C-GET, {number} slices / getscu",
                series.size,
                series.get_by_dimse,
                lambda into: _pull(dimse, into),
                folder,
            ),
        ]


def _wait(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.head(url)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    sys.exit("the web server of the benchmark did not start")


def _pull(url: str, into: Path, settings: PullSettings | None = None) -> None:
    places = Places(Store(str(into / "source")), Store(str(into / "partial")))
    with closing(source_of(url, settings)) as source:
        items = list(source.entries())
        if isinstance(source, Expecting):
            source.expect(items)
        for rows in taking.take_all(items, source, places):
            if any(row.reason and row.reason.state == "quarantined" for row in rows):
                sys.exit("the pull refused a file of the benchmark, so its figures are void")


def _touch_memory(path: Path, size: int) -> None:
    """Have the machine give us the memory that a turn needs: a virtual one takes what is free away, and giving it back
    costs a different time at each turn, at times more than the turn itself.
    """
    chunk = bytes(1 << 24)
    with path.open("wb") as file:
        for _ in range(0, size, len(chunk)):
            file.write(chunk)
    path.unlink()


def _row(name: str, size: int, plain: Action, ours: Action, folder: Path) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(TURNS + 1):
        for what, action in (("plain", plain), ("ours", ours)):
            with tempfile.TemporaryDirectory(dir=folder) as into:
                _touch_memory(Path(into) / "touched", size + _BUFFERS_BYTES)
                if isinstance(action, _Cold):
                    action.prepare()
                since = time.monotonic()
                action(Path(into))
                if turn:  # the first is to warm up
                    seconds[what].append(time.monotonic() - since)
    before, after = median(seconds["plain"]), median(seconds["ours"])
    best = min(seconds["ours"]) / min(seconds["plain"])
    return {
        "what": name,
        "MB": round(size / 1e6),
        "plain MB/s": round(size / 1e6 / before),
        "ours MB/s": round(size / 1e6 / after),
        "ours / plain time": round(after / before, 2),
        "of the best turns": round(best, 2),
        "RSS MB": round(psutil.Process().memory_info().rss / 1e6),
    }
