"""Codes are read as written and mapped to SNOMED CT by tables, never by guess."""

from __future__ import annotations

import csv
from importlib import resources

import pytest
from pydicom.sr import _concepts_dict

from oncurate.annotations import codes
from oncurate.annotations.model import Code
from tests import annotated


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Liver", "10200004"),
        ("LIVER", "10200004"),
        ("Lung_L", "39607008"),
        ("Right Lung", "39607008"),
        ("lungRight", "39607008"),
        ("Spinal_Cord", "2748008"),
        ("SpinalCord", "2748008"),
        ("Bladder", "89837001"),
        ("GTV", "228791009"),
        ("GTV-1", "228791009"),
        ("CTV 60Gy", "228792002"),
        ("ptv_high", "228793007"),
        ("tumour", "108369006"),
        ("Heart", "80891009"),
    ],
)
def test_common_names(name, value):
    assert codes.snomed(name).value == value


@pytest.mark.parametrize("name", ["", "Left", "structure 7", "couch", "liver minus gtv", "Doe^Test", "ctvx", "12345"])
def test_other_names_have_no_code(name):
    assert codes.snomed(name) is None


@pytest.mark.parametrize(
    ("name", "side"),
    [("Lung_L", "7771000"), ("right kidney", "24028007"), ("Femur Rt", "24028007"), ("lungs", None), ("L and R", None)],
)
def test_sides(name, side):
    found = codes.laterality(name)
    assert (found.value if found else None) == side


def test_older_codes_become_snomed_ct():
    assert codes.snomed(Code("T-62000", "SRT", "Liver")) == Code("10200004", "SCT", "Liver structure")
    assert codes.snomed(Code("T-62000", "99SDM", "Liver")).value == "10200004"
    assert codes.snomed(Code("T-62000", "99LOCAL", "Liver")) is None
    assert codes.snomed(Code("X-99999", "SRT", "nothing")) is None
    assert codes.snomed(Code("126401", "DCM", "SUVbw")) is None
    assert codes.snomed(None) is None


def test_the_terminology_s_meaning_goes_before_the_one_given():
    assert codes.snomed(Code("10200004", "SCT", "hepar")).meaning == "Liver structure"
    assert codes.snomed(Code("999999999", "SCT", "made up")).meaning == "made up"


def test_every_code_of_the_table_is_one_of_the_terminology():
    text = resources.files("oncurate").joinpath("data/annotations/structures.csv").read_text("utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    known = {v: m for values in _concepts_dict.concepts["SCT"].values() for v, (m, _) in values.items()}
    assert len(rows) > 70
    for row in rows:
        assert known[row["code"]].startswith(row["meaning"]), row["name"]
    names = [name for row in rows for name in (row["name"], *row["synonyms"].split("|")) if name]
    assert len(set(names)) == len(names)
    assert all(name == " ".join(name.lower().split()) for name in names)


def test_long_and_missing_code_values():
    item = annotated.code("1", "SCT", "m")
    del item.CodeValue
    assert codes.code_of(item) is None
    item.LongCodeValue = "12345678901234567890"
    assert codes.code_of(item) == Code("12345678901234567890", "SCT", "m")
    assert codes.code_of(None) is None
