"""PACS as sources, by DIMSE: a real one, and one that refuses, leaves out, fails, aborts."""

from __future__ import annotations

import errno
import io
import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from flows.s3server import free_ports
from oncurate.errors import StoreUnreachable
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import Memory, Places, source_of, taking
from oncurate.sources.settings import PullSettings, Selection
from oncurate.store import read_url
from tests.certificates import Certificates, certificates_in
from tests.contents import content_digest
from tests.dimseserver import Pacs, dimse_server
from tests.faultproxy import proxy_to
from tests.pacs import PASSWORD_ENV, USER_ENV, Orthanc, orthanc
from tests.phantoms import ct_series, pt_series
from tests.sources_suite import QUICK, places_in

SETTINGS = PullSettings.model_validate({"retries": QUICK, "timeout_s": 5.0})
PATIENT = SETTINGS.model_copy(update={"retries": SETTINGS.retries.model_copy(update={"attempts": 9})})
REAL = ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "examples_jpeg2k.dcm", "rtplan.dcm", "MR_small_RLE.dcm"]
"""Files that pydicom ships, in several transfer syntaxes."""


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with dimse_server() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        running.put(Path(str(get_testdata_file(name))).read_bytes() for name in REAL)
        folder = tmp_path_factory.mktemp("made")
        running.put(files_of(folder / "ct", 5))
        running.put(path.read_bytes() for path in pt_series(folder / "pt", slices=3))
        yield running


def files_of(folder: Path, slices: int = 3, **keys: str) -> list[bytes]:
    return [path.read_bytes() for path in ct_series(folder, slices=slices, **keys)]


def taken(url: str, places: Places, settings: PullSettings = SETTINGS, *, together: bool = True) -> list[SourceObject]:
    with closing(source_of(url, settings)) as source:
        listed = list(source.entries())
        if together:
            source.expect(listed)  # type: ignore[attr-defined]
        return [row for rows in taking.take_all(listed, source, places) for row in rows]


def instances(rows: list[SourceObject]) -> list[str]:
    """The SOP Instance UIDs of what was stored, sorted."""
    return sorted(str(dcmread(io.BytesIO(read_url(row.url))).SOPInstanceUID) for row in rows if row.url)


@pytest.mark.parametrize("together", [True, False])
def test_every_instance_comes(pacs: Pacs, tmp_path: Path, together: bool) -> None:
    pacs.put(*files_of(tmp_path / "a", 4), *files_of(tmp_path / "b", 2, patient="PHANTOM-2"))
    rows = taken(pacs.url, places_in(tmp_path), together=together)
    assert instances(rows) == sorted(pacs.objects)
    assert len(pacs.retrieves) == (2 if together else 6)
    assert [row.source_path for row in rows] == sorted(row.source_path for row in rows)


def test_data_sets_are_kept_as_they_came(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 2))
    for row in taken(pacs.url, places_in(tmp_path)):
        read = dcmread(io.BytesIO(read_url(row.url)))
        assert read == pacs.objects[str(read.SOPInstanceUID)]


def test_a_pacs_that_hides_the_class_gives_its_images_too(pacs: Pacs, tmp_path: Path) -> None:
    pacs.hides_classes = True
    pacs.put(*files_of(tmp_path / "a", 2))
    assert instances(taken(pacs.url, places_in(tmp_path))) == sorted(pacs.objects)
    assert len(pacs.retrieves) > 1  # one association cannot offer all classes


def test_what_was_left_out_is_asked_for_again(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 4))
    pacs.leaves_out = [set(sorted(pacs.objects)[1:3]), set(sorted(pacs.objects)[1:2])]
    assert instances(taken(pacs.url, places_in(tmp_path))) == sorted(pacs.objects)
    assert len(pacs.retrieves) == 3


def test_what_never_comes_is_a_row(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 3))
    pacs.never_sends = {sorted(pacs.objects)[1]}
    rows = taken(pacs.url, places_in(tmp_path))
    assert [row.reason for row in rows] == [None, Reason.TRANSFER_INCOMPLETE, None]
    assert Reason.TRANSFER_INCOMPLETE in taking.RETRIED


@pytest.mark.parametrize("fails", [slice(1, 2), slice(0, 4)])
def test_what_the_pacs_says_it_cannot_send_is_asked_for_once_more_only(
    pacs: Pacs, tmp_path: Path, fails: slice
) -> None:
    pacs.put(*files_of(tmp_path / "a", 4))
    pacs.fails = set(sorted(pacs.objects)[fails])
    rows = taken(pacs.url, places_in(tmp_path), PATIENT)
    assert instances(rows) == sorted(pacs.objects.keys() - pacs.fails)
    assert {row.reason for row in rows} - {None} == {Reason.TRANSFER_INCOMPLETE}
    assert pacs.retrieves == ["C-GET", "C-GET"]


def test_one_object_that_cannot_be_sent_does_not_keep_others_away(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 5))
    pacs.chokes_on = set(sorted(pacs.objects)[:2])
    rows = taken(pacs.url, places_in(tmp_path), PATIENT)
    assert instances(rows) == sorted(pacs.objects.keys() - pacs.chokes_on)
    assert len(pacs.retrieves) == 1 + 5


def test_a_pacs_without_resources_is_given_time(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 1))
    pacs.retrieve_statuses = [0xA702] * 5
    assert instances(taken(pacs.url, places_in(tmp_path), PATIENT)) == sorted(pacs.objects)
    assert len(pacs.retrieves) == 6
    assert not pacs.retrieve_statuses


def test_what_failed_by_c_get_is_tried_by_c_move(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with dimse_server(Pacs(move_port=port)) as pacs:
        pacs.put(*files_of(tmp_path / "a", 3))
        pacs.fails = set(sorted(pacs.objects)[:1])
        rows = taken(pacs.url, places_in(tmp_path), PATIENT.model_copy(update={"move_to": f"ONCURATE:{port}"}))
        assert [row.reason for row in rows] == [Reason.TRANSFER_INCOMPLETE, None, None]
        assert pacs.retrieves == ["C-GET", "C-GET", "C-MOVE", "C-MOVE"]


def test_a_pacs_that_breaks_off_c_get_is_asked_by_c_move_at_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with dimse_server(Pacs(move_port=port)) as pacs:
        pacs.put(*files_of(tmp_path / "a", 3))
        pacs.aborts = 1
        rows = taken(pacs.url, places_in(tmp_path), PATIENT.model_copy(update={"move_to": f"ONCURATE:{port}"}))
        assert instances(rows) == sorted(pacs.objects)
        assert pacs.retrieves == ["C-GET", "C-MOVE"]


def test_a_full_disk_is_not_the_fault_of_the_pacs(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> BinaryIO:
        raise OSError(errno.ENOSPC, "made")

    pacs.put(*files_of(tmp_path / "a", 2))
    monkeypatch.setattr("oncurate.sources.dimse._file_of", full)
    with pytest.raises(StoreUnreachable, match="TMPDIR"):
        taken(pacs.url, places_in(tmp_path))


def test_an_abort_is_tried_again(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 2))
    pacs.aborts = 2
    assert instances(taken(pacs.url, places_in(tmp_path))) == sorted(pacs.objects)
    pacs.aborts = 99
    rows = taken(pacs.url, places_in(tmp_path / "other"))
    assert {row.reason for row in rows} == {Reason.TRANSFER_INCOMPLETE}


def test_a_query_that_fails_is_tried_again_and_too_many_matches_are_said(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 2))
    pacs.find_statuses = [0xC001, 0, 0xC001]
    with closing(source_of(pacs.url, SETTINGS)) as source:
        assert len(list(source.entries())) == 2
        pacs.find_statuses = [0xC001] * 99
        with pytest.raises(StoreUnreachable, match="0xC001"):
            list(source.entries())
        pacs.find_statuses = [0xA700]
        with pytest.raises(StoreUnreachable, match="study_date"):
            list(source.entries())


@pytest.mark.parametrize("lists_uids", [True, False])
def test_a_series_that_cannot_be_listed_does_not_end_the_pull(pacs: Pacs, tmp_path: Path, lists_uids: bool) -> None:
    bad, good = files_of(tmp_path / "a", 2), files_of(tmp_path / "b", 2, patient="PHANTOM-2")
    pacs.put(*bad)
    pacs.cannot_list = {str(ds.SeriesInstanceUID) for ds in pacs.objects.values()}
    pacs.put(*good)
    pacs.lists_uids_only = lists_uids
    rows = taken(pacs.url, places_in(tmp_path))
    assert [row.reason for row in rows if not row.url] == ([] if lists_uids else [Reason.TRANSFER_INCOMPLETE])
    assert len(instances(rows)) == (4 if lists_uids else 2)


def test_a_known_series_that_cannot_be_listed_any_more_is_held(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 3))
    places = places_in(tmp_path)
    before = {row.source_path: row for row in taken(pacs.url, places)}
    pacs.cannot_list = {str(ds.SeriesInstanceUID) for ds in pacs.objects.values()}
    pacs.put(*files_of(tmp_path / "b", 4))  # the same series with one more
    assert len({ds.SeriesInstanceUID for ds in pacs.objects.values()}) == 1
    memory = Memory(before, places.zone)
    with closing(source_of(pacs.url, SETTINGS)) as source:
        memory.tell(source)
        found = list(source.entries())
    assert [len(memory.rows(item)) for item in found] == [1, 1, 1, 0]
    assert [item.reason for item in found] == [None, None, None, Reason.TRANSFER_INCOMPLETE]
    assert memory.vanished == 0


def test_who_is_not_known_there_hears_so_at_once(tmp_path: Path) -> None:
    with dimse_server(Pacs(callers=["OTHER"])) as pacs:
        with closing(source_of(pacs.url, SETTINGS)) as source, pytest.raises(StoreUnreachable, match="ONCURATE"):
            list(source.entries())
        wrong = pacs.url.replace("MADE", "WRONG")
        known = SETTINGS.model_copy(update={"calling_aet": "OTHER"})
        with closing(source_of(wrong, known)) as source, pytest.raises(StoreUnreachable, match="not called WRONG"):
            list(source.entries())


def test_nobody_there_is_said() -> None:
    (port,) = free_ports(1)
    with closing(source_of(f"dimse://A@127.0.0.1:{port}", SETTINGS)) as source, pytest.raises(StoreUnreachable):
        list(source.entries())


def test_refused_connections_and_cuts_are_tried_again(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 3))
    with proxy_to("127.0.0.1", pacs.port) as proxy:
        url = pacs.url.replace(str(pacs.port), str(proxy.port))
        proxy.refuses = 2
        with closing(source_of(url, SETTINGS)) as source:
            listed = list(source.entries())
            assert proxy.refuses == 0
            proxy.cuts = [6_000, 900]  # in the middle of the first data set, and while associating
            source.expect(listed)  # type: ignore[attr-defined]
            rows = [taking.take(item, source, places_in(tmp_path))[0] for item in listed]
    assert not proxy.cuts
    assert instances(rows) == sorted(pacs.objects)


def test_without_c_get_the_operator_learns_what_to_do(tmp_path: Path) -> None:
    with dimse_server(Pacs(offers_get=False)) as pacs:
        pacs.put(*files_of(tmp_path / "a", 1))
        with pytest.raises(StoreUnreachable, match="move_to"):
            taken(pacs.url, places_in(tmp_path))


def test_without_c_get_it_is_c_move(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with dimse_server(Pacs(offers_get=False, move_port=port)) as pacs:
        pacs.put(*files_of(tmp_path / "a", 3))
        pacs.leaves_out = [set(sorted(pacs.objects)[:1])]
        places = places_in(tmp_path)
        rows = taken(pacs.url, places, SETTINGS.model_copy(update={"move_to": f"ONCURATE:{port}"}))
        assert instances(rows) == sorted(pacs.objects)
        assert pacs.retrieves == ["C-MOVE", "C-MOVE"]
        unknown = SETTINGS.model_copy(update={"move_to": f"NOBODY:{port}"})
        with pytest.raises(StoreUnreachable, match="destination"):
            taken(pacs.url, places, unknown)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with dimse_server(Pacs(offers_get=False)) as pacs, socket.create_server(("127.0.0.1", 0)) as busy:
        pacs.put(*files_of(tmp_path / "a", 1))
        settings = SETTINGS.model_copy(update={"move_to": f"ONCURATE:{busy.getsockname()[1]}"})
        with pytest.raises(StoreUnreachable, match="move_to"):
            taken(pacs.url, places_in(tmp_path), settings)


def test_only_changed_series_are_asked_again(pacs: Pacs, tmp_path: Path) -> None:
    pacs.put(*files_of(tmp_path / "a", 2), *files_of(tmp_path / "b", 2, patient="P-2"))
    places = places_in(tmp_path)
    before = {row.source_path: row for row in taken(pacs.url, places)}
    pacs.put(*files_of(tmp_path / "c", 3, patient="P-2"))
    pacs.levels.clear()
    memory = Memory(before, places.zone)
    with closing(source_of(pacs.url, SETTINGS)) as source:
        memory.tell(source)
        new = [item for item in source.entries() if not memory.rows(item)]
    assert len(new) == 1
    assert pacs.levels.count("IMAGE") == 1


def test_nothing_is_logged(pacs: Pacs, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pacs.put(*files_of(tmp_path / "a", 1))
    pacs.aborts = 1
    with caplog.at_level(logging.DEBUG):
        taken(pacs.url, places_in(tmp_path))
    assert not [record for record in caplog.records if record.name.startswith("pynetdicom")]


def test_tls_is_verified(certificates: Certificates, tmp_path: Path) -> None:
    with dimse_server(tls=certificates.server_context()) as pacs:
        pacs.put(*files_of(tmp_path / "a", 2))
        url = pacs.url.replace("127.0.0.1", "localhost")
        trusting = SETTINGS.model_copy(update={"ca_file": str(certificates.ca)})
        assert instances(taken(url, places_in(tmp_path), trusting)) == sorted(pacs.objects)
        stranger = SETTINGS.model_copy(update={"ca_file": str(certificates.other_ca)})
        for settings, why in ((stranger, "no authority that we trust vouches for"), (SETTINGS, "does not answer")):
            with closing(source_of(url, settings)) as source, pytest.raises(StoreUnreachable, match=why):
                list(source.entries())


class TestOrthanc:
    def test_c_get_and_c_move_bring_the_same_bytes(self, real: Orthanc, tmp_path: Path) -> None:
        by_get = taken(real.dimse, places_in(tmp_path / "get"))
        with orthanc(tmp_path / "orthanc", allows_get=False) as other:
            other.put(real.ask_bytes(f"/instances/{name}/file") for name in real.ask("/instances"))
            settings = SETTINGS.model_copy(update={"move_to": other.move_to})
            by_move = taken(other.dimse, places_in(tmp_path / "move"), settings)
        assert len(by_get) == len(real.ask("/instances"))
        assert all(row.reason is None for row in by_get)
        assert {row.source_path: row.sha256 for row in by_get} == {row.source_path: row.sha256 for row in by_move}

    def test_a_file_that_it_lost_does_not_keep_the_others_away(self, tmp_path: Path) -> None:
        move = SETTINGS.model_copy(update={"retries": PATIENT.retries})
        with orthanc(tmp_path / "orthanc") as other:
            other.put(files_of(tmp_path / "ct", 5))
            with closing(source_of(other.dimse, SETTINGS)) as source:
                lost = min(item.source_path for item in source.entries())
            other.lose(lost.rpartition("/")[2].removesuffix(".dcm"))
            for settings in (move, move.model_copy(update={"move_to": other.move_to})):
                rows = taken(other.dimse, places_in(tmp_path), settings)
                assert [row.source_path for row in rows if row.reason is Reason.TRANSFER_INCOMPLETE] == [lost]
                assert len(instances(rows)) == 4

    def test_tls_both_ways(self, certificates: Certificates, tmp_path: Path) -> None:
        shown = {"client_cert": str(certificates.cert), "client_key": str(certificates.key)}
        both = SETTINGS.model_copy(update={"ca_file": str(certificates.ca), **shown})
        files = files_of(tmp_path / "ct", 3)
        for allows_get in (True, False):
            with orthanc(tmp_path / f"get-{allows_get}", allows_get=allows_get, tls=certificates) as other:
                other.put(files)
                rows = taken(other.dimse, places_in(tmp_path), both.model_copy(update={"move_to": other.move_to}))
                assert len(instances(rows)) == 3
                silent = both.model_copy(update={"client_cert": None, "client_key": None})
                for settings, why in ((SETTINGS, "does not answer"), (silent, r"pull\.client_cert")):
                    with (
                        closing(source_of(other.dimse, settings)) as source,
                        pytest.raises(StoreUnreachable, match=why),
                    ):
                        list(source.entries())

    def test_the_stored_syntax_is_kept(self, real: Orthanc, tmp_path: Path) -> None:
        stored = {}
        for name in real.ask("/instances"):
            ds = dcmread(io.BytesIO(real.ask_bytes(f"/instances/{name}/file")), stop_before_pixels=True)
            stored[str(ds.SOPInstanceUID)] = str(ds.file_meta.TransferSyntaxUID)
        came = {}
        for row in taken(real.dimse, places_in(tmp_path)):
            ds = dcmread(io.BytesIO(read_url(row.url)), stop_before_pixels=True)
            came[str(ds.SOPInstanceUID)] = str(ds.file_meta.TransferSyntaxUID)
        assert came == stored
        assert len(set(came.values())) >= 3

    def test_both_ways_list_the_same(self, real: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in real.environment.items():
            monkeypatch.setenv(name, value)
        login = SETTINGS.model_copy(update={"user_env": USER_ENV, "password_env": PASSWORD_ENV})
        for selection in (Selection(), Selection(modalities=("CT",)), Selection(modalities=("CT", "PT"))):
            found = []
            for url, settings in ((real.web, login), (real.dimse, SETTINGS)):
                with closing(source_of(url, settings, selection)) as source:
                    found.append([item.source_path for item in source.entries()])
            assert found[0] == found[1]
            assert found[0]

    def test_objects_say_the_same_whichever_way_they_come(
        self, real: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in real.environment.items():
            monkeypatch.setenv(name, value)
        login = SETTINGS.model_copy(update={"user_env": USER_ENV, "password_env": PASSWORD_ENV})
        with closing(source_of(real.web, login)) as source:
            by_web = [r for rows in taking.take_all(source.entries(), source, places_in(tmp_path)) for r in rows]
        for one, other in zip(by_web, taken(real.dimse, places_in(tmp_path)), strict=True):
            assert content_digest(io.BytesIO(read_url(one.url))) == content_digest(io.BytesIO(read_url(other.url)))
