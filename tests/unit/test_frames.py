"""Frames: functional groups, keys and attributes."""

from __future__ import annotations

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate import frames
from oncurate.elements import tag_of
from oncurate.errors import Rejection
from oncurate.functional_groups import headers_of
from oncurate.reasons import Reason
from tests import phantoms


def item(**attributes: object) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def enhanced_mr(echoes: list[float]) -> Dataset:
    per_frame = [item(MREchoSequence=Items([item(EffectiveEchoTime=e)])) for e in echoes]
    shared = item(
        MRTimingAndRelatedParametersSequence=Items([item(RepetitionTime=500.0, FlipAngle=90.0)]),
        MRImageFrameTypeSequence=Items(
            [item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"], ComplexImageComponent="PHASE")]
        ),
    )
    return phantoms.dataset(
        modality="MR",
        PerFrameFunctionalGroupsSequence=Items(per_frame),
        SharedFunctionalGroupsSequence=Items([shared]),
        RepetitionTime=None,
    )


def test_a_frame_looks_into_its_own_group_then_the_shared_one_then_the_top() -> None:
    headers = headers_of(enhanced_mr([10.0, 20.0]), 2)
    assert [h.number("EchoTime") for h in headers] == [10.0, 20.0]
    assert headers[0].number("RepetitionTime") == 500.0
    assert headers[0].values("Modality") == ["MR"]


def test_attributes_carry_classic_keywords_of_enhanced_files() -> None:
    [header, _] = headers_of(enhanced_mr([10.0, 20.0]), 2)
    found = frames.attributes_of(header, ["EchoTime", "FlipAngle", "ImageType", "KVP"])
    assert found == {"EchoTime": 10.0, "FlipAngle": 90.0, "ImageType": ["ORIGINAL", "PRIMARY", "T1", "NONE"]}


def test_keys_of_an_enhanced_mr() -> None:
    found = frames.frames_of(headers_of(enhanced_mr([10.0, 20.0]), 2), "1.2.840.10008.5.1.4.1.1.4.1")
    assert [f.keys["echo_time"] for f in found] == [10.0, 20.0]
    assert found[0].keys["component"] == "phase"
    assert found[0].keys["image_type"] == "ORIGINAL\\T1"
    assert [f.number for f in found] == [0, 1]


@pytest.mark.parametrize(
    ("image_type", "terms", "component"),
    [
        (["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], "ORIGINAL", "magnitude"),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "ORIGINAL", "phase"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], "DERIVED\\DIFFUSION\\ADC", ""),
        (["DERIVED", "SECONDARY", "PROJECTION IMAGE"], "DERIVED\\PROJECTION IMAGE", ""),
    ],
)
def test_the_image_type_keeps_what_names_another_kind(image_type: list[str], terms: str, component: str) -> None:
    ds = phantoms.dataset(modality="MR", sop_class=phantoms.MR, ImageType=image_type)
    keys = frames.frames_of(headers_of(ds, 1), phantoms.MR)[0].keys
    assert keys["image_type"] == terms
    assert keys.get("component", "") == component


def test_groups_must_match_the_number_of_frames() -> None:
    with pytest.raises(Rejection) as caught:
        headers_of(enhanced_mr([10.0, 20.0]), 3)
    assert (caught.value.reason, caught.value.detail) == (
        Reason.IMPLAUSIBLE_HEADER,
        "PerFrameFunctionalGroupsSequence",
    )


def test_slice_thickness_tells_ct_apart_up_to_rounding() -> None:
    def thickness(value: float | None, sop_class: str = phantoms.CT) -> object:
        ds = phantoms.dataset(sop_class=sop_class, SliceThickness=value, RescaleSlope=1, RescaleIntercept=0)
        return frames.frames_of(headers_of(ds, 1), sop_class)[0].keys.get("thickness")

    assert thickness(1.25) == thickness(1.2500001) != thickness(5.0)
    assert thickness(None) is thickness(5.0, phantoms.MR) is None


def test_one_position_for_many_frames_is_the_place_of_none_of_them() -> None:
    place = {"ImagePositionPatient": [1.0, 2.0, 3.0], "ImageOrientationPatient": list(phantoms.AXIAL)}
    ds = phantoms.dataset(phantoms.voxels(3, 8, 6), modality="MR", sop_class=phantoms.MR, **place)
    found = frames.frames_of(headers_of(ds, 3), phantoms.MR)
    assert [(f.position, f.orientation) for f in found] == [(None, None)] * 3
    [single] = frames.frames_of(headers_of(ds, 1), phantoms.MR)
    assert single.position == (1.0, 2.0, 3.0)


def test_ultrasound_regions_are_collected_as_rectangles() -> None:
    corners = {"RegionLocationMinX0": 4, "RegionLocationMinY0": 5, "RegionLocationMaxX1": 60, "RegionLocationMaxY1": 50}
    ds = phantoms.dataset(modality="US", SequenceOfUltrasoundRegions=Items([item(**corners), item()]))
    [header] = headers_of(ds, 1)
    assert frames.attributes_of(header, ["UltrasoundRegions"]) == {"UltrasoundRegions": [[4, 5, 60, 50], [None] * 4]}
    assert frames.attributes_of(header, ["KVP"]) == {}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"FrameTime": 33.3333}, 33.333),
        ({"FrameTimeVector": [0, 40.0, 60.0]}, 50.0),
        ({"FrameTime": 20.0, "FrameTimeVector": [0, 40.0]}, 20.0),
        ({"FrameTime": 0}, None),
        ({"FrameTimeVector": [0]}, None),
        ({}, None),
    ],
)
def test_the_time_between_frames_of_a_cine(attributes: dict[str, object], expected: float | None) -> None:
    ds = phantoms.dataset(modality="US", sop_class=phantoms.PLANAR["US"], **attributes)
    found = frames.frames_of(headers_of(ds, 3), phantoms.PLANAR["US"])
    assert [f.keys.get("frame_time_ms") for f in found] == [expected] * 3


def test_the_scaling_tells_frames_apart_only_where_it_is_no_rescale() -> None:
    def keys(**attributes: object) -> dict:
        ds = phantoms.dataset(modality="MR", sop_class=phantoms.MR, Manufacturer="Philips", **attributes)
        ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5)
        [frame] = frames.frames_of(headers_of(ds, 1), phantoms.MR)
        return {"key": frame.keys.get("scaling"), "scaling": frame.scaling, "slope": frame.slope}

    assert keys(RescaleType="Hz") == {"key": None, "scaling": "rescale", "slope": 1.0}
    assert keys() == {"key": "philips", "scaling": "philips", "slope": 2.0}


@pytest.mark.parametrize(
    ("attributes", "keyword"),
    [
        ({"ImagePositionPatient": "nan\\0\\0"}, "ImagePositionPatient"),
        ({"ImagePositionPatient": "0\\inf\\0"}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": "1\\0\\0\\0\\1"}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": "1\\0\\0\\0\\nan\\0"}, "ImageOrientationPatient"),
        ({"PixelSpacing": "0.5"}, "PixelSpacing"),
    ],
)
def test_a_place_that_is_none_is_refused_by_its_keyword(attributes: dict[str, str], keyword: str) -> None:
    ds = phantoms.dataset(RescaleSlope=1, RescaleIntercept=0)
    for name, text in attributes.items():
        raw, tag = text.encode(), tag_of(name)
        ds[tag] = RawDataElement(tag, "DS", len(raw), raw, 0, False, True)
    with pytest.raises(Rejection) as caught:
        frames.frames_of(headers_of(ds, 1), phantoms.CT)
    assert (caught.value.reason, caught.value.detail) == (Reason.IMPLAUSIBLE_HEADER, keyword)
