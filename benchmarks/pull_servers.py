"""What pulling from SSH servers and PACS costs beside plain clients: asyncssh, OpenSSH's sftp, dcmtk's getscu, httpx.

Belongs here: the servers on loopback, each in a process of its own, and the plain way of each. Does not belong here:
the table (`benchmarks.pull`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import asyncssh
import httpx

from oncurate.sources import source_of
from oncurate.sources.interface import Expecting
from oncurate.sources.settings import PullSettings
from tests.pacs import CALLED, CALLING, PASSWORD_ENV, SBIN, USER_ENV, Orthanc, orthanc
from tests.phantoms import ct_series
from tests.sshd import Sshd, sshd

SLICES, SIDE = 200, 256
"""One CT series of usual size: some 130 kB a slice."""


class Ssh:
    """A running SSH server of this machine's files."""

    def __init__(self, server: Sshd) -> None:
        self.server = server
        os.environ |= {"SFTP_BENCH_USER": server.user, "SFTP_BENCH_KEY": str(server.key_file)}
        self.settings = PullSettings(
            known_hosts=str(server.known_hosts), user_env="SFTP_BENCH_USER", key_file_env="SFTP_BENCH_KEY"
        )

    def get_by_asyncssh(self, path: Path, into: Path) -> None:
        """The plain way of the library that ours uses."""

        async def get() -> None:
            server = self.server
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    server.port,
                    username=server.user,
                    client_keys=[str(server.key_file)],
                    known_hosts=str(server.known_hosts),
                ) as link,
                link.start_sftp_client() as client,
            ):
                await client.get(str(path), str(into / "copy"))

        asyncio.run(get())

    def get_by_openssh(self, path: Path, into: Path) -> None:
        """The plain way of a person."""
        server = self.server
        command = ["sftp", "-q", "-i", str(server.key_file), "-P", str(server.port)]
        command += ["-o", f"UserKnownHostsFile={server.known_hosts}", f"{server.user}@127.0.0.1:{path}"]
        subprocess.run([*command, str(into / "copy")], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def ssh(folder: Path) -> Iterator[Ssh | None]:
    """An SSH server; None where none is installed."""
    if shutil.which("sshd", path=SBIN) is None or shutil.which("sftp") is None:
        print("no sshd or no sftp here: pulling by SFTP is not measured")
        yield None
        return
    with sshd(folder / "sshd") as server:
        yield Ssh(server)


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
    if shutil.which("Orthanc", path=SBIN) is None or shutil.which("getscu") is None:
        print("no Orthanc or no getscu here: pulling from a PACS is not measured")
        yield None
        return
    files = ct_series(folder / "made", slices=SLICES, rows=SIDE, columns=SIDE)
    with orthanc(folder / "orthanc") as server:
        os.environ.update(server.environment)
        server.put_folder(folder / "made")
        yield Series(server, sum(file.stat().st_size for file in files))
