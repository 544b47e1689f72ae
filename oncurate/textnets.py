"""The two networks that find and read text: PP-OCRv4, as the package rapidocr-onnxruntime carries them.

Belongs here: loading the models, what goes into them and what their output means. Does not belong here: which text
matters, windows and scales (`oncurate.pixeltext`).

Only the model files of the package are used, not its code, so neither it nor OpenCV is imported. Nothing is ever
downloaded: the files are looked up beside the installed package, and the runtime opens them as files. The networks:
PP-OCRv4 (PaddleOCR, Apache-2.0). Finding is differentiable binarisation (Liao 2020, doi:10.1609/aaai.v34i07.6812)
with a fully convolutional network, so images go in at any size; reading is a line of 48 pixels and CTC.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

PACKAGE = "rapidocr_onnxruntime"
RUNTIME = "onnxruntime"
FINDER = "ch_PP-OCRv4_det_infer.onnx"
READER = "ch_PP-OCRv4_rec_infer.onnx"

STRIDE = 32
"""Pixels. The finder halves its input five times."""
TILE = 960
"""Pixels on a side, at most, that go into the finder at once: memory stays below 0.5 GB."""
OVERLAP = 160
"""Pixels that tiles share, so that a word on a seam is whole in one of them or covered by both."""
LINE_HEIGHT = 48
"""Pixels. The height of a line that the reader was trained with."""
LONGEST_LINE = 48 * 32
"""Pixels. Longer lines are narrowed: 32 times as long as high is some 60 letters."""
SHORTEST_LINE = 48
PROBABILITY = 0.3
"""From which a pixel is text (the published setting)."""
UNCLIP = 1.6
"""How far a region is grown again: the finder learnt regions shrunk by area / length times this (published)."""
SMALLEST = 3
"""Pixels of the finder's input: what is thinner is noise."""

Box = tuple[int, int, int, int]


class Region(NamedTuple):
    """A place where text may be: its box (first column, first row, last column, last row) and the mean probability."""

    box: Box
    score: float


def models() -> tuple[Path, Path] | None:
    """The files of finder and reader; None where the package or its runtime is not installed."""
    if importlib.util.find_spec(RUNTIME) is None:
        return None
    package = importlib.util.find_spec(PACKAGE)
    if package is None:
        return None
    for folder in package.submodule_search_locations or ():
        paths = Path(folder) / "models" / FINDER, Path(folder) / "models" / READER
        if all(path.is_file() for path in paths):
            return paths
    return None


@dataclass(frozen=True)
class Networks:
    """Both networks, loaded, on one thread each."""

    finder: Any
    reader: Any
    alphabet: tuple[str, ...]  # by the reader's class; class 0 means no letter

    @classmethod
    def load(cls, finder: Path, reader: Path) -> Networks:
        """Open the model files. A worker has one core, so neither network starts threads of its own."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = False  # an arena would keep the memory of the largest image
        options.log_severity_level = 3
        sessions = [
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (finder, reader)
        ]
        letters = sessions[1].get_modelmeta().custom_metadata_map["character"].splitlines()
        return cls(sessions[0], sessions[1], ("", *letters, " "))

    def regions(self, frame: np.ndarray, scale: float) -> list[Region]:
        """Where text may be in `frame`, uint8 (rows, columns), seen at `scale` times its size; boxes in its pixels."""
        rows, columns = frame.shape
        height, width = (max(round(n * scale), STRIDE) for n in (rows, columns))
        probability = np.zeros((height, width), np.float32)
        whole = resized(frame, width, height)
        for top, bottom in _spans(height):
            for left, right in _spans(width):
                tile = self._probability(whole[top:bottom, left:right])
                seen = probability[top:bottom, left:right]
                np.maximum(seen, tile, out=seen)
        return [
            Region(_scaled(box, columns / width, rows / height, (columns, rows)), score)
            for box, score in _components(probability)
        ]

    def _probability(self, tile: np.ndarray) -> np.ndarray:
        rows, columns = tile.shape
        padded = np.pad(tile, ((0, -rows % STRIDE), (0, -columns % STRIDE)), mode="edge")
        given = _normalised(padded)[None].repeat(3, axis=0)[None]
        return self.finder.run(None, {"x": given})[0][0, 0, :rows, :columns]

    def read(self, line: np.ndarray) -> tuple[str, float]:
        """The text in `line`, uint8 (rows, columns), and the mean probability of its letters; ("", 0) if none."""
        rows, columns = line.shape
        width = min(max(round(columns * LINE_HEIGHT / rows), SHORTEST_LINE), LONGEST_LINE)
        given = _normalised(resized(line, width, LINE_HEIGHT))[None].repeat(3, axis=0)[None]
        chances = self.reader.run(None, {"x": given})[0][0]
        classes = chances.argmax(axis=1)
        heard = (classes != 0) & np.concatenate([[True], classes[1:] != classes[:-1]])
        if not heard.any():
            return "", 0.0
        return "".join(self.alphabet[c] for c in classes[heard]), float(chances.max(axis=1)[heard].mean())


def resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """`frame`, uint8 (rows, columns), at another size; averaged where it shrinks."""
    if frame.shape == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def _normalised(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float32) / 127.5 - 1


def _spans(size: int) -> list[tuple[int, int]]:
    """Overlapping spans of at most `TILE` that cover `size`, all of one length."""
    if size <= TILE:
        return [(0, size)]
    count = -(-(size - OVERLAP) // (TILE - OVERLAP))
    starts = [round(n * (size - TILE) / (count - 1)) for n in range(count)]
    return [(start, start + TILE) for start in starts]


def _components(probability: np.ndarray) -> list[tuple[Box, float]]:
    """Boxes of connected pixels of text, grown to the whole letters, and their mean probability."""
    text = probability > PROBABILITY
    labels, _ = ndimage.label(text, np.ones((3, 3), bool))
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        down, across = where
        height, width = down.stop - down.start, across.stop - across.start
        if min(height, width) < SMALLEST:
            continue
        grow = round(height * width * UNCLIP / (2 * (height + width)))
        box = (across.start - grow, down.start - grow, across.stop - 1 + grow, down.stop - 1 + grow)
        found.append((box, float(probability[where][labels[where] == number].mean())))
    return found


def _scaled(box: Box, across: float, down: float, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    columns, rows = size
    return (
        max(int(left * across), 0),
        max(int(top * down), 0),
        min(int((right + 1) * across), columns - 1),
        min(int((bottom + 1) * down), rows - 1),
    )
