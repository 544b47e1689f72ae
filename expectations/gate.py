"""A gate: evaluates a suite on a table with Great Expectations and says what passes, what is quarantined, what stops.

Belongs here: everything that touches Great Expectations, and nothing else does. Does not belong here: thresholds (the
JSON suites), computing facts (`oncurate`), rendering a report (`oncurate.verdict`).

Great Expectations is imported on the first check (seconds, 300 MB), so importing this module costs nothing. Its
messages quote values of the table; none is read, logged or passed on.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations import suites
from expectations.suites import Expectation, Suite
from oncurate.errors import Defect, UsageError
from oncurate.tables import TABLES
from oncurate.verdict import ExpectationResult, GateReport

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 100_000
"""Rows of a table that is evaluated as a whole, which is quicker."""

# Positions of the failing rows and counts; no value, no sample and no query made of values.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
    "return_unexpected_index_query": False,
}


def check(suite: str | Suite, frame: pd.DataFrame | pa.Table, key: Sequence[str] | None = None) -> GateReport:
    """The verdict of `suite` on `frame`, whose rows are named by the columns `key` (default: the key of its table).

    A critical expectation that fails, and any that cannot be evaluated, refuses. Rows that fail a critical of level row
    are quarantined, also where so few fail that the gate passes. Raises `Defect` if Great Expectations did not evaluate
    exactly the declared expectations.
    """
    suite = suites.load(suite) if isinstance(suite, str) else suite
    table = frame if isinstance(frame, pa.Table) else _from_pandas(frame, (*suite.columns, *(key or ())))
    found = _evaluate(suite, table)
    results = tuple(_result(e, found[e.meta.id]) for e in suite.expectations)
    refusals = tuple(r.id for r in results if not r.evaluated or (r.severity == "critical" and not r.success))
    rows = _quarantined(suite, found, table, key or TABLES[suite.meta.table].key)
    return GateReport(
        suite=suite.name,
        table=suite.meta.table,
        dimensions=suite.meta.dimensions,
        rows=table.num_rows,
        passed=not refusals,
        refusals=refusals,
        warnings=tuple(r.id for r in results if r.evaluated and r.severity == "warning" and not r.success),
        quarantined_rows=len(rows),
        expectations=results,
        quarantined=rows,
    )


def check_file(suite: str, path: str | Path) -> GateReport:
    """`check` on a local Parquet file, of which only the columns that the suite names are read."""
    declared = suites.load(suite)
    try:
        with pq.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            table = file.read(columns=[name for name in declared.columns if name in there], use_threads=False)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, pa.ArrowInvalid):
        raise UsageError(f"{path} is not a Parquet file that can be read") from None
    return check(declared, table)


@functools.cache
def _engine() -> ModuleType:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # for versions that report their use; read at the import
    logger = logging.getLogger("great_expectations")  # it logs exceptions that quote values
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # a level would not do: some of its modules set their own
    import great_expectations

    return great_expectations


def _evaluate(suite: Suite, table: pa.Table) -> dict[str, Any]:
    """Great Expectations' result for each expectation id."""
    gx = _engine()
    results: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' and Great Expectations' own, about their insides
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("tables").add_dataframe_asset(suite.meta.table)
        whole = asset.add_batch_definition_whole_dataframe("whole")
        for part in _parts(suite, table.num_rows):
            batch = whole.get_batch({"dataframe": _select(part, suite, table).to_pandas()})
            results += batch.validate(_declare(gx, part), result_format=_RESULT_FORMAT).results
    found = {r.expectation_config.meta["id"]: r for r in results}
    if len(results) != len(suite.expectations) or set(found) != {e.meta.id for e in suite.expectations}:
        raise Defect(f"suite {suite.name}: {len(suite.expectations)} expectations, {len(results)} results")
    return found


def _parts(suite: Suite, rows: int) -> list[Suite]:
    """The suite, for a long table in parts that are about the same columns: of the rows that a condition is about
    Great Expectations copies all columns that it is given, twice.
    """
    if rows <= _ROWS_AT_ONCE:
        return [suite]
    by_columns: dict[tuple[str, ...], list[Expectation]] = {}
    for e in suite.expectations:
        by_columns.setdefault(tuple(sorted(e.needs)), []).append(e)
    return [suite.model_copy(update={"expectations": tuple(part)}) for part in by_columns.values()]


def _declare(gx: ModuleType, suite: Suite) -> Any:
    """The suite as Great Expectations holds it, which drops an expectation of a type it does not know."""
    try:
        declared = gx.ExpectationSuite(**suite.model_dump())
    except (ValueError, TypeError, KeyError):  # its validation errors are ValueErrors
        raise Defect(f"suite {suite.name}: an expectation has arguments that its type does not take") from None
    loaded = {e.meta["id"] for e in declared.expectations}
    if dropped := [e.meta.id for e in suite.expectations if e.meta.id not in loaded]:
        raise Defect(f"suite {suite.name}: Great Expectations does not know the type of {', '.join(dropped)}")
    return declared


def _select(part: Suite, suite: Suite, table: pa.Table) -> pa.Table:
    """The columns that `suite` names: scalars as they are, elements and sums by their names; empty what `part` of it
    does not read, and lists.

    A list column serves only to be there: pandas would hold an array object for each of its cells. What is missing or
    not of the type that it should be is left out, so that the expectation about it cannot be evaluated.
    """
    there = set(table.column_names)
    columns: dict[str, Any] = {}
    for name in dict.fromkeys((*suite.columns, *part.needs)):
        if name in there:
            column = table.column(name)
            is_read = name in part.needs and not pa.types.is_nested(column.type)
            columns[name] = column if is_read else pa.nulls(table.num_rows)
        elif all(base in there and _fits(table.column(base).type, axis) for base, axis in suites.terms(name)):
            summands = (
                table.column(base) if axis is None else _element(table.column(base), axis)
                for base, axis in suites.terms(name)
            )
            columns[name] = functools.reduce(pc.add, summands)
    return pa.table(columns)


def _fits(kind: pa.DataType, axis: int | None) -> bool:
    if axis is not None:
        return pa.types.is_list(kind)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _element(column: pa.ChunkedArray, axis: int) -> pa.Array:
    """The element `axis` of each list, null where a list is null or shorter."""
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy()
    places = offsets[:-1] + axis
    absent = (places >= offsets[1:]) | lists.is_null().to_numpy(zero_copy_only=False)
    return lists.values.take(pa.array(places, mask=absent))


def _from_pandas(frame: pd.DataFrame, wanted: Iterable[str]) -> pa.Table:
    try:
        there = [name for name in dict.fromkeys(wanted) if name in frame.columns]
        return pa.Table.from_pandas(frame[there], preserve_index=False).replace_schema_metadata()
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise Defect("a column of the table to be checked mixes types") from None


def _result(declared: Expectation, found: Any) -> ExpectationResult:
    evaluated = not _raised(found.exception_info)
    share = found.result.get("unexpected_percent")
    return ExpectationResult(
        id=declared.meta.id,
        type=declared.type,
        columns=declared.columns,
        severity=declared.severity,
        level=declared.meta.level,
        dimension=declared.meta.dimension,
        why=declared.meta.why,
        evaluated=evaluated,
        success=evaluated and bool(found.success),
        unexpected_count=found.result.get("unexpected_count"),
        unexpected_share=None if share is None else share / 100,
    )


def _raised(info: Mapping[str, Any]) -> bool:
    """Whether an exception kept the expectation from being evaluated: one flat record, or one for each metric."""
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(part["raised_exception"] for part in info.values())


def _quarantined(
    suite: Suite, found: Mapping[str, Any], table: pa.Table, key: Sequence[str]
) -> tuple[tuple[tuple[str, ...], str], ...]:
    """The rows that fail a critical of level row, in order, each with the first expectation that it fails."""
    first: dict[int, str] = {}
    for e in suite.expectations:
        if e.severity == "critical" and e.meta.level == "row":
            for position in found[e.meta.id].result.get("unexpected_index_list") or ():
                first.setdefault(position, e.meta.id)
    if not set(key) <= set(table.column_names):
        return ()  # the column set contains the key, so the gate has refused
    positions = sorted(first)
    values = zip(*(table.column(k).take(pa.array(positions, pa.int64())).to_pylist() for k in key), strict=True)
    return tuple((tuple(map(str, row)), first[p]) for p, row in zip(positions, values, strict=True))
