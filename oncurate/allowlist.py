"""The allow-list: which attributes may leave the pipeline, and which of their values.

Belongs here: reading the tables in `oncurate/data/` and judging one header's attributes by them. Does not belong here:
what is derived with the secret or from several attributes (`oncurate.deidentify`). To let another attribute, body part,
manufacturer, model or kernel pass, add a line to a table; nothing in here has to change.

No free text passes, ever. A string leaves only as a term of a closed vocabulary, in the vocabulary's own spelling, or
if it is a kernel name of a form too narrow to hold a name, a number or a date. A number leaves only within the range
that is plausible for its attribute, rounded to the precision with which scanners know it. All else is dropped and
counted.

`allowlist.csv`, one line an attribute, in the order of preference where several share an `output`: `keyword` (dots lead
into the first item of a sequence), `output` (its name when it leaves), `vr`, `rule`, `min`, `max`, `unit`,
`vocabulary`, `modalities` (empty: all; several are separated by blanks), `where` (a `column` of a table, or only
`json`), `why` (purpose and source). Rules: `number`, `numbers` (a list), `term`, `terms` (joined by a backslash), and
`source`: collected, because something is derived from it, and never passed on.

Vocabularies, one line a term: `vocabulary`, `term` (how it leaves), `aliases` (how else it arrives, separated by `|`;
one that ends in `*` stands for all that begin so, the longest such beginning first). Comparison ignores case, blanks
and the separators - _ . , : ; /
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from oncurate.errors import Defect

VOCABULARY_FILES = ("terms.csv", "body_parts.csv", "manufacturers.csv", "models.csv", "kernels.csv")

SIGNIFICANT_DIGITS = 7
"""Digits. Single precision, which is what scanners compute with; further digits could only carry something else."""

MANY = 16
"""Values. The longest list that any allow-listed attribute has in the field is shorter."""

TERM_CHARACTERS = 64
"""Characters. The longest value that VR LO allows (PS3.5 6.2)."""

PATTERNS = {
    "kernel": re.compile(
        r"(?:[BHTUIJDQ]|B[flrv]|H[cfprv]|Qr|S[ad]|U[bnr]|Tr|E[bfr]|A[rv])[0-9]{2}[a-z]?"  # Siemens: region, sharpness
        r"|FC[0-9]{2}(?:-H)?"  # Canon and Toshiba
    )
}
"""What a vocabulary takes besides its terms: at most 6 characters, two of them digits, after one of a few prefixes."""

_SEPARATORS = re.compile(r"[\s_./,:;\-]+")


@dataclass(frozen=True)
class Rule:
    """One line of the allow-list."""

    keyword: str
    output: str
    rule: str
    low: float
    high: float
    vocabulary: str
    modalities: frozenset[str]
    where: str


@dataclass(frozen=True)
class Vocabulary:
    """A closed list of terms: every accepted spelling, folded, to the one that leaves."""

    terms: tuple[str, ...]
    spellings: Mapping[str, str]
    prefixes: tuple[tuple[str, str], ...]
    pattern: re.Pattern[str] | None

    def find(self, value: str) -> str | None:
        """The term that `value` is a spelling of, or None."""
        if len(value) > TERM_CHARACTERS:
            return None
        folded = fold(value)
        found = self.spellings.get(folded)
        if found is not None:
            return found
        for prefix, term in self.prefixes:
            if folded.startswith(prefix):
                return term
        bare = value.strip(" \0")
        return bare if self.pattern is not None and self.pattern.fullmatch(bare) else None


def fold(value: str) -> str:
    """`value` without case and separators: the form in which terms are compared."""
    return _SEPARATORS.sub("", value.strip("\0")).casefold()


def term(vocabulary: str, value: Any) -> str | None:
    """`value` in the spelling of `vocabulary`, or None if it is not one of its terms."""
    return VOCABULARIES[vocabulary].find(value) if isinstance(value, str) else None


def clean(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What may leave of a header's raw attributes, by output name, and the names of those that may not.

    Attributes under the rule `source` are in neither. `attributes["Modality"]` decides about those that leave for some
    modalities only.
    """
    modality = attributes.get("Modality")
    kept: dict[str, Any] = {}
    dropped = [keyword for keyword in attributes if keyword not in KEYWORDS]
    for rule in RULES:
        value = attributes.get(rule.keyword)
        if value is None or value == "" or value == [] or rule.rule == "source":
            continue
        accepted = None if rule.modalities and modality not in rule.modalities else _accept(rule, value)
        if accepted is None:
            dropped.append(rule.keyword)
        else:
            kept.setdefault(rule.output, accepted)
    return kept, tuple(sorted(dropped))


def _accept(rule: Rule, value: Any) -> Any:
    """The value that may leave, or None."""
    if rule.rule in ("number", "numbers"):
        many = value if isinstance(value, list | tuple) else [value]
        if len(many) > (MANY if rule.rule == "numbers" else 1):
            return None
        numbers = [_number(rule, item) for item in many]
        if None in numbers:
            return None
        return numbers if rule.rule == "numbers" else numbers[0]
    if rule.rule == "term":
        many = value if isinstance(value, list | tuple) else [value]
        return term(rule.vocabulary, many[0]) if len(many) == 1 else None
    many = value.split("\\") if isinstance(value, str) else value
    if not isinstance(many, list | tuple) or len(many) > MANY:
        return None
    return "\\".join(t for t in (term(rule.vocabulary, item) for item in many) if t is not None) or None


def _number(rule: Rule, value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if not rule.low <= value <= rule.high:
        return None
    rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return int(rounded) if isinstance(value, int) else rounded


def _read(name: str) -> list[dict[str, str]]:
    text = resources.files("oncurate").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _rules() -> tuple[Rule, ...]:
    return tuple(
        Rule(
            keyword=line["keyword"],
            output=line["output"],
            rule=line["rule"],
            low=float(line["min"] or "-inf"),
            high=float(line["max"] or "inf"),
            vocabulary=line["vocabulary"],
            modalities=frozenset(line["modalities"].split()),
            where=line["where"],
        )
        for line in _read("allowlist.csv")
    )


def _vocabularies() -> dict[str, Vocabulary]:
    lines: dict[str, list[tuple[str, list[str]]]] = {}
    for file in VOCABULARY_FILES:
        for line in _read(file):
            aliases = [alias for alias in line["aliases"].split("|") if alias]
            lines.setdefault(line["vocabulary"], []).append((line["term"], aliases))
    return {name: _vocabulary(name, entries) for name, entries in lines.items()}


def _vocabulary(name: str, entries: list[tuple[str, list[str]]]) -> Vocabulary:
    spellings: dict[str, str] = {}
    prefixes: list[tuple[str, str]] = []
    for spelt, aliases in entries:
        for alias in (spelt, *aliases):
            if alias.endswith("*"):
                prefixes.append((fold(alias[:-1]), spelt))
            elif spellings.setdefault(fold(alias), spelt) != spelt:
                raise Defect(f"vocabulary {name}: {alias} stands for two terms")
    longest_first = sorted(prefixes, key=lambda entry: -len(entry[0]))
    return Vocabulary(tuple(t for t, _ in entries), spellings, tuple(longest_first), PATTERNS.get(name))


RULES: tuple[Rule, ...] = _rules()
"""The allow-list, in the order of the file."""

VOCABULARIES: dict[str, Vocabulary] = _vocabularies()
"""The closed vocabularies by name."""

KEYWORDS: frozenset[str] = frozenset(rule.keyword for rule in RULES)
"""All that index has to collect of a header: what may leave, and what is only a source of something derived."""
