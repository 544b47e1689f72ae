"""The command line as a user runs it: a process of its own, isolated from the user's Prefect.

Belongs here: starting it. Does not belong here: assertions about what it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.engine import isolated

PROGRAM = Path(sys.executable).with_name("oncurate")
WAIT_S = 240
"""A flow with its own server takes 20-40 s on two busy cores; more than this is a hang."""


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
