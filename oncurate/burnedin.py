"""Whether an image may carry text in its pixels, told from its header, and what to blank because of it.

Belongs here: the decision. Does not belong here: blanking (`oncurate.convert`) or looking at pixels.

What the decision rests on, and what it leaves open: the provider's own statement (BurnedInAnnotation) counts for every
modality. Ultrasound, and whatever is of no known modality, is refused without it unless the header declares where the
image proper lies; then all outside is blanked, but text that an operator typed into the image itself stays. Secondary
captures never come this far. All other modalities pass where the header is silent: a digitised film or a CR plate with
a name on it would not be found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from oncurate.errors import Rejection
from oncurate.reasons import Reason

Policy = Literal["quarantine", "trust"]
Region = tuple[int, int, int, int]

BARE_PIXELS = frozenset({"CT", "MR", "PT", "NM", "CR", "DX", "MG", "RG", "IO", "PX", "XA", "RF"})
"""Modalities that show names as overlays on the screen, not in the pixels. All others, ultrasound and unknown ones
first, are taken to write name, date and hospital around the image unless the header says otherwise."""

MAX_COORDINATE = 65535
"""Pixels. Rows and Columns are unsigned 16-bit numbers (PS3.3 C.7.6.3)."""


def decide(
    attributes: Mapping[str, Any], modality: str, policy: Policy, *, size: tuple[int, int] | None = None
) -> tuple[bool, tuple[Region, ...]]:
    """Whether to blank all but some rectangles, and which: first column, first row, last column, last row.

    `attributes` are raw. `size` is (columns, rows): a region that spans the whole image declares nothing, and one that
    leaves it was declared for the image before somebody cropped or scaled it. The policy "trust" is the provider's word
    that no image carries text; then everything passes as it is. Raises `Rejection`.
    """
    if policy == "trust":
        return False, ()
    stated = str(attributes.get("BurnedInAnnotation") or "").strip().upper()
    if stated == "YES":
        raise Rejection(Reason.BURNED_IN_ANNOTATION)
    if modality in BARE_PIXELS and not attributes.get("UltrasoundRegions"):
        return False, ()
    regions = _regions(attributes.get("UltrasoundRegions"))
    doubt = _doubt(regions, size) if regions and size is not None else ""
    if regions and not doubt:
        return True, regions
    if stated == "NO":
        return False, ()
    raise Rejection(Reason.BURNED_IN_TEXT_POSSIBLE, doubt)


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
