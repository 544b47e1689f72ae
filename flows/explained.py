"""What `oncurate deidentify --explain` prints: the fate of each element, for whoever has to answer for it.

Belongs here: filtering, words for the codes, the three forms. Does not belong here: the decisions
(`oncurate.deid.rules`).
"""

from __future__ import annotations

import csv
import difflib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oncurate import deid
from oncurate.burnedin import Policy
from oncurate.deid.marks import METHOD, options_taken
from oncurate.deid.policy import DeidPolicy
from oncurate.deid.rules import SUBJECT_TAGS
from oncurate.errors import UsageError

WIDTH = 120
COLUMNS = ("tag", "keyword", "vr", "action", "meaning", "rule", "why")

_WORDS = {"X": "removed", "Z": "emptied", "D": "dummy", "K": "kept", "C": "cleaned", "U": "new UID", "U*": "new UIDs"}
_CLEANED = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC"), "known words kept"),
    **dict.fromkeys(("DS", "IS"), "kept if a number"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT", "US or SS"), "numbers kept"),
    "DA": "shifted",
    "DT": "shifted",
    "TM": "kept if a time",
    "CS": "known terms kept",
    "AS": "kept, pooled over 89",
    "UI": "new UID",
    "SQ": "each item cleaned",
}
"""What cleaning means for an element, by its VR."""

_TEXT: dict[Policy, str] = {
    "quarantine": "images that show text, or may show it, are refused",
    "mask": "text that is found is blanked; images that may show text which cannot be found are refused",
    "trust": "as they are, on the provider's word that no image shows text",
}

_SUBJECT = frozenset(f"{tag:08X}" for tag in SUBJECT_TAGS)
_TAG = re.compile(r"\(?([0-9a-fx]{4}),?([0-9a-fx]{4})\)?", re.IGNORECASE)


def show(policy: DeidPolicy, text: Policy, wanted: Sequence[str], *, as_json: bool, as_csv: bool) -> None:
    """Print the rows of the elements that `wanted` names by keyword, pattern or tag, or all of them."""
    rows = select([_row(row) for row in deid.explain(policy)], wanted)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print(rows, policy, text)


def select(rows: list[dict[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that match any of `wanted`; `UsageError` names what matches none, with the nearest keyword."""
    found: list[dict[str, Any]] = []
    for name in wanted:
        matching = [row for row in rows if _matches(row, name)]
        if not matching:
            keywords = {row["keyword"].casefold(): row["keyword"] for row in rows if " " not in row["keyword"]}
            close = difflib.get_close_matches(name.casefold(), keywords, n=1)
            raise UsageError(f"no element '{name}'" + (f"; did you mean '{keywords[close[0]]}'?" if close else ""))
        found += [row for row in matching if row not in found]
    return found if wanted else rows


def _matches(row: dict[str, Any], name: str) -> bool:
    tag = _TAG.fullmatch(name.strip())
    if tag is None:
        return fnmatchcase(row["keyword"].casefold(), name.strip().casefold())
    told, digits = row["tag"][1:10].replace(",", ""), (tag[1] + tag[2]).upper()
    return all(a == b or "x" in (a, b.lower()) for a, b in zip(told, digits, strict=False))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    tag = row["tag"]
    if _TAG.match(tag):
        tag = f"({tag[:4]},{tag[4:8]}){tag[8:]}"
    return {**row, "tag": tag, "meaning": meaning(row["action"], row["vr"], row["tag"])}


def meaning(action: str, vr: str, tag: str) -> str:
    """What happens to an element, in words, by its action code (PS3.15 Table E.1-1a) and its VR.

    A mixed action depends on the Type of the attribute in its IOD.
    """
    if tag in _SUBJECT:
        return "keyed name instead"
    if action == "C":
        return _CLEANED.get(vr, _WORDS["C"])
    if action == "K" and vr in ("SQ", "AS"):  # a sequence is never kept whole, ages are always pooled
        return _CLEANED[vr]
    words = [_WORDS[code] for code in action.split("/")]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}, by Type"


def _print(rows: list[dict[str, Any]], policy: DeidPolicy, text: Policy) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(expand=True, box=SIMPLE_HEAD)
    table.add_column("tag", width=14)
    table.add_column("keyword", overflow="fold", ratio=6)
    table.add_column("VR", width=5)
    table.add_column("action", width=6)
    table.add_column("what happens", width=20)
    table.add_column("rule", ratio=5)
    for row in rows:
        listed = row["rule"].startswith("E.1-1")  # then the reason is the name of the attribute
        name, why = (row["keyword"] or row["why"], "") if listed else (row["keyword"], row["why"])
        rule = row["rule"].replace("_", " ")
        cells = (row["tag"], name, row["vr"], row["action"], row["meaning"], f"{rule}: {why}" if why else rule)
        table.add_row(*map(escape, cells))
    taken = "; ".join(f"{option} ({code})" for code, option in options_taken(policy, "kept"))
    taken = f"{METHOD}. {taken}. Pixels: {_TEXT[text]}."
    counts = Counter(row["meaning"] for row in rows)
    summary = ", ".join(f"{number} {word}" for word, number in counts.most_common())
    if sys.stdout.isatty() and len(rows) > console.height:
        with console.pager(styles=True):
            _print_parts(console, taken, table, len(rows), summary)
    else:
        _print_parts(console, taken, table, len(rows), summary)


def _print_parts(console: Console, taken: str, table: Table, number: int, summary: str) -> None:
    console.print(taken, highlight=False)
    console.print(table)
    console.print(f"{number} elements: {summary}", highlight=False)
