"""What a provider decides about stacks that are no regular grid, and what follows for one stack.

Belongs here: the `geometry` section of a provider file, and which correction it allows a layout. Does not belong here:
finding the fault (`oncurate.geometry`), the correction itself (`oncurate.regrid`).

The defaults refuse everything that would need an invented voxel. A missing slice is never interpolated.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from oncurate.geometry import Layout
from oncurate.reasons import Reason
from oncurate.split import Part

Correction = Literal["shear", "resample"]
Duplicates = Literal["keep_one", "quarantine"]

GAP = "gap"
"""Name in `PlannedVolume.split_by` of the pieces of a stack that lacks slices."""


class GeometryPolicy(BaseModel):
    """The `geometry` section of a provider file. Volumes made under `shear` or `resample` say so in their records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gantry_tilt: Literal["quarantine", "shear"] = Field(
        "quarantine",
        description="slices that a tilted gantry shifts against each other: refuse them, or shift each slice back in "
        "its plane by linear interpolation",
    )
    variable_spacing: Literal["quarantine", "resample"] = Field(
        "quarantine",
        description="slices at varying distances that no missing slice explains: refuse them, or interpolate linearly "
        "between neighbours at even distances",
    )
    missing_slices: Literal["quarantine", "split"] = Field(
        "quarantine",
        description="a stack with gaps of whole slices: refuse it, or make a volume of each run without a gap",
    )
    duplicates: Duplicates = Field(
        "keep_one",
        description="the same image more than once under other bytes: keep one where the pixels are equal, or refuse "
        "all copies; files with equal bytes are one file under either",
    )


def correction(layout: Layout, policy: GeometryPolicy) -> Correction | None:
    """The regridding that `policy` allows and that makes a regular volume of a refused layout; None if there is none.

    "resample" includes the shift of a tilted stack, so it needs both policies there.
    """
    if layout.refusal is None:
        return None
    shears = policy.gantry_tilt == "shear"
    if layout.refusal.reason is Reason.GANTRY_TILT and shears:
        return "shear"
    if layout.refusal.reason is Reason.UNEVEN_SPACING and policy.variable_spacing == "resample":
        return "resample" if not layout.drifts or (layout.tilted and shears) else None
    return None


def runs(part: Part, layout: Layout) -> list[Part]:
    """The pieces of a part between gaps of missing slices, in order along the normal."""
    units = [part.units[n] for n in layout.order]
    ends = list(accumulate(layout.runs))
    return [
        Part(tuple(units[end - count : end]), (*part.split_by, GAP))
        for end, count in zip(ends, layout.runs, strict=True)
    ]
