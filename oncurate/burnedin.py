"""Whether an image may carry text in its pixels, told from its header, and what to do because of it.

Belongs here: the decision. Does not belong here: looking at pixels (`oncurate.pixeltext`), blanking
(`oncurate.masking`).

Risky kinds never pass unseen: ultrasound, secondary and screen captures, digitised film, projections from a device
whose manufacturer is unknown, images of no known modality, and whatever its header says is annotated. Only the
provider's own BurnedInAnnotation NO takes a kind off that list. Where a detector is there, every frame of a risky kind
is looked at, and so are all other projections and ultrasound: a plate may have a name on it. What is left open: without
a detector such a plate, and text inside the declared regions of an ultrasound, would not be found out; slices of CT,
MR, PT and NM are never looked at, as their scanners show names in overlays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from oncurate import allowlist, kinds
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Region

Policy = Literal["quarantine", "mask", "trust"]
"""Images with text are refused; or their text is blanked where a detector finds it; or the provider vouches for all."""

SLICES = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose images are computed, and show names as overlays on the screen, not in the pixels."""

PROJECTIONS = frozenset({"CR", "DX", "MG", "RG", "IO", "PX", "XA", "RF"})
"""Modalities of X-ray projections: a digital detector writes no text, a scanned film has what was on it."""

CAPTURED = ("ConversionType", "SecondaryCaptureDeviceManufacturer")
"""Attributes that an image has only if it was captured or scanned (PS3.3 C.8.6.1)."""

KEYWORDS = ("BurnedInAnnotation", "ImageType", "Manufacturer", *CAPTURED, "UltrasoundRegions")
"""Attributes that the decision rests on. The last is a name of ours: `oncurate.frames.attributes_of`."""

MAX_COORDINATE = 65535
"""Pixels. Rows and Columns are unsigned 16-bit numbers (PS3.3 C.7.6.3)."""


@dataclass(frozen=True)
class Decision:
    """What to do with the frames of one image that may go on.

    `keep_only`: rectangles outside of which everything is blanked; empty: nothing is. `look`: a detector has to look at
    every frame, after that. Then `mask` says whether text that it finds is blanked or refuses the image, and
    `must_find` that finding none refuses it, as the header knows of some.
    """

    keep_only: tuple[Region, ...] = ()
    look: bool = False
    mask: bool = False
    must_find: bool = False


def decide(
    attributes: Mapping[str, Any],
    modality: str,
    policy: Policy,
    *,
    size: tuple[int, int] | None = None,
    sop_class: str = "",
    can_look: bool = False,
) -> Decision:
    """What to do about text in an image with these raw attributes (`KEYWORDS`); `can_look`: a detector is there.

    `size` is (columns, rows): a region that spans the whole image declares nothing, and one that leaves it was declared
    for the image before somebody cropped or scaled it. The policy "trust" is the provider's word that no image carries
    text; then everything passes as it is. Raises `Rejection` BURNED_IN_ANNOTATION and BURNED_IN_TEXT_POSSIBLE.
    """
    if policy == "trust":
        return Decision()
    stated = str(attributes.get("BurnedInAnnotation") or "").strip().upper()
    mask = policy == "mask"
    if stated == "YES" and not (mask and can_look):
        raise Rejection(Reason.BURNED_IN_ANNOTATION)
    declared = _regions(attributes.get("UltrasoundRegions"))
    doubt = _doubt(declared, size) if declared and size is not None else ""
    keep_only = () if doubt else declared
    risky = stated == "YES" or is_risky(attributes, modality, sop_class)
    if risky and not can_look and stated != "NO" and not keep_only:
        raise Rejection(Reason.BURNED_IN_TEXT_POSSIBLE, doubt)
    if not can_look or not (risky or _is_projection(modality, sop_class)):
        return Decision(keep_only=keep_only)
    return Decision(keep_only=keep_only, look=True, mask=mask, must_find=stated == "YES")


def is_risky(attributes: Mapping[str, Any], modality: str, sop_class: str = "") -> bool:
    """Whether it is a kind of image that often carries text, whatever BurnedInAnnotation says."""
    if kinds.refusal(sop_class, ()) is Reason.SECONDARY_CAPTURE or _terms(attributes) & kinds.CAPTURE_TERMS:
        return True
    if any(attributes.get(keyword) for keyword in CAPTURED) or attributes.get("UltrasoundRegions"):
        return True
    if modality in SLICES:
        return False
    known = modality in PROJECTIONS and allowlist.term("manufacturer", attributes.get("Manufacturer")) is not None
    return not known


def _is_projection(modality: str, sop_class: str) -> bool:
    return modality not in SLICES and sop_class not in kinds.CROSS_SECTIONAL


def _terms(attributes: Mapping[str, Any]) -> set[str]:
    value = attributes.get("ImageType") or ()
    many = value.split("\\") if isinstance(value, str) else value
    return {str(term).strip().upper() for term in many}


def _regions(declared: Any) -> tuple[Region, ...]:
    """The declared rectangles; none at all if one of them is not a rectangle, as then none can be relied on."""
    if not isinstance(declared, list | tuple):
        return ()
    if declared and not isinstance(declared[0], list | tuple):
        declared = [declared]  # a single one may come without the outer list
    regions = []
    for corners in declared:
        if len(corners) != 4 or not all(isinstance(c, int | float) and 0 <= c <= MAX_COORDINATE for c in corners):
            return ()
        left, top, right, bottom = (int(c) for c in corners)
        if left >= right or top >= bottom:
            return ()
        regions.append((left, top, right, bottom))
    return tuple(sorted(set(regions)))


def _doubt(regions: tuple[Region, ...], size: tuple[int, int]) -> str:
    """Why the regions say nothing about an image of this size; "" if they do."""
    columns, rows = size
    for left, top, right, bottom in regions:
        if left <= 0 and top <= 0 and right >= columns - 1 and bottom >= rows - 1:
            return "a declared region spans the image"
        if right > columns or bottom > rows:  # equal is the customary off-by-one
            return "a declared region leaves the image"
    return ""
