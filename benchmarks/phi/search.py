"""What left, byte by byte: every file, what it packs, its name; and where in it a needle is.

Belongs here: opening files of every kind that the job writes. Does not belong here: what is looked for (`needles`).
"""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items

from benchmarks.phi.needles import Hit, Needles
from oncurate.elements import PARSE_ERRORS

LINE_CHARACTERS = 60


@dataclass(frozen=True)
class Found:
    """An identifier in what left: in which file, which layer of it, at which element or position, in which form."""

    file: str
    layer: str
    place: str
    identifier: str
    form: str


def folder(root: Path, needles: Needles, name: str = "") -> list[Found]:
    """What is found in the files below `root`, in what they pack, and in their names."""
    found = []
    for path in sorted(root.rglob("*")):
        shown = f"{name}{path.relative_to(root)}"
        found += [
            Found(_kind_of(path), "name", "", hit.identifier, hit.form) for hit in needles.within(path.name.encode())
        ]
        if path.is_file():
            found += one(path.read_bytes(), needles, shown)
            if path.read_bytes()[:16] == b"SQLite format 3\0":
                found += _within(database_rows(path), needles, shown, "rows")
    return found


def one(data: bytes, needles: Needles, shown: str) -> list[Found]:
    """What is found in one file and in what it packs."""
    found = []
    for layer, content in layers(data):
        found += _within(content, needles, shown, layer)
    return found


def _within(content: bytes, needles: Needles, shown: str, layer: str) -> list[Found]:
    return [
        Found(shown, layer, _place(content, layer, hit), hit.identifier, hit.form) for hit in needles.within(content)
    ]


def _kind_of(path: Path) -> str:
    return f"a file or folder ({path.suffix})"


def _place(content: bytes, layer: str, hit: Hit) -> str:
    """The element of a hit in a parsed object, else the byte."""
    if layer != "elements":
        return f"byte {hit.position}"
    line = content[: max(hit.position, 0)].rpartition(b"\n")[2]
    return line.partition(b"\t")[0].decode("utf-8", "replace")[:LINE_CHARACTERS]


def layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The bytes, and what they hold once unpacked."""
    yield "bytes", data
    if data[:2] == b"\x1f\x8b":
        yield "unpacked", gzip.decompress(data)
    elif data[:4] == b"PAR1":
        yield from _parquet(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            yield "text chunks", repr(picture.info).encode()
            yield "pixels", picture.tobytes()
    elif data[128:132] == b"DICM":
        yield "elements", _elements(data)


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    table = pq.read_table(io.BytesIO(data))
    yield "values", json.dumps(table.to_pylist(), ensure_ascii=False, default=str).encode()
    whole = pq.ParquetFile(io.BytesIO(data)).metadata
    fields = [field.metadata for field in table.schema]
    yield "metadata", f"{table.schema.metadata} {fields} {whole.metadata}".encode()


def _elements(data: bytes) -> bytes:
    """A line for each element of an object: its path, a tab, its value as text in UTF-8, components apart."""
    try:
        ds = dcmread(io.BytesIO(data))
        return "\n".join([*_lines(ds.file_meta, "meta "), *_lines(ds, "")]).encode("utf-8", "surrogatepass")
    except PARSE_ERRORS:
        return b""


def _lines(ds: Dataset, at: str) -> Iterator[str]:
    for element in ds:
        path = f"{at}{int(element.tag):08X}"
        if isinstance(element.value, Items):
            for number, item in enumerate(element.value):
                yield from _lines(item, f"{path}[{number}] ")
        elif not isinstance(element.value, bytes):
            several = element.value if isinstance(element.value, MultiValue) else [element.value]
            yield f"{path}\t" + " | ".join(str(part) for part in several)


def database_rows(path: Path) -> bytes:
    """All rows of a database, its write-ahead log included; compressed values are unpacked."""
    parts: list[bytes] = []
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        database.text_factory = bytes
        names = [name.decode() for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for name in names:
            for row in database.execute(f'select * from "{name}"'):
                parts += [_unpacked(v) if isinstance(v, bytes) else str(v).encode() for v in row]
    return b"\n".join(parts)


def _unpacked(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value
