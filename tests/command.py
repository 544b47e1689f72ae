"""The command line as a user runs it: in a process of its own, isolated from the user's Prefect, or in this one.

Belongs here: starting it, and how it ended. Does not belong here: assertions about what it does.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.engine import isolated

PROGRAM = Path(sys.executable).with_name("oncurate")
WAIT_S = 480
"""A flow with its own server takes 20-40 s on two busy cores; more than this is a hang."""
SECRET = "a secret of these tests"


def environment(home: Path, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The variables of a process that writes Prefect's files to `home`; None in `extra` removes one."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_", "ONCURATE_"))}
    values: dict[str, str | None] = {**kept, **isolated(home), "COLUMNS": "200", **(extra or {})}
    return {name: value for name, value in values.items() if value is not None}


def start(*arguments: object, home: Path, extra: Mapping[str, str | None] | None = None) -> subprocess.Popen[str]:
    """`oncurate` with these arguments, running, its output captured."""
    home.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [str(PROGRAM), *map(str, arguments)],
        env=environment(home, extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def oncurate(
    *arguments: object, home: Path, extra: Mapping[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """`oncurate` with these arguments, finished."""
    with start(*arguments, home=home, extra=extra) as process:
        out, err = process.communicate(timeout=WAIT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Ended(NamedTuple):
    """How a command in this process ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What was said to the user: one line, no traceback."""
        assert "Traceback" not in self.out + self.err
        (line,) = self.err.strip().splitlines()
        assert line.startswith("oncurate: ")
        return line

    @property
    def found(self) -> Any:
        """What `--json` printed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `oncurate` as its entry point does, with `SECRET`; the environment is the old one after the test.

    Not for commands that run a flow, which belong into a process of their own (`oncurate`).
    """
    from flows import cli

    monkeypatch.setattr(os, "environ", os.environ.copy() | {"ONCURATE_SECRET": SECRET})

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["oncurate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run
