"""Made images: small DICOM series of patients who do not exist, with the faults that a test asks for.

Belongs here: building and writing synthetic DICOM. Does not belong here: assertions, or files of real patients.
Every series is the same bytes for the same arguments. The content is a bright ellipsoid in noise, never constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
MR = "1.2.840.10008.5.1.4.1.1.4"
PT = "1.2.840.10008.5.1.4.1.1.128"
PLANAR = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PATIENT_NAME = "PHANTOM^ONE"


def uid(*parts: object) -> str:
    """A UID that depends only on `parts`."""
    return "2.25." + str(int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big"))


def turned(x: float, y: float, z: float) -> tuple[float, ...]:
    """An orientation: the axial one turned by these degrees about the patient's axes, z first."""
    a, b, c = np.radians([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple(float(cosine) for cosine in (about_x @ about_y @ about_z)[:, :2].T.ravel())


def voxels(slices: int, rows: int, columns: int, *, seed: int = 0) -> np.ndarray:
    """`(slices, rows, columns)` int16 in 0..2000: an ellipsoid off centre, with noise, on a noisy background."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(
        np.linspace(-1, 1, slices), np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
    )
    inside = (k * 0.9) ** 2 + ((j - 0.15) / 0.7) ** 2 + ((i + 0.1) / 0.5) ** 2 < 1
    return (inside * 1100 + rng.integers(0, 60, inside.shape) + (j + 1) * 20).astype(np.int16)


def dataset(
    pixels: np.ndarray | None = None,
    *,
    modality: str = "CT",
    sop_class: str = CT,
    patient: str = "PHANTOM-1",
    study_uid: str | None = None,
    series_uid: str | None = None,
    instance_uid: str | None = None,
    number: int = 1,
    photometric: str = "MONOCHROME2",
    **attributes: Any,
) -> Dataset:
    """One image in memory with file meta (explicit little endian); `attributes` set or, if None, remove keywords.

    `pixels` is (rows, columns), (frames, rows, columns) or (rows, columns, 3) for RGB; default 16 rows, 12 columns.
    """
    if pixels is None:
        pixels = voxels(1, 16, 12)[0]
    study_uid = study_uid or uid("study", patient)
    series_uid = series_uid or uid("series", study_uid, modality)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = instance_uid or uid("instance", series_uid, number)
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    ds.FrameOfReferenceUID = uid("frame", study_uid)
    ds.PatientName, ds.PatientID = PATIENT_NAME, patient
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19600203", "F", "063Y"
    ds.StudyDate, ds.StudyTime, ds.SeriesDate, ds.SeriesTime = "20230405", "101112", "20230405", "101200"
    ds.AcquisitionDate, ds.AcquisitionTime = "20230405", "101201"
    ds.AccessionNumber, ds.ReferringPhysicianName = "ACC-PHANTOM", "REFERRER^MADE"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "SIEMENS", "Biograph64"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, number, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.BodyPartExamined = "CHEST"
    colour = photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        ds.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        ds.NumberOfFrames = pixels.shape[0]
    ds.Rows, ds.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.tobytes()
    ds.add_new(0x7FE00010, "OB" if bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))
    for keyword, value in attributes.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def write(ds: Dataset, path: Path) -> Path:
    """Write `ds` as a DICOM file with preamble; the same bytes for the same data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _stack(
    folder: Path,
    made: Callable[..., Dataset],
    *,
    slices: int,
    rows: int,
    columns: int,
    spacing: Sequence[float],
    step: float,
    orientation: Sequence[float],
    origin: Sequence[float],
    tilt_mm_per_slice: float,
    missing: Iterable[int],
    jitter: Sequence[float] | None,
    duplicate: Iterable[int],
    seed: int,
    first_number: int,
) -> list[Path]:
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    content = voxels(slices, rows, columns, seed=seed)
    missing, duplicate = set(missing), set(duplicate)
    paths = []
    for k in range(slices):
        if k in missing:
            continue
        along = k * step + (jitter[k] if jitter is not None else 0.0)
        position = np.array(origin, float) + normal * along + column * (k * tilt_mm_per_slice)
        for copy in range(2 if k in duplicate else 1):
            number = first_number + k + copy * 1000
            ds = made(
                content[k],
                number=number,
                ImagePositionPatient=[float(f"{x:.6f}") for x in position],
                ImageOrientationPatient=[float(f"{x:.6f}") for x in orientation],
                PixelSpacing=[float(s) for s in spacing],
            )
            paths.append(write(ds, Path(folder) / f"{number:05d}.dcm"))
    return paths


def ct_series(
    folder: Path,
    *,
    slices: int = 8,
    rows: int = 16,
    columns: int = 12,
    spacing: Sequence[float] = (0.8, 0.8),
    step: float = 2.0,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-100.0, -80.0, 50.0),
    tilt_mm_per_slice: float = 0,
    missing: Iterable[int] = (),
    jitter: Sequence[float] | None = None,
    duplicate: Iterable[int] = (),
    patient: str = "PHANTOM-1",
    study_uid: str | None = None,
    series_uid: str | None = None,
    slope: float = 1,
    intercept: float = -1024,
    seed: int = 0,
    first_number: int = 1,
    **attributes: Any,
) -> list[Path]:
    """A CT in `folder`, one file a slice, sorted by slice.

    `spacing` is between rows, then columns (mm); `step` is mm along the normal; `tilt_mm_per_slice` shifts each slice
    along the columns' direction; `jitter` adds mm along the normal, slice by slice; slices in `missing` are left out,
    those in `duplicate` are written twice, the second time under another SOP Instance UID.
    """

    def made(pixels: np.ndarray, **own: Any) -> Dataset:
        base = {
            "patient": patient,
            "study_uid": study_uid,
            "series_uid": series_uid,
            "RescaleSlope": slope,
            "RescaleIntercept": intercept,
            "RescaleType": "HU",
            "SliceThickness": float(step),
            "KVP": 120,
            "ConvolutionKernel": "B30f",
            "PatientPosition": "HFS",
        }
        return dataset(pixels, **{**base, **own, **attributes})

    return _stack(
        folder,
        made,
        slices=slices,
        rows=rows,
        columns=columns,
        spacing=spacing,
        step=step,
        orientation=orientation,
        origin=origin,
        tilt_mm_per_slice=tilt_mm_per_slice,
        missing=missing,
        jitter=jitter,
        duplicate=duplicate,
        seed=seed,
        first_number=first_number,
    )


def placed_series(
    folder: Path, pixels: np.ndarray, positions: np.ndarray, orientation: Sequence[float], **attributes: Any
) -> list[Path]:
    """A CT of these `pixels` (slices, rows, columns), each slice at its own position (slices, 3), LPS mm."""
    base = {"RescaleSlope": 1, "RescaleIntercept": 0, "PixelSpacing": [0.8, 0.8], "SliceThickness": 2.0}
    return [
        write(
            dataset(
                image,
                number=number,
                ImagePositionPatient=[float(f"{x:.6f}") for x in position],
                ImageOrientationPatient=[float(f"{x:.6f}") for x in orientation],
                **{**base, **attributes},
            ),
            Path(folder) / f"{number:05d}.dcm",
        )
        for number, (image, position) in enumerate(zip(pixels, positions, strict=True), start=1)
    ]


def mr_series(folder: Path, *, times: int = 1, **options: Any) -> list[Path]:
    """An MR without rescale; `times` > 1 repeats every position under TemporalPositionIdentifier 1..n."""
    options = {"patient": "PHANTOM-1", "slope": None, "intercept": None, **options}
    defaults = {
        "modality": "MR",
        "sop_class": MR,
        "RescaleType": None,
        "KVP": None,
        "ConvolutionKernel": None,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "MagneticFieldStrength": 1.5,
        "RepetitionTime": 500.0,
        "EchoTime": 12.0,
        "EchoNumbers": 1,
        "FlipAngle": 90.0,
    }
    paths = []
    for time in range(times):
        timed = {"TemporalPositionIdentifier": time + 1, "NumberOfTemporalPositions": times} if times > 1 else {}
        slices = options.get("slices", 8)
        paths += ct_series(folder, **{**defaults, "seed": time, "first_number": 1 + time * slices, **timed, **options})
    return paths


def pt_series(folder: Path, *, units: str = "BQML", slope: float = 2.5, **options: Any) -> list[Path]:
    """A PET in Bq/ml of FDG: 300 MBq injected an hour before, 70 kg, decay-corrected to the start."""
    tracer = Dataset()
    tracer.RadionuclideTotalDose = 3.0e8
    tracer.RadionuclideHalfLife = 6586.2
    tracer.RadiopharmaceuticalStartTime = "091112"
    defaults = {
        "modality": "PT",
        "sop_class": PT,
        "intercept": 0,
        "RescaleType": None,
        "KVP": None,
        "ConvolutionKernel": None,
        "spacing": (4.0, 4.0),
        "step": 3.0,
        "Units": units,
        "CorrectedImage": ["ATTN", "DECY", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": 70.0,
        "RadiopharmaceuticalInformationSequence": Items([tracer]),
    }
    return ct_series(folder, **{**defaults, "slope": slope, **options})


def planar(
    folder: Path,
    *,
    modality: str = "DX",
    photometric: str = "MONOCHROME2",
    rows: int = 24,
    columns: int = 20,
    spacing: Sequence[float] | None = (0.15, 0.15),
    number: int = 1,
    seed: int = 0,
    **attributes: Any,
) -> Path:
    """One projection image (DX, MG, CR) or ultrasound still (US, `photometric` MONOCHROME2 or RGB), without a place."""
    content = voxels(1, rows, columns, seed=seed)[0]
    if modality == "US":
        content = (content // 8).astype(np.uint8)
        if photometric == "RGB":
            content = np.stack([content, content // 2, content // 3], axis=-1)
    else:
        content = content.astype(np.uint16)
    base: dict[str, Any] = {"FrameOfReferenceUID": None, "ImageType": ["ORIGINAL", "PRIMARY"]}
    if modality == "US" and spacing is not None:
        region = Dataset()
        region.RegionSpatialFormat, region.RegionDataType = 1, 1
        region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
        region.PhysicalDeltaX, region.PhysicalDeltaY = spacing[1] / 10, spacing[0] / 10
        base["SequenceOfUltrasoundRegions"] = Items([region])
    elif spacing is not None:
        base["ImagerPixelSpacing"] = [float(s) for s in spacing]
    if modality == "MG":
        base |= {"ImageLaterality": "L", "ViewPosition": "CC", "BodyPartExamined": "BREAST"}
    if modality in ("DX", "MG"):
        base |= {"PresentationIntentType": "FOR PRESENTATION", "BurnedInAnnotation": "NO"}
    ds = dataset(
        content,
        modality=modality,
        sop_class=PLANAR[modality],
        number=number,
        photometric=photometric,
        **{**base, **attributes},
    )
    return write(ds, Path(folder) / f"{modality.lower()}{number:03d}.dcm")


def enhanced_ct(
    folder: Path,
    *,
    slices: int = 8,
    rows: int = 16,
    columns: int = 12,
    spacing: Sequence[float] = (0.8, 0.8),
    step: float = 2.0,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-100.0, -80.0, 50.0),
    intercepts: Sequence[float] | None = None,
    with_positions: bool = True,
    seed: int = 0,
    **attributes: Any,
) -> Path:
    """One enhanced multi-frame CT: orientation and spacing shared, position and rescale per frame."""
    normal = np.cross(orientation[:3], orientation[3:])
    shared = Dataset()
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [float(s) for s in spacing], float(step)
    plane.ImageOrientationPatient = [float(x) for x in orientation]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([plane])
    exposure = Dataset()
    exposure.KVP = 120.0
    shared.CTXRayDetailsSequence = Items([exposure])
    frames = []
    for k in range(slices):
        frame, values = Dataset(), Dataset()
        if with_positions:
            place = Dataset()
            place.ImagePositionPatient = [float(f"{x:.6f}") for x in np.array(origin) + normal * (k * step)]
            frame.PlanePositionSequence = Items([place])
        values.RescaleSlope, values.RescaleType = 1.0, "HU"
        values.RescaleIntercept = float(intercepts[k]) if intercepts is not None else -1024.0
        frame.PixelValueTransformationSequence = Items([values])
        frames.append(frame)
    base = {
        "SharedFunctionalGroupsSequence": Items([shared]),
        "PerFrameFunctionalGroupsSequence": Items(frames),
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "NumberOfFrames": slices,
    }
    ds = dataset(voxels(slices, rows, columns, seed=seed), sop_class=ENHANCED_CT, **{**base, **attributes})
    return write(ds, Path(folder) / "enhanced.dcm")


def read(path: Path) -> FileDataset:
    """The file as pydicom reads it, for tests that change one thing."""
    from pydicom import dcmread

    return dcmread(path)
