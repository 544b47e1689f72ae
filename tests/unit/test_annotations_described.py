"""What a release says of annotations, and how label files wait between two stages."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oncurate import tables
from oncurate.annotations import delivered, described, measured, sr
from oncurate.annotations.decoding import as_image
from oncurate.annotations.delivered import AnnotationsPolicy
from oncurate.annotations.labelfiles import Delivered
from oncurate.annotations.model import Code, Label
from oncurate.labels import resample_labels
from tests import annotated
from tests.unit.test_annotations_sr import ML, VOLUME, group, number, report

LIVER = Code("10200004", "SCT", "Liver")
GRID = annotated.grid((10, 8, 6), (1.0, 1.0, 2.0))


def test_shape_facts_count_voxels_components_and_borders() -> None:
    voxels = np.zeros(GRID.shape, np.uint16)
    voxels[1:3, 2:4, 1:3] = 5
    voxels[9, 7, 5] = 5
    image = as_image(voxels, GRID)
    facts = described.shape_facts(image, 5)
    assert (facts["voxels"], facts["volume_ml"], facts["components"]) == (9, pytest.approx(9 * 2 / 1000), 2)
    assert facts["touches_border"]
    assert facts["bounding_box"] == [1, 0, 1, 9, 5, 5]  # rows are stored from the last
    assert described.shape_facts(image, 6) == {
        "voxels": 0,
        "volume_ml": 0.0,
        "components": 0,
        "bounding_box": None,
        "touches_border": False,
    }


def test_a_row_has_only_columns_of_the_table_and_labels_json_the_codes() -> None:
    voxels = np.zeros(GRID.shape, np.uint16)
    voxels[1:9, 1:7, 1:5] = 1
    layer = as_image(voxels, GRID)
    _, [resampled] = resample_labels(layer, layer)
    label = Label(number=1, name="Liver", type=LIVER, colour=(1, 2, 3), algorithm_type="MANUAL")
    row = described.label_row(label, described.shape_facts(layer, 1), resampled, ("x",))
    head = {"annotation_id": "a", "volume_id": "v"}
    tables.to_arrow("annotations", [{**head, **row}])
    assert (row["snomed_code"], row["volume_change"], row["volume_kept"]) == ("10200004", 0.0, True)
    assert row["harmonised_voxels"] == row["native_voxels"] == 8 * 6 * 4
    written = json.loads(described.labels_json(head, [label], [{**head, **row}]))
    assert written["labels"][0]["type"] == {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}
    assert written["labels"][0]["colour"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (Label(number=2, name="GTV1"), "GTV1"),
        (Label(number=2, name="REMOVED", type=LIVER), "Liver"),
        (Label(number=2, name="", type=Code("1", "99X", "Local code")), "label 2"),
        (Label(number=2, name="REMOVED"), "label 2"),
    ],
)
def test_a_name_that_was_removed_is_that_of_the_code_or_of_the_number(label: Label, name: str) -> None:
    assert described.name_of(label) == name


def test_measurements_are_rows() -> None:
    found = sr.measurements(report(group(number(VOLUME, "33.5", ML))))
    head = dict.fromkeys(("annotation_id", "volume_id", "subject_id", "study_id"), "x")
    [row] = measured.rows(head, found)
    tables.to_arrow("measurements", [row])
    assert (row["name_code"], row["value"], row["unit"]) == ("SCT:118565006", 33.5, "ml")
    assert (row["finding"], row["site"], row["laterality"]) == ("Mass", "Liver", "Right")
    assert (row["segment_uids"], row["segment_numbers"]) == (["2.25.1"], [3])


def test_a_label_file_waits_without_its_header_and_without_names_of_people() -> None:
    layers = (np.arange(24, dtype=np.uint16).reshape(2, 3, 4), np.ones((2, 3, 4), np.uint16))
    names = {(0, 1): Label(1, "Liver Doe", type=LIVER, colour=(9, 8, 7)), (1, 1): Label(1, "Janssen")}
    kept = delivered.unpacked(delivered.packed(Delivered(layers, np.diag([1, 2, 3, 1.0]), names), ["Doe^Jane"]))
    for mine, theirs in zip(kept.layers, layers, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(kept.affine, np.diag([1, 2, 3, 1.0]))
    assert {key: label.name for key, label in kept.names.items()} == {(0, 1): "Liver", (1, 1): ""}
    assert (kept.names[0, 1].colour, kept.names[0, 1].type.value) == ((9, 8, 7), "10200004")


def test_only_declared_files_are_label_files() -> None:
    policy = AnnotationsPolicy(label_files="masks/*.nii.gz")
    assert policy.takes("masks/a/b.nii.gz")
    assert not policy.takes("images/b.nii.gz")
    assert not AnnotationsPolicy(label_files="*").takes("a.dcm")
    assert not AnnotationsPolicy().takes("masks/b.nii.gz")
