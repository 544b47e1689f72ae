"""Phantoms in every transfer syntax: encoders, and DICOM files around what they give.

Belongs here: encoding arrays and wrapping codestreams, well and badly. Does not belong here: assertions.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import get_encoder
from pydicom.uid import ExplicitVRLittleEndian

from oncurate.headers import read_instance
from oncurate.records import Instance
from tests import phantoms

JPEG = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
UNCOMPRESSED = "1.2.840.10008.1.2.1.98"


def smooth(dtype: str, bits: int, rows: int = 48, columns: int = 40, samples: int = 1) -> np.ndarray:
    """(rows, columns[, 3]) of `bits`: a gradient with a bright disc, so that lossy codecs have small errors."""
    j, i = np.mgrid[:rows, :columns].astype(float)
    disc = ((j - rows / 3) ** 2 + (i - columns / 2) ** 2 < (rows / 5) ** 2) * 0.4
    planes = [0.1 + 0.4 * (j * (n + 1) + i) / (rows * (n + 1) + columns) + disc for n in range(samples)]
    low = -(1 << bits - 1) if dtype.startswith("i") else 0
    array = (np.stack(planes, axis=-1) * ((1 << bits) - 1) + low).astype(dtype)
    return array if samples > 1 else array[..., 0]


def by_pydicom(syntax: str, plugin: str) -> Callable[[np.ndarray, int], bytes]:
    """An encoder of pydicom's, by one of its plug-ins."""

    def encode(array: np.ndarray, bits: int) -> bytes:
        colour = array.ndim == 3
        return get_encoder(syntax).encode(
            np.ascontiguousarray(array).tobytes(),
            encoding_plugin=plugin,
            rows=array.shape[0],
            columns=array.shape[1],
            number_of_frames=1,
            samples_per_pixel=3 if colour else 1,
            photometric_interpretation="RGB" if colour else "MONOCHROME2",
            bits_allocated=array.itemsize * 8,
            bits_stored=bits,
            pixel_representation=int(array.dtype.kind == "i"),
            planar_configuration=0,
            pixel_keyword="PixelData",
        )

    return encode


def unsigned(encode: Callable[[np.ndarray, int], bytes]) -> Callable[[np.ndarray, int], bytes]:
    """`encode` for codecs that know no sign: of the bit pattern within `bits`."""

    def wrapped(array: np.ndarray, bits: int) -> bytes:
        return encode(array.view(f"u{array.itemsize}") & np.array((1 << bits) - 1, f"u{array.itemsize}"), bits)

    return wrapped


def jpeg_dct(array: np.ndarray, bits: int, **options: Any) -> bytes:
    """Baseline for 8 bits, extended for 12."""
    return imagecodecs.jpeg8_encode(array, level=98, bitspersample=bits, **options)


def jpeg_lossless(predictor: int) -> Callable[[np.ndarray, int], bytes]:
    """Process 14 with this selection value."""

    def encode(array: np.ndarray, bits: int) -> bytes:
        space = "RGB" if array.ndim == 3 else None
        return imagecodecs.jpeg8_encode(
            array, lossless=True, predictor=predictor, bitspersample=bits, colorspace=space, outcolorspace=space
        )

    return encode


def jpeg_2000(array: np.ndarray, bits: int, **options: Any) -> bytes:
    """Reversible, without boxes."""
    options = {"level": 0, "reversible": True, "codecformat": "j2k", "bitspersample": bits, **options}
    return imagecodecs.jpeg2k_encode(array, **options)


def jpeg_2000_tiles(array: np.ndarray, bits: int) -> bytes:
    """Reversible, in tiles of 16 pixels."""
    out = io.BytesIO()
    Image.fromarray(array).save(out, "JPEG2000", tile_size=(16, 16), irreversible=False, no_jp2=True)
    return out.getvalue()


def jpeg_xl(array: np.ndarray, bits: int) -> bytes:
    """Lossless."""
    return imagecodecs.jpegxl_encode(array, lossless=True, bitspersample=bits, effort=1)


def deflate(array: np.ndarray, bits: int) -> bytes:
    """One frame, deflated without a header."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(array.astype(array.dtype.newbyteorder("<")).tobytes()) + packer.flush()


@dataclass(frozen=True)
class Encoding:
    """One way to encode one kind of image: `error` is the largest that its decoder may make, in steps."""

    name: str
    syntax: str
    array: np.ndarray
    bits: int
    encode: Callable[[np.ndarray, int], bytes]
    error: int = 0
    photometric: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.array.dtype.name}/{self.bits}{' RGB' if self.array.ndim == 3 else ''}"


_KINDS = [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)]


def encodings() -> list[Encoding]:
    """Every encoder that is installed, with every kind of image that it takes."""
    grey = [(smooth(dtype, bits), bits) for dtype, bits in _KINDS]
    colour = [(smooth("u1", 8, samples=3), 8)]
    out: list[Encoding] = []

    def add(name: str, syntax: str, encode: Any, kinds: list, error: int = 0, photometric: str = "") -> None:
        out.extend(Encoding(name, syntax, array, bits, encode, error, photometric) for array, bits in kinds)

    pattern = grey + colour
    add("JPEG baseline", f"{JPEG}50", jpeg_dct, grey[:1], 3)
    add("JPEG baseline 4:2:2", f"{JPEG}50", lambda a, b: jpeg_dct(a, b, subsampling="422"), colour, 8, "YBR_FULL_422")
    add("JPEG extended", f"{JPEG}51", jpeg_dct, grey[:2], 6)
    for value in range(1, 8):
        add(f"JPEG lossless {value}", f"{JPEG}57", unsigned(jpeg_lossless(value)), pattern)
    add("JPEG lossless SV1", f"{JPEG}70", unsigned(jpeg_lossless(1)), pattern)
    add("JPEG-LS", f"{JPEG}80", by_pydicom(f"{JPEG}80", "pyjpegls"), pattern)
    add(
        "JPEG-LS by CharLS",
        f"{JPEG}80",
        unsigned(lambda a, b: imagecodecs.jpegls_encode(a)),
        [grey[0], grey[2], grey[4]],
    )
    add("JPEG-LS near", f"{JPEG}81", unsigned(lambda a, b: imagecodecs.jpegls_encode(a, level=2)), grey[:3:2], 2)
    for syntax in (90, 91):
        add("JPEG 2000", f"{JPEG}{syntax}", by_pydicom(f"{JPEG}90", "pylibjpeg"), pattern)
    add("JPEG 2000 lossy", f"{JPEG}91", lambda a, b: jpeg_2000(a, b, level=70, reversible=False), grey[:1], 3)
    add("JPEG 2000 RCT", f"{JPEG}90", jpeg_2000, colour, 0, "YBR_RCT")
    add("JPEG 2000 tiles", f"{JPEG}90", jpeg_2000_tiles, grey[:1])
    add("JPEG 2000 in JP2", f"{JPEG}90", lambda a, b: jpeg_2000(a, b, codecformat="jp2"), grey[:3] + colour)
    for syntax in (201, 202, 203):
        ht = [kind for kind in grey if kind[1] in (8, 16)]
        add("HTJ2K", f"{JPEG}{syntax}", lambda a, b: imagecodecs.htj2k_encode(a, reversible=True), ht)
    add(
        "HTJ2K RCT",
        f"{JPEG}201",
        lambda a, b: imagecodecs.htj2k_encode(a, reversible=True, rgb=True),
        colour,
        0,
        "YBR_RCT",
    )
    add("JPEG XL", f"{JPEG}110", unsigned(jpeg_xl), pattern)
    add("JPEG XL", f"{JPEG}112", unsigned(jpeg_xl), grey[:3])
    add("RLE by pydicom", RLE, by_pydicom(RLE, "pydicom"), pattern)
    add("RLE by pylibjpeg", RLE, by_pydicom(RLE, "pylibjpeg"), pattern)
    add("RLE by GDCM", RLE, by_pydicom(RLE, "gdcm"), grey)
    add("deflated frames", DEFLATED_FRAMES, deflate, pattern)
    add("uncompressed", UNCOMPRESSED, lambda a, b: a.tobytes(), pattern)
    return out


def dataset(array: np.ndarray, bits: int | None = None, photometric: str = "", **attributes: Any) -> Dataset:
    """A CT of `array` (rows, columns) or an ultrasound of (rows, columns, 3), native."""
    bits = bits or array.itemsize * 8
    scale = {"RescaleSlope": 1, "RescaleIntercept": 0} if array.ndim == 2 else {}
    attributes = {"BitsStored": bits, "HighBit": bits - 1, **scale, **attributes}
    if array.ndim == 3:
        base = {"modality": "US", "sop_class": phantoms.PLANAR["US"], "photometric": photometric or "RGB"}
        return phantoms.dataset(array, **base, **attributes)
    return phantoms.dataset(array, photometric=photometric or "MONOCHROME2", **attributes)


def wrapped(ds: Dataset, syntax: str, value: bytes, frames: int = 1) -> bytes:
    """The file of `ds` with this encapsulated value (items with the offset table first, no delimiter needed)."""
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.PixelData = b""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    head = out.getvalue()
    at = head.rindex(b"\xe0\x7f\x10\x00")
    old = ExplicitVRLittleEndian.encode()
    old += b"\0" * (len(old) % 2)
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    place = head.index(b"\x02\x00\x10\x00UI")
    meta = head[: place + 6] + struct.pack("<H", len(new)) + new + head[place + 8 + len(old) : at]
    length = struct.unpack_from("<L", meta, 140)[0] + len(new) - len(old)
    meta = meta[:140] + struct.pack("<L", length) + meta[144:]
    return meta + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value + b"\xfe\xff\xdd\xe0\0\0\0\0"


def items(*fragments: bytes, table: bytes = b"") -> bytes:
    """An encapsulated value: the offset table and the fragments as they are, of even length or not."""
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(part)) + part for part in (table, *fragments))


def file_of(encoding: Encoding) -> bytes:
    """A file with one frame."""
    frame = encoding.encode(encoding.array, encoding.bits)
    ds = dataset(encoding.array, encoding.bits, encoding.photometric)
    return wrapped(ds, encoding.syntax, encapsulate([frame]))


def extended(ds: Dataset, syntax: str, frames: Sequence[bytes]) -> bytes:
    """A file with an Extended Offset Table."""
    value, offsets, lengths = encapsulate_extended(list(frames))
    ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    return wrapped(ds, syntax, value, len(frames))


def instance_of(data: bytes) -> Instance:
    """What the header of a file says, without attributes and identifiers."""
    return read_instance(
        io.BytesIO(data),
        object=hashlib.sha256(data).hexdigest(),
        source_path="p",
        url="u",
        size=len(data),
        keywords=frozenset(),
        harvest=lambda _: (),
    )


def as_bytes(ds: Dataset) -> bytes:
    """A data set as a Part 10 file."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()
