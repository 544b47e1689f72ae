"""Label files beside the images are read, laid on their image's grid, and matched with it without guessing."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from oncurate.annotations import labelfiles, matching
from oncurate.annotations.matching import Candidate
from oncurate.annotations.model import Code
from oncurate.errors import Rejection, UsageError
from oncurate.reasons import Reason
from tests import annotated, phantoms

GRID = annotated.grid(orientation=phantoms.turned(4, -9, 15))


def labels() -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    array[1:4, 2:5, 1:3] = 1
    array[6:9, 0:3, 4] = 7
    return array


def refusal(call, *arguments) -> Rejection:
    with pytest.raises(Rejection) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_read_and_lay(suffix, dtype):
    data = annotated.label_file(labels().astype(dtype), GRID, suffix)
    found = labelfiles.lay(labelfiles.read(data, f"any{suffix.upper()}"), GRID, {7: "node"})
    assert np.array_equal(found.layers[0], labels())
    assert [(label.number, label.name) for label in found.labels] == [(1, ""), (7, "node")]


def test_a_cropped_and_reversed_file_is_padded():
    cropped = labels()[1:9, 5::-1][:, :, 1:5]  # rows 5..0
    on = GRID.model_copy(
        update={
            "origin": tuple(annotated.position(GRID, 1, 5, 1)),
            "column": tuple(-x for x in GRID.column),
            "shape": cropped.shape,
        }
    )
    # a left-handed grid: NIfTI and NRRD hold it as it is
    found = labelfiles.lay(labelfiles.read(annotated.label_file(cropped, on, ".nrrd"), "l.nrrd"), GRID)
    assert np.array_equal(found.layers[0], labels())


def test_a_trailing_axis_of_one_is_none():
    data = annotated.label_file(labels(), GRID, ".nii")
    header = bytearray(data)
    header[40:42] = (4).to_bytes(2, "little")  # dim[0] = 4, dim[4] is 1 already
    assert int.from_bytes(header[48:50], "little") == 1
    assert np.array_equal(labelfiles.read(bytes(header), "l.nii").layers[0], labels())


def test_slicer_s_layers_names_and_colours():
    both = np.stack([labels() == 1, labels() == 7], axis=-1).astype(np.uint8)
    keys = {
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment0_Name": "spleen",
        "Segment0_Color": "0.5 0.25 1",
        "Segment0_Tags": "TerminologyEntry:A~SCT^85756007^Tissue~SCT^78961009^Spleen~^^~B~SCT^113345001^Abdomen~^^|",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "1",
        "Segment1_Name": "node",
    }
    found = labelfiles.lay(labelfiles.read(annotated.label_file(both, GRID, ".nrrd", keys), "a.seg.nrrd"), GRID)
    spleen, node = found.labels
    assert (spleen.number, spleen.name, spleen.colour) == (1, "spleen", (128, 64, 255))
    assert spleen.type == Code("78961009", "SCT", "Spleen")
    assert spleen.category == Code("85756007", "SCT", "Tissue")
    assert spleen.region == (Code("113345001", "SCT", "Abdomen"),)
    assert (node.number, node.source_number, node.name) == (2, 1, "node")
    assert np.array_equal(found.mask(2), labels() == 7)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-1, Reason.LABELS_NOT_WHOLE),
        (0.5, Reason.LABELS_NOT_WHOLE),
        (np.nan, Reason.LABELS_NOT_WHOLE),
        (np.inf, Reason.LABELS_NOT_WHOLE),
        (70_000, Reason.TOO_MANY_LABELS),
    ],
)
def test_values_that_are_no_labels(value, reason):
    array = labels().astype(np.float32)
    array[0, 0, 0] = value
    assert refusal(labelfiles.read, annotated.label_file(array, GRID, ".nrrd"), "l.nrrd").reason is reason


def test_files_that_are_refused_unread():
    whole = annotated.label_file(labels(), GRID, ".nrrd")
    head, _, voxels = whole.partition(b"\n\n")
    detached = head + b"\ndata file: /etc/hostname\n\n" + voxels
    assert refusal(labelfiles.read, detached, "l.nrrd").detail == "voxels in another file"
    spaceless = b"\n".join(line for line in head.split(b"\n") if not line.startswith(b"space")) + b"\n\n" + voxels
    assert refusal(labelfiles.read, spaceless, "l.nrrd").detail == "no place in the patient"
    plain = gzip.decompress(annotated.label_file(labels(), GRID))
    unplaced = plain[:252] + b"\0\0\0\0" + plain[256:]  # qform_code, sform_code
    assert refusal(labelfiles.read, unplaced, "l.nii").detail == "no place in the patient"
    huge = plain[:42] + (30000).to_bytes(2, "little") * 3 + plain[48:]
    assert refusal(labelfiles.read, huge, "l.nii").reason is Reason.GRID_TOO_LARGE
    for data, name in (
        (b"", "l.nii"),
        (plain[:200], "l.nii"),
        (b"x" * 999, "l.nii.gz"),
        (whole, "l.nii"),
        (plain, "l.png"),
    ):
        found = refusal(labelfiles.read, data, name)
        assert found.reason is Reason.BROKEN_LABEL_FILE
        assert "tmp" not in found.detail


def test_another_grid_is_refused():
    other = GRID.model_copy(update={"origin": tuple(annotated.position(GRID, 0.5, 0, 0))})
    delivered = labelfiles.read(annotated.label_file(labels(), other), "l.nii.gz")
    assert refusal(labelfiles.lay, delivered, GRID).reason is Reason.ANNOTATION_OFF_GRID
    beyond = GRID.model_copy(update={"origin": tuple(annotated.position(GRID, -3, 0, 0))})
    delivered = labelfiles.read(annotated.label_file(labels(), beyond), "l.nii.gz")
    assert refusal(labelfiles.lay, delivered, GRID).detail == "1 of 2 labels"
    nothing = labelfiles.read(annotated.label_file(labels() * 0, GRID), "l.nii.gz")
    assert refusal(labelfiles.lay, nothing, GRID).reason is Reason.EMPTY_ANNOTATION


OTHER = annotated.grid((10, 8, 6), (1.0, 1.0, 3.0))


def candidate(key: str, folder: str, geometry=GRID, patient: str = "TEST-1") -> Candidate:
    series = f"2.25.{len(key)}{ord(key[-1])}"
    return Candidate(key, geometry, series, "2.25.5", patient, (f"{folder}/0001.dcm", f"{folder}/0002.dcm"))


def delivered() -> labelfiles.Delivered:
    return labelfiles.read(annotated.label_file(labels(), GRID), "l.nii.gz")


def test_the_nearest_folder_with_a_fitting_grid_decides():
    images = [candidate("a", "p1/ct"), candidate("b", "p1/pt", OTHER), candidate("c", "p2/ct")]
    no_rules = matching.rules_of()
    assert matching.match("p1/ct/mask.nii.gz", delivered(), images, no_rules).key == "a"
    assert matching.match("p1/mask.nii.gz", delivered(), images, no_rules).key == "a"
    assert matching.match("p2/labels/x.nii.gz", delivered(), images, no_rules).key == "c"
    found = refusal(matching.match, "labels/x.nii.gz", delivered(), images, no_rules)
    assert (found.reason, found.detail) == (Reason.AMBIGUOUS_REFERENCE, "2 images")
    found = refusal(matching.match, "p1/pt/x.nii.gz", delivered(), images[1:2], no_rules)
    assert found.reason is Reason.UNRESOLVED_REFERENCE


def test_an_image_that_a_file_covers_goes_before_one_of_which_it_is_a_part():
    larger = annotated.grid((20, 8, 6), orientation=phantoms.turned(4, -9, 15))
    images = [candidate("large", "p1/ct", larger), candidate("same", "p1/mr")]
    assert matching.match("p1/l.nii.gz", delivered(), images, matching.rules_of()).key == "same"
    assert matching.match("p1/l.nii.gz", delivered(), images[:1], matching.rules_of()).key == "large"


def test_a_manifest_decides():
    images = [candidate("a", "p1/ct"), candidate("c", "p2/ct"), candidate("d", "p3/pt", OTHER, "TEST-3")]
    table = "label_file;image;PatientID\nx.nii.gz;p2/ct;\ny.nii.gz;;TEST-3\nz.nii.gz;;TEST-9\n"
    rules = matching.rules_of(manifest=("\ufeff" + table).encode(), manifest_path="manifest.csv")
    assert matching.match("x.nii.gz", delivered(), images, rules).key == "c"
    assert refusal(matching.match, "y.nii.gz", delivered(), images, rules).reason is Reason.ANNOTATION_OFF_GRID
    assert refusal(matching.match, "z.nii.gz", delivered(), images, rules).reason is Reason.UNRESOLVED_REFERENCE


def test_a_name_rule_narrows_down_and_the_grid_decides():
    images = [candidate("a", "p1/ct"), candidate("b", "p1/pt", OTHER), candidate("c", "p2/ct", patient="TEST-2")]
    rules = matching.rules_of(name=r"(?P<PatientID>TEST-\d+)_seg")
    assert matching.match("labels/TEST-1_seg.nii.gz", delivered(), images, rules).key == "a"
    assert matching.match("labels/TEST-2_seg.nii.gz", delivered(), images, rules).key == "c"
    found = refusal(matching.match, "labels/TEST-7_seg.nii.gz", delivered(), images, rules)
    assert found.reason is Reason.UNRESOLVED_REFERENCE
    assert "TEST" not in found.detail


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "("},
        {"name": "seg"},
        {"name": "(?P<who>.*)"},
        {"manifest": b"a,b\n"},
        {"manifest": b"\xff\xfe"},
        {"manifest": b"label_file,image\nx,a\nx,b\n"},
    ],
)
def test_rules_that_cannot_be(arguments):
    with pytest.raises(UsageError):
        matching.rules_of(**arguments)
