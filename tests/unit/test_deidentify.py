"""The one function from identified to de-identified, with a marker planted wherever a header can hold one."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable

import pytest
from pydantic import ValidationError
from pydicom import config
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from oncurate import allowlist, burnedin, deidentify, headers, leaks, plan, suv, tables
from oncurate.deidentify import DeidentifyPolicy, key_rows
from oncurate.errors import Defect
from oncurate.identity import Keys
from oncurate.pixelplan import plan_pixels
from oncurate.reasons import Reason, State
from oncurate.records import Instance, PlannedVolume, Repetition, SourceSeries, SuvScale
from tests import phantoms

KEYS = Keys(b"phantom secret 0123456789")
RECIPE = "r" * 64
POLICY = DeidentifyPolicy()
CANARY = "CANARY7F3A^JOHN"
PLANTED = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), CANARY),
    "UI": "1.2.826.0.7351973.9",
    "AS": "073Y",
    "DA": "19730519",
    "TM": "073519.7351",
    "DT": "19730519073519.7351",
    "DS": "7351973519",
    "IS": "1735197351",
    "FD": 7351973519.0,
    "FL": 7351973519.0,
    "SL": 1735197351,
    "UL": 1735197351,
}
MARKS = re.compile(r"canary|7f3a|\bjohn\b|7351973|19730519|073519|1735197351", re.IGNORECASE)
# Without these the file is no image that could reach the function; each holds a number, a UID of DICOM's or a term.
STRUCTURE = {
    *("SOPClassUID", "Modality", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "PixelData", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"),
    *("SpecificCharacterSet", "BurnedInAnnotation", "InstanceNumber", "SliceThickness", "ImagerPixelSpacing"),
    *("FloatPixelData", "DoubleFloatPixelData", "SequenceOfUltrasoundRegions", "ImageType", "LossyImageCompression"),
    *burnedin.CAPTURED,  # an image with one of these is a capture, and refused
}


def instance(ds: Dataset) -> Instance:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    data = stream.getvalue()
    return headers.read_instance(
        io.BytesIO(data),
        object=hashlib.sha256(data).hexdigest(),
        source_path="made/one.dcm",
        url="file:///made/one.dcm",
        size=len(data),
        keywords=allowlist.KEYWORDS,
        harvest=leaks.harvest,
    )


def series(*datasets: Dataset) -> SourceSeries:
    planned, _ = plan.plan_series([instance(ds) for ds in datasets], lambda _: None)
    assert planned is not None
    return planned


def to_cohort(source: SourceSeries, keys: Keys, recipe: str, policy: DeidentifyPolicy) -> tuple:
    """As the stage does it where no pixel has to be looked at."""
    plan = plan_pixels(source, policy.burned_in_text, None)
    return deidentify.to_cohort(source, keys, recipe, policy, plan)[:3]


def ct(number: int = 1, **attributes: object) -> Dataset:
    return phantoms.dataset(
        number=number,
        ImagePositionPatient=[0.0, 0.0, 2.5 * number],
        ImageOrientationPatient=list(phantoms.AXIAL),
        PixelSpacing=[0.8, 0.8],
        SliceThickness=2.5,
        **{"RescaleSlope": 1, "RescaleIntercept": -1024, **attributes},
    )


def pt(**attributes: object) -> Dataset:
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 370e6, 6586.2
    tracer.RadiopharmaceuticalStartTime = "091200"
    ds = ct(modality="PT", sop_class=phantoms.PT, Units="BQML", PatientWeight=71.5, **attributes)
    ds.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    return ds


def planar(modality: str, **attributes: object) -> Dataset:
    return phantoms.dataset(
        modality=modality, sop_class=phantoms.PLANAR[modality], FrameOfReferenceUID=None, **attributes
    )


def plant(ds: Dataset, depth: int = 3) -> Dataset:
    """Put a marker into every element of the dictionary, into private ones, and into nested items again."""
    for keyword, (tag, vr) in (_ELEMENTS if depth == 3 else _NESTED).items():
        ds.add_new(tag, vr, PLANTED[vr])
        assert keyword not in STRUCTURE
    block = ds.private_block(0x0041, "CANARY VENDOR", create=True)
    for offset, (vr, value) in enumerate(PLANTED.items()):
        block.add_new(offset, vr, value)
    block.add_new(0x40, "UN", CANARY.encode())
    for keyword in _SEQUENCES if depth > 1 else ():
        ds.add_new(tag_for_keyword(keyword), "SQ", Sequence([plant(Dataset(), depth - 1)]))
    return ds


_ELEMENTS = {
    keyword: (tag, vr)
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items()
    if keyword and keyword not in STRUCTURE and tag >> 16 > 2 and vr in PLANTED and not retired
}
_PATHS = {tuple(keyword.split(".")) for keyword in allowlist.KEYWORDS}
_NESTED = {k: v for k, v in _ELEMENTS.items() if v[1] == "PN" or any(k == path[-1] for path in _PATHS)}
_SEQUENCES = sorted({part for path in _PATHS for part in path[:-1]} - STRUCTURE | {"RequestAttributesSequence"})


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # the marker is invalid for some VRs on purpose
@pytest.mark.parametrize(
    "made",
    [ct, pt, lambda: planar("MG", BurnedInAnnotation="NO"), lambda: planar("US", BurnedInAnnotation="NO")],
    ids=["CT", "PT", "MG", "US"],
)
def test_no_planted_marker_survives(made: Callable[[], Dataset], monkeypatch):
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    source = series(plant(made()))
    assert MARKS.search(source.model_dump_json())  # the marker did arrive
    assert CANARY in source.identifiers
    assert MARKS.search(str(allowlist.clean(source.volumes[0].attributes)[0])) is None
    cohort, rows, outcomes = to_cohort(source, KEYS, RECIPE, POLICY)
    assert cohort is not None
    assert outcomes == []
    assert MARKS.search(cohort.model_dump_json()) is None
    assert MARKS.search(repr(rows)) is None
    assert rows[0]["identifiers_searched"] > 0
    assert rows[0]["attributes_dropped"] > 50


def test_a_plain_series_becomes_a_cohort_series():
    source = series(ct(1), ct(2), ct(3))
    cohort, rows, outcomes = to_cohort(source, KEYS, RECIPE, POLICY)
    assert outcomes == []
    assert cohort.Modality == "CT"
    assert cohort.subject_id == KEYS.subject_id("PHANTOM-1", "")
    assert cohort.subject_id_source == "PatientID"
    assert cohort.StudyDate == KEYS.shift_date("20230405", cohort.subject_id) != "20230405"
    (volume,) = cohort.volumes
    assert [s.SOPInstanceUID for s in volume.planned.slices] == [
        KEYS.uid(s.SOPInstanceUID) for s in source.volumes[0].slices
    ]
    assert volume.planned.geometry == source.volumes[0].geometry
    attributes = volume.planned.attributes
    assert attributes["Manufacturer"] == "Siemens"
    assert attributes["patient_age_years"] == 63.2
    assert attributes["AcquisitionDate"] == attributes["SeriesDate"] == cohort.StudyDate
    assert "StudyDate" not in attributes
    (row,) = rows
    assert row["date_follows_policy"]
    assert row["identifiers_found"] == 0
    tables.to_arrow("cohort", rows)  # every key is a column


def test_the_volume_id_follows_content_and_recipe_only():
    def name(*datasets: Dataset, recipe: str = RECIPE, keys: Keys = KEYS) -> str:
        return to_cohort(series(*datasets), keys, recipe, POLICY)[0].volumes[0].volume_id

    first = name(ct(1), ct(2))
    assert re.fullmatch(r"[a-z2-7]{52}", first)
    assert name(ct(2), ct(1)) == first
    assert len({first, name(ct(1), ct(2), recipe="s" * 64), name(ct(1), ct(3)), name(ct(1), ct(2, KVP=80))}) == 4


def test_a_patient_without_id_is_named_after_the_study():
    cohort, _, _ = to_cohort(series(ct(PatientID=" ")), KEYS, RECIPE, POLICY)
    assert cohort.subject_id_source == "StudyInstanceUID"
    assert cohort.subject_id == KEYS.subject_from_study(cohort_study := phantoms.uid("study", "PHANTOM-1"))
    assert cohort.StudyInstanceUID == KEYS.uid(cohort_study)


def test_a_placeholder_does_not_make_two_patients_one():
    one, _, _ = to_cohort(series(ct(PatientID="ANONYMOUS", StudyInstanceUID="1.2.3")), KEYS, RECIPE, POLICY)
    other, _, _ = to_cohort(series(ct(PatientID="ANONYMOUS", StudyInstanceUID="1.2.4")), KEYS, RECIPE, POLICY)
    assert one.subject_id != other.subject_id
    assert one.subject_id_source == "StudyInstanceUID"


def test_dates_can_be_removed():
    cohort, rows, _ = to_cohort(series(ct()), KEYS, RECIPE, DeidentifyPolicy(dates="none"))
    assert cohort.StudyDate is None
    assert not {"AcquisitionDate", "SeriesDate"} & set(cohort.volumes[0].planned.attributes)
    assert rows[0]["date_follows_policy"]
    assert cohort.volumes[0].planned.attributes["patient_age_years"] == 63.2


def test_what_suv_needs_survives_as_an_interval():
    cohort, _, _ = to_cohort(series(pt()), KEYS, RECIPE, POLICY)
    attributes = cohort.volumes[0].planned.attributes
    assert attributes["injection_to_series_s"] == 3600.0
    assert attributes["injection_to_acquisition_s"] == 3601.0
    assert (attributes["RadionuclideTotalDose"], attributes["PatientWeight"]) == (370e6, 71.5)
    assert "RadiopharmaceuticalStartTime" not in attributes


def test_what_the_plan_found_is_carried_over():
    source = series(pt(CorrectedImage=["ATTN", "DECY"], DecayCorrection="START"))
    found = {
        "repetitions": (Repetition(time_s=0.0), Repetition(time_s=2.5, b_value=800.0, gradient=(0.0, 0.6, 0.8))),
        "repeated_by": ("b_value", "gradient"),
        "correction": "shear",
        "scaling": "real_world_value_map",
        "unit": "Bq/ml",
        "padding": (-2000.0, -2000.0),
        "derived": True,
        "projection": True,
    }
    volume = source.volumes[0].model_copy(update=found)
    assert volume.suv.factor is not None
    cohort, _, _ = to_cohort(source.model_copy(update={"volumes": (volume,)}), KEYS, RECIPE, POLICY)
    planned = cohort.volumes[0].planned
    assert {name: getattr(planned, name) for name in found} == found
    assert planned.suv == volume.suv
    own = {"kind", "slices", "geometry", "split_by", "SamplesPerPixel", "PhotometricInterpretation", "attributes"}
    assert set(PlannedVolume.model_fields) == own | set(found) | {"suv"}  # a new field is carried over or left out here


@pytest.mark.parametrize(
    "change",
    [
        {"scaling": "doe_jane"},
        {"unit": "DOE^JANE"},
        {"repeated_by": ("b_value", "doe_jane")},
        {"suv": SuvScale(factor=1.0, status="computed: DOE^JANE")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_name_that_is_none_of_ours_is_a_bug(change):
    source = series(ct(1), ct(2))
    volume = source.volumes[0].model_copy(update=change)
    with pytest.raises(Defect) as caught:
        to_cohort(source.model_copy(update={"volumes": (volume,)}), KEYS, RECIPE, POLICY)
    assert "jane" not in str(caught.value).casefold()


def test_every_suv_status_can_leave():
    source = series(ct(1), ct(2))
    for status in suv.STATUSES:
        volume = source.volumes[0].model_copy(update={"suv": SuvScale(factor=None, status=status)})
        cohort, _, _ = to_cohort(source.model_copy(update={"volumes": (volume,)}), KEYS, RECIPE, POLICY)
        assert cohort.volumes[0].planned.suv.status == status


def test_a_radiograph_says_its_side_and_view():
    def shown(modality: str, **attributes: object) -> dict[str, object]:
        made = planar(modality, BurnedInAnnotation="NO", **attributes)
        cohort, _, _ = to_cohort(series(made), KEYS, RECIPE, POLICY)
        kept = cohort.volumes[0].planned.attributes
        return {name: kept[name] for name in ("laterality", "view") if name in kept}

    assert shown("MG", ImageLaterality="R", ViewPosition="MLO") == {"laterality": "R", "view": "MLO"}
    assert shown("CR", Laterality="L", ViewPosition="PA") == {"laterality": "L", "view": "PA"}
    assert shown("DX", ImageLaterality="U", ViewPosition="JOHN") == {}
    assert shown("US", Laterality="L") == {}


def test_an_unlisted_modality_is_other():
    source = series(ct(BurnedInAnnotation="NO")).model_copy(update={"Modality": CANARY})
    cohort, _, _ = to_cohort(source, KEYS, RECIPE, POLICY)
    assert cohort.Modality == "OT"


def test_a_surviving_identifier_refuses_the_series():
    source = series(ct(1), ct(2))
    leaky = source.volumes[0].model_copy(update={"split_by": ("doe_jane_1960",)})
    cohort, rows, outcomes = to_cohort(
        source.model_copy(update={"volumes": (leaky,), "identifiers": ("DOE^JANE",)}), KEYS, RECIPE, POLICY
    )
    assert (cohort, rows) == (None, [])
    assert {o.key for o in outcomes} == {s.object for s in source.volumes[0].slices}
    assert {(o.reason, o.state, o.stage) for o in outcomes} == {
        (Reason.IDENTIFIER_SURVIVED, State.QUARANTINED, "deidentify")
    }
    assert "JANE" not in repr(outcomes).upper()


def test_burned_in_text_refuses_the_volume_and_trust_lets_it_pass():
    source = series(ct(BurnedInAnnotation="YES"))
    cohort, _, outcomes = to_cohort(source, KEYS, RECIPE, POLICY)
    assert cohort is None
    assert [o.reason for o in outcomes] == [Reason.BURNED_IN_ANNOTATION]
    cohort, _, outcomes = to_cohort(source, KEYS, RECIPE, DeidentifyPolicy(burned_in_text="trust"))
    assert cohort is not None
    assert outcomes == []


def test_volumes_that_share_a_file_are_refused_together():
    source = series(ct(1), ct(2), ct(3))
    volume = source.volumes[0]
    shared, other = volume.slices[0], volume.slices[2]
    bad = volume.model_copy(update={"slices": (shared,), "attributes": {"BurnedInAnnotation": "YES"}})
    next_frame = shared.model_copy(update={"frame": 1})
    beside = volume.model_copy(update={"slices": (next_frame, volume.slices[1])})
    apart = volume.model_copy(update={"slices": (other,)})
    cohort, rows, outcomes = to_cohort(
        source.model_copy(update={"volumes": (apart, beside, bad)}), KEYS, RECIPE, POLICY
    )
    assert [v.planned.slices[0].object for v in cohort.volumes] == [other.object]
    assert len(rows) == 1
    assert sorted(o.key for o in outcomes) == sorted({shared.object, volume.slices[1].object})
    assert {o.reason for o in outcomes} == {Reason.BURNED_IN_ANNOTATION}


def test_a_masked_ultrasound_carries_its_regions():
    source = series(planar("US"))
    region = (0, 2, 9, 12)
    volume = source.volumes[0]
    declared = volume.model_copy(update={"attributes": {**volume.attributes, "UltrasoundRegions": [list(region)]}})
    cohort, _, _ = to_cohort(source.model_copy(update={"volumes": (declared,)}), KEYS, RECIPE, POLICY)
    assert cohort.volumes[0].masked
    assert cohort.volumes[0].regions == (region,)


def test_key_rows_lead_from_source_to_cohort():
    source = series(ct())
    cohort, _, _ = to_cohort(source, KEYS, RECIPE, POLICY)
    rows = {(row["kind"], row["source"]): row["cohort"] for row in key_rows(source, cohort)}
    assert rows["PatientID", "PHANTOM-1"] == cohort.subject_id
    assert rows["SeriesInstanceUID", source.SeriesInstanceUID] == cohort.SeriesInstanceUID
    assert rows["StudyInstanceUID", source.StudyInstanceUID] == cohort.StudyInstanceUID
    assert rows["FrameOfReferenceUID", source.FrameOfReferenceUID] == cohort.FrameOfReferenceUID


def test_the_policy_refuses_unknown_keys():
    with pytest.raises(ValidationError):
        DeidentifyPolicy.model_validate({"burned_in_txt": "trust"})


def test_every_string_that_leaves_is_a_term_or_a_date():
    cohort, _, _ = to_cohort(series(ct(ConvolutionKernel="B30f")), KEYS, RECIPE, POLICY)
    terms = {term for vocabulary in allowlist.VOCABULARIES.values() for term in vocabulary.terms}
    attributes = json.loads(cohort.model_dump_json())["volumes"][0]["planned"]["attributes"]
    strings = {part for v in attributes.values() if isinstance(v, str) for part in v.split("\\")}
    assert {s for s in strings - terms if not re.fullmatch(r"\d{8}", s)} == {"B30f"}


@pytest.mark.parametrize(
    ("given", "left"), [(1000.0, 1000.0), (0.0, 0.0), (7351973519.0, None), (-5.0, None), (None, None)]
)
def test_a_b_value_that_cannot_be_one_stays_behind(given: float | None, left: float | None) -> None:
    assert deidentify._repetition(Repetition(b_value=given, time_s=1.5)) == Repetition(b_value=left, time_s=1.5)
