"""What pulling from SFTP servers and PACS costs beside their own clients: paramiko, dcmtk's getscu, plain HTTP.

Belongs here: the servers on loopback, each in a process of its own, and the plain way of each. Does not belong here:
the table (`benchmarks.pull`).
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import paramiko

from oncurate.sources import source_of
from oncurate.sources.interface import Expecting
from oncurate.sources.settings import PullSettings
from tests.pacs import CALLED, CALLING, PASSWORD_ENV, USER_ENV, Orthanc, orthanc
from tests.phantoms import ct_series
from tests.sftpserver import PASSWORD, USER, sftp_server

SLICES, SIDE = 200, 256
"""One CT series of usual size: some 130 kB a slice."""


@contextmanager
def sftp(root: Path, folder: Path) -> Iterator[tuple[str, PullSettings]]:
    """An SFTP server of the files below `root`: its URL, and how it is asked."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(root, folder, theirs), daemon=True)
    server.start()
    try:
        url, known_hosts = ours.recv()
        os.environ |= {"SFTP_BENCH_USER": USER, "SFTP_BENCH_PASSWORD": PASSWORD}
        yield url, PullSettings(known_hosts=known_hosts, user_env="SFTP_BENCH_USER", password_env="SFTP_BENCH_PASSWORD")
    finally:
        ours.send("end")
        server.join(10)


def _serve(root: Path, folder: Path, theirs: Any) -> None:
    with sftp_server(root, folder) as server:
        theirs.send((server.url, str(server.known_hosts)))
        theirs.recv()


def get_by_sftp(url: str, settings: PullSettings, into: Path) -> None:
    """The plain way: paramiko's own client to a file."""
    found = httpx.URL(url)
    user, password = settings.basic() or ("", "")
    with paramiko.SSHClient() as client:
        client.load_host_keys(settings.known_hosts or "")
        client.connect(found.host, found.port or 22, user, password, allow_agent=False, look_for_keys=False)
        client.open_sftp().get(found.path, str(into / "copy"))


class Series:
    """One made series in Orthanc."""

    def __init__(self, server: Orthanc, size: int) -> None:
        self.server, self.size = server, size

    @property
    def web_settings(self) -> PullSettings:
        """How its DICOMweb service is asked."""
        return PullSettings(user_env=USER_ENV, password_env=PASSWORD_ENV)

    def get_by_web(self, into: Path) -> None:
        """The plain way: as many requests at a time as ours, each answer to a file as it comes."""
        with closing(source_of(self.server.web, self.web_settings)) as source:
            urls = [item.url.removeprefix("dicomweb+") for item in source.entries()]
        login = tuple(self.server.environment.values())
        with httpx.Client(auth=(login[0], login[1])) as client, ThreadPoolExecutor(PullSettings().connections) as pool:

            def get(number: int) -> None:
                answer = client.get(urls[number], headers={"Accept": 'multipart/related; type="application/dicom"'})
                answer.raise_for_status()
                (into / str(number)).write_bytes(answer.content)

            list(pool.map(get, range(len(urls))))

    def get_by_dimse(self, into: Path) -> None:
        """The plain way: dcmtk's getscu, bytes as they come."""
        with closing(source_of(self.server.dimse, PullSettings())) as source:
            assert isinstance(source, Expecting)
            study, series, _ = next(source.entries()).source_path.split("/")
        keys = [
            "QueryRetrieveLevel=SERIES",
            f"StudyInstanceUID={study}",
            f"SeriesInstanceUID={series}",
        ]
        command = ["getscu", "-q", "-S", "+B", "-aet", CALLING, "-aec", CALLED, "-od", str(into)]
        command += [part for key in keys for part in ("-k", key)]
        subprocess.run([*command, "127.0.0.1", str(self.server.dicom_port)], check=True)
        if len(list(into.iterdir())) != SLICES:
            sys.exit("getscu did not get the series, so the figure is void")


@contextmanager
def pacs(folder: Path) -> Iterator[Series | None]:
    """A PACS that holds one series; None where its programs are not installed."""
    if shutil.which("Orthanc") is None or shutil.which("getscu") is None:
        print("no Orthanc or no getscu here: pulling from a PACS is not measured")
        yield None
        return
    files = ct_series(folder / "made", slices=SLICES, rows=SIDE, columns=SIDE)
    with orthanc(folder / "orthanc") as server:
        os.environ.update(server.environment)
        server.put_folder(folder / "made")
        yield Series(server, sum(file.stat().st_size for file in files))
