"""Rows of the `measurements` table: what a structured report (TID 1500) measured.

Belongs here: the columns of a measurement. Does not belong here: reading reports (`oncurate.annotations.sr`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncurate.annotations.model import Code
from oncurate.annotations.sr import Measurement


def rows(head: Mapping[str, Any], found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """A row for each measurement, in the order of the report."""
    return [_row(head, number, one) for number, one in enumerate(found, 1)]


def _row(head: Mapping[str, Any], number: int, one: Measurement) -> dict[str, Any]:
    group = one.group
    return {
        **{name: head[name] for name in ("annotation_id", "volume_id", "subject_id", "study_id")},
        "measurement": number,
        "group": group.number,
        "tracking_id": group.tracking_id or None,
        "tracking_uid": group.tracking_uid or None,
        **_coded("name", one.name),
        "value": one.value,
        "unit": one.unit.value if one.unit else None,
        **_coded("finding", group.finding),
        **_coded("site", group.sites[0] if group.sites else None),
        "laterality": group.laterality.meaning if group.laterality else None,
        **_coded("method", one.method),
        **_coded("derivation", one.derivation),
        "segment_uids": [uid for uid, _ in group.segments],
        "segment_numbers": [segment for _, segment in group.segments],
        "image_uids": list(group.images),
    }


def _coded(name: str, code: Code | None) -> dict[str, str | None]:
    return {f"{name}_code": f"{code.scheme}:{code.value}" if code else None, name: code.meaning if code else None}
