"""De-identified objects as bytes: writing them, and searching what was written.

Belongs here: the Part 10 envelope, and the independent look for identifiers in the bytes. Does not belong here:
de-identifying. What was written is searched as bytes, so that nothing hides in what a parser does not show.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16

from oncurate import __version__, allowlist, leaks
from oncurate.deid import codes, haystack, own, pixels, reading, text, values
from oncurate.deid.marks import METHOD
from oncurate.deid.policy import DATE_MARKS, OPTION_CODES, PROFILE, DeidPolicy
from oncurate.deid.rules import rules_of

IMPLEMENTATION_UID = "2.25.252538534843443007662895190849404150148"
"""Implementation Class UID (0002,0012) of the engine: a random one (PS3.5 B.2)."""

IMPLEMENTATION_VERSION = f"ONCURATE_{__version__}"[:16]
"""Implementation Version Name (0002,0013)."""

_SHORT_BYTES = 1 << 16
_NOT_TEXT = re.compile(rb"[^\x20-\x7e\x80-\xff]+")


def write(ds: Dataset) -> bytes:
    """A Part 10 file of a data set made by `clean_object`: preamble zero, file meta anew, in the syntax it names."""
    syntax = ds.file_meta.TransferSyntaxUID
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax == pixels.IMPLICIT, syntax != pixels.BIG_ENDIAN
    stream.write(meta(reading.first_text(ds, 0x00080016), reading.first_text(ds, 0x00080018), syntax))
    write_dataset(stream, ds)
    return stream.getvalue()


def meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """All that comes before the data set: preamble, prefix and file meta information (PS3.10 7.1)."""
    named = ((0x02, sop_class), (0x03, sop_instance), (0x10, syntax), (0x12, IMPLEMENTATION_UID))
    elements = [b"\2\0\1\0OB\0\0\2\0\0\0\0\1"]
    for number, uid in named:
        raw = uid.encode("ascii") + b"\0" * (len(uid) % 2)
        elements.append(struct.pack("<HH2sH", 2, number, b"UI", len(raw)) + raw)
    version = IMPLEMENTATION_VERSION.encode("ascii") + b" " * (len(IMPLEMENTATION_VERSION) % 2)
    elements.append(struct.pack("<HH2sH", 2, 0x13, b"SH", len(version)) + version)
    body = b"".join(elements)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def encoded(out: Mapping[BaseTag, reading.Element], implicit: bool) -> dict[int, bytes]:
    """The elements of a little endian root data set as `write` puts them, by tag; text beyond ASCII in UTF-8."""
    return {int(tag): _element_bytes(element, implicit) for tag, element in out.items()}


def _element_bytes(element: reading.Element, implicit: bool) -> bytes:
    tag, vr, value = element.tag, str(element.VR), element.value
    if isinstance(element, RawDataElement) and len(value) < _SHORT_BYTES and (implicit or vr in EXPLICIT_VR_LENGTH_16):
        if implicit:
            return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, True
    write_data_element(stream, element, "ISO_IR 192")
    return stream.getvalue()


def source_identifiers(ds: Dataset, policy: DeidPolicy) -> frozenset[str]:
    """What of a source must not be in what was written: who is named, and all other identifying text and UIDs.

    Values that consist of words of the vocabulary identify nobody, and what the policy keeps is not looked for.
    """
    return own.harvest(ds, rules_of(policy)) | other_identifiers(ds, policy)


def other_identifiers(ds: Dataset, policy: DeidPolicy) -> frozenset[str]:
    """Those of `source_identifiers` that the tables of PS3.15 do not say to name somebody."""
    if policy.retain_uids or policy.retain_device_identity:
        return frozenset()
    if policy.retain_institution_identity or policy.dates == "full":
        return frozenset()
    return frozenset([value for value in leaks.harvest(ds) if not is_public(value)])


def verify(written: bytes, source_identifiers: Iterable[str]) -> int:
    """How many of the identifiers are in the written object, in ASCII or any encoding of `haystack.CODECS`.

    In the header, as whole tokens or inside long ones (`oncurate.leaks.search`, which leaves out what carries no
    information); among the pixels, and in encodings beyond ASCII, as a sequence of bytes without regard to case where
    it is long enough not to be there by chance.
    """
    wanted = {value for value in source_identifiers if not is_public(value)}
    start = _header_bytes(written)
    head, behind = written[:start], written[start:]
    found = haystack.needles(wanted).found(behind)
    found |= {value for value in wanted - found if any(raw in head for raw in beyond_ascii(value))}
    return len(found) + leaks.search(shown(head), wanted - found)


def shown(head: bytes) -> bytes:
    """The text in a piece of header: what is not printable as line ends, then the same as UTF-16 would show it."""
    return _NOT_TEXT.sub(b"\n", head + b"\n" + head.replace(b"\0", b""))


def beyond_ascii(value: str) -> set[bytes]:
    """The encodings of an identifier that is not ASCII; none of one that is."""
    return set() if value.isascii() else haystack.encodings_of(value)


@lru_cache(maxsize=1 << 14)
def is_public(value: str) -> bool:
    """Whether it says nothing of anybody: words of the vocabulary, terms, codes, UIDs and names of vendors."""
    if values.is_uid(value):
        own = value == IMPLEMENTATION_UID  # in files that we received and wrote down
        return own or values.is_public_uid(value) or text.harmless(value)
    return (
        text.harmless(value)
        or codes.is_public(value)
        or values.is_public_uid(value)
        or values.creator(value) is not None
        or values.term(value)[0] != ""
        or values.attribute(value, text.NOBODY) == value
        or any(_is_spelling(value, allowlist.term(vocabulary, value)) for vocabulary in ("manufacturer", "model"))
        or all(word in _own_words() for word in value.casefold().split())
    )


def _is_spelling(value: str, term: str | None) -> bool:
    return term is not None and allowlist.fold(term) == allowlist.fold(value)


@cache
def _own_words() -> frozenset[str]:
    """Words that an object may hold because the marks, the dummies and the names of codes do."""
    said = [
        METHOD,
        IMPLEMENTATION_VERSION.partition("_")[0],  # our own title is that of files that we received
        PROFILE[1],
        *(meaning for _, meaning in OPTION_CODES.values()),
        *DATE_MARKS.values(),
        *values.DUMMIES.values(),
        codes.UNNAMED,
    ]
    return frozenset(word for phrase in said for word in phrase.casefold().replace(",", " ").split())


def _header_bytes(written: bytes) -> int:
    """Where the pixels begin, or the end where there are none."""
    stream = io.BytesIO(written)
    dcmread(stream, stop_before_pixels=True)
    return stream.tell()
