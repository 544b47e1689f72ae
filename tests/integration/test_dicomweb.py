"""DICOMweb servers as sources: a real one, and one that is busy, breaks off, lies, or sends us elsewhere."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oncurate.errors import StoreUnreachable
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.sources import Memory, Places, source_of, taking
from oncurate.sources import dicomweb as module
from oncurate.sources.settings import PullSettings, Selection
from oncurate.store import read_url
from tests.dicomwebserver import Server, dicomweb_server
from tests.faultproxy import proxy_to
from tests.pacs import PASSWORD_ENV, USER_ENV, Orthanc, orthanc
from tests.phantoms import ct_series, pt_series
from tests.sources_suite import QUICK, places_in
from tests.webserver import web_server

SETTINGS = PullSettings.model_validate({"retries": QUICK, "timeout_s": 5.0})
LOGIN = SETTINGS.model_copy(update={"user_env": USER_ENV, "password_env": PASSWORD_ENV})

FAULTS = ["cut", "truncated", "short length", "part length", "two parts", "html"]
"""Of an answer with an instance: see `tests.dicomwebserver`."""


@pytest.fixture
def server() -> Iterator[Server]:
    with dicomweb_server() as running:
        yield running


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def files_of(folder: Path, slices: int = 3, **keys: str) -> list[bytes]:
    return [path.read_bytes() for path in ct_series(folder, slices=slices, **keys)]


def taken(
    url: str, places: Places, settings: PullSettings = SETTINGS, selection: Selection | None = None
) -> list[SourceObject]:
    with closing(source_of(url, settings, selection)) as source:
        return [row for rows in taking.take_all(source.entries(), source, places) for row in rows]


def sums(files: list[bytes]) -> list[str]:
    return sorted(hashlib.sha256(data).hexdigest() for data in files)


@pytest.mark.parametrize("fault", ["", "ignores_paging", "page_at_most"])
def test_every_page_is_read_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS", 4)
    files = files_of(tmp_path / "a", 11) + files_of(tmp_path / "b", 2, patient="PHANTOM-2")
    server.put(*files)
    if fault:
        setattr(server, fault, 3)
    rows = taken(server.url, places_in(tmp_path))
    assert sorted(row.sha256 for row in rows) == sums(files)
    assert [row.source_path for row in rows] == sorted(row.source_path for row in rows)


@pytest.mark.parametrize(
    "fault", ["cut", "truncated", "short length", "long length", "part length", "two parts", "html"]
)
def test_what_does_not_come_whole_is_asked_for_again(server: Server, tmp_path: Path, fault: str) -> None:
    files = files_of(tmp_path / "a", 1)
    server.put(*files)
    server.bodies = [fault, fault]
    assert [row.sha256 for row in taken(server.url, places_in(tmp_path))] == sums(files)
    assert not server.bodies


@pytest.mark.parametrize("fault", FAULTS)
def test_what_never_comes_whole_does_not_enter(server: Server, tmp_path: Path, fault: str) -> None:
    server.put(*files_of(tmp_path / "a", 2))
    server.bodies = [fault] * 20
    places = places_in(tmp_path)
    rows = taken(server.url, places)
    assert [row.reason for row in rows] == [Reason.TRANSFER_INCOMPLETE] * 2
    assert list(places.zone.list()) == []


def test_one_instance_without_multipart_is_sound(server: Server, tmp_path: Path) -> None:
    files = files_of(tmp_path / "a", 1)
    server.put(*files)
    server.bodies = ["plain"]
    assert [row.sha256 for row in taken(server.url, places_in(tmp_path))] == sums(files)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    files = files_of(tmp_path / "a", 2)
    server.put(*files)
    server.statuses = [status, status, 200, status, 200, status, 200, status]
    assert sorted(row.sha256 for row in taken(server.url, places_in(tmp_path))) == sums(files)


def test_a_server_that_stays_busy_ends_the_run(server: Server, tmp_path: Path) -> None:
    server.put(*files_of(tmp_path / "a", 1))
    server.statuses = [503] * 50
    with pytest.raises(StoreUnreachable, match="503"):
        taken(server.url, places_in(tmp_path))


def test_one_broken_instance_is_a_row_and_the_rest_goes_on(server: Server, tmp_path: Path) -> None:
    files = files_of(tmp_path / "a", 3)
    server.put(*files)
    server.broken = {sorted(server.files)[1]}
    assert [row.reason for row in taken(server.url, places_in(tmp_path))] == [None, Reason.TRANSFER_INCOMPLETE, None]


def test_an_instance_gone_since_listing_is_a_row(server: Server, tmp_path: Path) -> None:
    server.put(*files_of(tmp_path / "a", 2))
    with closing(source_of(server.url, SETTINGS)) as source:
        listed = list(source.entries())
        server.files.pop(sorted(server.files)[0])
        rows = [taking.take(item, source, places_in(tmp_path))[0] for item in listed]
    assert [row.reason in taking.RETRIED for row in rows] == [True, False]


def test_credentials_do_not_follow_a_redirect(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER_ENV, "made")
    monkeypatch.setenv(PASSWORD_ENV, "made up")
    server.put(*files_of(tmp_path / "a", 1))
    server.login = "Basic " + base64.b64encode(b"made:made up").decode()
    with web_server() as other:
        server.redirect = other.url + "elsewhere"
        rows = taken(server.url, places_in(tmp_path), LOGIN)
    assert [row.reason for row in rows] == [Reason.REDIRECTED_ELSEWHERE]
    assert other.asked == []


def test_wrong_credentials_are_said_without_being_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.login = "Bearer right"
    monkeypatch.setenv("PACS_TEST_TOKEN", "wrong-token")
    settings = SETTINGS.model_copy(update={"token_env": "PACS_TEST_TOKEN"})
    with closing(source_of(server.url, settings)) as source, pytest.raises(StoreUnreachable) as refused:
        list(source.entries())
    assert "token_env" in str(refused.value)
    assert "wrong-token" not in str(refused.value)
    monkeypatch.setenv("PACS_TEST_TOKEN", "right")
    with closing(source_of(server.url, settings)) as source:
        assert list(source.entries()) == []


def test_a_server_that_ignores_conditions_gives_no_more_than_was_asked(server: Server, tmp_path: Path) -> None:
    one, two = files_of(tmp_path / "a", 2, patient="P-1"), files_of(tmp_path / "b", 2, patient="P-2")
    server.put(*one, *two)
    (tmp_path / "ids.csv").write_text("PatientID\nP-2\n")
    selection = Selection(patients=str(tmp_path / "ids.csv"), modalities=("CT",))
    for server.ignores_conditions in (False, True):
        rows = taken(server.url, places_in(tmp_path), selection=selection)
        assert sorted(row.sha256 for row in rows) == sums(two)


def test_what_the_server_counts_and_does_not_list_is_seen(server: Server, tmp_path: Path) -> None:
    server.put(*files_of(tmp_path / "a", 2))
    server.counts = 1
    rows = taken(server.url, places_in(tmp_path))
    assert [row.reason for row in rows] == [None, None, Reason.TRANSFER_INCOMPLETE]


def test_only_changed_series_are_asked_again(server: Server, tmp_path: Path) -> None:
    one, two = files_of(tmp_path / "a", 2, patient="P-1"), files_of(tmp_path / "b", 2, patient="P-2")
    server.put(*one, *two)
    places = places_in(tmp_path)
    before = {row.source_path: row for row in taken(server.url, places)}
    server.put(*files_of(tmp_path / "c", 3, patient="P-2"))
    server.asked.clear()
    memory = Memory(before, places.zone)
    with closing(source_of(server.url, SETTINGS)) as source:
        memory.tell(source)
        new = [item for item in source.entries() if not memory.rows(item)]
    assert len(new) == 1
    asked = [path for path in server.queries() if path.endswith("/instances")]
    assert asked == [f"studies/{new[0].group.replace('/', '/series/')}/instances"]


def test_nothing_is_logged(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.put(*files_of(tmp_path / "a", 1))
    with caplog.at_level(logging.DEBUG):
        taken(server.url, places_in(tmp_path))
    assert not [record for record in caplog.records if "studies" in record.getMessage()]


class TestOrthanc:
    @pytest.fixture(autouse=True)
    def _clean(self, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
        pacs.clear()
        for name, value in pacs.environment.items():
            monkeypatch.setenv(name, value)

    def test_files_come_byte_for_byte(self, pacs: Orthanc, tmp_path: Path) -> None:
        files = files_of(tmp_path / "ct", 5) + [p.read_bytes() for p in pt_series(tmp_path / "pt", slices=3)]
        pacs.put(files)
        rows = taken(pacs.web, places_in(tmp_path), LOGIN)
        assert sorted(row.sha256 for row in rows) == sums(files)
        assert {read_url(row.url) for row in rows} == set(files)

    def test_only_what_is_selected_is_listed(self, pacs: Orthanc, tmp_path: Path) -> None:
        pacs.put(files_of(tmp_path / "ct", 2, patient="P-1"))
        pacs.put(path.read_bytes() for path in pt_series(tmp_path / "pt", slices=3, patient="P-2"))
        for selection, number in (
            (Selection(), 5),
            (Selection(modalities=("PT",)), 3),
            (Selection.model_validate({"study_date": {"from": "2023-04-05", "to": "2023-04-05"}}), 5),
            (Selection.model_validate({"study_date": {"from": "2023-04-06"}}), 0),
        ):
            with closing(source_of(pacs.web, LOGIN, selection)) as source:
                assert source.selects
                assert len(list(source.entries())) == number

    def test_a_killed_connection_costs_one_request(self, pacs: Orthanc, tmp_path: Path) -> None:
        files = files_of(tmp_path / "ct", 3)
        pacs.put(files)
        with proxy_to("127.0.0.1", pacs.http_port) as proxy:
            url = f"dicomweb+http://127.0.0.1:{proxy.port}/dicom-web"
            with closing(source_of(url, LOGIN)) as source:
                listed = list(source.entries())
            proxy.cuts = [700, 900]
            with closing(source_of(url, LOGIN)) as source:
                rows = [taking.take(item, source, places_in(tmp_path))[0] for item in listed]
        assert not proxy.cuts
        assert sorted(row.sha256 for row in rows) == sums(files)

    def test_a_slow_link_is_no_fault(self, pacs: Orthanc, tmp_path: Path) -> None:
        files = files_of(tmp_path / "ct", 2)
        pacs.put(files)
        with proxy_to("127.0.0.1", pacs.http_port) as proxy:
            proxy.bytes_per_s = 20_000
            rows = taken(f"dicomweb+http://127.0.0.1:{proxy.port}/dicom-web", places_in(tmp_path), LOGIN)
        assert sorted(row.sha256 for row in rows) == sums(files)

    def test_a_server_that_is_not_there_says_so(self, pacs: Orthanc) -> None:
        for url in (pacs.web + "/none", f"dicomweb+http://127.0.0.1:{pacs.move_port}/dicom-web"):
            with closing(source_of(url, LOGIN)) as source, pytest.raises(StoreUnreachable):
                list(source.entries())
