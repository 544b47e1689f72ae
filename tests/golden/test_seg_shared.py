"""Real segmentations on the grids of their real images, against other readers of the same objects.

highdicom reads what it can of them into volumes of its own; 3D Slicer's label map of one of them is delivered beside
it; the volume that a report states was computed by its authors.
"""

from __future__ import annotations

import sqlite3
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from oncurate.annotations import labelfiles, matching, seg, sr
from oncurate.annotations.model import LabelMap, grid_affine_lps
from oncurate.annotations.references import kind_of, references_of
from oncurate.errors import Rejection
from oncurate.headers import quiet
from oncurate.pixels import digest
from oncurate.plan import plan_series
from oncurate.reasons import Reason
from oncurate.records import Geometry, SourceSeries
from tests.golden import chain

SHARED = chain.shared_folder()
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(SHARED is None, reason="the archive of real images is not there"),
]

FOLDERS = {
    "QIICR+dcmqi": 6,
    "oncoray+mirp": 1,
    "pwoznicki+AutoRadiomics": 1,
    "pydicom+pydicom": 2,
    "pydicom+pydicom-data": 9,
}
"""Folders with segmentations, and how many each has."""
BROKEN = ("liver_1frame.dcm", "liver_expb_1frame.dcm")
"""Files that were cut to one frame without cutting the frames' positions."""
LIVER = 107098
"""Voxels of the liver that pydicom's samples hold in every transfer syntax."""


@cache
def _objects(folder: str) -> tuple[dict[str, str], list[Path]]:
    """Series by SOP Instance UID of the images of a folder, and the files of its segmentations."""
    images, found = {}, []
    quiet()
    for path in sorted((SHARED / "data" / folder).rglob("*")):
        if not path.is_file() or path.suffix in {".gz", ".nii", ".json", ".csv", ".nrrd", ".md", ".txt"}:
            continue
        ds = dcmread(
            path,
            force=True,
            stop_before_pixels=True,
            specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"],
        )
        if kind_of(str(ds.get("SOPClassUID", ""))) == "seg":
            found.append(path)
        else:
            images[str(ds.get("SOPInstanceUID", ""))] = str(ds.get("SeriesInstanceUID", ""))
    return images, found


@cache
def _series(folder: str, uid: str) -> SourceSeries | None:
    instances, _ = chain.series_of(SHARED / "data", folder)[uid]
    return plan_series(instances, lambda i: digest(i.locator, Path(i.url).read_bytes()), None)[0]


def _image_of(path: Path, folder: str) -> tuple[Geometry, dict[str, object]] | None:
    """The grid that a segmentation belongs to and what `seg.decode` wants to know of it; None if it is not there."""
    wanted = references_of(dcmread(path, stop_before_pixels=True)).instances
    for home in (folder, "QIICR+dcmqi"):  # the liver of pydicom's samples was drawn on an image of dcmqi's
        images, _ = _objects(home)
        found = {images[uid] for uid in wanted if uid in images}
        if found:
            series = _series(home, found.pop())
            volume = series.volumes[0]
            slices = {s.SOPInstanceUID: k % volume.geometry.shape[2] for k, s in enumerate(volume.slices)}
            return volume.geometry, {"frame_of_reference": series.FrameOfReferenceUID, "slices": slices}
    return None


def _decoded(path: Path, folder: str) -> tuple[LabelMap, Geometry]:
    grid, about = _image_of(path, folder)
    found = seg.decode(path.read_bytes(), grid, **about)
    return found if isinstance(found, LabelMap) else found.label_map, grid


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_segmentation_is_drawn_on_its_image_or_refused_with_a_reason(folder):
    _, paths = _objects(folder)
    assert len(paths) == FOLDERS[folder]
    for path in paths:
        if _image_of(path, folder) is None:
            assert path.parent.name == "sr-example"  # the only one whose image is not in the archive
        elif path.name in BROKEN:
            with pytest.raises(Rejection) as caught:
                _decoded(path, folder)
            assert caught.value.reason is Reason.IMPLAUSIBLE_HEADER
        else:
            found, grid = _decoded(path, folder)
            assert not found.resampled
            assert not found.flags
            assert all(layer.shape == grid.shape for layer in found.layers)
            assert all(found.mask(label.number).any() for label in found.labels)


def test_every_syntax_gives_the_same_liver():
    _, paths = _objects("pydicom+pydicom-data")
    masks = {path.name: _decoded(path, "pydicom+pydicom-data")[0].layers[0] for path in paths}
    whole = masks["liver.dcm"]
    assert (whole > 0).sum() == LIVER
    for name, mask in masks.items():
        assert (mask > 0).sum() == LIVER, name
        if "nonbyte" not in name:  # those were cropped by a column and a row before they were packed
            assert np.array_equal(mask, whole), name


@pytest.mark.parametrize("folder", FOLDERS)
def test_highdicom_sees_the_same_voxels(folder):
    highdicom = pytest.importorskip("highdicom.seg")
    compared = 0
    for path in _objects(folder)[1]:
        if path.name in BROKEN or _image_of(path, folder) is None:
            continue
        found, grid = _decoded(path, folder)
        numbers = [label.number for label in found.labels]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = highdicom.Segmentation.from_dataset(dcmread(path), copy=False)
                volume = read.get_volume(segment_numbers=numbers, combine_segments=False)
            except (ValueError, RuntimeError, sqlite3.Error):  # big endian, deflated frames, RLE, "3D" without stacks
                continue
        for channel, number in enumerate(numbers):
            to_index = np.linalg.inv(grid_affine_lps(grid)) @ volume.affine
            theirs = np.argwhere(volume.array[..., channel] > 0) @ to_index[:3, :3].T + to_index[:3, 3]
            assert np.abs(theirs - np.rint(theirs)).max() < 0.02
            assert np.array_equal(np.argwhere(found.mask(number)), _sorted(np.rint(theirs))), (path.name, number)
        compared += 1
    assert compared >= {"QIICR+dcmqi": 5, "pwoznicki+AutoRadiomics": 1, "pydicom+pydicom-data": 2}.get(folder, 0)


def _sorted(voxels: np.ndarray) -> np.ndarray:
    """Voxel indices in the order of `np.argwhere`."""
    return voxels[np.lexsort(voxels.T[::-1])]


def test_the_label_map_beside_the_image_is_the_segmentation():
    folder = SHARED / "data" / "QIICR+dcmqi" / "data" / "segmentations" / "24x38x3"
    found, grid = _decoded(folder / "seg" / "label.seg", "QIICR+dcmqi")
    delivered = labelfiles.read((folder / "nrrd" / "label.nrrd").read_bytes(), "label.nrrd")
    assert np.array_equal(labelfiles.lay(delivered, grid).layers[0], found.layers[0])


def test_the_report_s_volume_is_that_of_its_segmentation():
    folder = SHARED / "data" / "QIICR+dcmqi" / "data" / "sr-example"
    measured = sr.measurements((folder / "sr.dcm").read_bytes())
    assert len(measured) == 22
    volume = next(m for m in measured if m.name.value == "G-D705")
    header = dcmread(folder / "seg.dcm", stop_before_pixels=True)
    assert volume.group.segments == ((str(header.SOPInstanceUID), 1),)
    measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    step = float(measures.get("SpacingBetweenSlices", measures.SliceThickness))
    voxel_ml = float(np.prod([float(s) for s in measures.PixelSpacing])) * step / 1000
    packed = np.frombuffer(dcmread(folder / "seg.dcm").PixelData, np.uint8)
    assert volume.value == pytest.approx(np.unpackbits(packed).sum() * voxel_ml, rel=1e-4)


def test_masks_of_ibsi_find_their_images_among_several():
    folder = "theibsi+data_sets"
    candidates = []
    for uid in chain.series_of(SHARED / "data", folder):
        series = _series(folder, uid)
        for volume in series.volumes if series else ():
            paths = {i.object: i.source_path for i in chain.series_of(SHARED / "data", folder)[uid][0]}
            candidates.append(
                matching.Candidate(
                    key=series.Modality,
                    geometry=volume.geometry,
                    SeriesInstanceUID=uid,
                    StudyInstanceUID=series.StudyInstanceUID,
                    PatientID=series.PatientID,
                    source_paths=tuple({paths[s.object] for s in volume.slices}),
                )
            )
    assert sorted(c.key for c in candidates) == ["CT", "MR", "PT"]
    nifti = SHARED / "data" / folder / "ibsi_validation" / "nifti" / "STS_025"
    for name, modality in (("CT_mask.nii.gz", "CT"), ("MR_T1_mask.nii.gz", "MR"), ("PET_mask.nii.gz", "PT")):
        delivered = labelfiles.read((nifti / name).read_bytes(), name)
        path = (nifti / name).relative_to(SHARED / "data").as_posix()
        found = matching.match(path, delivered, candidates, matching.rules_of())
        assert found.key == modality
        assert labelfiles.lay(delivered, found.geometry).mask(1).sum() == (delivered.layers[0] > 0).sum()
