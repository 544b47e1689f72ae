"""The server's garbage must not stop its event loop: a minute of standstill, where SQLite is waited for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUSY_MS = 5_000

WAITING = f"""
import sqlite3, sys, threading, time
from flows.api_process import collect_apart

collect_apart(float(sys.argv[2]))

def connect():
    return sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None, check_same_thread=False)

holder, waiting = connect(), connect()
holder.execute("PRAGMA journal_mode = WAL")
holder.execute("CREATE TABLE t (x)")
holder.execute("BEGIN IMMEDIATE")
left = [waiting.cursor()]
left.append(left)  # a cycle: garbage later on, but not freed by itself
try:
    left[0].execute("INSERT INTO t VALUES (1)")
except sqlite3.OperationalError:
    pass
del left
waiting.execute("PRAGMA busy_timeout = {BUSY_MS}")

def wait():
    try:
        waiting.execute("BEGIN IMMEDIATE")
        print("took the lock")
    except sqlite3.OperationalError as error:
        print(error)

thread = threading.Thread(target=wait)
thread.start()
time.sleep(0.5)  # until it waits
kept = [[] for _ in range(200_000)]  # enough for Python to look for garbage, were it left to itself
holder.execute("ROLLBACK")
thread.join()
"""


SERVER = """
import gc, uvicorn
from flows import api_process

uvicorn.run = lambda app, **settings: print(gc.isenabled(), settings["timeout_keep_alive"])
api_process.main()
"""


def _ended(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("seconds", [0.3, 60.0], ids=["looked for meanwhile", "not looked for"])
def test_a_thread_that_waits_for_the_lock_gets_it(seconds: float, tmp_path: Path) -> None:
    assert _ended(WAITING, str(tmp_path / "made.db"), str(seconds)) == "took the lock"


def test_the_server_starts_so_and_lets_clients_close_first() -> None:
    expiry = httpx.Limits().keepalive_expiry
    collects, keep_alive = _ended(SERVER, "4200").split()
    assert collects == "False"
    assert float(keep_alive) > expiry
