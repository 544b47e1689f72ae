"""The chain from files to images, in memory, as the stages run it; and the recorded outputs of dcm2niix.

Belongs here: what golden tests share beyond `benchmarks.fidelity_series`. Does not belong here: assertions.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fidelity_series
from benchmarks.fidelity_series import Curated
from oncurate.errors import Rejection
from oncurate.records import Instance, Outcome

__all__ = ["Curated", "curate", "oracle", "raw_sha256", "read", "series_of", "shared_folder"]


def shared_folder() -> Path | None:
    """The archive of real images: named by ONCURATE_SHARED, else beside the repository; None if there is none."""
    named = os.environ.get("ONCURATE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared"
    return folder if (folder / "data" / "dcm2niix_oracle.json").is_file() else None


def read(path: Path, root: Path) -> Instance:
    """The instance of one file, its `source_path` relative to `root`."""
    return fidelity_series.read(path).model_copy(update={"source_path": path.relative_to(root).as_posix()})


def curate(instances: list[Instance], refused: list[Outcome]) -> Curated:
    """Plan and convert one series; images went through the bytes of a .nii.gz."""
    return fidelity_series.curate_instances(instances, refused)


@cache
def series_of(root: Path, source: str) -> dict[str, tuple[list[Instance], list[Outcome]]]:
    """All series of one source folder by series UID: their instances, and outcomes of files refused by their header."""
    found: dict[str, tuple[list[Instance], list[Outcome]]] = defaultdict(lambda: ([], []))
    for series in fidelity_series.find_series(root / source):
        for path in series.files if series.uid else ():
            try:
                found[series.uid][0].append(read(path, root))
            except Rejection as refusal:
                found[series.uid][1].append(Outcome.refused(str(path), "index", refusal.reason, refusal.detail))
    return found


def oracle(root: Path) -> list[dict[str, Any]]:
    """The outputs of dcm2niix, a record for each series."""
    return json.loads((root / "dcm2niix_oracle.json").read_text())["series"]


def raw_sha256(array: np.ndarray, output: dict[str, Any]) -> str:
    """The oracle's digest of `array`: unscaled by its slope and intercept, in its type and C order."""
    if output["dtype"].startswith("["):
        return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    raw = (array.astype(np.float64) - output["inter"]) / output["slope"]
    dtype = np.dtype(output["dtype"])
    if dtype.kind != "f":
        raw = np.round(raw)
    return hashlib.sha256(np.ascontiguousarray(raw.astype(dtype)).tobytes()).hexdigest()[:16]
