"""A clinical file as rows of cells: CSV, TSV, Parquet or Excel.

Belongs here: delimiter, encoding, quotes, ragged rows, sheets, and one form for all cells. Does not belong here: what a
column means (`oncurate.clinical.mapping`) or whether a value may be (`oncurate.clinical.values`).

A cell is text, a date, or None. Numbers become text as they are written, whole ones without a point, so that an id that
a spreadsheet holds as a number stays an id. No header, cell or library message is ever put into an error: a file whose
header is missing has a patient in its first row.
"""

from __future__ import annotations

import csv
import io
import itertools
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from xml.etree.ElementTree import ParseError

import pyarrow as pa

from oncurate import tables
from oncurate.clinical.mapping import ClinicalPolicy
from oncurate.clinical.problems import Fault, Problem
from oncurate.errors import UsageError

Cell = str | date | None

DELIMITERS = (";", ",", "\t", "|")
"""In the order in which a tie is decided."""

SNIFFED_ROWS = 50
"""Rows on which the delimiter is judged."""

_NEVER_CLOSES = ("unexpected end of data", "field larger than field limit")  # of the csv module, 128 KiB a cell
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Sheet:
    """The header, the rows that fit it with their numbers (the header is row 1), and the rows that do not."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    problems: tuple[Problem, ...] = ()


def read(data: bytes, name: str, policy: ClinicalPolicy) -> Sheet:
    """The file `name`, whose bytes are `data`; `UsageError` where it cannot be read as what its name says."""
    ending = name.lower().rpartition(".")[2]
    readers: dict[str, Callable[[bytes, ClinicalPolicy], Sheet]] = {
        **dict.fromkeys(("csv", "tsv", "txt"), _read_text),
        "parquet": _read_parquet,
        **dict.fromkeys(("xlsx", "xlsm"), _read_excel),
    }
    if ending not in readers:
        raise UsageError("clinical.file: give a .csv, .tsv, .parquet or .xlsx file; save others as one of these")
    sheet = readers[ending](data, policy)
    if not sheet.columns:
        raise UsageError("clinical.file: the file is empty")
    return sheet


def decode(data: bytes, encoding: str | None = None) -> str:
    """Text in the declared encoding, or by its mark, else UTF-8, else Windows-1252, else Latin-1."""
    if encoding is not None:
        try:
            return data.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
        except (UnicodeDecodeError, LookupError):
            raise UsageError("clinical.encoding: the file is not in the declared encoding") from None
    marked = next((codec for mark, codec in _MARKS if data.startswith(mark)), None)
    for codec in (marked,) if marked else ("utf-8", "cp1252", "latin-1"):
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    raise UsageError("clinical.file: the file is damaged: its bytes are not what its first ones say")


def sniff(text: str) -> str:
    """The delimiter that divides the first rows best: into as many cells as the header, and many of them."""
    scores = {}
    for delimiter in DELIMITERS:
        widths = list(itertools.islice(_widths(text, delimiter), SNIFFED_ROWS))
        scores[delimiter] = sum(width == widths[0] for width in widths) * (widths[0] - 1) if widths else 0
    return max(DELIMITERS, key=scores.__getitem__)


def _widths(text: str, delimiter: str) -> Iterator[int]:
    """Cells of each row that is not blank, up to a quote that the delimiter would leave open."""
    try:
        for _, cells in _parse(text, delimiter):
            if cells is not None and any(cells):
                yield len(cells)
    except UsageError:
        return


def _read_text(data: bytes, policy: ClinicalPolicy) -> Sheet:
    text = decode(data, policy.encoding)
    delimiter = policy.delimiter or sniff(text)
    return _sheet(_parse(text, delimiter))


def _parse(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Row number and cells; None for a row with a stray quote. `UsageError` where a quote never closes."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    for number in itertools.count(1):
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if any(sign in str(error) for sign in _NEVER_CLOSES):
                raise UsageError(f"clinical.file: a quote that opens in row {number} never closes") from None
            yield number, None


def _read_parquet(data: bytes, _: ClinicalPolicy) -> Sheet:
    try:
        table = tables.read_columns(data)
    except (pa.ArrowInvalid, OSError):
        raise UsageError("clinical.file: not a Parquet file that can be read") from None
    if any(pa.types.is_nested(field.type) for field in table.schema):
        raise UsageError("clinical.file: a column of the Parquet file holds lists or structures; give plain values")
    columns = [column.to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True)
    return _sheet([(1, table.column_names), *((number, list(row)) for number, row in enumerate(rows, 2))])


def _read_excel(data: bytes, policy: ClinicalPolicy) -> Sheet:
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise UsageError("clinical.file: openpyxl is not installed; save the sheet as CSV") from None
    damaged = (
        InvalidFileException,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        OSError,
        EOFError,
        ParseError,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote cells
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            sheets = {sheet.title: sheet for sheet in book.worksheets}
            wanted = policy.sheet if policy.sheet is not None else next(iter(sheets), "")
            if wanted not in sheets:
                raise UsageError("clinical.sheet: the Excel file has no sheet of that name")
            sheets[wanted].reset_dimensions()  # what other programs write there is often wrong
            return _sheet(_padded(sheets[wanted].iter_rows(values_only=True)))
        except damaged:
            raise UsageError("clinical.file: not an Excel file (.xlsx) that can be read; is it encrypted?") from None


def _padded(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, list[Any]]]:
    """Excel leaves empty cells at the end of a row out."""
    width = 0
    for number, row in enumerate(rows, 1):
        cells = list(row)
        width = width or (len(cells) if any(cell is not None for cell in cells) else 0)
        yield number, cells + [None] * (width - len(cells))


def _sheet(rows: Iterable[tuple[int, Sequence[Any] | None]]) -> Sheet:
    """The first row that is not blank is the header; blank rows are left out, others must be as long as the header."""
    columns: tuple[str, ...] = ()
    kept: list[tuple[int, tuple[Cell, ...]]] = []
    problems: list[Problem] = []
    for number, raw in rows:
        cells = None if raw is None else tuple(map(_cell, raw))
        if cells is not None and not any(cells):
            continue
        if not columns:
            if cells is None:
                raise UsageError("clinical.file: the header has a stray quote")
            columns = tuple("" if cell is None else str(cell) for cell in _trimmed(cells))
            continue
        if cells is None or len(cells) < len(columns) or any(cells[len(columns) :]):
            problems.append(Problem(number, "", Fault.BROKEN_ROW))
        else:
            kept.append((number, cells[: len(columns)]))
    return Sheet(columns, tuple(kept), tuple(problems))


def _trimmed(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    while cells and cells[-1] is None:
        cells = cells[:-1]
    return cells


def _cell(value: Any) -> Cell:
    """One form for all cells; blank is None."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, float):
        value = int(value) if value.is_integer() else value
    if value is None or value != value:  # not a number
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \t\r\n\0\u00a0\ufeff") or None
