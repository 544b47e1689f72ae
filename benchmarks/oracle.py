"""dcm2niix, run on the files of one series: what it wrote, in memory.

Belongs here: running the program and reading its images, b-values and directions. Does not belong here: any judgement
of them. Files are given under made names in a temporary folder; nothing that it prints, and no sidecar, is kept.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import dcm2niix
import nibabel
import numpy as np

NAME = "series"
"""The stem of every output's name; dcm2niix appends what tells several outputs apart."""
TIMEOUT_S = 300
_OPTIONS = ("-b", "y", "-z", "n", "-d", "0", "-f", NAME)
_RESAMPLED = re.compile(r"_(Eq|Tilt)_?")
_CROPPED = re.compile(r"_(ROI|Crop)")


@dataclass(frozen=True, eq=False)
class Output:
    """One NIfTI file: `stored` voxels `[i, j, k]` or `[i, j, k, repetition]`, RGB with a channel axis at the end.

    A value is `slope` * stored + `intercept`. `affine` is voxel index -> RAS mm. `directions` are FSL's, along the
    image axes, (3, repetitions); `suffix` is what the name has beyond the stem.
    """

    suffix: str
    stored: np.ndarray
    slope: float
    intercept: float
    affine: np.ndarray
    is_colour: bool = False
    b_values: np.ndarray | None = None
    directions: np.ndarray | None = None

    @property
    def is_resampled(self) -> bool:
        """A second output on a grid of its own making: equidistant slices, or a gantry tilt undone."""
        return bool(_RESAMPLED.search(self.suffix))

    @property
    def is_cropped(self) -> bool:
        """A second output that holds a part of another one."""
        return bool(_CROPPED.search(self.suffix))

    @property
    def count(self) -> int:
        """Repetitions."""
        return self.stored.shape[3] if self.stored.ndim - self.is_colour > 3 else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the spatial axes, and repetitions where the file has an axis for them."""
        return self.stored.shape[: self.stored.ndim - self.is_colour]

    @cached_property
    def volumes(self) -> tuple[np.ndarray, ...]:
        """Stored voxels of each repetition, `[i, j, k]` or `[i, j, k, channel]`; views."""
        if self.stored.ndim - self.is_colour == 3:
            return (self.stored,)
        return tuple(self.stored[:, :, :, n] for n in range(self.count))


@dataclass(frozen=True)
class Conversion:
    """All that dcm2niix wrote of one series, in the order of the names, and its exit code (None: it did not end)."""

    outputs: tuple[Output, ...]
    code: int | None


def convert(files: Iterable[Path]) -> Conversion:
    """Run dcm2niix on these files alone."""
    with TemporaryDirectory(prefix="oncurate-oracle-") as folder:
        given, made = Path(folder, "given"), Path(folder, "made")
        given.mkdir()
        made.mkdir()
        for number, path in enumerate(sorted(files)):
            (given / f"{number:06d}.dcm").symlink_to(path.resolve())
        command = [dcm2niix.bin, *_OPTIONS, "-o", str(made), str(given)]
        try:
            code = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            code = None
        return Conversion(tuple(_outputs(made)), code)


def read(path: Path) -> Output:
    """A NIfTI file, whoever wrote it, with the .bval and .bvec beside it."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it complains of pixel sizes of 0, which we judge
    image = nibabel.load(path)
    raw = np.asanyarray(image.dataobj.get_unscaled())  # type: ignore[union-attr]
    is_colour = raw.dtype.fields is not None
    if is_colour:
        raw = np.stack([raw[name] for name in ("R", "G", "B")], axis=-1)
    while raw.ndim - is_colour > 4 and raw.shape[4] == 1:
        raw = raw[:, :, :, :, 0]
    slope, intercept = image.dataobj.slope, image.dataobj.inter  # type: ignore[union-attr]
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    return Output(
        suffix=stem.removeprefix(NAME),
        stored=np.array(raw),
        slope=float(slope),
        intercept=float(intercept),
        affine=np.asarray(image.affine, np.float64),  # type: ignore[union-attr]
        is_colour=is_colour,
        b_values=_numbers(path.with_name(f"{stem}.bval"), rows=1),
        directions=_numbers(path.with_name(f"{stem}.bvec"), rows=3),
    )


def version() -> str:
    """The version that the program states."""
    said = subprocess.run([dcm2niix.bin, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    return next(iter(re.findall(r"v\d+\.\d+\.\d+", said)), "unknown")


def _outputs(folder: Path) -> Iterator[Output]:
    for path in sorted(folder.glob(f"{NAME}*.nii")):
        yield read(path)


def _numbers(path: Path, rows: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    found = np.loadtxt(path, ndmin=2)
    if found.shape[0] != rows and found.shape[1] == rows:
        found = found.T
    return found[0] if rows == 1 else found
