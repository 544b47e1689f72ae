"""Structure sets as label maps: solids of known volume on all kinds of grids, and every way in which a set is bad."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from oncurate.annotations import rtstruct
from oncurate.annotations.model import Code, LabelMap
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Geometry
from tests import phantoms
from tests.structure_sets import (
    FRAME,
    Solid,
    circle,
    contour,
    contours_of,
    cylinder,
    grid,
    keyhole_ring,
    placed,
    ring,
    sphere,
    structure_set,
    written,
)

GRIDS = {
    "axial": grid(),
    "fine": grid((90, 84, 40), (0.5, 0.5, 1.0)),
    "anisotropic": grid((60, 36, 14), (0.8, 1.25, 3.0)),
    "oblique": grid(orientation=phantoms.turned(12, -25, 40)),
    "coronal": grid(orientation=(1, 0, 0, 0, 0, -1)),
    "feet first": grid(orientation=(-1, 0, 0, 0, 1, 0)),
}
SOLIDS = {
    "sphere": sphere(21.3, 20.7, 18.2, 14.6),
    "cylinder": cylinder(22.45, 20.1, (5.0, 29.0), 15.35),
    "ring": ring(22.05, 20.3, (5.0, 29.0), (7.2, 15.1)),
    "ring by XOR": ring(22.05, 20.3, (5.0, 29.0), (7.2, 15.1), xor=True),
    "keyhole ring": keyhole_ring(22.05, 20.3, (5.0, 29.0), (7.2, 15.1)),
    "shifted by a fifth of a voxel": cylinder(22.65, 20.32, (5.0, 29.0), 15.35),
}
ON = GRIDS["axial"]
BALL = sphere(20, 20, 18, 9.3)
IMAGES = {phantoms.uid("image", k): k for k in range(ON.shape[2])}
UIDS = list(IMAGES)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def drawn_on(solid: Solid, on: Geometry) -> np.ndarray:
    """The voxels of a solid that was drawn on the slices of a grid."""
    return rtstruct.decode(structure_set({1: contours_of(solid, on)}), on, {}).mask(1)


def one(*contours: Dataset, **attributes: object) -> LabelMap:
    """A set of one structure, decoded without its image."""
    return rtstruct.decode(structure_set({1: list(contours)}, **attributes), ON, {})


def reason_of(ds: Dataset, images: dict[str, int] | None = None, frame: str = "") -> Reason:
    with pytest.raises(Rejection) as refusal:
        rtstruct.decode(ds, ON, images or {}, frame_of_reference=frame)
    return refusal.value.reason


def square(k: float = 9, x: float = 20.3, y: float = 20.3, side: float = 10) -> np.ndarray:
    """(4, 3) LPS mm on slice k: holds 10 x 10 voxels."""
    return placed(ON, k * ON.spacing[2], np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]]))


def line(points: int) -> np.ndarray:
    return placed(ON, 18.0, np.linspace([5, 5], [15, 25], points))


@pytest.mark.parametrize("on", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_a_solid_has_the_voxels_whose_centres_it_holds_and_its_volume(solid: Solid, on: Geometry) -> None:
    found, truth = drawn_on(solid, on), solid.voxels(on)
    assert dice(found, truth) >= 0.9999  # circles are drawn with 720 corners
    voxel = float(np.prod(on.spacing))
    # lattice points in a circle: standard deviation sqrt(0.68 r), in voxels; a height has an error of half a slice
    radius = 15.0 / min(on.spacing[:2])
    lattice = 4 * np.sqrt(0.68 * radius) / (np.pi * (radius**2 - (7.2 / 15 * radius) ** 2))
    height = 24.0 % on.spacing[2] / 24.0 if solid is not SOLIDS["sphere"] else (on.spacing[2] / 14.6) ** 2 / 2
    assert found.sum() * voxel == pytest.approx(solid.volume_mm3, rel=lattice + height)


def test_a_label_says_what_the_set_says() -> None:
    ds = structure_set({7: contours_of(BALL, ON)})
    observed = ds.RTROIObservationsSequence[0]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "10200004", "SCT", "Liver"
    observed.RTROIIdentificationCodeSequence = [code]
    label_map = rtstruct.decode(ds, ON, {})
    [label] = label_map.labels
    assert (label.number, label.source_number, label.name) == (7, 7, "made 7")
    assert label.colour == (255, 128, 0)
    assert label.algorithm_type == "MANUAL"
    assert label.category == Code("GTV", "RTROIInterpretedType", "GTV")
    assert label.type == Code("10200004", "SCT", "Liver")
    assert label_map.layers[0].dtype == np.uint16
    assert label_map.layers[0].shape == ON.shape
    assert label_map.flags == {7: ("no_image_reference",)}


def test_structures_that_overlap_lie_in_different_layers_and_others_share_one() -> None:
    inner, outer, other = sphere(14.2, 20.3, 18, 4.1), sphere(14.2, 20.3, 18, 9.2), sphere(36.1, 20.3, 18, 6.2)
    ds = structure_set({n: contours_of(s, ON) for n, s in ((1, outer), (2, inner), (3, other))})
    label_map = rtstruct.decode(ds, ON, {})
    assert label_map.layer_of == {1: 0, 2: 1, 3: 0}
    for number, solid in ((1, outer), (2, inner), (3, other)):
        np.testing.assert_array_equal(label_map.mask(number), solid.voxels(ON))


def test_a_number_that_no_voxel_can_hold_is_replaced() -> None:
    discs = {0: 8, 1: 20, 70_000: 32}
    ds = structure_set({n: contours_of(cylinder(x, 20, (10, 20), 4), ON) for n, x in discs.items()})
    label_map = rtstruct.decode(ds, ON, {})
    assert [(label.source_number, label.number) for label in label_map.labels] == [(0, 2), (1, 1), (70_000, 3)]
    assert np.unique(label_map.layers[0]).tolist() == [0, 1, 2, 3]


class TestSlices:
    """Which slices a contour stands for."""

    def test_contours_three_slices_apart_fill_the_slices_between_them(self) -> None:
        on = grid((48, 44, 30), (1, 1, 1))
        solid = cylinder(20.3, 20.2, (6.0, 21.0), 9.1)
        ds = structure_set({1: contours_of(solid, on, heights=np.arange(7.0, 21.0, 3.0))})
        label_map = rtstruct.decode(ds, on, {})
        np.testing.assert_array_equal(label_map.mask(1), solid.voxels(on))
        assert "contour_spacing_differs" in label_map.flags[1]

    def test_contours_half_way_between_slices_fill_as_many_slices_as_they_are(self) -> None:
        heights = ON.spacing[2] * (np.arange(4, 12) + 0.5)
        solid = cylinder(20.3, 20.2, (0, 99), 9.1)
        label_map = rtstruct.decode(structure_set({1: contours_of(solid, ON, heights)}), ON, {})
        assert np.flatnonzero(label_map.mask(1).any(axis=(0, 1))).tolist() == list(range(4, 12))

    def test_contours_finer_than_slices_give_each_slice_the_nearest(self) -> None:
        solid = sphere(20.3, 20.2, 18.0, 10.2)
        heights = np.arange(-0.1, 38, 0.5)
        label_map = rtstruct.decode(structure_set({1: contours_of(solid, ON, heights)}), ON, {})
        assert dice(label_map.mask(1), solid.voxels(ON)) > 0.99

    def test_a_gap_stays_a_gap(self) -> None:
        slices = [3, 4, 5, 6, 10, 11, 12, 13]
        contours = contours_of(cylinder(20, 20, (0, 99), 8), ON, heights=[2.0 * k for k in slices])
        assert np.flatnonzero(one(*contours).mask(1).any(axis=(0, 1))).tolist() == slices

    def test_two_islands_far_apart_are_not_joined(self) -> None:
        found = one(contour(square(k=3)), contour(square(k=15)))
        assert np.flatnonzero(found.mask(1).any(axis=(0, 1))).tolist() == [3, 15]

    def test_a_small_structure_takes_its_contour_spacing_from_the_others(self) -> None:
        on = grid((48, 44, 30), (1, 1, 1))
        large, small = cylinder(12, 20, (0, 99), 8), cylinder(36, 20, (0, 99), 5)
        ds = structure_set(
            {1: contours_of(large, on, heights=np.arange(4, 20, 3)), 2: contours_of(small, on, heights=[7, 10])}
        )
        assert np.flatnonzero(rtstruct.decode(ds, on, {}).mask(2).any(axis=(0, 1))).tolist() == list(range(6, 12))

    def test_a_declared_slab_is_filled(self) -> None:
        found = one(contour(square(k=9), ContourSlabThickness=6.0))
        assert np.flatnonzero(found.mask(1).any(axis=(0, 1))).tolist() == [8, 9, 10]

    def test_a_declared_offset_moves_the_slab(self) -> None:
        found = one(contour(square(k=9), ContourOffsetVector=[0.0, 0.0, 4.0]))
        assert np.flatnonzero(found.mask(1).any(axis=(0, 1))).tolist() == [11]

    def test_rounded_positions_stay_in_their_slice(self) -> None:
        rng = np.random.default_rng(2)
        solid = cylinder(20, 20, (0, 99), 8)
        heights = 2.0 * np.arange(4, 14) + rng.uniform(-0.04, 0.04, 10)
        found = rtstruct.decode(structure_set({1: contours_of(solid, ON, heights)}), ON, {})
        assert np.flatnonzero(found.mask(1).any(axis=(0, 1))).tolist() == list(range(4, 14))
        assert found.flags[1] == ("no_image_reference",) or "contour_spacing_differs" in found.flags[1]


class TestReferences:
    """Where a structure was drawn, against where it lies."""

    def drawn(self, slices: dict[int, str], **attributes: object) -> Dataset:
        contours = [contour(square(k), image=image) for k, image in slices.items()]
        return structure_set({1: contours}, **attributes)

    def test_a_structure_of_this_image(self) -> None:
        label_map = rtstruct.decode(self.drawn({4: UIDS[4], 5: UIDS[5]}), ON, IMAGES, frame_of_reference="1.2.3")
        assert label_map.flags == {}

    def test_a_structure_of_another_image(self) -> None:
        stranger = self.drawn({4: phantoms.uid("stranger")})
        assert reason_of(stranger, IMAGES) == Reason.UNRESOLVED_REFERENCE
        assert reason_of(stranger, IMAGES, "1.2.3") == Reason.UNRESOLVED_REFERENCE

    def test_a_copy_of_the_image_with_new_uids_is_known_by_its_frame(self) -> None:
        copied = self.drawn({4: phantoms.uid("copied", 4), 5: phantoms.uid("copied", 5)})
        label_map = rtstruct.decode(copied, ON, IMAGES, frame_of_reference=FRAME)
        assert label_map.flags[1] == ("unresolved_references=2",)

    def test_structures_of_two_images_in_one_set(self) -> None:
        ds = structure_set(
            {1: [contour(square(4), image=UIDS[4])], 2: [contour(square(4, x=5), image=phantoms.uid("other"))]}
        )
        label_map = rtstruct.decode(ds, ON, IMAGES, frame_of_reference=FRAME)
        assert [label.number for label in label_map.labels] == [1]
        assert label_map.skipped == ((2, "unresolved_reference"),)

    def test_without_references_the_frame_decides(self) -> None:
        ds = structure_set({1: [contour(square(4))]})
        assert reason_of(ds, IMAGES, "1.2.3") == Reason.OTHER_FRAME_OF_REFERENCE
        assert rtstruct.decode(ds, ON, IMAGES, frame_of_reference=FRAME).mask(1).sum() == 100

    def test_a_reference_to_another_slice_is_told_and_the_coordinates_count(self) -> None:
        label_map = rtstruct.decode(self.drawn({4: UIDS[4], 5: UIDS[9]}), ON, IMAGES)
        assert label_map.flags[1] == ("reference_disagrees=1",)
        assert np.flatnonzero(label_map.mask(1).any(axis=(0, 1))).tolist() == [4, 5]

    def test_an_image_without_a_place(self) -> None:
        nowhere = ON.model_copy(update={"in_patient": False})
        with pytest.raises(Rejection) as refusal:
            rtstruct.decode(structure_set({1: [contour(square())]}), nowhere, {})
        assert refusal.value.reason == Reason.MISSING_GEOMETRY


class TestBadStructures:
    """One bad structure is skipped with its reason, and the others stay."""

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            ([contour(square()[:1], "POINT")], Reason.OPEN_CONTOURS),
            ([contour(square(), "OPEN_PLANAR")], Reason.OPEN_CONTOURS),
            ([contour(square(), "OPEN_NONPLANAR")], Reason.OPEN_CONTOURS),
            ([contour(square(), "ROUND")], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), ContourGeometricType=None)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), ContourData=["nan"] * 12)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), ContourData=["1e9"] * 12)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), ContourData=["1.0"] * 11)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), ContourData=[])], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square(), NumberOfContourPoints=5)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square()), contour(square(10), NumberOfContourPoints=9)], Reason.CONTOUR_DATA_BROKEN),
            ([contour(square()[:2])], Reason.CONTOURS_WITHOUT_AREA),
            ([contour(line(7))], Reason.CONTOURS_WITHOUT_AREA),
            ([contour(np.repeat(square()[:1], 5, axis=0))], Reason.CONTOURS_WITHOUT_AREA),
            ([contour(square(x=200))], Reason.CONTOURS_OUTSIDE_IMAGE),
            ([contour(square(k=40))], Reason.CONTOURS_OUTSIDE_IMAGE),
            ([contour(square() + np.outer([0, 0, 1, 1], [0, 0, 3]))], Reason.CONTOURS_NOT_IN_IMAGE_PLANE),
            ([contour(square(side=0.4))], Reason.STRUCTURE_SMALLER_THAN_VOXEL),
        ],
    )
    def test_a_bad_structure_beside_a_good_one_and_alone(self, bad: list[Dataset], reason: Reason) -> None:
        label_map = rtstruct.decode(structure_set({1: contours_of(BALL, ON), 2: bad}), ON, {})
        assert label_map.skipped == ((2, reason.value),)
        np.testing.assert_array_equal(label_map.mask(1), BALL.voxels(ON))
        assert [label.number for label in label_map.labels] == [1]
        assert reason_of(structure_set({2: bad})) == reason

    def test_numbers_that_are_there_twice(self) -> None:
        ds = structure_set({1: [contour(square())], 2: [contour(square(4))]})
        ds.StructureSetROISequence[1].ROINumber = 1
        assert reason_of(ds) == Reason.NO_USABLE_STRUCTURE
        ds = structure_set({1: [contour(square())], 2: [contour(square(4))], 3: [contour(square(4))]})
        ds.ROIContourSequence[2].ReferencedROINumber = 2
        label_map = rtstruct.decode(ds, ON, {})
        assert label_map.skipped == ((2, Reason.DUPLICATE_STRUCTURE_NUMBER.value),)
        assert label_map.flags[3] == ("declared_empty",)

    def test_contours_of_a_structure_that_is_not_declared(self) -> None:
        ds = structure_set({1: [contour(square())], 2: [contour(square(4))]})
        del ds.StructureSetROISequence[1]
        label_map = rtstruct.decode(ds, ON, {})
        assert label_map.skipped == ((2, Reason.UNDECLARED_STRUCTURE.value),)

    def test_a_structure_without_contours_is_declared_empty(self) -> None:
        label_map = rtstruct.decode(structure_set({1: [contour(square())], 2: [], 3: None}), ON, {})
        assert [label.number for label in label_map.labels] == [1, 2, 3]
        assert label_map.flags[2] == label_map.flags[3] == ("declared_empty",)
        assert not label_map.mask(2).any()
        assert reason_of(structure_set({2: [], 3: None})) == Reason.EMPTY_STRUCTURE_SET

    def test_no_structure_at_all(self) -> None:
        ds = structure_set({})
        assert reason_of(ds) == Reason.MISSING_ATTRIBUTE

    def test_nothing_to_draw_for_several_reasons(self) -> None:
        with pytest.raises(Rejection) as refusal:
            rtstruct.decode(
                structure_set({1: [contour(square(), "POINT")], 2: [contour(line(2))], 3: [contour(line(2))]}), ON, {}
            )
        assert refusal.value.reason == Reason.NO_USABLE_STRUCTURE
        assert refusal.value.detail == "2 contours_without_area, 1 open_contours"

    def test_more_structures_than_a_voxel_has_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oncurate.annotations.structures.LARGEST_LABEL", 2)
        assert reason_of(structure_set({n: [contour(square())] for n in range(1, 4)})) == Reason.TOO_MANY_LABELS


class TestFlags:
    """What a reader should know of a structure that was drawn."""

    def test_contours_without_area_are_left_out_and_counted(self) -> None:
        found = one(contour(square()), contour(square(10)[:2]), contour(line(5)))
        assert "contours_without_area=2" in found.flags[1]
        assert found.mask(1).sum() == 100

    def test_a_contour_that_is_there_twice_is_no_hole(self) -> None:
        found = one(contour(square()), contour(square()))
        assert "repeated_contours=1" in found.flags[1]
        assert found.mask(1).sum() == 100

    def test_contours_that_are_there_twice_by_xor_cancel(self) -> None:
        kind = "CLOSEDPLANAR_XOR"
        found = one(contour(square(), kind), contour(square(), kind), contour(square(12), kind))
        assert np.flatnonzero(found.mask(1).any(axis=(0, 1))).tolist() == [12]

    def test_a_contour_that_crosses_itself(self) -> None:
        found = one(contour(square()[[0, 2, 1, 3]]))
        assert "self_crossing" in found.flags[1]
        assert 40 <= found.mask(1).sum() <= 60

    def test_contours_that_overlap_in_part(self) -> None:
        found = one(contour(square()), contour(square(x=25.3)))
        assert "overlapping_contours" in found.flags[1]
        assert found.mask(1).sum() == 150

    def test_contours_beyond_the_image(self) -> None:
        found = one(contour(square(9, x=-5.3)), contour(square(10)), contour(square(11, x=90)), contour(square(25)))
        assert {"contours_outside=2", "contours_clipped=1"} <= set(found.flags[1])
        assert found.mask(1)[:, :, 9].sum() == 5 * 10

    def test_more_points_than_declared_are_drawn(self) -> None:
        assert one(contour(square(), NumberOfContourPoints=3)).mask(1).sum() == 100


def test_contours_from_centre_to_centre_give_back_the_voxels_they_were_traced_from() -> None:
    corners = np.array([[20, 20], [29, 20], [29, 29], [20, 29]], float)
    assert one(contour(placed(ON, 18.0, corners))).mask(1).sum() == 100
    turned = GRIDS["oblique"]
    ds = structure_set({1: [contour(placed(turned, 18.0, corners))]})
    assert rtstruct.decode(ds, turned, {}).mask(1).sum() == 100


@pytest.mark.filterwarnings("ignore:The value for the data element:UserWarning")
def test_a_file_with_a_contour_of_seventy_thousand_points_is_drawn_in_no_time() -> None:
    on = grid((512, 512, 3), (0.7, 0.7, 3))
    ds = structure_set({1: [contour(placed(on, 3.0, circle(180.02, 179.3, 120.4, 70_000)))]})
    again = dcmread(io.BytesIO(written(ds)))  # too long for its VR: it is written as UN
    started = time.process_time()
    found = rtstruct.decode(again, on, {})
    assert time.process_time() - started < 3.0  # 0.2 s; point by point for every voxel it would be minutes
    assert found.mask(1).sum() * 0.49 == pytest.approx(np.pi * 120.4**2, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS:UserWarning")
def test_no_message_holds_a_value_of_the_header() -> None:
    ds = structure_set({1: [contour(square(), "Doe^Test")]})
    ds.StructureSetROISequence[0].ROIName = "Doe^Test"
    with pytest.raises(Rejection) as refusal:
        rtstruct.decode(ds, ON, {})
    assert "Doe" not in str(refusal.value) + refusal.value.detail
