"""De-identification on its own: any source -> an output folder of DICOM objects, and how every file ended.

Belongs here: listing, dividing, the processes, the counts, the audit file. Does not belong here: what is done to one
file (`tasks.standalone_files`), printing. No Prefect, no Dask, no server: a site may want nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from oncurate import burnedin, sources, store_local
from oncurate.archive_formats import HEAD_BYTES, format_of
from oncurate.deid import DeidPolicy
from oncurate.errors import Defect, StoreUnreachable, UsageError
from oncurate.reasons import Reason, State
from oncurate.sources import Listed
from oncurate.store import Store, normal_url
from tasks.reading import open_object
from tasks.standalone_files import AUDIT, Done, End, Job, clean_batch

BATCH_FILES = 64
BATCH_BYTES = 64 << 20
"""A batch ends at this many files or bytes: long enough to outweigh its way to a process, short enough to share."""

WAITING = 2
"""Batches for each process that are under way or wait: none of them has to wait for the next one."""

FEW_BATCHES = 4
"""A source with fewer batches is done before processes have started, which takes them two seconds."""

Progress = Callable[[int, int], None]
"""Called with the files and bytes that are done so far."""


@dataclass
class Report:
    """How every file of a run ended. files = written + present + duplicate + refused + defects."""

    files: int = 0
    written: int = 0
    present: int = 0  # the same object lay in the output before
    duplicate: int = 0  # gives the same object as another file of this run
    refused: list[End] = field(default_factory=list)
    defects: list[End] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0
    subjects: set[str] = field(default_factory=set)
    series: set[str] = field(default_factory=set)
    _met: set[int] = field(default_factory=set)  # hashes of the keys that the run has met

    def add(self, end: End) -> None:
        """Count one file."""
        self.files += 1
        self.bytes_read += end.bytes_read
        self.bytes_written += end.bytes_written
        if end.end == "refused":
            self.refused.append(end)
        elif end.end == "defect":
            self.defects.append(end)
        else:
            self._add_object(end.key, end.end == "written")

    def _add_object(self, key: str, is_new: bool) -> None:
        """Of files that give one object, one has written it or found it there; processes report in any order."""
        subject, study, series, _ = key.split("/")
        self.subjects.add(subject)
        self.series.add(f"{study}/{series}")
        name = hash(key)
        if is_new:
            if name in self._met:
                self.present, self.duplicate = self.present - 1, self.duplicate + 1
            self.written += 1
        elif name in self._met:
            self.duplicate += 1
        else:
            self.present += 1
        self._met.add(name)

    def reasons(self) -> dict[Reason, int]:
        """Refused files by reason."""
        counts = Counter(end.reason for end in self.refused if end.reason is not None)
        return {reason: counts[reason] for reason in sorted(counts)}

    @property
    def quarantined(self) -> int:
        """Refused files with which something is wrong; the other refused ones are no DICOM objects."""
        return sum(number for reason, number in self.reasons().items() if reason.state is State.QUARANTINED)


def policy_of(
    section: BaseModel | None, dates: str | None, text: burnedin.Policy | None
) -> tuple[DeidPolicy, burnedin.Policy]:
    """What a provider file's `deidentify` section says, if there is one, under what the command line says.

    Where the provider vouches that no image carries text ("trust"), the object's own word to the contrary is no reason
    to refuse it. Raises `UsageError` where the section asks for what needs whole volumes.
    """
    said = section.model_dump() if section is not None else {}
    if said.get("faces") == "deface":
        raise UsageError(
            "'deidentify.faces: deface' works on whole volumes, not on files one by one: use `oncurate curate` with "
            "'outputs: [dicom]'"
        )
    chosen = {name: value for name, value in said.items() if name in DeidPolicy.model_fields}
    if dates is not None:
        chosen["dates"] = dates
    text = text or said.get("burned_in_text") or "quarantine"
    if text == "trust":
        chosen["clean_pixel_data"] = False
    return DeidPolicy(**chosen), text


def deidentify(
    source: str,
    job: Job,
    *,
    workers: int | None = None,
    audit: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """De-identify every file of `source` into `job.out`, in `workers` processes (default: one a core).

    An object that is there already stays as it is: equal bytes are fine, others refuse the file (CONFLICTING_COPIES;
    of two new ones, the first to be finished stays). Raises `StoreUnreachable`, and `UsageError` where output and
    source lie in one another.
    """
    check_places(source, job.out, audit)
    Store(job.out).check_writable()
    report = Report()
    with ExitStack() as stack:
        stack.enter_context(_ends_in_order())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oncurate-deidentify-"))
        write_audit = stack.enter_context(_audit_file(audit)) if audit is not None else None
        batches = _batches(_units(source, Store(folder)))
        for batch, done in _run(job, batches, workers or len(os.sched_getaffinity(0))):
            if not {listed.source_path for listed in batch} <= {end.source_path for end in done.ends}:
                raise Defect("a file of the source has no outcome")
            for end in done.ends:
                report.add(end)
            if write_audit is not None and done.audit is not None:
                write_audit(done.audit)
            if progress is not None:
                progress(report.files, report.bytes_read)
    return report


def check_places(source: str, out: str, audit: Path | None) -> None:
    """Refuse an output in the source, which a next run would read, and a source in the output, which people read."""
    origin, places = _place(source), {"the output folder": _place(out)}
    if _inside(origin, places["the output folder"]):
        raise UsageError("the source lies inside the output folder: identified data must not be there")
    if audit is not None:
        places["the audit file"] = _place(str(audit))
    for what, place in places.items():
        if _inside(place, origin):
            raise UsageError(f"{what} must not lie inside the source: it would be read as input")


def _place(url: str) -> str:
    """The one spelling of a URL, links of local folders followed."""
    normal = normal_url(url)
    return store_local.path_of(normal).resolve().as_uri() if normal.startswith("file://") else normal


def _inside(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _units(source: str, unpacked: Store) -> Iterator[Listed]:
    """Every file of the source, and every member of its local archive files: many processes can share these."""
    for listed in sources.list_objects(source):
        if not _is_local_archive(listed):
            yield listed
            continue
        for row in sources.take(listed, unpacked):
            yield Listed(row.source_path, row.url, row.bytes, row.version, row.reason)


def _is_local_archive(listed: Listed) -> bool:
    if listed.reason is not None or not listed.url.startswith("file://"):
        return False
    with suppress(OSError), open_object(listed.url) as stream:
        return format_of(stream.read(HEAD_BYTES), listed.source_path) is not None
    return False


def _batches(units: Iterator[Listed]) -> Iterator[list[Listed]]:
    batch: list[Listed] = []
    size = 0
    for listed in units:
        batch.append(listed)
        size += listed.bytes
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _run(job: Job, batches: Iterator[list[Listed]], workers: int) -> Iterator[tuple[Sequence[Listed], Done]]:
    """Each batch with how it ended, as they end."""
    few = list(islice(batches, FEW_BATCHES))
    if workers == 1 or len(few) < FEW_BATCHES:
        for batch in chain(few, batches):
            yield batch, clean_batch(job, batch)
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield from _collected(pool, job, chain(few, batches), workers * WAITING)
    except BrokenProcessPool:
        raise Defect(
            "a process was killed, most likely because memory ran out: what is written stays; run again with fewer "
            "--workers"
        ) from None
    except BaseException:  # also where the caller stops asking: what is under way is not waited for
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _collected(
    pool: ProcessPoolExecutor, job: Job, batches: Iterator[list[Listed]], limit: int
) -> Iterator[tuple[Sequence[Listed], Done]]:
    running: dict[Future[Done], list[Listed]] = {}
    while True:
        while len(running) < limit and (batch := next(batches, None)) is not None:
            running[pool.submit(clean_batch, job, batch)] = batch
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that no unpacked member of an archive stays behind in a temporary folder."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the parent, which ends its processes in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _audit_file(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Writes the audit beside `path` and puts it in place when all is done."""
    partial = path.with_name(f"{store_local.PARTIAL}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, AUDIT, compression="zstd") as writer:
            yield writer.write_table
        os.replace(partial, path)
    except OSError as error:
        raise StoreUnreachable(f"the audit file {path} cannot be written ({type(error).__name__})") from None
    finally:
        partial.unlink(missing_ok=True)
