"""Columns of the tables that stages hand on inside the work zone.

Belongs here: declarations. Does not belong here: what a release holds.
"""

from __future__ import annotations

from oncurate.columns.types import FLAG, INT, REAL, TEXT

LEDGER = (
    ("source_path", TEXT, "Path of the file relative to the source; members of an archive follow its path and '!/'."),
    ("bytes", INT, "Size of the file in bytes."),
    ("SOPInstanceUID", TEXT, "The source's instance UID (identified); null if the file has none."),
    ("SeriesInstanceUID", TEXT, "The source's series UID (identified); null if the file has none."),
    ("state", TEXT, "curated, quarantined, duplicate or excluded: exactly one."),
    ("reason", TEXT, "Why it is not curated, from the closed list; null if curated."),
    ("detail", TEXT, "What the reason leaves open: an attribute's name, a transfer syntax, an expectation; no value."),
    ("stage", TEXT, "The stage that decided."),
    ("cohort_series_uid", TEXT, "The de-identified SeriesInstanceUID; null if it never got one."),
    ("volume_id", TEXT, "The curated volume that holds it (the first, if a multi-frame file became several)."),
    ("annotation_id", TEXT, "The curated annotation that was made of it."),
    ("dicom_path", TEXT, "The de-identified DICOM object that was made of it, where the provider file asks for them."),
)

OBJECTS = (
    ("source_path", TEXT, "Path of the file relative to the source; members of an archive follow its path and '!/'."),
    ("url", TEXT, "Where the bytes can be read."),
    ("bytes", INT, "Size in bytes."),
    ("version", TEXT, "Changes when the object does: modification time and size, or ETag."),
    ("sha256", TEXT, "SHA-256 of the bytes; empty if refused before they were read."),
    ("reason", TEXT, "Why pull refused or excluded it; null if it goes on."),
)

SERIES_STAGE = (
    ("series_key", TEXT, "Digest of patient, study and series UID: names the series inside the work zone only."),
    ("Modality", TEXT, "The source's modality."),
    ("has_patient_id", FLAG, "Whether the source gave a PatientID."),
    ("has_study_date", FLAG, "Whether the source gave a valid StudyDate."),
    ("instances_found", INT, "Files of the series that hold an image, duplicates included."),
    ("instances_planned", INT, "Files that are part of a planned volume."),
    ("instances_refused", INT, "Files of the series that are quarantined, excluded or duplicates."),
    ("volumes_planned", INT, "Regular volumes and planar images that the split rules made of it."),
    ("slices_planned", INT, "Slices in those volumes."),
    ("positions_all_finite", FLAG, "Whether every position, orientation and spacing is a finite number."),
    ("planned_bytes", INT, "Bytes of the files that are part of a planned volume."),
)

COHORT_STAGE = (
    ("volume_id", TEXT, "Content name of the planned volume."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("StudyInstanceUID", TEXT, "The cohort's study UID (2.25.<keyed>)."),
    ("SeriesInstanceUID", TEXT, "The cohort's series UID (2.25.<keyed>)."),
    ("Modality", TEXT, "Modality, from the list of defined terms."),
    ("StudyDate", TEXT, "Study date shifted by the subject's keyed number of days, YYYYMMDD."),
    ("date_follows_policy", FLAG, "Whether the date is what the policy asks for: another day, the same, or none."),
    ("uids_follow_policy", FLAG, "Whether study and series UID are new, as the policy asks, or meant to be the same."),
    ("identifiers_searched", INT, "Identifying values of the source that were searched for in the written record."),
    ("identifiers_found", INT, "How many of them were found; anything but 0 refuses the row."),
    ("attributes_kept", INT, "Technical attributes that the allow-list let through."),
    ("attributes_dropped", INT, "Attributes whose value no rule of the allow-list accepts."),
    ("dicom_objects_expected", INT, "DICOM objects that the provider file asks for: one a source file, or 0."),
    ("dicom_objects_written", INT, "Those that were de-identified, written, read again and searched."),
)

AUDIT = (
    ("output", TEXT, "dicom, or metadata: what goes into tables and sidecars."),
    ("object", TEXT, "SHA-256 of the source file, or the volume_id (metadata)."),
    ("element", TEXT, "Tags and item numbers that lead to the element, or its keyword (metadata)."),
    (
        "action",
        TEXT,
        "A code of PS3.15 Table E.1-1a: X removed, Z emptied, D dummy, C cleaned, U new UID.",
    ),
    ("rule", TEXT, "Row and option of Table E.1-1, or the rule of our own, that asked for it."),
)

RELEASE_FACTS = (
    ("version", TEXT, "Version that the release would get: v1, v2, ..."),
    ("files_found", INT, "Files of the provider's archive that pull found, members of archive files included."),
    ("files_curated", INT, "Files that are part of a curated volume."),
    ("files_quarantined", INT, "Files that are quarantined."),
    ("files_duplicate", INT, "Files that are held once already."),
    ("files_excluded", INT, "Files that are excluded as expected."),
    ("files_sum", INT, "Sum of the four states; conservation makes it equal to files_found."),
    ("ledger_rows", INT, "Rows of the ledger."),
    ("ledger_duplicate_paths", INT, "Rows of the ledger whose source_path another row has too."),
    ("volumes", INT, "Volumes in the volumes table."),
    ("subjects", INT, "Patients in the subjects table."),
    ("objects_in_manifest", INT, "Objects that the manifest lists."),
    ("objects_read_back", INT, "Objects that were read again after they were written."),
    ("objects_mismatched", INT, "Objects whose bytes, read again, have another SHA-256."),
    ("volumes_without_subject", INT, "Volumes whose patient is not in the subjects table."),
    ("volumes_without_study", INT, "Volumes whose study is not in the studies table."),
    ("volumes_missing_files", INT, "Volumes one of whose paths is not an object of the release."),
    ("identifiers_found", INT, "Identifying values of the source found in what would leave."),
    ("refused_share", REAL, "Quarantined files over files found."),
    ("refused_share_limit", REAL, "The greatest share of refused files that the provider file allows."),
)
