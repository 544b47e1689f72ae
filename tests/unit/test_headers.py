"""Headers: what is read, and why a file is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from oncurate import part10
from oncurate.errors import Rejection
from oncurate.headers import read_instance
from oncurate.plan import plan_series
from oncurate.reasons import Reason
from oncurate.records import Instance
from tests import phantoms
from tests.encoding import as_bytes

KEYWORDS = frozenset({"KVP", "EchoTime", "RadiopharmaceuticalInformationSequence.RadionuclideHalfLife", "ImageType"})


def instance(data: bytes | Dataset, **options: Any) -> Instance:
    data = as_bytes(data) if isinstance(data, Dataset) else data
    given = {"keywords": KEYWORDS, "harvest": lambda ds: (str(ds.PatientName),), **options}
    return read_instance(io.BytesIO(data), object="o" * 64, source_path="a.dcm", url="u", size=len(data), **given)


def reason(data: bytes | Dataset) -> tuple[Reason, str]:
    with pytest.raises(Rejection) as caught:
        instance(data)
    assert caught.value.__cause__ is None
    return caught.value.reason, caught.value.detail


def ct(**attributes: Any) -> Dataset:
    base = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "KVP": 120,
        "PixelSpacing": [0.8, 0.7],
        "ImagePositionPatient": [1.0, 2.0, 3.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    }
    return phantoms.dataset(**{**base, **attributes})


def test_a_ct_slice_is_read_with_place_values_and_attributes() -> None:
    found = instance(ct())
    frame = found.frames[0]
    assert (found.Modality, found.PatientID, found.identifiers) == ("CT", "PHANTOM-1", ("PHANTOM^ONE",))
    assert (frame.position, frame.spacing, frame.slope, frame.intercept) == ((1.0, 2.0, 3.5), (0.8, 0.7), 1.0, -1024.0)
    assert found.attributes == {"KVP": 120.0, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    assert (found.format.Rows, found.format.Columns, found.format.BitsStored) == (16, 12, 16)
    assert not found.lossy


def test_the_offset_points_at_the_pixels() -> None:
    pixels = phantoms.voxels(1, 16, 12)[0]
    data = as_bytes(phantoms.dataset(pixels, RescaleSlope=1, RescaleIntercept=0))
    offset = instance(data).offset
    assert offset is not None
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", 16 * 12, offset).reshape(16, 12), pixels)


def test_a_dotted_keyword_leads_into_a_sequence(tmp_path: Path) -> None:
    [path] = phantoms.pt_series(tmp_path, slices=1)
    found = instance(path.read_bytes())
    assert found.attributes["RadiopharmaceuticalInformationSequence.RadionuclideHalfLife"] == 6586.2


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_native_encoding_gives_the_same_instance(syntax: str) -> None:
    ds = ct()
    plain = instance(ds)
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds["PixelData"].value = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    other = instance(out.getvalue())
    assert other.format.TransferSyntaxUID == syntax
    assert (other.offset is None) == (syntax != ImplicitVRLittleEndian)
    assert other.frames == plain.frames
    assert other.attributes == plain.attributes


@pytest.mark.parametrize("name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm"])
def test_a_data_set_without_preamble_is_recognised(name: str) -> None:
    found = reason_or_instance(Path(str(get_testdata_file(name))).read_bytes())
    assert found is not Reason.NOT_DICOM


def reason_or_instance(data: bytes) -> Reason | Instance:
    try:
        return instance(data)
    except Rejection as rejection:
        return rejection.reason


@pytest.mark.parametrize(
    ("attributes", "expected", "detail"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, Reason.NOT_AN_IMAGE, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Reason.SECONDARY_CAPTURE, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20"}, Reason.UNSUPPORTED_KIND, ""),
        ({"SOPClassUID": "1.2.3.4"}, Reason.UNKNOWN_SOP_CLASS, ""),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, Reason.DICOMDIR, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALIZER, ""),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, Reason.SECONDARY_CAPTURE, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, Reason.MOSAIC, "NumberOfImagesInMosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"]}, Reason.MOSAIC, "NumberOfImagesInMosaic"),
        ({"SeriesInstanceUID": None}, Reason.MISSING_IDENTITY, "SeriesInstanceUID"),
        ({"StudyInstanceUID": ""}, Reason.MISSING_IDENTITY, "StudyInstanceUID"),
        ({"Rows": None}, Reason.MISSING_ATTRIBUTE, "Rows"),
        ({"PhotometricInterpretation": None}, Reason.MISSING_ATTRIBUTE, "PhotometricInterpretation"),
        ({"RescaleIntercept": None}, Reason.MISSING_ATTRIBUTE, "RescaleIntercept"),
        ({"RescaleSlope": 0}, Reason.IMPLAUSIBLE_HEADER, "RescaleSlope"),
        ({"Rows": 0}, Reason.IMPLAUSIBLE_HEADER, "Rows"),
        ({"BitsAllocated": 12}, Reason.IMPLAUSIBLE_HEADER, "BitsAllocated"),
        ({"BitsStored": 17}, Reason.IMPLAUSIBLE_HEADER, "BitsStored"),
        ({"BitsStored": 12}, Reason.IMPLAUSIBLE_HEADER, "HighBit"),
        ({"Rows": 65535, "Columns": 65535}, Reason.IMPLAUSIBLE_HEADER, "4294836225 voxels"),
        ({"ImagePositionPatient": [1.0, 2.0]}, Reason.IMPLAUSIBLE_HEADER, "ImagePositionPatient"),
        ({"Rows": 17}, Reason.TRUNCATED_PIXEL_DATA, "384 of 408 bytes"),
        ({"NumberOfFrames": 2}, Reason.TRUNCATED_PIXEL_DATA, "384 of 768 bytes"),
        ({"NumberOfFrames": 0}, Reason.IMPLAUSIBLE_HEADER, "NumberOfFrames"),
        ({"RescaleSlope": None}, Reason.MISSING_ATTRIBUTE, "RescaleSlope"),
        ({"ImageOrientationPatient": [1, 0, 0]}, Reason.IMPLAUSIBLE_HEADER, "ImageOrientationPatient"),
        ({"PixelData": None}, Reason.NO_PIXEL_DATA, ""),
    ],
)
def test_what_is_not_converted_is_refused(attributes: dict[str, Any], expected: Reason, detail: str) -> None:
    assert reason(ct(**attributes)) == (expected, detail)


@pytest.mark.parametrize(
    "data", [b"hello, this is a text file\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(200), b"x", bytes(300)]
)
def test_other_files_are_not_dicom(data: bytes) -> None:
    assert reason(data)[0] is Reason.NOT_DICOM


def test_an_empty_file_is_refused() -> None:
    assert reason(b"")[0] is Reason.EMPTY_FILE


def test_a_file_cut_anywhere_is_refused_and_never_crashes() -> None:
    data = as_bytes(ct())
    for end in range(1, len(data) - 1):
        assert isinstance(reason_or_instance(data[:end]), Reason), end
    header = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    assert reason(data[: header - 3])[0] is Reason.BROKEN_HEADER
    assert reason(data[: header + 100])[0] is Reason.TRUNCATED_PIXEL_DATA


def test_no_header_value_is_in_a_rejection() -> None:
    ds = ct(Rows=None, PatientID="CANARY", StudyDescription="CANARY")
    with pytest.raises(Rejection) as caught:
        instance(ds)
    assert "CANARY" not in repr(caught.value) + caught.value.detail


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = ct()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    monkeypatch.setattr(part10, "INFLATED_LIMIT_BYTES", 200)
    assert reason(ds) == (Reason.IMPLAUSIBLE_HEADER, "deflated data set")


def test_an_encapsulated_stream_without_its_end_is_truncated() -> None:
    data = Path(str(get_testdata_file("MR_small_RLE.dcm"))).read_bytes()
    assert instance(data).offset is None
    assert reason(data[:-200])[0] is Reason.TRUNCATED_PIXEL_DATA


def test_frames_of_an_enhanced_file_have_their_own_place_and_rescale(tmp_path: Path) -> None:
    path = phantoms.enhanced_ct(tmp_path, slices=3, intercepts=[-1024, -1000, -900])
    found = instance(path.read_bytes())
    assert [f.position for f in found.frames] == [(-100.0, -80.0, 50.0), (-100.0, -80.0, 52.0), (-100.0, -80.0, 54.0)]
    assert [f.intercept for f in found.frames] == [-1024.0, -1000.0, -900.0]
    assert found.attributes["KVP"] == 120.0


def test_a_private_b_value_is_found_by_its_creator_only() -> None:
    def mr(creator: str) -> Instance:
        ds = phantoms.dataset(modality="MR", sop_class=phantoms.MR)
        block = ds.private_block(0x0043, creator, create=True)
        block.add_new(0x39, "IS", [1000000800, 8, 0, 0])
        return instance(ds)

    assert mr("GEMS_PARM_01").frames[0].keys["b_value"] == 800.0
    assert "b_value" not in mr("SOMEONE_ELSE").frames[0].keys


def test_ultrasound_spacing_comes_from_its_regions(tmp_path: Path) -> None:
    found = instance(phantoms.planar(tmp_path, modality="US", spacing=(0.2, 0.3)).read_bytes())
    assert found.frames[0].spacing == pytest.approx((0.2, 0.3))
    assert found.frames[0].keys["spacing_source"] == "PhysicalDelta"


def test_a_tomosynthesis_is_a_volume_of_its_frames(tmp_path: Path) -> None:
    path = phantoms.enhanced_ct(tmp_path, slices=5, step=1.0, Modality="MG")
    ds = phantoms.read(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = BreastTomosynthesisImageStorage
    series, refused = plan_series([instance(ds)], lambda i: i.object)
    assert not refused
    assert series is not None
    [volume] = series.volumes
    assert (series.Modality, volume.kind, volume.geometry.shape[2], len(volume.repetitions)) == ("MG", "volume", 5, 1)
