"""The proof that no identifier is in a header, kept from file to file, so that nothing is searched twice.

Belongs here: remembering which identifiers were looked for in which pieces of written headers. Does not belong here:
the search itself (`oncurate.deid.written`, `oncurate.leaks`), pixels (`oncurate.deid.haystack`).

What is proven. A written header is the joint of pieces, each an element's bytes. Every piece that is added is compared
with all identifiers known so far, and every identifier that is added with all pieces known so far: so each pair of the
two has been compared, whichever came first, and a file's header, which consists of known pieces, has been searched for
the file's identifiers, which are known. The comparison is quick and errs to one side: it says that an identifier may
be in a piece where all its tokens are among the piece's, or where its characters stand inside a longer token, and these
are what `leaks.search` asks for, too. What may hold an identifier is remembered, and its file searched in full.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from oncurate import leaks
from oncurate.deid import written

_TOKEN = re.compile(r"\d+(?:\.\d+)+(?![^\W_])|[^\W_]+")
"""As in `oncurate.leaks`: a dotted number, or a run of letters and digits."""

SMALL_BYTES = 1 << 10
"""Bytes. The tokens of longer pieces are not remembered: they seldom repeat."""

_NUMBER = re.compile(r"[0-9.]+")
_ESCAPE = "\\u"
_SEPARATOR = b"\n"


class Proof:
    """Pieces of header and identifiers that have been compared with each other."""

    def __init__(self) -> None:
        self.identifiers: set[str] = set()
        self.searched: set[str] = set()  # the identifiers that carry enough information to be looked for in a header
        self._doubtful: set[object] = set()
        self._by_token: dict[str, list[tuple[str, ...]]] = {}
        self._joined: set[str] = set()
        self._encoded: set[bytes] = set()
        self._tokens: set[str] = set()
        self._words = ""
        self._bytes = bytearray()

    def add_identifiers(self, values: Iterable[str]) -> None:
        """Compare what is new of these identifiers with all pieces so far."""
        for value in values:
            if value not in self.identifiers:
                self.identifiers.add(value)
                if self._add_identifier(value):
                    self._doubtful.add(value)

    def add_piece(self, key: object, piece: bytes) -> None:
        """Compare a piece, of this name, with all identifiers so far."""
        if self._add_piece(_remembered(piece) if len(piece) <= SMALL_BYTES else seen(piece), piece):
            self._doubtful.add(key)

    def holds(self, names: Iterable[object]) -> bool:
        """Whether none of these identifiers and names of pieces is in doubt."""
        return not self._doubtful or self._doubtful.isdisjoint(names)

    def _add_identifier(self, value: str) -> bool:
        encoded = written.beyond_ascii(value)
        self._encoded |= encoded
        found = any(raw in self._bytes for raw in encoded)
        if not leaks.searchable([value]):
            return found
        self.searched.add(value)
        tokens = tuple(_tokens(value))
        joined = "".join(tokens)
        self._by_token.setdefault(max(tokens, key=len), []).append(tokens)
        if not _NUMBER.fullmatch(joined) and (len(joined) >= leaks.SUBSTRING_CHARACTERS or not joined.isascii()):
            self._joined.add(joined)
            found |= joined in self._words
        return found or self._tokens.issuperset(tokens)

    def _add_piece(self, piece: Seen, raw: bytes) -> bool:
        self._bytes += raw + _SEPARATOR
        self._tokens |= piece.tokens
        found = piece.is_escaped or any(needle in raw for needle in self._encoded)
        for token in piece.tokens & self._by_token.keys():
            found |= any(piece.tokens.issuperset(wanted) for wanted in self._by_token[token])
        for word in piece.words:
            self._words += f"\n{word}"
            found |= any(joined in word for joined in self._joined)
        return found


class Seen(NamedTuple):
    """What a search sees of a piece: its tokens; those with a letter, inside of which a name could stand."""

    tokens: frozenset[str]
    words: tuple[str, ...]
    is_escaped: bool


def seen(piece: bytes) -> Seen:
    """The tokens of a piece."""
    text = _text(piece)
    tokens = set(_TOKEN.findall(text))
    tokens.update([token.removesuffix(".0") for token in tokens if token.endswith(".0")])
    words = tuple(t for t in tokens if len(t) < leaks.RANDOM_CHARACTERS and not _NUMBER.fullmatch(t))
    return Seen(frozenset(tokens), words, _ESCAPE in text)


_remembered = lru_cache(maxsize=1 << 12)(seen)


def _tokens(value: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFC", value).casefold())


def _text(piece: bytes) -> str:
    raw = written.shown(piece)
    if raw.isascii():
        return raw.decode("ascii").lower()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return unicodedata.normalize("NFC", text).casefold()
