"""How much planted text the detector of burned-in text finds, what it takes for text where there is none, its cost.

Belongs here: which images are the ground, counting. Does not belong here: how text is written
(`benchmarks.pixel_text_plants`), bounds that must hold (the tests of `oncurate.pixeltext`).

A planted text counts as found only where 98 % of its ink is inside what would be blanked. Ground is every image of the
shared archive and of the installed packages that holds no text itself, as far as its folder tells, and made images.
Single frames are turned and cropped so that the few projection images give more than a few cases.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from benchmarks.pixel_text_plants import Plant, plant
from benchmarks.show import print_table
from oncurate import pixeltext
from oncurate.colour import Palette
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import UsageError
from oncurate.headers import quiet
from tests import phantoms

INSIDE = 0.98
"""Share of the ink of a text that must be inside the boxes."""
TEXTS = 4
"""Planted texts in one frame, at most."""
SAME_SERIES = 2
LEAST_SIDE = 200
LARGE = 1200
"""Pixels of the longer side from which images count as large."""
WITH_TEXT = frozenset({"US", "OT", "SC", "", "SEG", "RTDOSE", "RWV", "ECG"})
"""Modalities whose images in test archives have text, patterns or no picture at all."""
KNOWN_TEXT = ("microsoft+presidio", "pydicom+deid-data", "mlut_", "vlut_")
"""Parts of paths of images that have text in them."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A frame without text: values, bits stored, modality."""

    frame: np.ndarray
    bits: int
    modality: str

    @property
    def group(self) -> str:
        """What figures are given by: large or small, projection or slice."""
        kind = "slice" if self.modality in ("CT", "MR", "PT", "NM") else "projection"
        return f"{kind}, {'large' if max(self.frame.shape[:2]) > LARGE else 'small'}"


def run(folders: Sequence[Path], cases: int = 240, seed: int = 0) -> dict[str, object]:
    """Plant text in `cases` frames; print and return recall by style and size, false positives and seconds."""
    finder = pixeltext.detector()
    if finder is None:
        raise UsageError("the extra 'ocr' is not installed")
    rng = np.random.default_rng(seed)
    grounds = [*real(folders), *made(rng)]
    false, seconds = _false_positives(grounds, finder)
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for number in range(cases):
        for name, hit in _case(_chosen(grounds, rng, number), rng, finder):
            found[name].append(hit)
    return _report(finder.name, found, false, seconds)


def real(folders: Sequence[Path]) -> list[Ground]:
    """Frames of the DICOM files below the folders, two of a series at most; large projections also in pieces."""
    quiet()
    seen: dict[str, int] = defaultdict(int)
    found: list[Ground] = []
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        if any(part in path.as_posix() for part in KNOWN_TEXT):
            continue
        try:
            ds = dcmread(path, stop_before_pixels=True)
            series, modality = str(ds.get("SeriesInstanceUID", "")), str(ds.get("Modality", ""))
            if modality in WITH_TEXT or seen[series] >= SAME_SERIES or min(ds.Rows, ds.Columns) < LEAST_SIDE:
                continue
            if "LOCALIZER" in ds.get("ImageType", []):
                continue
            frame = _middle(dcmread(path))
        except (*PARSE_ERRORS, RuntimeError):
            continue  # archives of test files hold broken ones on purpose
        seen[series] += 1
        found.append(Ground(frame, int(ds.get("BitsStored", 32)), modality))
    return [piece for ground in found for piece in _pieces(ground)]


def _middle(ds: Dataset) -> np.ndarray:
    array = ds.pixel_array
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        array = Palette(ds).rgb(array)
    colour = ds.SamplesPerPixel == 3 or ds.PhotometricInterpretation == "PALETTE COLOR"
    return array[len(array) // 2] if array.ndim == 3 + colour else array


def _pieces(ground: Ground) -> Iterator[Ground]:
    """The frame; of a large projection also on its side, and its quarters."""
    yield ground
    if ground.group == "projection, large":
        frame = ground.frame
        rows, columns = frame.shape[0] // 2, frame.shape[1] // 2
        quarters = [frame[top:, left:][:rows, :columns] for top in (0, rows) for left in (0, columns)]
        for piece in (np.rot90(frame), *(q[: LARGE - 200, : LARGE - 200] for q in quarters)):
            yield Ground(np.ascontiguousarray(piece), ground.bits, ground.modality)


def made(rng: np.random.Generator) -> list[Ground]:
    """Made images: an ellipsoid in noise, a ramp, and an ultrasound fan of speckle."""
    body = phantoms.voxels(3, 512, 512)[1]
    ramp = np.add.outer(np.arange(700), np.arange(900)).astype(np.uint16)
    y, x = np.mgrid[0:480, 0:640]
    radius, angle = np.hypot(x - 320, y + 40), np.abs(np.arctan2(x - 320, y + 40))
    fan = np.where((radius > 60) & (radius < 500) & (angle < 0.6), rng.gamma(2.0, 30.0, x.shape), 0)
    fan = np.clip(fan, 0, 255).astype(np.uint8)
    return [Ground(body, 12, "CT"), Ground(ramp, 12, "DX"), Ground(fan, 8, "US")]


def _false_positives(
    grounds: Sequence[Ground], finder: pixeltext.Detector
) -> tuple[dict[str, list[bool]], dict[str, list[float]]]:
    """By group: whether each clean frame has a finding, and CPU seconds."""
    false: dict[str, list[bool]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for ground in grounds:
        started = time.process_time()
        false[ground.group].append(bool(next(pixeltext.findings([ground.frame], finder))))
        seconds["x".join(map(str, ground.frame.shape[:2]))].append(time.process_time() - started)
    return false, seconds


def _chosen(grounds: Sequence[Ground], rng: np.random.Generator, number: int) -> Ground:
    """Every tenth case on a large frame, half of the others on projections."""
    wanted = "large" if number % 10 == 9 else "projection, small" if number % 2 else "slice, small"
    pool = [ground for ground in grounds if wanted in ground.group] or list(grounds)
    return pool[int(rng.integers(len(pool)))]


def _case(
    ground: Ground, rng: np.random.Generator, finder: pixeltext.Detector
) -> Iterator[tuple[tuple[str, str], bool]]:
    """Names of what a text is counted under, and whether it was found, for each text of one case."""
    form = str(rng.choice(["as stored", "8 bits", "inverted", "colour", "later frame"]))
    frame, bits = _formed(ground, form)
    written, plants = plant(frame, rng, bits=bits, count=TEXTS)
    frames = [frame, frame, written] if form == "later frame" else [written]
    *_, boxes = pixeltext.findings(frames, finder)
    covered = np.zeros(frame.shape[:2], bool)
    for left, top, right, bottom in boxes:
        covered[top : bottom + 1, left : right + 1] = True
    for text in plants:
        hit = bool((covered & text.ink).sum() >= INSIDE * text.ink.sum())
        for name in _names(ground, form, text):
            yield name, hit


def _names(ground: Ground, form: str, text: Plant) -> Iterator[tuple[str, str]]:
    yield "", "all"
    yield "size", f"{text.size} px"
    yield "style", text.style
    yield "text", text.kind
    yield "form", form
    yield "turned", "upright" if text.turned else "level"
    yield "ground", ground.group


def _formed(ground: Ground, form: str) -> tuple[np.ndarray, int]:
    """The frame in another form, and its bits."""
    frame = ground.frame
    if form in ("as stored", "later frame") or frame.ndim == 3:
        return frame, ground.bits if frame.ndim == 2 else 8
    low, high = (float(v) for v in np.percentile(frame, [0.5, 99.5]))
    eight = np.clip((frame - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    if form == "inverted":
        return 255 - eight, 8
    return (np.repeat(eight[..., None], 3, axis=2) if form == "colour" else eight), 8


def _report(
    name: str,
    found: dict[tuple[str, str], list[bool]],
    false: dict[str, list[bool]],
    seconds: dict[str, list[float]],
) -> dict[str, object]:
    print(f"{name}, one thread\n")
    recall = [(*key, len(hits), sum(hits) / len(hits)) for key, hits in sorted(found.items())]
    print_table(("planted text", "", "texts", "found"), [(a, b, str(n), f"{share:.4f}") for a, b, n, share in recall])
    clean = [(group, len(hits), sum(hits)) for group, hits in sorted(false.items())]
    print()
    print_table(("frames without text", "frames", "with a finding"), [(g, str(n), str(k)) for g, n, k in clean])
    cost = sorted((size, len(spent), float(np.median(spent))) for size, spent in seconds.items())
    print()
    print_table(("frame", "frames", "CPU s each"), [(size, str(n), f"{each:.2f}") for size, n, each in cost])
    return {"detector": name, "recall": recall, "false_positives": clean, "cpu_s": cost}
