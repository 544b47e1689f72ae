"""Text in pixels: how a frame is shown to a detector, which of what it finds matters, and where it lies.

Belongs here: the interface of a detector and the one that uses `oncurate.textnets`, windows and scales, what names
nobody. Does not belong here: which images are looked at (`oncurate.burnedin`), blanking (`oncurate.masking`), the
networks themselves.

What was read never leaves this module but as boxes: the text is personal data. Every frame is looked at. When in doubt
text is a finding: only words of the radiology vocabulary, single letters and lone numbers of one or two digits are not.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, permutations
from typing import NamedTuple, Protocol

import numpy as np

from oncurate import textnets
from oncurate.deid import text as vocabulary
from oncurate.textnets import Box, Networks

LEAST_SCORE = 0.5
"""Mean probability from which a region is read. Of planted text none was found with less."""

LEAST_SIZE = 8
"""Pixels. Boxes are larger than their letters, and letters of fewer than 6 pixels cannot be read; noise has them."""

SURE = 0.7
"""Confidence from which a reading of three or more letters is text."""
VERY_SURE = 0.9
"""Confidence from which a reading of two letters, or of digits only, is text: noise is read as digits. And from which a
word of the vocabulary is believed."""

SMALL_SCALES = (0.5, 1.0, 2.0)
LARGE_SCALES = (0.25, 0.5, 1.0, 2.0)
"""Sizes at which a frame is looked at: the finder knows letters of some 8 to 100 pixels."""
TURNED_SCALES = (1.0, 2.0)
TURNED_LARGE_SCALES = (0.5, 1.0)
"""Sizes at which it is looked at lying on its side, as the finder misses small letters of upright lines."""
LARGE = 1200
"""Pixels. Frames with a longer side may hold text of hundreds of pixels."""

ALIKE = 8.0
"""Grey levels. Two displays of a frame that differ by less on average show the same."""
COLOURED = 32
"""Grey levels by which a channel differs from another where a pixel has a colour."""

ALONG, ACROSS = 1.0, 0.2
"""Shares of a line's height by which a box is grown: along it by a letter or two, as its ends are often missed."""
LEAST_MARGIN = 2
"""Pixels."""
REACH = 1.0
"""Heights of a line between words of one line at most."""

_ROUND = frozenset("0o")
"""What a row of round slices, vessels or grains is read as."""
_WORD = re.compile(r"[^\W_]+")


class Text(NamedTuple):
    """A region of a frame that looks like text, and what was read there; "" and 0 where nothing was."""

    box: Box  # first column, first row, last column, last row
    value: str
    confidence: float


class Detector(Protocol):
    """What finds and reads text. `name` holds the package and its version."""

    name: str

    def find(self, frame: np.ndarray) -> tuple[Text, ...]:
        """All regions of `frame`, uint8 (rows, columns) or (rows, columns, 3), that look like text, read."""
        ...


class NetworkDetector:
    """The detector of the optional extra `ocr`."""

    def __init__(self, networks: Networks, name: str) -> None:
        self.name = name
        self._networks = networks

    def find(self, frame: np.ndarray) -> tuple[Text, ...]:
        """As `Detector.find`; a colour frame is looked at in its brightness and in its colourfulness."""
        return tuple(chain.from_iterable(self._find(plane) for plane in _planes(frame)))

    def _find(self, plane: np.ndarray) -> Iterator[Text]:
        large = max(plane.shape) > LARGE
        for box in self._places(plane, LARGE_SCALES if large else SMALL_SCALES):
            yield Text(box, *self._read(plane, box))
        side = np.ascontiguousarray(np.rot90(plane))
        for box in self._places(side, TURNED_LARGE_SCALES if large else TURNED_SCALES):
            left, top, right, bottom = box
            last = plane.shape[1] - 1
            yield Text((last - bottom, left, last - top, right), *self._read(side, box))

    def _places(self, plane: np.ndarray, scales: Iterable[float]) -> Iterator[Box]:
        for scale in scales:
            for box, score in self._networks.regions(plane, scale):
                if score >= LEAST_SCORE and _size(box) >= LEAST_SIZE:
                    yield box

    def _read(self, plane: np.ndarray, box: Box) -> tuple[str, float]:
        """The best reading: as it stands, turned to the side if it is upright, upside down, mirrored."""
        left, top, right, bottom = box
        line = plane[top : bottom + 1, left : right + 1]
        first = self._networks.read(line)
        upright = line.shape[0] > 1.3 * line.shape[1]
        if upright or not _is_text(*first):
            turns = (1, 3) if upright else (2,)
            others = [np.ascontiguousarray(np.rot90(line, turn)) for turn in turns]
            mirrored = np.ascontiguousarray(line[:, ::-1])
            return max([first, *(self._networks.read(other) for other in (*others, mirrored))], key=lambda r: r[1])
        return first


def detector() -> Detector | None:
    """The detector of this process; None where the extra `ocr` is not installed."""
    return _detector(os.getpid())


@cache
def _detector(_pid: int) -> Detector | None:
    """Sessions of the runtime do not survive a fork, so that each process opens its own."""
    paths = textnets.models()
    if paths is None:
        return None
    package = textnets.PACKAGE.replace("_", "-")
    return NetworkDetector(Networks.load(*paths), f"{package} {importlib.metadata.version(package)}")


def findings(frames: Iterable[np.ndarray], finder: Detector) -> Iterator[tuple[Box, ...]]:
    """The boxes of text that may name somebody, frame by frame, with a margin, within the frame.

    `frames` are decoded values, (rows, columns) of any type or (rows, columns, 3) uint8 RGB. A frame that equals the
    one before has its boxes.
    """
    before: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    for frame in frames:
        if before is None or not np.array_equal(before, frame):
            texts = [text for shown in displayed(frame) for text in finder.find(shown)]
            boxes = naming(texts, (frame.shape[1], frame.shape[0]))
        before = frame
        yield boxes


def displayed(values: np.ndarray) -> list[np.ndarray]:
    """Decoded values of one frame as uint8 frames of the same shape: as a screen shows them, and over the full range.

    The first window is between the 1st and 99th percentile of all values but the lowest and the highest, which padding
    and text take; the second shows text beyond it on bright ground. RGB is left as it is. A constant frame gives none.
    """
    if values.ndim == 3:
        return [values]
    finite = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0) if values.dtype.kind == "f" else values
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return []
    inner = finite[(finite > low) & (finite < high)]
    found = [_window(finite, low, high)]
    if len(inner):
        window = _window(finite, *(float(v) for v in np.percentile(inner, [1, 99])))
        if np.abs(window.astype(np.int16) - found[0]).mean() >= ALIKE:
            found.insert(0, window)
    return found


def _window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def naming(texts: Iterable[Text], size: tuple[int, int]) -> tuple[Box, ...]:
    """The boxes of texts that may name somebody, grown by a margin; `size` is (columns, rows).

    What lies beside such a text, on its line, goes with it, read or not: a name is often found in parts.
    """
    found = list(texts)
    sure = [text for text in found if _is_text(text.value, text.confidence)]
    taken = {text.box for text in sure if not names_nobody(text)}
    taken |= _in_parts([text for text in sure if names_nobody(text)])
    waiting, others = list(taken), {text.box for text in found} - taken
    while waiting:
        box = waiting.pop()
        beside = {other for other in others if _on_one_line(box, other)}
        others -= beside
        taken |= beside
        waiting += beside
    return tuple(sorted(_grown(box, size) for box in taken))


def _in_parts(texts: Sequence[Text]) -> set[Box]:
    """The boxes of short numbers beside each other on a line: together they may be a date."""
    numbers = [text.box for text in texts if any(c.isdigit() for c in text.value)]
    return {one for one, other in permutations(numbers, 2) if _on_one_line(one, other) and not _overlap(one, other)}


def names_nobody(text: Text) -> bool:
    """Whether it is of the radiology vocabulary and well read (side and view markers), or a number of two digits."""
    words = [word for word in _WORD.findall(text.value) if word.casefold() not in ("l", "r")]
    letters = "".join(words)
    if all(c.isdigit() for c in letters):
        return len(letters) <= 2
    if any(c.isdigit() for c in letters) or text.confidence < VERY_SURE:
        return False
    return vocabulary.harmless(" ".join(words))


def _is_text(value: str, confidence: float) -> bool:
    """Whether a reading is one. Single letters, and one letter repeated, are none: lungs and noise are read as such."""
    letters = [c for c in value.casefold() if c.isalnum()]
    if len(letters) < 2 or (len(set(letters)) == 1 and len(letters) > 2) or set(letters) <= _ROUND:
        return False
    doubtful = len(letters) == 2 or all(c.isdigit() for c in letters)
    return confidence >= (VERY_SURE if doubtful else SURE)


def _planes(frame: np.ndarray) -> list[np.ndarray]:
    if frame.ndim == 2:
        return [frame]
    brightness = frame.mean(axis=2).astype(np.uint8)
    colour = np.ptp(frame, axis=2)
    return [brightness, colour] if (colour > COLOURED).any() else [brightness]


def _size(box: Box) -> int:
    return min(box[2] - box[0], box[3] - box[1]) + 1


def _on_one_line(one: Box, other: Box) -> bool:
    """Whether boxes of about one height overlap across the line and all but touch along it."""
    height, other_height = _size(one), _size(other)
    if not 0.5 <= height / other_height <= 2:
        return False
    reach = REACH * max(height, other_height)
    across_gap = max(one[0], other[0]) - min(one[2], other[2])
    down_gap = max(one[1], other[1]) - min(one[3], other[3])
    overlap = -min(height, other_height) / 2
    upright = one[3] - one[1] > one[2] - one[0]
    return (down_gap if upright else across_gap) <= reach and (across_gap if upright else down_gap) <= overlap


def _overlap(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _grown(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    along, across = (max(round(share * _size(box)), LEAST_MARGIN) for share in (ALONG, ACROSS))
    if bottom - top > right - left:
        along, across = across, along
    columns, rows = size
    return max(left - along, 0), max(top - across, 0), min(right + along, columns - 1), min(bottom + across, rows - 1)
