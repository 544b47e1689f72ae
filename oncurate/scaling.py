"""What turns a stored value into a value with a meaning, and in which unit where the header defines one.

Belongs here: the three sources of slope and intercept and which of them applies. Does not belong here: applying them
(`oncurate.convert`), the unit names of CT and PET, SUV.

Sources: PS3.3 C.11.1 and C.7.6.16.2.9 (rescale), C.7.6.16.2.11 (real-world value mapping), UCUM for units; Chenevert
et al., Transl. Oncol. 7 (2014) 65 for Philips' floating-point values, FP = DV / (RS x SS).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pydicom.dataset import Dataset

from oncurate import elements, kinds
from oncurate.elements import PrivateTag
from oncurate.errors import Rejection
from oncurate.functional_groups import Header
from oncurate.reasons import Reason
from oncurate.records import RESCALE

PHILIPS = "philips"
"""Philips' floating-point values, comparable between series: DV / (RS x SS) with the private scale slope SS."""
REAL_WORLD = "real_world_value_map"
"""The one linear real-world value mapping of the image, in a unit of `UNITS`."""

UNITS = {
    "mm2/s": "mm2/s",
    "um2/s": "um2/s",
    "10*-6.mm2/s": "um2/s",
    "10*-6mm2/s": "um2/s",
    "10*-3.mm2/s": "10*-3.mm2/s",
    "ms": "ms",
    "s": "s",
    "/s": "/s",
    "s-1": "/s",
    "Hz": "Hz",
    "rad": "rad",
    "%": "%",
    "cm/s": "cm/s",
    "{SUVbw}g/ml": "SUVbw g/ml",
    "g/ml{SUVbw}": "SUVbw g/ml",
    "Bq/ml": "Bq/ml",
    "[hnsf'U]": "HU",
    "ml/(100.g)/min": "ml/(100.g)/min",
    "ml/min/(100.g)": "ml/(100.g)/min",
    "ml/min/100g": "ml/(100.g)/min",
    "/min": "/min",
    "min-1": "/min",
}
"""UCUM codes that may leave, as vendors spell them, and the one spelling that does."""
_UNITLESS = frozenset({"1", "{unity}", "[arb'U]"})

_SCALE_SLOPE = PrivateTag(0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", "PHILIPS")
_PLAIN_RESCALE_TYPES = frozenset({"", "US", "NORMALIZED"})
"""RescaleType of a Philips image that is no map; a map names its unit there (Hz, ms, ...)."""
_MAP_TERMS = frozenset(
    {"P", "PHASE", "B0", "B1", "VELOCITY", "ADC", "EADC", "DADC", "FA", "FF", "WF", "FAT_FRACTION", "R2", "R2_STAR"}
    | {"T2_STAR", "CBF", "CBV", "MTT", "TTP", "T0", "SWI", "RELCBF", "RELCBV", "MTTMAP", "R2*", "T2*"}
)
"""Terms of ImageType by which Philips marks an image whose displayed value DV already is a measurement."""


class Scaling(NamedTuple):
    """value = slope * stored + intercept; `name` says where they come from, `unit` is a value of `UNITS` or None."""

    slope: float
    intercept: float
    name: str = RESCALE
    unit: str | None = None


def scaling_of(header: Header, sop_class: str) -> Scaling:
    """How one frame's stored values scale.

    A real-world value mapping in a known unit (MR and PET) comes first, then Philips' private scale slope (MR that is
    no map), then the rescale. Raises `Rejection` MISSING_ATTRIBUTE for CT and PET without rescale, IMPLAUSIBLE_HEADER
    for a slope of zero or numbers that are not finite.
    """
    rescale = _rescale(header, sop_class)
    if sop_class in kinds.MR_CLASSES or sop_class in kinds.PT_CLASSES:
        mapped = _real_world(header)
        if mapped is not None:
            return mapped
    if sop_class in kinds.MR_CLASSES:
        return _philips(header, rescale) or rescale
    return rescale


def _rescale(header: Header, sop_class: str) -> Scaling:
    """RescaleSlope and RescaleIntercept; CT and PT mean nothing without them, elsewhere they default to identity."""
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if sop_class in kinds.CT_CLASSES or sop_class in kinds.PT_CLASSES:
        for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
            if value is None:
                raise Rejection(Reason.MISSING_ATTRIBUTE, keyword)
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not math.isfinite(slope) or slope == 0:
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "RescaleSlope")
    if not math.isfinite(intercept):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "RescaleIntercept")
    return Scaling(slope, intercept)


def _philips(header: Header, rescale: Scaling) -> Scaling | None:
    """FP = (RS x stored + RI) / (RS x SS); None where there is no scale slope or the image is a map."""
    found = header.private_numbers(_SCALE_SLOPE, 1)
    if not found or found[0] <= 0 or _is_map(header):
        return None
    scaled = Scaling(1.0 / found[0], rescale.intercept / (rescale.slope * found[0]), PHILIPS)
    return scaled if math.isfinite(scaled.slope) and math.isfinite(scaled.intercept) else None


def _is_map(header: Header) -> bool:
    """Whether a Philips image's displayed values already are measurements: a map, a phase, a velocity."""
    if _text(header, "RescaleType") not in _PLAIN_RESCALE_TYPES:
        return True
    if _text(header, "ComplexImageComponent") == "PHASE":
        return True
    terms = {str(term).strip().upper() for term in (*header.values("ImageType"), *header.vendor_values("ImageType"))}
    return bool(terms & _MAP_TERMS) or any(" MAP" in term or "_MAP" in term for term in terms)


def _text(header: Header, keyword: str) -> str:
    found = header.values(keyword)
    return str(found[0]).strip().upper() if found else ""


def _real_world(header: Header) -> Scaling | None:
    """The mapping, if there is exactly one with a unit and it is linear, known and covers what is stored."""
    with_unit = [
        (item, code)
        for item in header.items("RealWorldValueMappingSequence")
        if (code := _unit_code(item)) not in _UNITLESS
    ]
    if len(with_unit) != 1:
        return None
    item, code = with_unit[0]
    slope, intercept = (elements.number(item, f"RealWorldValue{name}") for name in ("Slope", "Intercept"))
    if code not in UNITS or elements.tag_of("RealWorldValueLUTData") in item:
        return None
    if slope is None or intercept is None or not slope or not math.isfinite(slope) or not math.isfinite(intercept):
        return None
    return Scaling(slope, intercept, REAL_WORLD, UNITS[code]) if _covers(item, header.ds) else None


def _unit_code(item: Dataset) -> str:
    """The UCUM code of a mapping's unit; empty if it has none or one of another scheme."""
    code = elements.first_item(item, "MeasurementUnitsCodeSequence")
    if code is None or elements.text(code, "CodingSchemeDesignator").upper() != "UCUM":
        return ""
    return elements.text(code, "CodeValue").replace("mL", "ml")  # UCUM knows both


def _covers(item: Dataset, ds: Dataset) -> bool:
    """Whether the mapping's range holds all codes from 0 to the largest possible, or those that the image stores."""
    ends = [
        next((n for keyword in keywords if (n := elements.number(item, keyword)) is not None), None)
        for keywords in (
            ("RealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueFirstValueMapped"),
            ("RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
        )
    ]
    bits, signed = elements.integer(ds, "BitsStored"), elements.integer(ds, "PixelRepresentation")
    if ends[0] is None or ends[1] is None or bits is None:
        return False
    low, high = elements.number(ds, "SmallestImagePixelValue"), elements.number(ds, "LargestImagePixelValue")
    if low is not None and high is not None and ends[0] <= low and high <= ends[1]:
        return True
    return ends[0] <= 0 and ends[1] >= 2 ** (bits - (1 if signed else 0)) - 1
