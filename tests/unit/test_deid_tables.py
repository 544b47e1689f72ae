"""Every row of the tables does what it says, under every option."""

from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from oncurate import deid
from oncurate.deid import rules, structured, tables, values
from oncurate.deid.policy import OPTION_CODES, DeidPolicy
from oncurate.identity import Keys
from tests import phantoms

KEYS = Keys(b"s" * 32)
SUBJECT = KEYS.subject_id("PHANTOM-1", "")
BASIC = DeidPolicy(
    dates="none",
    clean_graphics=False,
    clean_structured_content=False,
    clean_descriptors=False,
    retain_patient_characteristics=False,
    retain_safe_private=False,
)
POLICIES = {
    "basic": BASIC,
    "default": DeidPolicy(),
    "modified dates": BASIC.model_copy(update={"dates": "modified"}),
    "full dates": BASIC.model_copy(update={"dates": "full"}),
    **{
        name: BASIC.model_copy(update={name: True})
        for name in (
            *("clean_graphics", "clean_structured_content", "clean_descriptors", "retain_patient_characteristics"),
            *("retain_device_identity", "retain_institution_identity", "retain_safe_private", "retain_uids"),
        )
    },
}
VALUES = {
    **{"CS": "CANARYZ", "DA": "20200102", "TM": "101112", "DT": "20200102101112", "AS": "045Y", "IS": "7", "DS": "7.5"},
    **{"UI": "1.2.3.4.5", "US": 3, "SS": 3, "UL": 3, "FL": 3.0, "FD": 3.0, "OB": b"canaryzz", "OW": b"canaryzz"},
    **{"UN": b"canaryzz"},
}
SKIPPED = {"00080018", "00100010", "00100020", "00420011"}
"""Instance UID and subject, which every object needs; encapsulated documents, which are refused."""


def rows():
    plain = [row for row in tables.profile() if len(row.tag) == 8 and "x" not in row.tag]
    return [row for row in plain if row.tag not in SKIPPED and row.tag[:4] not in ("0000", "0002", "0004")]


def value_of(row: tables.ProfileRow):
    """A value of the row's VR; text is another one for each row, so that taking out a name leaves the others."""
    return VALUES.get(row.vr, f"canary{row.tag}")


def planted() -> Dataset:
    """An image with a value in every attribute of Table E.1-1."""
    ds = phantoms.dataset()
    for row in rows():
        tag = int(row.tag, 16)
        if row.vr == "SQ":
            item = Dataset()
            item.ReferencedSOPInstanceUID, item.InstanceNumber = "1.2.3.4.5.6", 4
            ds[tag] = DataElement(tag, "SQ", Sequence([item]))
        else:
            ds[tag] = DataElement(tag, row.vr, value_of(row))
    return ds


def expected(row: tables.ProfileRow, policy: DeidPolicy) -> str:
    """The action of a row, read off the table again: dates follow the date option, cleaning goes before keeping."""
    options = policy.options()
    dated = any(name.startswith("retain_longitudinal") for name in row.options)
    codes = {c for n, c in row.options.items() if n in options and (not dated or n.startswith("retain_longitudinal"))}
    if codes and row.vr not in ("OB", "OW", "UN"):  # bytes cannot be cleaned, and nothing vouches for them
        return "C" if "C" in codes else "K"
    choices = row.basic.split("/")
    if len(choices) == 1:
        return choices[0]
    if "U*" in choices:
        return "U"
    order = {1: "DZX", 2: "ZDX", 3: "XZD"}[tables.type_of(row.keyword, "ct-image", None)]
    return next(action for action in order if action in choices)


@pytest.mark.parametrize("name", POLICIES)
def test_every_row_of_the_profile_is_applied(name: str) -> None:
    policy = POLICIES[name]
    out, _ = deid.clean_object(planted(), KEYS, policy, SUBJECT)
    wrong = [row.name for row in rows() if not as_expected(row, expected(row, policy), out, policy)]
    assert wrong == []


def as_expected(row: tables.ProfileRow, action: str, out: Dataset, policy: DeidPolicy) -> bool:
    tag = int(row.tag, 16)
    if action == "X":
        return tag not in out
    if row.vr == "SQ":
        if action == "Z":
            return tag in out and len(out[tag].value) == 0
        held = tag in out and len(out[tag].value) == 1
        kept_uid = held and out[tag].value[0].ReferencedSOPInstanceUID == "1.2.3.4.5.6"
        return held and kept_uid == policy.retain_uids
    value = str(out[tag].value) if tag in out else None
    if action == "Z":
        return value in ("", "None")
    if action == "D":
        return value not in (None, "", "None", str(value_of(row)))
    if action == "U":
        return value is not None and value.startswith("2.25.")
    if action == "K":
        return value == str(value_of(row)) or row.vr == "CS"
    if row.vr in ("DA", "DT"):
        return value == (KEYS.shift_date("20200102", SUBJECT) or "") + ("101112" if row.vr == "DT" else "")
    return value is None or "canary" not in value.lower()


@pytest.mark.parametrize("name", POLICIES)
def test_explain_lists_every_element_once(name: str) -> None:
    lines = list(deid.explain(POLICIES[name]))
    assert len({line["tag"] for line in lines}) == len(lines) > 5000
    assert all(line["action"] and line["rule"] and line["why"] for line in lines)
    by_tag = {line["tag"]: line["action"] for line in lines}
    for row in tables.profile():
        hidden = "x" in row.tag or row.tag[:4] in ("0000", "0002", "0004")
        if "/" not in row.basic and not hidden and not set(row.options) & POLICIES[name].options():
            assert by_tag[row.tag] == row.basic


def test_the_tables_are_whole() -> None:
    assert len(tables.profile()) == 657
    assert len(tables.content()) == 214
    assert sum(row.rule == "E.3.10" for row in tables.private().values()) == 87
    assert all(row.why for row in tables.private().values() if row.rule == "own")
    assert all(addition.why for addition in tables.additions().values())
    assert {name for row in tables.profile() for name in row.options} <= set(tables.OPTIONS) <= set(OPTION_CODES)


@pytest.mark.parametrize(
    ("code", "by_type"),
    [("X", "XXX"), ("X/D", "DDX"), ("X/Z", "ZZX"), ("Z/D", "DZZ"), ("X/Z/D", "DZX"), ("X/Z/U*", "UUU")],
)
def test_mixed_codes_are_resolved_by_type(code: str, by_type: str) -> None:
    assert "".join(rules.resolve(code, number) for number in (1, 2, 3)) == by_type


def test_types_differ_by_iod_and_by_sequence() -> None:
    assert tables.type_of("PositionReferenceIndicator", "ct-image", None) == 2
    assert tables.type_of("SegmentLabel", "ct-image", "SegmentSequence") == 1
    assert tables.type_of("SegmentLabel", "ct-image", None) == 3
    assert tables.type_of("ManufacturerModelName", "segmentation", None) == 1
    assert tables.type_of("ManufacturerModelName", "computed-radiography-image", None) == 3


def test_policies_are_strict_and_their_rules_are_made_once() -> None:
    with pytest.raises(ValueError):
        DeidPolicy(unknown=True)
    assert rules.rules_of(DeidPolicy()) is rules.rules_of(DeidPolicy())


@pytest.mark.parametrize("name", POLICIES)
def test_every_row_of_the_content_table_is_applied(name: str) -> None:
    options = POLICIES[name].options()
    for (scheme, code, kind), row in tables.content().items():
        concept, item = Dataset(), Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator = code, scheme
        item.ValueType, item.ConceptNameCodeSequence = kind, Sequence([concept])
        codes = {c for n, c in row.options.items() if n in options}
        is_reference = kind in ("IMAGE", "COMPOSITE", "WAVEFORM", "UIDREF")
        may_stay = is_reference and "D" in row.basic.split("/")  # another UID is a dummy
        basic = "C" if may_stay else row.basic[0]
        found = structured.verdict(item, options)
        assert found is not None
        assert found[0] == ("C" if "C" in codes else "K" if "K" in codes else basic), row.meaning


def test_other_items_are_no_business_of_the_content_table() -> None:
    assert structured.verdict(Dataset(), frozenset()) is None


@pytest.mark.parametrize("raw", [b" " * 100_000 + b"x", b"1" * 100_000, b"1\\" * 100_000 + b"x", b"1 " * 50_000])
def test_hostile_numbers_are_judged_in_no_time(raw: bytes) -> None:
    assert values.NUMBERS.fullmatch(raw) is None
