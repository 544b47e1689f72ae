"""Why two results of one stored image have another scale, told from what the headers of its files offer.

Belongs here: the scales that a header states (rescale, Philips' private one, real-world value maps, polarity), and
which two of them explain a line between two results. Does not belong here: finding the line
(`benchmarks.fidelity_voxels`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from benchmarks.fidelity_verdict import Kind, Right, Verdict, unexplained
from benchmarks.fidelity_voxels import FLOAT_TOLERANCE, Relation
from benchmarks.oracle import Output
from oncurate.elements import PARSE_ERRORS
from oncurate.records import PlannedVolume

_PHILIPS_SLOPE = 0x0E  # (2005,xx0E): the scale slope SS of FP = DV / (RS SS)
_RESCALE_SLOPE, _RESCALE_INTERCEPT = 0x00281053, 0x00281052
_MAP_SLOPE, _MAP_INTERCEPT = 0x00409225, 0x00409224

Line = tuple[float, float]


@dataclass
class Offered:
    """Slopes and intercepts that a header offers, by where they stand."""

    rescale: set[Line] = field(default_factory=set)
    philips: set[float] = field(default_factory=set)
    maps: set[Line] = field(default_factory=set)

    def named(self) -> list[tuple[str, Line]]:
        """Every way to turn a stored value into another, by its name."""
        found = [("the standard rescale", line) for line in self.rescale]
        found += [("the real-world value map", line) for line in self.maps]
        for slope, intercept in self.rescale or {(1.0, 0.0)}:
            for private in self.philips:
                found.append(("Philips' precise scale", (1 / private, intercept / (slope * private))))
        return [*found, ("the stored values", (1.0, 0.0))]


def offered(files: Iterable[Path]) -> Offered:
    """The scales in the headers of these files."""
    found = Offered()
    for path in files:
        try:
            header = dcmread(path, stop_before_pixels=True, force=True)
            _collect(header, found)
        except (*PARSE_ERRORS, OSError):
            continue
    return found


def _collect(header: Dataset, found: Offered) -> None:
    pair: dict[int, float] = {}
    for element in header:
        if element.VR == "SQ":
            for item in element.value:
                _collect(item, found)
        elif element.tag in (_RESCALE_SLOPE, _RESCALE_INTERCEPT, _MAP_SLOPE, _MAP_INTERCEPT):
            pair[int(element.tag)] = float(element.value)
        elif element.tag.group == 0x2005 and element.tag.element & 0xFF == _PHILIPS_SLOPE:
            value = element.value
            if isinstance(value, int | float) and value:
                found.philips.add(float(value))
    if _RESCALE_SLOPE in pair:
        found.rescale.add((pair[_RESCALE_SLOPE], pair.get(_RESCALE_INTERCEPT, 0.0)))
    if _MAP_SLOPE in pair:
        found.maps.add((pair[_MAP_SLOPE], pair.get(_MAP_INTERCEPT, 0.0)))


def explain(relation: Relation, planned: PlannedVolume, output: Output, scales: Offered) -> Verdict:
    """Whose scale is whose, both as lines over the values of the DICOM file; `relation` is LINEAR."""
    first = planned.slices[0]
    ours = (first.slope, first.intercept)
    ratio = output.slope / relation.factor  # theirs = ratio * (ours - offset) + their intercept
    theirs = (ratio * ours[0], ratio * (ours[1] - relation.offset) + output.intercept)
    if planned.PhotometricInterpretation == "MONOCHROME1" and math.isclose(ratio, -1, rel_tol=FLOAT_TOLERANCE):
        why = "MONOCHROME1: white is low there as stored; we turn it round once and record it"
        return Verdict((Kind.INVERTED,), Right.OURS, why)
    mine, others = _name(ours, scales), _name(theirs, scales)
    if mine is None or others is None or mine == others:
        lines = f"ours = {ours[0]:.6g} x stored + {ours[1]:.6g}, theirs {theirs[0]:.6g} x stored + {theirs[1]:.6g}"
        return unexplained(f"values: {lines}")
    right = Right.OURS if others == "the stored values" else Right.BOTH
    return Verdict((Kind.SCALE,), right, f"theirs is {others}, ours {mine}: theirs = {ratio:.6g} x ours")


def _name(line: Line, scales: Offered) -> str | None:
    """The scale that a line is: the nearest of those offered, within the single precision of both files."""
    near = [(_apart(line, known), name) for name, known in scales.named()]
    apart, name = min(near)
    return name if apart <= FLOAT_TOLERANCE else None


def _apart(one: Line, other: Line) -> float:
    """The larger of the relative differences of slope and intercept."""
    slope = abs(one[0] - other[0]) / max(abs(one[0]), abs(other[0]))
    size = max(abs(one[1]), abs(other[1]), abs(one[0]))
    return max(slope, abs(one[1] - other[1]) / size)
