"""Elements as text, items and bytes, whatever state pydicom has left them in.

Belongs here: decoding with the header's character set, parsing sequences that came as UN, making text elements. Does
not belong here: what may stay of the values (`oncurate.deid.values`). Nothing here raises on a value, or quotes one.
"""

from __future__ import annotations

import struct
from typing import Any

from pydicom import charset
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_sequence
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from oncurate.elements import PARSE_ERRORS

Element = DataElement | RawDataElement

PROSE = frozenset({"ST", "LT", "UT"})
"""VRs that hold one value, backslashes included."""

SPECIFIC_CHARACTER_SET = BaseTag(0x00080005)
_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITERS = {0x5C, 0x5E, 0x3D}
_ESCAPE = b"\x1b"


def element_of(ds: Dataset, tag: int) -> Element | None:
    """The element as it stands; None if there is none, or its bytes cannot be had."""
    try:
        return ds.get_item(tag)
    except PARSE_ERRORS:
        return None


def encodings_of(ds: Dataset, outer: list[str]) -> list[str]:
    """The Python names of the character sets of a data set; those around it where it names none."""
    try:
        element = ds.get_item(SPECIFIC_CHARACTER_SET)
        if element is None:
            return outer
        value = element.value
        names = value.decode("ascii", "ignore").split("\\") if isinstance(value, bytes) else value
        return charset.convert_encodings([str(n).strip(" \0") for n in _many(names)]) or outer
    except PARSE_ERRORS:
        return outer


def text_of(element: Element, encodings: list[str]) -> str | None:
    """The value as text, components separated by backslashes; None if it is no text."""
    value = element.value
    if isinstance(value, bytes):
        return decoded(value, encodings)
    if value is None:
        return ""
    if isinstance(value, Items | Dataset):
        return None
    return "\\".join("" if one is None else str(one) for one in _many(value))


def decoded(value: bytes, encodings: list[str]) -> str:
    """Bytes in the header's character set, or in Latin-1 where that fails."""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    try:
        return charset.decode_bytes(value, encodings, _DELIMITERS)
    except PARSE_ERRORS:
        return value.decode("latin-1")


def items_of(ds: Dataset, tag: BaseTag, encodings: list[str]) -> list[Dataset] | None:
    """The items of a sequence; None if it does not parse as one. UN is read as implicit little endian (PS3.5 6.2.2)."""
    try:
        raw = ds.get_item(tag)
        unknown = isinstance(raw, RawDataElement) and raw.VR in (None, "UN")
        value = ds[tag].value
        if isinstance(value, Items):
            return list(value)
        if unknown and isinstance(value, bytes):
            return parsed(value, encodings)
        return [] if not value else None
    except PARSE_ERRORS:
        return None


def parsed(value: bytes, encodings: list[str]) -> list[Dataset] | None:
    """Bytes of unknown VR as items; None if they are none."""
    if not value.startswith(_ITEM):
        return None
    for implicit in (True, False):
        try:
            stream = DicomBytesIO(value)
            items = list(read_sequence(stream, implicit, True, len(value), encodings))
            for item in items:
                for element in item:
                    str(element.VR)
            return items
        except PARSE_ERRORS:
            continue
    return None


def typed(tag: int, vr: str, value: str) -> Element:
    """A text element of one or several components; ASCII as the bytes that a reader would have found."""
    if value.isascii():
        raw = value.encode("ascii")
        raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
        return RawDataElement(BaseTag(tag), vr, len(raw), raw, 0, False, True)
    parts = value if vr in PROSE or "\\" not in value else value.split("\\")
    return DataElement(tag, vr, parts, validation_mode=IGNORE)


def integer(ds: Dataset, tag: int, default: int = 0) -> int:
    """The first value of an integer element; `default` where there is none or it is not one."""
    try:
        value = ds[tag].value if tag in ds else None
        first = value[0] if isinstance(value, MultiValue | list | tuple) else value
        return default if first is None else int(first)
    except (*PARSE_ERRORS, struct.error):
        return default


def first_text(ds: Dataset, tag: int) -> str:
    """The first component of a text element, without padding; "" where there is none."""
    element = element_of(ds, tag)
    if element is None:
        return ""
    found: str | None = text_of(element, ["latin-1"])
    return (found or "").partition("\\")[0].partition("\0")[0].strip()


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]
