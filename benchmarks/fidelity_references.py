"""The NIfTI files that the authors of a sample made themselves: masks and images, against our volumes of that sample.

Belongs here: finding them and what makes a mask. Does not belong here: the rules for images
(`benchmarks.fidelity_rules`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import fidelity_rules, fidelity_series, oracle
from benchmarks.fidelity_match import Piece, pieces_of
from benchmarks.fidelity_rules import Results
from benchmarks.fidelity_series import Curated, Found
from benchmarks.fidelity_verdict import Kind, Right, Verdict, unexplained
from benchmarks.fidelity_voxels import AFFINE_TOLERANCE_MM, Voxels, distance_mm
from benchmarks.oracle import Conversion, Output
from oncurate.image import Image
from oncurate.records import PlannedVolume

SUFFIXES = (".nii", ".nii.gz")
POSITION_TOLERANCE_MM = 0.01
"""Authors' tools round positions to hundredths of a millimetre; a voxel is a hundred times larger."""


@dataclass(frozen=True)
class Reference:
    """One NIfTI file of a folder and what our volumes say of it; `number` counts the references of a run."""

    number: int
    label: str
    theirs: str
    ours: str
    verdict: Verdict


def judge_folder(folder: Path, first: int = 1) -> Iterator[Reference]:
    """Every NIfTI file below a folder, numbered from `first`, against all our volumes of the files under its label."""
    series = fidelity_series.find_series(folder)
    number = first
    for label in sorted({found.label for found in series}):
        inside = [found for found in series if found.label == label]
        paths = [p for found in inside for p in found.files if p.name.endswith(SUFFIXES)]
        if not paths:
            continue
        ours = _all_of(inside)
        files = tuple(p for found in inside if found.uid for p in found.files)
        for path in sorted(paths):
            output = oracle.read(path)
            yield _judge(number, label, output, files, ours)
            number += 1


def _all_of(series: Sequence[Found]) -> Curated:
    """The volumes of several series as one."""
    volumes: list[tuple[PlannedVolume, Image]] = []
    outcomes, formats = [], {}
    for found in series:
        if found.uid:
            one = fidelity_series.curate(found.files)
            volumes += one.volumes
            outcomes += one.outcomes
            formats |= one.formats
    return Curated(volumes, outcomes, formats)


def _judge(number: int, label: str, output: Output, files: tuple[Path, ...], ours: Curated) -> Reference:
    shape = "x".join(map(str, output.shape))
    if _is_mask(output):
        verdict = _mask(output, pieces_of(ours))
        return Reference(number, label, f"mask {shape}", f"{len(ours.volumes)} volumes", verdict)
    images = replace(output, b_values=None, directions=None)  # how a tool writes directions is not the sample's
    verdict = fidelity_rules.judge_one(images, Results(files, ours, Conversion((images,), 0)))
    return Reference(number, label, f"image {shape}", f"{len(ours.volumes)} volumes", verdict)


def _is_mask(output: Output) -> bool:
    return not output.is_colour and set(np.unique(output.stored)) <= {0, 1}


def _mask(output: Output, pieces: Sequence[Piece]) -> Verdict:
    """Whether the mask lies on the grid of one of our volumes, its axes turned if need be."""
    mask = Voxels(output.volumes[0], output.affine).turned()
    turned = [p.voxels.turned() for p in pieces if p.in_patient]
    distances = [distance_mm(v, mask) for v in turned if v.shape == mask.shape]
    if not distances:
        return unexplained(f"no volume of ours has the mask's shape {mask.shape}")
    apart = min(distances)
    if apart > POSITION_TOLERANCE_MM:
        return unexplained(f"matrix: {apart:.4g} mm apart")
    exact = "" if apart <= AFFINE_TOLERANCE_MM else f" but for {apart:.4f} mm of rounding"
    return Verdict((Kind.GRID,), Right.BOTH, f"a mask on the grid of one of our volumes{exact}")
