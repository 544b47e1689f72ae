"""Which images of a series have a place in the patient, and numbers that can be.

Belongs here: sorting files into frames to stack, projections, and what is refused by itself. Does not belong here:
what the frames make together (`oncurate.plan`), reading headers (`oncurate.frames`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from oncurate import geometry, kinds
from oncurate.copies import refused
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Instance, Outcome
from oncurate.split import Unit


def sort_out(kept: Iterable[Instance]) -> tuple[list[Unit], list[Instance], list[Outcome]]:
    """Units that have a place in the patient, projection images, and outcomes of files that are neither.

    A file with a number that cannot be is refused alone, so that the ledger names the one at fault.
    """
    placed: list[Unit] = []
    projections: list[Instance] = []
    outcomes: list[Outcome] = []
    for instance in kept:
        frames = instance.frames
        many = len(frames) > 1
        if instance.SOPClassUID in kinds.PROJECTION:
            projections.append(instance)
        elif all(f.position is not None and f.orientation is not None and f.spacing is not None for f in frames):
            placed += [Unit(instance, frame) for frame in frames]
        elif many and all(f.position is None for f in frames):
            outcomes += refused([instance], Reason.MULTIFRAME_NOT_A_VOLUME)
        else:
            outcomes += refused([instance], Reason.MISSING_GEOMETRY, _missing(instance))
    implausible = _implausible(placed)
    wrong = {outcome.key for outcome in implausible}
    return [u for u in placed if u.instance.source_path not in wrong], projections, outcomes + implausible


def _implausible(units: Sequence[Unit]) -> list[Outcome]:
    if not units or _fault(units) is None:  # one look at all numbers where all are fine
        return []
    outcomes: dict[str, Outcome] = {}
    for unit in units:
        fault = _fault([unit])
        if fault is not None:
            [outcomes[unit.instance.source_path]] = refused([unit.instance], fault.reason, fault.detail)
    return list(outcomes.values())


def _fault(units: Sequence[Unit]) -> Rejection | None:
    try:
        geometry.check_plausible(
            np.array([u.frame.position for u in units], float),
            np.array([u.frame.orientation for u in units], float),
            np.array([u.frame.spacing for u in units], float),
        )
    except Rejection as rejection:
        return rejection
    return None


def _missing(instance: Instance) -> str:
    names = {
        "ImagePositionPatient": "position",
        "ImageOrientationPatient": "orientation",
        "PixelSpacing": "spacing",
    }
    return ", ".join(k for k, field in names.items() if any(getattr(f, field) is None for f in instance.frames))
