"""The walk through a data set: every element, at any depth, by the decisions of a policy.

Belongs here: carrying decisions out and recording them. Does not belong here: making them (`oncurate.deid.rules`),
judging values (`oncurate.deid.cleaning`), pixels (`oncurate.deid.pixels`), writing (`oncurate.deid.written`).

The output is built from nothing: an element that no line of this module puts there is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Walk:
    """One object on its way; `audit` collects what was done to every element that did not stay as it was."""

    def __init__(self, decisions: Rules, context: Context, iod: str, syntax: str) -> None:
        self.rules, self.context, self.iod = decisions, context, iod
        self.syntax, self.little_endian, self.implicit_vr = (
            syntax,
            syntax != pixels.BIG_ENDIAN,
            syntax == pixels.IMPLICIT,
        )
        self.signed_pixels = False
        self.keeps_positions = False
        self.ascii = True
        self.audit: list[AuditEntry] = []

    def root(self, source: Dataset) -> Dataset:
        """The de-identified data set, without marks and file meta."""
        self.signed_pixels = bool(reading.integer(source, _SIGNED_PIXELS))
        self.keeps_positions = structured.has_references(source)
        return self._dataset(source, "", None, 0, ["iso8859"], False, None)

    def _dataset(
        self, source: Dataset, path: str, parent: str | None, depth: int, outer: list[str], scrub: bool, forced: object
    ) -> Dataset:
        out = Dataset()
        out.set_original_encoding(self.implicit_vr, self.little_endian, PLAIN)  # written without parsing it again
        encodings = reading.encodings_of(source, outer)
        coded: dict[int, str] | None = None
        for tag in sorted(source.keys()):
            place = f"{path}{tag:08X}"
            element = reading.element_of(source, tag)
            if element is None:
                self._note(place, REMOVE, "own: parse")
                continue
            if tag >> 16 & 1:
                self._private(source, element, out, place, depth, encodings)
                continue
            decision = self.rules.decide(tag, self.iod, parent)
            if decision.handling == "code":
                if coded is None:
                    coded = codes.cleaned(source, self.context.keys, self.context.harvested, encodings)
                self._coded(element, coded.get(tag, ""), decision, out, place, encodings, scrub)
                continue
            if forced is not None and tag in structured.VALUES:
                decision = decision._replace(action=forced[0], rule=forced[1])
            if scrub and decision.action in (CLEAN, KEEP) and decision.vr in rules.FREE_TEXT:
                decision = decision._replace(action=DUMMY, rule="own: dummy sequence")
            self._element(source, element, decision, out, place, depth, encodings, scrub, parent)
        return out

    def _element(
        self,
        source: Dataset,
        element: reading.Element,
        decision: Decision,
        out: Dataset,
        place: str,
        depth: int,
        encodings: list[str],
        scrub: bool,
        parent: str | None,
    ) -> None:
        """Puts what may stay of one element into `out`."""
        tag, action = element.tag, decision.action
        if action == REMOVE:
            self._note(place, REMOVE, decision.rule)
            return
        vr = self._vr(element, decision.vr)
        if vr is None:
            self._instead(tag, decision.vr.partition(" or ")[0], decision, decision.otherwise, out, place, "own: VR")
        elif vr == "SQ":
            self._sequence(source, tag, decision, out, place, depth, encodings, scrub)
        elif action in (EMPTY, DUMMY):
            value = reading.text_of(element, encodings) if vr in TEXT_VRS else ""
            self._instead(tag, vr, decision, action, out, place, decision.rule, value or "")
        elif vr in TEXT_VRS:
            self._text(element, vr, decision, out, place, encodings)
        elif vr in WIDTHS:
            self._words(element, vr, decision, out, place)
        else:
            self._bytes(source, element, vr, decision, out, place, parent)

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

    def _text(
        self, element: reading.Element, vr: str, decision: Decision, out: Dataset, place: str, encodings: list[str]
    ) -> None:
        raw = element.value
        if decision.handling == "number" and isinstance(raw, bytes) and self._is_plain_number(raw):
            out[element.tag] = _as_raw(element, vr)
            return
        value = reading.text_of(element, encodings)
        if value is None:
            self._instead(element.tag, vr, decision, decision.otherwise, out, place, "own: VR")
            return
        bare = value.rstrip(" \0")
        keep = decision.action == KEEP and vr not in rules.DATES and vr not in ("UI", "AS", "CS")
        if keep and vr not in rules.NUMBERS_AS_TEXT:
            new = cleaning.kept(vr, value, self.context)
        else:
            new = cleaning.cleaned(decision.handling, vr, value, self.context)
        if not new and bare:
            self._instead(element.tag, vr, decision, decision.otherwise, out, place, decision.rule, bare)
            return
        if new != bare:
            self._note(place, UID if vr == "UI" else CLEAN, decision.rule)
        self._put(out, element.tag, vr, new)

    def _is_plain_number(self, raw: bytes) -> bool:
        if values.NUMBERS.fullmatch(raw) is None:
            return False
        return len(raw) < text.LEAST_DIGITS or not self.context.harvested.joined or len(raw) > values.LONGEST["LO"]

    def _words(self, element: reading.Element, vr: str, decision: Decision, out: Dataset, place: str) -> None:
        raw = element.value
        if isinstance(raw, bytes):
            if len(raw) % WIDTHS[vr] == 0:
                out[element.tag] = _as_raw(element, vr)
                return
        elif not isinstance(raw, str | Sequence | Dataset):
            out[element.tag] = DataElement(element.tag, vr, raw, already_converted=True)
            return
        self._instead(element.tag, vr, decision, decision.otherwise, out, place, "own: VR")

    def _bytes(
        self,
        source: Dataset,
        element: reading.Element,
        vr: str,
        decision: Decision,
        out: Dataset,
        place: str,
        parent: str | None,
    ) -> None:
        tag, raw = element.tag, element.value
        if tag in _PIXEL_TAGS and parent is None and decision.handling == "pixels" and isinstance(raw, bytes):
            new = pixels.clean(source, tag, raw, self.syntax, self.little_endian)
            encapsulated = self.syntax not in pixels.NATIVE
            if new != raw and not encapsulated:
                self._note(place, CLEAN, decision.rule)
            found = DataElement(tag, "OB" if encapsulated else vr, new, already_converted=True)
            found.is_undefined_length = encapsulated
            out[tag] = found
        elif decision.handling == "binary" and decision.action != REMOVE and isinstance(raw, bytes) and vr != "UN":
            out[tag] = DataElement(tag, vr, raw, already_converted=True)
        else:
            self._note(place, REMOVE, decision.rule)

    def _sequence(
        self,
        source: Dataset,
        tag: BaseTag,
        decision: Decision,
        out: Dataset,
        place: str,
        depth: int,
        encodings: list[str],
        scrub: bool,
    ) -> None:
        items = reading.items_of(source, tag, encodings) if depth < DEEPEST else None
        if items is None or decision.action == EMPTY:
            self._note(place, REMOVE if items is None else EMPTY, decision.rule if items is not None else "own: parse")
            if items is not None or decision.otherwise == EMPTY:
                out[tag] = DataElement(tag, "SQ", Sequence())
            return
        scrubbed = scrub or decision.handling == rules.SCRUB
        if decision.handling == rules.SCRUB:
            self._note(place, DUMMY, decision.rule)
            items = items[:1]
        parent = rules.keyword_for_tag(tag)
        new = list(self._items(items, f"{place}[", parent, depth + 1, encodings, scrubbed))
        out[tag] = DataElement(tag, "SQ", Sequence(new))

    def _items(
        self, items: list[Dataset], place: str, parent: str, depth: int, encodings: list[str], scrub: bool
    ) -> Iterator[Dataset]:
        for number, item in enumerate(items):
            path = f"{place}{number}]."
            found = structured.verdict(item, self.rules.options)
            if found is not None and found[0] == REMOVE:
                self._note(path[:-1], REMOVE, found[1])
                if not self.keeps_positions:
                    continue
                found = (DUMMY, found[1])
            yield self._dataset(item, path, parent, depth, encodings, scrub, found)

    def _coded(
        self,
        element: reading.Element,
        new: str,
        decision: Decision,
        out: Dataset,
        place: str,
        encodings: list[str],
        scrub: bool,
    ) -> None:
        if scrub:
            new = "REMOVED"
        if new != values.visible(reading.text_of(element, encodings) or ""):
            self._note(place, CLEAN, decision.rule)
        vr = decision.vr
        self._put(out, element.tag, vr, values.fitted(new, vr))

    def _private(
        self, source: Dataset, element: reading.Element, out: Dataset, place: str, depth: int, encodings: list[str]
    ) -> None:
        """A private element stays if its creator, number and VR are on the safe list; its block is reserved again."""
        tag = element.tag
        group, block = tag >> 16, tag >> 8 & 0xFF
        if "retain_safe_private" not in self.rules.options or block < 0x10:
            if not 0x10 <= tag & 0xFFFF <= 0xFF or "retain_safe_private" not in self.rules.options:
                self._note(place, REMOVE, "E.1-1 basic")
            return
        creator = BaseTag(group << 16 | block)
        row = tables.private().get((group, reading.first_text(source, creator).upper(), tag & 0xFF))
        vr = None if element.VR == "UN" and self.little_endian else element.VR  # UN is little endian everywhere
        if row is None or vr not in (None, row.vr):
            self._note(place, REMOVE, "E.1-1 basic")
            return
        decision = rules.by_vr(row.vr, 3, self.rules, row.rule, row.meaning)
        self._element(
            source,
            element._replace(VR=row.vr) if isinstance(element, RawDataElement) else element,
            decision,
            out,
            place,
            depth,
            encodings,
            False,
            "",
        )
        if tag in out and creator not in out:
            self._put(out, creator, "LO", row.creator)

    def _instead(
        self,
        tag: BaseTag,
        vr: str,
        decision: Decision,
        action: str,
        out: Dataset,
        place: str,
        rule: str,
        value: str = "",
    ) -> None:
        """Removed, empty or a dummy, instead of a value that may not stay."""
        if action == DUMMY:
            new = cleaning.dummy(vr, decision.handling, value, self.context)
            if new:
                self._note(place, DUMMY, rule)
                self._put(out, tag, vr, new)
                return
            if vr in WIDTHS or vr in rules.BINARY:
                self._note(place, DUMMY, rule)
                zero = bytes(WIDTHS.get(vr, ZERO_BYTES))
                out[tag] = RawDataElement(tag, vr, len(zero), zero, 0, False, True)
                return
            action = REMOVE
        self._note(place, action, rule)
        if action == EMPTY:
            out[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else None, already_converted=True)

    def _put(self, out: Dataset, tag: BaseTag, vr: str, value: str) -> None:
        """Text into `out`, as pydicom would hold it after reading."""
        if not value.isascii():
            self.ascii = False
        out[tag] = reading.typed(tag, vr, value)

    def _note(self, place: str, action: str, rule: str) -> None:
        self.audit.append(AuditEntry(place, action, rule))


def _as_raw(element: reading.Element, vr: str) -> reading.Element:
    return element if vr == element.VR else element._replace(VR=vr)
