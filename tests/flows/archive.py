"""A provider's archive made for whole runs: every kind that is curated, and many ways in which a file is not.

Belongs here: laying the files out, and saying where each must end. Does not belong here: running anything. The listing
that runs are compared with is made here with the standard library alone.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from oncurate.pixeltext import detector
from oncurate.reasons import Reason
from tests import phantoms
from tests.phantoms import ct_series, dataset, enhanced_ct, mr_series, planar, pt_series, uid, voxels, write

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
DICOMDIR = "1.2.840.10008.1.3.10"

CINE_FRAMES = 4
DIFFUSION = ((0.0, None), (500.0, [1.0, 0.0, 0.0]), (1000.0, [0.0, 0.6, 0.8]))
"""b-value (s/mm2) and gradient direction (LPS) of each repetition of the diffusion series."""

Expected = dict[str, Reason | None]
"""Source path -> reason, None where the file must be curated."""


def build(root: Path) -> Expected:
    """Lay the archive out in `root`; where each file must end, but for the copies that `one_of` lists."""
    return {
        **_images(root),
        **_archives(root),
        **_no_images(root),
        **_broken_files(root),
        **_broken_headers(root),
        **_irregular(root),
        **_copies(root),
        **_text_in_pixels(root),
    }


def one_of(expected: Expected) -> list[tuple[str, str]]:
    """Pairs of copies of which either may be the one that is kept."""
    return [("ct/00001.dcm", "copies/again"), ("ct/00002.dcm", "copies/other-uid.dcm")]


def listing(root: Path) -> list[str]:
    """Every file below `root` and every member of the archives in it, by a walk of its own."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            shown = path.relative_to(root).as_posix()
            found.append(shown)
            if not path.is_symlink() and path.is_file():
                found += [f"{shown}!/{member}" for member in _members(path.read_bytes())]
    return sorted(found)


def _members(data: bytes) -> list[str]:
    if zipfile.is_zipfile(io.BytesIO(data)) and data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            found = [(i.filename, b"" if i.flag_bits & 1 else file.read(i)) for i in file.infolist() if not i.is_dir()]
    elif data[:2] == b"\x1f\x8b":
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as file:
                found = [(i.name, _content(file, i)) for i in file.getmembers() if not i.isdir()]
        except (tarfile.TarError, EOFError):
            return []
    else:
        return []
    return [p for name, inner in found for p in (name, *(f"{name}!/{m}" for m in _members(inner)))]


def _content(file: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = file.extractfile(member) if member.isreg() else None
    return stream.read() if stream else b""


def _all(root: Path, paths: list[Path], reason: Reason | None = None) -> Expected:
    return {path.relative_to(root).as_posix(): reason for path in paths}


def _images(root: Path) -> Expected:
    first = uid("study", "first")
    ct = ct_series(root / "ct", patient="MADE-1", study_uid=first, intercept=-1224, slope=4)
    mr = mr_series(root / "mr", times=2, patient="MADE-1", study_uid=first)
    pt = pt_series(root / "pt", patient="MADE-1", study_uid=first)
    names = ct_series(root / "no-names", patient="MADE-2", Manufacturer="GE MEDICAL SYSTEMS")
    unnamed = [path.rename(path.with_name(f"IM{path.stem[-3:]}")) for path in names]
    plain = ct_series(root / "no-preamble", patient="MADE-3", slices=3)
    for path in plain:
        path.write_bytes(path.read_bytes()[132:])
    projections = [
        planar(root / "planar", modality=modality, patient=f"MADE-{modality}") for modality in ("CR", "DX", "MG")
    ]
    projections += [
        planar(root / "us", modality="US", patient="MADE-US", photometric="RGB", BurnedInAnnotation="NO"),
        enhanced_ct(root / "enhanced", patient="MADE-ENHANCED"),
    ]
    cine = dataset(
        (voxels(CINE_FRAMES, 16, 12) // 8).astype("uint8"),
        sop_class=US_MULTIFRAME,
        modality="US",
        patient="MADE-CINE",
        BurnedInAnnotation="NO",
        FrameTime=40.0,
    )
    projections.append(write(cine, root / "cine" / "cine.dcm"))
    for number, (b_value, direction) in enumerate(DIFFUSION):
        projections += mr_series(
            root / "diffusion",
            patient="MADE-DIFFUSION",
            first_number=100 * number + 1,
            seed=number,
            DiffusionBValue=b_value,
            DiffusionGradientOrientation=direction,
        )
    inverted = planar(root / "inverted", modality="CR", patient="MADE-CR-1", photometric="MONOCHROME1")
    return _all(root, [*ct, *mr, *pt, *unnamed, *plain, *projections, inverted])


def _archives(root: Path) -> Expected:
    (root / "sent").mkdir()
    staging = root.parent / "staging"
    ct = ct_series(staging / "ct", patient="MADE-ZIP", slices=4)
    mr = mr_series(staging / "mr", patient="MADE-TAR", slices=4)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as file:
        for path in mr:
            file.add(path, f"export/{path.name}")
        link = tarfile.TarInfo("export/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(link)
    outer = root / "sent" / "batch.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in ct:
            file.write(path, f"one/two/{path.name}")
        file.writestr("README", "nothing to see")
        file.writestr("more.tar.gz", inner.getvalue())
        file.writestr("../escaped.dcm", ct[0].read_bytes())
    _encrypted(root / "sent" / "locked.zip")
    (root / "sent" / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    (root / "sent" / "other.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(64))
    here = "sent/batch.zip"
    return {
        here: Reason.ARCHIVE_UNPACKED,
        f"{here}!/README": Reason.NOT_DICOM,
        f"{here}!/more.tar.gz": Reason.ARCHIVE_UNPACKED,
        f"{here}!/more.tar.gz!/export/link": Reason.UNSAFE_MEMBER,
        f"{here}!/../escaped.dcm": Reason.UNSAFE_MEMBER,
        **{f"{here}!/one/two/{path.name}": None for path in ct},
        **{f"{here}!/more.tar.gz!/export/{path.name}": None for path in mr},
        "sent/locked.zip": Reason.ARCHIVE_UNPACKED,
        "sent/locked.zip!/secret.dcm": Reason.ENCRYPTED_MEMBER,
        "sent/cut.tar.gz": Reason.BROKEN_ARCHIVE,
        "sent/other.7z": Reason.UNSUPPORTED_ARCHIVE,
    }


def _encrypted(path: Path) -> None:
    """A zip whose only member is marked as encrypted (bit 0 of the flags, APPNOTE 4.4.4)."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("secret.dcm", b"x" * 64)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))


def _no_images(root: Path) -> Expected:
    folder = root / "other"
    segmentation = dataset(sop_class=SEGMENTATION, modality="SEG", patient="MADE-1")
    del segmentation[0x7FE00010]
    directory = dataset(sop_class=DICOMDIR, patient="MADE-1")
    found: dict[str, tuple[Dataset, Reason]] = {
        "seg.dcm": (segmentation, Reason.UNRESOLVED_REFERENCE),
        "DICOMDIR": (directory, Reason.DICOMDIR),
        "screen.dcm": (dataset(sop_class=SECONDARY_CAPTURE, patient="MADE-SC"), Reason.SECONDARY_CAPTURE),
        "scout.dcm": (_single("MADE-SCOUT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER),
        "mosaic.dcm": (
            _single("MADE-MOSAIC", sop_class=phantoms.MR, modality="MR", ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
            Reason.MOSAIC,
        ),
        "angio.dcm": (_single("MADE-XA", sop_class=XA, modality="XA"), Reason.UNSUPPORTED_KIND),
    }
    for name, (ds, _) in found.items():
        write(ds, folder / name)
    (folder / "letter.txt").write_text("Dear colleague,\n")
    (folder / "list.csv").write_text("id,name\n")
    (folder / "link.dcm").symlink_to("../ct/00001.dcm")
    return {
        **{f"other/{name}": reason for name, (_, reason) in found.items()},
        "other/letter.txt": Reason.NOT_DICOM,
        "other/list.csv": Reason.NOT_DICOM,
        "other/link.dcm": Reason.UNSAFE_MEMBER,
    }


def _single(patient: str, pixels: Any = None, **attributes: Any) -> Dataset:
    """One axial slice with a place."""
    place = {
        "ImagePositionPatient": [0.0, 0.0, 0.0],
        "ImageOrientationPatient": list(phantoms.AXIAL),
        "PixelSpacing": [1.0, 1.0],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    return dataset(pixels, patient=patient, **{**place, **attributes})


def _broken_files(root: Path) -> Expected:
    folder = root / "broken"
    whole = write(_single("MADE-CUT"), folder / "cut.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:-100])
    (folder / "empty.dcm").touch()
    (folder / "short.dcm").write_bytes(whole[: whole.index(b"\xe0\x7f\x10\x00") - 3])  # within the last header element
    return {
        "broken/cut.dcm": Reason.TRUNCATED_PIXEL_DATA,
        "broken/empty.dcm": Reason.EMPTY_FILE,
        "broken/short.dcm": Reason.BROKEN_HEADER,
    }


def _broken_headers(root: Path) -> Expected:
    folder = root / "headers"
    without_pixels = _single("MADE-BARE")
    del without_pixels[0x7FE00010]
    found = {
        "unknown.dcm": (_single("MADE-UNKNOWN", sop_class="1.2.3.4.5"), Reason.UNKNOWN_SOP_CLASS),
        "no-series.dcm": (_single("MADE-ID", SeriesInstanceUID=None), Reason.MISSING_IDENTITY),
        "no-rows.dcm": (_single("MADE-ROWS", Rows=None), Reason.MISSING_ATTRIBUTE),
        "bits.dcm": (_single("MADE-BITS", BitsAllocated=12), Reason.IMPLAUSIBLE_HEADER),
        "bare.dcm": (without_pixels, Reason.NO_PIXEL_DATA),
        "nowhere.dcm": (_single("MADE-NOWHERE", ImagePositionPatient=None), Reason.MISSING_GEOMETRY),
        "study-of-one.dcm": (_single("MADE-A", study_uid=uid("shared study")), Reason.INCONSISTENT_IDENTITY),
        "study-of-two.dcm": (
            _single("MADE-B", study_uid=uid("shared study"), series_uid=uid("b")),
            Reason.INCONSISTENT_IDENTITY,
        ),
        "one.dcm": (_single("MADE-CONFLICT"), Reason.CONFLICTING_COPIES),
        "two.dcm": (_single("MADE-CONFLICT", voxels(1, 16, 12, seed=9)[0]), Reason.CONFLICTING_COPIES),
        "strange.dcm": (_single("MADE-SYNTAX"), Reason.UNSUPPORTED_SYNTAX),
        "not-jpeg.dcm": (_single("MADE-JPEG"), Reason.UNDECODABLE),
    }
    for name, (ds, _) in found.items():
        write(ds, folder / name)
    _in_syntax(folder / "strange.dcm", "1.2.3.4.5.6.7")
    _in_syntax(folder / "not-jpeg.dcm", "1.2.840.10008.1.2.4.90")
    return {f"headers/{name}": reason for name, (_, reason) in found.items()}


def _in_syntax(path: Path, syntax: str) -> None:
    """The file under another transfer syntax, its pixels one fragment of nonsense."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    ds = phantoms.read(path)
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51 nonsense" * 4])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(path, implicit_vr=False, little_endian=True)


def _irregular(root: Path) -> Expected:
    made = {
        "gap": (Reason.MISSING_SLICES, {"missing": [3]}),
        "tilt": (Reason.GANTRY_TILT, {"tilt_mm_per_slice": 0.5}),
        "uneven": (Reason.UNEVEN_SPACING, {"jitter": [0, 0, 0.3, 0, 0, 0.4, 0, 0]}),
        "sheared": (Reason.SHEARED_ORIENTATION, {"orientation": (1.0, 0.0, 0.0, 0.3, 0.954, 0.0)}),
    }
    found: Expected = {}
    for name, (reason, options) in made.items():
        found |= _all(root, ct_series(root / name, patient=f"MADE-{name}", **options), reason)
    return found


def _copies(root: Path) -> Expected:
    first = root / "ct" / "00001.dcm"
    (root / "copies").mkdir()
    (root / "copies" / "again").write_bytes(first.read_bytes())
    other = phantoms.read(root / "ct" / "00002.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = uid("another")
    write(other, root / "copies" / "other-uid.dcm")
    return {"copies/again": Reason.SAME_BYTES, "copies/other-uid.dcm": Reason.SAME_PIXELS}


def _text_in_pixels(root: Path) -> Expected:
    folder = root / "text"
    said = planar(folder, modality="US", patient="MADE-SAID", number=1, BurnedInAnnotation="YES")
    silent = planar(folder, modality="US", patient="MADE-SILENT", number=2, SequenceOfUltrasoundRegions=None)
    return {
        **_all(root, [said], Reason.BURNED_IN_ANNOTATION),
        **_all(root, [silent], None if detector() is not None else Reason.BURNED_IN_TEXT_POSSIBLE),
    }
