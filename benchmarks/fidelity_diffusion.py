"""Diffusion tables: our b-values and directions against the .bval and .bvec that another program wrote.

Belongs here: that comparison for one 4-D image. Does not belong here: reading either (`oncurate.diffusion`,
`benchmarks.oracle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread

from benchmarks.fidelity_match import Piece
from benchmarks.fidelity_verdict import Kind, Right, Verdict, unexplained
from benchmarks.oracle import Output
from oncurate.diffusion import bvecs

_GE_DIRECTION = 0x001910BB

B_TOLERANCE = 1.0
"""s/mm2: files give whole numbers."""
ANGLE_TOLERANCE_DEGREES = 0.1
"""Directions are written with six digits and read with fewer; no gradient system is this exact."""


def judge(output: Output, pieces: Sequence[Piece], files: Iterable[Path]) -> Iterator[Verdict]:
    """Verdicts on the tables of an output whose repetitions are `pieces`, in their order; `files` are the series'."""
    ours = [p.planned.repetitions[p.repetition] if len(p.planned.repetitions) > 1 else None for p in pieces]
    known = [r for r in ours if r is not None and r.b_value is not None]
    if output.b_values is None or len(pieces) < 2 or len(output.b_values) != len(pieces):
        return
    if not known:
        yield Verdict((Kind.NO_DIFFUSION,), Right.THEIRS, "they write b-values, we hold none")
        return
    b_values = np.array([0.0 if r is None or r.b_value is None else r.b_value for r in ours])
    apart = float(np.abs(b_values - output.b_values).max())
    if apart > B_TOLERANCE:
        yield unexplained(f"b-values: {apart:.4g} s/mm2 apart")
        return
    if output.directions is None:
        yield Verdict((), Right.BOTH, "b-values agree")
        return
    gradients = [r.gradient if r is not None and b > 0 else None for r, b in zip(ours, b_values, strict=True)]
    if not any(gradients) and output.directions.any() and _phase_is_unknown(files):
        why = "b-values agree; the directions are relative to a phase axis that no file states: they take one, we none"
        yield Verdict((Kind.NO_DIFFUSION,), Right.OURS, why)
        return
    yield _directions(bvecs(gradients, output.affine), output.directions)


def _phase_is_unknown(files: Iterable[Path]) -> bool:
    """Whether directions are GE's, along phase, frequency and slice, and no file says which axis phase is."""
    for path in files:
        header = dcmread(path, stop_before_pixels=True, force=True)
        if _GE_DIRECTION not in header or header.get("InPlanePhaseEncodingDirection"):
            return False
    return True


def _directions(ours: np.ndarray, theirs: np.ndarray) -> Verdict:
    """A direction and its opposite mean the same."""
    lengths = [np.linalg.norm(table, axis=0) > 0.5 for table in (ours, theirs)]
    if (lengths[0] != lengths[1]).any():
        count = int((lengths[0] != lengths[1]).sum())
        return unexplained(f"directions: {count} are missing on one side")
    both = lengths[0]
    cosine = np.einsum("in,in->n", ours[:, both], theirs[:, both]) / np.linalg.norm(theirs[:, both], axis=0)
    worst = float(np.degrees(np.arccos(np.clip(np.abs(cosine).min(initial=1.0), 0, 1))))
    if worst > ANGLE_TOLERANCE_DEGREES:
        return unexplained(f"directions: up to {worst:.2f} degrees apart")
    opposite = int((cosine < 0).sum())
    signs = f", {opposite} opposite" if opposite else ""
    return Verdict((), Right.BOTH, f"b-values and {int(both.sum())} directions agree{signs}")
