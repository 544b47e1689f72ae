"""The suite files say what they must, and the loader refuses one that would let a gate pass for the wrong reason."""

from __future__ import annotations

import ast
import copy
import csv
import json
import subprocess
import sys
from importlib import resources
from typing import get_args

import pytest

from expectations import suites
from oncurate import profiles, scaling, tables
from oncurate.errors import Defect, UsageError
from oncurate.reasons import Reason

ALL = suites.names()
FILES = resources.files("expectations")


def raw(name: str) -> dict:
    return json.loads(FILES.joinpath(f"{name}.json").read_text())


def parsed(value: dict) -> suites.Suite:
    return suites.parse(json.dumps(value).encode())


def values(suite: str, expectation: str) -> set:
    found = next(e for e in suites.load(suite).expectations if e.meta.id == expectation)
    return set(found.kwargs["value_set"])


def test_there_is_a_file_for_every_suite_and_a_suite_for_every_file():
    assert {f"{name}.json" for name in ALL} == {f.name for f in FILES.iterdir() if f.name.endswith(".json")}


@pytest.mark.parametrize("name", ALL)
def test_a_suite_is_about_an_existing_table_and_existing_columns(name):
    suite = suites.load(name)
    there = {column for column, _, _ in tables.TABLES[suite.meta.table].columns}
    for column in suite.needs:
        assert {base for base, _ in suites.terms(column)} <= there
    assert set(suite.columns) <= there


@pytest.mark.parametrize("name", ALL)
def test_a_suite_covers_known_dimensions_and_gives_reasons(name):
    suite = suites.load(name)
    assert set(suite.meta.dimensions) <= set(get_args(suites.Dimension))
    assert len({e.meta.id for e in suite.expectations}) == len(suite.expectations)
    assert all(e.meta.why.endswith(".") for e in suite.expectations)


@pytest.mark.parametrize("name", ALL)
def test_every_required_column_is_asserted_on_or_identifies(name):
    suite = suites.load(name)
    asserted = {base for column in suite.needs for base, _ in suites.terms(column)}
    identity = {"subject_id", "study_id", "StudyInstanceUID", "SeriesInstanceUID", "Modality"}
    assert set(suite.columns) - asserted <= identity


def test_together_the_suites_cover_all_six_dimensions():
    assert {d for name in ALL for d in suites.load(name).meta.dimensions} == set(get_args(suites.Dimension))


def test_only_the_release_has_nothing_to_quarantine():
    rows = {
        n for n in ALL if any(e.severity == "critical" and e.meta.level == "row" for e in suites.load(n).expectations)
    }
    assert rows == set(ALL) - {"release"}
    assert all(Reason(f"gate_{name}") for name in rows)


def test_all_that_is_about_some_rows_only_never_refuses_by_itself():
    for name in ALL:
        for e in suites.load(name).expectations:
            if e.severity == "critical" and e.meta.level == "row":
                assert e.kwargs["mostly"] == (0 if "row_condition" in e.kwargs else 0.5), (name, e.meta.id)


def test_profiles_that_the_harmonised_suite_names_are_those_that_ship():
    shipped = {p.label for p in profiles.load().by_name.values()}
    named = set()
    for e in suites.load("harmonised").expectations:
        named |= set(_parameters(e.kwargs.get("row_condition"), "profile"))
    assert named
    assert named <= shipped


def test_the_range_that_the_harmonised_suite_asserts_is_the_profile_s():
    clip = profiles.load().by_name["CT"].clip
    for e in suites.load("harmonised").expectations:
        if e.meta.id in ("ct_least_value", "ct_greatest_value"):
            assert (e.kwargs["min_value"], e.kwargs["max_value"]) == clip


def test_the_reasons_that_pull_gives_are_those_that_the_objects_suite_knows():
    given = set()
    root = resources.files("oncurate")
    modules = [root.joinpath(name) for name in ("archives.py", "archive_formats.py")]
    modules += [module for module in root.joinpath("sources").iterdir() if module.name.endswith(".py")]
    for module in modules:
        tree = ast.parse(module.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason":
                given.add(Reason[node.attr].value)
    assert values("objects", "reason_of_pull") == given


def test_vocabularies_of_the_suites_agree_with_the_allow_list():
    with resources.files("oncurate").joinpath("data/terms.csv").open() as file:
        rows = list(csv.DictReader(file))
    units = {r["term"] for r in rows if r["vocabulary"] == "pet_units"}
    modalities = {r["term"] for r in rows if r["vocabulary"] == "modality"}
    assert units
    assert units <= values("volumes", "value_unit_known")
    assert values("series", "modality_known") <= modalities
    assert values("cohort", "modality_known") == values("series", "modality_known")


def test_an_unknown_gate_is_a_usage_error_that_names_the_gates():
    with pytest.raises(UsageError, match="volumes"):
        suites.load("volume")


def test_terms():
    assert suites.terms("bytes") == (("bytes", None),)
    assert suites.terms("native_shape.2") == (("native_shape", 2),)
    assert suites.terms("a + b") == (("a", None), ("b", None))


def _change(path: tuple, value):
    def change(suite: dict) -> None:
        *way, last = path
        for step in way:
            suite = suite[step]
        suite[last] = value

    return change


def _delete(*path):
    def change(suite: dict) -> None:
        *way, last = path
        for step in way:
            suite = suite[step]
        del suite[last]

    return change


WRONG = {
    "no table of that name": _change(("meta", "table"), "serie"),
    "no row count": _delete("expectations", 0),
    "an empty table passes": _change(("expectations", 0, "kwargs", "min_value"), 0),
    "row count without a minimum": _delete("expectations", 0, "kwargs", "min_value"),
    "row count only warns": _change(("expectations", 0, "severity"), "warning"),
    "two of one id": _change(("expectations", 3, "meta", "id"), "key_present"),
    "unknown column": _change(("expectations", 2, "kwargs", "column"), "serieskey"),
    "column that is not required": _change(("expectations", 1, "kwargs", "column_set"), ["series_key"]),
    "key that is not required": _change(("meta", "table"), "ledger"),
    "dimension that nothing covers": _change(("meta", "dimensions"), ["Valid"]),
    "unknown dimension": _change(("expectations", 2, "meta", "dimension"), "Timely"),
    "unknown severity": _change(("expectations", 2, "severity"), "info"),
    "unknown level": _change(("expectations", 2, "meta", "level"), "column"),
    "no reason": _change(("expectations", 2, "meta", "why"), ""),
    "id that is no slug": _change(("expectations", 2, "meta", "id"), "Key Present"),
    "an argument in the wrong place": _change(("expectations", 2, "column"), "series_key"),
    "critical row without mostly": _delete("expectations", 5, "kwargs", "mostly"),
    "critical table with mostly": _change(("expectations", 2, "kwargs", "mostly"), 0.9),
    "row level for what says no rows": _change(("expectations", 0, "meta", "level"), "row"),
    "condition as a query": _change(("expectations", 5, "kwargs", "row_condition"), "volumes_planned > 0"),
    "condition on an unknown column": _change(
        ("expectations", 5, "kwargs", "row_condition"),
        {"type": "nullity", "column": {"name": "volume"}, "is_null": True},
    ),
    "rows that no reason of the ledger covers": _change(("name",), "serie"),
    "element of what is no list": _change(("expectations", 2, "kwargs", "column"), "series_key.0"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_suite_that_breaks_a_rule_is_a_defect(change):
    value = raw("series")
    assert parsed(value) == suites.load("series")
    assert value["expectations"][5]["meta"]["level"] == "row"
    change(value)
    with pytest.raises(Defect):
        parsed(value)


def test_a_whole_list_cannot_be_asserted_on():
    value = copy.deepcopy(raw("volumes"))
    next(e for e in value["expectations"] if e["meta"]["id"] == "affine_complete")["kwargs"]["column"] = "native_affine"
    with pytest.raises(Defect, match="list column"):
        parsed(value)


def test_importing_the_gate_does_not_import_great_expectations():
    code = "import sys, expectations.gate; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _parameters(condition, column: str):
    if not condition:
        return
    for part in condition.get("conditions", [condition]):
        if part["column"]["name"] == column:
            yield from part["parameter"] if isinstance(part["parameter"], list) else [part["parameter"]]


def test_every_unit_that_convert_may_give_is_known_to_the_volumes_suite():
    [known] = [e for e in suites.load("volumes").expectations if e.meta.id == "value_unit_known"]
    assert {*scaling.UNITS.values(), "HU", "stored", "counts"} <= set(known.kwargs["value_set"])
