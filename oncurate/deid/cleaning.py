"""How the text of an element is cleaned: one function per handling of the decision table.

Belongs here: the step from a handling's name to a judged value. Does not belong here: choosing the handling
(`oncurate.deid.rules`), sequences, bytes (`oncurate.deid.engine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oncurate.deid import text, values
from oncurate.deid.reading import PROSE
from oncurate.deid.text import Identifiers
from oncurate.identity import Keys


@dataclass(frozen=True)
class Context:
    """What cleaning one object needs to know of it."""

    keys: Keys
    subject: str
    harvested: Identifiers
    shift_dates: bool
    retain_uids: bool


IN_CHARACTER_SET = frozenset({"LO", "SH", "PN", "UC", *PROSE})
"""VRs whose values may have characters beyond ASCII (PS3.5 6.1.2.3)."""

VOCABULARIES = {
    **{"vendor": "manufacturer", "model": "model", "kernel": "kernel", "rescale": "rescale_type", "nucleus": "nucleus"},
    **{"tracer": "radiopharmaceutical", "route": "contrast_route"},
}
"""Handlings that ask a vocabulary of the allow-list first."""


def component(handling: str, value: str, context: Context) -> str:
    """What may stay of one component of a value; "" if nothing may."""
    if not value:
        return ""
    plain = _PLAIN.get(handling)
    if plain is not None:
        return plain(value) or ""
    worded = _WORDED.get(handling)
    if worded is not None:
        return worded(value, context.harvested)
    vocabulary = VOCABULARIES.get(handling)
    if vocabulary is not None:
        return values.named(value, vocabulary, context.harvested)
    return _SPECIAL[handling](value, context) or ""


def cleaned(handling: str, vr: str, value: str, context: Context) -> str:
    """What may stay of a whole value; components that may not stand empty, and none stands empty at the end."""
    parts = [values.visible(value)] if vr in PROSE else values.visible(value).split("\\")
    left = [values.fitted(component(handling, part.strip(), context), vr) for part in parts]
    if vr not in IN_CHARACTER_SET:
        left = [part if part.isascii() else "" for part in left]
    return "\\".join(left).rstrip("\\")


def kept(vr: str, value: str, context: Context) -> str:
    """A value that a policy keeps: as it is, without what names the person."""
    value = values.visible(value)
    parts = [value] if vr in PROSE else value.split("\\")
    return "\\".join(values.fitted(text.without(part.strip(), context.harvested), vr) for part in parts).rstrip("\\")


def dummy(vr: str, handling: str, value: str, context: Context) -> str:
    """What stands for a value that must not be empty."""
    if handling == "subject":
        return context.subject
    if vr == "UI":
        return context.keys.uid(values.visible(value).partition("\\")[0] or "none")
    return values.DUMMIES.get(vr, "")


def _term(value: str, harvested: Identifiers) -> str:
    stays, known = values.term(value)
    return stays if known or not stays else text.without(stays, harvested)


def _uid(value: str, context: Context) -> str:
    return _same_uid(value, context) if context.retain_uids else _new_uid(value, context)


def _same_uid(value: str, context: Context) -> str:
    return value if values.is_uid(value) else _new_uid(value, context)


def _new_uid(value: str, context: Context) -> str:
    return value if values.is_public_uid(value) else context.keys.uid(value)


def _number(value: str, context: Context) -> str:
    if values.NUMBERS.fullmatch(value.encode("ascii", "replace")) is None:
        return ""
    digits = "".join(c for c in value if c.isdigit())
    return "" if len(digits) >= text.LEAST_DIGITS and digits in context.harvested.joined else value


_PLAIN: dict[str, Callable[[str], str | None]] = {
    "time": values.time,
    "age": values.age,
    "zone": values.zone,
    "charset": values.charset,
    "context": values.context,
    "creator": values.creator,
}
_WORDED: dict[str, Callable[[str, Identifiers], str]] = {
    "text": text.clean,
    "label": values.label,
    "version": values.version,
    "attribute": values.attribute,
    "term": _term,
}
_SPECIAL: dict[str, Callable[[str, Context], str | None]] = {
    "uid": _uid,
    "same_uid": _same_uid,
    "new_uid": _new_uid,
    "number": _number,
    "date": lambda value, c: values.date(value, c.keys, c.subject, c.shift_dates),
    "datetime": lambda value, c: values.datetime(value, c.keys, c.subject, c.shift_dates),
    "keyed": lambda value, c: c.keys.uid(f"text\n{value}"),
}
