"""Kinds: every SOP class of the DICOM dictionary has one answer."""

from __future__ import annotations

import pytest
from pydicom.uid import UID_dictionary

from oncurate import kinds
from oncurate.reasons import Reason

STORAGE = {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and "Storage" in entry[0]}


@pytest.mark.parametrize(
    ("keyword", "reason"),
    [
        ("CTImageStorage", None),
        ("EnhancedMRImageStorage", None),
        ("LegacyConvertedEnhancedPETImageStorage", None),
        ("BreastTomosynthesisImageStorage", None),
        ("UltrasoundMultiFrameImageStorage", None),
        ("DigitalMammographyXRayImageStorageForProcessing", None),
        ("MRSpectroscopyStorage", Reason.NOT_AN_IMAGE),
        ("RTDoseStorage", Reason.NOT_AN_IMAGE),
        ("RTStructureSetStorage", Reason.NOT_AN_IMAGE),
        ("SegmentationStorage", Reason.NOT_AN_IMAGE),
        ("EncapsulatedPDFStorage", Reason.NOT_AN_IMAGE),
        ("XRayAngiographicImageStorage", Reason.UNSUPPORTED_KIND),
        ("VLWholeSlideMicroscopyImageStorage", Reason.UNSUPPORTED_KIND),
        ("ParametricMapStorage", Reason.NOT_AN_IMAGE),
        ("RTImageStorage", Reason.UNSUPPORTED_KIND),
        ("MultiFrameTrueColorSecondaryCaptureImageStorage", Reason.SECONDARY_CAPTURE),
        ("MediaStorageDirectoryStorage", Reason.DICOMDIR),
    ],
)
def test_the_answer_for_a_class(keyword: str, reason: Reason | None) -> None:
    assert kinds.refusal(STORAGE[keyword], ["ORIGINAL", "PRIMARY"]) is reason


def test_no_class_of_the_dictionary_is_unknown_and_few_are_converted() -> None:
    answers = {keyword: kinds.refusal(uid, []) for keyword, uid in STORAGE.items()}
    assert Reason.UNKNOWN_SOP_CLASS not in answers.values()
    assert {STORAGE[k] for k, reason in answers.items() if reason is None} == kinds.CROSS_SECTIONAL | kinds.PROJECTION


def test_a_private_class_is_unknown() -> None:
    assert kinds.refusal("1.3.46.670589.11.0.0.12.1", []) is Reason.UNKNOWN_SOP_CLASS


def test_terms_of_the_image_type_are_compared_without_case_or_blanks() -> None:
    assert kinds.refusal(STORAGE["CTImageStorage"], ["ORIGINAL", " localizer "]) is Reason.LOCALIZER


@pytest.mark.parametrize("term", ["MOSAIC", "VFRAME"])
def test_a_mosaic_is_no_kind_of_its_own(term: str) -> None:
    assert kinds.refusal(STORAGE["MRImageStorage"], ["ORIGINAL", "PRIMARY", "M", term]) is None


def test_the_modality_is_the_stated_one_or_what_the_class_implies() -> None:
    assert kinds.modality_of(STORAGE["EnhancedPETImageStorage"], "") == "PT"
    assert kinds.modality_of(STORAGE["ComputedRadiographyImageStorage"], "") == ""
    assert kinds.modality_of(STORAGE["ComputedRadiographyImageStorage"], "CR") == "CR"


def test_an_ultrasound_image_is_ultrasound_whatever_its_header_states() -> None:
    assert kinds.modality_of(STORAGE["UltrasoundImageStorage"], "CT") == "US"
