"""A clinical file is read as what it is, and what is wrong with it is told by row number only."""

from __future__ import annotations

import io
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oncurate.clinical import reading
from oncurate.clinical.problems import Fault, Problem
from oncurate.errors import UsageError
from tests.clinical_files import DUTCH_HEADER, GERMAN_HEADER, dutch, german, policy, written

MARKER = "Doe^Test"
PLAIN = policy("clinical.csv")


def sheet(data: bytes, name: str = "clinical.csv", **options) -> reading.Sheet:
    return reading.read(data, name, policy({"file": name, **options}))


def cells(found: reading.Sheet) -> list[tuple]:
    return [row for _, row in found.rows]


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_the_delimiter_is_found_out(delimiter):
    text = written([("id", "age", "note"), ("A1", "63,5", "a, b; c"), ("A2", "7.5", "x")], delimiter)
    found = sheet(text.encode())
    assert found.columns == ("id", "age", "note")
    assert cells(found) == [("A1", "63,5", "a, b; c"), ("A2", "7.5", "x")]


def test_a_semicolon_file_with_decimal_commas_is_not_divided_at_the_commas():
    text = "id;age;weight\nA1;63,5;70,1\nA2;7,5;12,0\n"
    assert cells(sheet(text.encode())) == [("A1", "63,5", "70,1"), ("A2", "7,5", "12,0")]


def test_a_quote_that_another_delimiter_would_leave_open_does_no_harm():
    found = sheet(b'id;note\n1;seen, "he said\n2;x\n')
    assert cells(found) == [("1", 'seen, "he said'), ("2", "x")]


def test_a_declared_delimiter_counts():
    assert sheet(b"a,b;c\n1,2;3\n", delimiter=";").columns == ("a,b", "c")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found_out(encoding):
    found = sheet("id,größe,naam\n1,ß,Zoë\n".encode(encoding))
    assert found.columns == ("id", "größe", "naam")
    assert cells(found) == [("1", "ß", "Zoë")]


def test_bytes_that_windows_does_not_use_are_latin_1():
    assert reading.decode(b"a\x81\xe9") == "a\x81é"


def test_a_declared_encoding_counts_and_must_fit():
    assert cells(sheet("id,n\n1,é\n".encode("cp850"), encoding="cp850")) == [("1", "é")]
    assert sheet("\ufeffid,n\n1,2\n".encode(), encoding="utf-8").columns == ("id", "n")
    with pytest.raises(UsageError, match="encoding"):
        sheet(b"id,n\n1,\xe9\n", encoding="utf-8")


def test_quotes_hold_delimiters_line_breaks_and_quotes():
    found = sheet(b'id,note\n1,"a, b"\n2,"two\nlines"\n3,"say ""x"""\n4,5" tube\n')
    assert cells(found) == [("1", "a, b"), ("2", "two\nlines"), ("3", 'say "x"'), ("4", '5" tube')]


def test_ragged_rows_are_problems_by_their_number():
    found = sheet(b'id,sex\n1,M\n2\n3,F,extra\n4,F,,\n\n,,\n5,"F"x\n6,M\n')
    assert cells(found) == [("1", "M"), ("4", "F"), ("6", "M")]
    assert found.problems == tuple(Problem(row, "", Fault.BROKEN_ROW) for row in (3, 4, 8))
    assert [number for number, _ in found.rows] == [2, 5, 9]


def test_a_quote_that_never_closes_refuses_the_file_without_its_content():
    with pytest.raises(UsageError, match="row 3") as caught:
        sheet(f'id,name\n1,a\n2,"{MARKER}\n3,b\n'.encode())
    assert MARKER not in str(caught.value)
    with pytest.raises(UsageError, match="row 2"):
        sheet(b'id,name\n1,"' + b"x" * 200_000)


def test_blank_cells_are_nothing():
    assert cells(sheet("id,a,b,c\n1, ,\u00a0,\t\n".encode())) == [("1", None, None, None)]


def test_a_header_may_follow_blank_lines_and_end_with_delimiters():
    found = sheet(b"\n;;\nid;sex;;\n1;M;;\n")
    assert found.columns == ("id", "sex")
    assert found.rows == ((4, ("1", "M")),)


@pytest.mark.parametrize(("data", "name"), [(b"", "a.csv"), (b"\n\n", "a.csv"), (b"x", "a.xls"), (b"x", "a")])
def test_no_table_is_a_usage_error(data, name):
    with pytest.raises(UsageError):
        sheet(data, name)


def parquet(**columns) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def test_parquet_keeps_ids_dates_and_missing_values():
    data = parquet(
        id=pa.array([123, None], pa.int64()),
        age=[63.5, float("nan")],
        day=[date(2019, 3, 4), None],
        at=[datetime(2019, 3, 4, 12), None],  # noqa: DTZ001
        flag=[True, None],
    )
    found = sheet(data, "clinical.parquet")
    assert found.rows == ((2, ("123", "63.5", date(2019, 3, 4), date(2019, 3, 4), "True")),)


def test_parquet_that_is_none_or_holds_lists_is_refused():
    with pytest.raises(UsageError, match="Parquet"):
        sheet(b"PAR1" + MARKER.encode(), "a.parquet")
    with pytest.raises(UsageError, match="lists"):
        sheet(parquet(id=[[1]]), "a.parquet")


def workbook(rows, title="Patienten", hidden_first=False) -> bytes:
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    book = openpyxl.Workbook()
    book.active.title = "Info"
    sheet_ = book.create_sheet(title) if hidden_first else book.active
    if not hidden_first:
        sheet_.title = title
    for row in rows:
        sheet_.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_excel_gives_dates_whole_numbers_and_empty_cells():
    day = datetime(2019, 3, 4)  # noqa: DTZ001 - as Excel has it
    rows = [("id", "age", "day", "sex"), (123.0, 63.5, day, "M"), ("007", None, None, None)]
    found = sheet(workbook(rows), "clinical.xlsx")
    assert found.columns == ("id", "age", "day", "sex")
    assert found.rows == ((2, ("123", "63.5", date(2019, 3, 4), "M")), (3, ("007", None, None, None)))


def test_the_sheet_of_an_excel_file_can_be_chosen():
    data = workbook([("id",), ("A1",)], hidden_first=True)
    assert sheet(data, "a.xlsx", sheet="Patienten").columns == ("id",)
    with pytest.raises(UsageError, match="sheet") as caught:
        sheet(data, "a.xlsx", sheet="Klinik")
    assert "Patienten" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04broken", MARKER.encode(), b"\xd0\xcf\x11\xe0 encrypted"])
def test_excel_that_is_none_is_refused_without_its_content(data):
    pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    with pytest.raises(UsageError) as caught:
        sheet(data, "a.xlsx")
    assert MARKER not in str(caught.value)


def test_without_openpyxl_an_excel_file_is_refused_with_advice(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(UsageError, match="save the sheet as CSV"):
        sheet(b"", "a.xlsx")


def test_the_made_files_are_read():
    for data, header, rows in ((dutch(12), DUTCH_HEADER, 12), (german(6), GERMAN_HEADER, 6)):
        found = sheet(data)
        assert found.columns == header
        assert len(found.rows) == rows
        assert not found.problems


def test_a_made_file_is_the_same_for_the_same_seed():
    assert dutch(5, seed=1) == dutch(5, seed=1) != dutch(5, seed=2)
