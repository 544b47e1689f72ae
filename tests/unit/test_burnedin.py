"""Who passes, who is masked, who is refused because of text in the pixels."""

from __future__ import annotations

import pytest

from oncurate.burnedin import decide
from oncurate.errors import Rejection
from oncurate.reasons import Reason

REGION = [10, 20, 300, 200]


@pytest.mark.parametrize("modality", ["CT", "US", "DX"])
def test_a_stated_annotation_is_refused_for_every_modality(modality):
    with pytest.raises(Rejection) as caught:
        decide({"BurnedInAnnotation": "yes ", "UltrasoundRegions": [REGION]}, modality, "quarantine")
    assert caught.value.reason is Reason.BURNED_IN_ANNOTATION


def test_ultrasound_is_masked_outside_its_regions():
    assert decide({"UltrasoundRegions": [REGION]}, "US", "quarantine") == (True, (tuple(REGION),))
    assert decide({"UltrasoundRegions": REGION}, "US", "quarantine") == (True, (tuple(REGION),))
    stated = {"UltrasoundRegions": [REGION, [0, 20, 9, 200]], "BurnedInAnnotation": "NO"}
    assert decide(stated, "US", "quarantine") == (True, ((0, 20, 9, 200), tuple(REGION)))


@pytest.mark.parametrize(
    "regions", [None, [], "text", [[1, 2, 3]], [[5, 5, 5, 9]], [[9, 5, 1, 9]], [[-1, 0, 5, 5]], [REGION, [0, 0, 0, 0]]]
)
def test_ultrasound_without_usable_regions_is_refused_unless_stated_clean(regions):
    with pytest.raises(Rejection) as caught:
        decide({"UltrasoundRegions": regions}, "US", "quarantine")
    assert caught.value.reason is Reason.BURNED_IN_TEXT_POSSIBLE
    assert decide({"UltrasoundRegions": regions, "BurnedInAnnotation": "NO"}, "US", "quarantine") == (False, ())


def test_a_region_that_spans_the_image_declares_nothing():
    whole = {"UltrasoundRegions": [[0, 0, 639, 479]]}
    with pytest.raises(Rejection) as caught:
        decide(whole, "US", "quarantine", size=(640, 480))
    assert caught.value.reason is Reason.BURNED_IN_TEXT_POSSIBLE
    assert decide(whole, "US", "quarantine", size=(641, 480))[0]


def test_regions_of_another_image_declare_nothing():
    cropped = {"UltrasoundRegions": [REGION, [0, 210, 640, 480]]}
    assert decide(cropped, "US", "quarantine", size=(640, 480))[0]  # one too many is customary
    for size in ((600, 480), (640, 400)):
        with pytest.raises(Rejection) as caught:
            decide(cropped, "US", "quarantine", size=size)
        assert caught.value.detail == "a declared region leaves the image"


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "CR", "DX", "MG"])
def test_other_modalities_pass_where_the_header_is_silent(modality):
    assert decide({}, modality, "quarantine") == (False, ())


@pytest.mark.parametrize("modality", ["", "OT", "IVUS", "ct?"])
def test_an_unknown_modality_is_treated_like_ultrasound(modality):
    with pytest.raises(Rejection) as caught:
        decide({}, modality, "quarantine")
    assert caught.value.reason is Reason.BURNED_IN_TEXT_POSSIBLE


def test_ultrasound_under_another_name_is_masked():
    assert decide({"UltrasoundRegions": [REGION]}, "CT", "quarantine") == (True, (tuple(REGION),))


def test_trust_is_the_providers_word():
    assert decide({"BurnedInAnnotation": "YES"}, "US", "trust") == (False, ())
