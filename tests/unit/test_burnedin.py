"""Who passes, who is masked, who is looked at, who is refused because of text in the pixels."""

from __future__ import annotations

import pytest

from oncurate.burnedin import Decision, decide, is_risky
from oncurate.errors import Rejection
from oncurate.reasons import Reason

REGION = [10, 20, 300, 200]
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
KNOWN = {"Manufacturer": "SIEMENS"}
RISKY = [
    ({}, "US", ""),
    ({}, "", ""),
    ({}, "OT", ""),
    ({}, "IVUS", ""),
    ({}, "ct?", ""),
    (KNOWN, "CT", SECONDARY_CAPTURE),
    ({**KNOWN, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "CT", ""),
    ({**KNOWN, "ImageType": "DERIVED\\SECONDARY\\screen save"}, "MR", ""),
    ({**KNOWN, "ConversionType": "DF"}, "CR", ""),
    ({**KNOWN, "ConversionType": "WSD"}, "CT", ""),
    ({**KNOWN, "SecondaryCaptureDeviceManufacturer": "Doe Scanners"}, "RG", ""),
    ({}, "DX", ""),
    ({"Manufacturer": "Doe Scanners"}, "MG", ""),
]


def refused(*arguments, **options) -> tuple[Reason, str]:
    with pytest.raises(Rejection) as caught:
        decide(*arguments, **options)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("modality", ["CT", "US", "DX"])
@pytest.mark.parametrize(("policy", "can_look"), [("quarantine", False), ("quarantine", True), ("mask", False)])
def test_a_stated_annotation_is_refused_for_every_modality(modality, policy, can_look):
    attributes = {"BurnedInAnnotation": "yes ", "UltrasoundRegions": [REGION], **KNOWN}
    assert refused(attributes, modality, policy, can_look=can_look)[0] is Reason.BURNED_IN_ANNOTATION


@pytest.mark.parametrize("modality", ["CT", "US", "DX"])
def test_a_stated_annotation_that_is_to_be_masked_must_be_found(modality):
    found = decide({"BurnedInAnnotation": "YES", **KNOWN}, modality, "mask", can_look=True)
    assert found == Decision(look=True, mask=True, must_find=True)


@pytest.mark.parametrize(("attributes", "modality", "sop_class"), RISKY)
def test_a_risky_kind_never_passes_unseen(attributes, modality, sop_class):
    assert is_risky(attributes, modality, sop_class)
    for policy in ("quarantine", "mask"):
        found = refused(attributes, modality, policy, sop_class=sop_class)
        assert found == (Reason.BURNED_IN_TEXT_POSSIBLE, "")
        seen = decide(attributes, modality, policy, sop_class=sop_class, can_look=True)
        assert seen == Decision(look=True, mask=policy == "mask")


@pytest.mark.parametrize(("attributes", "modality", "sop_class"), RISKY)
def test_what_the_provider_states_clean_passes_and_is_looked_at_where_that_is_possible(attributes, modality, sop_class):
    stated = {**attributes, "BurnedInAnnotation": "NO"}
    assert decide(stated, modality, "quarantine", sop_class=sop_class) == Decision()
    assert decide(stated, modality, "quarantine", sop_class=sop_class, can_look=True).look


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "RG", "XA", "RF", "PX", "IO"])
def test_projections_of_known_devices_are_looked_at_where_that_is_possible(modality):
    assert decide(KNOWN, modality, "quarantine") == Decision()
    assert decide(KNOWN, modality, "quarantine", can_look=True) == Decision(look=True)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM"])
def test_slices_are_never_looked_at(modality):
    assert decide({}, modality, "quarantine") == decide({}, modality, "mask", can_look=True) == Decision()


def test_slices_of_a_tomosynthesis_are_slices():
    assert decide(KNOWN, "MG", "mask", sop_class=TOMOSYNTHESIS, can_look=True) == Decision()


@pytest.mark.parametrize("modality", ["US", "CT"])
def test_ultrasound_is_masked_outside_its_regions_and_looked_at_inside(modality):
    kept = (tuple(REGION),)
    assert decide({"UltrasoundRegions": [REGION]}, modality, "quarantine") == Decision(keep_only=kept)
    assert decide({"UltrasoundRegions": REGION}, modality, "quarantine") == Decision(keep_only=kept)
    seen = decide({"UltrasoundRegions": [REGION]}, modality, "mask", can_look=True)
    assert seen == Decision(keep_only=kept, look=True, mask=True)
    stated = {"UltrasoundRegions": [REGION, [0, 20, 9, 200]], "BurnedInAnnotation": "NO"}
    assert decide(stated, modality, "quarantine").keep_only == ((0, 20, 9, 200), tuple(REGION))


@pytest.mark.parametrize(
    "regions", [None, [], "text", [[1, 2, 3]], [[5, 5, 5, 9]], [[9, 5, 1, 9]], [[-1, 0, 5, 5]], [REGION, [0, 0, 0, 0]]]
)
def test_ultrasound_without_usable_regions_is_refused_unless_stated_clean(regions):
    assert refused({"UltrasoundRegions": regions}, "US", "quarantine")[0] is Reason.BURNED_IN_TEXT_POSSIBLE
    assert decide({"UltrasoundRegions": regions, "BurnedInAnnotation": "NO"}, "US", "quarantine") == Decision()


def test_a_region_that_spans_the_image_declares_nothing():
    whole = {"UltrasoundRegions": [[0, 0, 639, 479]]}
    assert refused(whole, "US", "quarantine", size=(640, 480))[0] is Reason.BURNED_IN_TEXT_POSSIBLE
    assert decide(whole, "US", "quarantine", size=(640, 480), can_look=True) == Decision(look=True)
    assert decide(whole, "US", "quarantine", size=(641, 480)).keep_only


def test_regions_of_another_image_declare_nothing():
    cropped = {"UltrasoundRegions": [REGION, [0, 210, 640, 480]]}
    assert decide(cropped, "US", "quarantine", size=(640, 480)).keep_only  # one too many is customary
    for size in ((600, 480), (640, 400)):
        assert refused(cropped, "US", "quarantine", size=size)[1] == "a declared region leaves the image"


def test_trust_is_the_providers_word():
    assert decide({"BurnedInAnnotation": "YES"}, "US", "trust", can_look=True) == Decision()
