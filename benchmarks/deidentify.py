"""De-identification of CT slices, file by file: ours with its verification, dicom-anonymizer, pydicom's read and write.

Belongs here: the three sides in turns on the same files in memory, on one core. Does not belong here: the whole job
(`benchmarks.chain`). Ours is proven: each file's bytes are searched for its source's identifiers; the others are not.
"""

from __future__ import annotations

import io
import logging
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from dicomanonymizer import anonymize_dataset
from pydicom import dcmread

from benchmarks import archive
from benchmarks.show import print_table
from oncurate import deid
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.identity import Keys

CT = "1.2.840.10008.5.1.4.1.1.2"
SLICE_BYTES = 512 * 512 * 2
LEAST_SLICES = 4
MEGABYTES = 120
"""Size of the archive at least: a few hundred slices."""
_SECRET = b"a secret for the benchmark only"


def run(data: list[Path], folder: Path, repetitions: int) -> dict[str, object]:
    """Measure the three sides in turns; print and return files a second and ratios."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    series = _series(data)
    if not series:
        sys.exit("the data hold no series of CT slices of half a megabyte; name another folder with --data")
    archive.enlarge(series, folder / "slices", MEGABYTES)
    slices = [path.read_bytes() for path in sorted((folder / "slices").rglob("*.dcm"))]
    size = statistics.fmean(map(len, slices))
    print(f"{len(slices)} CT slices of {size / 1e3:.0f} KB on average, from {len(series)} real series\n")
    sides: dict[str, Callable[[], Callable[[bytes], object]]] = {
        "ours, verified": _ours,
        "dicom-anonymizer": lambda: _theirs,
        "pydicom read + write": lambda: _copied,
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for side in sides.values():
            side()(slices[0])  # tables and modules are loaded
        for _ in range(repetitions):
            for name, side in sides.items():
                rates[name].append(_rate(side(), slices))
    best = {name: max(found) for name, found in rates.items()}
    print_table(
        ("best of " + str(repetitions), "files/s", "ms a file"),
        [(name, f"{rate:.0f}", f"{1e3 / rate:.2f}") for name, rate in best.items()],
    )
    mine, other, copied = best.values()
    print(f"\nours / dicom-anonymizer {mine / other:.1f}; ours / read + write {mine / copied:.1f}")
    return {
        "files": len(slices),
        "mean_bytes": size,
        "files_per_s": rates,
        "ratios": {"dicom-anonymizer": mine / other, "read and write": mine / copied},
    }


def _series(folders: list[Path]) -> list[list[Path]]:
    """The files of every uncompressed series of CT slices of 512 x 512 pixels, a folder each."""
    found: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        if SLICE_BYTES <= path.stat().st_size < 2 * SLICE_BYTES and _is_plain_ct(path):
            found[path.parent].append(path)
    return [files for files in found.values() if len(files) >= LEAST_SLICES]


def _is_plain_ct(path: Path) -> bool:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except PARSE_ERRORS:
        return False
    return header.get("SOPClassUID") == CT and header.file_meta.get("TransferSyntaxUID") in archive.PLAIN


def _rate(clean: Callable[[bytes], object], slices: list[bytes]) -> float:
    """Files a second of processor time."""
    start = time.process_time()
    for data in slices:
        clean(data)
    return len(slices) / (time.process_time() - start)


def _ours() -> Callable[[bytes], object]:
    engine = deid.Engine(Keys(_SECRET), deid.DeidPolicy())

    def clean(data: bytes) -> object:
        try:
            return engine.clean(data)
        except Rejection as refused:
            sys.exit(f"a slice was refused, so the figures are void: {refused.reason.value}")

    return clean


def _theirs(data: bytes) -> object:
    ds = dcmread(io.BytesIO(data))
    anonymize_dataset(ds)
    return _written(ds)


def _copied(data: bytes) -> object:
    return _written(dcmread(io.BytesIO(data)))


def _written(ds: object) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream)  # type: ignore[attr-defined]
    return stream.getvalue()
