"""The allow-list's tables are consistent, and nothing passes that they do not name."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from oncurate import allowlist, suv
from oncurate.columns.images import TECHNICAL

CANARY = "CANARY7F3A^JOHN"
RULES = {"number", "numbers", "term", "terms", "source"}
OURS = {"UltrasoundRegions", *suv.PRIVATE}


@pytest.mark.parametrize("rule", allowlist.RULES, ids=lambda rule: rule.keyword)
def test_every_line_is_complete(rule):
    assert rule.rule in RULES
    if rule.rule in ("term", "terms"):
        assert rule.vocabulary in allowlist.VOCABULARIES
    if rule.rule in ("number", "numbers"):
        assert -1e7 <= rule.low < rule.high <= 1e10
    if rule.rule != "source":
        assert rule.where in ("column", "json")
        assert rule.output
    for keyword in rule.keyword.split("."):
        assert keyword in OURS or tag_for_keyword(keyword) is not None


def test_the_declared_vr_is_the_standards():
    for line in allowlist._read("allowlist.csv"):
        assert line["why"]
        if line["vr"]:
            assert line["vr"] in dictionary_VR(line["keyword"].rpartition(".")[2])


def test_every_technical_column_can_be_filled():
    outputs = {rule.output for rule in allowlist.RULES if rule.where == "column"}
    assert {name for name, _, _ in TECHNICAL} <= outputs


def test_every_vocabulary_is_used():
    used = {rule.vocabulary for rule in allowlist.RULES} | {"photometric"}
    assert used - {""} == set(allowlist.VOCABULARIES)


def test_terms_are_their_own_spelling():
    for name, vocabulary in allowlist.VOCABULARIES.items():
        for term in vocabulary.terms:
            assert allowlist.term(name, term) == term


@pytest.mark.parametrize("rule", allowlist.RULES, ids=lambda rule: rule.keyword)
@pytest.mark.parametrize("value", [CANARY, [CANARY, CANARY], {"a": CANARY}, [[CANARY]], b"CANARY7F3A", 9.9e11, True])
def test_no_planted_value_passes_any_rule(rule, value):
    kept, _ = allowlist.clean({rule.keyword: value, "Modality": "PT"})
    assert "CANARY" not in repr(kept).upper()
    assert rule.rule == "source" or kept.get(rule.output) in (None, "PT", "US", "OTHER")


@pytest.mark.parametrize("prefix", ["SIEMENS", "PHILIPS", "GE MEDICAL SYSTEMS"])
def test_what_follows_a_known_beginning_does_not_pass(prefix):
    kept, _ = allowlist.clean({"Manufacturer": f"{prefix} {CANARY}"})
    assert kept["Manufacturer"] in allowlist.VOCABULARIES["manufacturer"].terms


def test_terms_leave_in_one_spelling():
    kept, dropped = allowlist.clean(
        {
            "Manufacturer": "G.E. Medical Systems",
            "ManufacturerModelName": "DISCOVERY  MR750",
            "BodyPartExamined": "head-neck",
            "ImageType": ["ORIGINAL", "PRIMARY", CANARY, "axial"],
            "ScanningSequence": "GR\\IR",
            "RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence.CodeValue": "C-111A1",
        }
    )
    assert dropped == ()
    assert kept == {
        "Manufacturer": "GE",
        "ManufacturerModelName": "Discovery MR750",
        "BodyPartExamined": "HEADNECK",
        "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
        "ScanningSequence": "GR\\IR",
        "Radionuclide": "18F",
    }


def test_the_first_line_of_one_output_wins():
    kept, _ = allowlist.clean({"BodyPartExamined": "LUNG", "AnatomicRegionSequence.CodeValue": "T-D1100"})
    assert kept == {"BodyPartExamined": "LUNG"}
    kept, dropped = allowlist.clean({"BodyPartExamined": CANARY, "AnatomicRegionSequence.CodeValue": "T-D1100"})
    assert (kept, dropped) == ({"BodyPartExamined": "HEAD"}, ("BodyPartExamined",))


@pytest.mark.parametrize("name", ["B30f", "Br40d", "I26f", "Hv64", "FC52", "FC08-H", "STANDARD", "BONEPLUS"])
def test_known_kernels_pass(name):
    assert allowlist.clean({"ConvolutionKernel": name})[0] == {"ConvolutionKernel": name}


@pytest.mark.parametrize("name", ["JOHN", "JD78", "Xy12", "B1234", "B30fab", "DOE^J", "19600203", "FC528", "K30"])
def test_no_other_kernel_passes(name):
    assert allowlist.clean({"ConvolutionKernel": name}) == ({}, ("ConvolutionKernel",))


def test_numbers_pass_within_their_range_only_and_rounded():
    kept, dropped = allowlist.clean(
        {"KVP": 120.0, "EchoTime": 7351973.0, "RepetitionTime": 9.8360004425049, "SAR": "1.0"}
    )
    assert kept == {"KVP": 120.0, "RepetitionTime": 9.836}
    assert dropped == ("EchoTime", "SAR")
    assert allowlist.clean({"KVP": float("nan")}) == ({}, ("KVP",))
    assert allowlist.clean({"WindowCenter": [40.0, 50]})[0] == {"WindowCenter": [40.0, 50]}
    assert allowlist.clean({"KVP": [100.0, 120.0]}) == ({}, ("KVP",))
    assert allowlist.clean({"WindowCenter": [1.0] * 17}) == ({}, ("WindowCenter",))


def test_the_weight_leaves_for_pet_only():
    assert allowlist.clean({"PatientWeight": 70.0, "Modality": "PT"})[0]["PatientWeight"] == 70.0
    assert allowlist.clean({"PatientWeight": 70.0, "Modality": "CT"})[1] == ("PatientWeight",)


def test_an_unknown_unit_is_not_taken_for_the_usual_one():
    assert allowlist.clean({"RescaleType": CANARY})[0] == {"RescaleType": "US"}
    assert allowlist.clean({"SUVType": CANARY})[0] == {"SUVType": "OTHER"}


def test_unknown_keywords_are_dropped_and_named_empty_ones_ignored():
    assert allowlist.clean({"PatientName": CANARY, "KVP": None, "ImageType": [], "Manufacturer": ""}) == (
        {},
        ("PatientName",),
    )


def test_sources_are_collected_but_never_passed_on():
    sources = {rule.keyword: "20230405" for rule in allowlist.RULES if rule.rule == "source"}
    assert (
        {"PatientBirthDate", "StudyDate", "AcquisitionDate", "UltrasoundRegions"} <= set(sources) <= allowlist.KEYWORDS
    )
    assert allowlist.clean(sources) == ({}, ())
