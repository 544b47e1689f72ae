"""Free text: what a closed vocabulary leaves of it.

Belongs here: folding, tokens, the vocabulary and the safe patterns. Does not belong here: which elements hold free text
(`oncurate.deid.rules`), or whose identifiers are taken out of it first (`oncurate.deid.own`).

Deny by default: what is not a word of the vocabulary or of a safe pattern is dropped, so a name leaves only if it is
also a word of radiology; those of the patient and of everybody else in the header are taken out before. Bare numbers
are dropped; a number stays with its unit or inside a pattern.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import pairwise, product
from typing import NamedTuple

from oncurate import allowlist
from oncurate.deid import tables
from oncurate.identity import parse_date

LEAST_LETTERS = 3
"""Characters. Shorter name parts (initials, titles) are in every text by chance and name nobody."""

LEAST_DIGITS = 6
"""Digits of a bare number that could name somebody; see `oncurate.leaks.LEAST_DIGITS`."""

LEAST_DATE = 5
"""Characters of a date without separators: shorter ones ("1170") occur in every text by chance."""

LONGEST_RUN = 6
"""Tokens. An identifier is looked for in as many neighbouring tokens: a name of four, a date of three."""

LONGEST = 4096
"""Characters. Longer text is cut: a descriptor has dozens."""

_MONTHS = (
    "jan january januari januar janvier enero ene gennaio gen",
    "feb february februari februar fevrier febrero febbraio",
    "mar mrt march maart marz maerz mars marzo",
    "apr april avril avr abril abr aprile",
    "may mei mai mayo maggio mag",
    "jun june juni juin junio giugno giu",
    "jul july juli juillet julio luglio lug",
    "aug august augustus aout agosto ago",
    "sep sept september septembre septiembre settembre set",
    "oct okt october oktober octobre octubre ottobre ott",
    "nov november novembre noviembre",
    "dec dez december dezember decembre diciembre dic dicembre",
)
_PIECE = re.compile(r"[wW]/[wW][oO](?![^\W_])|[^\W\d_](?:[./][^\W\d_])+(?![^\W_])|[^\W_]+(?:(?<=\d)[.,](?=\d)[^\W_]+)*")
_WORD = re.compile(r"[^\W_]+")
_SEPARATOR = re.compile(r"[ _\-+/.,*:;()=&]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{1,2})?")
_TENTHS = re.compile(r"[0-9]{1,2}[.,][0-9]")
_INITIALS = re.compile(r"[./]")
_SUBWORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_SPELT = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_LONE_LETTERS = frozenset("lr")  # left and right; other letters alone are initials
_UNITS = (
    r"mm[23]?|cm[23]?|ml|cc|kg|mg|kvp?|mv|ke?v|mev|mas?|ms|secs?|min|hz|[kmg]hz|deg|c?gy|mgy|[kmg]?bq|m?ci|pct|px|um|"
    r"dirs?|phases?|views?"
)
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"b(?:val)?(?:[0-9]|[0-9]{1,3}[05])",  # b value
        rf"[0-9]{{1,4}}(?:[.,][0-9]{{1,2}})?(?:{_UNITS})",
        r"[0-9]{1,2}(?:[.,][0-9])?[sthdx]|[0-9]ch",
        r"[0-9]{2,3}x[0-9]{2,3}(?:x[0-9]{1,3})?",  # matrix
        r"[0-9][.,]?[0-9]?x[0-9][.,]?[0-9]?(?:x[0-9][.,]?[0-9]?)?(?:mm)?",  # voxel
        r"c[1-7]|(?:th|t|d)(?:[1-9]|1[0-2])|l[1-6]|s[1-5]",  # vertebrae
        r"p[1-9]|s[1-9]|(?:te|tr|ti|fa|etl|nex|nsa|dir)[0-9]{1,4}",  # timing, parallel imaging factors
        r"(?:gtv|ctv|itv|ptv|oar|roi|seg|label|lesion|tumou?r|node|beam|field|bst|phase|echo|scan|series|image|view)"
        r"[a-z]?[0-9]{1,2}",
        r"(?:ep|epse|epfid|se|tse|gre|fl|tfl|tir|me|spc|spcir|fi|tfi|hst|rs|fm|ci|de|pc|qfl|swi)[23]d[0-9]{0,3}"
        r"[a-z]{0,4}",  # Siemens sequences
        r"v[abcde][0-9]{2}[a-z]?|[de]1[1-3][a-z]?|xa[1-6][0-9][a-z]?",  # Siemens software
        r"1h|13c|19f|23na|31p|129xe|3he",
    )
)


class Identifiers(NamedTuple):
    """What stands for a person in a header, folded: single words, and whole values joined without separators.

    `dates` are the person's days, joined as well, in every spelling.
    """

    words: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    dates: frozenset[str] = frozenset()


NOBODY = Identifiers()


def fold(value: str) -> str:
    """Without case, accents and ligatures: the form in which words are compared."""
    value = value.casefold()
    if value.isascii():
        return value
    decomposed = unicodedata.normalize("NFKD", value.translate(_SPELT))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def spellings(value: str) -> frozenset[str]:
    """The folded forms of a word: without accents, and with German umlauts written out."""
    return frozenset({fold(value), fold(unicodedata.normalize("NFC", value.casefold()).translate(_UMLAUTS))})


def date_spellings(value: str) -> frozenset[str]:
    """How people write a day of the form YYYYMMDD, without separators: 31011970, 310170, 01311970, 31jan1970 ...

    Empty for what is no such day. Months are named as in English, Dutch, German, French, Spanish and Italian.
    """
    day = parse_date(value)
    if day is None:
        return frozenset()
    found: set[str] = set()
    for year, month, number in product(
        (f"{day.year:04d}", f"{day.year % 100:02d}"),
        (str(day.month), f"{day.month:02d}", *_MONTHS[day.month - 1].split()),
        (str(day.day), f"{day.day:02d}"),
    ):
        found |= {number + month + year, month + number + year, year + month + number}
    return frozenset(form for form in found if len(form) >= LEAST_DATE)


def identifiers(values: frozenset[str] | set[str]) -> Identifiers:
    """`Identifiers` of raw values: names, numbers, addresses, in any spelling."""
    words: set[str] = set()
    joined: set[str] = set()
    dates: set[str] = set()
    for value in values:
        pieces = _WORD.findall(value[:LONGEST])
        for piece in pieces:
            if len(piece) >= LEAST_LETTERS or not piece.isascii():
                words |= spellings(piece)
        whole = "".join(pieces)
        dates |= date_spellings(whole)
        if len(whole) > LEAST_LETTERS:
            joined |= spellings(whole)
        joined |= {a + b for a, b in pairwise(fold(p) for p in reversed(pieces)) if len(a + b) > LEAST_LETTERS}
    return Identifiers(frozenset(words), frozenset(joined), frozenset(dates))


def clean(value: str, harvested: Identifiers = NOBODY) -> str:
    """What may stay of free text: words of the vocabulary and safe patterns that are none of `harvested`.

    Neighbours that stay keep what separated them; where something was dropped, a blank stands.
    """
    pieces = list(_PIECE.finditer(value[:LONGEST]))
    if not pieces:
        return ""
    folded = [fold(piece.group()) for piece in pieces]
    kept = [_passes(piece.group(), form) for piece, form in zip(pieces, folded, strict=True)]
    numbers = _admit_numbers(folded, kept)
    _take_out(folded, kept, harvested)
    for index in numbers:
        kept[index] = kept[index] and kept[index + 1]
    out: list[str] = []
    last = -2
    for index, piece in enumerate(pieces):
        if not kept[index]:
            continue
        if out:
            between = value[pieces[last].end() : piece.start()] if last == index - 1 else ""
            out.append(between if _SEPARATOR.fullmatch(between) else " ")
        out.append(piece.group())
        last = index
    return "".join(out) + _tail(value, pieces, kept)


@lru_cache(maxsize=1 << 14)
def harmless(value: str) -> bool:
    """Whether cleaning leaves every word of `value`, bare numbers of up to five digits aside."""
    gone = set(_WORD.findall(fold(value[:LONGEST]))) - set(_WORD.findall(fold(clean(value))))
    return all(word.isdigit() and len(word) < LEAST_DIGITS for word in gone)


def without(value: str, harvested: Identifiers) -> str:
    """`value` without the words and values of `harvested`: for text that a policy keeps."""
    pieces = list(_WORD.finditer(value[:LONGEST]))
    folded = [fold(piece.group()) for piece in pieces]
    kept = [True] * len(pieces)
    _take_out(folded, kept, harvested)
    if all(kept):
        return value[:LONGEST]
    return " ".join(piece.group() for piece, keep in zip(pieces, kept, strict=True) if keep)


def _tail(value: str, pieces: list[re.Match[str]], kept: list[bool]) -> str:
    """A closing full stop of an abbreviation ("p.v.")."""
    last = pieces[-1]
    ends = kept[-1] and "." in last.group()[:-1] and value[last.end() : last.end() + 1] == "."
    return "." if ends and not last.group()[0].isdigit() else ""


def _take_out(folded: list[str], kept: list[bool], harvested: Identifiers) -> None:
    """Marks as not kept what `harvested` holds: single words, and whole values spread over neighbouring tokens."""
    words, joined, dates = harvested
    if not words and not joined and not dates:
        return
    for start, form in enumerate(folded):
        if form in words or form in joined or form in dates:
            kept[start] = False
        run = form
        for end in range(start + 1, min(start + LONGEST_RUN, len(folded))):
            run += folded[end]
            if run in joined or run in dates:
                kept[start : end + 1] = [False] * (end + 1 - start)


def _admit_numbers(folded: list[str], kept: list[bool]) -> list[int]:
    """Keeps a number before a unit, and before a kernel with one decimal ("5.0 B30f"); their indices."""
    admitted = []
    for index, (form, after) in enumerate(pairwise(folded)):
        if _NUMBER.fullmatch(form) and (after in _units() or (_TENTHS.fullmatch(form) and _is_kernel(after))):
            kept[index] = kept[index + 1] = True
            admitted.append(index)
    return admitted


@lru_cache(maxsize=1 << 14)
def _passes(piece: str, form: str) -> bool:
    if not form[:1].isdigit() and _INITIALS.search(form):
        return _INITIALS.sub("", form) in _words()
    if form in _words() or any(pattern.fullmatch(form) for pattern in _PATTERNS) or _is_kernel(piece):
        return True
    parts = _SUBWORDS.findall(piece)
    if len(parts) < 2 or not parts[0][0].isalpha():
        return False
    return all((part.isdigit() and len(part) <= 2) or (len(part) > 1 and fold(part) in _words()) for part in parts)


def _is_kernel(piece: str) -> bool:
    return allowlist.PATTERNS["kernel"].fullmatch(piece[:1].upper() + piece[1:]) is not None


@cache
def _words() -> frozenset[str]:
    lines = tables.vocabulary_lines()
    words = {fold(word) for kind, _, line in lines if kind != "unit" for word in line}
    return frozenset(word for word in words if len(word) > 1 or word in _LONE_LETTERS)


@cache
def _units() -> frozenset[str]:
    return frozenset(fold(word) for kind, _, line in tables.vocabulary_lines() if kind == "unit" for word in line)
