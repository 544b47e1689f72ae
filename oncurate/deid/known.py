"""Distinct elements of source files, each looked at once: whom it names, and what of it must not be written.

Belongs here: remembering elements by their bytes. Does not belong here: cleaning them (`oncurate.deid.repeated`).
"""

from __future__ import annotations

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from oncurate.deid import own, reading, written
from oncurate.deid.policy import DeidPolicy
from oncurate.deid.rules import BINARY, BINARY_NUMBERS, NUMBERS_AS_TEXT, Rules, rules_of
from oncurate.deid.scan import File, Piece

LARGEST_BYTES = 1 << 14
"""Bytes. Longer elements (private blobs, tables) seldom repeat and are not remembered."""

MOST_BYTES = 1 << 25
"""Bytes of elements to remember; then all are forgotten."""

_OVERHEAD_BYTES = 512  # of what is remembered of an element, besides its bytes
_CHARACTER_SET = 0x00080005
_OWN_UIDS = frozenset({0x00080018, 0x00020003})
_SILENT = BINARY_NUMBERS | NUMBERS_AS_TEXT | (BINARY - {"UN"}) | {"TM", "CS", "AS"}
"""VRs that name nobody, and that `oncurate.leaks.harvest` leaves out."""


class Known:
    """A distinct element: its bytes, and those of the elements around it that decide what it means.

    `named` are the values that name somebody; `identifiers` all that must not be found in what is written.
    """

    __slots__ = ("beside", "identifiers", "implicit", "named", "piece")

    def __init__(self, piece: Piece, beside: tuple[Piece, ...], implicit: bool) -> None:
        self.piece, self.beside, self.implicit = piece, beside, implicit
        self.named: frozenset[str] = frozenset()
        self.identifiers: frozenset[str] = frozenset()

    def element(self) -> RawDataElement | None:
        """The element by itself; None where it means nothing without its neighbours, or has to be parsed."""
        vr = self.piece.vr or ("UN" if self.piece.tag & 0x10000 else _listed_vr(self.piece.tag))
        return None if self.piece.tag & 0x10000 or vr in ("SQ", "UN") else _raw(self.piece, self.implicit)

    def dataset(self) -> Dataset:
        """A data set of the element, the character set and the creator of its private block."""
        return dataset_of((*self.beside, self.piece), self.implicit)


class Elements:
    """The distinct elements of the files so far."""

    def __init__(self, policy: DeidPolicy) -> None:
        self._policy, self._rules = policy, rules_of(policy)
        self._known: dict[tuple[bool | bytes, ...], dict[bytes, Known]] = {}
        self._bytes = 0
        self._uid: tuple[bytes, frozenset[str]] | None = None  # the last one that was looked at

    def is_full(self) -> bool:
        """Whether it is time to forget them."""
        return self._bytes > MOST_BYTES

    def of(self, file: File) -> list[Known]:
        """The elements of a file, in its order, without those of the file meta information."""
        character_set = next((p for p in file.pieces[:4] if p.tag == _CHARACTER_SET), None)
        around = () if character_set is None else (character_set,)
        plain = self._table(around, file.implicit)
        owned: dict[int, tuple[tuple[Piece, ...], dict[bytes, Known]]] = {}
        found = []
        for piece in file.pieces:
            tag = piece.tag
            beside, table = around, plain
            if tag & 0x10000:
                if tag & 0xFFFF < 0x100:
                    owned[tag] = (*around, piece), self._table((*around, piece), file.implicit)
                else:
                    beside, table = owned.get(tag >> 16 << 16 | tag >> 8 & 0xFF, (around, plain))
            found.append(table.get(piece.raw) or self._new(piece, beside, file.implicit))
        return found

    def of_meta(self, file: File) -> list[Known]:
        """The elements of its file meta information."""
        table = self._table((), False)
        return [table.get(piece.raw) or self._new(piece, (), False) for piece in file.meta]

    def _table(self, beside: tuple[Piece, ...], implicit: bool) -> dict[bytes, Known]:
        """The elements that stand beside these."""
        return self._known.setdefault((implicit, *(piece.raw for piece in beside)), {})

    def _new(self, piece: Piece, beside: tuple[Piece, ...], implicit: bool) -> Known:
        known = Known(piece, beside, implicit)
        if piece.tag in _OWN_UIDS:
            self._look_at_uid(known)
        elif not is_silent(piece, self._rules):
            look(known, self._policy, self._rules)
        if len(piece.raw) <= LARGEST_BYTES:
            self._table(beside, implicit)[piece.raw] = known
            self._bytes += len(piece.raw) + _OVERHEAD_BYTES
        return known

    def _look_at_uid(self, known: Known) -> None:
        """An object's own UID stands in it twice."""
        value = known.piece.value.rstrip(b"\0 ")
        if self._uid is None or self._uid[0] != value:
            look(known, self._policy, self._rules)
            self._uid = value, known.identifiers
        known.identifiers = self._uid[1]


def look(known: Known, policy: DeidPolicy, rules: Rules) -> None:
    """Find out whom an element names."""
    ds = known.dataset()
    known.named = own.harvest(ds, rules)
    named = frozenset([value for value in known.named if not written.is_public(value)])
    known.identifiers = named | written.other_identifiers(ds, policy)


def is_silent(piece: Piece, rules: Rules) -> bool:
    """Whether the kind of an element says that it names nobody."""
    private = piece.tag & 0x10000
    vr = piece.vr or ("UN" if private else _listed_vr(piece.tag))
    return vr in _SILENT and (bool(private) or not rules.decide(piece.tag, "", None).identity)


def dataset_of(pieces: tuple[Piece, ...], implicit: bool) -> Dataset:
    """A data set of some elements, as a reader leaves it. Raises what pydicom raises on what it cannot read."""
    if any(piece.is_undefined for piece in pieces):
        ds = read_dataset(DicomBytesIO(b"".join(piece.raw for piece in pieces)), implicit, True)
    else:
        ds = Dataset({BaseTag(piece.tag): _raw(piece, implicit) for piece in pieces})
    ds.set_original_encoding(implicit, True, reading.encodings_of(ds, ["iso8859"]))
    return ds


def _raw(piece: Piece, implicit: bool) -> RawDataElement:
    value = piece.value or empty_value_for_VR(piece.vr, raw=True)
    return RawDataElement(BaseTag(piece.tag), piece.vr, len(piece.raw) - piece.value_at, value, 0, implicit, True)


def _listed_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
