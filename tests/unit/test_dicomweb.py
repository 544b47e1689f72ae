"""Multipart answers, DICOM JSON, and what a selection asks of a server and matches again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from oncurate.errors import Rejection, UsageError
from oncurate.reasons import Reason
from oncurate.sources.dicomweb import DicomwebSource, row_of
from oncurate.sources.interface import Listed
from oncurate.sources.multipart import boundary_of, copy_part
from oncurate.sources.pacs import Level, QuerySource
from oncurate.sources.questions import Questions, Row
from oncurate.sources.settings import DateRange, PullSettings, Selection
from tests.dicomwebserver import BOUNDARY, multipart

DATA = bytes(range(256)) * 5 + b"\r\n--made-boundarx\r\n--made"


def _copied(body: bytes, step: int) -> bytes:
    out = bytearray()
    size = copy_part(iter([body[at : at + step] for at in range(0, len(body), step)]), BOUNDARY.encode(), out.extend)
    assert size == len(out)
    return bytes(out)


@pytest.mark.parametrize("step", [1, 2, 7, 64, 100_000])
@pytest.mark.parametrize("preamble", [b"", b"ignore this\r\n"])
def test_a_part_is_the_same_however_it_arrives(step: int, preamble: bytes) -> None:
    assert _copied(preamble + multipart(DATA), step) == DATA
    assert _copied(preamble + multipart(b"\r\n"), step) == b"\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        multipart(DATA)[:-2],
        multipart(DATA)[:-4],
        multipart(DATA)[:300],
        multipart(DATA)[:20],
        multipart(DATA, stated=len(DATA) + 1),
        multipart(DATA, stated=len(DATA) - 1),
        multipart(DATA).replace(b"Length: ", b"Length: -"),
        multipart(DATA, closing=b"\r\n\r\n") + multipart(DATA),
        b"--made-boundary\r\n" + b"x" * 200_000,
    ],
)
def test_what_is_not_one_whole_part_is_refused(body: bytes) -> None:
    with pytest.raises(Rejection) as refused:
        _copied(body, 50)
    assert refused.value.reason is Reason.TRANSFER_INCOMPLETE


def test_boundaries_are_read_as_they_are_written() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert boundary_of("multipart/related;boundary=x-1;type=application/dicom") == b"x-1"
    assert boundary_of("application/dicom; transfer-syntax=1.2.840.10008.1.2.1") is None
    with pytest.raises(Rejection):
        boundary_of("multipart/related")


def test_a_result_becomes_a_row_and_what_is_malformed_is_left_out() -> None:
    item: dict[str, Any] = {
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00080061": {"vr": "CS", "Value": ["CT", "PT"]},
        "00201206": {"vr": "IS", "Value": [3]},
        "00280010": {"vr": "US", "Value": [512.0]},
        "00100020": {"vr": "LO"},
        "00080050": "no element",
        "00080020": {"vr": "DA", "Value": "no list"},
        "00081030": {"vr": "LO", "Value": [None, {"a": 1}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Test"}]},
    }
    assert row_of(item) == {
        "StudyInstanceUID": "1.2.3",
        "ModalitiesInStudy": "CT\\PT",
        "NumberOfStudyRelatedSeries": "3",
        "Rows": "512",
        "StudyDescription": "\\",
    }


def test_without_tls_only_this_machine_is_asked() -> None:
    with pytest.raises(UsageError, match="TLS"):
        DicomwebSource("dicomweb+http://pacs.example.org/dicom-web", PullSettings(), Selection())
    DicomwebSource("dicomweb+http://localhost:1/dicom-web", PullSettings(), Selection()).close()


def _list(folder: Path, name: str, *values: str) -> str:
    path = folder / name
    path.write_text("\n".join(values) + "\n", encoding="utf-8")
    return str(path)


def test_a_selection_becomes_as_few_queries_as_it_can(tmp_path: Path) -> None:
    dates = DateRange.model_validate({"from": "2020-01-02", "to": "2021-12-31"})
    assert list(Questions(Selection()).of_studies()) == [{}]
    assert list(Questions(Selection(study_date=dates, modalities=("CT",))).of_studies()) == [
        {"StudyDate": "20200102-20211231", "ModalitiesInStudy": "CT"}
    ]
    late = DateRange.model_validate({"from": "2020-01-02"})
    assert list(Questions(Selection(study_date=late, modalities=("CT", "PT"))).of_studies()) == [
        {"StudyDate": "20200102-"}
    ]
    patients = _list(tmp_path, "p", "P-2", "P-1", "P-3")
    accessions = _list(tmp_path, "a", "A-1", "A*", "A-2\\A-3")
    assert [q["PatientID"] for q in Questions(Selection(patients=patients)).of_studies()] == ["P-1", "P-2", "P-3"]
    both = Selection(patients=_list(tmp_path, "q", "P-1", "P-2"), accessions=_list(tmp_path, "b", "A-1"))
    assert list(Questions(both).of_studies()) == [{"AccessionNumber": "A-1"}]
    assert [q["AccessionNumber"] for q in Questions(Selection(accessions=accessions)).of_studies()] == ["A-1"]


def test_answers_are_matched_again(tmp_path: Path) -> None:
    study = {"PatientID": "P-1 ", "StudyDate": "20200202", "AccessionNumber": "A-1", "StudyDescription": "Thorax"}
    patients = Questions(Selection(patients=_list(tmp_path, "p", "P-1")))
    assert patients.wants_study(study)
    assert not patients.wants_study({**study, "PatientID": "P-12"})
    assert not patients.wants_study({})
    dated = Questions(Selection(study_date=DateRange.model_validate({"from": "2020-02-02", "to": "2020-02-02"})))
    assert dated.wants_study(study)
    assert not dated.wants_study({**study, "StudyDate": "20200203"})
    assert not dated.wants_study({**study, "StudyDate": ""})
    modal = Questions(Selection(modalities=("CT", "MR"), description="thorax"))
    assert modal.wants_study({**study, "ModalitiesInStudy": "SR\\CT"})
    assert modal.wants_study(study)  # a server that does not say
    assert not modal.wants_study({**study, "ModalitiesInStudy": "PT"})
    assert modal.wants_series(study, {"Modality": "CT"})
    assert not modal.wants_series(study, {"Modality": "PT"})
    assert not modal.wants_series({**study, "StudyDescription": ""}, {"Modality": "CT", "SeriesDescription": "Head"})


class Table(QuerySource):
    """A server as a table of rows."""

    connections = 1

    def __init__(self, rows: dict[Level, list[Row]]) -> None:
        super().__init__("table://", Selection())
        self.rows, self.asked = rows, []

    def find(self, level: Level, match: Mapping[str, str], expected: int | None = None) -> Iterator[Row]:
        self.asked.append((level, dict(match)))
        keys = [key for key in match if key.endswith("UID")]
        yield from (row for row in self.rows[level] if all(row.get(key) == match[key] for key in keys))

    def url_of(self, study: str, series: str, row: Row) -> str:
        return f"{study}/{series}/{row['SOPInstanceUID']}"

    def open(self, listed: Listed) -> BinaryIO:
        raise AssertionError("listing opens nothing")

    def close(self) -> None: ...


def _table(count: str = "2", date: str = "20200101", instances: tuple[str, ...] = ("1.2", "1.1")) -> Table:
    study = {"StudyInstanceUID": "2", "StudyDate": date}
    return Table(
        {
            "STUDY": [study, {"StudyInstanceUID": "../x"}],
            "SERIES": [
                {
                    "StudyInstanceUID": "2",
                    "SeriesInstanceUID": "3",
                    "Modality": "CT",
                    "NumberOfSeriesRelatedInstances": count,
                }
            ],
            "IMAGE": [{"StudyInstanceUID": "2", "SeriesInstanceUID": "3", "SOPInstanceUID": uid} for uid in instances],
        }
    )


def test_instances_are_listed_by_uid_and_uids_that_are_paths_are_refused() -> None:
    table = _table()
    found = list(table.entries())
    assert [(item.source_path, item.group, item.reason) for item in found[1:]] == [
        ("2/3/1.1.dcm", "2/3", None),
        ("2/3/1.2.dcm", "2/3", None),
    ]
    assert found[0].reason is Reason.UNSAFE_MEMBER
    assert ".." not in found[0].source_path
    assert table.modality_of(found[1]) == "CT"
    assert table.modality_of(found[0]) is None
    assert all(item.version for item in found[1:])
    assert len({item.version.partition("-")[0] for item in found[1:]}) == 1


def test_the_modality_is_known_to_who_looks_ahead() -> None:
    table = _table()
    table.rows["SERIES"] = [{**table.rows["SERIES"][0], "SeriesInstanceUID": uid} for uid in ("3", "4")]
    table.rows["IMAGE"] += [{**row, "SeriesInstanceUID": "4"} for row in table.rows["IMAGE"]]
    found = [item for item in table.entries() if item.reason is None]
    assert {item.group for item in found} == {"2/3", "2/4"}
    assert [table.modality_of(item) for item in found] == ["CT"] * 4


def test_what_a_series_promises_and_does_not_list_is_seen() -> None:
    found = list(_table(count="5").entries())
    assert [item.reason for item in found if item.group] == [None, None, Reason.TRANSFER_INCOMPLETE]
    assert found[-1].version == ""


@pytest.mark.parametrize("count", ["", "many", "0", "-1", "9" * 40])
def test_a_count_that_is_none_promises_nothing(count: str) -> None:
    assert [item.reason for item in _table(count=count).entries() if item.group] == [None, None]


def test_a_series_is_asked_again_only_if_its_number_or_dates_changed() -> None:
    before = [item for item in _table().entries() if item.group]
    known = [Listed(item.source_path, "", 10, item.version) for item in before]

    def asked(table: Table) -> tuple[bool, list[Listed]]:
        table.remember(known)
        found = [item for item in table.entries() if item.group]
        return any(level == "IMAGE" for level, _ in table.asked), found

    assert asked(_table()) == (False, before)
    more = asked(_table("3", instances=("1.1", "1.2", "1.3")))
    assert more[0]
    assert more[1][:2] == before  # what is known keeps its version, so that it is not fetched again
    later = asked(_table(date="20200102"))
    assert later[0]
    assert {item.version for item in later[1]}.isdisjoint(item.version for item in before)
    assert asked(_table(count=""))[0]
