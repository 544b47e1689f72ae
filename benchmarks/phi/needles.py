"""Every form in which an identifier could leave, and the search for all of them at once in any bytes.

Belongs here: encodings, hashes that anybody could guess, finding. Does not belong here: opening files (`search`).

A needle is found by its last eight bytes: a table of 2**24 flags over a hash of them leaves few places, which are then
compared exactly. Data and needles are compared without ASCII case, base64 as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

TAIL = 8
"""Bytes by which a needle is found; shorter ones would be everywhere by chance."""
CHUNK_BYTES = 1 << 24
CHARSETS = ("latin-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso2022_jp", "shift_jis", "euc_jp", "euc_kr", "gb18030")
_HASHES = (hashlib.md5, hashlib.sha1, hashlib.sha256)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's, as in Knuth's multiplicative hashing
_SHIFT, _TABLE_BITS = np.uint64(40), 24
_HASH_BYTES = 16
"""Of a digest that is looked for: users cut them short, and a UID holds no more."""
_NUMBER = frozenset("0123456789./-+ ")
_TIME_DIGITS = 6


class Needle(NamedTuple):
    """One form of an identifier. `step` is the distance of its characters in bytes; 0: no matter what stands around."""

    identifier: str
    form: str
    data: bytes
    exact: bool
    step: int


class Hit(NamedTuple):
    """A needle found: which identifier, in which form, where in the data."""

    identifier: str
    form: str
    position: int


def forms(identifier: str) -> Iterator[Needle]:
    """All forms of one identifier that are looked for."""
    number = 1 if set(identifier) <= _NUMBER else 0
    for text in _spellings(identifier):
        yield Needle(identifier, "plain text", text.encode("utf-8"), False, number)
        yield Needle(identifier, "UTF-16", text.encode("utf-16-le").rstrip(b"\0"), False, 2 * number)
        yield Needle(identifier, "percent-encoded", quote(text, safe="").encode(), False, number)
        yield Needle(identifier, "JSON", json.dumps(text)[1:-1].encode(), False, number)
        yield Needle(identifier, "HTML", html.escape(text).encode("ascii", "xmlcharrefreplace"), False, number)
        yield Needle(identifier, "hexadecimal", text.encode().hex().encode(), False, 0)
        yield Needle(identifier, "percent-encoded", "".join(f"%{b:02x}" for b in text.encode()).encode(), False, 0)
        if not text.isascii():
            yield Needle(identifier, "UTF-16", text.encode("utf-16-be"), False, 0)
            yield from (Needle(identifier, charset, data, False, 0) for charset, data in _encoded(text))
    for text in {identifier, identifier.lower(), identifier.upper()}:
        for charset in ("utf-8", "latin-1", "utf-16-le"):
            data = _encode(text, charset)
            yield from (Needle(identifier, "base64", cut, True, 0) for cut in _base64(data))
    yield from _hashed(identifier)


def _spellings(identifier: str) -> set[str]:
    """As it is and, beyond ASCII, where ignoring case is up to us, in capitals, lower case and decomposed."""
    if identifier.isascii():
        return {identifier}
    cases = {identifier, identifier.lower(), identifier.upper()}
    return cases | {unicodedata.normalize("NFD", text) for text in cases}


def _encoded(text: str) -> Iterator[tuple[str, bytes]]:
    for charset in CHARSETS:
        data = _encode(text, charset)
        if charset == "iso2022_jp":
            data = data.replace(b"\x1b$B", b"").replace(b"\x1b(B", b"")
        yield charset, data


def _encode(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError:
        return b""


def _base64(data: bytes) -> Iterator[bytes]:
    """What of the base64 form does not depend on what stands around it, for each of the three alignments."""
    if not data:
        return
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data + bytes(2))
        first = (0, 2, 3)[before]
        last = (before + len(data)) * 8 // 6
        yield coded[first:last]
        yield coded[first:last].replace(b"+", b"-").replace(b"/", b"_")


def _hashed(identifier: str) -> Iterator[Needle]:
    """Hashes without a secret, which anybody who knows a candidate can compute; also as numbers, as UIDs are made."""
    for algorithm in _HASHES:
        name = f"bare {algorithm.__name__.removeprefix('openssl_')}"
        for text in {identifier, identifier.lower(), identifier.upper()}:
            digest = algorithm(text.encode()).digest()
            yield Needle(identifier, name, digest.hex()[: 2 * _HASH_BYTES].encode(), False, 0)
        digest = algorithm(identifier.encode()).digest()
        for coded in (base64.b64encode(digest), base64.urlsafe_b64encode(digest), base64.b32encode(digest)):
            yield Needle(identifier, name, coded[:_HASH_BYTES], coded != coded.upper(), 0)
        for number in (int.from_bytes(digest, "big"), int.from_bytes(digest[:_HASH_BYTES], "big")):
            yield Needle(identifier, name, str(number)[: 2 * _HASH_BYTES].encode(), False, 0)
        yield Needle(identifier, name, digest[:_HASH_BYTES], True, 0)


def _long_forms(identifier: str) -> tuple[Needle, ...]:
    return tuple(needle for needle in forms(identifier) if len(needle.data) >= TAIL)


class Needles:
    """All forms of many identifiers, ready to be looked for.

    Kept are the tails of the forms and whose they are; the forms themselves are made again where a tail is found.
    """

    def __init__(self, identifiers: Iterable[str]) -> None:
        self._identifiers = sorted(set(identifiers))
        tails, owners = array("Q"), array("L")
        for owner, identifier in enumerate(self._identifiers):
            found = {int.from_bytes(n.data.lower()[-TAIL:], "little") for n in _long_forms(identifier)}
            tails.extend(found)
            owners.extend([owner] * len(found))
        order = np.argsort(np.array(tails, np.uint64), kind="stable")
        self._tails, self._owners = np.array(tails, np.uint64)[order], np.array(owners, np.uint64)[order]
        self._flags = np.zeros(1 << _TABLE_BITS, bool)
        self._flags[_hash(self._tails)] = True
        self._forms = lru_cache(maxsize=1 << 12)(_long_forms)

    @property
    def count(self) -> int:
        """How many forms are looked for."""
        return len(self._tails)

    def within(self, data: bytes) -> list[Hit]:
        """The needles that are in `data`, each once."""
        folded = data.lower()
        found: dict[tuple[str, str], Hit] = {}
        for start in range(0, len(folded), CHUNK_BYTES):
            for end, owner in self._candidates(folded, start):
                for needle in self._forms(self._identifiers[owner]):
                    if (needle.identifier, needle.form) not in found and _is_there(needle, data, folded, end):
                        hit = Hit(needle.identifier, needle.form, end - len(needle.data))
                        found[needle.identifier, needle.form] = hit
        return list(found.values())

    def _candidates(self, folded: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Ends of what could be needles whose tails begin in this chunk, and whose they would be."""
        piece = folded[start : start + CHUNK_BYTES + TAIL - 1]
        for offset in range(min(TAIL, max(len(piece) - TAIL + 1, 0))):
            words = np.frombuffer(piece, "<u8", (len(piece) - offset) // TAIL, offset)
            places = np.flatnonzero(self._flags[_hash(words)])
            first = np.searchsorted(self._tails, words[places], "left")
            last = np.searchsorted(self._tails, words[places], "right")
            for which in np.flatnonzero(last > first):
                end = start + offset + (int(places[which]) + 1) * TAIL
                for owner in self._owners[first[which] : last[which]]:
                    yield end, int(owner)


def _hash(words: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return (words * _FACTOR) >> _SHIFT


def _is_there(needle: Needle, data: bytes, folded: bytes, end: int) -> bool:
    start = end - len(needle.data)
    if start < 0:
        return False
    if needle.exact:
        return data[start:end] == needle.data
    if folded[start:end] != needle.data.lower():
        return False
    return needle.step == 0 or _stands_alone(folded, start, end, needle.step)


def _stands_alone(folded: bytes, start: int, end: int, step: int) -> bool:
    """Whether a number is not a piece of a longer one; a day may have a time of six digits behind it."""
    end += end % step if step > 1 else 0
    before = folded[max(start - step, 0) : start][:1]
    if before.isalnum() or before == b".":
        return False
    behind = folded[end : end + (_TIME_DIGITS + 1) * step : step] if step == 1 else folded[end:].replace(b"\0", b"")[:7]
    run = 0
    while run < len(behind) and behind[run : run + 1].isdigit():
        run += 1
    if end - start == TAIL * step and run == _TIME_DIGITS:
        return True
    return run == 0 and not behind[:1].isalpha()
