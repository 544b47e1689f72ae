"""The SUV factor: every branch of the rule, every reason why there is none, from attributes alone."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from oncurate import suv
from oncurate.records import RESCALE, SuvScale
from oncurate.suv import Status
from tests import phantoms
from tests.unit.made import frame, instance

TRACER = "RadiopharmaceuticalInformationSequence."
DOSE, HALF_LIFE = TRACER + "RadionuclideTotalDose", TRACER + "RadionuclideHalfLife"
START_TIME, START_DATETIME = TRACER + "RadiopharmaceuticalStartTime", TRACER + "RadiopharmaceuticalStartDateTime"
CODE = TRACER + "RadionuclideCodeSequence.CodeValue"

HEADER = {
    "Units": "BQML",
    "CorrectedImage": ["NORM", "ATTN", "SCAT", "DECY"],
    "DecayCorrection": "START",
    "PatientWeight": 70.0,
    "SeriesDate": "20230405",
    "SeriesTime": "101200",
    "AcquisitionDate": "20230405",
    "AcquisitionTime": "101200",
    DOSE: 4.0e8,
    HALF_LIFE: 3600.0,
    START_TIME: "091200.00",
}
"""400 MBq an hour, and a half-life, before the scan: 200 MBq are left for 70,000 g."""
FACTOR = 70_000 / 2.0e8


def scale(*changes: dict, **of_all: object) -> SuvScale:
    """The scale of a volume whose slices are `HEADER` with the changes; None removes an attribute."""
    slices = [{**HEADER, **of_all, **change} for change in changes or ({},)]
    return suv.scale([{k: v for k, v in attributes.items() if v is not None} for attributes in slices])


def test_activity_decays_from_the_injection_to_the_start():
    assert scale().status == "computed: BQML START"
    assert scale().factor == pytest.approx(FACTOR)


def test_activity_corrected_to_the_injection_does_not_decay_again():
    found = scale({"DecayCorrection": "ADMIN", START_TIME: None, HALF_LIFE: None})
    assert found.status == "computed: BQML ADMIN"
    assert found.factor == pytest.approx(70_000 / 4.0e8)


def test_values_that_are_suv_already():
    assert scale({"Units": "GML"}) == SuvScale(factor=1.0, status="computed: GML")
    assert scale({"Units": "GML", "SUVType": "BW", "PatientWeight": None, DOSE: None}).factor == 1.0


@pytest.mark.parametrize(
    ("kind", "sex", "mass_kg"),
    [
        ("LBMJAMES128", "M", 1.10 * 70 - 128 * (70 / 175) ** 2),
        ("LBMJAMES128", "F", 1.07 * 70 - 148 * (70 / 175) ** 2),
        ("LBMJANMA", "M", 9270 * 70 / (6680 + 216 * 70 / 1.75**2)),
        ("LBMJANMA", "F", 9270 * 70 / (8780 + 244 * 70 / 1.75**2)),
        ("IBW", "M", 48.0 + 1.06 * 23),
        ("IBW", "F", 45.5 + 0.91 * 23),
    ],
)
def test_suv_by_another_mass_becomes_suv_by_weight(kind, sex, mass_kg):
    found = scale({"Units": "GML", "SUVType": kind, "PatientSex": sex, "PatientSize": 1.75})
    assert found.status == "computed: GML of lean or ideal mass"
    assert found.factor == pytest.approx(70 / mass_kg)


@pytest.mark.parametrize("size", [1.75, 175.0])
def test_suv_by_body_surface_becomes_suv_by_weight(size):
    surface_cm2 = 0.007184 * 70**0.425 * 175**0.725 * 10_000
    found = scale({"Units": "CM2ML", "PatientSize": size})
    assert found.status == "computed: CM2ML"
    assert found.factor == pytest.approx(70_000 / surface_cm2)


def test_counts_need_a_factor_of_philips():
    counts = {"Units": "CNTS"}
    assert scale({**counts, suv.PHILIPS_SUV: 0.0005}) == SuvScale(factor=0.0005, status="computed: CNTS SUV factor")
    both = scale({**counts, suv.PHILIPS_SUV: 0.0005, suv.PHILIPS_ACTIVITY: 2.0})
    assert both.factor == 0.0005
    zero = scale({**counts, suv.PHILIPS_SUV: 0.0, suv.PHILIPS_ACTIVITY: 2.0})
    assert zero.status == "computed: CNTS activity factor, START"
    assert zero.factor == pytest.approx(2 * FACTOR)
    admin = scale({**counts, suv.PHILIPS_ACTIVITY: 2.0, "DecayCorrection": "ADMIN"})
    assert admin.status == "computed: CNTS activity factor, ADMIN"
    assert admin.factor == pytest.approx(FACTOR)
    assert scale(counts).status == Status.NO_FACTOR
    assert scale({**counts, suv.PHILIPS_SUV: 0.0, suv.PHILIPS_ACTIVITY: -1.0}).status == Status.NO_FACTOR


def test_a_real_world_value_map_replaces_the_units():
    def mapped(unit: str | None) -> SuvScale:
        return suv.scale([{**HEADER, "Units": "CNTS"}], scaling="real_world_value_map", unit=unit)

    assert mapped("Bq/ml").status == "computed: BQML START"
    assert mapped("Bq/ml").factor == pytest.approx(FACTOR)
    assert mapped("SUVbw g/ml").factor == 1.0
    assert mapped("ml/(100.g)/min").status == mapped(None).status == Status.UNITS


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"CorrectedImage": ["DECY"]}, Status.NO_ATTENUATION),
        ({"CorrectedImage": None}, Status.NO_ATTENUATION),
        ({"CorrectedImage": ["ATTN"]}, Status.NO_DECAY),
        ({"DecayCorrection": "NONE"}, Status.NO_DECAY),
        ({"DecayCorrection": None}, Status.NO_DECAY),
        ({"Units": "PROPCPS"}, Status.UNITS),
        ({"Units": None}, Status.UNITS),
        ({"Units": "GML", "SUVType": "LBM", "PatientSex": "F", "PatientSize": 1.75}, Status.SUV_TYPE),
        ({"Units": "GML", "SUVType": "IBW", "PatientSex": "O", "PatientSize": 1.75}, Status.BODY),
        ({"Units": "GML", "SUVType": "IBW", "PatientSex": "F"}, Status.BODY),
        ({"Units": "CM2ML", "PatientSize": 0.0}, Status.BODY),
        ({DOSE: None}, Status.DOSE),
        ({DOSE: 0.0}, Status.DOSE),
        ({DOSE: -1.0}, Status.DOSE),
        ({DOSE: 4.0e5}, Status.DOSE),  # kBq, or nothing
        ({DOSE: 4.0e11}, Status.DOSE),
        ({DOSE: "400"}, Status.DOSE),
        ({"PatientWeight": None}, Status.WEIGHT),
        ({"PatientWeight": 0.0}, Status.WEIGHT),
        ({"PatientWeight": 700.0}, Status.WEIGHT),
        ({HALF_LIFE: None}, Status.HALF_LIFE),
        ({HALF_LIFE: 109.77, CODE: "C-111A1"}, Status.HALF_LIFE),  # minutes
        ({HALF_LIFE: 6586.2, CODE: "C-131A3"}, Status.HALF_LIFE),  # of fluorine, and the code of gallium
        ({START_TIME: None}, Status.INJECTION),
        ({START_TIME: "0912"}, Status.INJECTION),
        ({START_TIME: None, START_DATETIME: "20230405091200+0200"}, Status.INJECTION),
        ({HALF_LIFE: 282276.0}, Status.INJECTION_DATE),  # zirconium-89 is scanned days later
        ({"AcquisitionTime": None}, Status.SCAN),
        ({START_DATETIME: "20230405101201"}, Status.TIMES),  # after the scan
        ({START_DATETIME: "20230403091200"}, Status.TIMES),  # 49 half-lives before
        ({START_TIME: "101300"}, Status.TIMES),  # a day less a minute before
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.name,
)
def test_what_is_not_computable_says_why(change, status):
    assert scale(change) == SuvScale(factor=None, status=status.value)


@pytest.mark.parametrize("dose", [400.0, 4.0e8])
@pytest.mark.parametrize("weight", [70.0, 70_000.0])
def test_doses_in_mbq_and_weights_in_grams(dose, weight):
    assert scale({DOSE: dose, "PatientWeight": weight}).factor == pytest.approx(FACTOR)


def test_the_half_life_comes_from_the_nuclide_where_it_is_missing():
    expected = 70_000 / (4.0e8 * 2 ** (-3600 / 6586.2))
    for change in ({CODE: "C-111A1"}, {CODE: "77004003"}, {CODE.replace("Value", "Meaning"): "^18^Fluorine"}):
        assert scale({HALF_LIFE: None, **change}).factor == pytest.approx(expected)
        assert scale({HALF_LIFE: 0.0, **change}).factor == pytest.approx(expected)
    assert scale({HALF_LIFE: 6588.0, CODE: "C-111A1"}).factor == pytest.approx(expected, rel=1e-3)


def test_every_nuclide_of_the_table_is_a_term():
    from oncurate import allowlist

    assert set(suv.HALF_LIVES_S) <= set(allowlist.VOCABULARIES["radionuclide"].terms)


@pytest.mark.parametrize(
    "change",
    [
        {START_TIME: "233000", "SeriesTime": "003000", "AcquisitionTime": "003000"},
        {START_DATETIME: "20230404233000.000", "SeriesTime": "003000", "AcquisitionTime": "003000"},
        {START_DATETIME: "20230405091200", START_TIME: "080000"},  # the date and time count before the time
        {START_DATETIME: "20230405091200+0200"},  # another clock: the time counts
    ],
)
def test_the_time_of_injection(change):
    assert scale(change).factor == pytest.approx(FACTOR)


def test_a_scan_starts_with_its_series_unless_that_is_later_than_an_acquisition():
    assert scale({"AcquisitionTime": "101200"}, {"AcquisitionTime": "103000"}).factor == pytest.approx(FACTOR)
    late = {"SeriesTime": "120000"}
    assert scale({**late, "AcquisitionTime": "103000"}, late).factor == pytest.approx(FACTOR)  # the earliest
    assert scale({**late, "AcquisitionTime": "110000", suv.GE_SCAN: "20230405101200.00"}).factor == pytest.approx(
        FACTOR
    )
    dated = {"AcquisitionDate": None, "AcquisitionTime": None, "AcquisitionDateTime": "20230405101200.5"}
    assert scale({**late, **dated}).factor == pytest.approx(FACTOR, rel=1e-3)


def test_without_a_start_the_first_frame_leads_back_to_it():
    late = {"SeriesTime": "120000", "AcquisitionTime": "102200", "ActualFrameDuration": 300_000}
    mean_s = 300 / 2 - 300**2 / 24 * 0.693147 / 3600  # the moment of mean activity, to third order
    frame_mean = {"FrameReferenceTime": (600 + mean_s) * 1000}
    assert scale({**late, **frame_mean}).factor == pytest.approx(FACTOR, rel=1e-5)
    frame_start = {"FrameReferenceTime": 600_000.0, "Manufacturer": "GE MEDICAL SYSTEMS"}
    assert scale({**late, **frame_start}).factor == pytest.approx(FACTOR)
    for nothing in ({}, {"FrameReferenceTime": 0.0}, {"FrameReferenceTime": 9e5, "ActualFrameDuration": 0}):
        assert scale({**late, **nothing}).factor == pytest.approx(70_000 / (4.0e8 * 2 ** (-4200 / 3600)))
    beds = [{**late, **frame_start}, {**late, **frame_start, "FrameReferenceTime": 900_000.0}]  # one time for both
    assert scale(*beds).factor == scale(*reversed(beds)).factor == pytest.approx(FACTOR)
    later = {**late, **frame_start, "AcquisitionTime": "102700", "FrameReferenceTime": 900_000.0}
    assert scale(beds[0], later).factor == pytest.approx(FACTOR)
    assert scale({**late, "FrameReferenceTime": 1e300}).status == Status.TIMES


def test_slices_must_agree_in_what_is_needed_only():
    for keyword, other in (
        ("Units", "CNTS"),
        ("PatientWeight", 71.0),
        (DOSE, None),
        ("SeriesTime", "101100"),
        (START_TIME, "091100"),
        ("CorrectedImage", ["ATTN", "DECY"]),
        ("DecayCorrection", "ADMIN"),
    ):
        assert scale({}, {keyword: other}).status == Status.INCONSISTENT
    assert scale({suv.PHILIPS_SUV: 0.1}, {suv.PHILIPS_SUV: 0.2}, Units="CNTS").status == Status.INCONSISTENT
    assert scale({}, {"PatientSize": 1.7, "KVP": 120.0}).factor == pytest.approx(FACTOR)
    assert scale({}, {"PatientWeight": 71.0}, Units="GML").factor == 1.0


@pytest.mark.parametrize("value", ["x" * 99, ["a", "b"], {"a": 1}, -1, 10**400, 1e300, 1e-300, True, "00010101", b"x"])
@pytest.mark.parametrize("keyword", [*HEADER, START_DATETIME, "FrameReferenceTime", "ActualFrameDuration", suv.GE_SCAN])
def test_no_value_makes_it_raise(keyword, value):
    for series_time in ("101200", "120000"):
        found = scale(
            {"FrameReferenceTime": 9e5, "ActualFrameDuration": 60_000, "SeriesTime": series_time, keyword: value}
        )
        assert found.status in suv.STATUSES
        assert (found.factor is None) == found.status.startswith("not computable: ")
    assert suv.scale([]).factor is None


def test_the_first_day_of_all_has_no_day_before():
    first = {"SeriesDate": None, "AcquisitionDate": "00010101", "AcquisitionTime": "000000"}
    assert scale({**first, "FrameReferenceTime": 9e5, "ActualFrameDuration": 60_000}).status == Status.TIMES


def test_every_status_says_whether_there_is_a_factor():
    assert len(suv.STATUSES) == len(Status)
    assert all(status.startswith(("computed: ", "not computable: ")) for status in suv.STATUSES)


def test_only_pet_has_a_scale():
    from oncurate.split import Unit

    ct = instance(1)
    assert suv.of_volume([Unit(ct, ct.frames[0])]) is None
    pet = instance(1, SOPClassUID=phantoms.PT, Modality="PT", attributes=HEADER, frames=(frame(), frame(1, 1)))
    assert suv.of_volume([Unit(pet, f) for f in pet.frames]).factor == pytest.approx(FACTOR)
    assert pet.frames[0].scaling == RESCALE


def reread(ds: Dataset, *, implicit: bool) -> Dataset:
    """The data set as a parser sees it."""
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    stream.seek(0)
    return dcmread(stream)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("creator", [True, False])
@pytest.mark.parametrize(
    ("name", "maker", "value", "vr"),
    [
        (suv.GE_SCAN, "GE MEDICAL SYSTEMS", "20230405101200.00", "DT"),
        (suv.PHILIPS_SUV, "Philips Medical Systems", "0.0005", "DS"),
        (suv.PHILIPS_ACTIVITY, "Philips", "2.5", "DS"),
    ],
)
def test_private_elements_are_found_by_creator_or_by_manufacturer(name, maker, value, vr, creator, implicit):
    group, owner, element, *_ = suv.PRIVATE[name]
    ds = phantoms.dataset(Manufacturer=maker)
    ds.add_new(group << 16 | 0x1000 | element, vr, value)
    if creator:
        ds.add_new(group << 16 | 0x10, "LO", owner)
    expected = value if vr == "DT" else float(value)
    assert suv.private(reread(ds, implicit=implicit), name) == [expected]


def test_a_strangers_private_element_is_not_taken():
    ds = phantoms.dataset(Manufacturer="Philips")
    ds.add_new(0x70531000, "DS", "7.0")
    ds.add_new(0x70530010, "LO", "SOMEBODY ELSE")
    assert suv.private(reread(ds, implicit=False), suv.PHILIPS_SUV) == []
    other = phantoms.dataset(Manufacturer="SIEMENS")
    other.add_new(0x70531000, "DS", "7.0")
    assert suv.private(reread(other, implicit=False), suv.PHILIPS_SUV) == []
