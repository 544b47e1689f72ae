"""The small frozen records that travel between stages.

Belongs here: what a record holds and in which unit and axis order. Does not belong here: how it comes about.

Identified records (`SourceObject`, `Instance`, `SourceSeries`) live only in the source and work zones. Exactly one
function, `oncurate.deidentify.to_cohort`, turns a `SourceSeries` into a `CohortSeries`; all later stages accept only
the latter. Positions and directions are DICOM patient coordinates (LPS, mm) until a NIfTI is written (RAS, mm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from oncurate.reasons import Reason, State

Vector = tuple[float, float, float]

Region = tuple[int, int, int, int]
"""A rectangle of a frame: first column, first row, last column, last row, 0-based, inclusive."""

RESCALE = "rescale"
"""Scaling by RescaleSlope and RescaleIntercept, or by nothing where they are absent."""


class Record(BaseModel):
    """Frozen, exact, JSON both ways: `model_dump_json`, `model_validate_json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One file of the provider's archive, or one member of an archive file in it.

    An archive may hold millions, and the flow process holds them all: a plain class, which is smaller, with the methods
    of a `Record`.
    """

    source_path: str  # relative to the source; members of an archive file follow its path and "!/"
    url: str  # where its bytes can be read: in place for local folders, in the source zone otherwise; "" if refused
    bytes: int
    version: str  # changes when the object does (modification time, ETag): what lets a later pull skip it
    sha256: str  # of the bytes; "" if refused before they were read
    reason: Reason | None = None  # why pull itself refused or excluded it

    @classmethod
    def model_validate(cls, row: Mapping[str, Any]) -> Self:
        """The record in a row that `model_dump` made; TypeError or ValueError if it is none."""
        return cls(**{**row, "reason": Reason(row["reason"]) if row["reason"] else None})

    def model_dump(self, *, mode: Literal["json"] = "json") -> dict[str, Any]:  # noqa: ARG002 - as a `Record` has it
        """The record as a JSON object."""
        return {
            "source_path": self.source_path,
            "url": self.url,
            "bytes": self.bytes,
            "version": self.version,
            "sha256": self.sha256,
            "reason": self.reason and self.reason.value,
        }

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The record with other values in some fields."""
        return replace(self, **update)


class PixelFormat(Record):
    """How the pixel data of one instance is encoded (DICOM PS3.3 C.7.6.3), enough to decode it without the header."""

    TransferSyntaxUID: str
    Rows: int
    Columns: int
    NumberOfFrames: int
    SamplesPerPixel: int
    PhotometricInterpretation: str
    BitsAllocated: int
    BitsStored: int
    HighBit: int
    PixelRepresentation: int  # 0 unsigned, 1 two's complement
    keyword: Literal["PixelData", "FloatPixelData", "DoubleFloatPixelData"]
    tiles: tuple[int, int] | None = None  # rows and columns of one tile, where an image is a mosaic of slices

    @property
    def frame_size(self) -> tuple[int, int]:
        """Rows and columns of one frame: of one tile in a mosaic."""
        return self.tiles or (self.Rows, self.Columns)


class PixelLocator(Record):
    """Where the pixels of one object are. Holds a source URL, so it never leaves the work zone."""

    object: str  # sha256 of the file
    url: str
    bytes: int  # size of the file
    offset: int | None  # of the first pixel byte if stored native little endian; None: parse the file to decode it
    format: PixelFormat


class Frame(Record):
    """One 2-D image of an instance: a classic single-frame instance has one; multi-frame and mosaic have many."""

    index: int  # 0-based within the instance; in a mosaic, the tile's number, row by row
    position: Vector | None  # LPS mm of the centre of the first pixel
    orientation: tuple[float, float, float, float, float, float] | None  # direction of a row, then of a column
    spacing: tuple[float, float] | None  # mm between rows, mm between columns, as in PixelSpacing
    slope: float  # value = slope * stored + intercept, whatever `scaling` it comes from
    intercept: float
    keys: dict[str, str | float | int | None]  # what may tell volumes of one series apart; names in oncurate.split
    number: int  # InstanceNumber, or the frame's index in a multi-frame instance
    scaling: str = RESCALE  # where slope and intercept come from: a name of oncurate.scaling
    unit: str | None = None  # of the value, where `scaling` defines one (UCUM code of a real-world value map)
    b_value: float | None = None  # diffusion weighting, s/mm2, as the header has it; `keys` has it rounded
    gradient: Vector | None = None  # diffusion gradient direction, LPS unit vector; None where b is 0 or unknown


class SourceFile(Record):
    """One DICOM file, identified: where it is, whose it is, and what must not be in anything that leaves."""

    object: str
    source_path: str
    url: str
    bytes: int
    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    StudyInstanceUID: str
    FrameOfReferenceUID: str
    PatientID: str
    IssuerOfPatientID: str
    Modality: str
    StudyDate: str
    identifiers: tuple[str, ...]  # identifying values of the header, to be searched for in what was written


class Instance(SourceFile):
    """One DICOM image file. `attributes` holds raw values of the keywords that the allow-list asks for."""

    lossy: bool
    offset: int | None
    format: PixelFormat
    frames: tuple[Frame, ...]
    attributes: dict[str, Any]
    people: tuple[str, ...] = ()  # those of them that name somebody, to be taken out of descriptions
    content: str = ""  # digest of what the file says, which transfer and storage do not change

    @property
    def locator(self) -> PixelLocator:
        """Where its pixels are."""
        return PixelLocator(object=self.object, url=self.url, bytes=self.bytes, offset=self.offset, format=self.format)


class Companion(SourceFile):
    """One DICOM object that belongs to images without being one: segmentation, structure set, dose, report, ...

    What it points to is kept as UIDs of the source; "" and () where it does not say.
    """

    kind: Literal["seg", "rtstruct", "rtdose", "parametric_map", "sr", "other"]
    referenced_frame_of_reference: str
    referenced_series: tuple[str, ...]
    referenced_instances: tuple[str, ...]


class Geometry(Record):
    """The grid of a volume in LPS mm and the eight geometry facts (names and tolerances: IDC volume_geometry_index)."""

    origin: Vector  # centre of the first pixel of the first slice
    row: Vector  # unit vector along a row: the direction in which the column index grows
    column: Vector  # unit vector along a column: the direction in which the row index grows
    normal: Vector  # unit vector in which the slice index grows
    spacing: Vector  # mm along `row` (between columns), along `column` (between rows), along `normal`
    shape: tuple[int, int, int]  # columns, rows, slices
    in_patient: bool  # False for projection images, which have a plane but no place in the patient
    spacing_source: str  # attribute that gave the in-plane spacing, or "none" (then spacing is 1 and has no unit)
    single_orientation: bool
    orthogonal_orientation: bool
    unique_slice_positions: bool
    consistent_in_plane_row: bool
    consistent_in_plane_col: bool
    consistent_pixel_spacing: bool
    consistent_image_dimensions: bool
    uniform_slice_spacing: bool
    obliquity_degrees: float | None
    gantry_tilt_degrees: float | None  # from the positions, never from GantryDetectorTilt
    regularly_spaced_3d_volume: bool


class Slice(Record):
    """One slice of a planned volume, in order along the normal."""

    object: str  # sha256 of the file that holds it
    frame: int  # 0-based within the file
    content: str  # of the file (`Instance.content`): names volumes, whatever way the file came
    SOPInstanceUID: str  # the source's in a SourceSeries, the cohort's in a CohortSeries
    slope: float
    intercept: float
    position: Vector | None = None  # LPS mm; kept only where the volume needs a `correction`
    text: tuple[Region, ...] = ()  # rectangles with text, blanked on decoding; known from deidentify on


class Repetition(Record):
    """One 3-D image of a 4-D one: what tells it from the others."""

    time_s: float | None = None  # since the first repetition
    b_value: float | None = None  # diffusion weighting, s/mm2
    gradient: Vector | None = None  # diffusion gradient direction, LPS unit vector


class SuvScale(Record):
    """What turns a PET volume's values into SUVbw, or why nothing does."""

    factor: float | None  # g/ml per native value
    status: str  # "computed: <branch>" or "not computable: <reason>", from the closed list of oncurate.suv


class PlannedVolume(Record):
    """Slices that make one volume (`volume`: >= 2 positions of one grid) or one image (`planar`, `cine`).

    A 4-D volume or a cine has more than one repetition: `slices` then holds all slices of the first, of the second, ...
    """

    kind: Literal["volume", "planar", "cine"]
    slices: tuple[Slice, ...]
    geometry: Geometry  # of one repetition
    split_by: tuple[str, ...]  # names of the keys that set it apart from its siblings in the series
    SamplesPerPixel: int
    PhotometricInterpretation: str
    attributes: dict[str, Any]  # values that all slices share; raw in a SourceSeries, cleaned in a CohortSeries
    repetitions: tuple[Repetition, ...] = (Repetition(),)
    repeated_by: tuple[str, ...] = ()  # names of the keys that vary between repetitions; ("frame",) in a cine
    correction: Literal["shear", "resample"] | None = None  # regridding that the geometry policy asks for
    scaling: str = RESCALE  # what all slices' slope and intercept come from
    unit: str | None = None  # as `Frame.unit`
    padding: tuple[float, float] | None = None  # rescaled values from, to that PixelPaddingValue marks as no image
    suv: SuvScale | None = None  # PET only
    derived: bool = False  # ImageType says DERIVED
    projection: bool = False  # a MIP or the like, computed from other images


class SourceSeries(Record):
    """A series as the provider sent it: identified. Never leaves the source and work zones."""

    PatientID: str
    IssuerOfPatientID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    FrameOfReferenceUID: str
    Modality: str
    StudyDate: str
    volumes: tuple[PlannedVolume, ...]
    identifiers: tuple[str, ...]
    people: tuple[str, ...] = ()


class CohortSeries(Record):
    """A de-identified series: keyed names and UIDs, shifted dates, only allow-listed technical attributes."""

    subject_id: str  # 52 characters
    subject_id_source: Literal["PatientID", "StudyInstanceUID"]  # the latter where the provider gave no PatientID
    study_id: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    FrameOfReferenceUID: str
    Modality: str
    StudyDate: str | None  # shifted, YYYYMMDD
    volumes: tuple[CohortVolume, ...]


class CohortVolume(Record):
    """A planned volume after de-identification. `volume_id` changes only when content or recipe changes."""

    volume_id: str
    recipe: str  # digest of the recipe
    planned: PlannedVolume
    masked: bool  # pixels outside the ultrasound regions are blanked on decoding
    regions: tuple[Region, ...] = ()  # kept
    searched_for_text: bool = False  # every frame was looked at; what was found is in `Slice.text`
    face: Literal["none", "possible", "removed"] = "none"  # a face that could be rendered and recognised


class CohortObject(Record):
    """A de-identified DICOM object as it was written and read back. All UIDs are the cohort's."""

    key: str  # below the data set's folder
    sha256: str
    bytes: int
    object: str  # SHA-256 of the source file: the ledger's link, never released
    subject_id: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    Modality: str
    volume_ids: tuple[str, ...]  # volumes made of it


class CohortAnnotation(Record):
    """What was drawn or measured on a volume, de-identified: an object whose UIDs and text are the cohort's."""

    annotation_id: str  # changes only when content or recipe changes
    kind: Literal["seg", "rtstruct", "rtdose", "parametric_map", "sr", "label_file"]
    source: CohortObject
    volume_id: str  # of the volume that it belongs to
    recipe: str

    @property
    def is_dicom(self) -> bool:
        """Whether it came as a DICOM object."""
        return self.kind != "label_file"


class Outcome(Record):
    """What a stage did with one thing. `key` is an object's source_path, a series UID or a volume_id, by stage."""

    key: str
    stage: str
    state: State
    reason: Reason | None = None
    detail: str = ""

    @classmethod
    def refused(cls, key: str, stage: str, reason: Reason, detail: str = "") -> Self:
        """The outcome of a refusal."""
        return cls(key=key, stage=stage, state=reason.state, reason=reason, detail=detail)


class GridImage(Record):
    """What was written of one image: its grid, voxel type, value range and the digest of its .nii.gz bytes."""

    shape: tuple[int, int, int]
    repetitions: int = 1  # length of the fourth axis
    spacing_mm: Vector
    affine: tuple[float, ...]  # 16 numbers, row-major, voxel index -> RAS mm
    dtype: str  # numpy name, or "rgb24"
    min: float
    max: float
    sha256: str
    bytes: int


class Step(Record):
    """One applied processing step and all its arguments."""

    name: str
    arguments: dict[str, Any]


class NativeImage(Record):
    """The volume on its acquired grid, as written."""

    image: GridImage
    value_unit: str
    inverted: bool
    steps: tuple[Step, ...]  # rescale, inversion, padding, masking: what was done to the stored values
    correction: Literal["shear", "resample"] | None = None  # the voxels were interpolated onto a regular grid


class HarmonisedImage(Record):
    """The volume on its profile's grid, as written."""

    image: GridImage
    profile: str  # name and version
    steps: tuple[Step, ...]
    value_unit: str = ""  # of its values: as native, or SUVbw g/ml
    normalised: GridImage | None = None  # a second, intensity-normalised derivative, where the profile asks for one
    normalised_steps: tuple[Step, ...] = ()


CohortSeries.model_rebuild()
