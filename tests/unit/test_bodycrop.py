"""Cutting to the body and padding: no voxel moves in the patient, and both can be undone and replayed."""

import numpy as np
import pytest

from oncurate.bodycrop import crop, pad, padding, replay, undo
from oncurate.image import Image

AFFINE = np.array([[2.0, 0, 0, -40], [0, 0, 1.5, -30], [0, -1.0, 0, 20], [0, 0, 0, 1]])


def body(shape=(40, 44, 48), *, box=((8, 30), (6, 33), (10, 41)), dtype=np.int16) -> Image:
    """Air at -1000 with a body of 30 in `box` and a table of -100, thin and apart."""
    array = np.full(shape, -1000, dtype)
    array[tuple(slice(*span) for span in box)] = 30
    array[:, shape[1] - 2, :5] = -100
    return Image(array, AFFINE)


def place(image: Image, index) -> np.ndarray:
    return image.affine[:3, :3] @ np.array(index) + image.affine[:3, 3]


def test_the_box_holds_the_body_and_little_more_and_leaves_the_table():
    image = body()
    cut, step = crop(image, is_hu=True, margin_mm=0)
    start, stop = np.array(step.arguments["start"]), np.array(step.arguments["stop"])
    assert (start <= (8, 6, 10)).all()
    assert (stop >= (30, 33, 41)).all()
    assert ((np.array((8, 6, 10)) - start) * image.spacing <= 3).all()
    assert ((stop - (30, 33, 41)) * image.spacing <= 3).all()
    assert cut.shape == tuple(stop - start)
    assert np.allclose(place(cut, (0, 0, 0)), place(image, start))
    assert np.count_nonzero(cut.array == 30) == np.count_nonzero(image.array == 30)
    assert not (cut.array == -100).any()
    assert np.shares_memory(cut.array, image.array)
    assert step.arguments["applied"] is True
    assert step.arguments["from_shape"] == [40, 44, 48]


@pytest.mark.parametrize("voxel", [0.4, 0.9, 1.6, 7.0])
@pytest.mark.parametrize("shift", range(7))
def test_no_voxel_of_the_body_is_cut_whatever_the_thinning(voxel, shift):
    box = ((5 + shift, 25 + shift), (9, 29 + shift), (3 + shift, 40))
    image = Image(body(box=box).array, np.diag([voxel] * 3 + [1.0]))
    cut = crop(image, is_hu=True, margin_mm=0)[0]
    assert np.count_nonzero(cut.array == 30) == np.count_nonzero(image.array == 30)
    assert cut.array.size < image.array.size


def test_the_margin_is_in_mm_and_ends_at_the_grid():
    image = body()
    near = crop(image, is_hu=True, margin_mm=0)[1].arguments
    far = crop(image, is_hu=True, margin_mm=4.5)[1].arguments
    voxels = np.ceil(4.5 / np.array(image.spacing)).astype(int)
    assert (np.array(near["start"]) - far["start"] == np.minimum(voxels, near["start"])).all()
    whole = crop(image, is_hu=True, margin_mm=1000)[1].arguments
    assert (whole["start"], whole["stop"], whole["applied"]) == ([0, 0, 0], list(image.shape), False)


def test_without_hu_the_foreground_is_what_otsu_finds():
    noise = np.random.default_rng(0).normal(20, 3, (30, 30, 30)).astype(np.float32)
    noise[9:20, 10:22, 8:25] += 400
    step = crop(Image(noise, np.eye(4)), is_hu=False, margin_mm=0)[1]
    assert np.abs(np.array(step.arguments["start"]) - (9, 10, 8)).max() <= 2
    assert np.abs(np.array(step.arguments["stop"]) - (20, 22, 25)).max() <= 2


def test_of_repetitions_the_box_holds_all():
    array = np.full((20, 20, 20, 2), -1000, np.int16)
    array[2:9, 3:9, 4:9, 0] = array[10:18, 11:17, 12:16, 1] = 0
    cut, step = crop(Image(array, np.eye(4)), is_hu=True, margin_mm=0)
    assert cut.count == 2
    assert np.count_nonzero(cut.array == 0) == np.count_nonzero(array == 0)
    assert step.arguments["start"] <= [2, 3, 4]


def test_an_image_without_body_or_pixel_size_is_not_cut():
    empty = Image(np.full((5, 6, 7), -1000, np.int16), np.eye(4))
    without_unit = Image(body().array, np.eye(4), has_unit=False)
    for image in (empty, without_unit):
        cut, step = crop(image, is_hu=True, margin_mm=0)
        assert np.array_equal(cut.array, image.array)
        assert step.arguments["applied"] is False


def test_padding_reaches_the_next_multiple_on_both_sides():
    assert padding((30, 32, 33), (32, 32, 32)) == ((1, 0, 15), (1, 0, 16))


@pytest.mark.parametrize(("dtype", "filled"), [(np.int16, -1024), (np.uint8, 0), (np.float32, -1024)])
def test_padding_moves_no_voxel_and_fills_with_what_the_type_holds(dtype, filled):
    array = np.random.default_rng(0).integers(1, 99, (3, 4, 5, 2)).astype(dtype)
    image = Image(np.asfortranarray(array), AFFINE)
    wide, step = pad(image, (1, 0, 2), (2, 3, 0), -1024)
    assert wide.shape == (6, 7, 7)
    assert np.array_equal(wide.array[1:4, :4, 2:], array)
    assert wide.array[0, 0, 0, 0] == filled == step.arguments["value"]
    assert np.count_nonzero(wide.array == filled) == wide.array.size - array.size
    assert np.allclose(place(wide, (1, 0, 2)), place(image, (0, 0, 0)))
    assert np.argsort(wide.array.strides).tolist() == np.argsort(image.array.strides).tolist()


def test_both_can_be_undone_and_replayed():
    image = body()
    cut, one = crop(image, is_hu=True, margin_mm=2)
    wide, two = pad(cut, (3, 0, 5), (0, 4, 1), -1000)
    back = undo(wide, (one, two), -1000)
    assert np.allclose(back.affine, image.affine)
    inside = tuple(slice(a, b) for a, b in zip(one.arguments["start"], one.arguments["stop"], strict=True))
    assert np.array_equal(back.array[inside], image.array[inside])
    assert back.shape == image.shape
    other = Image(np.arange(image.array.size).reshape(image.shape), image.affine)
    same = replay(other, (one, two))
    assert same.shape == wide.shape
    assert np.allclose(same.affine, wide.affine)
    assert same.array.max() == other.array[inside].max()
