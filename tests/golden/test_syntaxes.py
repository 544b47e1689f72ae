"""Transfer syntaxes: what any installed encoder writes is read back, and what pydicom decodes is decoded alike.

Decoded by: native and big endian, pydicom and numpy; deflated, zlib; JPEG baseline, extended, lossless and progressive,
libjpeg-turbo; JPEG-LS, CharLS; JPEG 2000 and HTJ2K, OpenJPEG; JPEG XL, libjxl; RLE, imagecodecs. Refused with the
syntax in the detail: MPEG, HEVC, JPIP, hierarchical JPEG, JPEG 2000 part 2, private ones.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_color_lut
from pydicom.uid import UID_dictionary

from benchmarks.fidelity_match import DECODE_ERRORS
from oncurate import codecs, decoders, headers, pixels
from oncurate.errors import Rejection
from oncurate.part10 import as_plain_stream
from oncurate.pixeldata import locate
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, PixelLocator
from tests import encoding
from tests.golden.chain import shared_folder
from tests.unit import made

ENCODINGS = encoding.encodings()
REFUSED = {  # files of pydicom's own tests that are damaged, ambiguous, or hold colour of more than 8 bits
    "JPEGLossless_1s_1f_i_16_16_bad.dcm": Reason.UNDECODABLE,
    "JPEG2000-embedded-sequence-delimiter.dcm": Reason.PIXEL_DATA_MISMATCH,
    "emri_small_jpeg_2k_lossless_too_short.dcm": Reason.TRUNCATED_PIXEL_DATA,
    "MR_truncated.dcm": Reason.TRUNCATED_PIXEL_DATA,
}
LARGEST_COLOUR_DIFFERENCE = 1  # of 255: libjpeg converts YCbCr in integers, pydicom in floating point
PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10", b"1.2.840.10008.1.2.1.99")  # tag in both orders; deflated
FRAMES = 3  # of multi-frame files: the first ones


@pytest.mark.parametrize("case", ENCODINGS, ids=str)
def test_what_an_encoder_writes_is_read_back(case: encoding.Encoding) -> None:
    data = encoding.file_of(case)
    [found] = pixels.decode_frames(encoding.instance_of(data).locator, data, [0])
    assert found.dtype == case.array.dtype
    assert found.shape == case.array.shape
    assert np.abs(found.astype(int) - case.array.astype(int)).max() <= case.error


def test_every_codec_is_tried_or_retired() -> None:
    tried = {case.syntax for case in ENCODINGS}
    assert set(codecs.CODECS) - tried == {f"{encoding.JPEG}53", f"{encoding.JPEG}55", f"{encoding.JPEG}111"}


@pytest.mark.parametrize("process", ["53", "55"])
def test_progressive_jpeg_is_read_although_retired(process: str) -> None:
    array = encoding.smooth("u1", 8)
    out = io.BytesIO()
    Image.fromarray(array).save(out, "JPEG", progressive=True, quality=98)
    data = encoding.wrapped(encoding.dataset(array), f"{encoding.JPEG}{process}", encoding.items(out.getvalue()))
    [found] = pixels.decode_frames(encoding.instance_of(data).locator, data, [0])
    assert np.abs(found.astype(int) - array).max() <= 3


@pytest.mark.parametrize(
    "syntax", sorted(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax")
)
def test_every_syntax_of_the_dictionary_is_decoded_or_refused_by_name(syntax: str) -> None:
    form = made.pixel_format(TransferSyntaxUID=syntax)
    if not decoders.is_encapsulated(form) or syntax in codecs.CODECS:
        decoders.guard(form, 1000)
        return
    with pytest.raises(Rejection) as caught:
        decoders.guard(form, 1000)
    assert caught.value.reason is Reason.UNSUPPORTED_SYNTAX
    assert caught.value.detail == UID_dictionary[syntax][0]


def _folders() -> Iterator[Path]:
    yield Path(pydicom.__path__[0]) / "data" / "test_files"
    spec = importlib.util.find_spec("data_store")
    if spec is not None and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "data"
    shared = shared_folder()
    if shared is not None:
        yield shared / "data" / "pydicom+pylibjpeg-data"
        yield shared / "data" / "pydicom+pydicom-data"


def _located(data: bytes) -> PixelLocator | None:
    """Where the pixels are, also of objects that are never curated; None if there are none."""
    plain, deflated = as_plain_stream(io.BytesIO(data), len(data))
    ds = headers._parse(plain)
    if not {"Rows", "PhotometricInterpretation"} <= set(ds.dir()):
        return None
    syntax = headers._transfer_syntax(ds, deflated)
    found = locate(plain, ds, syntax)
    form = headers._pixel_format(ds, syntax, found.keyword)
    found.check(form, None if deflated else len(data))
    offset = None if deflated else found.native_offset(form)
    return PixelLocator(object="o", url="u", bytes=len(data), offset=offset, format=form)


def _by_pydicom(data: bytes, form: PixelFormat) -> np.ndarray | None:
    """(frames, rows, columns[, 3]) as pydicom decodes it, colour as 8 bits; None if it does not."""
    ds = pydicom.dcmread(io.BytesIO(data), force=True)
    try:
        if "TransferSyntaxUID" not in ds.file_meta:
            ds.file_meta.TransferSyntaxUID = form.TransferSyntaxUID
        array = ds.pixel_array
        if form.PhotometricInterpretation == "PALETTE COLOR":
            array = apply_color_lut(array, ds)
            array = array >> 8 if array.max() > 255 else array
    except DECODE_ERRORS:
        return None
    single = 3 if form.SamplesPerPixel > 1 or form.PhotometricInterpretation == "PALETTE COLOR" else 2
    return array[None] if array.ndim == single else array


def _files() -> list[Path]:
    """Files that look as if they had pixels."""
    files = [path for folder in _folders() for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if any(sign in path.read_bytes() for sign in PIXELS)]


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name)
def test_files_of_others_are_decoded_as_pydicom_does(path: Path) -> None:
    headers.quiet()
    data = path.read_bytes()
    try:
        locator = _located(data)
        if locator is None:
            pytest.skip("no image")
        frames = list(range(locator.format.NumberOfFrames))[:FRAMES]
        found = np.stack(pixels.decode_frames(locator, data, frames))
    except Rejection as refused:
        if refused.reason in (Reason.NOT_DICOM, Reason.BROKEN_HEADER, Reason.NO_PIXEL_DATA):
            pytest.skip("no image")
        reason = refused.reason
    else:
        reason = None
    if reason is not None:
        assert reason is REFUSED.get(path.name, Reason.PIXEL_DATA_MISMATCH if "rgb" in path.name else None)
        return
    assert path.name not in REFUSED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = _by_pydicom(data, locator.format)
    if reference is None:
        pytest.skip("pydicom does not decode it")
    difference = np.abs(found.astype(float) - reference[frames].astype(float)).max()
    assert difference <= (LARGEST_COLOUR_DIFFERENCE if found.ndim == 4 else 0)
