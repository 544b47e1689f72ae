"""Diffusion weighting of a frame: b-value and gradient direction, whichever vendor wrote them, and FSL's text files.

Belongs here: reading them from a header into patient coordinates, and from there onto the axes of a NIfTI. Does not
belong here: which frames make a volume (`oncurate.split`), writing files.

Directions of the standard attribute, Siemens and Philips are in patient coordinates. Those of GE (frequency, phase,
slice) and United Imaging (row, column, slice) are in those of the image. A direction and its opposite mean the same.
Sources: PS3.3 C.8.13.5.9; https://github.com/rordenlab/dcm2niix, folders GE, Philips, Siemens and UIH, with which the
golden tests compare; https://fsl.fmrib.ox.ac.uk for bvals and bvecs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oncurate import csa
from oncurate.elements import PrivateTag
from oncurate.functional_groups import Header
from oncurate.records import Vector

GE_B_VALUE_MODULUS = 1e9
"""GE stores b-values above 1e9 to mark a multi-shell table; the remainder is the b-value, s/mm2."""
GE_SHELL_LENGTHS = (0.03, 0.97)
"""GE directions of a length between these mark a lower shell: b is the stored one times the length squared."""
GE_SHELL_STEP = 5.0
"""A lower shell's b-value is rounded to a multiple of this, s/mm2, at least one (as dcm2niix)."""
LEAST_LENGTH = 1e-3
"""A direction shorter than this is none."""
LEAST_ANISOTROPY = 0.5
"""The largest share of a b-matrix's trace that is not along its main axis; beyond it there is no single direction."""

_GE_B = PrivateTag(0x0043, "GEMS_PARM_01", 0x39, "IS", "GE")
_GE_DIRECTION = tuple(PrivateTag(0x0019, "GEMS_ACQU_01", element, "DS", "GE") for element in (0xBB, 0xBC, 0xBD))
_SIEMENS_B = PrivateTag(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "SIEMENS")
_SIEMENS_DIRECTION = PrivateTag(0x0019, "SIEMENS MR HEADER", 0x0E, "FD", "SIEMENS")
_PHILIPS_B = PrivateTag(0x2001, "Philips Imaging DD 001", 0x03, "FL", "PHILIPS")
_PHILIPS_KIND = PrivateTag(0x2001, "Philips Imaging DD 001", 0x04, "CS", "PHILIPS")
_PHILIPS_DIRECTION = tuple(
    PrivateTag(0x2005, "Philips MR Imaging DD 001", element, "FL", "PHILIPS") for element in (0xB0, 0xB1, 0xB2)
)
_UIH_B = PrivateTag(0x0065, "Image Private Header", 0x09, "FD", "UIH")
_UIH_DIRECTION = PrivateTag(0x0065, "Image Private Header", 0x37, "FD", "UIH")

_UNDIRECTED = frozenset({"ISOTROPIC", "NONE", "I"})
_PHASE_AXES = frozenset({"COL", "ROW"})
_SAGITTAL, _CORONAL = 0, 1  # the patient axis that the normal is nearest to
_MATRIX = ("XX", "XY", "XZ", "YY", "YZ", "ZZ")
_CSA_NAMES = ("B_value", "DiffusionGradientDirection", "B_matrix")


class Diffusion(NamedTuple):
    """`b_value` in s/mm2; `direction` as the file has it; `gradient` the LPS unit vector, None where there is none."""

    b_value: float | None = None
    direction: tuple[float, ...] = ()
    gradient: Vector | None = None


def diffusion_of(header: Header) -> Diffusion:
    """The diffusion weighting of one frame of an MR image; what is not there or not finite is None or empty.

    The standard attributes come first; what they leave open is the vendor's.
    """
    found = _standard(header)
    undirected = _is_undirected(header)
    if found.b_value is None or not (found.gradient or undirected):
        own = _vendors(header)
        found = Diffusion(
            own.b_value if found.b_value is None else found.b_value,
            found.direction or own.direction,
            found.gradient or own.gradient,
        )
    return found if found.b_value and not undirected else found._replace(gradient=None)


def _vendors(header: Header) -> Diffusion:
    """What the first vendor's private elements say that are there."""
    for read in (_siemens, _ge, _philips, _uih):
        found = read(header)
        if found.b_value is not None or found.direction:
            return found
    return Diffusion()


def _is_undirected(header: Header) -> bool:
    """Whether the header says that the weighting has no direction: isotropic, or none."""
    directed = header.values("DiffusionDirectionality") or header.private(_PHILIPS_KIND)
    return bool(directed) and str(directed[0]).strip().upper() in _UNDIRECTED


def _standard(header: Header) -> Diffusion:
    """DiffusionBValue and DiffusionGradientOrientation, else the b-matrix."""
    b_value = header.numbers("DiffusionBValue")[:1]
    direction = header.numbers("DiffusionGradientOrientation")
    if not _is_vector(direction):
        matrix = [n for pair in _MATRIX for n in header.numbers(f"DiffusionBValue{pair}")[:1]]
        direction = _main_axis(matrix)
    b = b_value[0] if b_value and math.isfinite(b_value[0]) else None
    return Diffusion(b, tuple(direction), _unit(np.array(direction)))


def _siemens(header: Header) -> Diffusion:
    """The attributes of the private group, else those of the CSA header; patient coordinates."""
    b_value, direction = header.private_numbers(_SIEMENS_B, 1), header.private_numbers(_SIEMENS_DIRECTION, 3)
    if not b_value and _may_be_diffusion(header):
        found = csa.values(header.private_bytes(csa.IMAGE_HEADER), _CSA_NAMES)
        b_value = csa.numbers(found, "B_value", 1)
        direction = csa.numbers(found, "DiffusionGradientDirection", 3)
        direction = direction or _main_axis(csa.numbers(found, "B_matrix", 6))
    return Diffusion(b_value[0] if b_value else None, tuple(direction), _unit(np.array(direction)))


def _may_be_diffusion(header: Header) -> bool:
    """Whether it is worth reading the CSA header, which costs more than all the rest."""
    return "DIFFUSION" in header.values("ImageType") or "EP" in header.values("ScanningSequence")


def _ge(header: Header) -> Diffusion:
    """GE's b-value and its direction along frequency, phase and slice, turned into patient coordinates."""
    found = header.private(_GE_B)[:1]
    direction = [n for tag in _GE_DIRECTION for n in header.private_numbers(tag, 1)]
    try:
        b_value = float(found[0]) % GE_B_VALUE_MODULUS if found else None
    except ValueError:
        b_value = None
    if b_value is not None and not math.isfinite(b_value):
        b_value = None
    if len(direction) != 3:
        return Diffusion(b_value)
    length = math.hypot(*direction)
    if b_value and GE_SHELL_LENGTHS[0] < length < GE_SHELL_LENGTHS[1]:
        b_value = max(1.0, round(b_value * length**2 / GE_SHELL_STEP)) * GE_SHELL_STEP
    return Diffusion(b_value, tuple(direction), _ge_gradient(header, direction))


def _ge_gradient(header: Header, direction: Sequence[float]) -> Vector | None:
    """GE's direction (frequency, phase, slice) on the axes of the image.

    Which of the image's axes is phase, InPlanePhaseEncodingDirection says; without it there is no telling. In planes
    that are nearest to coronal the phase component points the other way.
    """
    axes = _image_axes(header)
    phase = "".join(str(value) for value in header.values("InPlanePhaseEncodingDirection")[:1]).upper()
    if axes is None or phase not in _PHASE_AXES:
        return None
    frequency, along_phase, through = direction
    nearest = int(np.argmax(np.abs(axes[2])))
    if nearest == _CORONAL:
        along_phase = -along_phase
    in_plane = (-frequency, -along_phase) if phase == "COL" else (-along_phase, frequency)
    gradient = np.array([*in_plane, through]) @ axes
    return _unit(-gradient if nearest == _SAGITTAL else gradient)  # the same direction, written as dcm2niix does


def _philips(header: Header) -> Diffusion:
    """Philips' b-value and its direction along right-left, anterior-posterior, feet-head."""
    b_value = header.private_numbers(_PHILIPS_B, 1)
    direction = [n for tag in _PHILIPS_DIRECTION for n in header.private_numbers(tag, 1)]
    gradient = _unit(np.array(direction)) if len(direction) == 3 else None
    return Diffusion(b_value[0] if b_value else None, tuple(direction), gradient)


def _uih(header: Header) -> Diffusion:
    """United Imaging's b-value and its direction along row, column and normal."""
    b_value, direction = header.private_numbers(_UIH_B, 1), header.private_numbers(_UIH_DIRECTION, 3)
    axes = _image_axes(header)
    gradient = _unit(np.array(direction) @ axes) if direction and axes is not None else None
    return Diffusion(b_value[0] if b_value else None, tuple(direction), gradient)


def _image_axes(header: Header) -> np.ndarray | None:
    """Unit vectors along row, column and row x column, LPS; None if the orientation is not usable."""
    numbers = header.numbers("ImageOrientationPatient")
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        return None
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    axes = np.array([row, column, np.cross(row, column)])
    lengths = np.linalg.norm(axes, axis=1)
    return axes / lengths[:, None] if lengths.min() > 0 else None


def _main_axis(matrix: Sequence[float]) -> tuple[float, ...]:
    """The direction that a b-matrix (xx, xy, xz, yy, yz, zz) weights; empty if it weights no single one."""
    if len(matrix) != len(_MATRIX) or not all(map(math.isfinite, matrix)):
        return ()
    xx, xy, xz, yy, yz, zz = matrix
    weights, vectors = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    if weights[-1] <= 0 or weights[-1] < (1 - LEAST_ANISOTROPY) * np.abs(weights).sum():
        return ()
    return tuple(float(x) for x in vectors[:, -1])


def _is_vector(numbers: Sequence[float]) -> bool:
    return len(numbers) == 3 and all(map(math.isfinite, numbers)) and math.hypot(*numbers) > LEAST_LENGTH


def _unit(vector: np.ndarray) -> Vector | None:
    if not _is_vector(vector.tolist()):
        return None
    x, y, z = (vector / np.linalg.norm(vector)).tolist()
    return x, y, z


def bvecs(gradients: Sequence[Vector | None], affine: np.ndarray) -> np.ndarray:
    """(3, n) components of LPS unit vectors along the voxel axes of a NIfTI, as FSL wants them; zeros for None.

    `affine` is 4x4, voxel index -> RAS mm. FSL takes the first axis as right-to-left: where the affine's determinant is
    positive, the first component changes its sign.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    ras = np.array([(-g[0], -g[1], g[2]) if g is not None else (0.0, 0.0, 0.0) for g in gradients]).reshape(-1, 3)
    found = (ras @ axes).T
    if np.linalg.det(axes) > 0:
        found[0] *= -1
    return found + 0.0  # no negative zeros


def bval_text(b_values: Sequence[float | None]) -> str:
    """FSL's bvals file: one row, s/mm2; 0 for None."""
    return " ".join(f"{b or 0:g}" for b in b_values) + "\n"


def bvec_text(vectors: np.ndarray) -> str:
    """FSL's bvecs file of (3, n) components: three rows."""
    return "".join(" ".join(f"{x:.6g}" for x in row) + "\n" for row in vectors)
