"""What a segmentation declares: its segments, their names, codes, colours and makers.

Belongs here: Segment Sequence (PS3.3 C.8.20.4) as `Label`s. Does not belong here: voxels (`oncurate.annotations.seg`).
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.annotations import codes
from oncurate.annotations.model import LARGEST_LABEL, Code, Label
from oncurate.errors import Rejection
from oncurate.reasons import Reason

_BACKGROUND = ("125040", "DCM")
_ALGORITHMS = frozenset({"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"})
_MAKERS = ("ContentCreatorName", "InstitutionName")
_SCALE = 65535.0
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
_TO_SRGB = np.array(  # linear sRGB from XYZ of D65: IEC 61966-2-1
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def labels_of(ds: Dataset) -> dict[int, Label]:
    """The declared structures by segment number, without those that are declared as background.

    Raises MISSING_ATTRIBUTE, TOO_MANY_LABELS, DUPLICATE_STRUCTURE_NUMBER and, for a structure of number 0, LABEL_ZERO.
    """
    items = elements.items(ds, "SegmentSequence")
    if not items:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "SegmentSequence")
    if len(items) > LARGEST_LABEL:
        raise Rejection(Reason.TOO_MANY_LABELS, f"{len(items)} segments")
    annotator = {keyword: text for keyword in _MAKERS if (text := elements.text(ds, keyword))} or None
    found: dict[int, Label] = {}
    for item in items:
        number = elements.integer(item, "SegmentNumber")
        if number is None:
            raise Rejection(Reason.MISSING_ATTRIBUTE, "SegmentNumber")
        if not 0 <= number <= LARGEST_LABEL:
            raise Rejection(Reason.TOO_MANY_LABELS, "SegmentNumber")
        if number in found:
            raise Rejection(Reason.DUPLICATE_STRUCTURE_NUMBER, "SegmentNumber")
        found[number] = _label(item, number, annotator)
    structures = {number: label for number, label in found.items() if not _is_background(label)}
    if 0 in structures:
        raise Rejection(Reason.LABEL_ZERO, "SegmentNumber")
    return structures


def backgrounds(ds: Dataset) -> frozenset[int]:
    """The values of a label map that mean no structure: 0, the padding value, the number of a declared background."""
    padding = elements.integer(ds, "PixelPaddingValue")
    declared = (
        elements.integer(item, "SegmentNumber")
        for item in elements.items(ds, "SegmentSequence")
        if _is_background_code(codes.first_code(item, "SegmentedPropertyTypeCodeSequence"))
    )
    return frozenset({0, *(number for number in (padding, *declared) if number is not None)})


def _label(item: Dataset, number: int, annotator: dict | None) -> Label:
    kind = elements.first_item(item, "SegmentedPropertyTypeCodeSequence")
    algorithm = elements.text(item, "SegmentAlgorithmType").upper()
    regions = elements.items(item, "AnatomicRegionSequence")
    return Label(
        number=number,
        name=elements.text(item, "SegmentLabel"),
        category=codes.first_code(item, "SegmentedPropertyCategoryCodeSequence"),
        type=codes.code_of(kind),
        type_modifiers=codes.codes_in(kind, "SegmentedPropertyTypeModifierCodeSequence"),
        region=tuple(code for region in regions for code in _region(region)),
        colour=srgb(elements.numbers(item, "RecommendedDisplayCIELabValue")),
        algorithm_type=algorithm if algorithm in _ALGORITHMS else "",
        algorithm_name=elements.text(item, "SegmentAlgorithmName"),
        annotator=annotator,
        source_number=number,
    )


def _region(item: Dataset) -> tuple[Code, ...]:
    """A region and its modifiers."""
    code = codes.code_of(item)
    return (*((code,) if code else ()), *codes.codes_in(item, "AnatomicRegionModifierSequence"))


def _is_background(label: Label) -> bool:
    return _is_background_code(label.type)


def _is_background_code(code: Code | None) -> bool:
    return code is not None and (code.value, code.scheme) == _BACKGROUND


def srgb(encoded: list[float]) -> tuple[int, int, int] | None:
    """A colour as DICOM writes CIELab (three numbers 0..65535: L* 0..100, a* and b* -128..127) as sRGB 0..255.

    None for anything else. Colours outside sRGB are clipped. The white is that of sRGB, D65: PS3.3 C.10.7.1.1 refers to
    the white of ICC profiles, but the common writers (dcmqi, highdicom) mean this one, and only so do their colours
    come out as they were.
    """
    if len(encoded) != 3 or not all(0 <= number <= _SCALE for number in encoded):
        return None
    lightness, a, b = (number / _SCALE for number in encoded)
    y = (lightness * 100 + 16) / 116
    f = np.array([y + (a * 255 - 128) / 500, y, y - (b * 255 - 128) / 200])
    small = 6 / 29
    xyz = np.where(f > small, f**3, 3 * small**2 * (f - 4 / 29)) * _WHITE_D65
    linear = np.clip(_TO_SRGB @ xyz, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(255 * float(part)) for part in shown)
    return red, green, blue
