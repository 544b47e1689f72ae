"""Segmentations land on the grid of their image, whole and nowhere else, or are refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian

from oncurate import geometry
from oncurate.annotations import seg
from oncurate.annotations.model import Code, FractionalMap, LabelMap, LayerStack
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import annotated, encoding, phantoms

GRID = annotated.grid()
COLUMNS, ROWS, SLICES = GRID.shape


def blob(left: int, top: int, width: int = 3, height: int = 2) -> np.ndarray:
    """A frame (rows, columns) with a rectangle."""
    frame = np.zeros((ROWS, COLUMNS), np.uint8)
    frame[top : top + height, left : left + width] = 1
    return frame


def expected(frames: dict[int, np.ndarray]) -> np.ndarray:
    """The mask `[i, j, k]` of frames by slice."""
    mask = np.zeros(GRID.shape, bool)
    for k, frame in frames.items():
        mask[:, :, k] = frame.T != 0
    return mask


def decoded(ds: Dataset, grid=GRID, **options) -> LabelMap:
    found = seg.decode(annotated.as_bytes(ds), grid, **options)
    assert isinstance(found, LabelMap)
    return found


def refused(ds: Dataset, grid=GRID, **options) -> Rejection:
    with pytest.raises(Rejection) as caught:
        seg.decode(annotated.as_bytes(ds), grid, **options)
    return caught.value


def test_left_out_slices_are_empty_and_the_grid_is_the_image_s():
    ds = annotated.segmentation([(7, 4, blob(2, 3)), (7, 1, blob(5, 0))], GRID)
    found = decoded(ds)
    assert found.layers[0].shape == GRID.shape
    assert found.layers[0].dtype == np.uint16
    assert np.array_equal(found.mask(7), expected({4: blob(2, 3), 1: blob(5, 0)}))
    assert [label.number for label in found.labels] == [7]


def test_overlapping_labels_take_as_few_layers_as_they_need():
    shown = [(1, 2, blob(0, 0, 4, 4)), (5, 2, blob(2, 2, 4, 4)), (900, 2, blob(7, 0)), (30000, 3, blob(0, 0, 4, 4))]
    found = decoded(annotated.segmentation(shown, GRID))
    assert len(found.layers) == 2
    assert found.layer_of == {1: 0, 5: 1, 900: 0, 30000: 0}
    for number, k, frame in shown:
        assert np.array_equal(found.mask(number), expected({k: frame}))


@pytest.mark.parametrize("orientation", [phantoms.AXIAL, phantoms.turned(12, -7, 30), (0, 1, 0, 0, 0, -1)])
def test_oblique_images(orientation):
    grid = annotated.grid(orientation=orientation)
    found = decoded(annotated.segmentation([(1, 5, blob(1, 2))], grid), grid)
    assert np.array_equal(found.mask(1), expected({5: blob(1, 2)}))


def test_frames_in_other_directions_than_the_image_are_turned_not_resampled():
    mask = np.zeros(GRID.shape, bool)
    mask[3:6, 2:7, 1:4] = True
    mask[4, 2, 1] = False
    # sagittal frames of the same voxels: columns run along -normal, rows along +column, one frame per column index
    sagittal = GRID.model_copy(
        update={
            "row": tuple(-x for x in GRID.normal),
            "column": GRID.column,
            "normal": GRID.row,
            "spacing": (GRID.spacing[2], GRID.spacing[1], GRID.spacing[0]),
            "shape": (SLICES, ROWS, COLUMNS),
            "origin": tuple(annotated.position(GRID, 0, 0, SLICES - 1)),
        }
    )
    shown = [(1, i, mask[i, :, ::-1].astype(np.uint8)) for i in range(COLUMNS)]
    found = decoded(annotated.segmentation(shown, sagittal))
    assert np.array_equal(found.mask(1), mask)
    assert not found.resampled


def test_a_smaller_matrix_is_padded_to_the_image():
    small = np.ones((2, 3), np.uint8)
    found = decoded(annotated.segmentation([(1, 0, small)], GRID, corner=(4, 5, 2)))
    assert np.array_equal(np.argwhere(found.mask(1)).min(axis=0), [4, 5, 2])
    assert found.mask(1).sum() == 6


def test_a_larger_matrix_is_taken_as_long_as_nothing_drawn_sticks_out():
    large = np.zeros((ROWS + 4, COLUMNS + 4), np.uint8)
    large[3, 2] = 1
    found = decoded(annotated.segmentation([(1, 0, large), (1, 1, large * 0)], GRID, corner=(-2, -2, 5)))
    assert np.argwhere(found.mask(1)).tolist() == [[0, 1, 5]]
    large[0, 0] = 1
    refusal = refused(annotated.segmentation([(1, 0, large)], GRID, corner=(-2, -2, 5)))
    assert refusal.reason is Reason.ANNOTATION_OUTSIDE_IMAGE
    assert refusal.detail == "1 of 1 drawn frames"


def test_rounded_positions_are_the_image_s():
    ds = annotated.segmentation([(1, 3, blob(2, 2))], GRID, corner=(0.03, 0, 0.015))
    assert np.array_equal(decoded(ds).mask(1), expected({3: blob(2, 2)}))


def test_another_spacing_is_resampled_with_its_volume_and_marked():
    grid = annotated.grid((40, 40, 20), (1.0, 1.0, 3.0))
    fine = annotated.grid((60, 60, 30), (0.5, 0.5, 1.5), origin=annotated.position(grid, 5, 5, 5))
    z, y, x = np.mgrid[:30, :60, :60]
    ball = ((x - 30) * 0.5) ** 2 + ((y - 30) * 0.5) ** 2 + ((z - 15) * 1.5) ** 2 < 12**2
    shown = [(1, k, ball[k].astype(np.uint8)) for k in range(30) if ball[k].any()]
    found = decoded(annotated.segmentation(shown, fine), grid)
    assert found.resampled
    assert found.layers[0].shape == grid.shape
    assert found.mask(1).sum() * 3.0 == pytest.approx(ball.sum() * 0.375, rel=0.01)
    middle = annotated.position(fine, 30, 30, 15)
    centre = np.argwhere(found.mask(1)).mean(axis=0)
    assert np.abs(np.array(annotated.position(grid, *centre)) - middle).max() < 0.25


def test_a_turned_grid_is_refused_with_how_far_it_is_off():
    turned = annotated.grid(orientation=phantoms.turned(0, 0, 10))
    refusal = refused(annotated.segmentation([(1, 2, blob(3, 3))], turned))
    assert refusal.reason is Reason.ANNOTATION_OFF_GRID
    assert float(refusal.detail.split()[0]) > 0.1


def test_a_resampled_label_beyond_the_image_is_refused():
    half = annotated.grid((40, 40, 12), (0.8, 0.9, 1.25))
    frame = np.ones((40, 40), np.uint8)
    shown = [(1, k, frame) for k in range(12)]
    assert refused(annotated.segmentation(shown, half)).reason is Reason.ANNOTATION_OUTSIDE_IMAGE


def test_fractions_stay_and_count_from_a_half():
    levels = np.zeros((ROWS, COLUMNS), np.uint8)
    levels[2, 3:7] = [200, 100, 99, 1]
    found = seg.decode(annotated.as_bytes(annotated.segmentation([(1, 2, levels)], GRID, kind="FRACTIONAL")), GRID)
    assert isinstance(found, FractionalMap)
    assert (found.kind, found.threshold) == ("PROBABILITY", 0.5)
    assert found.arrays[0].dtype == np.float32
    np.testing.assert_allclose(found.arrays[0][3:7, 2, 2], [1, 0.5, 0.495, 0.005], rtol=1e-6)
    assert np.argwhere(found.label_map.mask(1)).tolist() == [[3, 2, 2], [4, 2, 2]]


def test_fractions_above_their_maximum_are_refused():
    levels = np.full((ROWS, COLUMNS), 201, np.uint8)
    ds = annotated.segmentation([(1, 2, levels)], GRID, kind="FRACTIONAL")
    assert refused(ds).reason is Reason.PIXEL_DATA_MISMATCH


def label_map(**attributes) -> Dataset:
    frame = blob(1, 1).astype(np.uint16) * 3 + blob(6, 4).astype(np.uint16) * 300
    frame[7, 9] = 9
    background = annotated.segment(9, kind=("125040", "DCM", "Background"))
    segments = [background, annotated.segment(3), annotated.segment(300)]
    return annotated.segmentation([(0, 2, frame)], GRID, kind="LABELMAP", segments=segments, **attributes)


def test_a_label_map_s_background_is_no_label():
    found = decoded(label_map(sop_class=annotated.LABEL_MAP))
    assert [label.number for label in found.labels] == [3, 300]
    assert len(found.layers) == 1
    assert np.array_equal(found.mask(3), expected({2: blob(1, 1)}))
    assert np.array_equal(found.mask(300), expected({2: blob(6, 4)}))


def test_a_padding_value_is_no_label_unless_it_is_declared():
    ds = label_map()
    ds.SegmentSequence = Items(ds.SegmentSequence[1:])
    assert refused(ds).reason is Reason.UNDECLARED_STRUCTURE
    ds.PixelPaddingValue = 9
    assert len(decoded(ds).labels) == 2
    ds.PixelPaddingValue = 300
    assert refused(ds).reason is Reason.IMPLAUSIBLE_HEADER


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([annotated.segment(0), annotated.segment(1)], Reason.LABEL_ZERO),
        ([annotated.segment(1), annotated.segment(1)], Reason.DUPLICATE_STRUCTURE_NUMBER),
        ([annotated.segment(2), annotated.segment(3)], Reason.UNDECLARED_STRUCTURE),
        ([], Reason.MISSING_ATTRIBUTE),
    ],
)
def test_declarations_that_cannot_be(segments, reason):
    assert refused(annotated.segmentation([(1, 2, blob(1, 1))], GRID, segments=segments)).reason is reason


def test_70000_segments_are_too_many():
    item = annotated.segment(1)
    ds = annotated.segmentation([(1, 2, blob(1, 1))], GRID, segments=[item])
    ds.SegmentSequence = Items([item] * 70_000)
    with pytest.raises(Rejection) as caught:
        seg.segments.labels_of(ds)
    assert caught.value.reason is Reason.TOO_MANY_LABELS
    assert caught.value.detail == "70000 segments"


def test_a_declared_label_without_voxels_stays_and_is_flagged():
    segments = [annotated.segment(1), annotated.segment(2)]
    found = decoded(annotated.segmentation([(1, 2, blob(1, 1)), (2, 3, blob(0, 0) * 0)], GRID, segments=segments))
    assert [label.number for label in found.labels] == [1, 2]
    assert found.flags == {2: (seg.EMPTY,)}
    assert not found.mask(2).any()


def test_a_segmentation_without_any_voxel_is_refused():
    refusal = refused(annotated.segmentation([(1, 2, blob(1, 1) * 0)], GRID))
    assert refusal.reason is Reason.EMPTY_ANNOTATION


def test_tiles_of_a_slide_are_refused():
    ds = annotated.segmentation([(1, 2, blob(1, 1))], GRID, DimensionOrganizationType="TILED_FULL")
    assert refused(ds).reason is Reason.TILED_IMAGE


def test_another_frame_of_reference_is_refused_and_a_false_one_told_apart():
    image = phantoms.uid("image 2")
    ds = annotated.segmentation([(1, 2, blob(1, 1))], GRID, sources=[image])
    assert decoded(ds, frame_of_reference=annotated.FRAME_OF_REFERENCE, slices={image: 2}).mask(1).any()
    assert refused(ds, frame_of_reference="1.2.3").reason is Reason.OTHER_FRAME_OF_REFERENCE
    lying = refused(ds, frame_of_reference="1.2.3", slices={image: 2})
    assert lying.reason is Reason.FALSE_FRAME_OF_REFERENCE


def test_frames_that_lie_elsewhere_than_their_images_are_refused():
    images = {phantoms.uid("image", k): k for k in range(SLICES)}
    names = list(images)
    ds = annotated.segmentation([(1, 2, blob(1, 1)), (1, 3, blob(1, 1))], GRID, sources=[names[2], names[5]])
    refusal = refused(ds, slices=images)
    assert refusal.reason is Reason.MISPLACED_ANNOTATION
    assert refusal.detail == "1 of 2 frames"


def test_frames_without_positions_are_placed_by_the_images_they_name():
    names = [phantoms.uid("image", k) for k in range(SLICES)]
    ds = annotated.segmentation([(1, 2, blob(1, 1))], GRID, sources=[names[4]])
    del ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    assert refused(ds).reason is Reason.MISSING_GEOMETRY
    found = decoded(ds, slices={name: k for k, name in enumerate(names)})
    assert np.array_equal(found.mask(1), expected({4: blob(1, 1)}))


def test_an_image_without_a_place_is_drawn_on_pixel_by_pixel():
    mammogram = geometry.planar(None, None, (0.9, 0.8), (ROWS, COLUMNS), thickness=1.0, spacing_source="PixelSpacing")
    found = decoded(annotated.segmentation([(1, 3, blob(2, 1))], GRID), mammogram)
    assert np.array_equal(found.mask(1)[:, :, 0], blob(2, 1).T != 0)
    other = geometry.planar(None, None, (0.9, 0.8), (ROWS, 99), thickness=1.0, spacing_source="PixelSpacing")
    assert refused(annotated.segmentation([(1, 3, blob(2, 1))], GRID), other).reason is Reason.ANNOTATION_OFF_GRID


def test_a_count_of_frames_that_lies_is_refused_before_anything_is_made_of_it():
    frame = encoding.deflate(blob(1, 1), 8)
    ds = annotated.segmentation([(0, 2, blob(1, 1))], GRID, kind="LABELMAP", segments=[annotated.segment(1)])
    del ds.PerFrameFunctionalGroupsSequence
    data = encoding.wrapped(ds, encoding.DEFLATED_FRAMES, encapsulate([frame]), 2**31 - 1)
    with pytest.raises(Rejection) as caught:
        seg.decode(data, GRID)
    assert caught.value.reason is Reason.IMPLAUSIBLE_HEADER


def test_the_only_segment_needs_not_be_named_by_frames():
    ds = annotated.segmentation([(1, 2, blob(1, 1))], GRID)
    del ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence
    assert decoded(ds).flags == {1: (seg.NOT_STATED,)}
    ds.SegmentSequence.append(annotated.segment(2))
    assert refused(ds).reason is Reason.MISSING_ATTRIBUTE


@pytest.mark.parametrize("size", [(8, 10), (7, 9), (3, 5)])
def test_bits_of_frames_that_end_within_a_byte(size):
    rows, columns = size
    rng = np.random.default_rng(rows)
    grid = annotated.grid((columns, rows, 4))
    frames = rng.integers(0, 2, (4, rows, columns)).astype(np.uint8)
    found = decoded(annotated.segmentation([(1, k, frames[k]) for k in range(4)], grid), grid)
    assert np.array_equal(found.mask(1), frames.transpose(2, 1, 0) != 0)


def test_bits_in_words_of_big_endian():
    frames = np.random.default_rng(5).integers(0, 2, (3, 7, 9)).astype(np.uint8)
    grid = annotated.grid((9, 7, 3))
    ds = annotated.segmentation([(1, k, frames[k]) for k in range(3)], grid)
    ds.add_new("PixelData", "OW", np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes())
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert np.array_equal(decoded(ds, grid).mask(1), frames.transpose(2, 1, 0) != 0)


def test_two_frames_of_one_label_on_one_slice_are_one():
    first, second = blob(1, 1), blob(2, 2)
    second[2, 2] = 0  # where the first is 1
    found = decoded(annotated.segmentation([(1, 2, first), (1, 2, second)], GRID))
    assert np.array_equal(found.mask(1), expected({2: first | second}))


@pytest.mark.parametrize("name", ["RLE by pydicom", "JPEG-LS", "JPEG 2000", "deflated frames"])
def test_compressed_label_maps(name):
    codec = next(e for e in encoding.encodings() if e.name == name and e.bits == 16)
    grid = annotated.grid((64, 48, 6))
    frames = np.zeros((3, 48, 64), np.uint16)
    for k in range(3):
        frames[k, 10 + k : 30, 5:40] = 7
    shown = [(0, k, frame) for k, frame in enumerate(frames)]
    ds = annotated.segmentation(shown, grid, kind="LABELMAP", segments=[annotated.segment(7)])
    data = encoding.wrapped(ds, codec.syntax, encapsulate([codec.encode(frame, 16) for frame in frames]), 3)
    found = seg.decode(data, grid)
    assert isinstance(found, LabelMap)
    assert np.array_equal(found.mask(7)[:, :, :3], frames.transpose(2, 1, 0) != 0)


def test_what_is_known_of_a_label():
    region = annotated.code("818981001", "SCT", "Abdomen")
    item = annotated.segment(
        4,
        "target",
        ("T-62000", "SRT", "Liver"),
        AnatomicRegionSequence=Items([region]),
        RecommendedDisplayCIELabValue=[41661, 41167, 40792],
        SegmentAlgorithmType="SEMIAUTOMATIC",
        SegmentAlgorithmName="made",
    )
    modifier = annotated.code("24028007", "SCT", "Right")
    item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = Items([modifier])
    ds = annotated.segmentation([(4, 2, blob(1, 1))], GRID, segments=[item], ContentCreatorName="Doe^Test")
    (label,) = decoded(ds).labels
    assert (label.number, label.source_number, label.name) == (4, 4, "target")
    assert label.category == Code("123037004", "SCT", "Anatomical Structure")
    assert label.type == Code("T-62000", "SRT", "Liver")
    assert label.type_modifiers == (Code("24028007", "SCT", "Right"),)
    assert label.region == (Code("818981001", "SCT", "Abdomen"),)
    assert label.colour == (221, 130, 101)
    assert (label.algorithm_type, label.algorithm_name) == ("SEMIAUTOMATIC", "made")
    assert label.annotator == {"ContentCreatorName": "Doe^Test"}


@pytest.mark.parametrize(("data", "reason"), [(b"", Reason.EMPTY_FILE), (b"not dicom at all" * 20, Reason.NOT_DICOM)])
def test_no_dicom(data, reason):
    with pytest.raises(Rejection) as caught:
        seg.decode(data, GRID)
    assert caught.value.reason is reason


def test_cut_pixels_are_refused():
    ds = annotated.segmentation([(1, 2, blob(1, 1)), (1, 3, blob(1, 1))], GRID)
    ds.PixelData = ds.PixelData[:8]
    assert refused(ds).reason is Reason.TRUNCATED_PIXEL_DATA


def test_no_refusal_repeats_a_header_value():
    ds = annotated.segmentation(
        [(1, 2, blob(1, 1))], GRID, SegmentationType="Doe^Test", sop_class=annotated.SEGMENTATION
    )
    refusal = refused(ds)
    assert refusal.reason is Reason.IMPLAUSIBLE_HEADER
    assert "Doe" not in refusal.detail.title()


def test_layers_are_filled_greedily():
    stack = LayerStack((4, 1, 1))
    for number, voxels in ((1, [1, 1, 0, 0]), (2, [0, 1, 1, 0]), (3, [0, 0, 1, 1]), (4, [0, 1, 0, 0])):
        stack.add(number, np.array(voxels, bool).reshape(4, 1, 1))
    assert stack.layer_of == {1: 0, 2: 1, 3: 0, 4: 2}
