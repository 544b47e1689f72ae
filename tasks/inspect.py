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
from oncurate.records import Companion, Instance
from oncurate.sources import Listed, Places, PullSettings, Selection, Source, source_of, taking
from oncurate.sources.interface import Describing
from oncurate.sources.pace import wait_for_window
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
        if source.url.startswith("file://"):
            return _planned(source, settings, Wanted(selection))
        return _peeked(source, Wanted(selection))


def _peeked(source: Source, wanted: Wanted) -> dict[str, Any]:
    """What would come from a server, by the first bytes of each file."""
    reasons: Counter[Reason] = Counter()
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    files = size = 0
    entries = source.entries()
    with ThreadPoolExecutor(source.connections) as pool:
        while batch := list(islice(entries, _PEEKS)):
            for listed, found in zip(batch, pool.map(lambda item: _modality(source, item, wanted), batch), strict=True):
                files, size = files + 1, size + (listed.bytes or 0)
                if isinstance(found, Reason):
                    reasons[found] += 1
                else:
                    rows[found]["files"] += 1
                    rows[found]["bytes"] += listed.bytes or 0
    unknown = dict.fromkeys(("series", "volumes", "planar", "cines"))
    return {
        "files": files,
        "bytes": size,
        "patients": None,
        "modalities": [{"modality": m, **unknown, **rows[m]} for m in sorted(rows)],
        "reasons": {r.value: n for r, n in sorted(reasons.items())},
    }


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


def _items(source: Source, settings: PullSettings, wanted: Wanted, zone: Store) -> Iterator[Any]:
    places = Places(zone, zone.child("partial"), settings.limits, wanted)
    for rows in taking.take_all(source.entries(), source, places):
        yield from rows


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
