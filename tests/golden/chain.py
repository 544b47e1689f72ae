"""The chain from files to images, in memory, as the stages run it; and the oracle it is compared with.

Belongs here: what golden tests share. Does not belong here: assertions.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from oncurate import nifti
from oncurate.convert import convert
from oncurate.errors import Rejection
from oncurate.headers import read_instance
from oncurate.image import Image
from oncurate.pixels import digest
from oncurate.plan import plan_series
from oncurate.records import CohortVolume, Instance, Outcome, PixelLocator, PlannedVolume

KEYWORDS = frozenset({"RescaleType", "Units", "SUVType", "SliceThickness", "MRAcquisitionType", "EchoTime"})


def shared_folder() -> Path | None:
    """The archive of real images: named by ONCURATE_SHARED, else beside the repository; None if there is none."""
    named = os.environ.get("ONCURATE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared"
    return folder if (folder / "data" / "dcm2niix_oracle.json").is_file() else None


@dataclass(frozen=True)
class Curated:
    """What became of one series."""

    volumes: list[tuple[PlannedVolume, Image]]
    outcomes: list[Outcome]

    @property
    def reasons(self) -> set[str]:
        """The reasons of all files that are in no volume."""
        return {o.reason.value for o in self.outcomes if o.reason is not None}


def read(path: Path, root: Path) -> Instance:
    """The instance of one file."""
    data = path.read_bytes()
    with path.open("rb") as stream:
        return read_instance(
            stream,
            object=hashlib.sha256(data).hexdigest(),
            source_path=path.relative_to(root).as_posix(),
            url=str(path),
            size=len(data),
            keywords=KEYWORDS,
            harvest=lambda _: (),
        )


def locator(instance: Instance) -> PixelLocator:
    """Where an instance's pixels are."""
    return PixelLocator(
        object=instance.object,
        url=instance.url,
        bytes=instance.bytes,
        offset=instance.offset,
        format=instance.format,
    )


def curate(instances: list[Instance], refused: list[Outcome]) -> Curated:
    """Plan and convert one series; images went through the bytes of a .nii.gz."""
    series, outcomes = plan_series(instances, lambda i: digest(locator(i), Path(i.url).read_bytes()))
    outcomes = refused + outcomes
    locators = {i.object: locator(i) for i in instances}
    volumes = []
    for planned in series.volumes if series else ():
        wrapped = CohortVolume(volume_id="x", recipe="x", planned=planned, masked=False)
        try:
            image, *_ = convert(wrapped, series.Modality, locators, lambda url: Path(url).read_bytes())
        except Rejection as r:
            keys = {s.SOPInstanceUID for s in planned.slices}
            outcomes += [
                Outcome(key=k, stage="convert", state=r.reason.state, reason=r.reason, detail=r.detail) for k in keys
            ]
        else:
            volumes.append((planned, nifti.read(nifti.write(image))))
    return Curated(volumes, outcomes)


@cache
def series_of(root: Path, source: str) -> dict[str, tuple[list[Instance], list[Outcome]]]:
    """All series of one source folder by series UID: their instances, and outcomes of files refused by their header."""
    from pydicom import dcmread

    found: dict[str, tuple[list[Instance], list[Outcome]]] = defaultdict(lambda: ([], []))
    for path in sorted(p for p in (root / source).rglob("*") if p.is_file()):
        try:
            instance = read(path, root)
        except Rejection as r:
            if r.reason.value == "not_dicom":
                continue
            uid = str(dcmread(path, stop_before_pixels=True, force=True).get("SeriesInstanceUID", ""))
            found[uid][1].append(
                Outcome(key=str(path), stage="index", state=r.reason.state, reason=r.reason, detail=r.detail)
            )
        else:
            found[instance.SeriesInstanceUID][0].append(instance)
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
