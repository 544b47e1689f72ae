"""One run of the bench: plant, run, search, judge, show.

Belongs here: the order of these. Does not belong here: any of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.phi import plant, runs, search
from benchmarks.phi.answers import Key
from benchmarks.phi.needles import Needles
from benchmarks.phi.runs import Left
from benchmarks.phi.score import Judge
from benchmarks.phi.search import Found
from benchmarks.phi.verdict import Verdict, show

PATIENTS, REAL_FILES, SEED = 9, 400, 20260101
IMAGE_KINDS = frozenset({"CT", "MR", "PT", "enhanced CT", "CR", "DX", "MG"})
"""Kinds that the whole job must release as objects."""


def run(folder: Path, *, seed: int = SEED, patients: int = PATIENTS, real_files: int = REAL_FILES) -> dict[str, Any]:
    """Plant an archive below `folder`, run engine and job on it, print the tables; what each run came to."""
    runs.quiet()
    archive, planted = folder / "archive", folder / "planted"
    key = plant.build(archive, planted, seed, patients, real_files)
    key.save(folder / "key.json")
    print(f"{len(key.files)} files planted with {len(key.items)} items, seed {seed}")
    needles = Needles([*key.identifiers, *key.real, runs.SECRET])
    print(f"{needles.count} forms of {len(key.identifiers) + len(key.real)} identifiers are looked for")
    before = runs.sources(key, planted)
    verdicts = [engine(key, needles, before, planted), job(key, needles, before, folder, archive)]
    for verdict in verdicts:
        show(verdict, key)
    return {verdict.name: verdict.as_json() for verdict in verdicts}


def engine(key: Key, needles: Needles, before: dict[int, Any], planted: Path) -> Verdict:
    """The engine on each file. What is burned into pixels is not its business, but the job's."""
    left = runs.engine(key, planted)
    score = Judge(key, before, runs.parsed(left.objects), pixels_checked=False).judge()
    return Verdict("engine, object by object", score, leaks(left, needles), left.refused)


def job(key: Key, needles: Needles, before: dict[int, Any], folder: Path, archive: Path) -> Verdict:
    """The whole job through the command line."""
    return job_verdict(key, needles, before, runs.job(folder, archive))


def job_verdict(key: Key, needles: Needles, before: dict[int, Any], left: Left) -> Verdict:
    """What the whole job's output comes to."""
    score = Judge(key, before, runs.parsed(left.objects)).judge(IMAGE_KINDS)
    faults = [] if left.code == runs.RELEASED else [f"oncurate curate ended with code {left.code}"]
    if left.unknown:
        faults.append(f"{left.unknown} objects that cannot be told, or left twice")
    return Verdict("the whole job", score, leaks(left, needles), left.refused, faults)


def leaks(left: Left, needles: Needles) -> list[Found]:
    """Every identifier in anything that left, each once a file, layer and form."""
    found = search.one(left.said, needles, "what was said")
    if not left.folders:
        for number, data in left.objects.items():
            found += search.one(data, needles, f"object {number}")
    for name, folder in left.folders.items():
        found += search.folder(folder, needles, name)
    return found


def exit_if_bad(figures: dict[str, Any]) -> None:
    """End with code 1 if any run of the bench is not good enough."""
    if any(run["failures"] for run in figures.values()):
        sys.exit(1)
