"""What must survive: the technical numbers by which an image is worth something, and its pixels.

Belongs here: noting them in the answer key. Does not belong here: words (`wording`), days (`headers`).
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from benchmarks.phi.answers import Action, chain, step
from benchmarks.phi.site import Site, shown

NUMBERS = (
    *("PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"),
    *("KVP", "XRayTubeCurrent", "CTDIvol", "ConvolutionKernel", "RescaleSlope", "RescaleIntercept", "WindowCenter"),
    *("EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength", "EchoTrainLength", "DiffusionBValue"),
    *("Units", "CorrectedImage", "DecayCorrection", "ActualFrameDuration", "FrameTime", "ImageLaterality"),
    *("ViewPosition", "Modality", "Rows", "Columns", "BitsStored", "PhotometricInterpretation", "ImageType"),
    *("RadionuclideTotalDose", "RadionuclideHalfLife", "InversionTime", "SpacingBetweenSlices", "NumberOfFrames"),
)
"""Attributes whose values must be the same afterwards, at any depth."""

DEEPEST = 6
_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?|")


def numbers(site: Site) -> None:
    """The values of `NUMBERS` wherever they stand in sequences of the standard."""
    _numbers(site, site.ds, "", 0)


def _numbers(site: Site, ds: Dataset, at: str, depth: int) -> None:
    for keyword in NUMBERS:
        value = ds.get(keyword)
        if value is not None and shown(value) and _is_valid(ds[keyword].VR, shown(value)):
            site.stays(chain(at, step(keyword)), "technical values", value)
    if depth >= DEEPEST:
        return
    for keyword in KEPT_SEQUENCES:
        items = ds.get(keyword)
        for number, item in enumerate(items if isinstance(items, Items) else ()):
            _numbers(site, item, chain(at, step(keyword, number)), depth + 1)


def _is_valid(vr: str, value: str) -> bool:
    """Whether a number of a real header is one: "1A" need not survive."""
    return vr not in ("IS", "DS") or all(_NUMBER.fullmatch(part.strip()) for part in value.split("\\"))


KEPT_SEQUENCES = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelMeasuresSequence"),
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelValueTransformationSequence"),
    *("MRDiffusionSequence", "MREchoSequence", "MRTimingAndRelatedParametersSequence"),
    "RadiopharmaceuticalInformationSequence",
)


def visible(site: Site) -> None:
    """Burned-in text that must be blanked, and pixels that must stay."""
    for box in site.draft.shown:
        site.expect("pixels", Action.PIXELS_HIDDEN, "text in pixels", box=box)
    if site.draft.clear is not None:
        site.expect("pixels", Action.PIXELS_RETAINED, "pixels", box=site.draft.clear)
    elif "PixelData" in site.ds and not site.draft.shown:
        site.expect("pixels", Action.PIXELS_RETAINED, "pixels")
