"""Receiving objects by C-STORE: what is offered to a sender, and each object as a DICOM file.

Belongs here: presentation contexts, the file around a received data set, TLS contexts, the server that listens. Does
not belong here: asking for objects (`oncurate.sources.dimse_link`), where they go (its users).

A data set is kept byte for byte as it came; only the file meta information (DICOM PS3.10 7.1), which does not travel,
is ours. An object is held in memory until it is handed on: the largest one a sender has, once an association.
"""

from __future__ import annotations

import io
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.events import Event
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import
from pynetdicom.transport import ThreadedAssociationServer

from oncurate.deid.written import IMPLEMENTATION_UID
from oncurate.errors import UsageError

SYNTAXES: tuple[str, ...] = tuple(str(syntax) for syntax in ALL_TRANSFER_SYNTAXES)
"""Every transfer syntax an object may be stored in; what we cannot decode is told later, by name."""

STORED, REFUSED, NO_ROOM, NOT_UNDERSTOOD = 0x0000, 0x0124, 0xA700, 0xC000
"""Answers to C-STORE (DICOM PS3.4 B.2.3, PS3.7 C.5.11): success, not authorised, out of resources, not understood."""

_POLL_S = 0.05


@dataclass(frozen=True)
class Received:
    """One object as it came. `sender` is the calling AE title. The UIDs are the sender's word for what it sends."""

    sop_class: str
    sop_instance: str
    syntax: str
    sender: str
    data_set: memoryview  # encoded in `syntax`

    def header(self) -> bytes:
        """Preamble and file meta information, the same bytes for the same object."""
        meta = FileMetaDataset()
        meta.FileMetaInformationVersion = b"\x00\x01"
        meta.MediaStorageSOPClassUID = UID(self.sop_class)
        meta.MediaStorageSOPInstanceUID = UID(self.sop_instance)
        meta.TransferSyntaxUID = UID(self.syntax)
        meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
        meta.FileMetaInformationGroupLength = 0
        head = io.BytesIO()
        write_file_meta_info(head, meta)
        return b"\x00" * 128 + b"DICM" + head.getvalue()


Keep = Callable[[Received], int]
"""Takes an object and returns the answer to the sender."""


def handler(keep: Keep) -> tuple[Any, Callable[[Event], int]]:
    """What calls `keep` for each object that an association brings."""

    def on_store(event: Event) -> int:
        request = cast(Any, event.request)
        if request.DataSet is None:
            return NOT_UNDERSTOOD
        return keep(
            Received(
                sop_class=str(request.AffectedSOPClassUID),
                sop_instance=str(request.AffectedSOPInstanceUID),
                syntax=str(event.context.transfer_syntax),
                sender=str(event.assoc.requestor.ae_title).strip(),
                data_set=request.DataSet.getbuffer(),
            )
        )

    return evt.EVT_C_STORE, on_store


def _send_at_once(event: Event) -> None:
    """Small messages go out at once: waiting for more to send costs 40 ms a request (TCP_NODELAY)."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


AT_ONCE = (evt.EVT_CONN_OPEN, _send_at_once)
"""For the event handlers of every association of ours."""


def contexts_of(sop_classes: Collection[str]) -> list[PresentationContext]:
    """One context a SOP class and transfer syntax, so that the sender need not convert: it picks that of the object."""
    return [build_context(sop_class, syntax) for sop_class in sorted(sop_classes) for syntax in SYNTAXES]


def hush() -> None:
    """Silence pynetdicom in this process: what it logs quotes identifiers."""
    logger = logging.getLogger("pynetdicom")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("pynetdicom."):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _config.LOG_HANDLER_LEVEL = "none"


def entity(title: str, timeout_s: float) -> AE:
    """An application entity of ours that says nothing and waits no longer than `timeout_s` for a peer."""
    hush()
    if not 1 <= len(title) <= 16 or not title.isascii() or "\\" in title or not title.strip():
        raise UsageError("an AE title has 1 to 16 ASCII characters, none a backslash")
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.connection_timeout = min(timeout_s, 30.0)
    return ae


@dataclass(frozen=True)
class Door:
    """Where a receiver listens and whom it lets in. Empty `callers` lets everybody in."""

    title: str
    host: str
    port: int
    callers: Sequence[str] = ()
    tls: ssl.SSLContext | None = None
    timeout_s: float = 60.0


class Receiver:
    """A listening receiver: C-STORE of every storage class in every syntax, C-ECHO. `port` is where it listens.

    Called by another title than its own, or by a caller who is not on the list, it refuses the association.
    """

    def __init__(self, door: Door, keep: Keep, on_refused: Callable[[], None] = lambda: None) -> None:
        self._ae = entity(door.title, door.timeout_s)
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(door.callers)
        self._ae.maximum_associations = 64
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(cast(UID, context.abstract_syntax), list(SYNTAXES))
        self._ae.add_supported_context(Verification)
        handlers = [AT_ONCE, handler(keep), (evt.EVT_REJECTED, lambda _: on_refused())]
        server = self._ae.start_server((door.host, door.port), block=False, ssl_context=door.tls, evt_handlers=handlers)
        self._server = cast(ThreadedAssociationServer, server)

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        return int(self._server.server_address[1])

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new association, let those that run end for `grace_s`, then abort them."""
        self._server.shutdown()
        until = time.monotonic() + grace_s
        while self._server.active_associations and time.monotonic() < until:
            time.sleep(_POLL_S)
        self._ae.shutdown()
