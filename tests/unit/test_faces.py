"""Faces: told from the header, found on made heads, removed; brain and labels stay."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from oncurate import allowlist, faces, faces_template
from oncurate.convert import affine_of
from oncurate.errors import Rejection
from oncurate.faces_search import on_grid
from oncurate.image import Image
from oncurate.reasons import Reason
from oncurate.records import Geometry, PlannedVolume, Slice

TEMPLATE = faces_template.read()


def pose(turns=(0.0, 0.0, 0.0), scales=(1.0, 1.0, 1.0), shift=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Made head, RAS mm -> template, RAS mm: turns in degrees about the axes, scales, a shift."""
    matrix = np.diag(scales).astype(float)
    for axis, degrees in enumerate(turns):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        turn[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
        matrix = turn @ matrix
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, shift
    return affine


def grid(low=(-110.0, -140.0, -130.0), high=(110.0, 150.0, 120.0), spacing=(2.0, 2.0, 2.0)) -> Image:
    """An empty image whose axes run to the left, to the front and up, between two corners in RAS mm."""
    shape = tuple(int(n) for n in (np.array(high) - low) / spacing)
    affine = np.diag([-spacing[0], *spacing[1:], 1.0])
    affine[:3, 3] = high[0], *low[1:]
    return Image(np.zeros(shape, np.int16), affine)


def sampled(region: np.ndarray, on: Image, place: np.ndarray) -> np.ndarray:
    return on_grid(region, np.linalg.solve(TEMPLATE.affine, place @ on.affine), on.shape)


def mr_head(place: np.ndarray, on: Image, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 4, on.shape)
    return replace(on, array=np.clip(sampled(TEMPLATE.values, on, place) * 3 + noise, 0, None).astype(np.int16))


@cache
def ct_values() -> np.ndarray:
    """The template as a CT would have it: air, skin and muscle, bone around the brain, brain."""
    skull = ndimage.binary_dilation(TEMPLATE.brain, iterations=4) & ~ndimage.binary_dilation(TEMPLATE.brain)
    values = np.where(TEMPLATE.head, 40.0, -1000.0)
    values[skull & TEMPLATE.head] = 900.0
    values[TEMPLATE.head & ~TEMPLATE.brain & (TEMPLATE.values > 110)] = -90.0
    values[TEMPLATE.head & (TEMPLATE.values < 18)] = -800.0
    values[TEMPLATE.brain] = 30.0 + TEMPLATE.values[TEMPLATE.brain] / 10
    return values + 1000.0


def ct_head(place: np.ndarray, on: Image, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 8, on.shape)
    return replace(on, array=(sampled(ct_values(), on, place) - 1000 + noise).astype(np.int16))


def overlap(mask: np.ndarray, place: np.ndarray, on: Image) -> float:
    """Dice with the face region where it really is."""
    expected = sampled(TEMPLATE.face, on, place) > 0.5
    return 2 * (mask & expected).sum() / (mask.sum() + expected.sum())


def brain(on: Image, place: np.ndarray) -> np.ndarray:
    return sampled(TEMPLATE.brain, on, place) > 0.5


NODDED = pose((8, -3, 5), (0.95, 1.05, 1.0), (4, -6, 5))
CASES = {
    "MR": (mr_head, NODDED, grid(spacing=(3.0, 3.0, 3.0))),
    "CT in thick slices": (ct_head, pose((15, 0, 0)), grid(spacing=(2.0, 2.0, 5.0), low=(-110.0, -140.0, -90.0))),
}


def check(case: tuple) -> None:
    """The face is found where it is, and no voxel of the brain is touched."""
    make, place, on = case
    mask = faces.face_mask(make(place, on), "CT" if make is ct_head else "MR")
    assert overlap(mask, place, on) > 0.85
    assert brain(on, place).sum() * np.prod(on.spacing) > 5e5
    assert not (mask & brain(on, place)).any()


@pytest.mark.parametrize("case", CASES)
def test_the_face_is_found_and_the_brain_is_not_touched(case):
    check(CASES[case])


@cache
def plain_head() -> tuple[Image, np.ndarray]:
    """The template as an MR, and the mask of its face."""
    image = mr_head(np.eye(4), grid(spacing=(4.0, 4.0, 4.0)))
    return image, faces.face_mask(image, "MR")


def test_the_same_image_gives_the_same_mask():
    image, mask = plain_head()
    assert np.array_equal(faces.face_mask(image, "MR"), mask)


def test_the_skin_of_eyes_nose_and_mouth_goes_and_the_back_of_the_head_stays():
    """First hits from the front: all that shows the face is at least 4 mm deeper; from behind nothing changed."""
    image, mask = plain_head()
    out, _ = faces.deface(image, mask, 0)
    before, after = (ndimage.gaussian_filter(i.array.astype(float), 0.7) > 100 for i in (image, out))
    places = {"nose": (0, -50), "mouth": (0, -80), "left eye": (-32, -26), "right eye": (32, -26), "brow": (0, -6)}
    for x, z in places.values():
        i, k = round((110 - x) / 4), round((z + 130) / 4)
        hits = [np.flatnonzero(head[i, :, k])[-1] * 4 for head in (before, after)]
        assert hits[0] - hits[1] >= 4
    assert np.array_equal(before[:, :35], after[:, :35])


def test_labels_and_their_neighbours_are_spared():
    image, plain = plain_head()
    label = np.zeros(image.shape, bool)
    label[tuple(np.argwhere(plain)[plain.sum() // 2])] = True
    spared = faces.face_mask(image, "MR", (label,))
    around = ndimage.binary_dilation(label, np.ones((3, 3, 3)))
    assert (plain & around).any()
    assert np.array_equal(spared, plain & ~around)


def test_of_a_repeated_image_the_first_decides_and_all_are_defaced():
    first, expected = plain_head()
    image = replace(first, array=np.stack([first.array, first.array[::-1]], axis=-1))
    mask = faces.face_mask(image, "MR")
    assert np.array_equal(mask, expected)
    out, _ = faces.deface(image, mask, 0)
    assert not out.array[mask].any()
    assert np.array_equal(out.array[~mask], image.array[~mask])


def ball(on: Image, radius: float) -> Image:
    index = np.argwhere(np.ones(on.shape, bool)) @ on.affine[:3, :3].T + on.affine[:3, 3]
    distance = np.linalg.norm(index, axis=1).reshape(on.shape)
    values = np.where(distance < radius, 400, 0) + np.random.default_rng(0).normal(0, 20, on.shape)
    return replace(on, array=values.astype(np.int16))


COARSE = grid(spacing=(8.0, 8.0, 8.0))


@pytest.mark.parametrize(
    ("image", "modality"),
    [
        (ball(COARSE, 80), "MR"),
        (replace(COARSE, array=np.random.default_rng(1).integers(0, 99, COARSE.shape)), "PT"),
        (COARSE, "CT"),
        (grid(high=(-60.0, -60.0, -60.0), spacing=(4.0, 4.0, 10.0)), "MR"),
    ],
    ids=["a ball", "noise", "nothing", "a corner of nothing"],
)
def test_what_is_no_head_is_refused(image, modality):
    with pytest.raises(Rejection) as refused:
        faces.face_mask(image, modality)
    assert refused.value.reason is Reason.FACE_NOT_LOCATED


def test_images_without_a_place_are_refused():
    for changed in ({"in_patient": False}, {"has_unit": False}):
        with pytest.raises(Rejection):
            faces.face_mask(replace(grid(), **changed), "CT")


def test_defacing_leaves_the_input_and_says_what_it_did():
    image = replace(grid(spacing=(20.0, 20.0, 20.0)))
    mask = np.zeros(image.shape, bool)
    mask[0, 0, :3] = True
    out, step = faces.deface(image, mask, -1000)
    assert (out.array[mask] == -1000).all()
    assert not image.array.any()
    assert step.name == "deface"
    assert step.arguments["share"] == pytest.approx(3 / mask.size)
    assert step.arguments["version"] == faces_template.VERSION
    unsigned = replace(image, array=image.array.astype(np.uint16))
    assert faces.deface(unsigned, mask, -1000)[1].arguments["value"] == 0


def test_removed_voxels_become_air_padding_or_background():
    image = replace(grid(spacing=(20.0, 20.0, 20.0)), array=np.full((11, 14, 12), 7))
    assert faces.fill_value(image, "HU") == -1000
    assert faces.fill_value(image, "HU", (-2000.0, -1500.0)) == -2000
    assert faces.fill_value(image, "stored") == 7
    assert faces.fill_value(replace(image, array=image.array - 9), "stored") == -2


def geometry(shape=(64, 48, 30), spacing=(4.0, 4.0, 5.0), **changed) -> Geometry:
    """Axial, from foot to head."""
    facts = {
        name: True for name in Geometry.model_fields if name.startswith(("single", "ortho", "unique", "consistent"))
    }
    return Geometry(
        **{
            "origin": (-100.0, -90.0, 0.0),
            "row": (1.0, 0.0, 0.0),
            "column": (0.0, 1.0, 0.0),
            "normal": (0.0, 0.0, 1.0),
            "spacing": spacing,
            "shape": shape,
            "in_patient": True,
            "spacing_source": "PixelSpacing",
            "uniform_slice_spacing": True,
            "obliquity_degrees": 0.0,
            "gantry_tilt_degrees": 0.0,
            "regularly_spaced_3d_volume": True,
            **facts,
            **changed,
        }
    )


@pytest.mark.parametrize(
    ("attributes", "modality", "grid_of", "expected"),
    [
        ({"BodyPartExamined": "HEAD"}, "CT", geometry(), True),
        ({"BodyPartExamined": "brain"}, "MR", geometry(), True),
        ({}, "PT", geometry(), True),
        ({"BodyPartExamined": "no such part"}, "CT", geometry(), True),
        ({"BodyPartExamined": "CHEST"}, "CT", geometry(), False),
        ({"BodyPartExamined": "CHEST"}, "CT", geometry((512, 512, 300), (1, 1, 3)), True),
        ({"BodyPartExamined": "EXTREMITY"}, "PT", geometry((128, 128, 267), (4.7, 4.7, 3.27)), True),
        ({"BodyPartExamined": "HEAD"}, "CR", geometry(), False),
        ({"BodyPartExamined": "HEAD"}, "CT", geometry(in_patient=False), False),
        ({"BodyPartExamined": "HEAD"}, "CT", geometry((512, 512, 7), (0.5, 0.5, 5)), False),
        ({"BodyPartExamined": "HEAD"}, "MR", geometry((256, 256, 7), (1, 1, 15)), False),
        ({"ImageType": "DERIVED\\PRIMARY\\DIFFUSION\\ADC"}, "MR", geometry(), False),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "CT", geometry(), True),
    ],
)
def test_a_face_is_possible_unless_the_header_rules_it_out(attributes, modality, grid_of, expected):
    assert faces.recognisable_face_possible(attributes, modality, grid_of) is expected


def test_the_terms_that_are_looked_for_are_terms_of_the_allow_list():
    assert set(allowlist.VOCABULARIES["body_part"].terms) >= faces.ELSEWHERE
    assert set(allowlist.VOCABULARIES["image_type"].terms) >= faces.MAPS


def planned(of: Geometry, **changed) -> PlannedVolume:
    slices = tuple(
        Slice(
            object="x",
            content="x",
            frame=0,
            SOPInstanceUID="1.2",
            slope=1,
            intercept=0,
            position=tuple(np.array(of.origin) + n * of.spacing[2] * np.array(of.normal)),
        )
        for n in range(of.shape[2])
    )
    return PlannedVolume(
        kind="volume",
        slices=changed.pop("slices", slices),
        geometry=of,
        split_by=(),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        attributes={},
        **changed,
    )


def test_each_slice_gets_the_mask_of_its_own_pixels():
    of = geometry((6, 5, 4))
    mask = np.random.default_rng(0).random((6, 5, 4)) > 0.5
    plain = list(faces.slice_masks(mask, affine_of(of), planned(of)))
    assert [m.shape for m in plain] == [(5, 6)] * 4
    assert plain[2][0, 3] == mask[3, 4, 2]
    placed = list(faces.slice_masks(mask, affine_of(of), planned(of, correction="shear")))
    assert np.array_equal(plain, placed)
    twice = planned(of, slices=planned(of).slices * 2)
    assert np.array_equal(list(faces.slice_masks(mask, affine_of(of), twice)), plain * 2)
    moved = affine_of(of.model_copy(update={"origin": (-104.0, -90.0, 0.0), "shape": (9, 5, 4)}))
    wide = np.zeros((9, 5, 4), bool)
    wide[1:7] = mask
    assert np.array_equal(list(faces.slice_masks(wide, moved, planned(of, correction="shear"))), plain)


def test_the_template_keeps_face_and_brain_apart():
    assert not (TEMPLATE.face & ndimage.binary_dilation(TEMPLATE.brain)).any()
    assert 1.1e6 < TEMPLATE.brain.sum() * 8 < 1.6e6  # mm3 of an adult brain with its ventricles
    assert not (TEMPLATE.brain & ~TEMPLATE.head).any()
