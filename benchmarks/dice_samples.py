"""Real structure sets with the image that they were drawn on, and the mask that the provider made of them.

Belongs here: which samples there are, decoding them, comparing with their masks. Does not belong here: tables
(`benchmarks.dice`), bounds (`tests/golden/test_rtstruct_shared.py`). Structures are named by their number only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread

from benchmarks.fidelity_series import read
from oncurate.annotations import rtstruct
from oncurate.annotations.model import Grid, LabelMap
from oncurate.errors import Defect, Rejection
from oncurate.headers import quiet
from oncurate.plan import plan_series
from oncurate.reasons import Reason
from oncurate.records import Instance

_IBSI = "theibsi+data_sets/ibsi_validation"
_DRO = "oncoray+suv_computation/DRO"
_STS = "oncoray+mirp/test/data/sts_images_raw/STS_001/FDG_PET"
_MOCK = "qurit+rt-utils/tests/mock_data"


@dataclass(frozen=True)
class Sample:
    """Paths below the folder of samples: of the image's files, of the structure set, of the mask if there is one."""

    name: str
    image: str
    structures: str
    mask: str | None = None


SAMPLES = (
    *(
        Sample(
            f"IBSI STS_025 {modality}",
            f"{_IBSI}/dicom/STS_025/{modality}/image",
            f"{_IBSI}/dicom/STS_025/{modality}/mask/RS.dcm",
            f"{_IBSI}/nifti/STS_025/{modality}_mask.nii.gz",
        )
        for modality in ("CT", "PET", "MR_T1")
    ),
    *(
        Sample(
            f"DRO {n}",
            f"{_DRO}/DRO_{n}/PT",
            f"{_DRO}/DRO_{n}/RS/RS_dro_{n}.dcm",
            f"{_DRO}/DRO_{n}/mask/DRO_mask.nii.gz",
        )
        for n in ("0_0", "2_4")
    ),
    Sample("STS_001 PET", f"{_STS}/image", f"{_STS}/mask/1-1.dcm"),
    Sample("rt-utils rt", _MOCK, f"{_MOCK}/rt.dcm"),
    Sample("rt-utils invalid reference", _MOCK, f"{_MOCK}/invalid_reference_rt.dcm"),
    Sample("rt-utils no reference", _MOCK, f"{_MOCK}/non_existent_reference_rt.dcm"),
    Sample(
        "dicompyler, one slice of 98",
        "dicompyler+dicompyler-core/tests/testdata/example_data",
        "dicompyler+dicompyler-core/tests/testdata/example_data/rtss.dcm",
    ),
)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A structure set on the grid of its image, and its mask, bool `[i, j, k]`."""

    label_map: LabelMap
    grid: Grid
    mask: np.ndarray | None


def decoded(root: Path, sample: Sample) -> Decoded:
    """One sample below `root`, as the pipeline would decode it."""
    quiet()
    series, _ = plan_series(_instances(root / sample.image), lambda _: None, None)
    if series is None:
        raise Defect("a sample's image makes no volume")
    [planned] = series.volumes
    positions = {one.SOPInstanceUID: k for k, one in enumerate(planned.slices)}
    label_map = rtstruct.decode(
        dcmread(root / sample.structures),
        planned.geometry,
        positions,
        frame_of_reference=series.FrameOfReferenceUID,
    )
    mask = None if sample.mask is None else np.asanyarray(nibabel.load(root / sample.mask).dataobj) > 0
    return Decoded(label_map, planned.geometry, mask)


def rows(root: Path) -> list[dict[str, object]]:
    """A row for each structure of the samples that are below `root`."""
    found: list[dict[str, object]] = []
    for sample in SAMPLES:
        if not (root / sample.structures).is_file():
            continue
        one = decoded(root, sample)
        ml = float(np.prod(one.grid.spacing)) / 1000
        for label in one.label_map.labels:
            voxels = one.label_map.mask(label.number)
            found.append(
                {
                    "sample": sample.name,
                    "structure": label.source_number,
                    "ml": float(voxels.sum()) * ml,
                    "mask_ml": None if one.mask is None else float(one.mask.sum()) * ml,
                    "dice": None if one.mask is None else dice(voxels, one.mask),
                    "told": " ".join(one.label_map.flags.get(label.number, ())) or None,
                }
            )
        for number, slug in one.label_map.skipped:
            empty = {"ml": None, "mask_ml": None, "dice": None}
            found.append({"sample": sample.name, "structure": number, **empty, "told": slug})
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Twice the common voxels over the sum of both; 1 for two empty masks."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _instances(folder: Path) -> list[Instance]:
    """The images of a folder."""
    found = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            found.append(read(path))
        except Rejection as refusal:
            if refusal.reason != Reason.NOT_AN_IMAGE:
                raise
    return found
