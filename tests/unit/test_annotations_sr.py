"""Numbers of TID 1500 reports come out one by one with what their group says of them."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate.annotations import sr
from oncurate.annotations.model import Code
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import annotated, phantoms
from tests.annotated import code, content, number

VOLUME, ML = ("118565006", "SCT", "Volume"), ("ml", "UCUM", "milliliter")
SUV, GML = ("126401", "DCM", "SUVbw"), ("g/ml{SUVbw}", "UCUM", "SUV")
MEAN = ("373098007", "SCT", "Mean")
SEGMENTATION, IMAGE = "2.25.1", "2.25.2"


def named(name: tuple[str, str, str], value: tuple[str, str, str], *children: Dataset) -> Dataset:
    return content("CODE", name, *children, ConceptCodeSequence=Items([code(*value)]))


def pointing(sop_class: str, uid: str, **attributes) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return content("IMAGE", ("121191", "DCM", "Referenced Segment"), ReferencedSOPSequence=Items([item]))


def group(*numbers: Dataset) -> Dataset:
    return content(
        "CONTAINER",
        ("125007", "DCM", "Measurement Group"),
        content("TEXT", ("112039", "DCM", "Tracking Identifier"), TextValue="lesion 1"),
        content("UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), UID="2.25.77"),
        named(("121071", "DCM", "Finding"), ("4147007", "SCT", "Mass")),
        named(
            ("363698007", "SCT", "Finding Site"),
            ("10200004", "SCT", "Liver"),
            named(("272741003", "SCT", "Laterality"), ("24028007", "SCT", "Right")),
        ),
        named(("370129005", "SCT", "Measurement Method"), ("126030", "DCM", "Sum of segmented voxel volumes")),
        pointing(annotated.SEGMENTATION, SEGMENTATION, ReferencedSegmentNumber=3),
        pointing(phantoms.CT, IMAGE),
        *numbers,
    )


def report(*groups: Dataset) -> bytes:
    root = content("CONTAINER", ("126010", "DCM", "Imaging Measurements"), *groups)
    ds = phantoms.dataset(sop_class=annotated.REPORT, modality="SR")
    for keyword in ("PixelData", "Rows", "Columns"):
        del ds[keyword]
    ds.ContentSequence = Items([root])
    return annotated.as_bytes(ds)


def test_a_group_and_its_numbers():
    mean = number(SUV, "3.25", GML, named(("121401", "DCM", "Derivation"), MEAN))
    first, second = sr.measurements(report(group(number(VOLUME, "12.5", ML), mean)))
    assert (first.name, first.value, first.unit) == (Code(*VOLUME), 12.5, Code(*ML))
    assert (second.value, second.derivation) == (3.25, Code(*MEAN))
    assert first.method == Code("126030", "DCM", "Sum of segmented voxel volumes")
    about = first.group
    assert about is second.group
    assert (about.number, about.tracking_id, about.tracking_uid) == (1, "lesion 1", "2.25.77")
    assert about.finding == Code("4147007", "SCT", "Mass")
    assert about.sites == (Code("10200004", "SCT", "Liver"),)
    assert about.laterality == Code("24028007", "SCT", "Right")
    assert about.segments == ((SEGMENTATION, 3),)
    assert about.images == (IMAGE,)


def test_groups_are_numbered():
    found = sr.measurements(report(group(number(VOLUME, "1", ML)), group(number(VOLUME, "2", ML))))
    assert [(m.group.number, m.value) for m in found] == [(1, 1.0), (2, 2.0)]


def test_a_number_s_own_method_and_modifiers_go_first():
    own = named(("370129005", "SCT", "Measurement Method"), ("126032", "DCM", "Peak Value"))
    modifier = named(("272741003", "SCT", "Laterality"), ("7771000", "SCT", "Left"))
    (found,) = sr.measurements(report(group(number(SUV, "1", GML, own, modifier))))
    assert found.method == Code("126032", "DCM", "Peak Value")
    assert found.modifiers == ((Code("272741003", "SCT", "Laterality"), Code("7771000", "SCT", "Left")),)


def test_the_double_form_has_more_digits():
    item = number(VOLUME, "0.33333333333333", ML)
    item.MeasuredValueSequence[0].FloatingPointValue = 1 / 3
    (found,) = sr.measurements(report(group(item)))
    assert found.value == 1 / 3


@pytest.mark.parametrize("value", ["", "inf", "NaN"])
def test_a_number_without_a_value_is_left_out(value):
    without = number(VOLUME, "7", ML)
    without.MeasuredValueSequence[0].NumericValue = "7"
    broken = number(VOLUME, "7", ML)
    broken.MeasuredValueSequence[0]["NumericValue"].value = None
    if value:
        broken.MeasuredValueSequence[0].FloatingPointValue = float(value)
    assert [m.value for m in sr.measurements(report(group(without, broken)))] == [7.0]


@pytest.mark.parametrize("groups", [(), (group(),), (number(VOLUME, "1", ML),)])
def test_reports_without_measurements_are_told_so(groups):
    with pytest.raises(Rejection) as caught:
        sr.measurements(report(*groups))
    assert caught.value.reason is Reason.NO_MEASUREMENTS
