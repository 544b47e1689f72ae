"""The suites as they stand in the JSON files beside this module, read and checked without Great Expectations.

Belongs here: what a suite file may hold, and the rules that keep a gate from passing for the wrong reason. Does not
belong here: evaluating a suite (`expectations.gate`), or a threshold (the files).
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, ValidationError, model_validator

from oncurate.errors import Defect, UsageError
from oncurate.reasons import Reason
from oncurate.records import Record
from oncurate.tables import TABLES
from oncurate.verdict import Level, Severity

Dimension = Literal["Complete", "Unique", "Consistent", "Accurate", "Integrity", "Valid"]
"""The data-quality dimensions of the federation's handbook."""

ROW_COUNT = "expect_table_row_count_to_be_between"
COLUMN_SET = "expect_table_columns_to_match_set"
# The families that say which rows fail; only they can quarantine.
ROW_TYPES = re.compile(r"expect_(column_values|column_value_lengths|column_pair_values|multicolumn_values|compound)_")


class ExpectationMeta(Record):
    """What an expectation is called, what its failure means, and why it stands in the suite."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    level: Level
    dimension: Dimension
    why: str = Field(min_length=20)


class Expectation(Record):
    """One expectation, in the form in which Great Expectations reads it."""

    type: str
    kwargs: dict[str, Any]
    severity: Severity
    meta: ExpectationMeta

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it asserts something about."""
        names = [self.kwargs[k] for k in ("column", "column_A", "column_B") if k in self.kwargs]
        return (*names, *self.kwargs.get("column_list", ()))

    @property
    def needs(self) -> tuple[str, ...]:
        """Those, and the columns of its row condition."""
        return (*self.columns, *_condition_columns(self.kwargs.get("row_condition")))

    @model_validator(mode="after")
    def _sound(self) -> Expectation:
        row, critical, by_row = self.meta.level == "row", self.severity == "critical", bool(ROW_TYPES.match(self.type))
        if row and not by_row:
            raise ValueError(f"{self.meta.id}: {self.type} does not say which rows fail, so it cannot be of level row")
        if row and critical and "mostly" not in self.kwargs:
            raise ValueError(f"{self.meta.id}: a critical of level row says by `mostly` how much may be quarantined")
        if not row and critical and "mostly" in self.kwargs:
            raise ValueError(f"{self.meta.id}: a critical of level table has no `mostly`: one failure refuses")
        return self


class SuiteMeta(Record):
    """Which table the suite is about, which dimensions it covers, and what it is for."""

    table: str
    dimensions: tuple[Dimension, ...]
    about: str


class Suite(Record):
    """A suite. Row count and column set come first: an empty table or an absent column passes everything else."""

    name: str
    meta: SuiteMeta
    expectations: tuple[Expectation, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the table must have."""
        return tuple(self.expectations[1].kwargs["column_set"])

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that its expectations read, in order of first use, as `terms` reads them."""
        return tuple(dict.fromkeys(name for e in self.expectations for name in e.needs))

    @model_validator(mode="after")
    def _sound(self) -> Suite:
        first = [(e.type, e.severity, e.meta.level) for e in self.expectations[:2]]
        if first != [(ROW_COUNT, "critical", "table"), (COLUMN_SET, "critical", "table")]:
            raise ValueError("the first two expectations are the critical row count and column set")
        if self.expectations[0].kwargs.get("min_value", 0) < 1:
            raise ValueError("the row count lets an empty table pass")
        ids = [e.meta.id for e in self.expectations]
        if len(set(ids)) < len(ids):
            raise ValueError("two expectations have one id")
        if set(self.meta.dimensions) != {e.meta.dimension for e in self.expectations}:
            raise ValueError("meta.dimensions are not the dimensions of the expectations")
        self._check_columns()
        if any(e.meta.level == "row" for e in self.expectations if e.severity == "critical"):
            Reason(f"gate_{self.name}")  # a ValueError where the ledger has no reason for such rows
        return self

    def _check_columns(self) -> None:
        table = TABLES.get(self.meta.table)
        if table is None:
            raise ValueError(f"there is no table {self.meta.table}")
        required = set(self.columns)
        if unknown := required - {n for n, _, _ in table.columns}:
            raise ValueError(f"table {table.name} has no column {min(unknown)}")
        if absent := {name for n in self.needs for name, _ in terms(n)}.union(table.key) - required:
            raise ValueError(f"the column set lacks {min(absent)}")
        for name, axis in (term for derived in self.needs for term in terms(derived)):
            if (axis is not None) != pa.types.is_list(table.schema.field(name).type):
                raise ValueError(f"{name}: a list column is asserted on by element (`name.0`), and only a list column")


def names() -> tuple[str, ...]:
    """The suites that there are, in the order of the stages whose output they guard."""
    before = ("objects", "series", "cohort", "volumes", "harmonised", "annotations")
    return (*before, "quality", "clinical", "release")


def load(name: str) -> Suite:
    """The suite `name`; a `Defect` if its file breaks a rule, a `UsageError` if there is none."""
    if name not in names():
        raise UsageError(f"there is no gate {name!r}; the gates are {', '.join(names())}")
    suite = parse(resources.files("expectations").joinpath(f"{name}.json").read_bytes())
    if suite.name != name:
        raise Defect(f"the suite file {name}.json calls itself {suite.name}")
    return suite


def parse(data: bytes) -> Suite:
    """A suite from the bytes of its file."""
    try:
        return Suite.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise Defect(f"a suite file is wrong at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def terms(name: str) -> tuple[tuple[str, int | None], ...]:
    """What a suite's column name stands for: (column, element of its lists or None) for each summand.

    `bytes` is a column, `native_shape.2` the third element of a list column, `planned + refused` a sum of two columns.
    """
    parts = (summand.partition(".") for summand in name.split(" + "))
    return tuple((base, int(axis) if dot else None) for base, dot, axis in parts)


def _condition_columns(condition: Any) -> tuple[str, ...]:
    """The columns of a row condition (`comparison`, `nullity`, `and`, `or`); a query string would hide them."""
    match condition:
        case None:
            return ()
        case {"conditions": [*parts]}:
            return tuple(name for part in parts for name in _condition_columns(part))
        case {"column": {"name": str(name)}}:
            return (name,)
    raise ValueError("a row condition is a dictionary that names its columns")
