"""One file in, the same file of nobody out: what a worker calls.

Belongs here: the choice between the quick way and the whole one, the proof of what was written, the new names. Does not
belong here: the steps themselves.
"""

from __future__ import annotations

import io
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset

from oncurate import elements, headers, identity, leaks, part10
from oncurate.deid import reading, scan, written
from oncurate.deid.engine import AuditEntry
from oncurate.deid.known import Known
from oncurate.deid.objects import clean_object
from oncurate.deid.policy import DeidPolicy, Pixels
from oncurate.deid.repeated import SOP_CLASS, SOP_INSTANCE, Joined, Repeated, gathered, value_of
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason

STUDY, SERIES = 0x0020000D, 0x0020000E
_WHO = (0x00080005, 0x00100020, 0x00100021, STUDY)
"""Character set, patient's id and its issuer, study: what tells whose file it is."""
_MOST_SUBJECTS = 256


class CleanFile(NamedTuple):
    """A de-identified file; all names in it are keyed ones. `identifiers_searched` were looked for in `data`."""

    data: bytes
    audit: tuple[AuditEntry, ...]
    subject: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class: str
    identifiers_searched: int


class Engine:
    """De-identifies file after file under one policy and one secret, and remembers elements that repeat."""

    def __init__(self, keys: Keys, policy: DeidPolicy) -> None:
        headers.quiet()
        self._keys, self._policy = keys, policy
        self._quick = Repeated(keys, policy)
        self._subjects: dict[tuple[Known | None, ...], str] = {}

    def clean(self, data: bytes, *, subject: str | None = None, pixels: Pixels = "kept") -> CleanFile:
        """The file de-identified, read as bytes and proven to hold none of the source's identifiers.

        `subject` is the subject's keyed name; None: made from the header, as `identity.subject_of` does. `pixels` says
        what the caller did with the pixels of `data`. Raises `Rejection`: NOT_DICOM, EMPTY_FILE, MISSING_IDENTITY,
        IDENTIFIER_SURVIVED, what `clean_object` raises, and what undoing a deflated syntax does.
        """
        return self._quickly(data, subject, pixels) or self._wholly(data, subject, pixels)

    def _quickly(self, data: bytes, subject: str | None, pixels: Pixels) -> CleanFile | None:
        """By the elements' bytes; None where that is not possible."""
        file = scan.split(data)
        if file is None:
            return None
        try:
            found = self._quick.elements(file)
            if found is None or not {STUDY, SERIES} <= found.keys():
                return None
            subject = subject or self._subject(found)
            joined = self._quick.clean(file, found, subject, pixels)
        except PARSE_ERRORS:
            return None
        return None if joined is None else _named(joined, subject)

    def _subject(self, found: dict[int, Known]) -> str:
        key = tuple(found.get(tag) for tag in _WHO)
        subject = self._subjects.get(key)
        if subject is None:
            if len(self._subjects) >= _MOST_SUBJECTS:
                self._subjects.clear()
            subject = self._subjects[key] = self._subject_in(gathered(found, _WHO))
        return subject

    def _subject_in(self, ds: Dataset) -> str:
        who = [elements.text(ds, keyword) for keyword in ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")]
        if not who[2]:
            raise Rejection(Reason.MISSING_IDENTITY, "StudyInstanceUID")
        return identity.subject_of(self._keys, *who)[0]

    def _wholly(self, data: bytes, subject: str | None, pixels: Pixels) -> CleanFile:
        """As a parsed data set."""
        ds = _parsed(data)
        subject = subject or self._subject_in(ds)
        identifiers = {v for v in written.source_identifiers(ds, self._policy) if not written.is_public(v)}
        out, audit = clean_object(ds, self._keys, self._policy, subject, pixels=pixels)
        names = [reading.first_text(out, tag) for tag in (STUDY, SERIES, SOP_INSTANCE, SOP_CLASS)]
        if not all(names):
            raise Rejection(Reason.MISSING_IDENTITY, "StudyInstanceUID, SeriesInstanceUID")
        raw = written.write(out)
        if written.verify(raw, identifiers):
            raise Rejection(Reason.IDENTIFIER_SURVIVED)
        return CleanFile(raw, audit, subject, *names, leaks.searchable(identifiers))


def _named(joined: Joined, subject: str) -> CleanFile | None:
    names = [value_of(joined.elements.get(tag, b"")) for tag in (STUDY, SERIES, SOP_INSTANCE, SOP_CLASS)]
    return CleanFile(joined.data, joined.audit, subject, *names, joined.sought) if all(names) else None


def _parsed(data: bytes) -> Dataset:
    """The data set of a file. Raises NOT_DICOM, EMPTY_FILE, BROKEN_HEADER and what `part10.inflate` does."""
    if not data:
        raise Rejection(Reason.EMPTY_FILE)
    if not part10.looks_like_dicom(io.BytesIO(data)):
        raise Rejection(Reason.NOT_DICOM)
    try:
        return dcmread(io.BytesIO(part10.inflate(data)), force=True)
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None
