"""Label maps on another grid: volumes are kept, touching labels leave no gap, small ones do not vanish."""

import numpy as np
import pytest
import SimpleITK as sitk

from oncurate.bodycrop import crop, pad, replay
from oncurate.errors import Defect
from oncurate.harmonise import harmonise, orient
from oncurate.image import Image
from oncurate.labels import LEAST_VOXELS, resample_labels
from oncurate.profiles import Profile
from oncurate.records import GridImage

SIDE = 40


def ball(radius: float, centre=(19.3, 20.1, 20.4), spacing=(1.0, 1.0, 1.0), shape=(SIDE, SIDE, SIDE)) -> np.ndarray:
    """Voxels within `radius` mm of `centre` mm."""
    index = np.moveaxis(np.indices(shape), 0, -1) * spacing
    return ((index - centre) ** 2).sum(axis=-1) < radius**2


def image(array: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Image:
    return Image(array, np.diag([*spacing, 1.0]))


def target(labels: Image, spacing) -> Image:
    """What harmonising an image on the labels' grid gives."""
    profile = Profile(
        name="p", version="1", modalities=(), max_voxels=10**8, orientation="RAS", spacing_mm=spacing, anti_alias=True
    )
    return harmonise(Image(labels.array.astype(np.float32), labels.affine), profile)[0]


def resampled(array: np.ndarray, spacing, wanted):
    labels = image(array, spacing)
    return resample_labels(labels, target(labels, wanted))


SPACINGS = [(0.5, 0.5, 0.5), (0.8, 0.8, 0.8), (1.3, 1.3, 1.3), (2.0, 2.0, 2.0), (0.7, 0.7, 3.0), (1, 1, 1)]


@pytest.mark.parametrize("wanted", SPACINGS)
def test_spheres_and_shells_keep_their_volume(wanted):
    array = np.zeros((SIDE,) * 3, np.uint8)
    array[ball(14)] = 2
    array[ball(8)] = 1  # enclosed by 2
    array[ball(13) & ~ball(12)] = 3  # a shell of one voxel
    array[ball(5, (36, 20, 20))] = 7  # touches 2 and the edge of the grid
    result, rows = resampled(array, (1, 1, 1), wanted)
    assert [row.label for row in rows] == [1, 2, 3, 7]
    assert all(row.grid_allows and row.within_tolerance for row in rows)
    for row in rows:
        assert row.voxels_after == np.count_nonzero(result.array == row.label)
        assert row.volume_after_mm3 == pytest.approx(row.voxels_after * np.prod(result.spacing))
        assert row.volume_before_mm3 == np.count_nonzero(array == row.label)
        assert abs(row.volume_after_mm3 / row.volume_before_mm3 - 1) <= 0.01
        assert row.voxels_outside == 0


def test_thick_slices_become_isotropic_with_volume_and_place_kept():
    spacing, shape = (0.8, 0.8, 5.0), (60, 60, 12)
    array = np.zeros(shape, np.int16)
    array[ball(20, (24, 24, 27), spacing, shape)] = 1
    array[ball(9, (40, 24, 27), spacing, shape)] = 2
    result, rows = resampled(array, spacing, (1, 1, 1))
    assert all(row.within_tolerance for row in rows)
    for label in (1, 2):
        before, after = (np.argwhere(a == label) for a in (array, result.array))
        centres = [p.mean(axis=0) @ i.affine[:3, :3] + i.affine[:3, 3] for p, i in ((before, image(array, spacing)),)]
        centres += [after.mean(axis=0) @ result.affine[:3, :3] + result.affine[:3, 3]]
        assert np.abs(centres[0] - centres[1]).max() < 0.3


@pytest.mark.parametrize("wanted", [(0.6, 0.6, 0.6), (1.4, 1.4, 1.4), (2.5, 2.5, 2.5)])
def test_touching_labels_leave_no_gap_and_keep_their_sides(wanted):
    array = np.zeros((SIDE,) * 3, np.uint8)
    array[5:18, 5:35, 5:35] = 1
    array[18:35, 5:35, 5:35] = 2
    result = resampled(array, (1, 1, 1), wanted)[0]
    x = np.arange(result.shape[0]) * result.spacing[0] + result.affine[0, 3]
    middle = result.array[(x > 6.5) & (x < 33.5), result.shape[1] // 2, result.shape[2] // 2]
    assert set(middle) == {1, 2}
    assert np.count_nonzero(np.diff(middle.astype(int))) == 1


def test_the_same_grid_is_the_identity_in_any_orientation():
    array = np.random.default_rng(0).integers(0, 70000, (5, 6, 7)).astype(np.int32)
    labels = Image(array, np.array([[0, 0, 3.0, -20], [-0.5, 0, 0, 60], [0, 0.5, 0, 7], [0, 0, 0, 1]]))
    result, rows = resample_labels(labels, labels)
    assert np.array_equal(result.array, array)
    assert all(row.relative_change == 0 and row.voxels_before == row.voxels_after for row in rows)
    turned = orient(labels)[0]
    result = resample_labels(labels, turned)[0]
    assert np.array_equal(result.array, turned.array)
    assert np.array_equal(result.affine, turned.affine)


@pytest.mark.parametrize(("wanted", "voxels"), [((3, 3, 3), 1), ((2, 2, 2), 1), ((0.5, 0.5, 0.5), 8)])
def test_a_label_of_one_voxel_stays_and_says_what_the_grid_does_not_allow(wanted, voxels):
    array = np.zeros((12, 12, 12), np.uint16)
    array[5, 6, 7] = 300
    result, (row,) = resampled(array, (1, 1, 1), wanted)
    assert (row.label, row.voxels_after, row.grid_allows) == (300, voxels, False)
    place = np.argwhere(result.array == 300).mean(axis=0) @ result.affine[:3, :3] + result.affine[:3, 3]
    assert np.abs(place - (5, 6, 7)).max() <= max(wanted)


def test_what_the_grid_allows_hangs_on_the_voxels_that_a_label_fills():
    array = np.zeros((20, 20, 20), np.uint8)
    array[:10].reshape(-1)[: LEAST_VOXELS * 8] = 1
    array[15:].reshape(-1)[: LEAST_VOXELS * 8 - 1] = 2
    assert [row.grid_allows for row in resampled(array, (1, 1, 1), (2, 2, 2))[1]] == [True, False]


def test_a_grid_that_was_cut_and_padded_gets_the_labels_cut_and_padded():
    voxels = np.full((30, 30, 30), -1000, np.int16)
    voxels[8:20, 9:22, 10:25] = 40
    ct = image(voxels)
    array = np.zeros(voxels.shape, np.uint8)
    array[9:15, 10:15, 11:20], array[0:4, 0:4, 0:4] = 1, 2
    cut, cutting = crop(ct, is_hu=True, margin_mm=0)
    framed, padding = pad(cut, (3, 2, 1), (4, 5, 6), -1024)
    result, rows = resample_labels(image(array), framed)
    assert np.array_equal(result.array, replay(image(array), (cutting, padding)).array)
    assert [(row.label, row.voxels_outside, row.grid_allows) for row in rows] == [(1, 0, True), (2, 64, False)]
    assert rows[1].voxels_after == 0


def test_no_label_goes_on_beyond_the_grid_that_it_was_drawn_on():
    labels = image(np.ones((10, 10, 10), np.uint8))
    like = Image(np.zeros((20, 20, 20)), np.array([[1.5, 0, 0, -8], [0, 1.5, 0, -8], [0, 0, 1.5, -8], [0, 0, 0, 1]]))
    result, (row,) = resample_labels(labels, like)
    assert row.within_tolerance
    place = np.argwhere(result.array) * 1.5 - 8
    assert place.min() >= -0.5
    assert place.max() <= 9.5


def test_a_written_grid_serves_as_well_as_an_image():
    labels = image(ball(10).astype(np.uint8))
    like = target(labels, (1.5, 1.5, 1.5))
    written = GridImage(
        shape=like.shape,
        spacing_mm=like.spacing,
        affine=tuple(like.affine.ravel()),
        dtype="float32",
        min=0,
        max=1,
        sha256="",
        bytes=0,
    )
    assert np.array_equal(resample_labels(labels, written)[0].array, resample_labels(labels, like)[0].array)


def test_the_same_labels_give_the_same_voxels_and_the_input_is_left_alone():
    array = np.random.default_rng(1).integers(0, 6, (14, 14, 14)).astype(np.uint8)
    before = array.copy()
    first, second = (resampled(array, (1, 1, 1), (0.9, 1.1, 1.4))[0].array for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(array, before)


def test_an_empty_label_map_stays_empty():
    result, rows = resampled(np.zeros((6, 6, 6), np.uint8), (1, 1, 1), (2, 2, 2))
    assert (result.shape, result.array.max(), rows) == ((3, 3, 3), 0, ())


def test_what_is_no_label_map_or_another_grid_is_a_defect():
    good = image(np.ones((4, 4, 4), np.uint8))
    turned = Image(good.array, np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    for labels, like in (
        (image(np.ones((4, 4, 4), np.float32)), good),
        (image(np.ones((4, 4, 4, 2), np.uint8)), good),
        (image(-np.ones((4, 4, 4), np.int16)), good),
        (image(np.full((4, 4, 4), 2**30, np.int32)), good),
        (good, turned),
    ):
        with pytest.raises(Defect):
            resample_labels(labels, like)


def by_simpleitk(array: np.ndarray, like: Image, interpolator: int) -> np.ndarray:
    source = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(interpolator)
    resampler.SetSize(like.shape)
    resampler.SetOutputSpacing(like.spacing)
    resampler.SetOutputOrigin([float(x) for x in like.affine[:3, 3]])
    return sitk.GetArrayFromImage(resampler.Execute(source)).T


@pytest.mark.parametrize("interpolator", [sitk.sitkNearestNeighbor, sitk.sitkLabelGaussian])
def test_it_agrees_with_simpleitk_but_for_boundaries_and_keeps_volumes_better(interpolator):
    array = np.zeros((SIDE,) * 3, np.uint8)
    array[ball(14)], array[ball(13) & ~ball(12)], array[ball(7)] = 1, 2, 3
    like = target(image(array), (2.0, 2.0, 2.0))
    ours, theirs = resample_labels(image(array), like)[0].array, by_simpleitk(array, like, interpolator)
    sizes = [np.bincount(a.ravel(), minlength=4)[1:] * f for a, f in ((array, 1), (ours, 8), (theirs, 8))]
    errors = [np.abs(s / sizes[0] - 1).max() for s in sizes[1:]]
    assert errors[0] <= 0.01 < errors[1]
    core = ball(5)[1::2, 1::2, 1::2]
    assert (ours[core] == 3).all()
    assert np.mean(ours == theirs) > 0.95
