"""What a release holds, in numbers: computed once from its tables, for the card, the record and the catalogue.

Belongs here: counting, and the rule that keeps small groups of people from being told apart. Does not belong here:
words and layout.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oncurate.staged import Content, Counts
from oncurate.tables import read_columns

MINIMUM_CELL = 5
"""Subjects. Smaller groups are not counted in public text (minimum cell count of the OMOP network's tools)."""
NOT_STATED = "not stated"
_VOLUME_COLUMNS = (
    *("volume_id", "subject_id", "SeriesInstanceUID", "Modality", "BodyPartExamined", "Manufacturer"),
    *("native_spacing_mm", "harmonised_spacing_mm", "slice_spacing_mm", "spacing_source", "profile", "value_unit"),
)


@dataclass(frozen=True)
class Group:
    """Volumes that share a value, and the series and subjects that they come from."""

    name: str
    subjects: int
    series: int
    volumes: int


@dataclass(frozen=True)
class Extent:
    """Least and greatest voxel size of one modality's volumes, mm; in-plane over both axes."""

    modality: str
    volumes: int
    native_in_plane: tuple[float, float] | None
    native_slice: tuple[float, float] | None
    harmonised: tuple[float, float] | None


@dataclass(frozen=True)
class Summary:
    """Numbers of one release. Groups are ordered by name, `NOT_STATED` last."""

    counts: Counts
    content: Content
    modalities: tuple[Group, ...]
    body_parts: tuple[Group, ...]
    manufacturers: tuple[Group, ...]
    sexes: dict[str, int]  # subjects
    extents: tuple[Extent, ...]
    profiles: dict[str, int]  # volumes
    units: dict[str, int]  # volumes
    outlier_volumes: int


def summarise(tables: Mapping[str, bytes]) -> Summary:
    """Count the rows of a release's Parquet files; `annotations` and `quality` may be missing, no other."""
    volumes = _read(tables["volumes"], *_VOLUME_COLUMNS)
    subjects = _read(tables["subjects"], "subject_id", "PatientSex")
    studies = _read(tables["studies"], "subject_id", "patient_age_years")
    series = pq.ParquetFile(io.BytesIO(tables["series"])).metadata.num_rows
    annotations = tables.get("annotations")
    modalities, body_parts, manufacturers = (
        _groups(volumes, column) for column in ("Modality", "BodyPartExamined", "Manufacturer")
    )
    sexes = _values(subjects, "PatientSex")
    ages = _ages(studies)
    return Summary(
        counts=Counts(
            subjects=subjects.num_rows,
            studies=studies.num_rows,
            series=series,
            volumes=volumes.num_rows,
            annotations=_distinct(annotations, "annotation_id") if annotations else 0,
        ),
        content=Content(
            modalities=_names(modalities),
            body_parts=_names(body_parts),
            manufacturers=_names(manufacturers),
            sexes=tuple(sex for sex in sexes if sex != NOT_STATED),
            age_min_years=ages and ages[0],
            age_max_years=ages and ages[1],
        ),
        modalities=modalities,
        body_parts=body_parts,
        manufacturers=manufacturers,
        sexes=sexes,
        extents=tuple(_extent(volumes, group.name) for group in modalities),
        profiles=_values(volumes, "profile"),
        units=_values(volumes, "value_unit"),
        outlier_volumes=_outliers(tables.get("quality")),
    )


def disclosed(groups: Mapping[str, int]) -> dict[str, str]:
    """Counts of subjects as they may be shown, for groups that share the subjects out between them.

    A count below `MINIMUM_CELL` becomes "< 5". Where only one is hidden that way the sum would give it away, so the
    next smallest is hidden too ("not shown").
    """
    shown = {name: str(n) if n == 0 or n >= MINIMUM_CELL else f"< {MINIMUM_CELL}" for name, n in groups.items()}
    hidden = [name for name, text in shown.items() if text.startswith("<")]
    others = [name for name, n in groups.items() if n >= MINIMUM_CELL]
    if len(hidden) == 1 and others:
        shown[min(others, key=lambda name: (groups[name], name))] = "not shown"
    return shown


def _distinct(data: bytes, column: str) -> int:
    return len(pc.unique(_read(data, column)[column]))


def _read(data: bytes, *columns: str) -> pa.Table:
    return read_columns(data, columns)


def _stated(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.if_else(pc.equal(column, ""), None, column), NOT_STATED)


def _values(table: pa.Table, column: str) -> dict[str, int]:
    """Rows by value of a text column."""
    found = pc.value_counts(_stated(table[column])).to_pylist()
    return {item["values"]: item["counts"] for item in sorted(found, key=lambda item: _order(item["values"]))}


def _groups(volumes: pa.Table, column: str) -> tuple[Group, ...]:
    keyed = volumes.select(["subject_id", "SeriesInstanceUID", "volume_id"]).append_column(
        "name", _stated(volumes[column])
    )
    sums = keyed.group_by("name").aggregate(
        [("subject_id", "count_distinct"), ("SeriesInstanceUID", "count_distinct"), ("volume_id", "count")]
    )
    rows = sorted(sums.to_pylist(), key=lambda row: _order(row["name"]))
    return tuple(
        Group(
            row["name"],
            row["subject_id_count_distinct"],
            row["SeriesInstanceUID_count_distinct"],
            row["volume_id_count"],
        )
        for row in rows
    )


def _order(name: str) -> tuple[bool, str]:
    return (name == NOT_STATED, name)


def _names(groups: tuple[Group, ...]) -> tuple[str, ...]:
    return tuple(group.name for group in groups if group.name != NOT_STATED)


def _ages(studies: pa.Table) -> tuple[float, float] | None:
    """Least and greatest age at a study; None where too few subjects have one."""
    known = studies.filter(pc.is_valid(studies["patient_age_years"]))
    if pc.count_distinct(known["subject_id"]).as_py() < MINIMUM_CELL:
        return None
    return _range(known["patient_age_years"])


def _extent(volumes: pa.Table, modality: str) -> Extent:
    chosen = volumes.filter(pc.equal(_stated(volumes["Modality"]), modality))
    sized = chosen.filter(pc.not_equal(pc.fill_null(chosen["spacing_source"], ""), "none"))
    native, harmonised = sized["native_spacing_mm"], sized["harmonised_spacing_mm"]
    return Extent(
        modality=modality,
        volumes=chosen.num_rows,
        native_in_plane=_range(_element(native, 0), _element(native, 1)),
        native_slice=_range(sized["slice_spacing_mm"]),
        harmonised=_range(*(_element(harmonised, axis) for axis in range(3))),
    )


def _element(column: pa.ChunkedArray, index: int) -> pa.ChunkedArray:
    return pc.list_element(column.filter(pc.is_valid(column)), index)


def _range(*columns: pa.ChunkedArray) -> tuple[float, float] | None:
    limits = [found for column in columns if (found := pc.min_max(column).as_py())["min"] is not None]
    return (min(found["min"] for found in limits), max(found["max"] for found in limits)) if limits else None


def _outliers(quality: bytes | None) -> int:
    if quality is None:
        return 0
    flagged = pc.fill_null(pc.list_value_length(_read(quality, "outlier_metrics")["outlier_metrics"]), 0)
    return pc.sum(pc.cast(pc.greater(flagged, 0), pa.int64())).as_py() or 0
