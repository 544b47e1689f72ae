"""One object: identity, references, dates, ages, codes, reports, marks; and what is refused."""

from __future__ import annotations

import io
import re

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID_dictionary

from oncurate import deid
from oncurate.deid import codes, marks, text, written
from oncurate.deid.policy import PROFILE
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason
from tests import phantoms

KEYS = Keys(b"s" * 32)
POLICY = deid.DeidPolicy()
SUBJECT = KEYS.subject_id("PHANTOM-1", "")
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


def clean(ds: Dataset, policy: deid.DeidPolicy = POLICY, **options) -> Dataset:
    return deid.clean_object(ds, KEYS, policy, SUBJECT, **options)[0]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def content(kind: str, name: Dataset, **values) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, Sequence([name])
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def report(*items: Dataset) -> Dataset:
    ds = phantoms.dataset(modality="SR", sop_class=COMPREHENSIVE_SR)
    del ds.PixelData
    ds.ValueType, ds.ContentSequence = "CONTAINER", Sequence(items)
    ds.ConceptNameCodeSequence = Sequence([code("126000", "DCM", "Imaging Measurement Report")])
    return ds


def test_the_subject_takes_the_place_of_the_patient() -> None:
    inner = Dataset()
    inner.PatientID, inner.PatientName = "PHANTOM-1", "PHANTOM^ONE"
    ds = phantoms.dataset(RequestAttributesSequence=Sequence([inner]))
    out = clean(ds)
    assert out.PatientID == SUBJECT
    assert str(out.PatientName) == SUBJECT
    assert out.RequestAttributesSequence[0].PatientID == SUBJECT
    assert ds.PatientID == "PHANTOM-1"


def test_a_segmentation_still_points_at_its_image() -> None:
    image = phantoms.dataset()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = image.SeriesInstanceUID, Sequence([item])
    mask = phantoms.dataset(sop_class=SEGMENTATION, modality="SEG", ReferencedSeriesSequence=Sequence([series]))
    mask.FrameOfReferenceUID = image.FrameOfReferenceUID
    new_image, new_mask = clean(image), clean(mask)
    found = new_mask.ReferencedSeriesSequence[0]
    assert found.SeriesInstanceUID == new_image.SeriesInstanceUID == KEYS.uid(image.SeriesInstanceUID)
    assert found.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == new_image.SOPInstanceUID
    assert found.ReferencedInstanceSequence[0].ReferencedSOPClassUID == new_image.SOPClassUID == image.SOPClassUID
    assert new_mask.FrameOfReferenceUID == new_image.FrameOfReferenceUID != image.FrameOfReferenceUID
    assert new_mask.StudyInstanceUID == new_image.StudyInstanceUID


def test_no_source_uid_is_left_and_public_ones_stay() -> None:
    ds = phantoms.dataset(
        FailedSOPInstanceUIDList=["1.2.3.4", "1.2.840.10008.1.2"], ContextUID="1.2.840.10008.6.1.1499"
    )
    out = clean(ds)
    assert out.FailedSOPInstanceUIDList == [KEYS.uid("1.2.3.4"), "1.2.840.10008.1.2"]
    for element in out.iterall():
        if element.VR == "UI" and element.keyword not in ("FailedSOPInstanceUIDList", "ContextUID"):
            assert element.value in UID_dictionary or element.value.startswith("2.25.")


def test_dates_move_together_at_any_depth_and_times_stay() -> None:
    dose = Dataset()
    dose.RadiopharmaceuticalStartDateTime = "20230405093000.000000+0100"
    dose.RadiopharmaceuticalStartTime = "093000"
    ds = phantoms.dataset(
        AcquisitionDateTime="20230405101201.5", RadiopharmaceuticalInformationSequence=Sequence([dose])
    )
    out = clean(ds)
    day = KEYS.shift_date("20230405", SUBJECT)
    assert day != "20230405"
    assert (out.StudyDate, out.SeriesDate, out.AcquisitionDate) == (day, day, day)
    assert out.AcquisitionDateTime == f"{day}101201.5"
    item = out.RadiopharmaceuticalInformationSequence[0]
    assert item.RadiopharmaceuticalStartDateTime == f"{day}093000.000000+0100"
    assert (item.RadiopharmaceuticalStartTime, out.AcquisitionTime) == ("093000", "101201")
    assert not out.PatientBirthDate


@pytest.mark.parametrize("value", ["20231345", "2023", "unknown", "20230405-20230406", "00010203"])
def test_invalid_dates_go(value: str) -> None:
    ds = phantoms.dataset()
    ds["StudyDate"].value = ""
    ds["StudyDate"]._value = value
    assert not clean(ds).StudyDate if "StudyDate" in clean(ds) else True
    assert value.encode() not in deid.write(clean(ds))


@pytest.mark.parametrize(("policy", "expected"), [("full", "20230405"), ("none", "")])
def test_dates_as_they_are_or_none(policy: str, expected: str) -> None:
    out = clean(phantoms.dataset(), deid.DeidPolicy(dates=policy))
    assert (out.StudyDate or "") == expected
    assert not out.PatientBirthDate
    assert out.LongitudinalTemporalInformationModified == {"full": "UNMODIFIED", "none": "REMOVED"}[policy]


@pytest.mark.parametrize(
    ("age", "expected"), [("063Y", "063Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("102Y", "090Y"), ("45Y", "045Y")]
)
def test_ages_above_89_are_pooled(age: str, expected: str) -> None:
    assert clean(phantoms.dataset(PatientAge=age)).PatientAge == expected


def test_an_age_that_is_none_goes() -> None:
    ds = phantoms.dataset()
    ds["PatientAge"]._value = "63 J"
    assert not clean(ds).get("PatientAge")


def test_what_makes_an_image_useful_stays() -> None:
    ds = phantoms.dataset(
        SeriesDescription="CT thorax p.v.",
        SliceThickness="2.5",
        ConvolutionKernel="B30f",
        PatientWeight="71.5",
        ImagePositionPatient=["-100.5", "20", "3e1"],
        SoftwareVersions="syngo MR E11",
        ScanOptions=["HELICAL MODE", "Dr Jansen"],
    )
    out = clean(ds)
    for keyword in (
        "SeriesDescription",
        "SliceThickness",
        "ConvolutionKernel",
        "PatientWeight",
        "ImagePositionPatient",
    ):
        assert out[keyword].value == ds[keyword].value
    for keyword in ("Modality", "Manufacturer", "ManufacturerModelName", "ImageType", "PatientSex", "SoftwareVersions"):
        assert out[keyword].value == ds[keyword].value
    assert out.ScanOptions == "HELICAL MODE"


def test_a_code_string_is_ascii() -> None:
    ds = phantoms.dataset(SpecificCharacterSet="ISO_IR 192", ScanOptions="HELICAL")
    ds["ScanOptions"]._value = "SCHÄDEL"
    assert not clean(ds).get("ScanOptions")


def test_damaged_identification_is_refused() -> None:
    ds = phantoms.dataset()
    ds["SOPInstanceUID"]._value = "1.2.3\\4.5"
    assert clean(ds).SOPInstanceUID
    del ds.SOPInstanceUID
    ds.add_new("SOPInstanceUID", "OB", b"1.2.3.4 ")
    assert refused(ds) is Reason.BROKEN_HEADER


def test_type_1_attributes_get_a_dummy_and_type_2_stay_empty() -> None:
    ds = phantoms.dataset(PositionReferenceIndicator="Jansen", Manufacturer="Jansen & Zoon", DetectorID="Jansen")
    out = clean(ds)
    assert not out.PositionReferenceIndicator
    assert "DetectorID" not in out
    ds = phantoms.dataset(sop_class=SEGMENTATION, Manufacturer="Jansen & Zoon")
    assert clean(ds).Manufacturer == "REMOVED"


def test_twice_is_the_same_and_the_secret_matters() -> None:
    one, other = (deid.write(clean(phantoms.dataset())) for _ in range(2))
    assert one == other
    another = deid.clean_object(phantoms.dataset(), Keys(b"t" * 32), POLICY, SUBJECT)[0]
    assert another.SOPInstanceUID != dcmread(io.BytesIO(one)).SOPInstanceUID


def test_codes_of_public_terminologies_stay_and_local_ones_are_keyed() -> None:
    ds = phantoms.dataset(
        ProcedureCodeSequence=Sequence([code("ORD-778123", "99ZKHS", "Knie Jansen links")]),
        AnatomicRegionSequence=Sequence([code("39607008", "SCT", "Lung of Jansen")]),
    )
    out = clean(ds)
    local, region = out.ProcedureCodeSequence[0], out.AnatomicRegionSequence[0]
    assert re.fullmatch(r"C[0-9]{12}", local.CodeValue)
    assert local.CodingSchemeDesignator == codes.LOCAL_SCHEME
    assert local.CodeMeaning == "Knie links"
    assert (region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning) == (
        "39607008",
        "SCT",
        "Lung structure",
    )
    again = clean(phantoms.dataset(ProcedureCodeSequence=Sequence([code("ORD-778123", "99ZKHS", "")])))
    assert again.ProcedureCodeSequence[0].CodeValue == local.CodeValue


def test_a_public_scheme_does_not_let_an_own_number_pass() -> None:
    ds = phantoms.dataset(patient="39607009", AnatomicRegionSequence=Sequence([code("39607009", "SCT", "Lung")]))
    assert clean(ds).AnatomicRegionSequence[0].CodeValue != "39607009"


@pytest.mark.parametrize(
    ("unit", "is_one"),
    [("mm", True), ("{SUVbw}g/ml", True), ("10-3/mm3", False), ("[hnsf'U]", True), ("jansen", False)],
)
def test_units(unit: str, is_one: bool) -> None:
    assert codes.is_unit(unit) is is_one or codes.is_public(unit)


def test_a_report_keeps_measurements_and_loses_persons() -> None:
    ds = report(
        content("PNAME", code("121008", "DCM", "Person Observer Name"), PersonName="Jansen^Piet"),
        content(
            "TEXT", code("121071", "DCM", "Finding"), TextValue="Jansen: nodule in the left upper lobe, 12-03-1960"
        ),
        content("UIDREF", code("112040", "DCM", "Tracking Unique Identifier"), UID="1.2.3.4"),
        content("DATETIME", code("111526", "DCM", "DateTime Started"), DateTime="20230405101112"),
        content("TEXT", code("121022", "DCM", "Accession Number"), TextValue="liver"),
        content("NUM", code("410668003", "SCT", "Length"), MeasuredValueSequence=Sequence([])),
    )
    out = clean(ds)
    found = {item.ConceptNameCodeSequence[0].CodeValue: item for item in out.ContentSequence}
    assert found["121071"].TextValue == "nodule in the left upper lobe"
    assert KEYS.uid("1.2.3.4") == found["112040"].UID
    assert found["111526"].DateTime == KEYS.shift_date("20230405", SUBJECT) + "101112"
    assert "121022" not in found
    assert "410668003" in found
    assert b"Jansen" not in deid.write(out)


def test_content_items_that_others_point_at_stay_as_dummies() -> None:
    pointer = Dataset()
    pointer.RelationshipType, pointer.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1]
    ds = report(
        content("TEXT", code("121022", "DCM", "Accession Number"), TextValue="4711"),
        content("TEXT", code("121071", "DCM", "Finding"), TextValue="nodule", ContentSequence=Sequence([pointer])),
    )
    out = clean(ds)
    assert [item.TextValue for item in out.ContentSequence] == ["REMOVED", "nodule"]


def test_without_the_option_a_report_is_a_dummy() -> None:
    ds = report(content("TEXT", code("121071", "DCM", "Finding"), TextValue="nodule"))
    out = clean(ds, deid.DeidPolicy(clean_structured_content=False))
    assert out.ContentSequence[0].TextValue == "REMOVED"


@pytest.mark.parametrize(
    ("pixels", "more"),
    [("kept", set()), ("checked", {"113101"}), ("masked", {"113101"}), ("masked_defaced", {"113101", "113102"})],
)
def test_marks_say_what_was_done(pixels: str, more: set[str]) -> None:
    out = clean(phantoms.dataset(DeidentificationMethod="by Jansen"), pixels=pixels)
    found = {item.CodeValue for item in out.DeidentificationMethodCodeSequence}
    assert found == {PROFILE[0], "113103", "113104", "113105", "113107", "113108", "113111"} | more
    assert (out.PatientIdentityRemoved, out.DeidentificationMethod) == ("YES", marks.METHOD)
    assert out.LongitudinalTemporalInformationModified == "MODIFIED"
    assert out.get("BurnedInAnnotation") == (None if pixels == "kept" else "NO")
    assert out.get("RecognizableVisualFeatures") == ("NO" if "defaced" in pixels else None)


def refused(ds: Dataset, policy: deid.DeidPolicy = POLICY) -> Reason:
    with pytest.raises(Rejection) as caught:
        clean(ds, policy)
    return caught.value.reason


def test_what_cannot_be_cleaned_is_refused() -> None:
    assert refused(phantoms.dataset(sop_class="1.2.3.4")) is Reason.UNKNOWN_SOP_CLASS
    assert refused(phantoms.dataset(sop_class="1.2.840.10008.5.1.4.1.1.104.1")) is Reason.UNSUPPORTED_KIND
    assert refused(phantoms.dataset(EncapsulatedDocument=b"%PDF")) is Reason.UNSUPPORTED_KIND
    assert refused(phantoms.dataset(sop_class="1.2.840.10008.1.3.10")) is Reason.DICOMDIR
    assert refused(phantoms.dataset(BurnedInAnnotation="YES")) is Reason.BURNED_IN_ANNOTATION
    without = phantoms.dataset()
    del without.SOPInstanceUID
    assert refused(without) is Reason.MISSING_IDENTITY


def test_burned_in_text_passes_once_it_is_masked() -> None:
    assert clean(phantoms.dataset(BurnedInAnnotation="YES"), pixels="masked").BurnedInAnnotation == "NO"
    trusting = deid.DeidPolicy(clean_pixel_data=False)
    assert clean(phantoms.dataset(BurnedInAnnotation="YES"), trusting).BurnedInAnnotation == "YES"


def test_device_and_institution_stay_if_asked_for_but_not_the_patient_in_them() -> None:
    ds = phantoms.dataset(StationName="CT7 PHANTOM", DeviceSerialNumber="4711-A", InstitutionName="Example Hospital")
    assert "StationName" not in clean(ds)
    out = clean(ds, deid.DeidPolicy(retain_device_identity=True, retain_institution_identity=True))
    assert (out.StationName, out.DeviceSerialNumber, out.InstitutionName) == ("CT7", "4711-A", "Example Hospital")


def test_uids_stay_if_asked_for() -> None:
    ds = phantoms.dataset()
    out = clean(ds, deid.DeidPolicy(retain_uids=True))
    assert (out.SOPInstanceUID, out.StudyInstanceUID) == (ds.SOPInstanceUID, ds.StudyInstanceUID)


def identifiers(ds: Dataset) -> frozenset[str]:
    return deid.source_identifiers(ds, POLICY)


@pytest.mark.parametrize("how", ["ascii", "lower", "utf-16-le", "utf-16-be", "pixels"])
def test_verify_finds_what_survived(how: str) -> None:
    ds = phantoms.dataset(patient="KOWALSKA-0042")
    found = identifiers(ds)
    out = clean(ds)
    assert deid.verify(deid.write(out), found) == 0
    word = {"lower": "kowalska-0042"}.get(how, "KOWALSKA-0042")
    raw = word.encode(how if how.startswith("utf") else "ascii")
    if how == "pixels":
        out.PixelData = out.PixelData[:20] + raw + out.PixelData[20 + len(raw) :]
    else:
        out.add_new(0x00204000, "OB", raw + b"\0" * (len(raw) % 2))
    assert deid.verify(deid.write(out), found) == 1


def test_verify_does_not_look_for_words_of_the_vocabulary() -> None:
    ds = phantoms.dataset(SeriesDescription="CT thorax p.v.", StudyDescription="CT thorax Kowalska")
    assert "CT thorax p.v." not in identifiers(ds)
    assert deid.verify(deid.write(clean(ds)), identifiers(ds)) == 0
    assert deid.verify(deid.write(clean(ds)), {"CT thorax", "MODIFIED"}) == 0


def test_what_is_written_bears_our_name() -> None:
    meta = dcmread(io.BytesIO(deid.write(clean(phantoms.dataset())))).file_meta
    assert meta.ImplementationClassUID == written.IMPLEMENTATION_UID
    assert meta.ImplementationVersionName == written.IMPLEMENTATION_VERSION
    assert len(written.IMPLEMENTATION_VERSION) <= 16


def test_identifiers_are_harvested_at_any_depth_by_the_table() -> None:
    inner = Dataset()
    inner.PatientName, inner.AccessionNumber = "Deep^Name", "ACC-77"
    ds = phantoms.dataset(RequestAttributesSequence=Sequence([inner]), SeriesDescription="Deep Name liver T2")
    out = clean(ds)
    assert out.SeriesDescription == "liver T2"
    assert text.identifiers({"Deep^Name"}).joined >= {"deepname", "namedeep"}
