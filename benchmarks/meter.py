"""What a command costs: processor seconds, wall time and peak memory of its whole process tree.

Belongs here: running and measuring. Does not belong here: what is run. Linux only: orphans of the tree (a server that
outlives its parent) are adopted by this process, so that the kernel's own account of waited-for children holds all.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5
"""Between looks at memory; the proportional set size takes the kernel some milliseconds a process."""
ORPHAN_SECONDS = 30.0
"""After the command's end, until what it left running is stopped."""
COUNTED_SHARE = 0.95
"""Of a burner's own account of its processor time, what the meter must find."""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True)
class Cost:
    """Seconds of processor (user, system) and wall; peak of the tree's proportional set size in MB."""

    user_s: float
    system_s: float
    wall_s: float
    peak_mb: float

    @property
    def cpu_s(self) -> float:
        """User and system seconds."""
        return self.user_s + self.system_s

    def __add__(self, other: Cost) -> Cost:
        """One after the other: times add up, the higher peak stays."""
        return Cost(
            self.user_s + other.user_s,
            self.system_s + other.system_s,
            self.wall_s + other.wall_s,
            max(self.peak_mb, other.peak_mb),
        )

    def as_json(self) -> dict[str, float]:
        """For the result file."""
        return {**asdict(self), "cpu_s": self.cpu_s}


class _Memory(threading.Thread):
    """Samples the memory of all descendants until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.failed = False
        self.over = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        self.failed = True  # until it ends in order: a silent sampler would report no memory
        while not self.over.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_pss, me.children(recursive=True))))
        self.failed = False


def _pss(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def measure(command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end, output into `log`, and return what its tree cost. A command that fails ends it all."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    memory = _Memory()
    memory.start()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(
            [str(part) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},  # compiled once, as on a user's machine
            start_new_session=True,
        ).returncode
    wall = time.monotonic() - started
    memory.over.set()
    memory.join()
    if memory.failed:
        sys.exit("the memory sampler failed, so the figures are void")
    _reap()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        sys.exit(f"{Path(command[0]).name} ended with code {code}; its output is in {log}")
    return Cost(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, wall, memory.peak / 1e6)


def _reap() -> None:
    """Wait for adopted orphans, so that the kernel adds their time to ours; those that go on are stopped."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if found:
            continue
        if time.monotonic() > deadline:
            for child in psutil.Process().children(recursive=True):
                child.send_signal(signal.SIGKILL)
        time.sleep(0.05)


_BURN = "import time\nwhile time.process_time() < {seconds}: pass"
_SPAWN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True)"


def prove(folder: Path, seconds: float = 1.0) -> dict[str, float]:
    """That a grandchild which nobody waits for is counted: burn a known time in one and compare."""
    cost = measure([sys.executable, "-c", _SPAWN.format(code=_BURN.format(seconds=seconds))], folder / "burner.log")
    if cost.cpu_s < COUNTED_SHARE * seconds:
        sys.exit(f"the meter found {cost.cpu_s:.2f} s of a grandchild that burnt {seconds:.2f} s: its figures are void")
    return {"burnt_s": seconds, "found_s": cost.cpu_s}


def save(name: str, value: object) -> Path:
    """Write a result to `bench-out/<name>.json` of the current folder."""
    path = Path("bench-out") / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return path
