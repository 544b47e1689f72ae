"""Single values out of a parsed header: fast, without side effects, and never raising.

Belongs here: reading one element, or one element inside a sequence, as plain Python values. Does not belong here:
what a value means. pydicom's own conversion costs tens of microseconds an element and warns with the value in the
message; a header needs a hundred of them, so plain text and number elements are decoded here from their raw bytes.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

Scalar = str | float | int

PARSE_ERRORS = (
    EOFError,
    struct.error,
    zlib.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    BytesLengthException,
    InvalidDicomError,
)
"""What pydicom raises on bytes that are not what they claim; it documents none of them."""

_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UC", "UI", "UR"})
_SINGLE_TEXT_VRS = frozenset({"LT", "ST", "UT"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_ESCAPE = b"\x1b"
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0x1F  # private blocks that are looked at; PS3.5 7.8.1 allows up to FF


@lru_cache(maxsize=2048)
def tag_of(keyword: str) -> BaseTag | None:
    """The tag of a DICOM keyword; None if there is none."""
    tag = tag_for_keyword(keyword)
    return None if tag is None else BaseTag(tag)


@lru_cache(maxsize=2048)
def _vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def values(ds: Dataset, keyword: str) -> list[Scalar]:
    """All values of an element as str, int or float; empty if it is absent, empty, a sequence or does not parse."""
    tag = tag_of(keyword)
    return [] if tag is None else values_at(ds, tag)


def values_at(ds: Dataset, tag: BaseTag) -> list[Scalar]:
    """Like `values`, by tag."""
    try:
        element = ds.get_item(tag)
        if element is None:
            return []
        if isinstance(element, RawDataElement):
            found = _from_raw(element)
            if found is not None:
                return found
        return _from_converted(ds[tag].value)
    except PARSE_ERRORS:
        return []


def _from_raw(element: RawDataElement) -> list[Scalar] | None:
    """Values from raw bytes; None where pydicom has to do it (other character sets, sequences, odd VRs)."""
    raw = element.value
    if not raw:
        return []
    vr = element.VR
    if vr is None or vr == "UN":
        vr = _vr_of(element.tag)
    if vr == "DS":
        return [float(part) for part in raw.strip(b" \0").split(b"\\")]
    if vr == "IS":
        return [_integer(part) for part in raw.strip(b" \0").split(b"\\")]
    if vr in _TEXT_VRS and raw.isascii() and _ESCAPE not in raw:
        return [part.strip() for part in raw.rstrip(b" \0").decode("ascii").split("\\")]
    if vr in _SINGLE_TEXT_VRS and raw.isascii() and _ESCAPE not in raw:
        return [raw.rstrip(b" \0").decode("ascii")]
    code = _BINARY.get(vr)
    if code is not None:
        count = len(raw) // struct.calcsize(code)
        return list(struct.unpack_from(f"{'<' if element.is_little_endian else '>'}{count}{code}", raw))
    return None


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if number != int(number):
            raise
        return int(number)


def _from_converted(value: Any) -> list[Scalar]:
    if value is None or isinstance(value, Items | Dataset | bytes):
        return []
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    out: list[Scalar] = []
    for item in many:
        if isinstance(item, float):
            out.append(float(item))
        elif isinstance(item, int):
            out.append(int(item))
        elif item is not None:
            out.append(str(item).strip())
    return [] if out == [""] else out


def text(ds: Dataset, keyword: str) -> str:
    """The first value as text; empty if there is none."""
    found = values(ds, keyword)
    return str(found[0]) if found else ""


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value as a number; None if there is none or it is not one."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """All values as numbers (possibly not finite); empty if one of them is not a number."""
    try:
        return [float(value) for value in values(ds, keyword)]
    except ValueError:
        return []


def integer(ds: Dataset, keyword: str) -> int | None:
    """The first value as an integer; None if there is none or it is not one."""
    value = number(ds, keyword)
    return int(value) if value is not None and value.is_integer() else None


def items(ds: Dataset | None, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty if it is absent or is none."""
    tag = tag_of(keyword)
    if ds is None or tag is None:
        return []
    try:
        value = ds[tag].value if tag in ds else None
    except PARSE_ERRORS:
        return []
    return list(value) if isinstance(value, Items) else []


def first_item(ds: Dataset | None, keyword: str) -> Dataset | None:
    """The first item of a sequence; None if there is none."""
    found = items(ds, keyword)
    return found[0] if found else None


class PrivateTag(NamedTuple):
    """A private element: its group, creator and number within the block, the VR that its vendor documents."""

    group: int
    creator: str
    element: int
    vr: str
    vendor: str  # how Manufacturer starts, in capitals: what vouches for an element whose creator was removed


def private(ds: Dataset, group: int, creator: str, element: int) -> list[Scalar]:
    """Values of a private element by its creator, so that a block at another place is found and a stranger's is not."""
    block = private_block(ds, group, creator)
    if block is None:
        return []
    tag = _in_block(group, block, element)
    return values_at(ds, tag) or _private_text(ds, tag)


def private_values(ds: Dataset, wanted: PrivateTag, *, orphan: bool = False) -> list[Scalar]:
    """Values of a private element that is decoded as `wanted.vr` where the file does not say what it is.

    `orphan`: take the first block if the group has no creator at all, as some anonymisers leave it.
    """
    block = private_block(ds, wanted.group, wanted.creator, orphan=orphan)
    if block is None:
        return []
    tag = _in_block(wanted.group, block, wanted.element)
    return _as_vr(ds, tag, wanted.vr) or values_at(ds, tag) or _private_text(ds, tag)


def private_bytes(ds: Dataset, wanted: PrivateTag, *, orphan: bool = False) -> bytes:
    """The raw bytes of a private element; empty if there are none."""
    block = private_block(ds, wanted.group, wanted.creator, orphan=orphan)
    return b"" if block is None else _bytes_at(ds, _in_block(wanted.group, block, wanted.element))


def private_items(ds: Dataset, wanted: PrivateTag, *, orphan: bool = False) -> list[Dataset]:
    """The items of a private sequence; empty if it is absent or is none."""
    block = private_block(ds, wanted.group, wanted.creator, orphan=orphan)
    if block is None:
        return []
    try:
        element = ds.get(_in_block(wanted.group, block, wanted.element))
        return list(element.value) if element is not None and isinstance(element.value, Items) else []
    except PARSE_ERRORS:
        return []


def private_block(ds: Dataset, group: int, creator: str, *, orphan: bool = False) -> int | None:
    """The block that `creator` reserved in `group`; None if none, or the first for an `orphan` without any creator."""
    reserved = False
    for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
        owner = values_at(ds, BaseTag(group << 16 | block))
        if owner and str(owner[0]).upper() == creator.upper():
            return block
        reserved = reserved or bool(owner)
    return _FIRST_BLOCK if orphan and not reserved else None


def _in_block(group: int, block: int, element: int) -> BaseTag:
    return BaseTag(group << 16 | block << 8 | element)


def _bytes_at(ds: Dataset, tag: BaseTag) -> bytes:
    try:
        element = ds.get_item(tag)
    except PARSE_ERRORS:
        return b""
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def _as_vr(ds: Dataset, tag: BaseTag, vr: str) -> list[Scalar]:
    """Values of an element of unknown VR, from its bytes; UN is little endian (PS3.5 6.2.2)."""
    try:
        element = ds.get_item(tag)
        if element is None or element.VR not in (None, "UN") or not isinstance(element.value, bytes):
            return []
        little = element.is_little_endian if isinstance(element, RawDataElement) and element.VR is None else True
        return _from_raw(RawDataElement(tag, vr, len(element.value), element.value, 0, False, little)) or []
    except PARSE_ERRORS:
        return []


def _private_text(ds: Dataset, tag: BaseTag) -> list[Scalar]:
    """Implicit VR says nothing about a private element: try its bytes as decimal text."""
    try:
        element = ds.get_item(tag)
        raw = element.value if element is not None else None
        if not isinstance(raw, bytes) or not raw.isascii():
            return []
        return [float(part) for part in raw.strip(b" \0").split(b"\\")]
    except PARSE_ERRORS:
        return []
