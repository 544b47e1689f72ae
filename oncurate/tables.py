"""Every table that oncurate writes: its granularity, its columns, their types, units and meaning.

Belongs here: declarations, and the one way to write and read a table. Does not belong here: computing a value.
DICOM attributes keep their PascalCase keyword; columns that oncurate computes are snake_case with the unit.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXT, INT, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
INTS, REALS, TEXTS = pa.list_(INT), pa.list_(REAL), pa.list_(TEXT)


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, which columns identify a row, and all columns as (name, type, meaning)."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, pa.DataType, str], ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with a description on every column and the granularity on the table."""
        fields = [pa.field(n, t, metadata={"description": d}) for n, t, d in self.columns]
        return pa.schema(fields, metadata={"table": self.name, "row": self.row})


_LEDGER = (
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
)

_OBJECTS = (
    ("source_path", TEXT, "Path of the file relative to the source; members of an archive follow its path and '!/'."),
    ("url", TEXT, "Where the bytes can be read."),
    ("bytes", INT, "Size in bytes."),
    ("version", TEXT, "Changes when the object does: modification time and size, or ETag."),
    ("sha256", TEXT, "SHA-256 of the bytes; empty if refused before they were read."),
    ("reason", TEXT, "Why pull refused or excluded it; null if it goes on."),
)

_SERIES_STAGE = (
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

_COHORT_STAGE = (
    ("volume_id", TEXT, "Content name of the planned volume."),
    ("subject_id", TEXT, "Keyed pseudonym of the patient."),
    ("study_id", TEXT, "Keyed pseudonym of the study."),
    ("StudyInstanceUID", TEXT, "The cohort's study UID (2.25.<keyed>)."),
    ("SeriesInstanceUID", TEXT, "The cohort's series UID (2.25.<keyed>)."),
    ("Modality", TEXT, "Modality, from the list of defined terms."),
    ("StudyDate", TEXT, "Study date shifted by the subject's keyed number of days, YYYYMMDD."),
    ("date_is_shifted", FLAG, "Whether the date differs from the source's (true also where there is no date)."),
    ("identifiers_searched", INT, "Identifying values of the source that were searched for in the written record."),
    ("identifiers_found", INT, "How many of them were found; anything but 0 refuses the row."),
    ("attributes_kept", INT, "Technical attributes that the allow-list let through."),
    ("attributes_dropped", INT, "Attributes whose value no rule of the allow-list accepts."),
)

_GRID = (
    ("native_shape", INTS, "Voxels along the three axes of the native NIfTI."),
    ("native_spacing_mm", REALS, "Voxel size along those axes, mm."),
    ("native_affine", REALS, "Row-major 4x4 matrix from native voxel indices to RAS mm."),
)
_HARMONISED_GRID = (
    ("harmonised_shape", INTS, "Voxels along the three axes of the harmonised NIfTI."),
    ("harmonised_spacing_mm", REALS, "Voxel size along those axes, mm."),
    ("harmonised_affine", REALS, "Row-major 4x4 matrix from harmonised voxel indices to RAS mm."),
)
_FACTS = (
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
_VOLUME_IDENTITY = (
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

_VOLUMES = (
    *_VOLUME_IDENTITY,
    ("kind", TEXT, "volume (two or more slices on one grid), planar (one image) or cine (one plane, many times)."),
    ("native_path", TEXT, "The volume on its acquired grid, relative to the data set."),
    ("harmonised_path", TEXT, "The volume on its profile's grid, relative to the data set."),
    ("preview_path", TEXT, "PNG of three planes, relative to the data set."),
    ("metadata_path", TEXT, "volume.json: attributes, slices, recipe and applied steps, relative to the data set."),
    ("native_sha256", TEXT, "SHA-256 of the native NIfTI."),
    ("harmonised_sha256", TEXT, "SHA-256 of the harmonised NIfTI."),
    ("normalised_path", TEXT, "Intensity-normalised twin of the harmonised NIfTI, where the profile asks for one."),
    ("normalised_sha256", TEXT, "SHA-256 of the normalised NIfTI."),
    *_GRID,
    *_HARMONISED_GRID,
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
    *_FACTS,
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
    ("spacing_source", TEXT, "Attribute that gave the in-plane spacing; 'none' means spacing has no unit."),
    ("split_by", TEXTS, "What set the volume apart from the others of its series."),
    *TECHNICAL,
    ("profile", TEXT, "Harmonisation profile, name and version."),
    ("steps", TEXT, "JSON list of the applied harmonisation steps with their arguments."),
    ("recipe", TEXT, "SHA-256 of the recipe: stage versions and parameters."),
)

_QUALITY = (
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

_RELEASE_FACTS = (
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

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "keys",
            "one identity of the source (restricted: work zone only)",
            ("kind", "source"),
            (
                ("kind", TEXT, "patient, study, series or frame of reference."),
                ("source", TEXT, "The identity in the source."),
                ("cohort", TEXT, "The identity in the release."),
            ),
        ),
        Table("ledger", "one file of the provider's archive", ("source_path",), _LEDGER),
        Table("objects", "one file of the provider's archive", ("source_path",), _OBJECTS),
        Table("source_series", "one series of the source, identified", ("series_key",), _SERIES_STAGE),
        Table("cohort", "one planned, de-identified volume", ("volume_id",), _COHORT_STAGE),
        Table("volumes", "one curated volume", ("volume_id",), _VOLUMES),
        Table("quality", "one curated volume", ("volume_id",), _QUALITY),
        Table("release_facts", "one staged release", ("version",), _RELEASE_FACTS),
        Table(
            "subjects",
            "one patient",
            ("subject_id",),
            (
                ("subject_id", TEXT, "Keyed pseudonym of the patient; the same in every table, study and release."),
                ("subject_id_source", TEXT, "PatientID, or StudyInstanceUID where that is empty or a placeholder."),
                ("PatientSex", TEXT, "M, F or O where the header gives one of them."),
                ("studies", INT, "Curated studies."),
                ("series", INT, "Curated series."),
                ("volumes", INT, "Curated volumes."),
            ),
        ),
        Table(
            "studies",
            "one study of one subject",
            ("study_id",),
            (
                ("study_id", TEXT, "Keyed pseudonym of the study."),
                ("subject_id", TEXT, "Keyed pseudonym of the patient."),
                ("StudyInstanceUID", TEXT, "The cohort's study UID."),
                ("StudyDate", TEXT, "Shifted by the subject's keyed number of days, YYYYMMDD."),
                ("days_from_baseline", INT, "Days since the subject's first study in this release."),
                (
                    "patient_age_years",
                    REAL,
                    "Age at the study; 90 is over 89, and then all others of the subject are null.",
                ),
                ("modalities", TEXTS, "Modalities of its curated series."),
                ("series", INT, "Curated series."),
                ("volumes", INT, "Curated volumes."),
            ),
        ),
        Table(
            "series",
            "one series of one study",
            ("SeriesInstanceUID",),
            (
                ("SeriesInstanceUID", TEXT, "The cohort's series UID."),
                ("subject_id", TEXT, "Keyed pseudonym of the patient."),
                ("study_id", TEXT, "Keyed pseudonym of the study."),
                ("StudyInstanceUID", TEXT, "The cohort's study UID."),
                ("FrameOfReferenceUID", TEXT, "The cohort's frame of reference UID; null if the source has none."),
                ("Modality", TEXT, "DICOM modality."),
                ("AcquisitionDate", TEXT, "Shifted like the study date, YYYYMMDD; the study's where missing."),
                ("BodyPartExamined", TEXT, "Body part, from the list of defined terms."),
                ("Manufacturer", TEXT, "Manufacturer, in one spelling each."),
                ("ManufacturerModelName", TEXT, "Scanner model where it is on the list of known models."),
                ("volumes", INT, "Curated volumes."),
                ("slices", INT, "DICOM slices or frames in them."),
            ),
        ),
        Table(
            "manifest",
            "one object of the release",
            ("path",),
            (
                ("path", TEXT, "Relative to the data set."),
                ("bytes", INT, "Size in bytes."),
                ("sha256", TEXT, "SHA-256 of its bytes."),
            ),
        ),
        Table(
            "catalogue",
            "one data set released in this target",
            ("dataset",),
            (
                ("dataset", TEXT, "Name of the data set and of its folder."),
                ("title", TEXT, "Title from the provider file."),
                ("provider", TEXT, "Provider's name."),
                ("country", TEXT, "Provider's country, ISO 3166-1 alpha-2."),
                ("cancer_types", TEXTS, "Kinds of cancer, from the provider file."),
                ("version", TEXT, "Current release."),
                ("released_at", TEXT, "When it was released, UTC, ISO 8601."),
                ("subjects", INT, "Patients."),
                ("studies", INT, "Studies."),
                ("series", INT, "Series."),
                ("volumes", INT, "Volumes."),
                ("modalities", TEXTS, "Modalities."),
                ("body_parts", TEXTS, "Body parts."),
                ("manufacturers", TEXTS, "Manufacturers."),
                ("sexes", TEXTS, "Values of PatientSex that occur."),
                ("age_min_years", REAL, "Least age at a study."),
                ("age_max_years", REAL, "Greatest age at a study; 90 stands for all ages over 89."),
                ("bytes", INT, "Size of all objects of the release."),
                ("manifest_sha256", TEXT, "SHA-256 of the release's manifest."),
            ),
        ),
    )
}


def to_arrow(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table with the declared schema; a key that is not a column is an error, a missing one null."""
    table = TABLES[name]
    rows = list(rows)
    known = {n for n, _, _ in table.columns}
    for row in rows:
        extra = set(row) - known
        if extra:
            raise KeyError(f"table {name} has no column {sorted(extra)[0]}")
    return pa.Table.from_pylist([{n: row.get(n) for n in known} for row in rows], schema=table.schema)


def to_parquet(name: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file (zstd), the same bytes for the same rows."""
    out = io.BytesIO()
    pq.write_table(to_arrow(name, rows), out, compression="zstd")
    return out.getvalue()


def read_columns(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file, or only some of its columns; `pyarrow.ArrowInvalid` if one of them is missing.

    Read in this thread: `pyarrow.parquet.read_table` starts threads of its own, and a process that ends soon after
    aborts now and then ("terminate called without an active exception").
    """
    with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
        if columns is not None and not set(columns) <= set(file.schema_arrow.names):
            raise pa.ArrowInvalid("a column is missing")
        return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


def from_parquet(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return read_columns(data).to_pylist()
