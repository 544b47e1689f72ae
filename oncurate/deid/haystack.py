"""Identifiers looked for among pixels: in large buffers, many at once.

Belongs here: the search of bytes of which nobody knows what they are. Does not belong here: which identifiers are
looked for, and the search of headers (`oncurate.deid.written`).

Why nothing is overlooked. An ASCII identifier has at least `LEAST_BYTES` characters. Wherever it stands in the buffer,
two whole neighbouring words of two bytes lie within it: characters 0-1 and 2-3, or 1-2 and 3-4. The tables `first` and
`second` hold these pairs in every mixture of cases, so a place that they do not both name cannot be a match; the few
that they name are compared as text. Text in UTF-16 is a character and a zero in turn: words whose other byte is zero,
taken together without it, are searched in the same way, for either order of bytes. Where such text does not start at a
word, its first character shares a word with the byte before it; then characters 1-2 and 3-4, or 2-3 and 4-5, are found.
What is not ASCII is looked for as it would be encoded, byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

LEAST_BYTES = 6
"""Characters of an identifier that is looked for among pixels: shorter ones occur there by chance."""

LEAST_DIGITS = 10
"""Digits of a number that is looked for among pixels; shorter ones occur there by chance."""

CODECS = (
    *("utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "shift_jis"),
    *("iso2022_jp", "euc_kr", "gb18030"),
)
"""Encodings that text in an object may have, by their Python names."""

_PAIRS = 1 << 16
_LOWEST, _PRINTABLE = 0x20, 0x5F  # the first printable character of ASCII, and how many there are
_TRUE_TWICE = 0x0101
_LOWER = np.frombuffer(bytes(range(256)).lower(), np.uint8)


@dataclass(frozen=True)
class Needles:
    """Identifiers ready to be looked for: ASCII ones in lower case, the others by their encodings."""

    plain: dict[bytes, str]
    encoded: dict[bytes, str]
    first: np.ndarray  # (65536,) bool: pairs of neighbouring characters, from the first to the third
    second: np.ndarray  # (65536,) bool: as many, two characters further on
    fours: frozenset[int]  # both pairs together, in lower case
    longest: int

    def plus(self, values: Iterable[str]) -> Needles:
        """These and more."""
        plain = {value.lower().encode("ascii"): value for value in values if value.isascii() and _is_distinct(value)}
        encoded = {raw: value for value in values if not value.isascii() for raw in encodings_of(value)}
        if not plain and not encoded:
            return self
        first, second = self.first.copy(), self.second.copy()
        for word in plain:
            for at in range(3):
                first[_pairs(word, at)] = second[_pairs(word, at + 2)] = True
        starts = [word[at : at + 4] for word in plain for at in range(3)]
        fours = self.fours.union(int.from_bytes(four, "little") for four in starts if len(four) == 4)
        longest = max(self.longest, *map(len, plain), 0)
        return Needles({**self.plain, **plain}, {**self.encoded, **encoded}, first, second, fours, longest)

    def found(self, buffer: bytes | memoryview) -> set[str]:
        """Those that are in the buffer: ASCII ones in any case, one byte or two a character."""
        if self.encoded or len(buffer) % 4:
            buffer = bytes(buffer) + b"\0" * (-len(buffer) % 4)
        hits = {value for raw, value in self.encoded.items() if raw in buffer}
        if self.plain and len(buffer) >= LEAST_BYTES:
            words = np.frombuffer(buffer, "<u2")
            for windows in self._windows(words, buffer):
                hits.update(value for raw, value in self.plain.items() if raw in windows)
        return hits

    def _windows(self, words: np.ndarray, buffer: bytes | memoryview) -> Iterator[bytes]:
        """What stands where the tables allow a match, in lower case: as bytes, as UTF-16 in either order."""
        if words.view("<i2").max() >= _LOWEST << 8:  # else no word has a printable character in its upper byte
            yield self._near(buffer, words, _are_within(words, _LOWEST << 8, _PRINTABLE + 1 << 8))
            yield self._wide(words.byteswap())
        yield self._wide(words)

    def _wide(self, words: np.ndarray) -> bytes:
        both = _are_within(words, _LOWEST, _PRINTABLE).view("<u2") == _TRUE_TWICE
        if not both.any():
            return b""
        narrow = words.astype(np.uint8)
        return self._near(narrow.tobytes(), narrow.view("<u2"), both)

    def _near(self, text: bytes | memoryview, pairs: np.ndarray, possible: np.ndarray) -> bytes:
        """What of `text` is near places at which four characters of an identifier stand; `pairs` are its words."""
        places = np.flatnonzero((possible & self.first.take(pairs))[:-1])
        if not len(places):
            return b""
        after = pairs[places + 1]
        likely = self.second.take(after)
        places, after = places[likely], after[likely]
        if not len(places):
            return b""
        fours = _LOWER[np.stack((pairs[places], after), axis=-1).view(np.uint8)].view("<u4")[:, 0]
        starts = [2 * at for at, four in zip(places.tolist(), fours.tolist(), strict=True) if four in self.fours]
        if len(starts) * self.longest > len(text):
            return bytes(text).lower()
        return b"\0".join(text[max(at - 2, 0) : at + self.longest] for at in starts).lower()


def needles(values: Iterable[str]) -> Needles:
    """`Needles` of these identifiers; those that could stand among pixels by chance are left out."""
    nothing = np.zeros(_PAIRS, dtype=bool)
    return Needles({}, {}, nothing, nothing, frozenset(), 0).plus(tuple(values))


def encodings_of(value: str) -> set[bytes]:
    """An identifier beyond ASCII in every encoding of `CODECS` that has its characters."""
    found: set[bytes] = set()
    for codec in CODECS:
        try:
            encoded = value.encode(codec)
        except UnicodeEncodeError:
            continue
        if len(encoded) >= LEAST_BYTES:
            found.add(encoded)
    return found


def _is_distinct(value: str) -> bool:
    """Whether an ASCII identifier is too long to be among pixels by chance."""
    if len(value) < LEAST_BYTES:
        return False
    return any(c.isalpha() for c in value) or sum(c.isdigit() for c in value) >= LEAST_DIGITS


def _pairs(word: bytes, at: int) -> list[int]:
    """Two neighbouring characters as 16-bit words, in every mixture of cases."""
    one, two = word[at : at + 1], word[at + 1 : at + 2]
    return [a[0] | b[0] << 8 for a, b in product((one, one.upper()), (two, two.upper()))]


def _are_within(words: np.ndarray, start: int, count: int) -> np.ndarray:
    return np.subtract(words, np.uint16(start)) < np.uint16(count)
