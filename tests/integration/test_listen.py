"""`oncurate listen` as a hospital meets it: dcmtk's senders, a process that is told to end, TLS, a store that fails."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from oncurate.errors import StoreUnreachable
from oncurate.sources import source_of
from oncurate.sources.storage import NO_ROOM, NOT_UNDERSTOOD, STORED
from oncurate.store import Store
from tasks.listen import Count, Inbox, Tls, door_of, listen
from tests.certificates import Certificates, certificates_in
from tests.command import start
from tests.pacs import tool
from tests.phantoms import ct_series, dataset

SENDER = "HOSPITAL"


@pytest.fixture(autouse=True)
def _brief_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.listen.GRACE_S", 1.0)


@contextmanager
def listening(into: str, tls: Tls | None = None) -> Iterator[tuple[int, list[Count]]]:
    """A receiver in this process: its port, and its counts, the last one after it ended."""
    ended, ready, ports, counts = threading.Event(), threading.Event(), [], []

    def tell(count: Count, port: int) -> None:
        ports.append(port)
        counts.append(count)
        ready.set()

    def run() -> None:
        counts.append(listen(door_of("ONCURATE", "127.0.0.1", 0, [SENDER], tls), into, ended, tell))

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0], counts
    finally:
        ended.set()
        thread.join(30)


def store(port: int, objects: list[object], sender: str = SENDER, tls: object = None) -> list[int | None]:
    """Send objects as a hospital would; the status of each, None where there was no answer."""
    ae = AE(sender)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.add_requested_context(Verification)
    args = {"tls_args": (tls, "localhost")} if tls else {}
    association = ae.associate("127.0.0.1", port, ae_title="ONCURATE", **args)  # type: ignore[arg-type]
    if not association.is_established:
        return [None] * len(objects)
    found = [association.send_c_store(ds).get("Status") for ds in objects]  # type: ignore[arg-type]
    association.release()
    return found


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_hospital_pushes_and_the_folder_is_a_source(tmp_path: Path) -> None:
    sent = ct_series(tmp_path / "sent", slices=6)
    inbox = tmp_path / "inbox"
    process = start("listen", "--into", inbox, "--allow", SENDER, "--bind", "127.0.0.1", "--port", "0", "--json",
                    home=tmp_path / "home")  # fmt: skip
    try:
        assert process.stderr is not None
        port = process.stderr.readline().partition("port ")[2].partition(":")[0]
        there = ["-aec", "ONCURATE", "127.0.0.1", port]
        for title, status in ((SENDER, 0), ("STRANGER", 1)):
            assert bool(subprocess.run([tool("echoscu"), "-aet", title, *there]).returncode) is bool(status)
        for _ in range(2):
            subprocess.run([tool("dcmsend"), "+sd", "-aet", SENDER, *there, tmp_path / "sent"], check=True)
        refused = subprocess.run([tool("dcmsend"), "+sd", "-aet", "STRANGER", *there, tmp_path / "sent"])
        assert refused.returncode != 0
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    size = sum(path.stat().st_size for path in stored(inbox))
    assert json.loads(out) == {"received": 12, "present": 6, "bytes": 2 * size, "refused": {"association": 2}}
    source = source_of(str(inbox))
    read = {str(ds.SOPInstanceUID): ds for ds in (dcmread(source.open(item)) for item in source.entries())}
    assert {str(ds.SOPInstanceUID): ds for ds in map(dcmread, sent)} == read
    told = out + err + " ".join(str(path.relative_to(inbox)) for path in stored(inbox))
    for ds in read.values():
        assert not [value for value in (ds.PatientID, ds.SOPInstanceUID, ds.StudyInstanceUID) if str(value) in told]
    assert inbox.stat().st_mode & 0o077 == 0


def test_success_is_said_only_of_what_is_stored(tmp_path: Path) -> None:
    good, lying = dataset(number=1), dataset(number=2)
    with listening(str(tmp_path / "in")) as (port, counts):
        assert store(port, [good, good]) == [STORED, STORED]
        assert store(port, [lying], sender="STRANGER") == [None]
    assert (counts[-1].received, counts[-1].present) == (2, 1)
    (path,) = stored(tmp_path / "in")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert dcmread(io.BytesIO(path.read_bytes())) == good


def test_a_store_that_fails_is_the_senders_to_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise StoreUnreachable("is full")

    with listening(str(tmp_path / "in")) as (port, counts):
        monkeypatch.setattr(Store, "put_if_absent", full)
        assert store(port, [dataset()]) == [NO_ROOM]
        monkeypatch.undo()
        assert store(port, [dataset()]) == [STORED]
    assert (counts[-1].received, counts[-1].refused) == (1, {"store": 1})


def test_an_object_that_is_not_what_its_sender_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = dataset()
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    keep = Inbox.keep

    def other_uid(self: Inbox, received: object) -> int:
        object.__setattr__(received, "sop_instance", "1.2.3")
        return keep(self, received)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "keep", other_uid)
    with listening(str(tmp_path / "in")) as (port, counts):
        assert store(port, [ds]) == [NOT_UNDERSTOOD]
    assert counts[-1].refused == {"broken_header": 1}
    assert stored(tmp_path / "in") == []


def test_a_sender_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with listening(str(tmp_path / "in")) as (port, counts):
        ae = AE(SENDER)
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", port, ae_title="ONCURATE")
        assert association.is_established
        association.dul.socket.socket.sendall(b"\x04\x00\x00\x01\x00\x00" + bytes(100))  # a P-DATA of 65,536, cut
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        association.abort()
        assert store(port, [dataset()]) == [STORED]
    assert counts[-1].received == 1
    assert len(stored(tmp_path / "in")) == 1


def test_it_ends_while_somebody_is_connected(tmp_path: Path) -> None:
    with listening(str(tmp_path / "in")) as (port, _), socket.create_connection(("127.0.0.1", port)):
        since = time.monotonic()
    assert time.monotonic() - since < 25


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("certificates"))


def test_tls_with_a_silent_caller_at_the_door(certificates: Certificates, tmp_path: Path) -> None:
    tls = Tls(str(certificates.cert), str(certificates.key))
    with listening(str(tmp_path / "in"), tls) as (port, counts), socket.create_connection(("127.0.0.1", port)):
        assert store(port, [dataset()]) == [None]  # without TLS
        assert store(port, [dataset()], tls=certificates.client_context()) == [STORED]
    assert counts[-1].received == 1


def test_senders_must_show_a_certificate_where_one_is_asked_for(certificates: Certificates, tmp_path: Path) -> None:
    tls = Tls(str(certificates.cert), str(certificates.key), str(certificates.ca))
    with listening(str(tmp_path / "in"), tls) as (port, counts):
        assert store(port, [dataset()], tls=certificates.client_context()) == [None]
        assert store(port, [dataset()], tls=certificates.client_context(shows=True)) == [STORED]
    assert counts[-1].received == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        door = door_of("ONCURATE", "127.0.0.1", busy.getsockname()[1], [SENDER], None)
        with pytest.raises(StoreUnreachable, match="cannot listen"):
            listen(door, str(tmp_path / "in"), threading.Event(), lambda *_: None)
