"""Every table that oncurate writes: its granularity, its columns, their types, units and meaning.

Belongs here: declarations, and the one way to write and read a table. Does not belong here: computing a value.
DICOM attributes keep their PascalCase keyword; columns that oncurate computes are snake_case with the unit.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oncurate.clinical import columns as clinical
from oncurate.columns import annotations as on_annotations
from oncurate.columns import images, stages
from oncurate.columns.types import INT, REAL, TEXT, TEXTS

_PIECE = 50_000
"""Rows of one record batch and of one row group."""


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, which columns identify a row, and all columns as (name, type, meaning)."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, pa.DataType, str], ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with a description on every column and the granularity on the table."""
        fields = [pa.field(n, t, metadata={"description": d}) for n, t, d in self.columns]
        return pa.schema(fields, metadata={"table": self.name, "row": self.row})


TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "keys",
            "one identity of the source (restricted: work zone only)",
            ("kind", "source"),
            (
                ("kind", TEXT, "patient, study, series or frame of reference."),
                ("source", TEXT, "The identity in the source."),
                ("cohort", TEXT, "The identity in the release."),
            ),
        ),
        Table("ledger", "one file of the provider's archive", ("source_path",), stages.LEDGER),
        Table("objects", "one file of the provider's archive", ("source_path",), stages.OBJECTS),
        Table("source_series", "one series of the source, identified", ("series_key",), stages.SERIES_STAGE),
        Table("cohort", "one planned, de-identified volume", ("volume_id",), stages.COHORT_STAGE),
        Table("volumes", "one curated volume", ("volume_id",), images.VOLUMES),
        Table("quality", "one curated volume", ("volume_id",), images.QUALITY),
        Table("release_facts", "one staged release", ("version",), stages.RELEASE_FACTS),
        Table("audit", "one element that did not stay as it was", ("output", "object", "element"), stages.AUDIT),
        Table(
            "deidentification",
            "one rule and what it did",
            ("output", "action", "rule"),
            on_annotations.DEIDENTIFICATION,
        ),
        Table("annotations", "one label of one annotation", ("annotation_id", "label"), on_annotations.ANNOTATIONS),
        Table(
            "measurements", "one number of one report", ("annotation_id", "measurement"), on_annotations.MEASUREMENTS
        ),
        Table("instances", "one de-identified DICOM object", ("SOPInstanceUID",), on_annotations.INSTANCES),
        Table(
            "subjects",
            "one patient",
            ("subject_id",),
            (
                ("subject_id", TEXT, "Keyed pseudonym of the patient; the same in every table, study and release."),
                ("subject_id_source", TEXT, "PatientID, or StudyInstanceUID where that is empty or a placeholder."),
                ("PatientSex", TEXT, "M, F or O where the header gives one of them."),
                ("studies", INT, "Curated studies."),
                ("series", INT, "Curated series."),
                ("volumes", INT, "Curated volumes."),
            ),
        ),
        Table(
            "studies",
            "one study of one subject",
            ("study_id",),
            (
                ("study_id", TEXT, "Keyed pseudonym of the study."),
                ("subject_id", TEXT, "Keyed pseudonym of the patient."),
                ("StudyInstanceUID", TEXT, "The cohort's study UID."),
                ("StudyDate", TEXT, "Shifted by the subject's keyed number of days, YYYYMMDD."),
                ("StudyDescription", TEXT, "What a closed vocabulary of radiology leaves of the description."),
                ("days_from_baseline", INT, "Days since the subject's first study in this release."),
                (
                    "patient_age_years",
                    REAL,
                    "Age at the study; 90 is over 89, and then all others of the subject are null.",
                ),
                ("modalities", TEXTS, "Modalities of its curated series."),
                ("series", INT, "Curated series."),
                ("volumes", INT, "Curated volumes."),
            ),
        ),
        Table(
            "series",
            "one series of one study",
            ("SeriesInstanceUID",),
            (
                ("SeriesInstanceUID", TEXT, "The cohort's series UID."),
                ("subject_id", TEXT, "Keyed pseudonym of the patient."),
                ("study_id", TEXT, "Keyed pseudonym of the study."),
                ("StudyInstanceUID", TEXT, "The cohort's study UID."),
                ("FrameOfReferenceUID", TEXT, "The cohort's frame of reference UID; null if the source has none."),
                ("Modality", TEXT, "DICOM modality."),
                ("AcquisitionDate", TEXT, "Shifted like the study date, YYYYMMDD; the study's where missing."),
                ("BodyPartExamined", TEXT, "Body part, from the list of defined terms."),
                ("SeriesDescription", TEXT, "What a closed vocabulary of radiology leaves of the description."),
                ("ProtocolName", TEXT, "What a closed vocabulary of radiology leaves of the protocol's name."),
                ("Manufacturer", TEXT, "Manufacturer, in one spelling each."),
                ("ManufacturerModelName", TEXT, "Scanner model where it is on the list of known models."),
                ("volumes", INT, "Curated volumes."),
                ("slices", INT, "DICOM slices or frames in them."),
            ),
        ),
        Table("clinical", "one patient, or one episode of it", ("subject_id", "episode_number"), clinical.CLINICAL),
        Table(
            "clinical_problems", "one thing wrong in the clinical file", ("row", "column", "reason"), clinical.PROBLEMS
        ),
        Table("links", "one study of one subject", ("study_id",), clinical.LINKS),
        Table(
            "manifest",
            "one object of the release",
            ("path",),
            (
                ("path", TEXT, "Relative to the data set."),
                ("bytes", INT, "Size in bytes."),
                ("sha256", TEXT, "SHA-256 of its bytes."),
            ),
        ),
        Table(
            "catalogue",
            "one data set released in this target",
            ("dataset",),
            (
                ("dataset", TEXT, "Name of the data set and of its folder."),
                ("title", TEXT, "Title from the provider file."),
                ("provider", TEXT, "Provider's name."),
                ("country", TEXT, "Provider's country, ISO 3166-1 alpha-2."),
                ("cancer_types", TEXTS, "Kinds of cancer, from the provider file."),
                ("version", TEXT, "Current release."),
                ("released_at", TEXT, "When it was released, UTC, ISO 8601."),
                ("subjects", INT, "Patients."),
                ("studies", INT, "Studies."),
                ("series", INT, "Series."),
                ("volumes", INT, "Volumes."),
                ("modalities", TEXTS, "Modalities."),
                ("body_parts", TEXTS, "Body parts."),
                ("manufacturers", TEXTS, "Manufacturers."),
                ("sexes", TEXTS, "Values of PatientSex that occur."),
                ("age_min_years", REAL, "Least age at a study."),
                ("age_max_years", REAL, "Greatest age at a study; 90 stands for all ages over 89."),
                ("bytes", INT, "Size of all objects of the release."),
                ("manifest_sha256", TEXT, "SHA-256 of the release's manifest."),
            ),
        ),
    )
}


def to_arrow(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table with the declared schema; a key that is not a column is an error, a missing one null."""
    return pa.Table.from_batches(_batches(TABLES[name], rows), schema=TABLES[name].schema)


def to_parquet(name: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file (zstd), the same bytes for the same rows."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, TABLES[name].schema, compression="zstd") as writer:
        for batch in _batches(TABLES[name], rows):
            writer.write_batch(batch)
    return out.getvalue()


def _batches(table: Table, rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """The rows piece by piece, so that rows that are made on demand are never held all at once."""
    known, schema, left = {n for n, _, _ in table.columns}, table.schema, iter(rows)
    while piece := list(islice(left, _PIECE)):
        for row in piece:
            if extra := row.keys() - known:
                raise KeyError(f"table {table.name} has no column {min(extra)}")
        yield pa.RecordBatch.from_pylist(piece, schema=schema)


def read_columns(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file, or only some of its columns; `pyarrow.ArrowInvalid` if one of them is missing.

    Read in this thread: `pyarrow.parquet.read_table` starts threads of its own, and a process that ends soon after
    aborts now and then ("terminate called without an active exception").
    """
    with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
        if columns is not None and not set(columns) <= set(file.schema_arrow.names):
            raise pa.ArrowInvalid("a column is missing")
        return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


def from_parquet(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return read_columns(data).to_pylist()


def stream(data: bytes, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of the rows of a Parquet file, of which a piece is held at a time."""
    with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
        for batch in file.iter_batches(_PIECE, columns=list(columns), use_threads=False):
            yield from batch.to_pylist()
