"""Planting in the standard elements of a header: people, ids, addresses, devices, days, UIDs, at any depth.

Belongs here: which elements, and what PS3.15 Table E.1-1 asks for under the default options (dates moved, descriptors
cleaned, patient characteristics kept). Does not belong here: free text (`wording`), hidden places (`hidden`).
"""

from __future__ import annotations

from datetime import timedelta

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from benchmarks.phi.answers import Action, chain, step
from benchmarks.phi.people import SCRIPTS, plain
from benchmarks.phi.site import Site, nested, raw, shown

NAMES = {
    "PatientBirthName": 1,
    "PatientMotherBirthName": 1,
    "ResponsiblePerson": 1,
    "PhysiciansOfRecord": 2,
    "PerformingPhysicianName": 2,
    "NameOfPhysiciansReadingStudy": 2,
    "OperatorsName": 2,
    "RequestingPhysician": 1,
    "ScheduledPerformingPhysicianName": 1,
    "OtherPatientNames": 3,
}
"""Person names that are to be removed, and how many values are planted in each."""

CODES = (
    *("DeviceSerialNumber", "PlateID", "DetectorID", "GantryID", "CassetteID", "GeneratorID", "AdmissionID"),
    *("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID", "MedicalRecordLocator"),
    *("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"),
)
"""Ids and serial numbers that are to be removed or emptied."""

PLACES = (
    *("PatientAddress", "InstitutionAddress", "ReferringPhysicianAddress", "InstitutionName"),
    *("InstitutionalDepartmentName", "CurrentPatientLocation", "PatientInstitutionResidence", "RegionOfResidence"),
    *("CountryOfResidence", "MilitaryRank", "PatientReligiousPreference"),
)
PHONES = ("PatientTelephoneNumbers", "ReferringPhysicianTelephoneNumbers", "OrderCallbackPhoneNumber")

DATES = (
    *("SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate", "PerformedProcedureStepStartDate"),
    *("IssueDateOfImagingServiceRequest", "ScheduledStudyStartDate"),
)
"""Days that the option of modified dates keeps, moved."""

UIDS = ("SynchronizationFrameOfReferenceUID", "DeviceUID", "StorageMediaFileSetUID")
REFERRING = ("ReferencedImageSequence", "ReferencedInstanceSequence")
"""Sequences whose references stay, with other UIDs; Table E.1-1 lets some others be taken out as a whole."""

DEPTHS = {
    2: ("RequestAttributesSequence", "RequestedProcedureCodeSequence"),
    4: ("ProcedureCodeSequence", "EquivalentCodeSequence") * 2,
    8: ("AnatomicRegionSequence", "AnatomicRegionModifierSequence") * 4,
    13: ("RequestAttributesSequence", *("ReferencedStudySequence",) * 12),
}
"""Chains of sequences by how deep they lead."""


def patient(site: Site) -> None:
    """Who the object is of: name, ids, birth date, characteristics, and the character set of it all."""
    ds, who, place = site.ds, site.patient, "patient module"
    if SCRIPTS[who.script]:
        ds.SpecificCharacterSet = SCRIPTS[who.script]
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = who.person.pn, who.id, who.issuer
    site.gone(step("PatientName"), place, who.person.pn, who.person.parts, Action.TEXT_REPLACED)
    site.key.forbid((who.person.pn, f"{who.id}{who.issuer}"), place)
    site.key.forbid((plain(part) for part in who.person.parts if plain(part).isascii()), place)
    site.gone(step("PatientID"), place, who.id, (), Action.TEXT_REPLACED)
    site.expect(step("PatientID"), Action.PATIENT_CONSISTENT, place, value=who.id)
    site.gone(step("IssuerOfPatientID"), place, who.issuer)
    ds.PatientBirthDate = born = who.birthday.strftime("%Y%m%d")
    site.gone(step("PatientBirthDate"), place, born, (), Action.TEXT_REPLACED)
    others = [site.people.number("P") for _ in range(3)]
    ds.OtherPatientIDs = others
    site.gone(step("OtherPatientIDs"), "multi-valued", shown(others), tuple(others))
    item, path = nested(ds, ("OtherPatientIDsSequence",))
    item.PatientID, item.TypeOfPatientID = site.people.number("P"), "TEXT"
    site.gone(chain(path, step("PatientID")), "sequence, depth 1", item.PatientID)
    ds.PatientSex, ds.PatientWeight, ds.PatientSize = "F", "71.5", "1.68"
    for keyword in ("PatientSex", "PatientWeight", "PatientSize"):
        site.stays(step(keyword), place, ds[keyword].value)
    old = site.number % 4 == 0
    ds.PatientAge = "093Y" if old else "057Y"
    if old:
        site.gone(step("PatientAge"), "age above 89", "093Y", (), everywhere=False)
    else:
        site.stays(step("PatientAge"), place, "057Y")


def staff_and_places(site: Site) -> None:
    """Staff, institutions, devices, orders and telephone numbers at the root."""
    ds, place = site.ds, "root"
    for keyword, count in NAMES.items():
        people = [site.somebody() for _ in range(count)]
        setattr(ds, keyword, [p.pn for p in people] if count > 1 else people[0].pn)
        said = "\\".join(p.pn for p in people)
        site.gone(step(keyword), "multi-valued" if count > 1 else place, said, sum((p.parts for p in people), ()))
    referrer = site.somebody()
    ds.ReferringPhysicianName = referrer.pn
    site.gone(step("ReferringPhysicianName"), place, referrer.pn, referrer.parts, Action.TEXT_REPLACED)
    for keyword, made in (
        *((k, site.people.code) for k in CODES),
        *((k, site.people.street) for k in PLACES),
        *((k, site.people.phone) for k in PHONES),
        *((k, site.people.title) for k in ("StationName", "PerformedStationAETitle")),
    ):
        value = made()
        setattr(ds, keyword, value)
        site.gone(step(keyword), place, value)
    ds.AccessionNumber, ds.StudyID = site.study.accession, site.people.number()
    for keyword in ("AccessionNumber", "StudyID"):
        site.gone(step(keyword), place, ds[keyword].value, (), Action.TEXT_REPLACED)


def days(site: Site) -> None:
    """Days and times: moved by one shift a patient, at the root, in sequences and in several values."""
    ds, day = site.ds, site.study.day
    written = day.strftime("%Y%m%d")
    ds.StudyDate, ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime = written, "101112", "101200.500000", "101501"
    _moved(site, step("StudyDate"), "root", written)
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime"):
        site.stays(step(keyword), "times", ds[keyword].value)
    for keyword in DATES:
        setattr(ds, keyword, written)
        _moved(site, step(keyword), "root", written)
    ds.AcquisitionDateTime = f"{written}101501.250000"
    _moved(site, step("AcquisitionDateTime"), "root", ds.AcquisitionDateTime)
    calibrated = [(day - timedelta(k)).strftime("%Y%m%d") for k in (40, 12)]
    ds.DateOfLastCalibration = calibrated
    _moved(site, step("DateOfLastCalibration"), "multi-valued", shown(calibrated))
    item, path = nested(ds, ("RequestAttributesSequence", "ScheduledProtocolCodeSequence"))
    item.ScheduledProcedureStepStartDate = written
    _moved(site, chain(path, step("ScheduledProcedureStepStartDate")), "sequence, depth 2", written)
    for n, tracer in enumerate(ds.get("RadiopharmaceuticalInformationSequence", ())):
        place = step("RadiopharmaceuticalInformationSequence", n)
        tracer.RadiopharmaceuticalStartDateTime = f"{written}090000.00"
        _moved(site, chain(place, step("RadiopharmaceuticalStartDateTime")), "injection", f"{written}090000.00")
        for keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"):
            if keyword in tracer:
                site.stays(chain(place, step(keyword)), "injection", tracer[keyword].value)


def _moved(site: Site, path: str, place: str, value: str) -> None:
    site.expect(path, Action.DATE_SHIFTED, place, value=value)


def uids(site: Site) -> None:
    """UIDs: another one for each, the same one wherever it stands; DICOM's own stay."""
    ds = site.ds
    ds.StudyInstanceUID = site.study.uid
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        if keyword in ds:
            renamed(site, step(keyword), "root", str(ds[keyword].value))
    renamed(site, chain("meta", step("MediaStorageSOPInstanceUID")), "file meta", str(ds.SOPInstanceUID))
    site.stays(step("SOPClassUID"), "UIDs of DICOM", ds.SOPClassUID)
    for keyword in UIDS:
        setattr(ds, keyword, site.people.uid())
        renamed(site, step(keyword), "root", str(ds[keyword].value))
    several = [site.people.uid() for _ in range(2)]
    ds.IrradiationEventUID = several
    renamed(site, step("IrradiationEventUID"), "multi-valued", shown(several))
    for keyword in REFERRING:
        item, path = nested(ds, (keyword,))
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", site.people.uid()
        renamed(site, chain(path, step("ReferencedSOPInstanceUID")), "sequence, depth 1", item.ReferencedSOPInstanceUID)
        site.stays(chain(path, step("ReferencedSOPClassUID")), "UIDs of DICOM", item.ReferencedSOPClassUID)
    for path, target in site.draft.refers_to:
        renamed(site, path, "reference", target)
    if site.number % 5 == 0:
        raw(ds, tag_for_keyword("RelatedFrameOfReferenceUID") or 0, "UI", b"")  # no length: nothing to rename


def renamed(site: Site, path: str, place: str, value: str) -> None:
    """Note that a UID must be another one, and the same other one wherever it stands."""
    site.gone(path, place, value, tuple(value.split("\\")), Action.UID_CHANGED)
    site.expect(path, Action.UID_CONSISTENT, place, value=value)


def depths(site: Site) -> None:
    """Names, ids and text in items of items; every second object writes its sequences with undefined length."""
    for depth, keywords in DEPTHS.items():
        item, path = nested(site.ds, keywords)
        place, person, number = f"sequence, depth {depth}", site.somebody(), site.people.number("D")
        item.PersonName, item.AccessionNumber = person.pn, number
        site.gone(chain(path, step("PersonName")), place, person.pn, person.parts)
        site.gone(chain(path, step("AccessionNumber")), place, number)
        said, phone = site.somebody(), site.people.phone()
        item.PatientComments = f"called {said.spellings()[0]} on {phone}"
        site.gone(chain(path, step("PatientComments")), place, item.PatientComments, (*said.parts, phone))
        if site.number % 2:
            for keyword in keywords:
                _undefined(site.ds, keyword)


def _undefined(ds: Dataset, keyword: str) -> None:
    if keyword in ds and isinstance(ds[keyword].value, Items):
        ds[keyword].is_undefined_length = True
