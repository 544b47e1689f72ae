"""A receiver that hospitals push to: objects arrive by C-STORE and become files that `oncurate curate` can read.

Belongs here: checking, naming and counting what arrives, from start to a clean end. Does not belong here: associations
(`oncurate.sources.storage`), arguments and printing (`flows.cli_pull`).

Files are named by their digest alone, so sending again changes nothing, and no name tells who was examined. Counts are
all that is said about what came.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oncurate import elements, headers
from oncurate.certificates import server_tls
from oncurate.errors import Rejection, StoreUnreachable, UsageError
from oncurate.reasons import Reason
from oncurate.sources.storage import NO_ROOM, NOT_UNDERSTOOD, STORED, Door, Received, Receiver
from oncurate.store import Store

GRACE_S = 10.0
"""How long associations may go on when the receiver is told to end."""


@dataclass(frozen=True)
class Tls:
    """PEM files of a receiver's TLS; with `ca`, senders must show a certificate that it vouches for."""

    cert: str
    key: str | None = None
    ca: str | None = None


@dataclass(frozen=True)
class Count:
    """What a receiver has seen so far. `refused` is by reason."""

    received: int
    present: int  # of those, how many lay there before
    bytes: int
    refused: dict[str, int]


class Inbox:
    """Takes objects into a folder or prefix, each whole or not at all. Safe between threads."""

    def __init__(self, into: Store) -> None:
        self._into = into
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def keep(self, received: Received) -> int:
        """Check and store one object; the status for its sender, who hears success only after it is stored."""
        data = b"".join((received.header(), received.data_set))
        try:
            _check(received, data)
        except Rejection as refusal:
            self.refuse(refusal.reason.value)
            return NOT_UNDERSTOOD
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"{sha256[:2]}/{sha256}.dcm"
        try:
            is_new = self._into.put_if_absent(key, data)
            is_whole = self._into.size(key) == len(data)
        except (StoreUnreachable, OSError):
            self.refuse("store")
            return NO_ROOM
        if not is_whole:
            self.refuse("store")
            return NO_ROOM
        with self._lock:
            self._numbers.update(received=1, present=int(not is_new), bytes=len(data))
        return STORED

    def refuse(self, why: str) -> None:
        """Count something that was not taken."""
        with self._lock:
            self._refused[why] += 1

    def count(self) -> Count:
        """What came so far."""
        with self._lock:
            numbers = self._numbers
            return Count(numbers["received"], numbers["present"], numbers["bytes"], dict(sorted(self._refused.items())))


def door_of(title: str, host: str, port: int, callers: Sequence[str], tls: Tls | None) -> Door:
    """Where to listen and whom to let in. `UsageError` where nobody is named."""
    if not callers:
        raise UsageError("name the AE titles that may send: --allow TITLE")
    context = server_tls(tls.cert, tls.key, tls.ca) if tls else None
    return Door(title, host, port, tuple(callers), context)


def listen(
    door: Door, into: str, ended: threading.Event, tell: Callable[[Count, int], None], every_s: float = 30.0
) -> Count:
    """Receive until `ended` is set; `tell` gets the count and the port at the start and now and then.

    Raises `StoreUnreachable` where objects cannot be stored, or the port cannot be listened on.
    """
    store = Store(into)
    store.make_private()
    store.check_writable()
    headers.quiet()
    inbox = Inbox(store)
    try:
        receiver = Receiver(door, inbox.keep, on_refused=lambda: inbox.refuse("association"))
    except OSError:
        raise StoreUnreachable(f"cannot listen on {door.host}:{door.port}: is something else there?") from None
    try:
        tell(inbox.count(), receiver.port)
        while not ended.wait(every_s):
            tell(inbox.count(), receiver.port)
    finally:
        receiver.close(GRACE_S)
    return inbox.count()


def _check(received: Received, data: bytes) -> None:
    """Raise `Rejection` unless the data set can be read and is the object that the sender says it is."""
    header, _, _ = headers.parse(io.BytesIO(data), len(data))
    stated = {"SOPInstanceUID": received.sop_instance, "SOPClassUID": received.sop_class}
    for keyword, value in stated.items():
        if elements.text(header, keyword) != value:
            raise Rejection(Reason.BROKEN_HEADER, keyword)
