"""The direction of imports: flows -> tasks -> oncurate, tasks -> expectations -> oncurate; nothing imports flows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"oncurate", "tasks", "flows", "expectations", "tests", "benchmarks"}
ENGINES = {"prefect", "prefect_dask", "dask", "distributed", "great_expectations"}
MAY_IMPORT = {
    "oncurate": {"oncurate"},
    "expectations": {"expectations", "oncurate", "great_expectations"},
    "tasks": {"tasks", "oncurate", "expectations", "prefect"},
    "flows": {"flows", "tasks", "oncurate", "prefect", "prefect_dask", "dask", "distributed", "expectations"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names & (OURS | ENGINES)


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_folder_imports_only_what_it_may(folder: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).glob("**/*.py")
        for name in imported(path) - MAY_IMPORT[folder]
    }
    assert not wrong


def test_domain_loads_without_any_engine() -> None:
    """Importing every module of the domain pulls in no orchestrator, directly or through another package."""
    files = [path for path in (ROOT / "oncurate").glob("**/*.py") if path.stem != "__init__"]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    code = (
        "import sys, importlib\n"
        f"for m in {modules!r}: importlib.import_module(m)\n"
        f"print(sorted(set(sys.modules) & {ENGINES!r}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def test_every_module_says_what_belongs_in_it() -> None:
    silent = []
    for folder in MAY_IMPORT:
        for path in (ROOT / folder).glob("**/*.py"):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            if path.name != "__init__.py" and not (
                "Belongs here" in doc and "Does not belong here" in doc.replace("\n", " ")
            ):
                silent.append(str(path.relative_to(ROOT)))
    assert not silent


def test_rooms_are_small() -> None:
    """A module over 400 lines that is not a table says that two things live in it."""
    large = [
        str(path.relative_to(ROOT))
        for folder in MAY_IMPORT
        for path in (ROOT / folder).glob("**/*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 400
    ]
    assert not large
