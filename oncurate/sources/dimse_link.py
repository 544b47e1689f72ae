"""Associations with a PACS: C-ECHO, C-FIND, C-GET, and C-MOVE to a receiver of ours (DICOM PS3.4 C, PS3.7 9.1).

Belongs here: one request at a time, and which answers mean "later", "never" or "not that way". Does not belong here:
what is asked for (`oncurate.sources.dimse`), receiving (`oncurate.sources.storage`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from oncurate.certificates import complaint
from oncurate.elements import values
from oncurate.errors import StoreUnreachable
from oncurate.sources.dimse_asking import Outcome
from oncurate.sources.pace import Again
from oncurate.sources.pacs import Level
from oncurate.sources.questions import Row
from oncurate.sources.storage import AT_ONCE, Keep, contexts_of, entity, handler

CONTEXTS_AT_MOST = 128
"""Of one association: their identifiers are the odd numbers of a byte (DICOM PS3.8 9.3.2.2)."""

_PENDING = (0xFF00, 0xFF01)
_TOO_MANY = 0xA700
_SOME_FAILED = 0xB000
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_UNKNOWN_DESTINATION = 0xA801
_PROBE_S = 2.0
_REFUSED_FOR_GOOD = 1  # result of A-ASSOCIATE-RJ (PS3.8 9.3.4); 2 is transient
_WHO = {
    3: "does not know the calling title {calling}: have it added there, or set calling_aet",
    7: "is not called {called}",
}


class NotOffered(Exception):
    """The PACS does not offer the service."""


@dataclass(frozen=True)
class Peer:
    """Who is asked, and who asks."""

    called: str
    host: str
    port: int
    calling: str
    tls: ssl.SSLContext | None
    timeout_s: float

    @property
    def name(self) -> str:
        """For messages."""
        return f"dimse://{self.called}@{self.host}:{self.port}"

    def own_address(self) -> str:
        """The address of this machine that faces the PACS."""
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((self.host, self.port))  # UDP: chooses a route and sends nothing
            except OSError:
                raise Again("cannot be reached") from None
            return str(probe.getsockname()[0])


@dataclass(frozen=True)
class Wish:
    """Instances of one series."""

    study: str
    series: str
    instances: Sequence[str]

    def identifier(self) -> Dataset:
        """What C-GET and C-MOVE send: a list of UIDs at the level of images."""
        ds = Dataset()
        ds.QueryRetrieveLevel = "IMAGE"
        ds.StudyInstanceUID = self.study
        ds.SeriesInstanceUID = self.series
        ds.SOPInstanceUID = list(self.instances)
        return ds


class Link:
    """Requests to one PACS. Each raises `Again` for what may pass, `StoreUnreachable` for what will not."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._finding: Association | None = None

    def echo(self) -> None:
        """C-ECHO: is it there, does it know us."""
        with self._associated([build_context(Verification)], "no C-ECHO") as association:
            status = _status(association.send_c_echo())
        if status != 0:
            raise Again(f"answers C-ECHO with status 0x{status:04X}")

    def find(self, level: Level, match: Mapping[str, str], keywords: Sequence[str]) -> list[Row]:
        """C-FIND: the rows of a level, with `keywords`. The association stays open for the next question."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword in keywords:
            setattr(identifier, keyword, None)
        for keyword, value in match.items():
            setattr(identifier, keyword, value)
        if not all(value.isascii() for value in match.values()):
            identifier.SpecificCharacterSet = "ISO_IR 192"
        rows: list[Row] = []
        for status, found in self._finder().send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind):
            code = _status(status)
            if code == 0:
                return rows
            if code == _TOO_MANY:
                raise StoreUnreachable(f"{self.peer.name} has too many matches: select less, by select.study_date say")
            if code not in _PENDING:
                raise Again(f"answers C-FIND with status 0x{code:04X}")
            if found is None:
                raise Again("answers C-FIND with something that cannot be read")
            rows.append(_row(found, keywords))
        raise Again("breaks off its answers")

    def get(self, wish: Wish, sop_classes: Collection[str], keep: Keep) -> Outcome:
        """C-GET on one association: at most `CONTEXTS_AT_MOST` - 1 contexts, so few classes. `NotOffered`."""
        model = StudyRootQueryRetrieveInformationModelGet
        contexts = [build_context(model), *contexts_of(sop_classes)]
        roles = [build_role(sop_class, scp_role=True) for sop_class in sorted(sop_classes)]
        with self._associated(contexts, None, roles, [handler(keep)]) as association:
            if not any(cx.abstract_syntax == model for cx in association.accepted_contexts):
                raise NotOffered
            return self._drain(association.send_c_get(wish.identifier(), model), Outcome.UNEXPLAINED)

    def move(self, wish: Wish, destination: str) -> Outcome:
        """C-MOVE to a title that the PACS knows as ours; what comes goes to our receiver. `NotOffered`.

        Objects come by associations of their own: after success some may still be on their way.
        """
        model = StudyRootQueryRetrieveInformationModelMove
        with self._associated([build_context(model)], None) as association:
            return self._drain(association.send_c_move(wish.identifier(), destination, model), Outcome.LATER)

    def close(self) -> None:
        """End the association that is open for questions."""
        if self._finding is not None and self._finding.is_established:
            self._finding.release()
        self._finding = None

    def _drain(self, answers: Iterator[tuple[Dataset, Dataset | None]], after_success: Outcome) -> Outcome:
        """Read the answers to the last one. What failed is seen by what did not arrive."""
        code, identifier = -1, None
        for status, found in answers:
            code, identifier = _status(status), found
        if code == _UNKNOWN_DESTINATION:
            raise StoreUnreachable(f"{self.peer.name} does not know the C-MOVE destination: have it added there")
        return after_success if code == 0 else _outcome(code, identifier)

    def _finder(self) -> Association:
        if self._finding is None or not self._finding.is_established:
            contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
            try:
                self._finding = self._associate(contexts, (), ())
            except NotOffered:
                raise StoreUnreachable(f"{self.peer.name} offers no C-FIND") from None
        return self._finding

    @contextmanager
    def _associated(
        self,
        contexts: list[PresentationContext],
        lacking: str | None,
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[Association]:
        try:
            association = self._associate(contexts, roles, handlers)
        except NotOffered:
            if lacking is None:
                raise
            raise StoreUnreachable(f"{self.peer.name} offers {lacking}") from None
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _associate(
        self, contexts: list[PresentationContext], roles: Sequence[Any], handlers: Sequence[Any]
    ) -> Association:
        peer = self.peer
        ae: AE = entity(peer.calling, peer.timeout_s)
        tls = (peer.tls, peer.host) if peer.tls else None
        found = ae.associate(
            peer.host,
            peer.port,
            contexts=contexts,
            ae_title=peer.called,
            ext_neg=list(roles),
            tls_args=tls,
            evt_handlers=[AT_ONCE, *handlers],
        )
        if found.is_established:
            return found
        if found.is_rejected:
            answer = cast(Any, found.acceptor.primitive)
            why = _WHO.get(answer.diagnostic) if answer.result_source == 1 else None
            if answer.result == _REFUSED_FOR_GOOD and why:
                raise StoreUnreachable(f"{peer.name} {why.format(calling=peer.calling, called=peer.called)}")
            raise Again("refuses the association")
        if found.rejected_contexts:
            raise NotOffered
        if why := peer.tls and self._tls_complaint(peer.tls):
            raise StoreUnreachable(f"{peer.name} {why}")
        raise Again("does not answer")

    def _tls_complaint(self, tls: ssl.SSLContext) -> str | None:
        """What is wrong with whose certificate, which the association does not tell."""
        address = self.peer.host, self.peer.port
        try:
            with (
                socket.create_connection(address, _PROBE_S) as plain,
                tls.wrap_socket(plain, server_hostname=self.peer.host) as probe,
            ):
                probe.recv(1)  # in TLS 1.3 our certificate is looked at after the handshake
        except OSError as error:
            return complaint(error)
        return None


def _status(status: Dataset | None) -> int:
    """The status of an answer; -1 where the association broke."""
    code = status.get("Status") if status else None
    return code if isinstance(code, int) else -1


def _outcome(code: int, identifier: Dataset | None) -> Outcome:
    """What the last answer to a retrieve says where it is not success (DICOM PS3.4 C.4.2.1.5, C.4.3.1.4).

    A PACS that is out of resources (0xA702) and names objects has tried them. Counts do not tell that: some servers
    count what they never tried as failed.
    """
    if code < 0 or code in _PENDING:
        return Outcome.LATER
    if code == _SOME_FAILED:
        return Outcome.DONE
    if code in _OUT_OF_RESOURCES:
        has_names = identifier is not None and any(values(identifier, "FailedSOPInstanceUIDList"))
        return Outcome.DONE if has_names else Outcome.LATER
    return Outcome.UNEXPLAINED


def _row(found: Dataset, keywords: Sequence[str]) -> Row:
    return {keyword: "\\".join(str(value) for value in values(found, keyword)) for keyword in keywords}
