"""The factor that turns the values of a PET volume into standardised uptake values by body weight (SUVbw), g/ml.

Belongs here: the rules by which a header gives that factor, and the closed list of reasons why it does not. Does not
belong here: reading DICOM times (`oncurate.intervals`), rescaling pixels (`oncurate.convert`), applying the factor
(`oncurate.harmonise`).

The rules are QIBA's vendor-neutral pseudo-code for SUV ("happy path" and "robust" form), with what digital reference
objects (oncoray/suv_computation) and real headers add to it: doses in MBq, weights in grams, injections before
midnight, Philips factors without a private creator. A header that leaves a doubt gives no factor: a wrong SUV looks
like a right one. SUVs by lean body mass, ideal weight or body surface are turned into SUVbw with the body measures of
the header.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydicom.dataset import Dataset

from oncurate import allowlist, elements, intervals, kinds
from oncurate.elements import PrivateTag, Scalar
from oncurate.records import RESCALE, SuvScale
from oncurate.split import Unit

Attributes = Mapping[str, Any]

GE_SCAN, PHILIPS_SUV, PHILIPS_ACTIVITY = "GEScanDateTime", "PhilipsSUVFactor", "PhilipsActivityFactor"
_PHILIPS = (0x7053, "Philips PET Private Group")
PRIVATE: dict[str, PrivateTag] = {
    GE_SCAN: PrivateTag(0x0009, "GEMS_PETD_01", 0x0D, "DT", "GE"),
    PHILIPS_SUV: PrivateTag(*_PHILIPS, 0x00, "DS", "PHILIPS"),
    PHILIPS_ACTIVITY: PrivateTag(*_PHILIPS, 0x09, "DS", "PHILIPS"),
}
"""Private elements by a name of ours."""

_TRACER = "RadiopharmaceuticalInformationSequence."
_G_PER_KG = 1000.0
_BQ_PER_MBQ = 1e6
DOSE_IS_MBQ_BELOW = 1e4
"""A dose below this is in MBq: in Bq it would be a millionth of what is ever given (MIRP draws the same line)."""
DOSE_RANGE_BQ = (1e6, 5e9)
"""From a tenth of the least dose for an infant (EANM dosage card: 10 to 26 MBq) to three of rubidium-82 (1.5 GBq)."""
WEIGHT_IS_G_ABOVE = 1000.0
"""A weight above this is in grams (QIBA test data, MIRP): nobody weighs a tonne."""
WEIGHT_RANGE_KG = (0.2, 400.0)
HEIGHT_IS_CM_ABOVE = 3.0
HEIGHT_RANGE_M = (0.3, 2.6)
MAX_HALF_LIVES = 10.0
"""After ten half-lives a thousandth of the dose is left: nobody scans then, so one of the times is wrong."""
TIME_ONLY_MAX_HALF_LIFE_S = 41400.0
"""Half-life, s. Slower tracers may be scanned days later: a time of injection without a date says nothing (as MIRP)."""
FRAME_RANGE_MS = (1.0, 86_400_000.0)
"""Duration of a frame, ms; anything else is no duration."""
HALF_LIFE_RANGE_S = (60.0, 1e6)
HALF_LIFE_TOLERANCE = 0.05
"""A half-life further than this from the nuclide's own contradicts it: published values differ by 2 % at most."""
HALF_LIVES_S = {
    "11C": 1223.1,
    "13N": 597.9,
    "15O": 122.24,
    "18F": 6586.2,
    "64Cu": 45723.6,
    "68Ga": 4062.6,
    "82Rb": 75.45,
    "89Zr": 282276.0,
    "124I": 360806.4,
}
"""Half-lives of PET nuclides (CID 4020), s: US National Nuclear Data Center, as in the European Pharmacopoeia 5.7."""

UNITS_OF_MAP = {"Bq/ml": "BQML", "SUVbw g/ml": "GML"}
"""Unit of a real-world value map, as `oncurate.scaling` spells it, and the Units that say the same; no other counts."""


class Status(StrEnum):
    """How a factor was found, or why there is none: all that `SuvScale.status` may say."""

    BQML_START = "computed: BQML START"
    BQML_ADMIN = "computed: BQML ADMIN"
    CNTS_SUV = "computed: CNTS SUV factor"
    CNTS_START = "computed: CNTS activity factor, START"
    CNTS_ADMIN = "computed: CNTS activity factor, ADMIN"
    GML = "computed: GML"
    GML_OTHER = "computed: GML of lean or ideal mass"
    CM2ML = "computed: CM2ML"
    NO_ATTENUATION = "not computable: not corrected for attenuation"
    NO_DECAY = "not computable: not corrected for decay"
    UNITS = "not computable: units"
    SUV_TYPE = "not computable: SUV type"
    NO_FACTOR = "not computable: counts without a Philips factor"
    DOSE = "not computable: dose"
    WEIGHT = "not computable: weight"
    BODY = "not computable: height or sex"
    HALF_LIFE = "not computable: half-life"
    INJECTION = "not computable: injection time"
    INJECTION_DATE = "not computable: injection date"
    SCAN = "not computable: scan time"
    TIMES = "not computable: implausible times"
    INCONSISTENT = "not computable: inconsistent header"


STATUSES: frozenset[str] = frozenset(status.value for status in Status)


class _NotComputable(Exception):
    """Ends the search for a factor; never leaves this module."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.value)
        self.status = status


def scale(slices: Sequence[Attributes], *, scaling: str = RESCALE, unit: str | None = None) -> SuvScale:
    """The factor of one PET volume, g/ml per native value, and how it was found or why it was not.

    `slices` holds the raw attributes of all files of the volume as index collects them. `scaling` and `unit` are those
    of its frames: a native value is stored value x slope + intercept of its own slice, in Units or, after a real-world
    value map, in `unit`. Slices must agree in every attribute that is needed; of the acquisition times the earliest
    counts. Never raises for what a header says.
    """
    try:
        if not slices:
            raise _NotComputable(Status.UNITS)
        factor, status = _factor(_Header(slices), scaling, unit)
    except _NotComputable as reason:
        return SuvScale(factor=None, status=reason.status.value)
    if not (math.isfinite(factor) and factor > 0):
        return SuvScale(factor=None, status=Status.TIMES.value)
    return SuvScale(factor=factor, status=status.value)


def of_volume(units: Sequence[Unit]) -> SuvScale | None:
    """The `scale` of the volume that these frames make; None where they are not PET."""
    first = units[0]
    if first.instance.SOPClassUID not in kinds.PT_CLASSES:
        return None
    files = {unit.instance.object: unit.instance.attributes for unit in units}
    return scale(list(files.values()), scaling=first.frame.scaling, unit=first.frame.unit)


def private(ds: Dataset, name: str) -> list[Scalar]:
    """Values of the private element that `PRIVATE` calls `name`; also without a creator in a file of its manufacturer.

    De-identification often removes the private creator and keeps the element.
    """
    wanted = PRIVATE[name]
    own = elements.text(ds, "Manufacturer").upper().startswith(wanted.vendor)
    return elements.private_values(ds, wanted, orphan=own)


class _Header:
    """The attributes of all slices; a question about one value ends the search where slices disagree."""

    def __init__(self, slices: Sequence[Attributes]) -> None:
        self.slices = slices

    def one(self, keyword: str) -> Any:
        first, *others = (attributes.get(keyword) for attributes in self.slices)
        if any(other != first for other in others):
            raise _NotComputable(Status.INCONSISTENT)
        return first

    def text(self, keyword: str) -> str:
        return str(self.one(keyword) or "").strip(" \0").upper()

    def number(self, keyword: str) -> float | None:
        return _number(self.one(keyword))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _factor(header: _Header, scaling: str, unit: str | None) -> tuple[float, Status]:
    units, kind = header.text("Units"), header.text("SUVType")
    if scaling != RESCALE:
        units, kind = UNITS_OF_MAP.get(unit or "", ""), "BW"
    if units not in ("BQML", "CNTS", "GML", "CM2ML"):
        raise _NotComputable(Status.UNITS)
    _require_corrections(header)
    if units == "GML" and kind in ("", "BW"):
        return 1.0, Status.GML
    if units == "GML":
        return _weight(header) / _mass(header, kind), Status.GML_OTHER
    if units == "CM2ML":
        return _weight(header) * _G_PER_KG / _surface(header), Status.CM2ML
    decay = header.text("DecayCorrection")
    if decay not in ("START", "ADMIN"):
        raise _NotComputable(Status.NO_DECAY)
    if units == "BQML":
        return _per_activity(header, decay), Status.BQML_START if decay == "START" else Status.BQML_ADMIN
    direct, activity = header.number(PHILIPS_SUV), header.number(PHILIPS_ACTIVITY)
    if direct is not None and direct > 0:
        return direct, Status.CNTS_SUV
    if activity is None or activity <= 0:
        raise _NotComputable(Status.NO_FACTOR)
    return activity * _per_activity(header, decay), Status.CNTS_START if decay == "START" else Status.CNTS_ADMIN


def _require_corrections(header: _Header) -> None:
    value = header.one("CorrectedImage")
    many = value if isinstance(value, list | tuple) else str(value or "").split("\\")
    terms = {str(term).strip().upper() for term in many}
    if "ATTN" not in terms:
        raise _NotComputable(Status.NO_ATTENUATION)
    if not terms & {"DECY", "DECAY"}:
        raise _NotComputable(Status.NO_DECAY)


def _per_activity(header: _Header, decay: str) -> float:
    """g per Bq: body weight over what is left of the dose at the moment to which the image was corrected."""
    weight, dose = _weight(header), _dose(header)
    if decay == "START":
        half_life = _half_life(header)
        dose *= 2 ** (-_decay_time(header, half_life) / half_life)
    return weight * _G_PER_KG / dose


def _dose(header: _Header) -> float:
    """The injected dose, Bq."""
    value = header.number(_TRACER + "RadionuclideTotalDose")
    if value is None or value <= 0:
        raise _NotComputable(Status.DOSE)
    dose = value * _BQ_PER_MBQ if value < DOSE_IS_MBQ_BELOW else value
    if not DOSE_RANGE_BQ[0] <= dose <= DOSE_RANGE_BQ[1]:
        raise _NotComputable(Status.DOSE)
    return dose


def _weight(header: _Header) -> float:
    """The body weight, kg."""
    value = header.number("PatientWeight") or 0.0
    weight = value / _G_PER_KG if value > WEIGHT_IS_G_ABOVE else value
    if not WEIGHT_RANGE_KG[0] <= weight <= WEIGHT_RANGE_KG[1]:
        raise _NotComputable(Status.WEIGHT)
    return weight


def _height(header: _Header) -> float:
    """The height, m."""
    value = header.number("PatientSize") or 0.0
    height = value / 100 if value > HEIGHT_IS_CM_ABOVE else value
    if not HEIGHT_RANGE_M[0] <= height <= HEIGHT_RANGE_M[1]:
        raise _NotComputable(Status.BODY)
    return height


def _surface(header: _Header) -> float:
    """Body surface, cm2 (DuBois 1916, as PS3.16 defines SUVbsa)."""
    return 0.007184 * _weight(header) ** 0.425 * (_height(header) * 100) ** 0.725 * 1e4


def _mass(header: _Header, kind: str) -> float:
    """The mass that an SUV of SUVType `kind` was divided by, kg; the formulas hold for women and men only.

    LBMJAMES128: James 1976 with 128. LBMJANMA: Janmahasatian 2005. IBW: Sugawara 1999. Plain LBM may be James with 120
    or with 128, so it is refused.
    """
    if kind not in ("LBMJAMES128", "LBMJANMA", "IBW"):
        raise _NotComputable(Status.SUV_TYPE)
    sex = header.text("PatientSex")
    if sex not in ("F", "M"):
        raise _NotComputable(Status.BODY)
    weight, height = _weight(header), _height(header)
    male = sex == "M"
    if kind == "LBMJAMES128":
        mass = (1.10 if male else 1.07) * weight - (128 if male else 148) * (weight / (height * 100)) ** 2
    elif kind == "LBMJANMA":
        mass = 9270 * weight / ((6680 if male else 8780) + (216 if male else 244) * weight / height**2)
    else:
        mass = (48.0 + 1.06 * (height * 100 - 152)) if male else (45.5 + 0.91 * (height * 100 - 152))
    if not WEIGHT_RANGE_KG[0] <= mass <= WEIGHT_RANGE_KG[1]:
        raise _NotComputable(Status.BODY)
    return mass


def _half_life(header: _Header) -> float:
    """The half-life, s: the header's, which its radionuclide must not contradict, else the radionuclide's."""
    stated = header.number(_TRACER + "RadionuclideHalfLife")
    code = _TRACER + "RadionuclideCodeSequence."
    names = (header.one(code + "CodeValue"), header.one(code + "CodeMeaning"))
    nuclide = next((n for n in (allowlist.term("radionuclide", name) for name in names) if n is not None), "")
    known = HALF_LIVES_S.get(nuclide)
    if stated is None or stated == 0:
        stated = known
    if stated is None or not HALF_LIFE_RANGE_S[0] <= stated <= HALF_LIFE_RANGE_S[1]:
        raise _NotComputable(Status.HALF_LIFE)
    if known is not None and abs(stated - known) > HALF_LIFE_TOLERANCE * known:
        raise _NotComputable(Status.HALF_LIFE)
    return stated


def _decay_time(header: _Header, half_life: float) -> float:
    """Seconds from the injection to the start of the scan."""
    scan = _scan_start(header, half_life)
    start = {keyword: header.one(keyword) for keyword in (intervals.START_DATETIME, intervals.START_TIME)}
    injected = intervals.injected_at(start)
    if injected is not None:
        seconds = (scan - injected).total_seconds()
    else:
        by_clock = intervals.injected_before(start, scan)
        if by_clock is None:
            raise _NotComputable(Status.INJECTION)
        if half_life > TIME_ONLY_MAX_HALF_LIFE_S:
            raise _NotComputable(Status.INJECTION_DATE)
        seconds = by_clock
    if not 0 <= seconds <= MAX_HALF_LIVES * half_life:
        raise _NotComputable(Status.TIMES)
    return seconds


def _scan_start(header: _Header, half_life: float) -> datetime:
    """The moment to which START corrects: the series' time, unless that is later than an acquisition.

    Then the series was made afterwards: GE keeps the moment in a private element; else it follows from the first frame.
    """
    acquired = [_acquired(attributes) for attributes in header.slices]
    known = [moment for moment in acquired if moment is not None]
    if len(known) < len(acquired):
        raise _NotComputable(Status.SCAN)
    first = min(known)
    series = intervals.moment(header.one("SeriesDate"), header.one("SeriesTime"))
    if series is not None and series <= first:
        return series
    kept = intervals.moment_of(header.one(GE_SCAN))
    if kept is not None:
        return kept
    earliest = [attributes for attributes, at in zip(header.slices, known, strict=True) if at == first]
    try:
        return first - min(_frame_offset(attributes, half_life) for attributes in earliest)
    except OverflowError:  # a day in the first year of our era has no day before
        raise _NotComputable(Status.TIMES) from None


def _acquired(attributes: Attributes) -> datetime | None:
    found = intervals.moment(attributes.get("AcquisitionDate"), attributes.get("AcquisitionTime"))
    return found or intervals.moment_of(attributes.get("AcquisitionDateTime"))


def _frame_offset(attributes: Attributes, half_life: float) -> timedelta:
    """From the start of the scan to the start of a frame; 0 where the header does not say.

    FrameReferenceTime is the offset of the moment of mean activity in the frame (PS3.3 C.8.9.4.1.5, example 2, and
    QIBA); in GE files it is that of the frame's start, as the DecayFactor of real series shows.
    """
    reference = _number(attributes.get("FrameReferenceTime"))
    duration = _number(attributes.get("ActualFrameDuration"))
    if reference is None or reference <= 0:
        return timedelta()
    offset = reference / 1000
    if offset > intervals.INJECTION_MAX_S:
        raise _NotComputable(Status.TIMES)
    if allowlist.term("manufacturer", attributes.get("Manufacturer")) != "GE":
        if duration is None or not FRAME_RANGE_MS[0] <= duration <= FRAME_RANGE_MS[1]:
            return timedelta()
        rate = math.log(2) / half_life
        decays = rate * duration / 1000
        offset -= math.log(decays / -math.expm1(-decays)) / rate
    return timedelta(seconds=offset)
