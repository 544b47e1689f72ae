"""Measurements out of structured reports (TID 1500, Measurement Report): one record a number.

Belongs here: walking the content tree, and what a measurement group says of its numbers (PS3.16 TID 1410, 1411, 1419,
1501). Does not belong here: prose, tables of other templates, de-identification: tracking identifiers are free text of
the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.annotations import codes
from oncurate.annotations.model import Code
from oncurate.annotations.source import opened
from oncurate.errors import Rejection
from oncurate.reasons import Reason

Concept = frozenset[tuple[str, str]]

_GROUP: Concept = frozenset({("125007", "DCM")})  # Measurement Group
_TRACKING_ID: Concept = frozenset({("112039", "DCM")})
_TRACKING_UID: Concept = frozenset({("112040", "DCM")})
_FINDING: Concept = frozenset({("121071", "DCM")})
_FINDING_CATEGORY: Concept = frozenset({("276214006", "SCT")})
_SITE: Concept = frozenset({("363698007", "SCT"), ("G-C0E3", "SRT"), ("G-C0E3", "SNM3")})
_LATERALITY: Concept = frozenset({("272741003", "SCT"), ("G-C171", "SRT")})
_METHOD: Concept = frozenset({("370129005", "SCT"), ("G-C036", "SRT")})
_DERIVATION: Concept = frozenset({("121401", "DCM")})
_TIME_POINT: Concept = frozenset({("C2348792", "UMLS"), ("126070", "DCM")})
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_DEEPEST = 32
"""Levels of the content tree that are read: the templates need eight."""


@dataclass(frozen=True)
class Group:
    """What a measurement group says of all its numbers. `tracking_id` and `time_point` are free text of the source.

    `segments` are the SOP Instance UID and segment number of each segmentation measured, 0 where none is named;
    `images` the SOP Instance UIDs of all other objects that the group names.
    """

    number: int = 0  # of the group in the report, from 1; 0 outside of any
    tracking_id: str = ""
    tracking_uid: str = ""
    finding: Code | None = None
    finding_category: Code | None = None
    sites: tuple[Code, ...] = ()
    laterality: Code | None = None
    method: Code | None = None
    time_point: str = ""
    segments: tuple[tuple[str, int], ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """One number: its meaning `name`, `value`, `unit` (UCUM as a rule), and how it came about."""

    group: Group
    name: Code
    value: float
    unit: Code | None
    method: Code | None = None  # its own, else the group's
    derivation: Code | None = None  # mean, standard deviation, ...
    modifiers: tuple[tuple[Code, Code], ...] = field(default=())  # further coded properties: name and value


def measurements(data: bytes) -> tuple[Measurement, ...]:
    """All numeric measurements in the bytes of a structured report, in its order.

    Numbers outside a measurement group are none of TID 1500 and left out. A number without a value (Numeric Value
    Qualifier) is left out too. Raises NO_MEASUREMENTS where none is left.
    """
    ds = opened(data).ds
    found: list[Measurement] = []
    for number, item in enumerate(_groups(ds, 0), 1):
        found += _of_group(item, number)
    if not found:
        raise Rejection(Reason.NO_MEASUREMENTS)
    return tuple(found)


def _groups(item: Dataset, depth: int) -> Iterator[Dataset]:
    for child in _children(item) if depth < _DEEPEST else ():
        if _is(child, _GROUP) and elements.text(child, "ValueType") == "CONTAINER":
            yield child
        else:
            yield from _groups(child, depth + 1)


def _of_group(item: Dataset, number: int) -> Iterator[Measurement]:
    children = _children(item)
    group = Group(
        number=number,
        tracking_id=_text(children, _TRACKING_ID, "TextValue"),
        tracking_uid=_text(children, _TRACKING_UID, "UID"),
        finding=_code(children, _FINDING),
        finding_category=_code(children, _FINDING_CATEGORY),
        sites=tuple(code for child in children if _is(child, _SITE) and (code := _value(child))),
        laterality=_code([grand for child in children if _is(child, _SITE) for grand in _children(child)], _LATERALITY),
        method=_code(children, _METHOD),
        time_point=_text(children, _TIME_POINT, "TextValue"),
    )
    segments, images = _referenced(item)
    group = replace(group, segments=segments, images=images)
    for child in children:
        if elements.text(child, "ValueType") == "NUM":
            measured = _measured(child, group)
            if measured is not None:
                yield measured


def _measured(item: Dataset, group: Group) -> Measurement | None:
    name = codes.first_code(item, "ConceptNameCodeSequence")
    value = elements.first_item(item, "MeasuredValueSequence")
    number = _number(value) if value is not None else None
    if name is None or number is None:
        return None
    children = [child for child in _children(item) if elements.text(child, "ValueType") == "CODE"]
    known = _METHOD | _DERIVATION
    named = ((codes.first_code(child, "ConceptNameCodeSequence"), _value(child)) for child in children)
    return Measurement(
        group=group,
        name=name,
        value=number,
        unit=codes.first_code(value, "MeasurementUnitsCodeSequence"),
        method=_code(children, _METHOD) or group.method,
        derivation=_code(children, _DERIVATION),
        modifiers=tuple((n, v) for n, v in named if n and v and (n.value, n.scheme) not in known),
    )


def _number(value: Dataset) -> float | None:
    """The value, from its double form where there is one: text of 16 characters holds fewer digits."""
    found = elements.number(value, "FloatingPointValue")
    found = elements.number(value, "NumericValue") if found is None else found
    return found if found is not None and math.isfinite(found) else None


def _referenced(group: Dataset) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Segments and other objects that a group names, in order, without repetition."""
    segments: dict[tuple[str, int], None] = {}
    images: dict[str, None] = {}
    for item in _every(group, 0):
        for named in elements.items(item, "ReferencedSOPSequence"):
            uid = elements.text(named, "ReferencedSOPInstanceUID")
            numbers = elements.numbers(named, "ReferencedSegmentNumber")
            if numbers or elements.text(named, "ReferencedSOPClassUID") in _SEGMENTATIONS:
                segments.update({(uid, int(number)): None for number in numbers or [0]})
            elif uid:
                images[uid] = None
    return tuple(segments), tuple(images)


def _every(item: Dataset, depth: int) -> Iterator[Dataset]:
    yield item
    for child in _children(item) if depth < _DEEPEST else ():
        yield from _every(child, depth + 1)


def _children(item: Dataset) -> list[Dataset]:
    return elements.items(item, "ContentSequence")


def _is(item: Dataset, concept: Concept) -> bool:
    name = codes.first_code(item, "ConceptNameCodeSequence")
    return name is not None and (name.value, name.scheme) in concept


def _value(item: Dataset) -> Code | None:
    return codes.first_code(item, "ConceptCodeSequence")


def _code(items: list[Dataset], concept: Concept) -> Code | None:
    return next((code for item in items if _is(item, concept) and (code := _value(item))), None)


def _text(items: list[Dataset], concept: Concept, keyword: str) -> str:
    return next((text for item in items if _is(item, concept) and (text := elements.text(item, keyword))), "")
