"""A real PACS for the tests: Orthanc with DICOMweb and DIMSE on loopback, and dcmtk's tools.

Belongs here: starting it on free ports, filling it, what happens where its programs are missing. Does not belong here:
assertions. Debian: orthanc, orthanc-dicomweb, dcmtk.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread
from pydicom.misc import is_dicom

from flows.s3server import free_ports
from tests.services import REQUIRE

if TYPE_CHECKING:
    from tests.certificates import Certificates  # which imports `missing` from here

CALLED, CALLING = "ARCHIVE", "ONCURATE"
USER_ENV, PASSWORD_ENV = "PACS_TEST_USER", "PACS_TEST_PASSWORD"
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Where Debian puts servers."""
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_READY_S = 60.0


def tool(name: str) -> str:
    """The path of one of dcmtk's programs; without it the test is skipped, or fails where services are required."""
    found = shutil.which(name)
    if found is None:
        missing(f"no {name} here: install Debian's dcmtk")
    assert found is not None
    return found


class Orthanc:
    """A running server. `web` and `dimse` are the URLs of the two sources."""

    def __init__(self, folder: Path, *, allows_get: bool = True, tls: Certificates | None = None) -> None:
        self.folder, self._tls = folder, tls
        self.http_port, self.dicom_port, self.move_port = free_ports(3)
        self.user, self._password = "made", secrets.token_hex(16)
        self._allows_get = allows_get
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def web(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dimse://{CALLED}@127.0.0.1:{self.dicom_port}"

    @property
    def move_to(self) -> str:
        """What it knows as our C-MOVE destination."""
        return f"{CALLING}:{self.move_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that `USER_ENV` and `PASSWORD_ENV` name."""
        return {USER_ENV: self.user, PASSWORD_ENV: self._password}

    def start(self) -> None:
        program = shutil.which("Orthanc", path=SBIN)
        if program is None or not _PLUGIN.exists():
            missing("no Orthanc with DICOMweb here: install Debian's orthanc and orthanc-dicomweb")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self._config()))
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen([str(program), "config.json"], cwd=self.folder, stdout=log, stderr=log)
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            try:
                self.ask("/system")
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise TimeoutError("Orthanc does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # told to end, it waits for its jobs, of which there are none
            self._process.wait()
            self._process = None

    @contextmanager
    def only_move(self) -> Iterator[None]:
        """Started anew without C-GET, and with it again at the end."""
        self._restart(allows_get=False)
        try:
            yield
        finally:
            self._restart(allows_get=True)

    def _restart(self, *, allows_get: bool) -> None:
        self.stop()
        self._allows_get = allows_get
        self.start()

    def put(self, files: Iterable[bytes]) -> list[str]:
        """Store DICOM files, byte for byte; the server's own name of each."""
        return [self.ask("/instances", "POST", data)["ID"] for data in files]

    def put_folder(self, folder: Path) -> None:
        """Store every file below a folder."""
        self.put(path.read_bytes() for path in sorted(folder.rglob("*.dcm")))

    def remove(self, names: Iterable[str]) -> None:
        """Delete instances by the server's own names."""
        for name in names:
            self.ask(f"/instances/{name}", "DELETE")

    def lose(self, sop_instance: str) -> None:
        """Delete the file of an instance behind the server's back; it goes on listing it."""
        for path in (path for path in (self.folder / "db").rglob("*") if path.is_file()):
            if is_dicom(path) and str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) == sop_instance:
                path.unlink()
        self._restart(allows_get=self._allows_get)  # it has recent files in memory

    def clear(self) -> None:
        """Delete everything."""
        for name in self.ask("/patients"):
            self.ask(f"/patients/{name}", "DELETE")

    def ask(self, path: str, method: str = "GET", data: bytes | None = None) -> Any:
        """A request to the server's own API, its answer in JSON."""
        return json.loads(self.ask_bytes(path, method, data))

    def ask_bytes(self, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
        """A request to the server's own API."""
        login = base64.b64encode(f"{self.user}:{self._password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", data, {"Authorization": f"Basic {login}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def _config(self) -> dict[str, Any]:
        return {
            "Name": "test",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "Plugins": [str(_PLUGIN)],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.user: self._password},
            "HttpPort": self.http_port,
            "DicomAet": CALLED,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "OverwriteInstances": True,
            "DicomModalities": {
                "us": {
                    "AET": CALLING,
                    "Host": "127.0.0.1",
                    "Port": self.move_port,
                    "AllowFind": True,
                    "AllowGet": self._allows_get,
                    "AllowMove": True,
                    "AllowStore": True,
                    "UseDicomTls": self._tls is not None,
                }
            },
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self._tls_config(),
        }

    def _tls_config(self) -> dict[str, Any]:
        """TLS both ways: callers must show a certificate, and it shows its own where it sends."""
        if self._tls is None:
            return {}
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(self._tls.cert),
            "DicomTlsPrivateKey": str(self._tls.key),
            "DicomTlsTrustedCertificates": str(self._tls.ca),
            "DicomTlsRemoteCertificateRequired": True,
        }


@contextmanager
def orthanc(folder: Path, *, allows_get: bool = True, tls: Certificates | None = None) -> Iterator[Orthanc]:
    """A running, empty server; with `tls` its DIMSE port speaks nothing else, and neither does its C-MOVE."""
    server = Orthanc(folder, allows_get=allows_get, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def missing(what: str) -> None:
    """Skip the test for want of a program, in one line; fail where services are required."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(what)
    pytest.skip(what)
