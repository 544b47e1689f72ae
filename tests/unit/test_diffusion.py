"""Diffusion: b-value and direction of every vendor in patient coordinates, and on the axes of a NIfTI as FSL has it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate import diffusion
from oncurate.diffusion import Diffusion, diffusion_of
from oncurate.functional_groups import headers_of
from oncurate.records import Frame
from tests import mosaics, phantoms
from tests.encoding import instance_of
from tests.golden.chain import shared_folder

PLANES = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
}
VECTOR = (0.48, -0.6, 0.64)


def mr(**attributes: Any) -> Dataset:
    base = {"modality": "MR", "sop_class": phantoms.MR, "ImageOrientationPatient": list(mosaics.OBLIQUE)}
    return phantoms.dataset(**{**base, "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"], **attributes})


def standard(b: float | None, vector: tuple[float, ...] | None, **attributes: Any) -> Dataset:
    direction = {} if vector is None else {"DiffusionGradientOrientation": list(vector)}
    return mr(**({} if b is None else {"DiffusionBValue": b}), **direction, **attributes)


def siemens(b: float | None, vector: tuple[float, ...] | None, **attributes: Any) -> Dataset:
    ds = mr(Manufacturer="SIEMENS", **attributes)
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    if b is not None:
        block.add_new(0x0C, "IS", int(b))
    if vector is not None:
        block.add_new(0x0E, "FD", list(vector))
    return ds


def csa(b: float | None, vector: tuple[float, ...] | None, **attributes: Any) -> Dataset:
    ds = mr(Manufacturer="SIEMENS", **attributes)
    fields = {"B_value": [] if b is None else [int(b)], "DiffusionGradientDirection": vector or []}
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", mosaics.csa_header(fields))
    return ds


def philips(b: float | None, vector: tuple[float, ...] | None, **attributes: Any) -> Dataset:
    ds = mr(Manufacturer="Philips Medical Systems", **attributes)
    if b is not None:
        ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", b)
    block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    for element, number in zip((0xB0, 0xB1, 0xB2), vector or (), strict=False):
        block.add_new(element, "FL", number)
    return ds


def uih(b: float | None, vector: tuple[float, ...] | None, **attributes: Any) -> Dataset:
    ds = mr(Manufacturer="UIH", **attributes)
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    if b is not None:
        block.add_new(0x09, "FD", b)
    if vector is not None:
        block.add_new(0x37, "FD", list(vector))
    return ds


def ge(b: float | None, vector: tuple[float, ...] | None, phase: str | None = "COL", **attributes: Any) -> Dataset:
    ds = mr(Manufacturer="GE MEDICAL SYSTEMS", InPlanePhaseEncodingDirection=phase, **attributes)
    if b is not None:
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [int(b), 8, 0, 0])
    block = ds.private_block(0x0019, "GEMS_ACQU_01", create=True)
    for element, number in zip((0xBB, 0xBC, 0xBD), vector or (), strict=False):
        block.add_new(element, "DS", str(number))
    return ds


IN_PATIENT = [standard, siemens, csa, philips]
VENDORS = [*IN_PATIENT, uih, ge]
Make = Callable[..., Dataset]


def found(ds: Dataset) -> Diffusion:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    out.seek(0)
    return diffusion_of(headers_of(dcmread(out), 1)[0])


@pytest.mark.parametrize("make", IN_PATIENT)
def test_directions_in_patient_coordinates_are_kept(make: Make) -> None:
    result = found(make(1000, VECTOR))
    assert result.b_value == 1000
    np.testing.assert_allclose(result.direction, VECTOR, atol=1e-6)
    np.testing.assert_allclose(result.gradient, VECTOR, atol=1e-6)


@pytest.mark.parametrize("make", VENDORS)
def test_a_gradient_is_a_unit_vector(make: Make) -> None:
    result = found(make(1000, tuple(1.01 * x for x in VECTOR)))
    assert np.linalg.norm(result.gradient) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("make", VENDORS)
@pytest.mark.parametrize("vector", [None, (0.0, 0.0, 0.0)])
def test_without_a_direction_there_is_no_gradient(make: Make, vector: tuple[float, ...] | None) -> None:
    result = found(make(800, vector))
    assert (result.b_value, result.gradient) == (800, None)


@pytest.mark.parametrize("make", VENDORS)
@pytest.mark.parametrize("b", [0, None])
def test_without_weighting_there_is_no_gradient(make: Make, b: float | None) -> None:
    assert found(make(b, VECTOR)).gradient is None


@pytest.mark.parametrize("directionality", ["ISOTROPIC", "NONE"])
def test_a_trace_image_has_no_gradient(directionality: str) -> None:
    assert found(standard(1000, VECTOR, DiffusionDirectionality=directionality)).gradient is None
    assert found(siemens(1000, VECTOR, DiffusionDirectionality=directionality)).gradient is None
    ds = philips(1000, VECTOR)
    ds.private_block(0x2001, "Philips Imaging DD 001").add_new(0x04, "CS", "I")
    assert found(ds).gradient is None


@pytest.mark.parametrize("vector", [(np.nan, 0.0, 1.0), (np.inf, 0.0, 0.0), (1.0, 0.0)])
def test_a_direction_that_is_none_is_none(vector: tuple[float, ...]) -> None:
    for make in (standard, siemens, uih):
        assert found(make(1000, vector)).gradient is None


def test_what_the_standard_leaves_open_is_the_vendors() -> None:
    ds = ge(900, VECTOR, DiffusionBValue=1000.5)
    assert found(ds).b_value == 1000.5
    assert found(ds).gradient == found(ge(1000, VECTOR)).gradient is not None
    assert found(
        siemens(700, VECTOR, DiffusionBValue=500.0, DiffusionGradientOrientation=[1.0, 0.0, 0.0])
    ) == Diffusion(500.0, (1.0, 0.0, 0.0), (1.0, 0.0, 0.0))


def test_a_b_matrix_gives_the_direction_where_nothing_else_does() -> None:
    def matrix(tensor: np.ndarray) -> list[float]:
        return [float(tensor[i, j]) for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]

    along = 1000 * np.outer(VECTOR, VECTOR)
    ds = mr(Manufacturer="SIEMENS")
    fields = {"B_value": [1000], "DiffusionGradientDirection": [], "B_matrix": matrix(along)}
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", mosaics.csa_header(fields))
    assert abs(np.dot(found(ds).gradient, VECTOR)) == pytest.approx(1, abs=1e-6)
    for tensor, directed in ((along, True), (np.eye(3) * 333, False), (np.zeros((3, 3)), False)):
        names = [f"DiffusionBValue{pair}" for pair in ("XX", "XY", "XZ", "YY", "YZ", "ZZ")]
        ds = mr(DiffusionBValue=1000.0, **dict(zip(names, matrix(tensor), strict=True)))
        assert (found(ds).gradient is not None) == directed


def test_united_imaging_counts_along_row_column_and_normal() -> None:
    row, column = np.array(mosaics.OBLIQUE[:3]), np.array(mosaics.OBLIQUE[3:])
    expected = VECTOR[0] * row + VECTOR[1] * column + VECTOR[2] * np.cross(row, column)
    np.testing.assert_allclose(found(uih(929.75, VECTOR)).gradient, expected, atol=1e-12)
    assert found(uih(929.75, VECTOR)).b_value == 929.75


# Components along row, column and normal that dcm2niix 1.0.20260724 gives GE's (frequency, phase, slice).
GE_MAPS = {
    ("axial", "COL"): [(-1, 0, 0), (0, -1, 0), (0, 0, 1)],
    ("axial", "ROW"): [(0, -1, 0), (1, 0, 0), (0, 0, 1)],
    ("coronal", "COL"): [(-1, 0, 0), (0, 1, 0), (0, 0, 1)],
    ("coronal", "ROW"): [(0, 1, 0), (1, 0, 0), (0, 0, 1)],
    ("sagittal", "COL"): [(1, 0, 0), (0, 1, 0), (0, 0, -1)],
    ("sagittal", "ROW"): [(0, 1, 0), (-1, 0, 0), (0, 0, -1)],
}


@pytest.mark.parametrize(("plane", "phase"), GE_MAPS)
def test_ge_counts_along_frequency_phase_and_slice(plane: str, phase: str) -> None:
    orientation = np.reshape(PLANES[plane], (2, 3)) @ _turn(12.0)
    axes = np.vstack([orientation, np.cross(*orientation)])
    expected = (np.array(GE_MAPS[plane, phase]) @ VECTOR) @ axes
    ds = ge(1000, VECTOR, phase, ImageOrientationPatient=orientation.ravel().tolist())
    np.testing.assert_allclose(found(ds).gradient, expected, atol=1e-9)


def _turn(degrees: float) -> np.ndarray:
    """A rotation about (1, 2, 3)."""
    x, y, z = np.array([1, 2, 3]) / np.sqrt(14)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize("attributes", [{"phase": None}, {"phase": "OTHER"}, {"ImageOrientationPatient": None}])
def test_ge_without_the_axes_of_the_image_has_no_gradient(attributes: dict[str, Any]) -> None:
    result = found(ge(1000, VECTOR, **attributes))
    assert (result.b_value, result.direction, result.gradient) == (1000, VECTOR, None)


@pytest.mark.parametrize(
    ("stored", "length", "b"), [(1000, 1.0, 1000), (1000, 0.70710678, 500), (1000, 0.04, 5), (1_000_000_800, 1.0, 800)]
)
def test_ge_marks_lower_shells_by_the_length_of_the_direction(stored: int, length: float, b: float) -> None:
    result = found(ge(stored, tuple(round(length * x, 8) for x in VECTOR)))
    assert result.b_value == b
    assert result.gradient == pytest.approx(found(ge(1000, VECTOR)).gradient, abs=1e-6)


@pytest.mark.parametrize("vendor", ["Philips Healthcare", "SIEMENS"])
def test_elements_that_lost_their_creator_are_read_if_the_manufacturer_fits(vendor: str) -> None:
    ds = mr(Manufacturer=vendor)
    ds.add_new(0x20011003, "UN", np.float32(1000).tobytes())
    assert found(ds).b_value == (1000 if vendor.startswith("Philips") else None)


def test_frames_carry_the_gradient_and_rounded_keys() -> None:
    ds = standard(998.6, VECTOR)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    [frame] = instance_of(out.getvalue()).frames
    assert frame.gradient == pytest.approx(VECTOR, abs=1e-12)
    assert (frame.keys["b_value"], frame.keys["gradient"]) == (999.0, "0.480\\-0.600\\0.640")


def test_every_frame_of_an_enhanced_file_has_its_own() -> None:
    def group(b: float, vector: tuple[float, ...] | None) -> Dataset:
        inner, outer = Dataset(), Dataset()
        inner.DiffusionBValue, inner.DiffusionDirectionality = b, "NONE" if vector is None else "DIRECTIONAL"
        if vector is not None:
            direction = Dataset()
            direction.DiffusionGradientOrientation = list(vector)
            inner.DiffusionGradientDirectionSequence = Items([direction])
        outer.MRDiffusionSequence = Items([inner])
        return outer

    ds = mr(PerFrameFunctionalGroupsSequence=Items([group(0.0, None), group(1500.0, VECTOR)]))
    none, weighted = (diffusion_of(h) for h in headers_of(ds, 2))
    assert (none.b_value, none.gradient) == (0, None)
    assert (weighted.b_value, weighted.gradient) == (1500, pytest.approx(VECTOR))


def affine(orientation: np.ndarray, flips: tuple[int, int, int]) -> np.ndarray:
    """RAS, 2 x 3 x 4 mm, of voxel axes along row, column and normal, each flipped where -1."""
    axes = np.vstack([orientation, np.cross(*orientation)]).T * (np.array([2, 3, 4]) * flips)
    out = np.eye(4)
    out[:3, :3] = np.diag([-1, -1, 1]) @ axes
    return out


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("degrees", [0.0, 33.0])
@pytest.mark.parametrize("flips", [(1, 1, 1), (1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1), (-1, 1, -1)])
def test_bvecs_are_components_along_the_voxel_axes(plane: str, degrees: float, flips: tuple[int, int, int]) -> None:
    orientation = np.reshape(PLANES[plane], (2, 3)) @ _turn(degrees)
    axes = np.vstack([orientation, np.cross(*orientation)])
    matrix = affine(orientation, flips)
    result = diffusion.bvecs([tuple(np.array(VECTOR) @ axes), None], matrix)
    expected = np.array(VECTOR) * flips
    if np.prod(flips) > 0:  # LPS row, column and normal are right-handed, and so is RAS then
        expected[0] *= -1
    np.testing.assert_allclose(result, np.column_stack([expected, np.zeros(3)]), atol=1e-12)


def test_text_files_are_those_of_fsl() -> None:
    assert diffusion.bval_text([0.0, 929.7501831337527, None, 1000.0]) == "0 929.75 0 1000\n"
    vectors = diffusion.bvecs([None, (0.0, 0.0, 1.0)], np.diag([-1.0, 1.0, 1.0, 1.0]))
    assert diffusion.bvec_text(vectors) == "0 0\n0 0\n0 1\n"
    assert diffusion.bvecs([], np.eye(4)).shape == (3, 0)


DATA = shared_folder()
REAL = [
    ("neurolabusc+dcm_qa_uih/In/DTI_132225/dti_tra_dir16_PA_rot_SaveBySlc__134057", "neurolabusc+dcm_qa_uih/Ref"),
    ("neurolabusc+dcm_qa_ge/In/01_Ax_DWI_TENSOR_R2", "neurolabusc+dcm_qa_ge/Ref"),
    ("neurolabusc+dcm_qa_canon_61/In/enh", "neurolabusc+dcm_qa_canon_61/Ref"),
]


@pytest.mark.skipif(DATA is None, reason="the folder of real images is not there")
@pytest.mark.parametrize(("folder", "reference"), REAL)
def test_real_series_have_the_gradients_of_dcm2niix(folder: str, reference: str) -> None:
    """The reference files are of dcm2niix, which does not normalise GE's vectors."""
    assert DATA is not None
    root = DATA / "data"
    theirs = np.loadtxt(next((root / reference).glob("*.bvec")))
    lengths = np.linalg.norm(theirs, axis=0)
    theirs[:, lengths > 0] /= lengths[lengths > 0]
    b_values = np.loadtxt(next((root / reference).glob("*.bval")))
    frames = _volumes([p for p in sorted((root / folder).iterdir()) if p.is_file()])
    orientation = np.reshape(frames[0].orientation, (2, 3))
    ours = diffusion.bvecs([f.gradient for f in frames], affine(orientation, (1, -1, 1)))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose([f.keys["b_value"] for f in frames], b_values, atol=0.5)


def _volumes(paths: list[Path]) -> list[Frame]:
    """One frame of every volume, in the order of acquisition."""
    instances = [instance_of(path.read_bytes()) for path in paths]
    frames = [f for i in instances for f in (i.frames[:1] if i.format.tiles else i.frames)]
    lowest = min(f.position[2] for f in frames)
    return sorted((f for f in frames if f.position[2] - lowest < 0.1), key=lambda f: f.keys["instance_number"])
