"""One run at a time: a living holder is respected, a dead one replaced, and only one of its heirs wins."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oncurate import lease as module
from oncurate.errors import StoreUnreachable
from oncurate.lease import Holder, Lease
from oncurate.store import Patience, Store

BEAT = {"heartbeat": 0.02, "stale": 0.1}
HOLD = """
import sys, time
from oncurate.lease import Lease
from oncurate.store import Store
with Lease(Store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), Patience(attempts=2, first_wait=0.001, total=0.1))


def test_a_held_lease_refuses_and_says_who_holds_it(store: Store) -> None:
    with Lease(store), pytest.raises(StoreUnreachable, match=f"process {os.getpid()} on host"), Lease(store):
        pass


def test_a_released_lease_is_free_and_leaves_one_record(store: Store) -> None:
    for _ in range(3):
        with Lease(store) as lease:
            assert not lease.lost
            lease.ensure()
    assert list(store.list()) == ["run.lock/00000003.json"]


def test_a_failed_run_releases_too(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), Lease(store):
        raise ZeroDivisionError
    with Lease(store):
        pass


def test_of_many_takers_one_wins(store: Store) -> None:
    def take(_: int) -> Lease | None:
        try:
            return Lease(store).__enter__()
        except StoreUnreachable:
            return None

    with ThreadPoolExecutor(8) as takers:
        held = [lease for lease in takers.map(take, range(8)) if lease]
    assert len(held) == 1
    held[0].__exit__(None, None, None)


def test_a_killed_holder_is_replaced_at_once_by_one_of_its_heirs(store: Store) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, store.url], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnreachable, match=f"process {holder.pid}"), Lease(store):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    test_of_many_takers_one_wins(store)


def _foreign(store: Store, **changes: object) -> Holder:
    """A record that a run on another host would have written."""
    mine = module._myself(1)
    holder = dataclasses.replace(mine, host="elsewhere", place="elsewhere", **changes)
    store.write("run.lock/00000001.json", module._to_json(holder))
    return holder


def test_a_fresh_holder_elsewhere_is_respected(store: Store) -> None:
    _foreign(store, beat=time.time())
    with pytest.raises(StoreUnreachable, match="elsewhere"), Lease(store):
        pass


def test_a_silent_holder_elsewhere_is_replaced(store: Store) -> None:
    _foreign(store, beat=time.time() - 91)
    with Lease(store, heartbeat=0.01):
        assert list(store.list()) == ["run.lock/00000002.json"]


def test_a_holder_whose_clock_is_wrong_is_respected_while_it_beats(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = _foreign(store, beat=time.time() - 1000)

    def beat_meanwhile(_: float) -> None:
        store.write("run.lock/00000001.json", module._to_json(dataclasses.replace(holder, beat=holder.beat + 15)))

    monkeypatch.setattr(module.time, "sleep", beat_meanwhile)
    with pytest.raises(StoreUnreachable, match="elsewhere"), Lease(store):
        pass


def test_a_reused_process_id_is_not_its_holder(store: Store) -> None:
    mine = module._myself(1)
    store.write("run.lock/00000001.json", module._to_json(dataclasses.replace(mine, pid_created=mine.pid_created - 60)))
    with Lease(store):
        pass


def test_a_holder_notices_that_it_was_replaced_and_leaves_the_heir_alone(store: Store) -> None:
    with Lease(store, **BEAT) as lease:
        heir = module._to_json(dataclasses.replace(module._myself(2), host="heir"))
        store.create("run.lock/00000002.json", heir)
        _wait(lambda: lease.lost)
        with pytest.raises(StoreUnreachable, match="lost its hold"):
            lease.ensure()
    assert store.read("run.lock/00000002.json") == heir


def test_a_heartbeat_renews_the_record(store: Store) -> None:
    with Lease(store, **BEAT):
        first = store.read("run.lock/00000001.json")
        _wait(lambda: store.read("run.lock/00000001.json") != first)


def test_a_holder_that_cannot_beat_gives_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(store, **BEAT) as lease:

        def unreachable(*_: object) -> None:
            raise StoreUnreachable("gone")

        monkeypatch.setattr(Store, "write", unreachable)
        _wait(lambda: lease.lost)


def test_a_late_taker_of_an_old_number_backs_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw number 1, and meanwhile others took and tidied away 2 and hold 3."""
    store.write("run.lock/00000003.json", module._to_json(module._myself(3)))
    late = Lease(store)
    answers = iter([1, 3, 3])
    monkeypatch.setattr(late, "_highest", lambda: next(answers))
    monkeypatch.setattr(late, "_await_end", lambda number: None)
    with pytest.raises(StoreUnreachable, match="another run"):
        late.__enter__()
    assert list(store.list()) == ["run.lock/00000003.json"]


def _wait(condition) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
