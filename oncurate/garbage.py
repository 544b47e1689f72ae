"""How often Python looks for cyclic garbage in our processes.

Belongs here: settings of the collector. Does not belong here: when a process calls them (`flows.cli`, `tasks.guard`).

Importing Prefect, Dask and Great Expectations makes very many objects that stay for good, and our records are not
cyclic. With Python's own settings, looking for garbage while importing and at exit is a good part of the fixed cost of
a run (`python -m benchmarks scaling`).
"""

from __future__ import annotations

import atexit
import functools
import gc

THRESHOLD = 50_000
"""New container objects before a look for cyclic garbage; Python's 700 costs a run that makes records 4 % of its CPU.
"""


@functools.cache
def relax() -> None:
    """Once a process, before the imports: look for garbage less often, and at exit leave it to the system."""
    gc.set_threshold(THRESHOLD)
    atexit.register(gc.freeze)


@functools.cache
def settle() -> None:
    """Once a process, after the imports: what they made stays for good and is not looked at again."""
    relax()
    gc.collect()
    gc.freeze()
