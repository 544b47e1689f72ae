"""Outputs that we have no image for: what we refused, and the second outputs that dcm2niix makes up.

Belongs here: checking that our reason for a refusal agrees with what dcm2niix did. Does not belong here: images that
both have (`benchmarks.fidelity_rules`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.fidelity_series import Curated
from benchmarks.fidelity_verdict import Kind, Right, Verdict, unexplained
from benchmarks.oracle import Output
from oncurate.image import Image
from oncurate.reasons import Reason, State

_GEOMETRY = (Reason.MISSING_SLICES, Reason.UNEVEN_SPACING, Reason.GANTRY_TILT, Reason.IN_PLANE_DRIFT)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
WHOLE = 0.05
"""A distance is a multiple of another if their ratio is this close to a whole number."""
SAME_MM = 0.02
"""Two distances are one: our details give them with two decimals, and both sides round positions."""
SAME_EXTENT_MM = 0.5
"""Corrected stacks span the same: less than the thinnest slice may be left out at an end."""
SAME_PIXELS = 2.0
"""Pixels by which the rows that an undone tilt adds may differ: each side rounds up."""


def whole_series(output: Output, outputs: Sequence[Output], ours: Curated) -> Verdict:
    """We refused every file of the series: why, and whether dcm2niix's own numbers bear that out."""
    reasons = [r for r in ours.reasons if r.state is not State.DUPLICATE] or ours.reasons
    reasons = [r for r in reasons if r is not Reason.NOT_DICOM] or reasons
    if not reasons:
        return unexplained("we have neither a volume nor a refusal")
    for reason in reasons:
        if reason in _GEOMETRY:
            detail = next(o.detail for o in ours.outcomes if o.reason is reason)
            return _geometry(reason, detail, output, outputs)
    kinds = {Kind.EXCLUDED if r.state is State.EXCLUDED else Kind.REFUSED for r in reasons}
    right = Right.OURS if kinds == {Kind.EXCLUDED} else Right.OPEN
    return Verdict(tuple(k for k in Kind if k in kinds), right, reasons[0].advice, tuple(reasons))


def second_output(
    output: Output, outputs: Sequence[Output], ours: Curated, corrected: Callable[[], Curated]
) -> Verdict | None:
    """An output beside the image proper: a part of it, or its slices resampled. None if it is neither.

    `corrected` gives our volumes where correcting grids is allowed.
    """
    if output.is_cropped:
        return Verdict((Kind.SECOND,), Right.OPEN, "a part or an overlay of another output, written beside it")
    if not output.is_resampled:
        return None
    if _base(output, outputs) is None or output.shape[2] < 2:
        return unexplained("a resampled output without the image it was made of, or of one slice")
    reasons = tuple(r for r in ours.reasons if r in _GEOMETRY)
    if not reasons:
        return unexplained("they resample what we hold to be regular")
    why = f"their slices resampled to {step_mm(output):.3f} mm, in a file of its own beside the wrong one"
    images = [image for planned, image in corrected().volumes if planned.correction]
    if not images:
        return Verdict((Kind.SECOND,), Right.OURS, f"{why}; we invent no slice", reasons)
    mine = _span_mm(images)
    if abs(mine - extent_mm(output)) > SAME_EXTENT_MM:
        return unexplained(f"corrected extents: ours {mine:.2f} mm, theirs {extent_mm(output):.2f} mm")
    slices = " + ".join(str(image.shape[2]) for image in images)
    why = f"{why}; where a policy allows it ours spans the same {mine:.1f} mm in {slices} slices"
    return Verdict((Kind.SECOND,), Right.BOTH, why, reasons)


def _span_mm(images: Sequence[Image]) -> float:
    """From the first slice of all images to the last, along the normal of the first image."""
    normal = images[0].affine[:3, 2] / np.linalg.norm(images[0].affine[:3, 2])
    ends = [image.affine[:3] @ [0, 0, k, 1] @ normal for image in images for k in (0, image.shape[2] - 1)]
    return float(max(ends) - min(ends))


def _geometry(reason: Reason, detail: str, output: Output, outputs: Sequence[Output]) -> Verdict:
    resampled = next((o for o in outputs if o.is_resampled), None)
    if resampled is None:
        why = f"{detail}: they keep the first distance for all slices and write nothing else"
        return Verdict((Kind.REFUSED,), Right.OURS, why, (reason,))
    numbers = [float(n) for n in _NUMBER.findall(detail)]
    check = {
        Reason.MISSING_SLICES: _gap_agrees,
        Reason.UNEVEN_SPACING: _range_agrees,
        Reason.GANTRY_TILT: _tilt_agrees,
    }.get(reason)
    if check is not None and not check(numbers, output, resampled):
        return unexplained(f"{reason.value}: {detail}, but they place slices every {step_mm(output):.3f} mm")
    off = abs(extent_mm(resampled) - extent_mm(output))
    why = f"{detail}: their file puts slices up to {off:.1f} mm from where they lie; they warn, we refuse"
    return Verdict((Kind.REFUSED,), Right.OURS, why, (reason,))


def _gap_agrees(numbers: Sequence[float], output: Output, resampled: Output) -> bool:
    """`missing of total`: the extent that they resample over is the total's, in whole steps."""
    total = numbers[1]
    even = extent_mm(resampled) / (total - 1)
    ratio = step_mm(output) / even
    return round(ratio) >= 1 and abs(ratio - round(ratio)) < WHOLE and total - numbers[0] == output.shape[2]


def _range_agrees(numbers: Sequence[float], output: Output, resampled: Output) -> bool:
    """`least to greatest mm`: their one distance is within it, and the mean over their extent too."""
    least, greatest = numbers[0] - SAME_MM, numbers[1] + SAME_MM
    mean = extent_mm(resampled) / (output.shape[2] - 1)
    return least <= step_mm(output) <= greatest and least <= mean <= greatest


def _tilt_agrees(numbers: Sequence[float], output: Output, resampled: Output) -> bool:
    """`degrees`: undoing the tilt adds as many rows as the slices are shifted over the extent."""
    size = float(np.linalg.norm(resampled.affine[:3, 1]))
    added = (resampled.shape[1] - output.shape[1]) * size
    return abs(added - extent_mm(resampled) * np.tan(np.radians(numbers[0]))) <= SAME_PIXELS * size


def step_mm(output: Output) -> float:
    """From one slice to the next."""
    return float(np.linalg.norm(output.affine[:3, 2]))


def extent_mm(output: Output) -> float:
    """From the first slice to the last."""
    return step_mm(output) * (output.shape[2] - 1)


def _base(output: Output, outputs: Sequence[Output]) -> Output | None:
    """The output that a resampled one was made of: its name is the beginning of the other's."""
    plain = [o for o in outputs if not o.is_resampled and not o.is_cropped and output.suffix.startswith(o.suffix)]
    return max(plain, key=lambda o: len(o.suffix), default=None)
