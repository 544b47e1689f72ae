"""What happens to each element under a policy: the decision table of the engine.

Belongs here: choosing between the rows of PS3.15 Table E.1-1, the options, our own additions and the rules by VR; and
`explain`, which prints the result. Does not belong here: carrying a decision out (`oncurate.deid.engine`).

Where several options apply to an attribute, cleaning goes before keeping, and dates follow the date option alone.
Mixed codes are resolved by the attribute's Type in its IOD: 1 a dummy, 2 empty, 3 removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from pydicom.datadict import DicomDictionary, keyword_for_tag

from oncurate.deid import tables
from oncurate.deid.marks import REPLACED
from oncurate.deid.policy import DATE_OPTIONS, DeidPolicy
from oncurate.deid.tables import ProfileRow

REMOVE, EMPTY, DUMMY, KEEP, CLEAN, UID = "X", "Z", "D", "K", "C", "U"
"""The actions, by their codes in PS3.15 E.1: Z is zero length, C cleaned by VR, U another UID."""

FREE_TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
NAMES = frozenset({"PN", "AE", "UR"})
NUMBERS_AS_TEXT = frozenset({"DS", "IS"})
BINARY_NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
DATES = frozenset({"DA", "DT", "TM"})
SUBJECT_TAGS = frozenset({0x00100010, 0x00100020})
"""PatientName and PatientID: both become the subject's name."""

DOCUMENTED = "E.1-1"
SCRUB = "scrub"
UNKNOWN = "own: unknown"

_REFERENCES = "U*"
_PERSONAL_DATES = frozenset({0x00100030, 0x00100033, 0x00100034, 0x00100035, 0x001021D0, 0x0040A13A})
_HIDDEN_GROUPS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
_CURVES, _OVERLAYS = 0x5000, 0x6000
_OVERLAY_DATA, _OVERLAY_COMMENTS = 0x3000, 0x4000


class Decision(NamedTuple):
    """What becomes of an element: `handling` says how it is cleaned; `otherwise` what if cleaning leaves nothing."""

    action: str
    vr: str
    handling: str
    otherwise: str
    rule: str
    why: str
    identity: bool = False  # its value names somebody: it is searched for everywhere else


class Rules:
    """The decisions of one policy; each is made once."""

    def __init__(self, policy: DeidPolicy) -> None:
        self.policy = policy
        self.options = policy.options()
        self._made: dict[tuple[int, str, str | None], Decision] = {}
        self._dates = DATE_OPTIONS[policy.dates]

    def decide(self, tag: int, iod: str, parent: str | None) -> Decision:
        """The decision about a standard element at the root of an IOD, or in an item of the sequence `parent`."""
        key = (tag, iod if parent is None else "", parent)
        made = self._made.get(key)
        if made is None:
            made = self._make(tag, iod, parent)
            if made.rule != UNKNOWN:  # of those there are as many as a hostile file likes
                self._made[key] = made
        return made

    def _make(self, tag: int, iod: str, parent: str | None) -> Decision:
        group, element = tag >> 16, tag & 0xFFFF
        if tag in REPLACED:
            return _removed("", "own: marks", "what an earlier de-identification says of itself is replaced")
        if group in _HIDDEN_GROUPS or element == 0:
            return _removed("", "own: group", "file meta, commands, directory records and group lengths are made anew")
        if group & 0xFF00 == _CURVES or group & 0xFF00 == _OVERLAYS:
            return self._graphics(group, element)
        keyword = keyword_for_tag(tag)
        number = tables.type_of(keyword, iod, parent) if keyword else 3
        row = tables.profile_by_tag().get(tag)
        if row is not None:
            return self._listed(row, number, tag)
        entry = DicomDictionary.get(tag)
        if entry is None or not keyword:
            return _removed("", UNKNOWN, "not in the installed edition of the standard's dictionary")
        return self._unlisted(keyword, entry[0], number)

    def _graphics(self, group: int, element: int) -> Decision:
        if group & 0xFF00 == _CURVES:
            return _removed("", f"{DOCUMENTED} basic", "curve data")
        if self.policy.roi_overlays != "keep" or element == _OVERLAY_COMMENTS:
            rule = "E.1-1 basic" if element in (_OVERLAY_DATA, _OVERLAY_COMMENTS) else "own: overlay"
            return _removed("", rule, "overlays may show text; without its data the rest of the group means nothing")
        entry = DicomDictionary.get(0x60000000 | element)
        vr = entry[0] if entry else _overlay_vr(element)
        if not vr:
            return _removed("", UNKNOWN, "not in the installed edition of the standard's dictionary")
        if element == _OVERLAY_DATA:
            return Decision(CLEAN, vr, "binary", REMOVE, "E.1-1 clean_graphics", "an outline of a region of interest")
        return by_vr(vr, 3, self, "own: overlay", "belongs to an outline of a region of interest")

    def _listed(self, row: ProfileRow, number: int, tag: int) -> Decision:
        code, rule = self._code(row)
        action = resolve(code, number)
        vr = row.vr
        if tag in SUBJECT_TAGS:
            return Decision(DUMMY, vr, "subject", DUMMY, rule, "the subject's keyed name", identity=True)
        if vr == "SQ":
            return self._sequence(action, rule, row)
        otherwise = resolve(row.basic, number)
        if otherwise in (KEEP, CLEAN, UID):
            otherwise = REMOVE
        addition = tables.additions().get(row.keyword)
        handling = addition.handling if addition is not None else _handling(vr)
        if vr in BINARY and action in (CLEAN, KEEP):
            action, rule = otherwise, "own: bytes"
        if vr == "UI":
            handling = "same_uid" if action == KEEP else "new_uid"
        personal = not row.options or (
            bool(row.options.keys() & RETAINED_TEXT) and not row.options.keys() & self.options
        )
        identity = (vr in FREE_TEXT or vr in NAMES) and personal and "clean_descriptors" not in row.options
        identity |= vr == "PN" or tag in _PERSONAL_DATES
        return Decision(action, vr, handling, otherwise, rule, row.name, identity)

    def _sequence(self, action: str, rule: str, row: ProfileRow) -> Decision:
        """A sequence is never kept whole: to keep it is to treat each of its items by these rules."""
        handling = SCRUB if action == DUMMY else "items"
        return Decision(CLEAN if action in (KEEP, UID) else action, "SQ", handling, EMPTY, rule, row.name)

    def _code(self, row: ProfileRow) -> tuple[str, str]:
        """The action code of a row under the options, and the rule that gave it."""
        enabled = {name: code for name, code in row.options.items() if name in self.options}
        if any(name.startswith("retain_longitudinal") for name in row.options):
            enabled = {name: code for name, code in enabled.items() if name in self._dates}
        for wanted in (CLEAN, KEEP):
            for name in tables.OPTIONS:
                if enabled.get(name) == wanted:
                    return wanted, f"{DOCUMENTED} {name}"
        return row.basic, f"{DOCUMENTED} basic"

    def _unlisted(self, keyword: str, vr: str, number: int) -> Decision:
        addition = tables.additions().get(keyword)
        gone = resolve("X/Z/D", number)
        if addition is not None:
            rule = f"own: {addition.handling}"
            if addition.handling == "remove":
                return Decision(gone, vr, _handling(vr), gone, rule, addition.why)
            return Decision(CLEAN, vr, addition.handling, gone, rule, addition.why)
        return by_vr(vr, number, self, "", "")


@lru_cache(maxsize=8)
def rules_of(policy: DeidPolicy) -> Rules:
    """The decisions of a policy, made once a process."""
    return Rules(policy)


RETAINED_TEXT = frozenset({"retain_device_identity", "retain_institution_identity", "retain_patient_characteristics"})
"""Options whose attributes identify where the option is not taken."""

_BY_VR = {
    "SQ": ("items", "own: items", "every item is treated by the same rules"),
    "UI": ("uid", "own: UID", "not one of DICOM's own UIDs"),
    "CS": ("term", "own: term", "code strings stay if they are terms of the standard or of the vocabulary"),
    "AS": ("age", "own: age", "ages above 89 are pooled"),
}


def by_vr(vr: str, number: int, rules: Rules, rule: str, why: str) -> Decision:
    """What the standard does not list as identifying: by its VR."""
    gone = resolve("X/Z/D", number)
    if vr in _BY_VR:
        handling, own, reason = _BY_VR[vr]
        if vr == "CS" and number > 1:
            gone = EMPTY  # an empty code string says that there was one
        return Decision(CLEAN, vr, handling, gone, rule or own, why or reason)
    if vr in FREE_TEXT:
        reason = "free text that Table E.1-1 does not list: a closed vocabulary decides"
        action = CLEAN if "clean_descriptors" in rules.options else gone
        return Decision(action, vr, "text", gone, rule or "own: text", why or reason)
    if vr in NAMES:
        reason = "names, application entities and addresses have no safe form"
        return Decision(gone, vr, "text", gone, rule or "own: name", why or reason, identity=vr == "PN")
    if vr in DATES:
        return _date(vr, gone, rules, rule, why)
    if vr in NUMBERS_AS_TEXT:
        return Decision(CLEAN, vr, "number", EMPTY, rule or "own: number", why or "kept if it is a number")
    if any(part in BINARY_NUMBERS for part in vr.split(" or ")) and "OW" not in vr:
        return Decision(CLEAN, vr, "words", gone, rule or "own: number", why or "binary numbers are kept")
    reason = "bytes that nothing vouches for"
    return Decision(gone, vr, "binary", gone, rule or "own: bytes", why or reason)


def _date(vr: str, gone: str, rules: Rules, rule: str, why: str) -> Decision:
    reason = why or "a date or time that Table E.1-1 does not list: as those that it lists"
    if rules.policy.dates == "full":
        return Decision(KEEP, vr, _handling(vr), gone, rule or "own: date", reason)
    if rules.policy.dates == "none" and vr != "TM":
        return Decision(gone, vr, _handling(vr), gone, rule or "own: date", reason)
    return Decision(CLEAN, vr, _handling(vr), gone, rule or "own: date", reason)


def resolve(code: str, number: int) -> str:
    """One action of a possibly mixed code, by the attribute's Type: "X/Z/D" of Type 2 is "Z"."""
    if _REFERENCES in code:  # the references inside stay, with other UIDs: one of the three choices of E.1
        return UID
    choices = code.split("/")
    wanted = {1: (DUMMY, EMPTY, REMOVE), 2: (EMPTY, DUMMY, REMOVE), 3: (REMOVE, EMPTY, DUMMY)}[number]
    return next((action for action in wanted if action in choices), choices[0])


def _handling(vr: str) -> str:
    named = {"UI": "uid", "CS": "term", "DA": "date", "DT": "datetime", "TM": "time", "AS": "age", "SQ": "items"}
    if vr in named:
        return named[vr]
    if vr in NUMBERS_AS_TEXT:
        return "number"
    if vr in BINARY_NUMBERS:
        return "words"
    return "text" if vr in FREE_TEXT or vr in NAMES else "binary"


def _overlay_vr(element: int) -> str:
    return {
        **{0x10: "US", 0x11: "US", 0x15: "IS", 0x22: "LO", 0x40: "CS", 0x45: "LO", 0x50: "SS", 0x51: "US"},
        **{0x100: "US", 0x102: "US", 0x1301: "IS", 0x1302: "DS", 0x1303: "DS", 0x1500: "LO", 0x3000: "OW"},
    }.get(element, "")


def _removed(vr: str, rule: str, why: str) -> Decision:
    return Decision(REMOVE, vr, "", REMOVE, rule, why)


def explain(policy: DeidPolicy) -> Iterator[dict[str, Any]]:
    """What happens to each element: rows `tag`, `keyword`, `vr`, `action`, `rule`, `why`.

    Every row of Table E.1-1, every other element of the standard's dictionary, every private element of the safe list.
    A mixed action ("X/Z/D") depends on the Type of the attribute in its IOD.
    """
    rules = Rules(policy)
    listed = tables.profile_by_tag()
    for row in tables.profile():
        code, rule = rules._code(row)
        if row.tag == "PRIVATE":
            kept = policy.retain_safe_private
            code, rule = ("C" if kept else "X"), f"{DOCUMENTED} {'retain_safe_private' if kept else 'basic'}"
        elif "x" in row.tag:  # 50xxxxxx, 60xx3000, 60xx4000
            made = rules._graphics(int(row.tag[:4].replace("x", "0"), 16), int(row.tag[4:].replace("x", "0"), 16))
            code, rule = made.action, made.rule
        elif int(row.tag[:4], 16) in _HIDDEN_GROUPS:
            code, rule = REMOVE, "own: group"
        yield {"tag": row.tag, "keyword": row.keyword, "vr": row.vr, "action": code, "rule": rule, "why": row.name}
    for tag in sorted(DicomDictionary):
        if tag in listed:
            continue
        keyword, vr = keyword_for_tag(tag), DicomDictionary[tag][0]
        made = rules._make(tag, "", None)
        action = "X/Z/D" if made.action == REMOVE and made.rule.startswith("own") and made.vr else made.action
        yield {"tag": f"{tag:08X}", "keyword": keyword, "vr": vr, "action": action, "rule": made.rule, "why": made.why}
    for entry in tables.private().values():
        yield {
            "tag": f"{entry.group:04X}xx{entry.element:02X} {entry.creator}",
            "keyword": entry.meaning,
            "vr": entry.vr,
            "action": "C" if policy.retain_safe_private else "X",
            "rule": entry.rule,
            "why": entry.why or "on the standard's list of safe private attributes",
        }
