"""Columns of what a release says of annotations, and of DICOM objects.

Belongs here: declarations. Does not belong here: computing a value (`oncurate.annotations.described`).
"""

from __future__ import annotations

from oncurate.columns.types import FLAG, INT, INTS, REAL, TEXT, TEXTS

ANNOTATIONS = (
    ("annotation_id", TEXT, "Content name of the annotation; changes only when content or recipe changes."),
    ("label", INT, "The label's number, its voxel value; 0 for a map of numbers or a report."),
    ("volume_id", TEXT, "The volume that it was made on."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("SeriesInstanceUID", TEXT, "The cohort's UID of the annotation's own series; for a label file, of its image."),
    ("SOPInstanceUID", TEXT, "The cohort's UID of the annotation's object; null for a label file."),
    ("kind", TEXT, "seg, rtstruct, rtdose, parametric_map, sr, or label_file (NIfTI, NRRD)."),
    ("label_name", TEXT, "What a closed vocabulary leaves of the structure's name; of a map, what it shows."),
    ("snomed_code", TEXT, "SNOMED CT code of the structure, where a table has one for its code or name."),
    ("snomed_meaning", TEXT, "What the code means."),
    ("algorithm_type", TEXT, "AUTOMATIC, SEMIAUTOMATIC or MANUAL, where it is stated."),
    ("algorithm_name", TEXT, "What a closed vocabulary leaves of the algorithm's name."),
    (
        "native_path",
        TEXT,
        "Label map on the image's native grid, or map of numbers on its own grid.",
    ),
    ("harmonised_path", TEXT, "Label map on the image's harmonised grid, relative to the data set."),
    ("fractions_path", TEXT, "Of a fractional segmentation: each label's share of a voxel, or its probability, 0..1."),
    ("labels_path", TEXT, "labels.json: codes, colours, annotator; relative to the data set."),
    ("preview_path", TEXT, "PNG of the image with the borders of the labels, relative to the data set."),
    ("native_voxels", INT, "Voxels of the label on the native grid."),
    ("native_volume_ml", REAL, "Its volume there, ml; null where the image has no pixel size."),
    ("harmonised_voxels", INT, "Voxels of the label on the harmonised grid."),
    ("harmonised_volume_ml", REAL, "Its volume there, ml."),
    ("volume_change", REAL, "Relative change of the volume by resampling."),
    ("volume_kept", FLAG, "Whether the change is within 1 %, or the label too small or cut off for that."),
    ("components", INT, "Parts of the label that do not touch each other, by face, edge or corner."),
    ("bounding_box", INTS, "First and last voxel index along each axis of the native grid: i0 j0 k0 i1 j1 k1."),
    ("touches_border", FLAG, "Whether the label reaches the edge of the native grid."),
    ("declared_empty", FLAG, "The annotation declares the label without drawing anything."),
    ("unexpectedly_empty", FLAG, "The label has no voxel although something was drawn."),
    ("flags", TEXTS, "What a reader should know of the label: contours clipped, self-crossing, between slices, ..."),
    ("layers", INT, "Files that the labels of the annotation take: overlapping labels lie in different ones."),
    ("labels_declared", INT, "Labels of the annotation that are in its files."),
    ("labels_found", INT, "Labels that have voxels in its files, and those that are declared empty."),
    ("labels_skipped", INT, "Structures that could not be drawn; labels.json has the reason of each."),
    ("resampled", FLAG, "The annotation was drawn on another grid and brought onto the image's."),
    ("grid_is_image_grid", FLAG, "The label map has shape and matrix of the native image (1e-3 mm)."),
    ("harmonised_grid_is_image_grid", FLAG, "The label map has shape and matrix of the harmonised image (1e-3 mm)."),
    ("value_unit", TEXT, "Unit of a map of numbers, a UCUM code; Gy for a dose."),
    ("value_min", REAL, "Least value of a map of numbers."),
    ("value_max", REAL, "Greatest value of a map of numbers."),
    ("measurements", INT, "Rows of the measurements table that come from a report."),
    ("recipe", TEXT, "Digest of the recipe."),
)

MEASUREMENTS = (
    ("annotation_id", TEXT, "The report, as in the annotations table."),
    ("measurement", INT, "Number of the measurement in the report, from 1."),
    ("volume_id", TEXT, "The volume that the report belongs to."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("group", INT, "Measurement group in the report, from 1; 0 outside of any (TID 1500)."),
    ("tracking_id", TEXT, "What a closed vocabulary leaves of the tracking identifier."),
    ("tracking_uid", TEXT, "The cohort's tracking UID: the same finding in other reports."),
    ("name_code", TEXT, "Scheme and code of what was measured."),
    ("name", TEXT, "What was measured."),
    ("value", REAL, "The number, in `unit`."),
    ("unit", TEXT, "UCUM code."),
    ("finding_code", TEXT, "Scheme and code of the finding."),
    ("finding", TEXT, "The finding."),
    ("site_code", TEXT, "Scheme and code of the first site."),
    ("site", TEXT, "The first site."),
    ("laterality", TEXT, "Side of the site."),
    ("method_code", TEXT, "Scheme and code of the method."),
    ("method", TEXT, "The method."),
    ("derivation_code", TEXT, "Scheme and code of mean, standard deviation, ..."),
    ("derivation", TEXT, "Mean, standard deviation, ..."),
    ("segment_uids", TEXTS, "The cohort's SOP Instance UIDs of the segmentations that were measured."),
    ("segment_numbers", INTS, "Segment numbers in them."),
    ("image_uids", TEXTS, "The cohort's SOP Instance UIDs of other objects that the group names."),
)

INSTANCES = (
    ("SOPInstanceUID", TEXT, "The object's new instance UID."),
    ("dicom_path", TEXT, "The de-identified DICOM object, relative to the data set."),
    ("sha256", TEXT, "SHA-256 of its bytes."),
    ("bytes", INT, "Size in bytes."),
    ("SOPClassUID", TEXT, "What kind of object it is (PS3.4 B.5)."),
    ("Modality", TEXT, "Modality, from the list of defined terms."),
    ("SeriesInstanceUID", TEXT, "The cohort's series UID."),
    ("StudyInstanceUID", TEXT, "The cohort's study UID."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("volume_ids", TEXTS, "Volumes that were made of it; empty for what is no image."),
)

DEIDENTIFICATION = (
    ("output", TEXT, "dicom: the DICOM objects; metadata: what goes into tables and sidecars."),
    (
        "action",
        TEXT,
        "A code of PS3.15 Table E.1-1a: X removed, Z emptied, D dummy, C cleaned, U new UID.",
    ),
    ("rule", TEXT, "Row and option of Table E.1-1, or the rule of our own, that asked for it."),
    ("elements", INT, "Elements that it was done to, in all files that were de-identified."),
    ("objects", INT, "Files (metadata: volumes) in which it was done to at least one element."),
)
