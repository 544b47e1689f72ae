"""What counts as text that may name somebody, where its boxes lie, and that the real detector finds it."""

from __future__ import annotations

import socket
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from oncurate import pixeltext, textnets
from oncurate.pixeltext import Text, displayed, findings, names_nobody, naming
from oncurate.textnets import Networks

SIZE = (200, 100)
BOX = (50, 40, 89, 49)
MARGIN_ALONG, MARGIN_ACROSS = 10, 2

needs_models = pytest.mark.skipif(textnets.models() is None, reason="the extra 'ocr' is not installed")


def written(frame: np.ndarray, text: str, place: tuple[int, int], size: int = 16, value: int = 255) -> np.ndarray:
    """A copy of `frame`, uint8, with made text on it; `place` is (column, row)."""
    image = Image.fromarray(frame)
    ImageDraw.Draw(image).text(place, text, fill=value, font=ImageFont.load_default(size))
    return np.asarray(image)


def noise(rows: int = 160, columns: int = 320) -> np.ndarray:
    """Dark noise, uint8."""
    return np.random.default_rng(0).integers(0, 40, (rows, columns)).astype(np.uint8)


@pytest.mark.parametrize(
    ("value", "confidence"),
    [("Doe^Test", 0.75), ("DOE", 0.75), ("JD", 0.95), ("1960-02-03", 0.95), ("ID 1234567", 0.8), ("PA 12345", 0.99)],
)
def test_names_dates_and_numbers_are_findings(value: str, confidence: float) -> None:
    left, top, right, bottom = BOX
    grown = (left - MARGIN_ALONG, top - MARGIN_ACROSS, right + MARGIN_ALONG, bottom + MARGIN_ACROSS)
    assert naming([Text(BOX, value, confidence)], SIZE) == (grown,)


@pytest.mark.parametrize("value", ["L", "R", "PA", "AP", "ERECT", "Supine", "L MLO", "R CC", "12", "L 12"])
def test_markers_and_tick_labels_name_nobody(value: str) -> None:
    assert naming([Text(BOX, value, 0.99)], SIZE) == ()


def test_a_word_of_the_vocabulary_that_is_not_well_read_is_in_doubt() -> None:
    assert names_nobody(Text(BOX, "ERECT", 0.95))
    assert naming([Text(BOX, "ERECT", 0.85)], SIZE) != ()


@pytest.mark.parametrize(
    ("value", "confidence"),
    [("", 0.0), ("D", 0.99), ("Doe", 0.6), ("JD", 0.8), ("123", 0.8), ("000", 0.99), ("0O", 0.99), ("IIII", 0.99)],
)
def test_what_noise_and_anatomy_are_read_as_is_no_text(value: str, confidence: float) -> None:
    assert naming([Text(BOX, value, confidence)], SIZE) == ()


def test_what_stands_on_the_line_of_a_name_goes_with_it() -> None:
    name, next_word, far, below = (20, 40, 59, 49), (65, 41, 80, 49), (120, 40, 150, 49), (20, 60, 59, 69)
    found = naming([Text(name, "Doe^Test", 0.9), *(Text(b, "", 0.0) for b in (next_word, far, below))], SIZE)
    assert [box[0] + MARGIN_ALONG for box in found] == [20, next_word[0] + 1]  # a line of 9 has a margin of 9
    upright = (40, 10, 49, 59), (41, 63, 49, 75)
    assert len(naming([Text(upright[0], "Doe^Test", 0.9), Text(upright[1], "", 0.0)], SIZE)) == 2


def test_boxes_stay_within_the_frame() -> None:
    assert naming([Text((0, 0, 199, 99), "Doe^Test", 0.9)], SIZE) == ((0, 0, 199, 99),)


def test_short_numbers_on_one_line_are_no_finding_unless_beside_one() -> None:
    ticks = [Text((10, 10 + 30 * n, 21, 19 + 30 * n), "12", 0.99) for n in range(3)]
    assert naming(ticks, SIZE) == ()
    dated = [*ticks, Text((25, 10, 60, 19), "Doe", 0.9)]
    assert len(naming(dated, SIZE)) == 2
    date = [Text((10 + 15 * n, 10, 21 + 15 * n, 19), value, 0.99) for n, value in enumerate(("03", "04", "60"))]
    assert len(naming(date, SIZE)) == 3
    assert naming([date[0], Text((11, 10, 22, 19), "03", 0.99)], SIZE) == ()  # the same number, found twice


def test_a_wide_range_is_shown_as_a_screen_does_and_in_full() -> None:
    values = np.random.default_rng(0).integers(100, 200, (50, 60)).astype(np.uint16)
    values[10:12, 10:30] = 4095
    window, full = displayed(values)
    assert window.dtype == full.dtype == np.uint8
    assert window[20:].std() > 50
    assert full[20:].max() < 20
    assert (window[10, 10], full[10, 10]) == (255, 255)


def test_padding_alone_is_not_shown_and_a_constant_frame_neither() -> None:
    assert displayed(np.full((5, 5), 7)) == []
    two = np.zeros((5, 5), np.int16)
    two[2] = 100
    assert len(displayed(two)) == 1
    assert all(shown.max() == 255 for shown in displayed(np.array([[np.nan, 1.0], [2.0, np.inf]])))


class Counting:
    """Finds a name in frames whose first pixel is set, and counts how often it was asked."""

    name = "made 1"
    asked = 0

    def find(self, frame: np.ndarray) -> tuple[Text, ...]:
        self.asked += 1
        return (Text(BOX, "Doe^Test", 0.99),) if frame[0, 0].any() else ()


def test_every_frame_is_looked_at_but_equal_neighbours_only_once() -> None:
    plain, dirty = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    dirty[0, 0] = 9
    finder = Counting()
    found = list(findings([plain, plain, plain, dirty, dirty.copy(), plain], finder))
    assert [len(boxes) for boxes in found] == [0, 0, 0, 1, 1, 0]
    assert finder.asked == 3


def test_tiles_cover_every_pixel() -> None:
    for size in (100, 960, 961, 2000, 4664):
        spans = textnets._spans(size)
        assert spans[0][0] == 0
        assert spans[-1][1] == size
        assert all(after[0] <= before[1] - textnets.OVERLAP for before, after in pairwise(spans))
        assert all(stop - start <= textnets.TILE for start, stop in spans)


def test_without_the_package_there_is_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textnets, "PACKAGE", "no_such_package")
    assert textnets.models() is None


@needs_models
@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize(("value", "ground"), [(255, 0), (0, 215)])
def test_planted_names_are_found_wherever_they_are(turns: int, value: int, ground: int) -> None:
    plain = (noise() + ground).astype(np.uint8)
    planted = written(plain, "Doe, Test 1960-02-03", (40, 60), value=value)
    ink = np.rot90(np.abs(planted.astype(int) - plain) > 100, turns)
    finder = pixeltext.detector()
    assert finder is not None
    (boxes,) = findings([np.ascontiguousarray(np.rot90(planted, turns))], finder)
    covered = np.zeros(ink.shape, bool)
    for left, top, right, bottom in boxes:
        covered[top : bottom + 1, left : right + 1] = True
    assert (covered & ink).sum() >= 0.98 * ink.sum()
    assert covered.mean() < 0.3


@needs_models
def test_noise_and_markers_are_left_alone() -> None:
    finder = pixeltext.detector()
    assert finder is not None
    frames = [noise(), written(noise(), "L", (40, 60), 40), written(noise(), "ERECT", (40, 60), 32)]
    assert list(findings(frames, finder)) == [(), (), ()]


@needs_models
def test_the_models_come_with_the_package_and_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    paths = textnets.models()
    assert paths is not None
    networks = Networks.load(*paths)
    assert networks.read(written(np.zeros((24, 120), np.uint8), "Doe Test", (4, 2)))[1] > 0.5


@needs_models
def test_the_detector_names_its_package_and_version() -> None:
    finder = pixeltext.detector()
    assert finder is not None
    assert finder.name.startswith("rapidocr-onnxruntime 1.")
    assert pixeltext.detector() is finder
