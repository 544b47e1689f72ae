"""The archives that are measured on: real series enlarged under made patients, and small made series.

Belongs here: choosing, copying and making DICOM files. Does not belong here: running anything on them.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydicom import FileDataset, config, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from oncurate.elements import PARSE_ERRORS
from tests import phantoms

IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
}
"""Single-frame storage classes, which every tool of the chain reads."""
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
SLICES = 20
"""Positions that a series must have to be taken: volumes, not samples."""
EVEN = 0.05
"""Share of the slice distance by which gaps may differ: keeps a whole-body PET whose bed positions meet unevenly."""
MEGABYTES = 300
"""Size of the enlarged archive at least, so that fixed costs do not decide."""
SERIES_A_PATIENT = 4
MADE_SHAPE = (12, 64, 64)
"""Slices, rows and columns of a made series."""


def default_data() -> list[Path]:
    """The shared archive if it is there, else the images that installed packages ship."""
    root = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("ONCURATE_SHARED", root.parent / "shared")) / "data"
    if shared.is_dir():
        return [shared]
    return [
        Path(next(iter(s.submodule_search_locations or ()))) for n in ("pydicom", "data_store") if (s := find_spec(n))
    ]


def regular_series(folders: Iterable[Path]) -> list[list[Path]]:
    """The files of every evenly spaced, uncompressed, single-frame CT, MR and PET series, in order of their paths."""
    found: dict[tuple[str, str], list[tuple[Path, FileDataset]]] = defaultdict(list)
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        header = _header(path)
        if header is not None:
            found[str(path.parent), str(header.SeriesInstanceUID)].append((path, header))
    return [
        [path for path, _ in members] for _, members in sorted(found.items()) if _is_regular([h for _, h in members])
    ]


def _header(path: Path) -> FileDataset | None:
    try:
        header = dcmread(path, specific_tags=["SOPClassUID", "SeriesInstanceUID", *_PLACE], stop_before_pixels=True)
    except (OSError, *PARSE_ERRORS):
        return None  # broken on purpose: archives of test files hold many
    fits = str(header.get("SOPClassUID")) in IMAGES and header.file_meta.get("TransferSyntaxUID") in PLAIN
    return header if fits and all(header.get(keyword) for keyword in ("SeriesInstanceUID", *_PLACE)) else None


_PLACE = ("ImagePositionPatient", "ImageOrientationPatient")


def _is_regular(headers: list[FileDataset]) -> bool:
    directions = {tuple(round(float(x), 3) for x in h.ImageOrientationPatient) for h in headers}
    if len(directions) != 1:
        return False
    direction = np.array(next(iter(directions)))
    places = np.array([[float(x) for x in h.ImagePositionPatient] for h in headers])
    along = np.unique(np.round(places @ np.cross(direction[:3], direction[3:]), 3))
    if len(along) < SLICES or len(headers) % len(along):
        return False
    gaps = np.diff(along)
    return float(np.ptp(gaps)) <= EVEN * float(gaps.mean())


def enlarge(series: list[list[Path]], folder: Path, megabytes: int = MEGABYTES) -> dict[str, int]:
    """Copy the series under made patients, as often as it takes to reach the size; returns what was written."""
    size = sum(path.stat().st_size for files in series for path in files)
    times = max(1, -(-megabytes * 1_000_000 // size))
    config.settings.reading_validation_mode = config.IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, files in enumerate(series):
            for path in files:
                data = dcmread(path)
                originals = {k: str(data[k].value) for k in _IDENTITY if k in data}
                for copy in range(times):
                    _rename(data, originals, copy)
                    target = folder / f"patient-{copy:03d}" / f"series-{number:03d}" / path.with_suffix(".dcm").name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    data.save_as(target)
    files_written = sum(map(len, series)) * times
    return {"series": len(series), "copies": times, "files": files_written, "bytes": folder_bytes(folder)}


_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "PatientID")


def _rename(data: FileDataset, originals: dict[str, str], copy: int) -> None:
    for keyword in _IDENTITY:
        made = hashlib.sha256(f"{originals.get(keyword, '')}/{copy}".encode()).digest()[:16]
        setattr(data, keyword, f"2.25.{int.from_bytes(made, 'big')}" if keyword != "PatientID" else made.hex())
    data.PatientName = f"PHANTOM^COPY{copy}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID


def make_series(folder: Path, count: int) -> int:
    """Small made CT series below `folder`, four a patient; returns their bytes."""
    slices, rows, columns = MADE_SHAPE
    for number in range(count):
        patient = f"PHANTOM-{number // SERIES_A_PATIENT}"
        phantoms.ct_series(
            folder / patient / str(number),
            slices=slices,
            rows=rows,
            columns=columns,
            patient=patient,
            study_uid=phantoms.uid("study", patient),
            series_uid=phantoms.uid("series", number),
            seed=number,
        )
    return folder_bytes(folder)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
