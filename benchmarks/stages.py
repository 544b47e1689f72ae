"""The speed of single steps on one large made CT, in one process: where processor time goes.

Belongs here: calling one function of the domain at a time. Does not belong here: the job as a whole.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.show import print_table
from oncurate import allowlist, headers, leaks, nifti, preview, quality
from oncurate.harmonise import harmonise
from oncurate.image import Image
from oncurate.pixels import decode_frames
from oncurate.profiles import load
from oncurate.records import Instance, PixelLocator
from tests import phantoms

SLICES, SIDE = 200, 512
SPACING_MM = (0.8, 0.8, 1.5)
TURNS = 3
"""Times that each step runs; the fastest counts, for others may use the machine."""

T = TypeVar("T")


def run() -> list[dict[str, object]]:
    """Time every step on a CT of 200 slices of 512x512; print and return its rates."""
    headers.quiet()
    with tempfile.TemporaryDirectory(prefix="oncurate-bench-") as folder:
        step = SPACING_MM[2]
        files = phantoms.ct_series(
            Path(folder), slices=SLICES, rows=SIDE, columns=SIDE, spacing=SPACING_MM[:2], step=step
        )
        return _steps(files)


def _steps(files: list[Path]) -> list[dict[str, object]]:
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    found: list[dict[str, object]] = []

    def step(name: str, amount: float, unit: str, action: Callable[[], T]) -> T:
        seconds, result = _fastest(action)
        found.append({"step": name, "cpu_s": seconds, "rate": amount / seconds, "unit": unit})
        return result

    instances = step("read headers", len(files), "headers/s", lambda: [_instance(path) for path in files])
    locators = [instance.locator for instance in instances]
    image = step("read, decode, stack", megabytes, "MB/s", lambda: _image(locators, files))
    size = image.array.nbytes / 1e6
    profile = load().by_name["CT"]
    packed = step("pack native .nii.gz", size, "MB/s", lambda: nifti.write(image))
    step("unpack .nii.gz", size, "MB/s", lambda: nifti.read(packed))
    step("SHA-256", len(packed) / 1e6, "MB/s", lambda: hashlib.sha256(packed).digest())
    harmonised = step("harmonise to 1 mm", size, "MB/s in", lambda: harmonise(image, profile)[0])
    step("pack harmonised .nii.gz", harmonised.array.nbytes / 1e6, "MB/s", lambda: nifti.write(harmonised))
    step("quality metrics", size, "MB/s", lambda: quality.measure(image, "CT", "HU"))
    step("preview", 1, "previews/s", lambda: preview.render(image, "CT", "HU"))
    rows = [(str(f["step"]), f"{f['cpu_s']:.3f}", f"{f['rate']:.0f}", str(f["unit"])) for f in found]
    print(f"one made CT, {SLICES} slices of {SIDE}x{SIDE}, {megabytes:.0f} MB, one process, fastest of {TURNS}\n")
    print_table(("step", "CPU s", "rate", "unit"), rows)
    return found


def _fastest(action: Callable[[], Any]) -> tuple[float, Any]:
    seconds = []
    for _ in range(TURNS):
        started = time.process_time()
        result = action()
        seconds.append(time.process_time() - started)
    return min(seconds), result


def _instance(path: Path) -> Instance:
    with path.open("rb") as stream:
        return headers.read_instance(
            stream,
            object=path.name,
            source_path=path.name,
            url=path.as_uri(),
            size=path.stat().st_size,
            keywords=allowlist.KEYWORDS,
            harvest=leaks.harvest,
        )


def _image(locators: list[PixelLocator], files: list[Path]) -> Image:
    """The slices as a volume in Hounsfield units, its storage order that of `oncurate.convert`."""
    slices = [decode_frames(at, path.read_bytes(), [0])[0] for at, path in zip(locators, files, strict=True)]
    values = np.stack(slices) - np.int16(1024)
    return Image(values[:, ::-1].transpose(2, 1, 0), np.diag([*SPACING_MM, 1.0]), in_patient=True, has_unit=True)
