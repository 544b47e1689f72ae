"""A look into an archive: headers only, nothing written but a temporary folder that is gone afterwards.

Belongs here: the same listing, parsing and planning that the stages use, in one process. Does not belong here:
printing.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from typing import Any

from oncurate import allowlist, headers, leaks, sources
from oncurate.errors import Rejection
from oncurate.plan import plan_series
from oncurate.reasons import Reason
from oncurate.records import Instance
from oncurate.store import Store
from tasks.index import PixelDigests, header_row, inconsistent, patient_key, series_key
from tasks.reading import open_object


def inspect(source: str) -> dict[str, Any]:
    """Counts of what would be curated by modality, and of what would not by reason. No value of any header."""
    headers.quiet()
    files = size = 0
    reasons: Counter[Reason] = Counter()
    read: list[Instance] = []
    with tempfile.TemporaryDirectory(prefix="oncurate-inspect-") as folder:
        zone = Store(folder)
        for listed in sources.list_objects(source):
            for item in sources.take(listed, zone):
                files, size = files + 1, size + item.bytes
                if item.reason is not None:
                    reasons[item.reason] += 1
                    continue
                try:
                    with open_object(item.url) as stream:
                        instance = headers.read_instance(
                            stream,
                            object=item.sha256,
                            source_path=item.source_path,
                            url=item.url,
                            size=item.bytes,
                            keywords=allowlist.KEYWORDS,
                            harvest=leaks.harvest,
                        )
                except Rejection as refusal:
                    reasons[refusal.reason] += 1
                    continue
                read.append(instance)
        contradicting = {o.key for o in inconsistent([header_row(instance) for instance in read])}
        reasons[Reason.INCONSISTENT_IDENTITY] += len(contradicting)
        found: dict[str, list[Instance]] = defaultdict(list)
        for instance in read:
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
