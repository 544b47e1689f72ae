"""A look into an archive: headers only, nothing written but a temporary folder that is gone afterwards.

Belongs here: the same listing, selecting, parsing and planning that the stages use, in one process. Of a source on a
server only the first bytes of each file are asked for. Does not belong here: printing.
"""

from __future__ import annotations

import io
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from oncurate import elements, headers
from oncurate.archive_formats import HEAD_BYTES as FORMAT_BYTES
from oncurate.archive_formats import format_of
from oncurate.errors import Rejection
from oncurate.plan import plan_series
from oncurate.provider import read
from oncurate.reasons import Reason
from oncurate.records import Companion, Instance, SourceObject
from oncurate.sources import Listed, Places, PullSettings, Selection, Source, dicomdir, source_of, taking
from oncurate.sources.interface import Describing
from oncurate.sources.pace import wait_for_window, while_open
from oncurate.sources.selection import HEAD_BYTES, Wanted, peek
from oncurate.store import Store
from tasks.index import PixelDigests, header_row, inconsistent, patient_key, read_header, series_key

ARCHIVE = "(archive files)"
"""Stands for the modality of what has to be unpacked first."""
UNKNOWN = "(not known)"
_PEEKS = 256


def inspect(of: str) -> dict[str, Any]:
    """Counts of what would be curated by modality, and of what would not by reason. No value of any header.

    `of` is a source, or a provider file whose source, selection and settings count. Of a source on a server: files and
    bytes by modality, as the first bytes of each file or the server's own answers say; the rest is None.
    """
    headers.quiet()
    url, settings, selection = of, PullSettings(), Selection()
    if of.endswith((".yaml", ".yml")) and Path(of).is_file():
        provider = read(of)
        url, settings, selection = provider.source, provider.pull, provider.select
    wait_for_window(settings)
    with closing(source_of(url, settings, selection)) as source:
        return look_into(source, settings, Wanted(selection))


def look_into(source: Source, settings: PullSettings, wanted: Wanted) -> dict[str, Any]:
    """What `inspect` says of a source that is open."""
    if source.url.startswith("file://"):
        return _planned(source, settings, wanted)
    return _peeked(source, settings, wanted)


def _peeked(source: Source, settings: PullSettings, wanted: Wanted) -> dict[str, Any]:
    """What would come from a server, by the first bytes of each file."""
    reasons: Counter[Reason] = Counter()
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    files = size = 0
    media: list[str] = []
    entries = while_open(source.entries(), settings)
    with ThreadPoolExecutor(source.connections) as pool:
        while batch := list(islice(entries, _PEEKS)):
            for listed, found in zip(batch, pool.map(lambda item: _modality(source, item, wanted), batch), strict=True):
                files, size = files + 1, size + (listed.bytes or 0)
                if listed.reason is None and dicomdir.is_directory(listed.source_path):
                    media += _on_medium(source, listed)
                if isinstance(found, Reason):
                    reasons[found] += 1
                else:
                    rows[found]["files"] += 1
                    rows[found]["bytes"] += listed.bytes or 0
    if media:  # the listing is read again, as it may be too long to be held
        beside = ((item.source_path, item.reason) for item in while_open(source.entries(), settings))
        reasons[Reason.MISSING_ON_MEDIUM] += len(dicomdir.missing(media, beside))
        files += reasons[Reason.MISSING_ON_MEDIUM]
    unknown = dict.fromkeys(("series", "volumes", "planar", "cines"))
    return {
        "files": files,
        "bytes": size,
        "patients": None,
        "modalities": [{"modality": m, **unknown, **rows[m]} for m in sorted(rows)],
        "reasons": {r.value: n for r, n in sorted(reasons.items()) if n},
    }


def _on_medium(source: Source, listed: Listed) -> list[str]:
    """What a DICOMDIR on a server lists; nothing where it cannot be read, which its own row says."""
    if (listed.bytes or 0) > dicomdir.MAX_BYTES:
        return []
    try:
        with closing(source.open(listed)) as stream:
            return dicomdir.listed_files(listed.source_path, taking.read_all(stream, dicomdir.MAX_BYTES))
    except (Rejection, OSError):
        return []


def _modality(source: Source, listed: Listed, wanted: Wanted) -> str | Reason:
    if listed.reason:
        return listed.reason
    if isinstance(source, Describing):
        return source.modality_of(listed) or UNKNOWN
    try:
        with closing(source.open(listed)) as stream:
            head = taking.read_all(stream, HEAD_BYTES)
    except Rejection as refused:
        return refused.reason
    except OSError:
        return Reason.UNREADABLE_FILE
    if format_of(head[:FORMAT_BYTES], listed.source_path) is not None:
        return ARCHIVE
    ds = peek(io.BytesIO(head))
    if ds is None:
        return Reason.NOT_DICOM if head else Reason.EMPTY_FILE
    return (elements.text(ds, "Modality") or UNKNOWN) if wanted.wants(head) else Reason.NOT_SELECTED


def _items(source: Source, settings: PullSettings, wanted: Wanted, zone: Store) -> Iterator[SourceObject]:
    """Every row of a local archive, and then those of what its media lack."""
    places = Places(zone, zone.child("partial"), settings.limits, wanted)
    found: list[SourceObject] = []
    for rows in taking.take_all(source.entries(), source, places):
        found += rows
        yield from rows
    yield from dicomdir.missing_objects(found)


def _planned(source: Source, settings: PullSettings, wanted: Wanted) -> dict[str, Any]:
    """What would become of a local archive, read as the stages would."""
    files = size = 0
    reasons: Counter[Reason] = Counter()
    found_headers: list[Instance] = []
    with tempfile.TemporaryDirectory(prefix="oncurate-inspect-") as folder:
        for item in _items(source, settings, wanted, Store(folder)):
            files, size = files + 1, size + item.bytes
            if item.reason is not None:
                reasons[item.reason] += 1
                continue
            try:
                header = read_header(item.source_path, item.url, item.bytes, item.sha256)
            except Rejection as refusal:
                reasons[refusal.reason] += 1
                continue
            if isinstance(header, Companion):
                reasons[Reason.NOT_AN_IMAGE] += 1
            else:
                found_headers.append(header)
        contradicting = {o.key for o in inconsistent([header_row(instance) for instance in found_headers])}
        reasons[Reason.INCONSISTENT_IDENTITY] += len(contradicting)
        found: dict[str, list[Instance]] = defaultdict(list)
        for instance in found_headers:
            if instance.source_path not in contradicting:
                found[series_key(instance)].append(instance)
        digests = PixelDigests()
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for instances in found.values():
            planned, outcomes = plan_series(sorted(instances, key=lambda i: i.source_path), digests)
            reasons.update(o.reason for o in outcomes if o.reason is not None)
            if planned is None or not planned.volumes:
                continue
            rows[planned.Modality]["series"] += 1
            rows[planned.Modality]["volumes"] += sum(v.kind == "volume" for v in planned.volumes)
            rows[planned.Modality]["planar"] += sum(v.kind == "planar" for v in planned.volumes)
            rows[planned.Modality]["cines"] += sum(v.kind == "cine" for v in planned.volumes)
            rows[planned.Modality]["files"] += len(instances) - len(outcomes)
    return {
        "files": files,
        "bytes": size,
        "patients": len({patient_key(i[0]) for i in found.values()}),
        "modalities": [
            {"modality": m, **{k: rows[m][k] for k in ("series", "volumes", "planar", "cines", "files")}}
            for m in sorted(rows)
        ],
        "reasons": {r.value: n for r, n in sorted(reasons.items()) if n},
    }
