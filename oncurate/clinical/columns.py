"""The columns of the `clinical` and `links` tables: name, type and meaning.

Belongs here: declarations. Does not belong here: computing a value. `oncurate.tables` holds the tables themselves.
"""

from __future__ import annotations

from pyarrow import DataType

from oncurate.columns.types import FLAG, INT, REAL, TEXT

EVENTS = {
    "episode": "Start of the episode",
    "radiological_detection": "First detection of the tumour in an image",
    "diagnosis": "Diagnosis",
    "pathology_confirmation": "Confirmation of the tumour by pathology",
    "first_treatment": "Start of the first treatment",
    "last_contact": "Last contact or death",
}
"""Events by name; each has a column `<name>_date` and a column `<name>_days`."""


def _event(name: str) -> tuple[tuple[str, DataType, str], ...]:
    meaning = EVENTS[name]
    return (
        (f"{name}_date", TEXT, f"{meaning}, shifted by the subject's keyed number of days, YYYYMMDD."),
        (f"{name}_days", INT, f"{meaning}, days since the subject's first study in this release."),
    )


CLINICAL = (
    ("subject_id", TEXT, "Keyed pseudonym of the patient; the same as in the tables of the images."),
    ("episode_number", INT, "1..n of the patient's rows by episode date; 1 where the patient has one row."),
    ("episode", TEXT, "Diagnosis, Treatment, Progression, Relapse, Remission or Active Surveillance."),
    *_event("episode"),
    ("population", TEXT, "Why the person is in the data set: patient with cancer, screening negative, control."),
    ("sex", TEXT, "Sex at birth: male, female or other."),
    (
        "age_at_diagnosis_years",
        REAL,
        "Age, one decimal; 90 is over 89, and then all other ages of the subject are null.",
    ),
    ("topography", TEXT, "Site of the tumour, ICD-O-3 topography: C34 or C34.1."),
    ("laterality", TEXT, "Side of the tumour: left, right, bilateral or midline."),
    *_event("radiological_detection"),
    *_event("diagnosis"),
    ("pathology_confirmation", TEXT, "What the diagnosis was confirmed with: biopsy, resection, cytology, autopsy."),
    *_event("pathology_confirmation"),
    ("pathology", TEXT, "Histology and behaviour of the tumour, ICD-O-3 morphology: 8140/3."),
    ("pathology_text", TEXT, "Histology in words, cleaned: words of a closed vocabulary only."),
    ("t_category", TEXT, "TNM, extent of the primary tumour with its prefix: cT2a."),
    ("n_category", TEXT, "TNM, regional lymph nodes with its prefix: pN1mi."),
    ("m_category", TEXT, "TNM, distant metastasis with its prefix: M0."),
    ("tnm_edition", INT, "Edition of the TNM classification, 1 to 9."),
    ("grade", TEXT, "Differentiation: GX, G1 to G4, or low or high where a two-tier scale is used."),
    ("imaging_protocol", TEXT, "Protocol of the diagnostic imaging, cleaned: words of a closed vocabulary only."),
    ("treatment", TEXT, "Kinds of treatment in alphabetical order, joined by ' + '."),
    ("treatment_text", TEXT, "Treatment in words, cleaned: words of a closed vocabulary only."),
    *_event("first_treatment"),
    ("vital_status", TEXT, "alive or deceased, at the last contact."),
    *_event("last_contact"),
    ("survival_days", INT, "Days from the diagnosis to the last contact or death."),
    ("studies", INT, "Curated studies."),
    ("sex_agrees", FLAG, "Whether the sex is that of the image headers; null where one of them is not given."),
    ("age_agrees", FLAG, "Whether the age fits the image headers' ages within 1.5 years; null where not comparable."),
)

LINKS = (
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("StudyInstanceUID", TEXT, "The cohort's study UID."),
    (
        "episode",
        TEXT,
        "Diagnosis, Treatment, Progression, Relapse, Remission or Active Surveillance; null if not known.",
    ),
    ("episode_source", TEXT, "study: the clinical file names the study; date: the episode that the study date is in."),
    ("timepoint", INT, "1..n of the patient's imaging studies by shifted date; null without a date."),
    ("days_from_baseline", INT, "Days since the subject's first study in this release."),
)

PROBLEMS = (
    ("row", INT, "Row of the clinical file, 1 for the first after the header (restricted: work zone only)."),
    ("column", TEXT, "Field of the mapping; empty where it is about the whole row."),
    ("reason", TEXT, "What is wrong, from a closed list."),
)
