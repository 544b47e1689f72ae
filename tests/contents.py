"""What an object says, whatever way it came: a digest that transfer and storage do not change.

Belongs here: that digest. Does not belong here: assertions.

A PACS keeps the elements of a data set and rewrites what is around them: it replaces the file meta information, drops
group lengths (PS3.5 7.2) and trailing padding, writes sequences with or without lengths (PS3.5 7.5), and pads values
its own way. None of that counts here. A change of transfer syntax does, as it changes the values themselves.
"""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import STR_VR

from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.reasons import Reason

_TRAILING_PADDING = 0xFFFCFFFC
_PADS = b"\0 "


def content_digest(stream: BinaryIO) -> str:
    """SHA-256 of all elements of a data set, pixels included, as 64 hexadecimal digits; reads the whole stream.

    Raises `Rejection` (BROKEN_HEADER) where the data set cannot be read. One that is cut has another digest.
    """
    running = hashlib.sha256()
    try:
        _add(running, dcmread(stream, force=True))
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None
    return running.hexdigest()


def _add(running: Any, ds: Dataset) -> None:
    elements = [(tag, ds.get_item(tag)) for tag in sorted(ds.keys())]  # raw: to ask for one converts others
    for tag, element in elements:
        if tag.element == 0 or tag == _TRAILING_PADDING or element is None:
            continue
        running.update(b"%08x" % tag)
        if _vr(element) != "SQ":
            value = _value(element)
            running.update(b"=%d:" % len(value))
            running.update(value)
            continue
        for item in ds[tag].value or ():
            running.update(b"(")
            _add(running, item)
            running.update(b")")
        running.update(b";")


def _vr(element: RawDataElement | DataElement) -> str:
    """The VR, from the dictionary where the file has none."""
    return element.VR or (dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else "UN")


def _value(element: RawDataElement | DataElement) -> bytes:
    """The bytes of a value without padding: all of it in texts, in others the one that makes their number even."""
    raw = element.value
    if isinstance(raw, int):  # Pixel Representation, which pydicom converts while it reads
        raw = raw.to_bytes(2, "little", signed=raw < 0)
    if not isinstance(raw, bytes):
        raw = b"" if raw is None else str(raw).encode("utf-8", "surrogatepass")
    if _vr(element) in STR_VR:
        return raw.rstrip(_PADS)
    return raw[:-1] if raw and len(raw) % 2 == 0 and raw[-1] == 0 else raw
