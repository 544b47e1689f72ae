"""The walk through a data set: every element, at any depth, by the decisions of a policy.

Belongs here: carrying decisions out and recording them. Does not belong here: making them (`oncurate.deid.rules`),
judging values (`oncurate.deid.cleaning`), pixels (`oncurate.deid.pixels`), writing (`oncurate.deid.written`).

The output is built from nothing: an element that no line of this module puts there is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from oncurate.deid import cleaning, codes, pixels, reading, rules, structured, tables, text, values
from oncurate.deid.cleaning import Context
from oncurate.deid.own import DEEPEST
from oncurate.deid.rules import CLEAN, DUMMY, EMPTY, KEEP, REMOVE, UID, Decision, Rules

TEXT_VRS = rules.FREE_TEXT | rules.NAMES | rules.NUMBERS_AS_TEXT | rules.DATES | {"CS", "AS", "UI"}
WIDTHS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8, "AT": 4}
ZERO_BYTES = 8
"""Length of a dummy of bytes: a multiple of the width of every VR."""
_PIXEL_TAGS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})
_SIGNED_PIXELS = 0x00280103
PLAIN = "iso8859"
"""pydicom's name of the default character set."""


class AuditEntry(NamedTuple):
    """What was done to one element. `path` is the tags and item numbers that lead to it; no value is ever in it."""

    path: str
    action: str
    rule: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a data set stands: `path` leads to it; `parent` is the keyword of the sequence around it, None at the root.

    `encodings` are those of its text; in a `scrub`bed one no text stays; `forced` is action and rule for the values of
    a content item.
    """

    path: str = ""
    parent: str | None = None
    depth: int = 0
    encodings: list[str] = field(default_factory=lambda: [PLAIN])
    scrub: bool = False
    forced: tuple[str, str] | None = None


class Slot(NamedTuple):
    """One element of `source` on its way into `out`."""

    source: Dataset
    element: reading.Element
    out: Dataset | dict[BaseTag, reading.Element]
    place: Place

    @property
    def path(self) -> str:
        """The tags and item numbers that lead to the element."""
        return f"{self.place.path}{self.element.tag:08X}"


class Walk:
    """One object on its way; `audit` collects what was done to every element that did not stay as it was."""

    def __init__(self, decisions: Rules, context: Context, iod: str, syntax: str) -> None:
        self.rules, self._context, self.iod, self.syntax = decisions, context, iod, syntax
        self.little_endian, self.implicit_vr = syntax != pixels.BIG_ENDIAN, syntax == pixels.IMPLICIT
        self.signed_pixels = False
        self.keeps_positions = False
        self.ascii = True
        self.audit: list[AuditEntry] = []
        self.is_personal = False
        self._codes: tuple[Dataset, dict[int, str]] | None = None  # of the item that is being cleaned

    @property
    def context(self) -> Context:
        """Whose object it is. Whatever asks for it may depend on it: `is_personal` says whether anything did."""
        self.is_personal = True
        return self._context

    def root(self, source: Dataset) -> Dataset:
        """The de-identified data set, without marks and file meta."""
        self.signed_pixels = bool(reading.integer(source, _SIGNED_PIXELS))
        self.keeps_positions = structured.has_references(source)
        return self._dataset(source, Place())

    def single(self, source: Dataset, element: reading.Element, place: Place) -> dict[BaseTag, reading.Element]:
        """One element of a root data set that is no code, and the creator of its private block, de-identified.

        `source` has to hold the element only if it is private or a sequence. `audit`, `ascii` and `is_personal` are of
        this element alone.
        """
        out: dict[BaseTag, reading.Element] = {}
        self.audit, self.ascii, self.is_personal = [], True, False
        self._visit(Slot(source, element, out, place))
        return out

    def _empty(self) -> Dataset:
        out = Dataset()
        out.set_original_encoding(self.implicit_vr, self.little_endian, PLAIN)  # written without parsing it again
        return out

    def _dataset(self, source: Dataset, place: Place) -> Dataset:
        place = replace(place, encodings=reading.encodings_of(source, place.encodings))
        out = self._empty()
        for tag in sorted(source.keys()):
            element = reading.element_of(source, tag)
            if element is None:
                self._note(f"{place.path}{tag:08X}", REMOVE, "own: parse")
            else:
                self._visit(Slot(source, element, out, place))
        return out

    def _visit(self, slot: Slot) -> None:
        """Decides about one element and carries it out."""
        tag, place = slot.element.tag, slot.place
        if tag >> 16 & 1:
            self._private(slot)
            return
        decision = self.rules.decide(tag, self.iod, place.parent)
        if decision.handling == "code":
            self._coded(slot, decision)
            return
        if place.forced is not None and tag in structured.VALUES:
            decision = decision._replace(action=place.forced[0], rule=place.forced[1])
        if place.scrub and decision.action in (CLEAN, KEEP) and decision.vr in rules.FREE_TEXT:
            decision = decision._replace(action=DUMMY, rule="own: dummy sequence")
        self._element(slot, decision)

    def _element(self, slot: Slot, decision: Decision) -> None:
        """Puts what may stay of one element into `out`."""
        if decision.action == REMOVE:
            self._note(slot.path, REMOVE, decision.rule)
            return
        vr = self._vr(slot.element, decision.vr)
        if vr is None:
            self._contradicted(slot, decision.vr.partition(" or ")[0], decision)
        elif vr == "SQ":
            self._sequence(slot, decision)
        elif decision.action in (EMPTY, DUMMY):
            value = reading.text_of(slot.element, slot.place.encodings) if vr in TEXT_VRS else ""
            self._instead(slot, vr, decision, value or "")
        elif vr in TEXT_VRS:
            self._text(slot, vr, decision)
        elif vr in WIDTHS:
            self._words(slot, vr, decision)
        else:
            self._bytes(slot, vr, decision)

    def _vr(self, element: reading.Element, listed: str) -> str | None:
        """The VR to judge by: the standard's, where the file's own does not contradict it; None where it does."""
        own = element.VR
        if own in (None, "UN"):
            if " or " not in listed:
                return listed
            choices = listed.split(" or ")
            if "OW" in choices:
                return "OW"
            return "SS" if self.signed_pixels else "US"
        if not listed or own == listed or own in listed.split(" or "):
            return own
        return listed if own in TEXT_VRS and listed in TEXT_VRS else None

    def _text(self, slot: Slot, vr: str, decision: Decision) -> None:
        element = slot.element
        raw = element.value
        if decision.handling == "number" and isinstance(raw, bytes) and self._is_plain_number(raw):
            slot.out[element.tag] = _as_raw(element, vr)
            return
        value = reading.text_of(element, slot.place.encodings)
        if value is None:
            self._contradicted(slot, vr, decision)
            return
        bare = value.rstrip(" \0")
        keep = decision.action == KEEP and vr not in rules.DATES and vr not in ("UI", "AS", "CS")
        if keep and vr not in rules.NUMBERS_AS_TEXT:
            new = cleaning.kept(vr, value, self.context)
        else:
            new = cleaning.cleaned(decision.handling, vr, value, self.context)
        if not new and bare:
            self._instead(slot, vr, decision._replace(action=decision.otherwise), bare)
            return
        if new != bare:
            self._note(slot.path, UID if vr == "UI" else CLEAN, decision.rule)
        self._put(slot.out, element.tag, vr, new)

    def _is_plain_number(self, raw: bytes) -> bool:
        if values.NUMBERS.fullmatch(raw) is None:
            return False
        return len(raw) < text.LEAST_DIGITS or not self.context.harvested.joined or len(raw) > values.LONGEST["LO"]

    def _words(self, slot: Slot, vr: str, decision: Decision) -> None:
        element, raw = slot.element, slot.element.value
        if isinstance(raw, bytes):
            if len(raw) % WIDTHS[vr] == 0:
                slot.out[element.tag] = _as_raw(element, vr)
                return
        elif not isinstance(raw, str | Sequence | Dataset):
            slot.out[element.tag] = DataElement(element.tag, vr, raw, already_converted=True)
            return
        self._contradicted(slot, vr, decision)

    def _bytes(self, slot: Slot, vr: str, decision: Decision) -> None:
        tag, raw = slot.element.tag, slot.element.value
        is_image = tag in _PIXEL_TAGS and slot.place.parent is None and decision.handling == "pixels"
        if is_image and isinstance(raw, bytes):
            new = pixels.clean(pixels.layout(slot.source), tag, raw, self.syntax, self.little_endian)
            encapsulated = self.syntax not in pixels.NATIVE
            if new != raw and not encapsulated:
                self._note(slot.path, CLEAN, decision.rule)
            found = DataElement(tag, "OB" if encapsulated else vr, new, already_converted=True)
            found.is_undefined_length = encapsulated
            slot.out[tag] = found
        elif decision.handling == "binary" and decision.action != REMOVE and isinstance(raw, bytes) and vr != "UN":
            slot.out[tag] = DataElement(tag, vr, raw, already_converted=True)
        else:
            self._note(slot.path, REMOVE, decision.rule)

    def _sequence(self, slot: Slot, decision: Decision) -> None:
        tag, place = slot.element.tag, slot.place
        items = reading.items_of(slot.source, tag, place.encodings) if place.depth < DEEPEST else None
        if items is None or decision.action == EMPTY:
            unread = items is None
            self._note(slot.path, REMOVE if unread else EMPTY, "own: parse" if unread else decision.rule)
            if not unread or decision.otherwise == EMPTY:
                slot.out[tag] = DataElement(tag, "SQ", Sequence())
            return
        scrub = place.scrub or decision.handling == rules.SCRUB
        if decision.handling == rules.SCRUB:
            self._note(slot.path, DUMMY, decision.rule)
            items = items[:1]
        inside = Place(f"{slot.path}[", rules.keyword_for_tag(tag), place.depth + 1, place.encodings, scrub)
        slot.out[tag] = DataElement(tag, "SQ", Sequence(list(self._items(items, inside))))

    def _items(self, items: list[Dataset], place: Place) -> Iterator[Dataset]:
        for number, item in enumerate(items):
            path = f"{place.path}{number}]."
            found = structured.verdict(item, self.rules.options)
            if found is not None and found[0] == REMOVE:
                self._note(path[:-1], REMOVE, found[1])
                if not self.keeps_positions:
                    continue
                found = (DUMMY, found[1])
            yield self._dataset(item, replace(place, path=path, forced=found))

    def _coded(self, slot: Slot, decision: Decision) -> None:
        tag, encodings = slot.element.tag, slot.place.encodings
        new = "REMOVED"
        if not slot.place.scrub:
            new = self._codes_of(slot).get(tag, "")
        if new != values.visible(reading.text_of(slot.element, encodings) or ""):
            self._note(slot.path, CLEAN, decision.rule)
        self._put(slot.out, tag, decision.vr, values.fitted(new, decision.vr))

    def _codes_of(self, slot: Slot) -> dict[int, str]:
        """What may stand in the code attributes of an item; they are judged together."""
        if self._codes is None or self._codes[0] is not slot.source:
            context = self.context
            found = codes.cleaned(slot.source, context.keys, context.harvested, slot.place.encodings)
            self._codes = slot.source, found
        return self._codes[1]

    def _private(self, slot: Slot) -> None:
        """A private element stays if its creator, number and VR are on the safe list; its block is reserved again."""
        element = slot.element
        tag = element.tag
        group, block = tag >> 16, tag >> 8 & 0xFF
        if "retain_safe_private" not in self.rules.options or block < 0x10:
            if not 0x10 <= tag & 0xFFFF <= 0xFF or "retain_safe_private" not in self.rules.options:
                self._note(slot.path, REMOVE, "E.1-1 basic")
            return
        creator = BaseTag(group << 16 | block)
        row = tables.private().get((group, reading.first_text(slot.source, creator).upper(), tag & 0xFF))
        vr = None if element.VR == "UN" and self.little_endian else element.VR  # UN is little endian everywhere
        if row is None or vr not in (None, row.vr):
            self._note(slot.path, REMOVE, "E.1-1 basic")
            return
        if isinstance(element, RawDataElement):
            element = element._replace(VR=row.vr)
        inside = replace(slot.place, parent="", scrub=False)
        self._element(slot._replace(element=element, place=inside), rules.by_vr(row.vr, 3, self.rules, row.rule, ""))
        if tag in slot.out and creator not in slot.out:
            self._put(slot.out, creator, "LO", row.creator)

    def _contradicted(self, slot: Slot, vr: str, decision: Decision) -> None:
        """Instead of a value that is not of its VR."""
        self._instead(slot, vr, decision._replace(action=decision.otherwise, rule="own: VR"))

    def _instead(self, slot: Slot, vr: str, decision: Decision, value: str = "") -> None:
        """Removed, empty or a dummy, as decided, instead of a value that may not stay."""
        tag, action = slot.element.tag, decision.action
        if action == DUMMY:
            new = cleaning.dummy(vr, decision.handling, value, self.context)
            if new:
                self._note(slot.path, DUMMY, decision.rule)
                self._put(slot.out, tag, vr, new)
                return
            if vr in WIDTHS or vr in rules.BINARY:
                self._note(slot.path, DUMMY, decision.rule)
                zero = bytes(WIDTHS.get(vr, ZERO_BYTES))
                slot.out[tag] = RawDataElement(tag, vr, len(zero), zero, 0, False, True)
                return
            action = REMOVE
        self._note(slot.path, action, decision.rule)
        if action == EMPTY:
            slot.out[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else None, already_converted=True)

    def _put(self, out: Dataset | dict[BaseTag, reading.Element], tag: BaseTag, vr: str, value: str) -> None:
        """Text into `out`, as pydicom would hold it after reading."""
        if not value.isascii():
            self.ascii = False
        out[tag] = reading.typed(tag, vr, value)

    def _note(self, place: str, action: str, rule: str) -> None:
        self.audit.append(AuditEntry(place, action, rule))


def _as_raw(element: reading.Element, vr: str) -> reading.Element:
    return element if vr == element.VR else element._replace(VR=vr)
