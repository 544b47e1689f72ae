"""Made text on images: what a detector of burned-in text is measured with.

Belongs here: fonts, words, styles and where text goes; the ground it is written on. Does not belong here: looking for
it, counting (`benchmarks.pixel_text`). Everything is seeded, all names and numbers are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSans-Regular.ttf",
)
"""Asked for by name besides the fonts that Pillow carries; those that a machine does not have are left out."""

SIZES = (10, 12, 14, 18, 24, 32, 48)
"""Pixels: the nominal size of the font; capitals are 0.7 of it high."""

FAMILY = ("Doe", "Roe", "Mockman", "Mustermann", "Testsson", "Exemplar", "Van Made", "Nemo-Ghost", "Dupont-Essai")
GIVEN = ("Jane", "John", "Test", "Erika", "Anders", "Maria", "Piet", "Otto", "Eva", "Q.")
STYLES = ("full scale", "bright", "dark", "outlined", "boxed")
CONTRAST = 0.35
"""Share of the display range by which ink and ground differ: fainter text is not written."""
ROSE = 5.0
"""Contrast over noise from which a shape is seen for certain (Rose 1948, doi:10.1364/JOSA.38.000196)."""
TRIES = 200
GAP = 6
OUTLINE = ImageFilter.MaxFilter(3)


@dataclass(frozen=True, eq=False)
class Plant:
    """One text in one frame: how it was written, and its ink as (rows, columns) bool over the frame."""

    kind: str
    style: str
    size: int
    turned: int  # quarter turns
    ink: np.ndarray


def words(rng: np.random.Generator) -> tuple[str, str]:
    """What kind of text, and a made text of that kind."""
    family, given = str(rng.choice(FAMILY)), str(rng.choice(GIVEN))
    year, month, day = int(rng.integers(1930, 2024)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    number = int(rng.integers(10_000, 99_999_999))
    kinds = {
        "name": [f"{family}, {given}", f"{family}^{given}", f"{given} {family}", f"{family}"],
        "upper name": [f"{family}, {given}".upper(), f"{family}^{given}".upper(), f"{given} {family}".upper()],
        "lower name": [f"{given} {family}".lower(), f"{family} {given}".lower()],
        "date": [f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year}"],
        "id": [f"ID {number}", f"{number}", f"MRN: {number:08d}", f"PAT-{number}"],
        "line": [f"{family} {given} {year}{month:02d}{day:02d} F", f"Test Hospital {day:02d}-{month:02d}-{year}"],
    }
    kind = str(rng.choice(list(kinds)))
    return kind, str(rng.choice(kinds[kind]))


def plant(frame: np.ndarray, rng: np.random.Generator, *, bits: int, count: int) -> tuple[np.ndarray, list[Plant]]:
    """A copy of `frame`, (rows, columns) or (rows, columns, 3), with up to `count` texts on it, none over another."""
    out, taken, found = frame.copy(), np.zeros(frame.shape[:2], bool), []
    low, high = (float(v) for v in np.percentile(frame, [1, 99]))
    full = float(2 ** (bits - (frame.dtype.kind == "i")) - 1)
    for _ in range(count):
        kind, text = words(rng)
        style, size = str(rng.choice(STYLES)), int(rng.choice(SIZES))
        turned = int(rng.choice([0, 0, 0, 0, 0, 1, 3]))
        alpha = np.rot90(_written(text, size, int(rng.integers(1 << 30))), turned)
        place = _place(frame, taken, alpha, style, (low, high, full), rng)
        if place is None:
            continue
        top, left, ink_value, ground_value = place
        ink = _draw(out, alpha, (top, left), ink_value, ground_value, style)
        box = (
            slice(max(top - GAP, 0), top + alpha.shape[0] + GAP),
            slice(max(left - GAP, 0), left + alpha.shape[1] + GAP),
        )
        taken[box] = True
        found.append(Plant(kind, style, size, turned, ink))
    return out, found


def _place(
    frame: np.ndarray,
    taken: np.ndarray,
    alpha: np.ndarray,
    style: str,
    values: tuple[float, float, float],
    rng: np.random.Generator,
) -> tuple[int, int, float, float] | None:
    """Top, left, value of the ink and of what surrounds it, where the text fits and can be read; None if nowhere."""
    (height, width), (rows, columns) = alpha.shape, frame.shape[:2]
    low, high, full = values
    if height + 4 > rows or width + 4 > columns or high <= low:
        return None
    ink = {"full scale": full, "bright": high, "dark": low, "outlined": high, "boxed": high}[style]
    for _ in range(TRIES):
        top, left = int(rng.integers(1, rows - height - 2)), int(rng.integers(1, columns - width - 2))
        if taken[top : top + height, left : left + width].any():
            continue
        under = frame[top : top + height, left : left + width].astype(np.float64)
        spread = np.percentile(under, [10, 90])
        contrast = high - low if style in ("outlined", "boxed") else float(np.abs(spread - ink).min())
        noise = float(np.diff(under, axis=1).std()) / 2**0.5 if style != "boxed" else 0.0
        if contrast >= max(CONTRAST * (high - low), ROSE * noise):
            return top, left, ink, low
    return None


def _draw(
    out: np.ndarray, alpha: np.ndarray, place: tuple[int, int], ink_value: float, ground_value: float, style: str
) -> np.ndarray:
    """Write into `out`; the ink over the whole frame."""
    top, left = place
    where = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
    under = out[where].astype(np.float64)
    cover = alpha.astype(np.float64) / 255
    if style == "outlined":
        edge = np.asarray(Image.fromarray(alpha).filter(OUTLINE), np.float64) / 255
        under = _blend(under, edge, ground_value)
    if style == "boxed":
        under = _blend(under, np.ones_like(cover), ground_value)
    written = _blend(under, cover, ink_value)
    out[where] = np.rint(written) if out.dtype.kind in "iu" else written
    ink = np.zeros(out.shape[:2], bool)
    ink[where] = alpha > 127
    return ink


def _blend(under: np.ndarray, cover: np.ndarray, value: float) -> np.ndarray:
    cover = cover if under.ndim == 2 else cover[..., None]
    return under * (1 - cover) + value * cover


def _written(text: str, size: int, seed: int) -> np.ndarray:
    """Coverage of ink, uint8 (rows, columns), cut to the text and two pixels around it."""
    font = fonts(size)[seed % len(fonts(size))]
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, fill=255, font=font)
    return np.asarray(canvas)


@cache
def fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Pillow's own font and those of `FONTS` that the machine has."""
    found = [ImageFont.load_default(size)]
    for name in FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(found)
