"""Finds a marker in anything that a run wrote, however it is encoded or packed.

Belongs here: opening files of every kind that is written, and the spellings of a marker. Does not belong here: where
markers are planted (`tests.flows.canary`).
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
from PIL import Image as Picture

from benchmarks.phi.search import database_rows


class Needles:
    """Every spelling of some markers: `folded` are looked for ignoring ASCII case, `exact` as they are.

    `numbers` are looked for as eight bytes, whole or floating-point.
    """

    def __init__(self, markers: Iterable[str], numbers: Iterable[int] = ()) -> None:
        self.folded: dict[bytes, str] = {}
        self.exact = {struct.pack(form, n): f"{n} as {form}" for n in numbers for form in ("<d", ">d", "<q", ">q")}
        for marker in markers:
            for text in {marker, marker.lower(), marker.upper(), marker.title()}:
                self._add(text)

    def _add(self, text: str) -> None:
        spellings = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}
        for spelt in spellings:
            plain = [spelt.encode("utf-8"), spelt.encode("utf-16-le"), spelt.encode("utf-16-be")]
            plain += [spelt.encode("latin-1")] if spelt.isascii() or all(ord(c) < 256 for c in spelt) else []
            for data in plain:
                self.folded[data.lower()] = f"{text} as {data[:6]!r}..."
                self.folded[data.hex().encode()] = f"{text} as hexadecimal"
                self.folded["".join(f"%{b:02x}" for b in data).encode()] = f"{text} percent-encoded"
                for shift in range(3):
                    inner = base64.b64encode(bytes(shift) + data)
                    cut = inner[(0, 2, 3)[shift] : len(inner.rstrip(b"=")) - ((shift + len(data)) % 3 != 0)]
                    self.exact[cut] = f"{text} as base64"
                    self.exact[cut.replace(b"+", b"-").replace(b"/", b"_")] = f"{text} as base64"
            self.folded[json.dumps(spelt)[1:-1].lower().encode()] = f"{text} in JSON"
            self.folded[quote(spelt).lower().encode()] = f"{text} in a URL"

    def within(self, data: bytes) -> set[str]:
        """Which spellings occur in `data`."""
        lower = data.lower()
        return {said for needle, said in self.folded.items() if needle in lower} | {
            said for needle, said in self.exact.items() if needle in data
        }


def search(folder: Path, needles: Needles) -> list[str]:
    """Where the needles are in the files below `folder`, in their names and in what they pack."""
    found = []
    for path in sorted(folder.rglob("*")):
        shown = path.relative_to(folder)
        found += [f"name {shown}: {said}" for said in needles.within(path.name.encode())]
        if path.is_file():
            for layer, data in _layers(path):
                found += [f"{layer} of {shown}: {said}" for said in needles.within(data)]
    return found


def _layers(path: Path) -> Iterator[tuple[str, bytes]]:
    """The file's bytes, and what they hold once unpacked."""
    data = path.read_bytes()
    yield "bytes", data
    if data[:2] == b"\x1f\x8b":
        yield "gunzipped bytes", gzip.decompress(data)
    elif data[:4] == b"PAR1":
        yield from _parquet(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(data)
    elif data[:16] == b"SQLite format 3\0":
        yield "rows", database_rows(path)


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    table = pq.read_table(io.BytesIO(data))
    yield "values", json.dumps(table.to_pylist(), ensure_ascii=False, default=str).encode()
    whole = pq.ParquetFile(io.BytesIO(data)).metadata
    yield "metadata", f"{table.schema.metadata} {[f.metadata for f in table.schema]} {whole.metadata}".encode()


def _png(data: bytes) -> Iterator[tuple[str, bytes]]:
    with Picture.open(io.BytesIO(data)) as picture:
        picture.load()
        yield "text", f"{picture.info}".encode()
        yield "pixels", picture.tobytes()
