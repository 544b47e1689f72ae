"""One file at a time, de-identified and put in its place: the work of one process of `tasks.standalone`.

Belongs here: bytes in, an object in the output folder, and how each file ended. Does not belong here: rules of
de-identification (`oncurate.deid`), looking at pixels (`oncurate.masking`), dividing and counting
(`tasks.standalone`). Nothing here imports Prefect: a site that only wants this needs no server.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import pyarrow as pa
from pydicom import dcmread
from pydicom.dataset import Dataset

from oncurate import burnedin, elements, masking, pixeltext, sources
from oncurate.archive_formats import HEAD_BYTES, format_of
from oncurate.deid import AuditEntry, CleanFile, DeidPolicy, Engine, Pixels
from oncurate.deid.values import is_uid
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Defect, Rejection
from oncurate.garbage import settle
from oncurate.guard import guarded
from oncurate.headers import quiet
from oncurate.identity import Keys
from oncurate.part10 import inflate, looks_like_dicom
from oncurate.pixeledit import bytes_of
from oncurate.reasons import Reason
from oncurate.sources import Listed
from oncurate.store import Store
from tasks.reading import open_object

AUDIT = pa.schema(
    [
        pa.field("object", pa.string(), metadata={"description": "File in the output folder."}),
        pa.field("element", pa.string(), metadata={"description": "Tags and item numbers that lead to the element."}),
        pa.field("action", pa.string(), metadata={"description": "What was done: a code of PS3.15 Table E.1-1a."}),
        pa.field("rule", pa.string(), metadata={"description": "The table row, option or addition that asked for it."}),
    ],
    metadata={"table": "audit", "row": "An element that did not stay as it was. Holds no value of any header."},
)
"""The audit: which element of which object was changed, and why."""


@dataclass(frozen=True)
class Job:
    """What a process must know to clean a file."""

    out: str  # URL of the output folder
    secret: bytes = field(repr=False)
    policy: DeidPolicy
    text: burnedin.Policy
    is_audited: bool


class End(NamedTuple):
    """How one file ended. `key` is the object's place in the output, "" where there is none."""

    source_path: str
    end: Literal["written", "present", "refused", "defect"]
    reason: Reason | None = None
    detail: str = ""
    key: str = ""
    bytes_read: int = 0
    bytes_written: int = 0


class Done(NamedTuple):
    """A batch: how each file of it ended, members of archive files included, and the audit if it was asked for."""

    ends: list[End]
    audit: pa.Table | None


@partial(guarded, "de-identification")
def clean_batch(job: Job, batch: Sequence[Listed]) -> Done:
    """De-identify every file of `batch` into `job.out`. Raises `StoreUnreachable`; all else is how a file ended."""
    quiet()
    settle()
    worker = _worker(job)
    worker.audit.clear()
    ends = [end for listed in batch for end in worker.ends(listed)]
    return Done(ends, worker.audit_table())


@lru_cache(maxsize=1)
def _worker(job: Job) -> _Worker:
    return _Worker(job)


class _Worker:
    """Keys, policy and output of one process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.engine = Engine(Keys(job.secret), job.policy)
        self.out = Store(job.out)
        self.audit: list[tuple[str, AuditEntry]] = []

    def ends(self, listed: Listed) -> Iterator[End]:
        """How the file ended; for an archive file, first itself and then each of its members."""
        if listed.reason is not None:
            yield End(listed.source_path, "refused", listed.reason, bytes_read=listed.bytes)
            return
        try:
            data = self._read(listed)
        except FileNotFoundError:
            yield End(listed.source_path, "refused", Reason.UNREADABLE_FILE, "gone since it was listed")
        except OSError:
            yield End(listed.source_path, "refused", Reason.UNREADABLE_FILE)
        else:
            if data is None:
                yield from self._members(listed)
            else:
                yield self._end(listed.source_path, data)

    def audit_table(self) -> pa.Table | None:
        """The audit of the batch."""
        if not self.job.is_audited:
            return None
        columns = [
            [key for key, _ in self.audit],
            *([getattr(entry, name) for _, entry in self.audit] for name in ("path", "action", "rule")),
        ]
        return pa.table([pa.array(column, pa.string()) for column in columns], schema=AUDIT)

    def _read(self, listed: Listed) -> bytes | None:
        """The whole file; None for an archive file, which may be larger than memory."""
        with open_object(listed.url) as stream:
            if format_of(stream.read(HEAD_BYTES), listed.source_path) is not None:
                return None
            stream.seek(0)
            return stream.read()

    def _members(self, listed: Listed) -> Iterator[End]:
        with tempfile.TemporaryDirectory(prefix="oncurate-deidentify-") as folder:
            for row in sources.take(listed, Store(folder)):
                yield from self.ends(Listed(row.source_path, row.url, row.bytes, row.version, row.reason))

    def _end(self, path: str, data: bytes) -> End:
        try:
            return guarded("a file", self._place)(path, data)
        except Defect as defect:
            return End(path, "defect", detail=str(defect), bytes_read=len(data))

    def _place(self, path: str, data: bytes) -> End:
        try:
            cleaned = clean_file(data, self.engine, self.job.text)
            key = key_of(cleaned)
            is_new = self.out.put_if_absent(key, cleaned.data)
            if not is_new and self.out.read(key) != cleaned.data:
                raise Rejection(Reason.CONFLICTING_COPIES)
        except Rejection as refusal:
            return End(path, "refused", refusal.reason, refusal.detail, bytes_read=len(data))
        if self.job.is_audited:
            self.audit.extend((key, entry) for entry in cleaned.audit)
        return End(
            path,
            "written" if is_new else "present",
            key=key,
            bytes_read=len(data),
            bytes_written=len(cleaned.data) if is_new else 0,
        )


def clean_file(data: bytes, engine: Engine, text: burnedin.Policy) -> CleanFile:
    """The de-identified object in `data`, its pixels cleared of text as `text` says. Raises `Rejection`."""
    try:
        data, pixels = (data, "kept") if text == "trust" else _cleared(data, text)
        return engine.clean(data, pixels=pixels)
    except Rejection:
        _parsed(data)  # a file that only starts like DICOM is none
        raise


def key_of(cleaned: CleanFile) -> str:
    """An object's place in the output: folders of subject, study and series. All are names of the cohort."""
    names = {
        "StudyInstanceUID": cleaned.study_uid,
        "SeriesInstanceUID": cleaned.series_uid,
        "SOPInstanceUID": cleaned.sop_instance_uid,
    }
    for keyword, uid in names.items():
        if not is_uid(uid):
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
    return f"{'/'.join([cleaned.subject, *names.values()])}.dcm"


def _parsed(data: bytes) -> Dataset:
    """The data set of a file. Raises EMPTY_FILE, NOT_DICOM, BROKEN_HEADER and what `part10.inflate` does."""
    if not data:
        raise Rejection(Reason.EMPTY_FILE)
    if not looks_like_dicom(io.BytesIO(data)):
        raise Rejection(Reason.NOT_DICOM)
    try:
        ds = dcmread(io.BytesIO(inflate(data)), force=True)
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None
    if not any(elements.text(ds, k) for k in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")):
        raise Rejection(Reason.NOT_DICOM)
    return ds


def _cleared(data: bytes, policy: burnedin.Policy) -> tuple[bytes, Pixels]:
    """The file with pixels that may leave, and what was done to them."""
    ds, pixels = masking.clean_pixels(_parsed(data), policy, pixeltext.detector())
    return (bytes_of(ds) if pixels == "masked" else data), pixels
