"""What a de-identified object says of itself (PS3.15 E.1.1 step 6, PS3.3 C.12.1 and C.7.6.1).

Belongs here: the attributes that say that, how and by which options an object was de-identified. Does not belong here:
doing it.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from oncurate.deid.policy import DATE_MARKS, OPTION_CODES, PROFILE, DeidPolicy, Pixels
from oncurate.deid.reading import typed

METHOD = "oncurate, PS3.15 Annex E 2026d"
"""Deidentification Method (0012,0063): which tables were applied."""

REPLACED = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
"""Marks of an earlier de-identification: what they say is not true of this object."""

_TEXT_GONE = frozenset({"checked", "masked", "masked_defaced"})
_FACES_GONE = frozenset({"defaced", "masked_defaced"})


def options_taken(policy: DeidPolicy, pixels: Pixels) -> list[tuple[str, str]]:
    """Codes and meanings of CID 7050 for the profile and each option that was really carried out."""
    done = set(policy.options())
    if pixels in _TEXT_GONE:
        done.add("clean_pixel_data")
    if pixels in _FACES_GONE:
        done.add("clean_recognizable_visual_features")
    return [PROFILE, *(OPTION_CODES[name] for name in OPTION_CODES if name in done)]


def mark(out: Dataset, policy: DeidPolicy, pixels: Pixels) -> None:
    """Write the marks into `out`; those about pixels only where it has any."""
    _put(out, "PatientIdentityRemoved", "YES")
    _put(out, "DeidentificationMethod", METHOD)
    items = []
    for value, meaning in options_taken(policy, pixels):
        item = Dataset()
        item.set_original_encoding(*out.original_encoding, "iso8859")
        _put(item, "CodeValue", value)
        _put(item, "CodingSchemeDesignator", "DCM")
        _put(item, "CodeMeaning", meaning)
        items.append(item)
    out.DeidentificationMethodCodeSequence = Sequence(items)
    _put(out, "LongitudinalTemporalInformationModified", DATE_MARKS[policy.dates])
    if "PixelData" not in out:
        return
    if pixels in _TEXT_GONE:
        _put(out, "BurnedInAnnotation", "NO")
    if pixels in _FACES_GONE:
        _put(out, "RecognizableVisualFeatures", "NO")


def _put(ds: Dataset, keyword: str, value: str) -> None:
    tag, vr = _TAGS[keyword]
    ds[tag] = typed(tag, vr, value)


_TAGS = {
    "PatientIdentityRemoved": (0x00120062, "CS"),
    "DeidentificationMethod": (0x00120063, "LO"),
    "CodeValue": (0x00080100, "SH"),
    "CodingSchemeDesignator": (0x00080102, "SH"),
    "CodeMeaning": (0x00080104, "LO"),
    "LongitudinalTemporalInformationModified": (0x00280303, "CS"),
    "BurnedInAnnotation": (0x00280301, "CS"),
    "RecognizableVisualFeatures": (0x00280302, "CS"),
}
