"""A PACS in this process that misbehaves on order: refuses, leaves out, fails, aborts.

Belongs here: C-ECHO, C-FIND, C-GET and C-MOVE over instances in memory, and faults. Does not belong here: assertions;
what a sound PACS does is tested against a real one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import StoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

TITLE = "MADE"
_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@dataclass
class Pacs:
    """Content and orders. `retrieves` counts C-GET and C-MOVE requests, `levels` are those of C-FIND requests."""

    objects: dict[str, Dataset] = field(default_factory=dict)
    callers: list[str] = field(default_factory=list)
    offers_get: bool = True
    leaves_out: list[set[str]] = field(default_factory=list)  # SOP Instance UIDs that one retrieve does not send, each
    never_sends: set[str] = field(default_factory=set)  # and says nothing of it
    fails: set[str] = field(default_factory=set)  # cannot be sent, and the last answer says so
    chokes_on: set[str] = field(default_factory=set)  # ends a retrieve of any of them as "unable to process"
    retrieve_statuses: list[int] = field(default_factory=list)  # answered to a C-GET or C-MOVE instead, one each
    find_statuses: list[int] = field(default_factory=list)  # answered to a C-FIND instead, one each
    cannot_list: set[str] = field(default_factory=set)  # series whose instances C-FIND fails to list
    lists_uids_only: bool = False  # of those, after all
    aborts: int = 0  # retrieves that end in an abort
    hides_classes: bool = False  # from C-FIND
    move_port: int = 0
    retrieves: list[str] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"dimse://{TITLE}@127.0.0.1:{self.port}"

    def put(self, *files: bytes) -> None:
        """Store DICOM files."""
        for data in files:
            ds = dcmread(io.BytesIO(data))
            self.objects[str(ds.SOPInstanceUID)] = ds


@contextmanager
def dimse_server(pacs: Pacs | None = None, tls: Any = None) -> Iterator[Pacs]:
    """A running server. What it offers is settled at its start, orders may change."""
    pacs = pacs or Pacs()
    ae = AE(TITLE)
    ae.require_called_aet = True
    ae.require_calling_aet = pacs.callers
    ae.add_supported_context(Verification)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    if pacs.offers_get:
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for context in StoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, scu_role=True, scp_role=True)
        ae.add_requested_context(context.abstract_syntax)
    handlers = [
        (evt.EVT_C_FIND, _find, [pacs]),
        (evt.EVT_C_GET, _get, [pacs]),
        (evt.EVT_C_MOVE, _move, [pacs]),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        ae.shutdown()


def _find(event: Any, pacs: Pacs) -> Iterator[tuple[int, Dataset | None]]:
    asked = event.identifier
    pacs.levels.append(asked.QueryRetrieveLevel)
    if pacs.find_statuses and (status := pacs.find_statuses.pop(0)):
        yield status, None
        return
    cannot = asked.QueryRetrieveLevel == "IMAGE" and asked.SeriesInstanceUID in pacs.cannot_list
    if cannot and ("SOPClassUID" in asked or not pacs.lists_uids_only):
        yield 0xC001, None
        return
    rows: dict[str, Dataset] = {}
    for ds in pacs.objects.values():
        if all(not asked.get(key) or asked.get(key) == ds.get(key) for key in _KEYS.values()):
            rows.setdefault(str(ds.get(_KEYS[asked.QueryRetrieveLevel])), ds)
    for uid in sorted(rows, reverse=True):
        row = Dataset()
        for element in asked:
            if element.keyword in rows[uid] and not (pacs.hides_classes and element.keyword == "SOPClassUID"):
                row[element.tag] = rows[uid][element.tag]
        siblings = [o for o in pacs.objects.values() if o.SeriesInstanceUID == rows[uid].SeriesInstanceUID]
        row.NumberOfSeriesRelatedInstances = len(siblings)
        yield 0xFF00, row


def _sent(event: Any, pacs: Pacs) -> Iterator[tuple[int, Dataset | None]]:
    found = event.identifier.SOPInstanceUID
    wanted = {str(uid) for uid in ([found] if isinstance(found, str) else found)}
    held_back = pacs.never_sends | (pacs.leaves_out.pop(0) if pacs.leaves_out else set())
    if pacs.aborts:
        pacs.aborts -= 1
        event.assoc.abort()
        return
    found_here = sorted(wanted & pacs.objects.keys())
    chosen = [pacs.objects[uid] for uid in found_here if uid not in held_back | pacs.fails]
    failed = [uid for uid in found_here if uid in pacs.fails]
    yield len(chosen) + len(failed)  # type: ignore[misc]
    if pacs.retrieve_statuses or pacs.chokes_on & set(found_here):
        yield pacs.retrieve_statuses.pop(0) if pacs.retrieve_statuses else 0xC000, None
        return
    for ds in chosen:
        yield 0xFF00, ds
    if failed:
        told = Dataset()
        told.FailedSOPInstanceUIDList = failed
        yield (0xB000 if chosen else 0xA702), told


def _get(event: Any, pacs: Pacs) -> Iterator[Any]:
    pacs.retrieves.append("C-GET")
    yield from _sent(event, pacs)


def _move(event: Any, pacs: Pacs) -> Iterator[Any]:
    pacs.retrieves.append("C-MOVE")
    if str(event.move_destination).strip() != "ONCURATE":
        yield None, None
        return
    yield "127.0.0.1", pacs.move_port
    yield from _sent(event, pacs)
