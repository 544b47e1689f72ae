"""Settings of the garbage collector, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc
from oncurate import garbage
garbage.relax()
assert gc.get_threshold()[0] == garbage.THRESHOLD, gc.get_threshold()
held = [[] for _ in range(1000)]
assert gc.get_freeze_count() == 0
garbage.settle()
assert gc.get_freeze_count() >= 1000
assert gc.isenabled()
"""


def test_a_process_looks_for_garbage_less_often_and_not_at_what_it_imported() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
