"""Every list that is closed is complete: reasons, columns, suites, deployments, commands.

Belongs here: what must be looked at as a whole. Does not belong here: whether one entry is right.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import typer
import yaml

from expectations import suites
from flows import cli
from oncurate.errors import OncurateError
from oncurate.provider import read
from oncurate.reasons import Reason, State
from oncurate.recipe import STAGE_VERSIONS
from oncurate.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("oncurate", "tasks", "expectations", "flows") for path in (ROOT / folder).rglob("*.py")]
TESTS = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
DEPLOYMENTS = yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text(encoding="utf-8"))["deployments"]
SUITES = sorted(path.stem for path in (ROOT / "expectations").glob("*.json"))


def attributes_of(name: str, paths: list[Path]) -> set[str]:
    """The members of `name` that are named in these files, as in `Reason.MOSAIC`."""
    return {
        node.attr
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def gate_reasons() -> set[Reason]:
    return {reason for reason in Reason if reason.value.startswith("gate_")}


def test_every_reason_has_a_state_and_a_sentence_of_advice() -> None:
    for reason in Reason:
        assert reason.state in set(State) - {State.CURATED}
        assert reason.advice.endswith(".")
        assert len(reason.advice) <= 120
        assert reason.value == reason.name.lower()


def test_every_reason_is_given_somewhere() -> None:
    given = attributes_of("Reason", [path for path in SOURCES if path.name != "reasons.py"])
    # `tasks.gates` makes the reason of a gate from the name of its suite.
    assert {reason.name for reason in Reason} - given == {reason.name for reason in gate_reasons()} - given
    assert {reason.value.removeprefix("gate_") for reason in gate_reasons()} == set(SUITES) - {"release"}


def test_every_reason_is_triggered_by_a_test() -> None:
    named = attributes_of("Reason", TESTS)
    slugs = {r.name for r in Reason if any(f'"{r.value}"' in path.read_text(encoding="utf-8") for path in TESTS)}
    assert {reason.name for reason in Reason} - named - slugs - {r.name for r in gate_reasons()} == set()


def test_every_table_says_what_a_row_and_every_column_is() -> None:
    for table in TABLES.values():
        names = [name for name, _, _ in table.columns]
        assert table.row
        assert len(set(names)) == len(names)
        assert set(table.key) <= set(names)
        for field in table.schema:
            described = field.metadata[b"description"].decode()
            assert described.endswith("."), f"{table.name}.{field.name}"
            assert len(described) > 2


def test_a_column_of_two_tables_has_one_type() -> None:
    types: dict[str, set[str]] = {}
    for table in TABLES.values():
        for name, kind, _ in table.columns:
            types.setdefault(name, set()).add(str(kind))
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_computed_columns_are_snake_case_and_attributes_are_keywords() -> None:
    from pydicom.datadict import keyword_dict

    for table in TABLES.values():
        for name, _, _ in table.columns:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in keyword_dict, f"{table.name}.{name}"


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_a_table(name: str) -> None:
    suite = suites.load(name)
    assert suite.meta.table in TABLES


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_every_deployment_is_an_importable_flow_with_valid_parameters(deployment: dict) -> None:
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    inspect.signature(flow.fn).bind(**deployment["parameters"])
    assert flow.validate_parameters(deployment["parameters"])
    provider = read(ROOT / deployment["parameters"]["provider_file"])
    assert f"dataset:{provider.dataset}" in deployment["tags"]
    assert deployment["concurrency_limit"]["limit"] == 1


def test_every_command_is_in_the_readme_and_says_what_it_does() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(cli.app).commands
    assert set(commands) == {
        *("curate", "demo", "inspect", "status", "quarantine", "verify", "gate"),
        *("deidentify", "pseudonym", "listen"),
    }
    for name, command in commands.items():
        assert f"oncurate {name}" in readme
        assert command.help
    mentioned = set(re.findall(r"(?:\.venv/bin/|`)oncurate ([a-z]+)", readme))
    assert mentioned <= set(commands)


def test_every_kind_of_error_has_its_exit_code_in_the_help() -> None:
    for kind in OncurateError.__subclasses__():
        assert f"{kind.exit_code} " in cli.app.info.epilog


def test_every_stage_that_writes_by_content_has_a_version() -> None:
    stages = {"index", "deidentify", "convert", "harmonise", "annotate", "check"}
    assert set(STAGE_VERSIONS) == stages
    assert all((ROOT / "tasks" / f"{stage}.py").is_file() for stage in stages)
