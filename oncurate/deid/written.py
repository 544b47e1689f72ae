"""De-identified objects as bytes: writing them, and searching what was written.

Belongs here: the Part 10 envelope, and the independent look for identifiers in the bytes. Does not belong here:
de-identifying. What was written is searched as bytes, so that nothing hides in what a parser does not show.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from functools import cache

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

from oncurate import __version__, allowlist, leaks
from oncurate.deid import codes, own, text, values
from oncurate.deid.marks import METHOD
from oncurate.deid.policy import DATE_MARKS, OPTION_CODES, PROFILE, DeidPolicy
from oncurate.deid.rules import rules_of

IMPLEMENTATION_UID = "2.25.252538534843443007662895190849404150148"
"""Implementation Class UID (0002,0012) of the engine: a random one (PS3.5 B.2)."""

IMPLEMENTATION_VERSION = f"ONCURATE_{__version__}"[:16]
"""Implementation Version Name (0002,0013)."""

LEAST_BYTES = 6
"""Characters of an identifier that is looked for among pixels: shorter ones occur there by chance."""

LEAST_DIGITS = 10
"""Digits of a number that is looked for among pixels and in UIDs; shorter ones count as whole tokens of the header."""

CODECS = (
    *("utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "shift_jis"),
    *("iso2022_jp", "euc_kr", "gb18030"),
)
"""Encodings that text in an object may have, by their Python names."""

_NOT_TEXT = re.compile(rb"[^\x20-\x7e\x80-\xff]+")


def write(ds: Dataset) -> bytes:
    """A Part 10 file of a data set made by `clean_object`: preamble zero, file meta anew, in the syntax it names."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    ds.file_meta, ds.preamble = meta, b"\0" * 128
    stream = io.BytesIO()
    if meta.TransferSyntaxUID.is_transfer_syntax:
        dcmwrite(stream, ds, enforce_file_format=True)
    else:  # newer than the installed dictionary; all that are known to the engine are explicit little endian
        meta.FileMetaInformationGroupLength, meta.FileMetaInformationVersion = 0, b"\0\1"
        dcmwrite(stream, ds, implicit_vr=False, little_endian=True, force_encoding=True)
    return stream.getvalue()


def source_identifiers(ds: Dataset, policy: DeidPolicy) -> frozenset[str]:
    """What of a source must not be in what was written: who is named, and all other identifying text and UIDs.

    Values that consist of words of the vocabulary identify nobody, and what the policy keeps is not looked for.
    """
    named = own.harvest(ds, rules_of(policy))
    if policy.retain_uids or policy.retain_device_identity:
        return named
    if policy.retain_institution_identity or policy.dates == "full":
        return named
    return named | {value for value in leaks.harvest(ds) if not _is_public(value)}


def verify(written: bytes, source_identifiers: Iterable[str]) -> int:
    """How many of the identifiers are in the written object, in ASCII or any encoding of `CODECS`.

    In the header, as whole tokens or inside long ones (`oncurate.leaks.search`, which leaves out what carries no
    information); among the pixels, and in encodings beyond ASCII, as a sequence of bytes without regard to case where
    it is long enough not to be there by chance.
    """
    wanted = {value for value in source_identifiers if not _is_public(value)}
    head = written[: _header_bytes(written)]
    behind = written[len(head) :].lower()
    found = {value for value in wanted if _in_bytes(value, behind, written)}
    shown = _NOT_TEXT.sub(b"\n", head + b"\n" + head.replace(b"\0", b""))  # the second as UTF-16 would show it
    return len(found) + leaks.search(shown, wanted - found)


def _is_public(value: str) -> bool:
    """Whether it says nothing of anybody: words of the vocabulary, terms, codes, UIDs and names of vendors."""
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
        PROFILE[1],
        *(meaning for _, meaning in OPTION_CODES.values()),
        *DATE_MARKS.values(),
        *values.DUMMIES.values(),
        codes.UNNAMED,
    ]
    return frozenset(word for phrase in said for word in phrase.casefold().split())


def _header_bytes(written: bytes) -> int:
    """Where the pixels begin, or the end where there are none."""
    stream = io.BytesIO(written)
    dcmread(stream, stop_before_pixels=True)
    return stream.tell()


def _in_bytes(value: str, behind: bytes, written: bytes) -> bool:
    if not value.isascii():
        return any(encoded in written for encoded in _encodings_of(value))
    digits = sum(c.isdigit() for c in value)
    if len(value) < LEAST_BYTES or (digits < LEAST_DIGITS and not any(c.isalpha() for c in value)):
        return False
    low = value.lower()
    return low.encode() in behind or low.encode("utf-16-le") in behind


def _encodings_of(value: str) -> set[bytes]:
    found: set[bytes] = set()
    for codec in CODECS:
        try:
            encoded = value.encode(codec)
        except UnicodeEncodeError:
            continue
        if len(encoded) >= LEAST_BYTES:
            found.add(encoded)
    return found
