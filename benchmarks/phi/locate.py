"""Elements by the paths of the answer key.

Belongs here: following a path (see `answers`) through a data set, and values as text. Does not belong here: judging.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate.elements import PARSE_ERRORS

_STEP = re.compile(r"(?:([0-9A-F]{8})|([0-9A-F]{4})xx([0-9A-F]{2})\{(.*)\})(?:\[(.+)\])?")


def find(ds: Dataset, path: str) -> DataElement | None:
    """The element at `path`; None if there is none, or it cannot be read."""
    steps = path.split(" > ")
    if steps[0] == "meta":
        ds, steps = ds.file_meta, steps[1:]
    try:
        for number, step in enumerate(steps):
            tag, item = _tag(ds, step)
            if tag is None or tag not in ds:
                return None
            if number == len(steps) - 1:
                return ds[tag]
            inner = _item(ds[tag].value, item)
            if inner is None:
                return None
            ds = inner
    except PARSE_ERRORS:
        return None
    return None


def _tag(ds: Dataset, step: str) -> tuple[int | None, str]:
    found = _STEP.fullmatch(step)
    if found is None:
        raise ValueError(f"no step of a path: {step}")
    plain, group, number, creator, item = found.groups()
    if plain:
        return int(plain, 16), item or ""
    try:
        return int(ds.private_block(int(group, 16), creator).get_tag(int(number, 16))), item or ""
    except KeyError:
        return None, ""


def _item(value: Any, item: str) -> Dataset | None:
    if not isinstance(value, Items):
        return None
    if item.isdigit():
        return value[int(item)] if int(item) < len(value) else None
    for each in value:
        names = each.get("ConceptNameCodeSequence")
        if names and f"{names[0].get('CodingSchemeDesignator', '')}:{names[0].get('CodeValue', '')}" == item:
            return each
    return None
