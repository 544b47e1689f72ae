"""What holds for every grid: voxels keep their place, extents are covered, ramps and means survive."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate.harmonise import harmonise, orient
from oncurate.image import Image
from oncurate.profiles import Profile

shapes = st.tuples(*[st.integers(1, 7)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
angles = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
FEW = settings(max_examples=40, deadline=None)


def rotation(angle: tuple[float, float, float]) -> np.ndarray:
    """Product of turns about the three axes."""
    result = np.eye(3)
    for axis, turn in enumerate(angle):
        one = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a] = one[b, b] = np.cos(turn)
        one[a, b], one[b, a] = -np.sin(turn), np.sin(turn)
        result = result @ one
    return result


@st.composite
def affines(draw) -> np.ndarray:
    """Any rotation, mirrored or not, any spacing, any origin."""
    affine = np.eye(4)
    mirror = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    affine[:3, :3] = rotation(draw(angles)) @ mirror @ np.diag(draw(spacings))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


def places(image: Image) -> np.ndarray:
    """RAS mm of every voxel's centre, (voxels, 3)."""
    index = np.indices(image.shape).reshape(3, -1).T
    return index @ image.affine[:3, :3].T + image.affine[:3, 3]


def profile(spacing: tuple[float, float, float] | None, *, anti_alias: bool = False) -> Profile:
    return Profile(
        name="p",
        version="1",
        modalities=(),
        max_voxels=10**8,
        orientation="RAS",
        spacing_mm=spacing,
        anti_alias=anti_alias,
    )


@FEW
@given(shapes, affines())
def test_orienting_moves_no_voxel_in_the_patient(shape, affine):
    image = Image(np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape), affine)
    view = orient(image)[0]
    by_value, by_value_after = np.argsort(image.array.ravel()), np.argsort(view.array.ravel())
    assert np.array_equal(np.sort(view.array.ravel()), np.arange(image.array.size))
    assert np.allclose(places(image)[by_value], places(view)[by_value_after], atol=1e-8)
    assert np.all(np.diag(view.affine)[:3] >= -1e-9)
    assert np.sign(np.linalg.det(view.affine[:3, :3])) in (-1, 1)
    assert sorted(np.round(view.spacing, 9)) == sorted(np.round(image.spacing, 9))


@FEW
@given(shapes, affines())
def test_the_grid_stays_bit_for_bit_where_no_spacing_is_asked(shape, affine):
    image = Image(np.random.default_rng(0).normal(size=shape), affine)
    result = harmonise(image, profile(None, anti_alias=True))[0]
    view = orient(image)[0]
    assert np.array_equal(result.array, view.array)
    assert np.array_equal(result.affine, view.affine)


@FEW
@given(shapes, affines(), spacings, st.integers(1, 3))
def test_repetitions_are_treated_alike_whatever_their_place_in_memory(shape, affine, spacing, count):
    array = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    image = Image(np.moveaxis(array, 0, -1), affine)
    result = harmonise(image, profile(spacing, anti_alias=True))[0]
    fastest = harmonise(Image(image.array.copy(), affine), profile(spacing, anti_alias=True))[0]
    assert np.array_equal(fastest.array, result.array)
    for n in range(count):
        alone = harmonise(image.repetition(n), profile(spacing, anti_alias=True))[0]
        assert np.array_equal(result.repetition(n).array, alone.array)


@FEW
@given(shapes, affines(), spacings)
def test_the_new_grid_covers_the_extent_and_has_its_centre(shape, affine, spacing):
    image = Image(np.zeros(shape, np.float32), affine)
    result = harmonise(image, profile(spacing))[0]
    view = orient(image)[0]
    for n, s, size, was in zip(result.shape, result.spacing, view.shape, view.spacing, strict=True):
        assert n == 1 or abs(n * s - size * was) <= s / 2 + 1e-6
    centre = [i.affine[:3, :3] @ ((np.array(i.shape) - 1) / 2) + i.affine[:3, 3] for i in (view, result)]
    assert np.allclose(*centre, atol=1e-6)
    assert np.allclose(result.spacing, spacing, rtol=2e-6)


@FEW
@given(affines(), spacings, st.booleans())
def test_a_ramp_in_the_patient_is_reproduced_away_from_the_edges(affine, spacing, anti_alias):
    shape = (14, 15, 16)
    blank = Image(np.zeros(shape), affine)
    gradient, offset = np.array([1.5, -2.25, 0.75]), 40.0
    ramp = (places(blank) @ gradient + offset).reshape(shape)
    image = Image(ramp, affine)
    result = harmonise(image, profile(spacing, anti_alias=anti_alias))[0]
    index = (places(result) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    sigma = 3 * max(1.0, *(t / s for t in spacing for s in image.spacing)) * 0.43 + 1 if anti_alias else 0
    inside = np.all((index >= sigma) & (index <= np.array(shape) - 1 - sigma), axis=1)
    expected = places(result) @ gradient + offset
    assert np.allclose(result.array.ravel()[inside], expected[inside], atol=1e-6)


@FEW
@given(spacings, st.integers(0, 10**6))
def test_the_mean_of_a_smooth_volume_survives(spacing, seed):
    shape = (20, 22, 24)
    rng = np.random.default_rng(seed)
    grid = np.indices(shape).reshape(3, -1).T
    centre = np.array(shape) / 2 + rng.uniform(-1, 1, 3)
    blob = np.exp(-0.5 * (((grid - centre) / 4) ** 2).sum(axis=1)).reshape(shape)
    image = Image(blob, np.diag([1.1, 0.9, 1.3, 1.0]))
    result = harmonise(image, profile(tuple(min(s, 3.0) for s in spacing), anti_alias=True))[0]
    before, after = blob.sum() * np.prod(image.spacing), result.array.sum() * np.prod(result.spacing)
    assert abs(after / before - 1) < 0.02


@FEW
@given(shapes, affines(), spacings)
def test_no_value_beyond_the_source_appears(shape, affine, spacing):
    array = np.random.default_rng(3).integers(-900, 900, shape).astype(np.int16)
    result = harmonise(Image(array, affine), profile(spacing, anti_alias=True))[0]
    assert result.array.dtype == np.int16
    assert array.min() <= result.array.min() <= result.array.max() <= array.max()
