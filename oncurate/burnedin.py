"""Whether an image may carry text in its pixels, told from its header, and what to blank because of it.

Belongs here: the decision. Does not belong here: blanking (`oncurate.convert`) or looking at pixels.

What the decision rests on, and what it leaves open: the provider's own statement (BurnedInAnnotation) counts for every
modality. Ultrasound without it is refused unless the header declares where the image proper lies; then all outside is
blanked, but text that an operator typed into the image itself stays. Secondary captures never come this far. All other
modalities pass where the header is silent: a digitised film or a CR plate with a name on it would not be found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from oncurate.errors import Rejection
from oncurate.reasons import Reason

Policy = Literal["quarantine", "trust"]
Region = tuple[int, int, int, int]

ULTRASOUND = frozenset({"US", "IVUS"})
"""Modalities whose scanners write name, date and hospital around the image unless told otherwise."""

MAX_COORDINATE = 65535
"""Pixels. Rows and Columns are unsigned 16-bit numbers (PS3.3 C.7.6.3)."""


def decide(
    attributes: Mapping[str, Any], modality: str, policy: Policy, *, size: tuple[int, int] | None = None
) -> tuple[bool, tuple[Region, ...]]:
    """Whether to blank all but some rectangles, and which: first column, first row, last column, last row.

    `attributes` are raw. `size` is (columns, rows): regions that span the whole image declare nothing. The policy
    "trust" is the provider's word that no image carries text; then everything passes as it is. Raises `Rejection`.
    """
    if policy == "trust":
        return False, ()
    stated = str(attributes.get("BurnedInAnnotation") or "").strip().upper()
    if stated == "YES":
        raise Rejection(Reason.BURNED_IN_ANNOTATION)
    if modality not in ULTRASOUND:
        return False, ()
    regions = _regions(attributes.get("UltrasoundRegions"))
    if regions and not (size is not None and _spans(regions, size)):
        return True, regions
    if stated == "NO":
        return False, ()
    raise Rejection(Reason.BURNED_IN_TEXT_POSSIBLE, "the declared regions span the image" if regions else "")


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


def _spans(regions: tuple[Region, ...], size: tuple[int, int]) -> bool:
    columns, rows = size
    return any(
        left <= 0 and top <= 0 and right >= columns - 1 and bottom >= rows - 1 for left, top, right, bottom in regions
    )
