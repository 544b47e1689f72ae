"""Scaling: which slope and intercept apply, and which unit may leave."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate import scaling
from oncurate.errors import Rejection
from oncurate.functional_groups import headers_of
from oncurate.reasons import Reason
from oncurate.scaling import PHILIPS, REAL_WORLD, Scaling, scaling_of
from tests import phantoms
from tests.encoding import as_bytes, instance_of
from tests.golden.chain import oracle, shared_folder

CREATOR = "Philips MR Imaging DD 001"


def item(**attributes: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def mapping(
    code: str = "mm2/s", *, scheme: str = "UCUM", first: int = 0, last: int = 32767, **attributes: Any
) -> Dataset:
    made = item(
        RealWorldValueSlope=0.5,
        RealWorldValueIntercept=-10.0,
        MeasurementUnitsCodeSequence=Items([item(CodeValue=code, CodingSchemeDesignator=scheme)]),
    )
    made.add_new(0x00409216, "SS", first)
    made.add_new(0x00409211, "SS", last)
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def mr(*mappings: Dataset, slope: float | None = None, creator: str | None = CREATOR, **attributes: Any) -> Dataset:
    """An MR image with a scale slope of Philips and real-world value mappings."""
    base = {"modality": "MR", "sop_class": phantoms.MR, "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}
    ds = phantoms.dataset(**{**base, "Manufacturer": "Philips Medical Systems", **attributes})
    if mappings:
        ds.RealWorldValueMappingSequence = Items(list(mappings))
    if slope is not None and creator is not None:
        ds.private_block(0x2005, creator, create=True).add_new(0x0E, "FL", slope)
    elif slope is not None:
        ds.add_new(0x2005100E, "FL", slope)
    return ds


def found(ds: Dataset, sop_class: str = phantoms.MR) -> Scaling:
    return scaling_of(headers_of(dcmread(io.BytesIO(as_bytes(ds))), 1)[0], sop_class)


def test_an_image_without_any_is_what_it_stores() -> None:
    assert found(mr()) == Scaling(1.0, 0.0, "rescale", None)


def test_ct_and_pet_mean_nothing_without_rescale() -> None:
    for sop_class in (phantoms.CT, phantoms.PT):
        for missing in ("RescaleSlope", "RescaleIntercept"):
            ds = phantoms.dataset(**{"RescaleSlope": 2, "RescaleIntercept": 0, missing: None})
            with pytest.raises(Rejection) as caught:
                found(ds, sop_class)
            assert (caught.value.reason, caught.value.detail) == (Reason.MISSING_ATTRIBUTE, missing)


@pytest.mark.parametrize("kind", [None, "HU", "US"])
def test_a_ct_of_another_rescale_type_is_kept(kind: str | None) -> None:
    ds = phantoms.dataset(RescaleSlope=2, RescaleIntercept=-1024, RescaleType=kind)
    assert found(ds, phantoms.CT) == Scaling(2.0, -1024.0)


@pytest.mark.parametrize(
    ("attributes", "detail"),
    [
        ({"RescaleSlope": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "nan"}, "RescaleSlope"),
        ({"RescaleSlope": "inf"}, "RescaleSlope"),
        ({"RescaleIntercept": "-inf"}, "RescaleIntercept"),
    ],
)
def test_a_slope_of_zero_and_numbers_that_are_none_are_refused(attributes: dict[str, str], detail: str) -> None:
    ds = mr(RescaleSlope=1, RescaleIntercept=0)
    for keyword, value in attributes.items():
        ds[keyword] = ds[keyword].__class__(keyword, "LO", value)
    with pytest.raises(Rejection) as caught:
        scaling_of(headers_of(ds, 1)[0], phantoms.MR)
    assert (caught.value.reason, caught.value.detail) == (Reason.IMPLAUSIBLE_HEADER, detail)


def test_philips_values_are_comparable_between_series() -> None:
    result = found(mr(slope=0.25, RescaleSlope=2.0, RescaleIntercept=-30.0))
    assert result == Scaling(4.0, -60.0, PHILIPS)
    displayed = 2.0 * 100 - 30.0
    assert result.slope * 100 + result.intercept == displayed / (2.0 * 0.25)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"]},
        {"ImageType": ["DERIVED", "PRIMARY", "ADC", "ADC", "SE"]},
        {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "T1", "UNSPECIFIED"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY MAP", "V", "PCA"]},
        {"RescaleType": "Hz"},
        {"ComplexImageComponent": "PHASE"},
    ],
)
def test_a_map_keeps_the_values_it_displays(attributes: dict[str, Any]) -> None:
    assert found(mr(slope=0.25, RescaleSlope=2.0, RescaleIntercept=-30.0, **attributes)) == Scaling(2.0, -30.0)


@pytest.mark.parametrize("slope", [0.0, -1.0, math.nan, math.inf, 1e-45])
def test_a_scale_slope_that_is_none_is_left_alone(slope: float) -> None:
    result = found(mr(slope=slope, RescaleSlope=2.0, RescaleIntercept=0))
    assert result.name == ("rescale" if not slope > 0 or math.isinf(slope) else PHILIPS)
    assert math.isfinite(result.slope)


def test_a_scale_slope_is_found_by_its_creator_or_its_manufacturer() -> None:
    assert found(mr(slope=0.25, creator="SOMEONE ELSE")).name == "rescale"
    assert found(mr(slope=0.25, creator=None)).name == PHILIPS
    assert found(mr(slope=0.25, creator=None, Manufacturer="SIEMENS")).name == "rescale"
    assert found(mr(slope=0.25, RescaleSlope=1, RescaleIntercept=0), phantoms.PT).name == "rescale"


def test_the_one_mapping_in_a_known_unit_comes_first() -> None:
    assert found(mr(mapping(), mapping("1"), slope=0.25)) == Scaling(0.5, -10.0, REAL_WORLD, "mm2/s")


@pytest.mark.parametrize(("code", "unit"), sorted(scaling.UNITS.items()))
def test_every_unit_of_the_table_has_one_spelling(code: str, unit: str) -> None:
    assert found(mr(mapping(code))).unit == unit
    assert unit in ("HU", "SUVbw g/ml") or scaling.UNITS[unit] == unit


@pytest.mark.parametrize(
    "mappings",
    [
        [mapping("1")],
        [mapping("CANARY")],
        [mapping(scheme="99CANARY")],
        [mapping(), mapping("Hz")],
        [mapping(), mapping("CANARY")],
        [mapping(last=32000)],
        [mapping(first=1)],
        [mapping(RealWorldValueSlope=0.0)],
        [mapping(RealWorldValueIntercept=math.nan)],
        [mapping(RealWorldValueLUTData=[1.0, 2.0])],
        [item(RealWorldValueSlope=2.0)],
    ],
)
def test_any_other_mapping_is_left_alone(mappings: list[Dataset]) -> None:
    assert found(mr(*mappings)) == Scaling(1.0, 0.0)


def test_a_mapping_may_cover_only_what_is_stored() -> None:
    ds = mr(mapping(first=10, last=900))
    assert found(ds).name == "rescale"
    ds.add_new(0x00280106, "SS", 10)
    ds.add_new(0x00280107, "SS", 900)
    assert found(ds).name == REAL_WORLD


def test_hounsfield_units_of_a_ct_come_from_its_rescale() -> None:
    ds = mr(mapping("[hnsf'U]"), RescaleSlope=1, RescaleIntercept=-1024)
    assert found(ds, phantoms.CT) == Scaling(1.0, -1024.0)
    assert found(ds, phantoms.PT).unit == "HU"


def test_frames_of_an_enhanced_file_scale_each_on_its_own() -> None:
    def frame(slope: float, *mappings: Dataset) -> Dataset:
        inner = Dataset()
        inner.private_block(0x2005, CREATOR, create=True).add_new(0x0E, "FL", slope)
        group = item(PixelValueTransformationSequence=Items([item(RescaleSlope=3.0, RescaleIntercept=0.0)]))
        group.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", Items([inner]))
        if mappings:
            group.RealWorldValueMappingSequence = Items(list(mappings))
        return group

    ds = mr(PerFrameFunctionalGroupsSequence=Items([frame(0.5, mapping("1")), frame(0.25, mapping("Hz"))]))
    assert [scaling_of(h, phantoms.MR) for h in headers_of(ds, 2)] == [
        Scaling(2.0, 0.0, PHILIPS),
        Scaling(0.5, -10.0, REAL_WORLD, "Hz"),
    ]


DATA = shared_folder()
REAL = [
    ("neurolabusc+dcm_qa_enh/In/Philips/IM_0027_fMAP.dcm", 2),
    ("icometrix+dicom2nifti/tests/data/philips_enhanced/dti/001/IM-0001-3835-0001.dcm", 1),
    ("icometrix+dicom2nifti/tests/data/philips_enhanced/anatomical/001/IM-0001-0170-0001.dcm", 1),
]


@pytest.mark.skipif(DATA is None, reason="the folder of real images is not there")
@pytest.mark.parametrize(("name", "count"), REAL)
def test_real_philips_files_scale_as_dcm2niix_says(name: str, count: int) -> None:
    assert DATA is not None
    data = (DATA / "data" / name).read_bytes()
    instance = instance_of(data)
    ours = sorted({(f.slope, f.intercept) for f in instance.frames})
    [series] = [s for s in oracle(DATA / "data") if s["series_uid"] == instance.SeriesInstanceUID]
    theirs = sorted((o["slope"], o["inter"]) for o in series["outputs"])
    assert len(ours) == len(theirs) == count
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-5)
    assert {f.keys["scaling"] for f in instance.frames} <= {PHILIPS, f"{REAL_WORLD} Hz"}
