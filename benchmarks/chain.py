"""The whole job against the chain of tools that a user would write today, on the same files and cores in one run.

Belongs here: the two sides, in turns, and their ratio. Does not belong here: measuring (`benchmarks.meter`).

The chain: dicom-anonymizer over every file, dcm2niix to .nii.gz, SimpleITK's linear resampling of every volume to
the spacing and voxel type of our profiles. It checks nothing and keeps no record; it is the yardstick for cost alone.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path

import dcm2niix

from benchmarks import archive, meter
from benchmarks.meter import Cost
from benchmarks.ours import curate
from benchmarks.show import print_table
from oncurate import profiles

STEPS = ("anonymise", "convert", "resample")


def run(data: list[Path], folder: Path, repetitions: int, megabytes: int) -> dict[str, object]:
    """Measure both sides in turns and the fixed cost of ours; print and return the figures."""
    proof = meter.prove(folder)
    print(f"the meter found {proof['found_s']:.2f} s of a grandchild that burnt {proof['burnt_s']:.2f} s\n")
    series = archive.regular_series(data)
    if not series:
        sys.exit("the data hold no regular series of CT, MR or PET; name another folder with --data")
    source, tiny = folder / "source", folder / "tiny"
    made = archive.enlarge(series, source, megabytes)
    archive.make_series(tiny, 1)
    print(
        f"archive: {made['series']} real series, each copied {made['copies']} times under made patients with new UIDs: "
        f"{made['files']} files, {made['bytes'] / 1e6:.0f} MB\n"
    )
    curate(tiny, folder, "warm-up")  # compiled modules and a warm page cache, for both sides
    ours, theirs, fixed = [], [], []
    for number in range(repetitions):
        ours.append(curate(source, folder, "ours")[0])
        theirs.append(_chain(source, folder))
        fixed.append(curate(tiny, folder, "fixed")[0])
        print(
            f"run {number + 1}: ours {ours[-1].cpu_s:.1f} CPU s, chain {sum(c.cpu_s for c in theirs[-1].values()):.1f} "
            f"({' + '.join(f'{theirs[-1][step].cpu_s:.1f}' for step in STEPS)}), fixed {fixed[-1].cpu_s:.1f}",
            flush=True,
        )
    return _result(made, proof, ours, theirs, fixed)


def _chain(source: Path, folder: Path) -> dict[str, Cost]:
    """What each tool of the chain costs."""
    work = folder / "chain"
    shutil.rmtree(work, ignore_errors=True)
    anonymous, converted, resampled = (work / name for name in ("anonymous", "converted", "resampled"))
    for made in (anonymous, converted, resampled):
        made.mkdir(parents=True)
    python = [sys.executable, "-m"]
    naming = ["-z", "y", "-b", "y", "-f", "%j", "-o"]
    commands = {
        "anonymise": [*python, "benchmarks.chain_anonymise", source, anonymous],
        "convert": [dcm2niix.bin, *naming, converted, anonymous],
        "resample": [*python, "benchmarks.chain_resample", converted, resampled, json.dumps(_grids())],
    }
    costs = {step: meter.measure(commands[step], folder / f"chain-{step}.log") for step in STEPS}
    volumes = len(list(resampled.glob("*.nii.gz")))
    print(f"chain: {volumes} volumes, {archive.folder_bytes(resampled) / 1e6:.0f} MB resampled", flush=True)
    shutil.rmtree(work)
    return costs


def _grids() -> dict[str, tuple[tuple[float, ...], str]]:
    """Spacing and voxel type that our profiles ask for, by modality."""
    shipped = profiles.load().by_name
    return {modality: (shipped[modality].spacing_mm or (), shipped[modality].dtype) for modality in ("CT", "MR", "PT")}


def _result(
    made: dict[str, int],
    proof: dict[str, float],
    ours: list[Cost],
    theirs: list[dict[str, Cost]],
    fixed: list[Cost],
) -> dict[str, object]:
    totals = [sum((costs[step] for step in STEPS[1:]), costs[STEPS[0]]) for costs in theirs]
    sides = {
        "ours, whole job": ours,
        "  of it fixed": fixed,
        "chain": totals,
        **{f"  {step}": [costs[step] for costs in theirs] for step in STEPS},
    }
    rows = [
        (name, *(f"{_median(costs, field):.1f}" for field in ("cpu_s", "user_s", "system_s", "wall_s", "peak_mb")))
        for name, costs in sides.items()
    ]
    print()
    print_table(("median of " + str(len(ours)), "CPU s", "user s", "system s", "wall s", "peak MB"), rows)
    mine, other, ground = (_median(costs, "cpu_s") for costs in (ours, totals, fixed))
    conversion = _median([costs["convert"] for costs in theirs], "cpu_s")
    ratios = {
        "whole": mine / other,
        "without_fixed": (mine - ground) / other,
        "against_conversion_alone": mine / conversion,
        "wall": _median(ours, "wall_s") / _median(totals, "wall_s"),
    }
    print(
        f"\nCPU ours / chain: {ratios['whole']:.2f}; without the fixed cost {ratios['without_fixed']:.2f}; "
        f"ours / dcm2niix alone {ratios['against_conversion_alone']:.2f}; wall {ratios['wall']:.2f}"
    )
    runs = {name.strip(): [cost.as_json() for cost in costs] for name, costs in sides.items()}
    return {"archive": made, "meter": proof, "runs": runs, "ratios": ratios}


def _median(costs: list[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)
