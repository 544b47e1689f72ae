"""Finds what identifies a patient in a header, and looks for it in what is about to leave.

Belongs here: harvesting identifying values from a parsed header, and searching text for them. Does not belong here: the
removal of anything. That is done by passing on only what is allowed; this is the independent second look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import cache

from pydicom import charset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID_dictionary

from oncurate import allowlist, records, scaling, split, stack, suv, tables
from oncurate.elements import PARSE_ERRORS, tag_of

LEAST_CHARACTERS = 4
"""Characters. Shorter values occur everywhere by chance."""

LEAST_CHARACTERS_BEYOND_ASCII = 2
"""Characters. Two Chinese characters are a whole name, and nothing of ours is written in them."""

LEAST_DIGITS = 6
"""Digits. Shorter numbers occur everywhere by chance; longer ones count only as a whole token."""

LONGEST = 256
"""Characters. Longer values are cut: whoever finds the whole value also finds its beginning."""

DEEPEST = 16
"""Levels of nested sequences. Real headers have about five; a header that nests on and on is an attack."""

RANDOM_CHARACTERS = 32
"""Characters. Longer tokens are digests, keyed names and numbers: letters occur in them by chance."""

SUBSTRING_CHARACTERS = 6
"""Characters. From this length on a name is found inside a longer token too ("doe_jane1", "DOEJANE")."""

SPLIT_NAMES = frozenset(
    {
        "sop_class",
        "frame_of_reference",
        "photometric",
        "matrix",
        "pixel_spacing",
        "orientation",
        "instance",
        "gap",
        *stack.REPEATING_KEYS,
        stack.FRAME,
        stack.REPETITION,
    }
)
"""What may stand in `split_by` and `repeated_by` besides the keys of `oncurate.split`."""

SPACING_SOURCES = ("PixelSpacing", "ImagerPixelSpacing", "PhysicalDelta", "none")
"""What may stand in `spacing_source`."""

KINDS_AND_CORRECTIONS = ("volume", "planar", "cine", "none", "shear", "resample")
"""What may stand in `kind` and `geometry_correction`."""

_TEXT = frozenset({"AE", "LO", "SH", "PN", "UC", "UI", "UR", "DT"})  # may hold several values
_PROSE = frozenset({"LT", "ST", "UT"})  # hold one value, backslashes included
_PERSONAL_DATES = frozenset(
    {"PatientBirthDate", "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar"}
    | {"LastMenstrualDate", "IssueDateOfImagingServiceRequest", "DeathDate"}
)
# Text that says nothing about a person: codes and technical names. Those of the allow-list come from its table.
_TECHNICAL = frozenset(
    {"CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "SoftwareVersions", "ImplementationVersionName"}
    | {rule.keyword for rule in allowlist.RULES if rule.rule != "source" and "." not in rule.keyword}
)
_ITEM = b"\xfe\xff\x00\xe0"
_PRINTABLE_RUN = re.compile(rb"[\x20-\x7e\xa0-\xff]{%d,}" % LEAST_CHARACTERS)
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa0-\xff\t\r\n]*[\x20\0]*")
_MEASUREMENT = re.compile(rb"[-+0-9.eE \\\0]*[.eE][-+0-9.eE \\\0]*")  # decimal numbers: not what an id looks like
_LAST_WORD = re.compile(r"[^\W_]+$")
_NAME_PARTS = re.compile(r"[\^=]")
_TOKEN = re.compile(r"\d+(?:\.\d+)+(?![^\W_])|[^\W_]+")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_NUMBER = re.compile(r"[0-9.]+")
_WHOLE = re.compile(r"[0-9]+\.0")
_HEXADECIMAL = re.compile(r"[0-9a-f.]+")


def harvest(ds: Dataset) -> tuple[str, ...]:
    """The identifying values of a header at any depth, sorted: names and their parts, ids, birth date, UIDs, free text.

    Whatever cannot be searched for (see `search`) is left out, and so are DICOM's own UIDs. Bytes that do not parse as
    what they claim to be are read as text as far as they are printable. Never raises.
    """
    found: set[str] = set()
    _collect(ds, found, 0)
    meta = getattr(ds, "file_meta", None)
    if meta is not None:
        _collect(meta, found, 0)
    return tuple(sorted(found))


def search(text: str | bytes, identifiers: Iterable[str]) -> int:
    """How many of `identifiers` occur in `text`, ignoring case, as whole tokens or (long names) inside one.

    Costs one pass over the text, and for each identifier a look-up and a scan of the distinct words of the text that
    are not ours, of which what we write has next to none. Values that carry no information are not searched for: what
    the allow-list's vocabularies and patterns let pass, our own field names, numbers under six digits.
    """
    folded = _folded(text)
    tokens = _TOKEN.findall(folded)
    present = set(tokens)
    present.update(t.removesuffix(".0") for t in tokens if _WHOLE.fullmatch(t))  # an id that was read as a DS
    known = _known_words()
    rest = "\n".join(
        sorted(t for t in present if len(t) < RANDOM_CHARACTERS and t not in known and not _NUMBER.fullmatch(t))
    )
    return sum(_occurs(value, folded, present, rest) for value in set(identifiers))


def searchable(identifiers: Iterable[str]) -> int:
    """How many of `identifiers` carry enough information to be searched for."""
    return sum(1 for value in set(identifiers) if _informative(_TOKEN.findall(_folded(value))))


def _occurs(value: str, folded: str, present: Collection[str], rest: str) -> bool:
    wanted = _TOKEN.findall(_folded(value))
    if not _informative(wanted):
        return False
    if not all(token in present for token in wanted):
        joined = "".join(wanted)
        return _distinct(joined) and joined in rest
    if len(wanted) == 1:
        return True
    # Number lists are everywhere in JSON, so numbers must be separated as they were; words need not be.
    between = None if all(_NUMBER.fullmatch(token) for token in wanted) else r"[\W_]{1,3}"
    pattern = re.escape(_folded(value).strip()) if between is None else between.join(map(re.escape, wanted))
    return re.search(rf"(?<![^\W_]){pattern}(?![^\W_])", folded) is not None


def _distinct(token: str) -> bool:
    """Whether `token` may be looked for inside longer ones: not if it could be part of a digest or a number."""
    long_enough = len(token) >= SUBSTRING_CHARACTERS or not token.isascii()
    return long_enough and not _HEXADECIMAL.fullmatch(token)


def _informative(tokens: list[str]) -> bool:
    if not _long_enough("".join(tokens)):
        return False
    if all(_NUMBER.fullmatch(token) for token in tokens):
        if len(tokens) == 1 and tokens[0].count(".") == 1:  # a decimal number, a date with time, or an id with a dot
            return len(tokens[0].partition(".")[0]) >= LEAST_DIGITS
        return sum(len(token) - token.count(".") for token in tokens) >= LEAST_DIGITS
    return not all(_says_nothing(token) for token in tokens)


def _long_enough(text: str) -> bool:
    return len(text) >= (LEAST_CHARACTERS if text.isascii() else LEAST_CHARACTERS_BEYOND_ASCII)


def _says_nothing(token: str) -> bool:
    if token in _known_words() or (len(token) < LEAST_DIGITS and _NUMBER.fullmatch(token)):
        return True
    return any(pattern.fullmatch(token) for pattern in _patterns())


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """The forms that the allow-list lets pass besides terms, for folded text."""
    return tuple(re.compile(pattern.pattern, re.IGNORECASE) for pattern in allowlist.PATTERNS.values())


def _folded(text: str | bytes) -> str:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            text = text.decode("latin-1")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.casefold()
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)).casefold(), text) if "\\u" in text else text


_WRITTEN = (
    records.CohortSeries,
    records.CohortVolume,
    records.PlannedVolume,
    records.Slice,
    records.Geometry,
    records.Repetition,
    records.SuvScale,
)
"""Records whose field names stand in what is written of a volume."""


@cache
def _known_words() -> frozenset[str]:
    """Tokens that stand in a release for reasons of their own: vocabulary terms and names of fields and columns."""
    phrases = {t for vocabulary in allowlist.VOCABULARIES.values() for t in vocabulary.terms}
    phrases |= {rule.output for rule in allowlist.RULES} | {"true", "false", "null", *KINDS_AND_CORRECTIONS}
    phrases |= {*suv.STATUSES, *scaling.UNITS.values(), scaling.PHILIPS, scaling.REAL_WORLD, records.RESCALE}
    phrases |= {"PatientID", "StudyInstanceUID", *split.HARD_KEYS, *split.SOFT_KEYS, *SPLIT_NAMES, *SPACING_SOURCES}
    for model in _WRITTEN:
        phrases |= set(model.model_fields)
    phrases |= {column for table in tables.TABLES.values() for column, _, _ in table.columns}
    return frozenset(token for phrase in phrases for token in _TOKEN.findall(_folded(phrase)))


@cache
def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@cache
def _tags(keywords: frozenset[str]) -> frozenset[int]:
    return frozenset(int(tag) for tag in map(tag_of, keywords) if tag is not None)


def _collect(ds: Dataset, found: set[str], depth: int) -> None:
    technical, dates = _tags(_TECHNICAL), _tags(_PERSONAL_DATES)
    encodings = None
    for tag, element in list(ds.items()):
        if tag in technical:
            continue
        vr, value = element.VR, element.value
        private = (tag >> 16) & 1
        if vr is None or vr == "UN":
            vr = "UN" if private else _dictionary_vr(tag)
        if vr == "SQ":
            _collect_items(ds, tag, found, depth)
        elif not value:
            continue
        elif vr in _TEXT or vr in _PROSE or (vr == "DA" and tag in dates) or (vr == "UN" and private):
            if private and 0x10 <= tag & 0xFFFF <= 0xFF:
                continue  # names the vendor, not a person
            if isinstance(value, bytes):
                if vr == "UN" and not _PRINTABLE.fullmatch(value, 0, LONGEST):
                    _collect_bytes(value, found)
                    continue
                if private and _MEASUREMENT.fullmatch(value, 0, LONGEST):
                    continue
                if not value.isascii() or b"\x1b" in value:
                    encodings = encodings or _encodings(ds)
                value = _decoded(value, encodings)
            _add(vr, value, found)


def _collect_items(ds: Dataset, tag: int, found: set[str], depth: int) -> None:
    if depth >= DEEPEST:
        return
    raw = ds.get_item(tag)
    try:
        items = list(ds[tag].value or ())
    except PARSE_ERRORS:
        items = None
    if items is None or not all(isinstance(item, Dataset) for item in items):
        if raw is not None and isinstance(raw.value, bytes):
            _collect_bytes(raw.value, found, force=True)
        return
    for item in items:
        _collect(item, found, depth + 1)


def _collect_bytes(value: bytes, found: set[str], *, force: bool = False) -> None:
    """Printable runs of what holds a sequence but cannot be parsed as one; other binary data is left alone."""
    if force or value.startswith(_ITEM):
        for run in _PRINTABLE_RUN.findall(value):
            _add("LO", run.decode("latin-1"), found)


def _add(vr: str, value: object, found: set[str]) -> None:
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    for item in many:
        text = str(item)
        for part in [text] if vr in _PROSE else text.split("\\"):
            part = _cut(part.strip(" \0\t\r\n"))
            if not _long_enough(part) or (vr == "UI" and part in UID_dictionary):
                continue
            found.add(part)
            if vr == "PN":
                found.update(p for p in map(str.strip, _NAME_PARTS.split(part)) if _long_enough(p))


def _cut(text: str) -> str:
    """At most `LONGEST` characters, without the piece of a word that the cut leaves: it would match nothing."""
    if len(text) <= LONGEST:
        return text
    start = text[:LONGEST]
    return _LAST_WORD.sub("", start) or start


def _encodings(ds: Dataset) -> list[str]:
    try:
        return charset.convert_encodings(ds.get("SpecificCharacterSet"))
    except PARSE_ERRORS:
        return ["latin-1"]


def _decoded(value: bytes, encodings: list[str] | None) -> str:
    """Text in the header's character set, or in Latin-1 where that fails."""
    if encodings is None:
        return value.decode("ascii")
    try:
        return charset.decode_bytes(value, encodings, {0x5C, 0x5E, 0x3D})
    except PARSE_ERRORS:
        return value.decode("latin-1")
