"""What kind of object a file holds, told from its SOP class and image type.

Belongs here: the tables of SOP classes that are converted, and why any other is refused. Does not belong here: reading
a header. A class that is in none of the tables and not in the DICOM dictionary is refused as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import UID_dictionary

from oncurate.reasons import Reason

_CROSS_SECTIONAL_KEYWORDS = (
    "CTImageStorage",
    "EnhancedCTImageStorage",
    "LegacyConvertedEnhancedCTImageStorage",
    "MRImageStorage",
    "EnhancedMRImageStorage",
    "LegacyConvertedEnhancedMRImageStorage",
    "PositronEmissionTomographyImageStorage",
    "EnhancedPETImageStorage",
    "LegacyConvertedEnhancedPETImageStorage",
    "BreastTomosynthesisImageStorage",
)
_PROJECTION_KEYWORDS = (
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalXRayImageStorageForProcessing",
    "DigitalMammographyXRayImageStorageForPresentation",
    "DigitalMammographyXRayImageStorageForProcessing",
    "UltrasoundImageStorage",
    "UltrasoundImageStorageRetired",
    "UltrasoundMultiFrameImageStorage",
    "UltrasoundMultiFrameImageStorageRetired",
)
_SECONDARY_CAPTURE_KEYWORDS = (
    "SecondaryCaptureImageStorage",
    "MultiFrameSingleBitSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleByteSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
    "MultiFrameTrueColorSecondaryCaptureImageStorage",
    "HardcopyGrayscaleImageStorage",
    "HardcopyColorImageStorage",
)
_IMAGES_WITHOUT_IMAGE_IN_THE_NAME = (
    "EnhancedUSVolumeStorage",
    "OphthalmicThicknessMapStorage",
    "CornealTopographyMapStorage",
    "OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage",
    "DICOS2DAITStorage",
    "DICOS3DAITStorage",
)
_NOT_IMAGES_OUTSIDE_THE_DICTIONARY = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.66.8",  # Height Map Segmentation
        "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image
    }
)
DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory: a DICOMDIR."""

_UIDS = {entry[4]: uid for uid, entry in UID_dictionary.items()}
_KEYWORDS = {uid: entry[4] for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}


def _uids(keywords: Iterable[str]) -> frozenset[str]:
    return frozenset(_UIDS[keyword] for keyword in keywords)


CROSS_SECTIONAL = _uids(_CROSS_SECTIONAL_KEYWORDS)
"""SOP classes whose frames are slices in the patient."""

PROJECTION = _uids(_PROJECTION_KEYWORDS)
"""SOP classes whose images are projections or freehand views: each stands alone."""

CT_CLASSES = _uids(k for k in _CROSS_SECTIONAL_KEYWORDS if "CTImage" in k)
MR_CLASSES = _uids(k for k in _CROSS_SECTIONAL_KEYWORDS if "MRImage" in k)
PT_CLASSES = _uids(k for k in _CROSS_SECTIONAL_KEYWORDS if "Emission" in k or "PETImage" in k)
US_CLASSES = _uids(k for k in _PROJECTION_KEYWORDS if "Ultrasound" in k)

_SECONDARY_CAPTURE = _uids(_SECONDARY_CAPTURE_KEYWORDS)
_OTHER_IMAGES = _uids(_IMAGES_WITHOUT_IMAGE_IN_THE_NAME)

LOCALIZER_TERMS = frozenset({"LOCALIZER", "LOCALISER", "SCOUT", "SURVEY", "SURVIEW", "TOPOGRAM", "SCANOGRAM"})
"""Values of ImageType by which manufacturers mark an image that only plans the scan."""

CAPTURE_TERMS = frozenset(
    {
        "SCREEN SAVE",
        "SCREENSAVE",
        "SCREEN_SAVE",
        "SCREEN CAPTURE",
        "SCREENSHOT",
        "DOSE_INFO",
        "DOSE INFO",
        "DOSE_REPORT",
        "REF_SURVIEW",
        "DOSE_SHEET",
        "PATIENT_PROTOCOL",
    }
)
"""Values of ImageType by which manufacturers mark a rendered page that is stored as if it were an acquired image."""

MOSAIC_TERMS = frozenset({"MOSAIC", "VFRAME"})
"""Values of ImageType for slices tiled into one image (Siemens, United Imaging)."""


def modality_of(sop_class: str, stated: str) -> str:
    """The Modality of a converted image: what its header states, else what its SOP class implies; '' if nothing.

    An image of an ultrasound class is ultrasound whatever its header states: what is done about text in its pixels
    hangs on that.
    """
    if sop_class in US_CLASSES:
        return "US"
    implied = {"CT": CT_CLASSES, "MR": MR_CLASSES, "PT": PT_CLASSES}
    return stated or next((modality for modality, classes in implied.items() if sop_class in classes), "")


def refusal(sop_class: str, image_type: Iterable[str]) -> Reason | None:
    """Why an object of this class and type is not converted; None if it is."""
    if sop_class == DIRECTORY:
        return Reason.DICOMDIR
    if sop_class in _SECONDARY_CAPTURE:
        return Reason.SECONDARY_CAPTURE
    if sop_class not in CROSS_SECTIONAL and sop_class not in PROJECTION:
        return _refusal_of_class(sop_class)
    terms = {str(term).strip().upper() for term in image_type}
    if terms & CAPTURE_TERMS:
        return Reason.SECONDARY_CAPTURE
    if terms & LOCALIZER_TERMS:
        return Reason.LOCALIZER
    return None


def _refusal_of_class(sop_class: str) -> Reason:
    if sop_class in _NOT_IMAGES_OUTSIDE_THE_DICTIONARY:
        return Reason.NOT_AN_IMAGE
    keyword = _KEYWORDS.get(sop_class)
    if keyword is None:
        return Reason.UNKNOWN_SOP_CLASS
    if sop_class in _OTHER_IMAGES or "Image" in keyword:
        return Reason.UNSUPPORTED_KIND
    return Reason.NOT_AN_IMAGE
