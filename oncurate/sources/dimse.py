"""A PACS as a source, by DIMSE: C-FIND to find, C-GET or C-MOVE to fetch (DICOM PS3.4 C).

Belongs here: what is fetched together, what is asked for again, how a study that does not come whole is told. Does not
belong here: associations (`oncurate.sources.dimse_link`), which instances are wanted (`oncurate.sources.pacs`).

C-GET comes first, as it needs no way back through a firewall; C-MOVE where the PACS offers no C-GET or did not send all
by it, and `pull.move_to` says where to.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from oncurate.certificates import client_tls, server_tls
from oncurate.errors import Rejection, StoreUnreachable, UsageError
from oncurate.kinds import CROSS_SECTIONAL, PROJECTION
from oncurate.reasons import Reason
from oncurate.sources.dimse_asking import Attempts, Outcome
from oncurate.sources.dimse_link import CONTEXTS_AT_MOST, Link, NotOffered, Peer, Wish
from oncurate.sources.interface import Listed
from oncurate.sources.pace import Again, Pace
from oncurate.sources.pacs import KEY_OF, RETURNED, Level, QuerySource, is_uid
from oncurate.sources.questions import Row
from oncurate.sources.settings import PullSettings, Selection
from oncurate.sources.storage import (
    NO_ROOM,
    REFUSED,
    STORED,
    SYNTAXES,
    Door,
    Keep,
    Received,
    Receiver,
)

AT_A_TIME = 128
"""Instances of one request: their files are open until they are read, and a list of UIDs stays short."""

_CLASSES_AT_A_TIME = (CONTEXTS_AT_MOST - 1) // len(SYNTAXES)


class DimseSource(QuerySource):
    """The instances of a PACS: `dimse://CALLED_AET@host:port`; titles, C-MOVE and TLS are in the key pull."""

    connections = 1

    def __init__(self, url: str, settings: PullSettings, selection: Selection) -> None:
        super().__init__(url, selection)
        self._settings = settings
        self._peer = peer_of(self.url, settings)
        self._move_to = destination_of(settings.move_to) if settings.move_to else None
        self._link = Link(self._peer)
        self.pace = Pace(settings, self._peer.name)
        self._expected: dict[str, list[Listed]] = defaultdict(list)
        self._fetched: dict[str, BinaryIO | None] = {}  # None: it was asked for and does not come
        self._offers_get = True
        self._lock = threading.Lock()

    def expect(self, listed: Iterable[Listed]) -> None:
        """What will be opened: `open` then fetches instances of one series together. Without it, one by one."""
        with self._lock:
            for item in listed:
                self._expected[item.group].append(item)

    def entries(self) -> Iterator[Listed]:
        """Every wanted instance, by study, series and instance UID, after a C-ECHO."""
        self.pace.ask(self._link.echo)
        return super().entries()

    def open(self, listed: Listed) -> BinaryIO:
        """The instance in the transfer syntax in which it came, seekable. `Rejection` where it does not come."""
        with self._lock:
            if listed.source_path not in self._fetched:
                self._fetch(self._together(listed))
            file = self._fetched.pop(listed.source_path, None)
        if file is None:
            raise Rejection(Reason.TRANSFER_INCOMPLETE, "the PACS lists it and does not send it")
        return file

    def close(self) -> None:
        """End associations, forget what was fetched and not read."""
        with self._lock:
            self._link.close()
            for file in self._fetched.values():
                if file is not None:
                    file.close()
            self._fetched.clear()

    def find(self, level: Level, match: Mapping[str, str], expected: int | None = None) -> Iterator[Row]:  # noqa: ARG002
        """The rows of a query; C-FIND has no pages.

        Where a PACS cannot list the instances of a series, it is asked for their UIDs alone: of most other attributes
        some read every file, and fail where one is lost.
        """
        try:
            return self._rows(level, match, RETURNED[level])
        except StoreUnreachable:
            if level != "IMAGE":
                raise
            return self._rows(level, match, (KEY_OF[level],))

    def _rows(self, level: Level, match: Mapping[str, str], keywords: Sequence[str]) -> Iterator[Row]:
        return iter(self.pace.ask(lambda: self._link.find(level, match, keywords)))

    def url_of(self, study: str, series: str, row: Row) -> str:
        """The URL of one instance, with its SOP class where the PACS says it."""
        sop_class = row.get("SOPClassUID", "")
        query = f"?class={quote(sop_class, safe='')}" if is_uid(sop_class) else ""
        return f"{self.url}/{study}/{series}/{row['SOPInstanceUID']}{query}"

    def _together(self, listed: Listed) -> list[Listed]:
        """The file asked for and those of its series that are expected after it."""
        group = self._expected.get(listed.group, [])
        at = next((i for i, item in enumerate(group) if item.source_path == listed.source_path), None)
        if at is None:
            return [listed]
        chosen = group[at : at + AT_A_TIME]
        self._expected[listed.group] = group[:at] + group[at + AT_A_TIME :]
        return chosen

    def _fetch(self, items: list[Listed]) -> None:
        study, series, _ = _uids(items[0])
        missing = {_uids(item)[2]: item for item in items}
        no_room: list[OSError] = []

        def keep(received: Received) -> int:
            item = missing.get(received.sop_instance)
            if item is None:
                return REFUSED
            self.pace.spend(len(received.data_set))
            try:
                self._fetched[item.source_path] = _file_of(received)
            except OSError as error:
                no_room.append(error)
                return NO_ROOM
            del missing[received.sop_instance]
            return STORED

        def wish(uids: Sequence[str]) -> Wish:
            return Wish(study, series, uids)

        self._try_get(wish, missing, keep)
        if missing and self._move_to is not None:
            self._try_move(wish, missing, keep, self._move_to)
        if missing and no_room:
            raise no_room[0]
        self._fetched.update({item.source_path: None for item in missing.values()})

    def _try_get(self, wish: Callable[[Sequence[str]], Wish], missing: dict[str, Listed], keep: Keep) -> None:
        def send(uids: Sequence[str]) -> Outcome:
            outcomes = [Outcome.DONE]
            for classes in _portions(_classes(missing[uid] for uid in uids)):
                left = [uid for uid in uids if uid in missing]
                if left:
                    outcomes.append(self._link.get(wish(left), classes, keep))
            return min(outcomes)

        if not self._offers_get:
            return
        try:
            self._insist(missing, send, has_other_way=self._move_to is not None)
        except NotOffered:
            if self._move_to is None:
                raise StoreUnreachable(
                    f"{self._peer.name} offers no C-GET: have a C-MOVE destination added there, and name it in move_to"
                ) from None
            self._offers_get = False

    def _try_move(
        self, wish: Callable[[Sequence[str]], Wish], missing: dict[str, Listed], keep: Keep, to: tuple[str, int]
    ) -> None:
        title, port = to
        with _turn(port):
            receiver = self._receiver(title, port, keep)
            try:
                self._insist(missing, lambda uids: self._link.move(wish(uids), title))
            except NotOffered:
                raise StoreUnreachable(f"{self._peer.name} offers neither C-GET nor C-MOVE") from None
            finally:
                receiver.close(grace_s=1.0)

    def _insist(
        self, missing: Collection[str], send: Callable[[Sequence[str]], Outcome], *, has_other_way: bool = False
    ) -> None:
        """Have what is missing sent, as far as it can be."""
        attempts = Attempts(missing, send, self.pace, self._settings.retries.total_s, has_other_way=has_other_way)
        with suppress(Rejection):
            self.pace.ask(attempts)

    def _receiver(self, title: str, port: int, keep: Keep) -> Receiver:
        settings = self._settings
        tls = server_tls(settings.client_cert, settings.client_key, settings.ca_file) if settings.client_cert else None
        try:
            address = self._peer.own_address()
            return Receiver(Door(title, address, port, tls=tls, timeout_s=settings.timeout_s), keep)
        except (OSError, Again):
            raise StoreUnreachable(f"port {port} of this machine cannot be listened on: see pull.move_to") from None


def peer_of(url: str, settings: PullSettings) -> Peer:
    """Who is asked, and as whom. Raises `UsageError`."""
    parts = urlsplit(url)
    try:
        port = parts.port or 104  # the well-known port (DICOM PS3.8 9.1.1)
    except ValueError:
        port = 0
    if not parts.username or not parts.hostname or not port or parts.password or parts.path.strip("/"):
        raise UsageError("write a PACS as dimse://TITLE@host:port, the title being that of the PACS")
    called = unquote(parts.username)
    files = settings.ca_file, settings.client_cert, settings.client_key
    tls = client_tls(*files) if settings.ca_file or settings.client_cert else None
    return Peer(called, parts.hostname, port, settings.calling_aet, tls, settings.timeout_s)


def destination_of(text: str) -> tuple[str, int]:
    """Title and port of `TITLE:PORT`. Raises `UsageError`."""
    title, _, port = text.rpartition(":")
    if not title or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError("move_to: write it as TITLE:PORT, our title as the PACS knows it and the port it sends to")
    return title, int(port)


def _uids(item: Listed) -> tuple[str, str, str]:
    study, series, instance = urlsplit(item.url).path.strip("/").split("/")
    return study, series, instance


def _classes(items: Iterable[Listed]) -> set[str]:
    """The SOP classes of the instances; where the PACS does not say, all that are converted."""
    found: set[str] = set()
    for item in items:
        stated = parse_qs(urlsplit(item.url).query).get("class")
        found |= set(stated) if stated else CROSS_SECTIONAL | PROJECTION
    return found


def _portions(classes: set[str]) -> Iterator[list[str]]:
    """The classes in portions whose contexts fit one association."""
    ordered = sorted(classes)
    for start in range(0, len(ordered), _CLASSES_AT_A_TIME):
        yield ordered[start : start + _CLASSES_AT_A_TIME]


def _file_of(received: Received) -> BinaryIO:
    """The object as a DICOM file without a name, so that a killed process leaves nothing behind."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the reader closes it
    file.write(received.header())
    file.write(received.data_set)
    file.seek(0)
    return cast(BinaryIO, file)


@contextmanager
def _turn(port: int) -> Iterator[None]:
    """Wait for the port of C-MOVE, which the workers of this machine share, one after the other."""
    path = Path(tempfile.gettempdir()) / f"oncurate-move-{os.getuid()}-{port}.lock"
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
