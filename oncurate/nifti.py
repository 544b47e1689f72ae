"""NIfTI-1 files in memory: the same image gives the same bytes.

Belongs here: header and gzip. Does not belong here: values or grids. The header is written by hand because the
orientation must be held twice and agree (qform = sform), and the gzip stream must carry no time stamp.
"""

from __future__ import annotations

import numpy as np
from isal import igzip_lib, isal_zlib

from oncurate.errors import Defect
from oncurate.image import Image

COMPRESSION_LEVEL = 2
"""ISA-L, 0 to 3. Level 3 packs no smaller than 2 (CT, MR and PET volumes, `python -m benchmarks stages`) and is
slower.
"""

_GZIP_WINDOW = 31  # zlib's wbits: 32 kB, with a gzip header, which then has no time stamp
_SLAB_BYTES = 1 << 20  # copied and packed at a time: fits the cache
_VOXEL_OFFSET = 352  # 348 bytes of header and four that say: no extensions
_MAGIC = b"n+1\0"
_UNITS_MM, _UNITS_S = 2, 8
_SCANNER, _ALIGNED = 1, 2  # qform and sform codes: a place in the patient; only a grid
_RGB24 = 128
_CODES = {
    "uint8": 2,
    "int16": 4,
    "int32": 8,
    "float32": 16,
    "float64": 64,
    "int8": 256,
    "uint16": 512,
    "uint32": 768,
}
_TYPES = {code: name for name, code in _CODES.items()}
_MAX_AXIS = 32767  # dim is int16

_HEADER = np.dtype(
    [
        ("sizeof_hdr", "<i4"),
        ("unused_1", "V35"),
        ("dim_info", "u1"),
        ("dim", "<i2", 8),
        ("intent", "V14"),
        ("datatype", "<i2"),
        ("bitpix", "<i2"),
        ("slice_start", "<i2"),
        ("pixdim", "<f4", 8),
        ("vox_offset", "<f4"),
        ("scl_slope", "<f4"),
        ("scl_inter", "<f4"),
        ("slice_end", "<i2"),
        ("slice_code", "u1"),
        ("xyzt_units", "u1"),
        ("unused_2", "V24"),
        ("text", "V104"),
        ("qform_code", "<i2"),
        ("sform_code", "<i2"),
        ("quatern", "<f4", 3),
        ("qoffset", "<f4", 3),
        ("srow", "<f4", (3, 4)),
        ("intent_name", "V16"),
        ("magic", "S4"),
    ]
)
"""The 348 bytes of a NIfTI-1 header; fields that stay zero are lumped together."""


def write(image: Image) -> bytearray:
    """The image as a .nii.gz file; voxels are written as they are, with slope 1 and intercept 0.

    Packed slab by slab: a second copy of a large volume would cost more than packing it.
    """
    if max(*image.shape, image.count) > _MAX_AXIS:
        raise Defect(f"an axis of {max(*image.shape, image.count)} voxels does not fit NIfTI-1")
    array = image.array
    if not image.is_colour and array.dtype.name not in _CODES:
        raise Defect(f"voxels of type {array.dtype.name} do not fit NIfTI-1")
    ordered = array.transpose(_file_order(array.ndim, colour=image.is_colour))
    code, bits = (_RGB24, 24) if image.is_colour else (_CODES[array.dtype.name], array.dtype.itemsize * 8)
    packer = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    packed = bytearray(packer.compress(_header(image, code, bits).tobytes().ljust(_VOXEL_OFFSET, b"\0")))
    for stack in ordered if image.is_4d else [ordered]:
        thick = max(1, _SLAB_BYTES * len(stack) // max(1, stack.nbytes))
        slab = np.empty((thick, *stack.shape[1:]), array.dtype.newbyteorder("<"))
        for start in range(0, len(stack), thick):
            part = slab[: len(stack) - start]
            np.copyto(part, stack[start : start + thick])
            packed += packer.compress(part.view(np.uint8).data)
    packed += packer.flush()
    return packed


def read(data: bytes) -> Image:
    """The image of a .nii.gz or .nii file that `write` made; the voxels are a view of the unpacked bytes."""
    plain = igzip_lib.decompress(data, flag=igzip_lib.DECOMP_GZIP) if data[:2] == b"\x1f\x8b" else data
    if len(plain) < _VOXEL_OFFSET:
        raise Defect("not a NIfTI-1 file of ours: too short")
    header = np.frombuffer(plain, _HEADER, 1)[0]
    if header["sizeof_hdr"] != _HEADER.itemsize or header["magic"] != _MAGIC.rstrip(b"\0"):
        raise Defect("not a NIfTI-1 file of ours: no such header")
    code = int(header["datatype"])
    if code != _RGB24 and code not in _TYPES:
        raise Defect(f"not a NIfTI-1 file of ours: data type {code}")
    columns, rows, slices, count = (int(n) for n in header["dim"][1:5])
    colour = code == _RGB24
    dtype = np.dtype(np.uint8 if colour else _TYPES[code]).newbyteorder("<")
    four = int(header["dim"][0]) == 4
    shape = (*((count,) if four else ()), slices, rows, columns, *((3,) if colour else ()))
    voxels = np.frombuffer(plain, dtype, int(np.prod(shape)), _VOXEL_OFFSET).reshape(shape)
    affine = np.eye(4)
    affine[:3] = header["srow"]
    step_s = float(header["pixdim"][4]) if int(header["xyzt_units"]) & _UNITS_S else None
    return Image(
        array=voxels.transpose(_file_order(voxels.ndim, colour=colour)),
        affine=affine,
        in_patient=int(header["sform_code"]) == _SCANNER,
        has_unit=int(header["xyzt_units"]) & 7 == _UNITS_MM,
        is_colour=colour,
        step_s=step_s,
    )


def _file_order(axes: int, *, colour: bool) -> tuple[int, ...]:
    """The axes in the order of the file, slowest first, and back: reversed, the channels staying last."""
    spatial = axes - colour
    return (*range(spatial - 1, -1, -1), *((spatial,) if colour else ()))


def _header(image: Image, code: int, bits: int) -> np.ndarray:
    header = np.zeros((), _HEADER)
    place = _SCANNER if image.in_patient else _ALIGNED
    quaternion, qfac = _quaternion(image.affine)
    header["sizeof_hdr"] = _HEADER.itemsize
    header["dim"] = (4 if image.is_4d else 3, *image.shape, image.count, 1, 1, 1)
    header["datatype"], header["bitpix"] = code, bits
    header["pixdim"] = (qfac, *image.spacing, image.step_s or 0, 0, 0, 0)
    header["vox_offset"], header["scl_slope"] = _VOXEL_OFFSET, 1
    header["xyzt_units"] = (_UNITS_MM if image.has_unit else 0) | (_UNITS_S if image.step_s else 0)
    header["qform_code"] = header["sform_code"] = place
    header["quatern"] = quaternion
    header["qoffset"] = image.affine[:3, 3]
    header["srow"] = image.affine[:3]
    header["magic"] = _MAGIC
    return header


def _quaternion(affine: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """b, c, d of the unit quaternion of the directions, and the sign of the third axis (NIfTI-1 method 2)."""
    rotation = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation = rotation * np.array([1.0, 1.0, qfac])
    m = np.array(
        [
            [rotation[0, 0] - rotation[1, 1] - rotation[2, 2], 0, 0, 0],
            [rotation[0, 1] + rotation[1, 0], rotation[1, 1] - rotation[0, 0] - rotation[2, 2], 0, 0],
            [
                rotation[0, 2] + rotation[2, 0],
                rotation[1, 2] + rotation[2, 1],
                rotation[2, 2] - np.trace(rotation[:2, :2]),
                0,
            ],
            [
                rotation[2, 1] - rotation[1, 2],
                rotation[0, 2] - rotation[2, 0],
                rotation[1, 0] - rotation[0, 1],
                np.trace(rotation),
            ],
        ]
    )
    # The unit quaternion is the eigenvector of the largest eigenvalue (Bar-Itzhack, J. Guid. Control 23, 2000).
    _, vectors = np.linalg.eigh(m / 3.0)
    b, c, d, a = vectors[:, -1]
    sign = -1.0 if a < 0 else 1.0
    return (float(b * sign), float(c * sign), float(d * sign)), qfac
