"""Made images of every kind of modality, clean of identifiers: what the bench plants into.

Belongs here: their content, encoding and technical attributes. Does not belong here: planting, objects that are no
images (`benchmarks.phi.documents`), whose they are beyond the keys of patient and study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from benchmarks.phi.answers import Box, Leaves

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "enhanced CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "US cine": "1.2.840.10008.5.1.4.1.1.3.1",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
}
SLICES, SIDE = 4, 48
TEXT_PIXELS = 14
"""Height of text that is burned in."""


@dataclass
class Draft:
    """An object on its way into the archive. `shown` are boxes of burned-in text, `clear` what must stay visible."""

    ds: Dataset
    kind: str
    leaves: Leaves = "released"
    made: bool = True
    shown: list[Box] = field(default_factory=list)
    clear: Box | None = None
    refers_to: list[tuple[str, str]] = field(default_factory=list)  # path of a reference, SOP Instance UID


def blank(sop_class: str, sop_instance: str, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """An empty object with file meta."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop_instance
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, sop_instance
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    return ds


def voxels(slices: int, rows: int, columns: int, seed: int) -> np.ndarray:
    """(slices, rows, columns) uint16 in 0..1300: an ellipsoid off centre, with noise."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(
        np.linspace(-1, 1, slices), np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
    )
    inside = (k * 0.8) ** 2 + ((j - 0.1) / 0.7) ** 2 + ((i + 0.1) / 0.6) ** 2 < 1
    return (inside * 1000 + rng.integers(0, 60, inside.shape) + (j + 1) * 100).astype(np.uint16)


def pixels(ds: Dataset, values: np.ndarray, *, stored: int = 0, colour: bool = False) -> None:
    """Put native pixels into `ds`: (rows, columns), (frames, rows, columns), or (rows, columns, 3) if `colour`."""
    bits = values.dtype.itemsize * 8
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = values.shape[:2] if colour else values.shape[-2:]
    if values.ndim == 3 and not colour:
        ds.NumberOfFrames = values.shape[0]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, stored or bits, (stored or bits) - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    raw = values.tobytes()
    ds.add_new(0x7FE00010, "OW" if bits == 16 else "OB", raw + b"\0" * (len(raw) % 2))


def compress(ds: Dataset, frames: list[bytes], syntax: str) -> None:
    """Put encapsulated frames in place of the native pixels."""
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = UID(syntax)


def stack(kind: str, uids: Iterator[str], seed: int, frame_uid: str) -> list[Draft]:
    """A CT, MR or PT series of slices."""
    series, content = next(uids), voxels(SLICES, SIDE, SIDE, seed)
    drafts = []
    for k in range(SLICES):
        ds = blank(CLASSES[kind], next(uids), ImplicitVRLittleEndian if kind == "PT" else ExplicitVRLittleEndian)
        ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = kind, series, frame_uid
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient = [-20.5, -30.25, 100.0 + 3.0 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.9, 0.9], 3
        pixels(ds, content[k], stored=12 if kind == "CT" else 16)
        _TECHNICAL[kind](ds)
        drafts.append(Draft(ds, kind))
    return drafts


def _ct(ds: Dataset) -> None:
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime, ds.ConvolutionKernel = 120, 215, 500, "B30f"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.Manufacturer, ds.ManufacturerModelName, ds.BodyPartExamined = "SIEMENS", "Sensation 64", "CHEST"
    ds.CTDIvol, ds.AcquisitionNumber = 6.25, 1


def _mr(ds: Dataset) -> None:
    ds.EchoTime, ds.RepetitionTime, ds.FlipAngle, ds.MagneticFieldStrength = 92.5, 4100, 90, 3
    ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType, ds.EchoTrainLength = "SE", "SK", "2D", 16
    ds.ScanOptions, ds.EchoNumbers, ds.DiffusionBValue = "", 1, 800.0
    ds.Manufacturer, ds.ManufacturerModelName, ds.BodyPartExamined = "Philips Medical Systems", "Ingenia", "BRAIN"
    block = ds.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", 800.0)
    block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.0625)
    block.add_new(0x0D, "FL", 0.0)


def _pt(ds: Dataset) -> None:
    ds.Units, ds.CorrectedImage, ds.DecayCorrection = "BQML", ["DECY", "ATTN", "SCAT"], "START"
    ds.RescaleSlope, ds.RescaleIntercept, ds.SeriesType = 2.5, 0, ["STATIC", "IMAGE"]
    ds.NumberOfSlices, ds.ImageIndex, ds.FrameReferenceTime, ds.ActualFrameDuration = SLICES, 1, 0, 120000
    ds.ReconstructionMethod, ds.CollimatorType, ds.CountsSource = "OSEM", "RING", "EMISSION"
    ds.Manufacturer, ds.ManufacturerModelName, ds.BodyPartExamined = "Philips Medical Systems", "GEMINI TF", "CHEST"
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 350000000, 6586.2
    tracer.RadiopharmaceuticalStartTime, tracer.Radiopharmaceutical = "090000.00", "Fluorodeoxyglucose"
    ds.RadiopharmaceuticalInformationSequence = Items([tracer])
    block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000387")
    block.add_new(0x09, "DS", "1.8125")


_TECHNICAL = {"CT": _ct, "MR": _mr, "PT": _pt}


def enhanced_ct(uids: Iterator[str], seed: int, frame_uid: str) -> Draft:
    """One multi-frame CT with shared and per-frame functional groups."""
    ds = blank(CLASSES["enhanced CT"], next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "CT", next(uids), frame_uid
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.Manufacturer, ds.ManufacturerModelName = "TOSHIBA", "Aquilion ONE"
    pixels(ds, voxels(SLICES, SIDE, SIDE, seed))
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(PixelSpacing=[0.8, 0.8], SliceThickness=2.5)
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelValueTransformationSequence = _item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for k in range(SLICES):
        frame = Dataset()
        frame.PlanePositionSequence = _item(ImagePositionPatient=[-19, -19, 10 + 2.5 * k])
        frame.FrameContentSequence = _item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[k + 1])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    organisation = next(uids)
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organisation)
    return Draft(ds, "enhanced CT")


def _item(**attributes: Any) -> Items:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return Items([ds])


def planar(kind: str, uids: Iterator[str], seed: int) -> Draft:
    """A CR, DX or MG image; DX and MG are compressed, with comments and application segments to plant in."""
    ds = blank(CLASSES[kind], next(uids))
    ds.Modality, ds.SeriesInstanceUID = kind, next(uids)
    ds.ImageType, ds.PresentationIntentType = ["ORIGINAL", "PRIMARY"], "FOR PRESENTATION"
    ds.ImagerPixelSpacing, ds.KVP = [0.15, 0.15], 70 if kind != "MG" else 28
    ds.PixelIntensityRelationship, ds.BodyPartExamined = "LOG", "BREAST" if kind == "MG" else "CHEST"
    ds.Manufacturer, ds.ManufacturerModelName = "HOLOGIC, Inc." if kind == "MG" else "Philips Medical Systems", ""
    ds.BurnedInAnnotation, ds.PatientOrientation = "NO", ["L", "F"]
    if kind == "MG":
        ds.ImageLaterality, ds.ViewPosition = "L", "CC"
    content = voxels(1, 2 * SIDE, SIDE, seed)[0]
    pixels(ds, content, stored=12 if kind == "CR" else 16)
    if kind == "DX":
        narrow = (content >> 3).astype(np.uint8)
        pixels(ds, narrow)
        compress(ds, [imagecodecs.jpeg8_encode(narrow, level=95)], JPEGBaseline8Bit)
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio, ds.LossyImageCompressionMethod = 8, "ISO_10918_1"
    elif kind == "MG":
        compress(ds, [imagecodecs.jpeg2k_encode(content, reversible=True, codecformat="j2k")], JPEG2000Lossless)
    return Draft(ds, kind)


def jpeg_ls(uids: Iterator[str], seed: int) -> Draft:
    """A CR image in JPEG-LS."""
    draft = planar("CR", uids, seed)
    content = voxels(1, SIDE, SIDE, seed)[0]
    pixels(draft.ds, content)
    compress(draft.ds, [imagecodecs.jpegls_encode(content)], JPEGLSLossless)
    return draft


def ultrasound(uids: Iterator[str], seed: int, said: str) -> Draft:
    """A cine of an ultrasound device: a declared region, and a line of text above it in every frame."""
    rows, columns, frames, top = 120, 200, 3, 28
    values = np.zeros((frames, rows, columns), np.uint8)
    values[:, top:, :] = (voxels(frames, rows - top, columns, seed) >> 3).astype(np.uint8)
    box = _write(values, said, (4, 4))
    ds = blank(CLASSES["US cine"], next(uids))
    ds.Modality, ds.SeriesInstanceUID = "US", next(uids)
    ds.ImageType, ds.Manufacturer, ds.ManufacturerModelName = ["ORIGINAL", "PRIMARY", "ABDOMINAL"], "SIEMENS", "S2000"
    ds.FrameTime, ds.FrameIncrementPointer = 40, 0x00181063
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
    ds.SequenceOfUltrasoundRegions = Items([region])
    pixels(ds, values)
    return Draft(ds, "US", shown=[box], clear=(top + 20, 20, rows - 10, columns - 20), leaves="either")


def screen(uids: Iterator[str], seed: int, said: str) -> Draft:
    """A secondary capture in colour with a line of text, whose header says nothing of it."""
    grey = (voxels(1, 160, 240, seed)[0] >> 3).astype(np.uint8)
    grey[:40] = 0
    box = _write(grey[None], said, (8, 8))
    ds = blank(CLASSES["SC"], next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.ConversionType = "OT", next(uids), "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    pixels(ds, np.repeat(grey[..., None], 3, axis=2), colour=True)
    return Draft(ds, "SC", leaves="either", shown=[box])


def _write(values: np.ndarray, said: str, at: tuple[int, int]) -> Box:
    """Burn a line of text into every frame of (frames, rows, columns); its box."""
    font = ImageFont.load_default(TEXT_PIXELS)
    for frame in values:
        canvas = Image.fromarray(frame)
        draw = ImageDraw.Draw(canvas)
        draw.text(at, said, fill=255, font=font)
        left, top, right, bottom = draw.textbbox(at, said, font=font)
        frame[:] = np.asarray(canvas)
    rows, columns = values.shape[-2:]
    return int(top), int(left), min(int(bottom), rows - 1), min(int(right), columns - 1)
