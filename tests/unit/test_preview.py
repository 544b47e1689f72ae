"""Previews: the right side of the patient is where radiologists expect it, proportions are in mm, bytes repeat."""

import io

import numpy as np
import pytest
from PIL import Image as Picture

from oncurate.image import Image
from oncurate.preview import GAP, SIDE, render


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(data)))


def marked(place: tuple[slice, slice, slice], affine: np.ndarray) -> Image:
    """A soft-tissue cube in air, in RAS array order, with metal at `place`, stored as `affine` says."""
    array = np.full((32, 32, 32), -60, np.int16)
    array[place] = 2000
    return Image(array, affine)


LOW, HIGH, ALL = slice(0, 8), slice(24, 32), slice(None)


@pytest.mark.parametrize(
    ("place", "plane", "rows", "columns"),
    [
        ((HIGH, ALL, ALL), 0, ALL, LOW),  # right of the patient: left of the axial picture
        ((HIGH, ALL, ALL), 1, ALL, LOW),  # and of the coronal one
        ((ALL, HIGH, ALL), 0, LOW, ALL),  # anterior: up
        ((ALL, HIGH, ALL), 2, ALL, LOW),  # anterior: left in the sagittal picture
        ((ALL, ALL, HIGH), 1, LOW, ALL),  # superior: up
        ((ALL, ALL, HIGH), 2, LOW, ALL),
    ],
)
@pytest.mark.parametrize("mirror", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_sides(place, plane, rows, columns, mirror):
    image = marked(place, np.eye(4))
    flips = tuple(slice(None, None, sign) for sign in mirror)
    stored = Image(image.array[flips], np.diag([*map(float, mirror), 1.0]))
    left = plane * (SIDE + GAP)
    picture = opened(render(stored, "CT", "HU"))[:, left : left + SIDE]
    expected = np.zeros((32, 32), bool)
    expected[rows, columns] = True
    assert picture.shape == (SIDE, SIDE)
    assert np.array_equal(picture[4::8, 4::8] > 128, expected)


def test_proportions_are_in_mm():
    array = np.random.default_rng(0).integers(-100, 100, (40, 20, 10)).astype(np.int16)
    height, width = opened(render(Image(array, np.diag([1.0, 1.0, 8.0, 1.0])), "CT", "HU")).shape
    # mm: axial 40 x 20, coronal 40 x 80, sagittal 20 x 80; 80 mm are SIDE pixels
    assert (height, width) == (SIDE, SIDE // 2 + SIDE // 2 + SIDE // 4 + 2 * GAP)


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_a_single_image_is_one_plane(flat):
    shape = [30, 30, 30]
    shape[flat] = 1
    array = np.random.default_rng(0).integers(0, 100, shape).astype(np.uint16)
    assert opened(render(Image(array, np.eye(4)), "MR", "stored")).shape == (SIDE, SIDE)


def test_ct_window_is_fixed():
    array = np.array([-2000, -160, 40, 240, 3000], np.int16).reshape(5, 1, 1)
    picture = opened(render(Image(array, np.diag([-1.0, 1.0, 1.0, 1.0])), "CT", "HU"))[0]
    centres = picture[[25, 76, 128, 179, 230]]
    assert centres.tolist() == pytest.approx([0, 0, 128, 255, 255], abs=3)


def test_suv_window_is_fixed_and_activity_is_scaled():
    ramp = np.linspace(0, 5, 64, dtype=np.float32).reshape(8, 8, 1)
    flat = Image(ramp, np.eye(4))
    assert int(opened(render(flat, "PT", "SUVbw g/ml")).max()) == pytest.approx(127, abs=2)
    assert opened(render(flat, "PT", "Bq/ml")).max() == 255


def test_colour_stays_colour():
    array = np.zeros((10, 10, 1, 3), np.uint8)
    array[..., 0] = 200
    picture = opened(render(Image(array, np.eye(4), is_colour=True), "US", "stored"))
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture[5, 5].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 1, 1), np.int16), np.full((4, 4, 4), np.nan, np.float32), np.full((600, 1, 1), 3.0, np.float32)],
)
def test_images_without_content_are_black(array):
    assert opened(render(Image(array, np.eye(4)), "MR", "stored")).max() == 0


def test_bytes_repeat_and_hold_pixels_only():
    array = np.random.default_rng(5).integers(0, 2000, (40, 50, 20)).astype(np.int16)
    image = Image(array, np.diag([0.8, 0.8, 3.0, 1.0]))
    data = render(image, "MR", "stored")
    assert data == render(image, "MR", "stored")
    chunks, place = [], 8
    while place < len(data):
        chunks.append(data[place + 4 : place + 8])
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    assert max(opened(data).shape) <= 3 * SIDE + 2 * GAP


def test_of_several_repetitions_the_first_is_shown():
    first = np.random.default_rng(0).normal(100, 20, (20, 16, 8)).astype(np.float32)
    together = np.stack([first, first[::-1] * 9], axis=-1)
    assert render(Image(together, np.eye(4)), "MR", "stored") == render(Image(first, np.eye(4)), "MR", "stored")
