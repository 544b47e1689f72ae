"""The closed list of reasons why a file does not end as part of a curated volume, and what to do about each.

Belongs here: slugs, the state each leads to, and one sentence for the data engineer who has to act. Does not belong
here: deciding which reason applies.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a file ends. Every file found ends in exactly one of these."""

    CURATED = "curated"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    EXCLUDED = "excluded"


class Reason(StrEnum):
    """Why a file is not curated. The value is the slug that tables, logs and the operator's view show."""

    # excluded: as expected, nothing to do
    ARCHIVE_UNPACKED = "archive_unpacked"
    NOT_DICOM = "not_dicom"
    DICOMDIR = "dicomdir"
    NOT_AN_IMAGE = "not_an_image"
    SECONDARY_CAPTURE = "secondary_capture"
    LOCALIZER = "localizer"
    UNSUPPORTED_KIND = "unsupported_kind"
    TILED_IMAGE = "tiled_image"
    NO_MEASUREMENTS = "no_measurements"
    OPEN_CONTOURS = "open_contours"
    EMPTY_STRUCTURE_SET = "empty_structure_set"
    NOT_SELECTED = "not_selected"
    # duplicate: held once already
    SAME_BYTES = "same_bytes"
    SAME_PIXELS = "same_pixels"
    LOSSY_COPY = "lossy_copy"
    # quarantined at pull
    EMPTY_FILE = "empty_file"
    UNREADABLE_FILE = "unreadable_file"
    BROKEN_ARCHIVE = "broken_archive"
    UNSUPPORTED_ARCHIVE = "unsupported_archive"
    UNSAFE_MEMBER = "unsafe_member"
    ENCRYPTED_MEMBER = "encrypted_member"
    ARCHIVE_BOMB = "archive_bomb"
    TRANSFER_INCOMPLETE = "transfer_incomplete"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    REDIRECTED_ELSEWHERE = "redirected_elsewhere"
    MISSING_ON_MEDIUM = "missing_on_medium"
    # quarantined at index
    BROKEN_HEADER = "broken_header"
    UNKNOWN_SOP_CLASS = "unknown_sop_class"
    MISSING_IDENTITY = "missing_identity"
    INCONSISTENT_IDENTITY = "inconsistent_identity"
    MISSING_ATTRIBUTE = "missing_attribute"
    IMPLAUSIBLE_HEADER = "implausible_header"
    NO_PIXEL_DATA = "no_pixel_data"
    TRUNCATED_PIXEL_DATA = "truncated_pixel_data"
    CONFLICTING_COPIES = "conflicting_copies"
    MOSAIC = "mosaic"
    MULTIFRAME_NOT_A_VOLUME = "multiframe_not_a_volume"
    MISSING_GEOMETRY = "missing_geometry"
    SHEARED_ORIENTATION = "sheared_orientation"
    REPEATED_POSITIONS = "repeated_positions"
    GANTRY_TILT = "gantry_tilt"
    IN_PLANE_DRIFT = "in_plane_drift"
    MISSING_SLICES = "missing_slices"
    UNEVEN_SPACING = "uneven_spacing"
    MIXED_SIZES = "mixed_sizes"
    # quarantined at deidentify
    BURNED_IN_ANNOTATION = "burned_in_annotation"
    BURNED_IN_TEXT_POSSIBLE = "burned_in_text_possible"
    TEXT_IN_PIXELS = "text_in_pixels"
    IDENTIFIER_SURVIVED = "identifier_survived"
    FACE_NOT_LOCATED = "face_not_located"
    # quarantined at convert and harmonise
    UNDECODABLE = "undecodable"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    PIXEL_DATA_MISMATCH = "pixel_data_mismatch"
    VALUES_NOT_FINITE = "values_not_finite"
    GRID_TOO_LARGE = "grid_too_large"
    # quarantined at convert: structure sets and doses
    CONTOUR_DATA_BROKEN = "contour_data_broken"
    CONTOURS_WITHOUT_AREA = "contours_without_area"
    CONTOURS_NOT_IN_IMAGE_PLANE = "contours_not_in_image_plane"
    CONTOURS_OUTSIDE_IMAGE = "contours_outside_image"
    STRUCTURE_SMALLER_THAN_VOXEL = "structure_smaller_than_voxel"
    DUPLICATE_STRUCTURE_NUMBER = "duplicate_structure_number"
    UNDECLARED_STRUCTURE = "undeclared_structure"
    NO_USABLE_STRUCTURE = "no_usable_structure"
    DOSE_NOT_IN_GRAY = "dose_not_in_gray"
    DOSE_GRID_UNEVEN = "dose_grid_uneven"
    OTHER_FRAME_OF_REFERENCE = "other_frame_of_reference"
    UNRESOLVED_REFERENCE = "unresolved_reference"
    IMAGE_REFUSED = "image_refused"
    TOO_MANY_LABELS = "too_many_labels"
    # quarantined at convert: segmentations, label files, parametric maps
    FALSE_FRAME_OF_REFERENCE = "false_frame_of_reference"
    AMBIGUOUS_REFERENCE = "ambiguous_reference"
    MISPLACED_ANNOTATION = "misplaced_annotation"
    ANNOTATION_OFF_GRID = "annotation_off_grid"
    ANNOTATION_OUTSIDE_IMAGE = "annotation_outside_image"
    EMPTY_ANNOTATION = "empty_annotation"
    LABEL_ZERO = "label_zero"
    LABELS_NOT_WHOLE = "labels_not_whole"
    BROKEN_LABEL_FILE = "broken_label_file"
    # quarantined by a gate: the ledger's detail names the expectation
    GATE_OBJECTS = "gate_objects"
    GATE_SERIES = "gate_series"
    GATE_COHORT = "gate_cohort"
    GATE_VOLUMES = "gate_volumes"
    GATE_HARMONISED = "gate_harmonised"
    GATE_QUALITY = "gate_quality"
    GATE_ANNOTATIONS = "gate_annotations"
    GATE_CLINICAL = "gate_clinical"

    @property
    def state(self) -> State:
        """The state that this reason leads to."""
        if self in _EXCLUDED:
            return State.EXCLUDED
        return State.DUPLICATE if self in _DUPLICATE else State.QUARANTINED

    @property
    def advice(self) -> str:
        """One sentence: what it means and what to do about it."""
        return _ADVICE[self]


_EXCLUDED = frozenset(
    {
        Reason.ARCHIVE_UNPACKED,
        Reason.NOT_DICOM,
        Reason.DICOMDIR,
        Reason.NOT_AN_IMAGE,
        Reason.SECONDARY_CAPTURE,
        Reason.LOCALIZER,
        Reason.UNSUPPORTED_KIND,
        Reason.TILED_IMAGE,
        Reason.NO_MEASUREMENTS,
        Reason.OPEN_CONTOURS,
        Reason.EMPTY_STRUCTURE_SET,
        Reason.NOT_SELECTED,
    }
)
_DUPLICATE = frozenset({Reason.SAME_BYTES, Reason.SAME_PIXELS, Reason.LOSSY_COPY})

_ADVICE: dict[Reason, str] = {
    Reason.ARCHIVE_UNPACKED: "An archive file; each of its members has a row of its own.",
    Reason.NOT_DICOM: "Not a DICOM file; nothing to do unless images are missing.",
    Reason.DICOMDIR: "A media directory; the files it lists are read themselves.",
    Reason.NOT_AN_IMAGE: "An object without image pixels (SEG, RTSTRUCT, SR, RTDOSE, presentation state, waveform).",
    Reason.SECONDARY_CAPTURE: "A secondary capture: a screenshot, dose sheet or digitised film, never acquired data.",
    Reason.LOCALIZER: "A localizer (scout): made to plan the scan, not to be read.",
    Reason.UNSUPPORTED_KIND: "A kind of image that is recognised but not converted.",
    Reason.SAME_BYTES: "The same file is in the archive more than once; one copy is used.",
    Reason.SAME_PIXELS: "The same content under another encoding or UID; one copy is used.",
    Reason.LOSSY_COPY: "A lossy copy of an image that the archive also holds losslessly; the lossless one is used.",
    Reason.EMPTY_FILE: "The file has no bytes; ask the provider to send it again.",
    Reason.UNREADABLE_FILE: "The store would not give the file's bytes; check its permissions.",
    Reason.BROKEN_ARCHIVE: "The archive is damaged here; ask the provider to send it again.",
    Reason.UNSUPPORTED_ARCHIVE: "Not unpacked: 7z, RAR, parts of archives, images of discs, ...; ask for zip or tar.",
    Reason.UNSAFE_MEMBER: "The archive member is a link, a device, or has a path that leads out of the archive.",
    Reason.ENCRYPTED_MEMBER: "The archive member is encrypted; ask the provider for an open archive.",
    Reason.ARCHIVE_BOMB: "Unpacking would pass the limits of size, ratio, count or depth.",
    Reason.TRANSFER_INCOMPLETE: "The source gave another number of bytes than it said, again and again; ask why.",
    Reason.CHECKSUM_MISMATCH: "The bytes do not have the checksum that the source states; ask the provider why.",
    Reason.REDIRECTED_ELSEWHERE: "The server sends us to another host, which gets no credentials; name that one.",
    Reason.MISSING_ON_MEDIUM: "The DICOMDIR lists the file and the medium does not hold it; ask for it.",
    Reason.NOT_SELECTED: "The provider file's key select does not want it.",
    Reason.BROKEN_HEADER: "It starts like DICOM but its header cannot be parsed.",
    Reason.UNKNOWN_SOP_CLASS: "Its SOP class is not one that we know, and what is unknown is refused.",
    Reason.MISSING_IDENTITY: "It lacks a study, series or instance UID, so nothing can be linked to it.",
    Reason.INCONSISTENT_IDENTITY: "Its series UID occurs in several studies, or its study UID with several patients.",
    Reason.MISSING_ATTRIBUTE: "An attribute without which the pixels have no meaning is missing; see detail.",
    Reason.IMPLAUSIBLE_HEADER: "The header claims something that cannot be; see detail.",
    Reason.NO_PIXEL_DATA: "An image object without pixel data.",
    Reason.TRUNCATED_PIXEL_DATA: "Fewer bytes of pixel data than the header promises; ask for the file again.",
    Reason.CONFLICTING_COPIES: "Several files claim the same SOP Instance UID but have different content.",
    Reason.MOSAIC: "Slices are tiled into one image, and what places the tiles is missing or disagrees; see detail.",
    Reason.MULTIFRAME_NOT_A_VOLUME: "Its frames have no place in space (a cine, a projection set): not a volume.",
    Reason.MISSING_GEOMETRY: "A cross-sectional image without position, orientation or pixel spacing.",
    Reason.SHEARED_ORIENTATION: "Row and column are not perpendicular unit vectors, or vary between slices.",
    Reason.REPEATED_POSITIONS: "Several different slices claim one position, and nothing tells them apart.",
    Reason.GANTRY_TILT: "Slices are sheared against each other (gantry tilt); geometry.gantry_tilt: shear corrects it.",
    Reason.IN_PLANE_DRIFT: "Slices shift sideways against each other by 0.1 mm or more.",
    Reason.MISSING_SLICES: "There is a gap of a multiple of the slice spacing, or an end is missing; ask for them.",
    Reason.UNEVEN_SPACING: "Slice distances vary by 1 % or more; geometry.variable_spacing: resample corrects it.",
    Reason.MIXED_SIZES: "A volume's slices differ in matrix or pixel spacing.",
    Reason.BURNED_IN_ANNOTATION: "The header says that text is burned into the pixels (BurnedInAnnotation YES).",
    Reason.BURNED_IN_TEXT_POSSIBLE: "A kind of image that often carries burned-in text, and nothing rules it out.",
    Reason.TEXT_IN_PIXELS: "Text that may name somebody is in the pixels; deidentify.burned_in_text: mask blanks it.",
    Reason.IDENTIFIER_SURVIVED: "An identifier of the source was found in what would have left.",
    Reason.FACE_NOT_LOCATED: "A face may be in the image, but no head was found to remove it from; see detail.",
    Reason.UNDECODABLE: "The decoder could not read the pixel data; see detail for the transfer syntax.",
    Reason.UNSUPPORTED_SYNTAX: "No installed decoder reads the transfer syntax; see detail.",
    Reason.PIXEL_DATA_MISMATCH: "The decoded pixels do not have the shape that the header claims.",
    Reason.VALUES_NOT_FINITE: "Rescaling gave values that are not finite numbers.",
    Reason.GRID_TOO_LARGE: "The target grid would be larger than the limit; check spacing and field of view.",
    Reason.TILED_IMAGE: "Tiles of a slide (whole-slide microscopy), which is no image of a patient's volume.",
    Reason.NO_MEASUREMENTS: "A structured report without imaging measurements (TID 1500).",
    Reason.OPEN_CONTOURS: "Points or open contours (markers, paths, isocentres): they enclose nothing.",
    Reason.EMPTY_STRUCTURE_SET: "A structure set in which no structure has a contour.",
    Reason.CONTOUR_DATA_BROKEN: "A contour's coordinates are cut off or no finite numbers; export the set again.",
    Reason.CONTOURS_WITHOUT_AREA: "All contours of a structure have fewer than three points, or lie in a line.",
    Reason.CONTOURS_NOT_IN_IMAGE_PLANE: "Contours cut across the slices: they were drawn on another orientation.",
    Reason.CONTOURS_OUTSIDE_IMAGE: "All contours lie outside the image; check its frame of reference.",
    Reason.STRUCTURE_SMALLER_THAN_VOXEL: "No voxel centre lies inside a structure: it is smaller than a voxel.",
    Reason.DUPLICATE_STRUCTURE_NUMBER: "Several structures have one number, so which is which is not known.",
    Reason.UNDECLARED_STRUCTURE: "Contours or voxels of a structure that the object does not declare.",
    Reason.NO_USABLE_STRUCTURE: "No structure can be drawn, for several reasons; see detail.",
    Reason.DOSE_NOT_IN_GRAY: "The dose is relative, or has no unit; ask for the dose in Gy.",
    Reason.DOSE_GRID_UNEVEN: "Planes of the dose grid are unevenly spaced, or contradict its position.",
    Reason.OTHER_FRAME_OF_REFERENCE: "It lies in another frame of reference than the image, and names no image.",
    Reason.IMAGE_REFUSED: "The image that it was made on was refused; detail has the reason.",
    Reason.UNRESOLVED_REFERENCE: "The image that it was made on is not in the archive.",
    Reason.TOO_MANY_LABELS: "More labels than the 65,535 that a label map can hold.",
    Reason.FALSE_FRAME_OF_REFERENCE: "It names images of one frame of reference and states another; ask which is true.",
    Reason.AMBIGUOUS_REFERENCE: "Several images fit the annotation; name the right one in a manifest.",
    Reason.MISPLACED_ANNOTATION: "Its frames lie elsewhere than the images that they say they were drawn on.",
    Reason.ANNOTATION_OFF_GRID: "Its voxels are not those of the image, turned or uneven; export it on the image's.",
    Reason.ANNOTATION_OUTSIDE_IMAGE: "Part of it is drawn beyond the image: slices are missing, or it is another's.",
    Reason.EMPTY_ANNOTATION: "No label has a voxel; ask whether it says that nothing was found.",
    Reason.LABEL_ZERO: "A structure has the number 0, which means background in a label map; number them from 1.",
    Reason.LABELS_NOT_WHOLE: "A label map holds values that are no whole numbers of 0 or more: no labels.",
    Reason.BROKEN_LABEL_FILE: "Not a NIfTI or NRRD file that can be read, or one without a place; see detail.",
    Reason.GATE_OBJECTS: "The objects gate refused it; detail names the expectation.",
    Reason.GATE_SERIES: "The series gate refused it; detail names the expectation.",
    Reason.GATE_COHORT: "The cohort gate refused it; detail names the expectation.",
    Reason.GATE_VOLUMES: "The volumes gate refused it; detail names the expectation.",
    Reason.GATE_HARMONISED: "The harmonised gate refused it; detail names the expectation.",
    Reason.GATE_QUALITY: "The quality gate refused it; detail names the expectation.",
    Reason.GATE_ANNOTATIONS: "The annotations gate refused it; detail names the expectation.",
    Reason.GATE_CLINICAL: "The clinical gate refused the row; detail names the expectation.",
}
