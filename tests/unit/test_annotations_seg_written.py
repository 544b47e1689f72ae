"""Segmentations that another library wrote come back as they were given to it."""

from __future__ import annotations

import numpy as np
import pytest

from oncurate.annotations import seg
from oncurate.annotations.model import FractionalMap, LabelMap
from tests import annotated, phantoms

hd = pytest.importorskip("highdicom")

SHAPE = (7, 9, 12)  # slices, rows, columns: frames of 108 bits, which end within a byte


@pytest.fixture(scope="module", params=[phantoms.AXIAL, phantoms.turned(10, -5, 25)], ids=["axial", "oblique"])
def image(request, tmp_path_factory):
    """The files of a CT, in an order that is not that of its slices, and its grid."""
    folder = tmp_path_factory.mktemp("ct")
    slices, rows, columns = SHAPE
    paths = phantoms.ct_series(folder, slices=slices, rows=rows, columns=columns, orientation=request.param)
    files = [phantoms.read(path) for path in paths]
    for ds in files:
        ds.StudyID = "1"
    grid = annotated.grid((columns, rows, slices), (0.8, 0.8, 2.0), request.param, (-100.0, -80.0, 50.0))
    return files[::-1], grid


def masks() -> np.ndarray:
    """(slices, rows, columns, 3): two structures that overlap, and one apart; some slices are empty."""
    found = np.zeros((*SHAPE, 3), np.uint8)
    found[1:4, 2:6, 1:7, 0] = 1
    found[2:5, 4:8, 5:9, 1] = 1
    found[5, 0, 0, 2] = 1
    return found


def written(files, pixels: np.ndarray, kind: str, numbers: int, **options) -> bytes:
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"structure {number}",
            segmented_property_category=hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=hd.sr.CodedConcept("10200004", "SCT", "Liver"),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            display_color=hd.color.CIELabColor.from_rgb(20 * number, 200, 90),
        )
        for number in range(1, numbers + 1)
    ]
    ds = hd.seg.Segmentation(
        source_images=files,
        pixel_array=pixels[::-1],
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=phantoms.uid("written", kind),
        series_number=9,
        sop_instance_uid=phantoms.uid("written", kind, 1),
        instance_number=1,
        manufacturer="made",
        manufacturer_model_name="made",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    return annotated.as_bytes(ds)


def about(image) -> dict:
    files, _ = image
    return {
        "frame_of_reference": files[0].FrameOfReferenceUID,
        "slices": {ds.SOPInstanceUID: len(files) - 1 - index for index, ds in enumerate(files)},
    }


@pytest.mark.parametrize("omit", [True, False])
def test_binary_and_overlapping(image, omit):
    files, grid = image
    given = masks()
    found = seg.decode(written(files, given, "BINARY", 3, omit_empty_frames=omit), grid, **about(image))
    assert isinstance(found, LabelMap)
    assert found.layer_of == {1: 0, 2: 1, 3: 0}
    for number in (1, 2, 3):
        assert np.array_equal(found.mask(number), given[..., number - 1].T != 0)
        assert found.labels[number - 1].colour == (20 * number, 200, 90)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_label_map(image, syntax):
    files, grid = image
    given = np.where(masks()[..., 0] > 0, 1, masks()[..., 2] * 2).astype(np.uint8)
    data = written(files, given, "LABELMAP", 2, transfer_syntax_uid=syntax, omit_empty_frames=False)
    found = seg.decode(data, grid, **about(image))
    assert isinstance(found, LabelMap)
    assert [label.number for label in found.labels] == [1, 2]
    assert np.array_equal(found.layers[0], given.T)


def test_fractional(image):
    files, grid = image
    given = np.zeros((*SHAPE, 1), np.float32)
    given[3, 2:5, 3:6, 0] = np.linspace(0, 1, 9).reshape(3, 3)
    data = written(
        files, given, "FRACTIONAL", 1, fractional_type="PROBABILITY", max_fractional_value=250, omit_empty_frames=False
    )
    found = seg.decode(data, grid, **about(image))
    assert isinstance(found, FractionalMap)
    np.testing.assert_allclose(found.arrays[0], given[..., 0].T, atol=0.5 / 250 + 1e-6)
    assert found.label_map.mask(1).sum() == 5
