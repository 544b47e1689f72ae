"""Breaks a good table for one expectation at a time.

Belongs here: a value that each type of expectation must not accept. Does not belong here: which suite, which test.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from expectations import suites
from expectations.suites import Expectation, Suite


def alone(suite: Suite, expectation: Expectation) -> Suite:
    """The suite with nothing but its two guards and `expectation`."""
    kept = list(suite.expectations[:2]) + ([expectation] if expectation not in suite.expectations[:2] else [])
    dimensions = tuple(dict.fromkeys(e.meta.dimension for e in kept))
    return Suite(
        name=suite.name, meta=suite.meta.model_copy(update={"dimensions": dimensions}), expectations=tuple(kept)
    )


def broken_for(expectation: Expectation, table: pa.Table) -> pa.Table:
    """`table` with a value that fails `expectation` in every row that it is about; at least one row is."""
    if expectation.type == "expect_table_row_count_to_be_between":
        return table.slice(0, 0)
    if expectation.type == "expect_table_columns_to_match_set":
        return table.drop_columns([table.column_names[0]])
    if expectation.type == "expect_table_row_count_to_equal":
        return pa.concat_tables([table, table])
    rows = table.to_pylist()
    [(base, axis), *_] = suites.terms(expectation.columns[0])
    affected = [row for row in rows if _holds(expectation.kwargs.get("row_condition"), row)]
    assert affected, "the good table has no row that the expectation is about"
    for row in affected:
        value = _bad(expectation, row)
        if axis is None:
            row[base] = value
        else:
            row[base] = row[base][:axis] if value is None else [*row[base][:axis], value, *row[base][axis + 1 :]]
    return pa.Table.from_pylist(rows, schema=table.schema)


def _bad(expectation: Expectation, row: dict[str, Any]) -> Any:
    kind, kwargs = expectation.type.removeprefix("expect_column_"), expectation.kwargs
    match kind:
        case "values_to_not_be_null":
            return None
        case "values_to_be_unique" | "expect_compound_columns_to_be_unique":
            return "twice"
        case "values_to_match_regex":
            return ""
        case "values_to_be_json_parseable":
            return "{"
        case "value_lengths_to_be_between":
            return ""
        case "values_to_be_in_set":
            first = kwargs["value_set"][0]
            return "?" if isinstance(first, str) else not first if isinstance(first, bool) else first + 7
        case "values_to_not_be_in_set":
            return kwargs["value_set"][0]
        case "values_to_be_between":
            return kwargs["max_value"] + 1 if "max_value" in kwargs else kwargs["min_value"] - 1
        case "pair_values_to_be_equal":
            return row[suites.terms(kwargs["column_A"])[0][0]] + 1
        case "pair_values_a_to_be_greater_than_b":
            return row[kwargs["column_B"]] - 1
    raise AssertionError(f"no bad value is known for {expectation.type}")


def _holds(condition: dict[str, Any] | None, row: dict[str, Any]) -> bool:
    match condition:
        case None:
            return True
        case {"type": "and", "conditions": parts}:
            return all(_holds(part, row) for part in parts)
        case {"type": "nullity", "column": {"name": name}, "is_null": wanted}:
            return (row[name] is None) == wanted
        case {"operator": "==", "column": {"name": name}, "parameter": value}:
            return row[name] == value
        case {"operator": "!=", "column": {"name": name}, "parameter": value}:
            return row[name] != value
        case {"operator": "IN", "column": {"name": name}, "parameter": value}:
            return row[name] in value
    raise AssertionError("a condition of a form that the tests do not know")
