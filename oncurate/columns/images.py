"""Columns of what a release says of its images.

Belongs here: declarations. Does not belong here: computing a value (`oncurate.describe`, `oncurate.quality`).
"""

from __future__ import annotations

import pyarrow as pa

from oncurate.columns.types import FLAG, INT, INTS, REAL, REALS, TEXT, TEXTS

GRID = (
    ("native_shape", INTS, "Voxels along the three axes of the native NIfTI."),
    ("native_spacing_mm", REALS, "Voxel size along those axes, mm."),
    ("native_affine", REALS, "Row-major 4x4 matrix from native voxel indices to RAS mm."),
)

HARMONISED_GRID = (
    ("harmonised_shape", INTS, "Voxels along the three axes of the harmonised NIfTI."),
    ("harmonised_spacing_mm", REALS, "Voxel size along those axes, mm."),
    ("harmonised_affine", REALS, "Row-major 4x4 matrix from harmonised voxel indices to RAS mm."),
)

FACTS = (
    ("single_orientation", FLAG, "All slices have one orientation (tolerance 0.01 per component)."),
    ("orthogonal_orientation", FLAG, "Row and column direction are perpendicular unit vectors (tolerance 0.01)."),
    ("unique_slice_positions", FLAG, "As many distinct positions along the normal as slices."),
    ("consistent_in_plane_row", FLAG, "Slice positions projected on the row direction differ by less than 0.1 mm."),
    ("consistent_in_plane_col", FLAG, "Slice positions projected on the column direction differ by less than 0.1 mm."),
    ("consistent_pixel_spacing", FLAG, "All slices have one pixel spacing."),
    ("consistent_image_dimensions", FLAG, "All slices have one matrix size."),
    ("uniform_slice_spacing", FLAG, "Slice distances vary by less than 1 %, or slices lie within 0.05 mm of a grid."),
    ("obliquity_degrees", REAL, "Angle of the slice normal to the nearest patient axis; null if not in a patient."),
    ("gantry_tilt_degrees", REAL, "Shear of the stack computed from the positions; null for planar images."),
    ("regularly_spaced_3d_volume", FLAG, "The verdict: every fact above holds for at least two slices."),
)

VOLUME_IDENTITY = (
    ("volume_id", TEXT, "Content name of the volume; changes only when content or recipe changes."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("StudyInstanceUID", TEXT, "The cohort's study UID."),
    ("SeriesInstanceUID", TEXT, "The cohort's series UID."),
    ("Modality", TEXT, "DICOM modality."),
)

TECHNICAL: tuple[tuple[str, pa.DataType, str], ...] = (
    ("BodyPartExamined", TEXT, "Body part, from the list of defined terms."),
    ("Manufacturer", TEXT, "Manufacturer, in one spelling each."),
    ("ManufacturerModelName", TEXT, "Scanner model where it is on the list of known models."),
    ("MagneticFieldStrength", REAL, "Field strength, T."),
    ("SliceThickness", REAL, "Nominal slice thickness, mm."),
    ("KVP", REAL, "Peak tube voltage, kV."),
    ("ConvolutionKernel", TEXT, "CT reconstruction kernel where it is a known kernel name."),
    ("ScanningSequence", TEXT, "MR scanning sequence, defined terms joined by a backslash."),
    ("SequenceVariant", TEXT, "MR sequence variant, defined terms joined by a backslash."),
    ("MRAcquisitionType", TEXT, "2D or 3D."),
    ("RepetitionTime", REAL, "ms."),
    ("EchoTime", REAL, "ms."),
    ("InversionTime", REAL, "ms."),
    ("FlipAngle", REAL, "degrees."),
    ("DiffusionBValue", REAL, "s/mm2, where the standard attribute gives it."),
    ("Units", TEXT, "Units of PET pixel values as the scanner names them."),
    ("PatientPosition", TEXT, "Position of the patient in the gantry, for example HFS."),
    ("ImageLaterality", TEXT, "Side of the body, R, L, B or U."),
    ("ViewPosition", TEXT, "Radiographic view, from the list of defined terms."),
    ("PresentationIntentType", TEXT, "FOR PROCESSING or FOR PRESENTATION."),
    ("ImageType", TEXT, "Image type, defined terms joined by a backslash."),
)
"""Allow-listed attributes that have a column of their own; all that passed are in volume.json."""

VOLUMES = (
    *VOLUME_IDENTITY,
    ("kind", TEXT, "volume (two or more slices on one grid), planar (one image) or cine (one plane, many times)."),
    ("native_path", TEXT, "The volume on its acquired grid, relative to the data set."),
    ("harmonised_path", TEXT, "The volume on its profile's grid, relative to the data set."),
    ("preview_path", TEXT, "PNG of three planes, relative to the data set."),
    ("metadata_path", TEXT, "volume.json: attributes, slices, recipe and applied steps, relative to the data set."),
    ("native_sha256", TEXT, "SHA-256 of the native NIfTI."),
    ("harmonised_sha256", TEXT, "SHA-256 of the harmonised NIfTI."),
    ("normalised_path", TEXT, "Intensity-normalised twin of the harmonised NIfTI, where the profile asks for one."),
    ("normalised_sha256", TEXT, "SHA-256 of the normalised NIfTI."),
    *GRID,
    *HARMONISED_GRID,
    ("slice_spacing_mm", REAL, "Distance between neighbouring slices; null for planar images and cines."),
    ("number_of_slices", INT, "DICOM slices or frames in the volume, of all repetitions."),
    ("native_planes", INT, "Planes in the native NIfTI: its third axis times its repetitions."),
    ("repetitions", INT, "Length of the fourth axis of both NIfTI: time points or diffusion weightings; 1 for 3-D."),
    ("repeated_by", TEXTS, "What varies between repetitions: names of keys, 'repetition', or 'frame' in a cine."),
    ("repetition_times_s", REALS, "Time of each repetition since the first, s; null where the header does not say."),
    ("b_values", REALS, "Diffusion weighting of each repetition, s/mm2; null where there is none."),
    ("gradient_directions", REALS, "x, y, z of each repetition's diffusion gradient, unit vectors, LPS; 0 for none."),
    ("native_bval_path", TEXT, "FSL b-values of a 4-D diffusion volume, beside the native NIfTI."),
    ("native_bvec_path", TEXT, "FSL gradient directions in the axes of the native NIfTI."),
    ("harmonised_bval_path", TEXT, "FSL b-values of a 4-D diffusion volume, beside the harmonised NIfTI."),
    ("harmonised_bvec_path", TEXT, "FSL gradient directions in the axes of the harmonised NIfTI."),
    *FACTS,
    ("geometry_correction", TEXT, "none; shear or resample: the native voxels were interpolated onto a regular grid."),
    ("derived", FLAG, "ImageType says DERIVED, or the native voxels were interpolated."),
    ("projection", FLAG, "A projection of other images (maximum intensity and the like)."),
    ("laterality", TEXT, "Side of a projection image, L, R or B, from any attribute that gives it."),
    ("view", TEXT, "Radiographic view of a projection image as a defined term, from any attribute that gives it."),
    ("value_unit", TEXT, "Unit of the native voxel values: HU, Bq/ml, SUVbw g/ml, or 'stored' where none is defined."),
    ("value_scaling", TEXT, "What turned stored values into native ones: rescale, philips or real_world_value_map."),
    ("harmonised_unit", TEXT, "Unit of the harmonised values: SUVbw g/ml where that is computable, else as native."),
    ("suvbw_factor", REAL, "SUVbw (g/ml) per native value of a PET; null where not computable."),
    ("suvbw_status", TEXT, "How the factor of a PET was computed, or 'not computable' and why; null for the rest."),
    ("native_dtype", TEXT, "Voxel type of the native NIfTI."),
    ("harmonised_dtype", TEXT, "Voxel type of the harmonised NIfTI."),
    ("native_min", REAL, "Least native voxel value."),
    ("native_max", REAL, "Greatest native voxel value."),
    ("harmonised_min", REAL, "Least harmonised voxel value."),
    ("harmonised_max", REAL, "Greatest harmonised voxel value."),
    ("inverted", FLAG, "MONOCHROME1 pixels were inverted once, so that more is brighter."),
    ("pixels_masked", FLAG, "Pixels outside the declared ultrasound regions were blanked."),
    ("text_searched", FLAG, "Every frame was searched for text in its pixels."),
    ("text_blanked", FLAG, "Text was found in the pixels and blanked."),
    (
        "recognisable_face_possible",
        FLAG,
        "A face could be rendered from it and recognised: treat it as personal data.",
    ),
    ("face_removed", FLAG, "The voxels of the face were replaced."),
    ("spacing_source", TEXT, "Attribute that gave the in-plane spacing; 'none' means spacing has no unit."),
    ("split_by", TEXTS, "What set the volume apart from the others of its series."),
    *TECHNICAL,
    ("profile", TEXT, "Harmonisation profile, name and version."),
    ("steps", TEXT, "JSON list of the applied harmonisation steps with their arguments."),
    ("recipe", TEXT, "SHA-256 of the recipe: stage versions and parameters."),
)

QUALITY = (
    ("volume_id", TEXT, "Content name of the volume."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("Modality", TEXT, "DICOM modality."),
    ("stratum", TEXT, "Manufacturer, modality and sequence within which outliers are judged."),
    ("snr", REAL, "Mean over standard deviation of the foreground (bias-corrected); MR, PT and planar images."),
    ("snr_dietrich", REAL, "0.6551364 times mean foreground over standard deviation of air; MR only."),
    ("cnr", REAL, "Contrast between the two tissue classes over their joint noise."),
    ("noise_hu", REAL, "Median local standard deviation in soft tissue, HU; CT only."),
    ("efc", REAL, "Entropy focus criterion; 0 all energy in one voxel, 1 all voxels equal."),
    ("fber", REAL, "Foreground to background energy ratio; -1 when the background is empty."),
    ("sharpness", REAL, "Variance of the Laplacian of the foreground, intensities scaled to their 1-99 % range."),
    ("clipped_share", REAL, "Share of voxels at the extreme codes."),
    ("nan_share", REAL, "Share of voxels that are not finite numbers."),
    ("empty_slices", INT, "Slices that hold one single value."),
    ("slice_jump_max", REAL, "Greatest change of the mean between neighbouring slices over the median change."),
    ("field_of_view_mm", REALS, "Extent of the native grid along its axes, mm."),
    ("spacing_mm", REALS, "Voxel size of the native grid, mm."),
    ("constant", FLAG, "All voxels have one value."),
    ("outlier_metrics", TEXTS, "Metrics whose robust z within the stratum exceeds 3.5 (Iglewicz and Hoaglin)."),
    ("robust_z_max", REAL, "Greatest absolute robust z of the metrics within the stratum; null in small strata."),
)
