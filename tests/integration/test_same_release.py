"""The whole job from a folder, a nested tar, a bucket, web and SSH servers, and PACS: one and the same release."""

from __future__ import annotations

import base64
import io
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from flows.s3server import S3Server
from oncurate import tables
from oncurate.store import Store
from tests import annotated
from tests.certificates import Certificates, certificates_in
from tests.engine import prefect_and_dask
from tests.pacs import PASSWORD_ENV, USER_ENV, Orthanc, orthanc
from tests.phantoms import ct_series, pt_series, uid
from tests.provider_files import provider_file
from tests.sftpserver import PASSWORD, USER, sftp_server
from tests.unit.test_archives import zipped
from tests.webserver import Web, web_server

pytestmark = [pytest.mark.s3, pytest.mark.flows, pytest.mark.slow]

SLICES = 6
LOGIN = {"user_env": "SITE_USER", "password_env": "SITE_PASSWORD"}
ENVIRONMENT = {"SITE_USER": USER, "SITE_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT with a segmentation on it, and a PET of another patient."""
    folder = tmp_path_factory.mktemp("archive")
    images = ct_series(folder / "ct", slices=SLICES)
    pt_series(folder / "pt", slices=4, patient="PHANTOM-2")
    first = pydicom.dcmread(images[2], stop_before_pixels=True)
    mask = np.zeros((16, 12), bool)
    mask[4:9, 3:7] = True
    grid = annotated.grid((12, 16, SLICES), (0.8, 0.8, 2.0), origin=(-100.0, -80.0, 50.0))
    seg = annotated.segmentation([(1, 2, mask)], grid, sources=[first.SOPInstanceUID])
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(seg, keyword, first[keyword].value)
    seg.SeriesInstanceUID, seg.SOPInstanceUID = uid("series", "seg"), uid("object", "seg")
    (folder / "seg").mkdir()
    (folder / "seg" / "seg.dcm").write_bytes(annotated.as_bytes(seg))
    return folder


@pytest.fixture(scope="module")
def pacs(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        running.put_folder(archive)
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_pacs(archive: Path, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS that lets nobody in without TLS and a certificate."""
    with orthanc(tmp_path_factory.mktemp("orthanc"), tls=certificates) as running:
        running.put_folder(archive)
        yield running


@pytest.fixture
def site(certificates: Certificates) -> Iterator[Web]:
    """A web server that asks for a login, over TLS."""
    with web_server(certificates.server_context()) as web:
        web.login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        yield web


@pytest.fixture(scope="module")
def dask(s3: S3Server, pacs: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose workers may log in to all servers."""
    environment = {**s3.environment, **pacs.environment, **ENVIRONMENT}
    with prefect_and_dask(tmp_path_factory.mktemp("prefect"), environment) as address:
        yield address


@pytest.fixture(scope="module")
def expected(archive: Path, dask: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return released(tmp_path_factory.mktemp("folder"), dask, source=str(archive))


def released(folder: Path, dask: str, **keys: Any) -> dict[str, Any]:
    """Volumes and labels of a release by their names, with the digests of their images."""
    from flows.curate import curate

    finished = curate(str(provider_file(folder, **keys)), dask)
    assert finished["is_new"]
    base = Store(str(folder / "curated" / "made")).child("releases/v1/tables")
    volumes = tables.from_parquet(base.read("volumes.parquet"))
    labels = tables.from_parquet(base.read("annotations.parquet"))
    return {
        "volumes": {r["volume_id"]: (r["native_sha256"], r["harmonised_sha256"], r["subject_id"]) for r in volumes},
        "labels": {(r["annotation_id"], r["label"]): (r["volume_id"], r["native_voxels"]) for r in labels},
    }


def test_the_folder_itself(expected: dict[str, Any]) -> None:
    assert len(expected["volumes"]) == 2
    assert [voxels for _, voxels in expected["labels"].values()] == [20]


def test_a_tar_within_a_tar(archive: Path, expected: dict[str, Any], dask: str, tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        tar.add(archive / "pt", "pt")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        tar.add(archive / "ct", "somewhere/ct")
        tar.add(archive / "seg", "seg")
        entry = tarfile.TarInfo("more/pt.tar.xz")
        entry.size = len(inner.getvalue())
        tar.addfile(entry, io.BytesIO(inner.getvalue()))
    assert released(tmp_path, dask, source=str(tmp_path / "all.tar.gz")) == expected


def test_a_bucket(archive: Path, expected: dict[str, Any], aws: S3Server, dask: str, tmp_path: Path) -> None:
    source = aws.url("source", uuid.uuid4().hex)
    for path in sorted(archive.rglob("*.dcm")):
        Store(source).write(path.relative_to(archive).as_posix(), path.read_bytes())
    assert released(tmp_path, dask, source=source) == expected


@pytest.mark.parametrize("listing", [True, False])
def test_a_web_server(
    listing: bool,
    archive: Path,
    expected: dict[str, Any],
    site: Web,
    certificates: Certificates,
    dask: str,
    tmp_path: Path,
) -> None:
    files = {f"scans/{path.relative_to(archive).as_posix()}": path.read_bytes() for path in archive.rglob("*.dcm")}
    site.files = files if listing else {"all scans.zip": zipped(files)}
    source = site.url + ("scans/" if listing else "all%20scans.zip")
    pull = {"ca_file": str(certificates.ca), **LOGIN}
    assert released(tmp_path, dask, source=source, pull=pull) == expected
    assert site.asked
    assert all(headers.get("Authorization") == site.login for _, _, headers in site.asked)


def test_an_ssh_server(archive: Path, expected: dict[str, Any], dask: str, tmp_path: Path) -> None:
    with sftp_server(archive, tmp_path) as server:
        pull = {"known_hosts": str(server.known_hosts), **LOGIN}
        assert released(tmp_path, dask, source=server.url + "/", pull=pull) == expected


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_pacs_over_tls(
    way: str, tls_pacs: Orthanc, certificates: Certificates, expected: dict[str, Any], dask: str, tmp_path: Path
) -> None:
    pull = {"ca_file": str(certificates.ca), "client_cert": str(certificates.cert), "client_key": str(certificates.key)}
    pull["move_to"] = tls_pacs.move_to
    with tls_pacs.only_move() if way == "move" else nullcontext():
        assert released(tmp_path, dask, source=tls_pacs.dimse, pull=pull) == expected


@pytest.mark.parametrize("way", ["web", "dimse", "move"])
def test_a_pacs(
    way: str,
    pacs: Orthanc,
    expected: dict[str, Any],
    dask: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in pacs.environment.items():
        monkeypatch.setenv(name, value)
    pull = {
        "web": {"user_env": USER_ENV, "password_env": PASSWORD_ENV},
        "dimse": {},
        "move": {"move_to": pacs.move_to},
    }
    source = pacs.web if way == "web" else pacs.dimse
    with pacs.only_move() if way == "move" else nullcontext():
        assert released(tmp_path, dask, source=source, pull=pull[way]) == expected
