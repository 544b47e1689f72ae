"""The lease: one run at a time works on a data set, whatever host it runs on and however the last one ended.

Belongs here: taking, keeping, losing and giving back. Does not belong here: what a run does while it holds the lease.

Under the lease's key lie numbered records. Who creates the next number, create-only, holds the lease; the highest
number counts. A holder rewrites its own record as a heartbeat and marks it as released at the end. Numbers are never
used twice, so a holder that slept through its own replacement can neither overwrite nor release another's record.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import psutil

from oncurate.errors import AlreadyExists, StoreUnreachable
from oncurate.store import Store

HEARTBEAT_S = 15.0
"""A holder rewrites its record this often, s."""

STALE_S = 90.0
"""A record that was not rewritten for this long, s, has lost its holder: six heartbeats, so that one slow store
operation with all its retries (30 s) never costs a lease."""

CREATED_TOLERANCE_S = 1.0
"""Two readings of one process's creation time differ by less than this, s: the kernel's clock tick is 0.01 s."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lease, as its record says."""

    number: int
    token: str
    host: str
    place: str  # machine start and process namespace: only within one place do process ids mean anything
    pid: int
    pid_created: float  # s since the epoch; tells a process from a later one with the same id
    since: str
    beat: float  # s since the epoch, by the holder's clock
    released: bool = False

    def is_gone(self, stale: float) -> bool | None:
        """Whether the holder is surely gone; None if only watching its heartbeat can tell."""
        if self.released:
            return True
        if self.place == _place():
            return not _is_alive(self.pid, self.pid_created)
        return None if time.time() - self.beat > stale else False


class Lease:
    """Context manager that holds the lease of one data set; `StoreUnreachable` if another run holds it.

    `heartbeat` and `stale`, s, are arguments so that a test need not wait for minutes. One object, one use.
    """

    def __init__(
        self, store: Store, key: str = "run.lock", *, heartbeat: float = HEARTBEAT_S, stale: float = STALE_S
    ) -> None:
        self._store, self._folder, self._heartbeat, self._stale = store, key, heartbeat, stale
        self._lost, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._mine: Holder | None = None

    @property
    def lost(self) -> bool:
        """Whether another run took the lease, or may have: this one must not publish any more."""
        return self._lost.is_set()

    def ensure(self) -> None:
        """Raise `StoreUnreachable` if the lease is lost."""
        if self.lost:
            raise StoreUnreachable(
                f"this run lost its hold of {self._store.url} because it could not renew it in time, and another run"
                " may work there: run again when that one has ended; what is done already stays"
            )

    def __enter__(self) -> Lease:
        mine = self._mine = self._take()
        self._thread = threading.Thread(target=self._beat, args=(mine,), name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        # an unreachable store leaves the record as it is; once this process is gone the next run sees that
        with suppress(StoreUnreachable):
            if self._mine is not None and self._is_current(self._mine):
                self._write(replace(self._mine, released=True))

    def _take(self) -> Holder:
        last = self._highest()
        if last:
            self._await_end(last)
        mine = _myself(last + 1)
        try:
            self._store.create(self._key(mine.number), _to_json(mine))
        except AlreadyExists:
            raise self._refusal(self._read(mine.number)) from None
        highest = self._highest()
        if highest != mine.number:  # it was free only because a later holder had tidied it away
            self._store.delete(self._key(mine.number))
            raise self._refusal(self._read(highest))
        for key in list(self._store.list(self._folder)):
            if _number(key) < mine.number:
                self._store.delete(key)
        return mine

    def _await_end(self, number: int) -> None:
        """Return when the holder of `number` is surely gone; raise if it holds the lease."""
        holder = self._read(number)
        gone = holder.is_gone(self._stale) if holder else False
        if gone is None:  # its clock or ours may be wrong, so see whether it still beats
            time.sleep(2 * self._heartbeat)
            gone = self._read(number) == holder
        if not gone:
            raise self._refusal(holder)

    def _beat(self, mine: Holder) -> None:
        last = time.monotonic()
        while not self._ended.wait(self._heartbeat):
            try:
                if not self._is_current(mine):
                    self._lost.set()
                    return
                self._write(replace(mine, beat=time.time()))
                last = time.monotonic()
            except StoreUnreachable:
                if time.monotonic() - last > self._stale:
                    self._lost.set()
                    return

    def _is_current(self, mine: Holder) -> bool:
        current = self._read(self._highest())
        return current is not None and current.token == mine.token

    def _highest(self) -> int:
        return max((_number(key) for key in self._store.list(self._folder)), default=0)

    def _read(self, number: int) -> Holder | None:
        try:
            return Holder(**json.loads(self._store.read(self._key(number))))
        except FileNotFoundError:
            return None

    def _write(self, holder: Holder) -> None:
        self._store.write(self._key(holder.number), _to_json(holder))

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.json"

    def _refusal(self, holder: Holder | None) -> StoreUnreachable:
        who = f" since {holder.since}: process {holder.pid} on host {holder.host}" if holder else ""
        return StoreUnreachable(
            f"another run works on {self._store.url}{who}; wait until it ends, or end it."
            f" A run whose host died is out of the way {self._stale:.0f} s after its last sign of life"
        )


def holder(store: Store, key: str = "run.lock") -> Holder | None:
    """Who holds the lease of a data set now, as far as its record tells; None if nobody does."""
    lease = Lease(store, key)
    found = lease._read(highest) if (highest := lease._highest()) else None
    return None if found is None or found.is_gone(STALE_S) else found


def _myself(number: int) -> Holder:
    return Holder(
        number=number,
        token=secrets.token_hex(16),
        host=platform.node(),
        place=_place(),
        pid=os.getpid(),
        pid_created=psutil.Process().create_time(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        beat=time.time(),
    )


def _place() -> str:
    """Names the machine since its start, and the namespace in which a process id is unique."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{start}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{platform.node()}/{psutil.boot_time():.0f}"


def _is_alive(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < CREATED_TOLERANCE_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".json"))


def _to_json(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), sort_keys=True).encode()
