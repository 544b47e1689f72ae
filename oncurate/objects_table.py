"""The objects table between records and Arrow, in pieces: an archive may hold millions of files.

Belongs here: `SourceObject` to and from the table that `oncurate.tables` declares, without a mapping a row. Does not
belong here: where the table lies (`tasks.zone`), what a pull does with it (`tasks.pull`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.tables import TABLES

_SCHEMA = TABLES["objects"].schema
_PIECE = 50_000
"""Rows that are held twice at a time."""


def give_memory_back() -> None:
    """Let Arrow return what it frees at once, for a process that holds large tables for moments of a long life.

    Its own allocators keep it for later use.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def to_arrow(objects: Iterable[SourceObject]) -> pa.Table:
    """The objects as a table, in the order given."""
    return pa.Table.from_batches(_batches(objects), schema=_SCHEMA)


def to_parquet(objects: Iterable[SourceObject]) -> bytes:
    """The objects as a Parquet file (zstd), the same bytes for the same objects."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, _SCHEMA, compression="zstd") as writer:
        for batch in _batches(objects):
            writer.write_batch(batch)
    return out.getvalue()


def from_parquet(data: bytes) -> Iterator[SourceObject]:
    """The objects of a Parquet file, in its order."""
    with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
        for batch in file.iter_batches(_PIECE, columns=_SCHEMA.names, use_threads=False):
            reason = _SCHEMA.get_field_index("reason")
            columns = [column.to_pylist() for column in batch.columns]
            columns[reason] = [Reason(value) if value else None for value in columns[reason]]
            for row in zip(*columns, strict=True):
                yield SourceObject(**dict(zip(_SCHEMA.names, row, strict=True)))


def _batches(objects: Iterable[SourceObject]) -> Iterator[pa.RecordBatch]:
    left = iter(objects)
    while piece := list(islice(left, _PIECE)):
        columns: list[Any] = [[getattr(item, name) for item in piece] for name in _SCHEMA.names]
        yield pa.RecordBatch.from_arrays(
            [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        )
