"""Blanking frames and objects: what is black, what stays, what the object says of itself afterwards."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from scipy import ndimage

from oncurate import masking
from oncurate.burnedin import Decision
from oncurate.errors import Rejection
from oncurate.masking import Edit
from oncurate.pixels import decode_frames
from oncurate.pixeltext import Text
from oncurate.reasons import Reason
from tests import encoding, phantoms

BOX = (2, 3, 6, 8)
INSIDE = np.s_[3:9, 2:7]
INK = 250


class BrightDetector:
    """Finds one text wherever there is ink, and remembers what it was shown."""

    name = "made 1"

    def __init__(self, value: str = "Doe^Test") -> None:
        self.value = value
        self.shown: list[np.ndarray] = []

    def find(self, frame: np.ndarray) -> tuple[Text, ...]:
        self.shown.append(frame)
        rows, columns = np.nonzero(ndimage.minimum_filter(frame, 5, mode="constant") == 255)
        if len(rows) == 0:
            return ()
        box = (int(columns.min()) - 2, int(rows.min()) - 2, int(columns.max()) + 2, int(rows.max()) + 2)
        return (Text(box, self.value, 0.99),)


def grey(dtype: str = "u1", frames: int = 1, rows: int = 24, columns: int = 30) -> np.ndarray:
    """Noise of 10 to 99, (rows, columns) or (frames, rows, columns)."""
    found = np.random.default_rng(0).integers(10, 100, (frames, rows, columns)).astype(dtype)
    return found if frames > 1 else found[0]


def with_ink(array: np.ndarray) -> np.ndarray:
    out = array.copy()
    out[8:14, 10:22] = INK
    return out


def ultrasound(array: np.ndarray, **attributes: object) -> Dataset:
    options = {"modality": "US", "sop_class": phantoms.PLANAR["US"], "FrameOfReferenceUID": None, **attributes}
    return phantoms.dataset(array, **options)


def reread(ds: Dataset) -> Dataset:
    return dcmread(io.BytesIO(encoding.as_bytes(ds)))


def stored(data: bytes) -> list[np.ndarray]:
    where = encoding.instance_of(data).locator
    return decode_frames(where, data, range(where.format.NumberOfFrames))


@pytest.mark.parametrize(
    ("dtype", "photometric", "black"),
    [
        ("u1", "MONOCHROME2", 0),
        ("u2", "MONOCHROME2", 0),
        ("u2", "MONOCHROME1", 65535),
        ("i2", "MONOCHROME2", "min"),
        ("i2", "MONOCHROME1", "max"),
    ],
)
def test_native_grey_is_edited_where_it_stands(dtype: str, photometric: str, black: int | str) -> None:
    array = grey(dtype)
    out = masking.masked_object(phantoms.dataset(array, photometric=photometric), [[BOX]])
    want = array.copy()
    want[INSIDE] = {"min": array.min(), "max": array.max()}.get(black, black)
    np.testing.assert_array_equal(reread(out).pixel_array, want)
    assert out.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_native_syntaxes_stay_what_they_are(syntax: str) -> None:
    array = grey("u2")
    little = phantoms.dataset(array)
    stream = io.BytesIO()
    little.file_meta.TransferSyntaxUID = syntax
    little.PixelData = array.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    little.save_as(stream, enforce_file_format=True)
    out = masking.masked_object(dcmread(io.BytesIO(stream.getvalue())), [[BOX]])
    assert out.file_meta.TransferSyntaxUID == syntax
    array[INSIDE] = 0
    np.testing.assert_array_equal(reread(out).pixel_array, array)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("photometric", "black"), [("RGB", (0, 0, 0)), ("YBR_FULL", (0, 128, 128))])
def test_colour_is_black_in_every_arrangement(photometric: str, planar: int, black: tuple[int, ...]) -> None:
    array = np.stack([grey(), grey() + 1, grey() + 2], axis=-1)
    ds = ultrasound(array, photometric=photometric, PlanarConfiguration=planar)
    if planar:
        ds.PixelData = np.ascontiguousarray(array.transpose(2, 0, 1)).tobytes()
    out = reread(masking.masked_object(ds, [[BOX]]))
    raw = np.frombuffer(out.PixelData, np.uint8)[: array.size]
    found = raw.reshape(3, 24, 30).transpose(1, 2, 0) if planar else raw.reshape(24, 30, 3)
    array[INSIDE] = black
    np.testing.assert_array_equal(found, array)
    assert out.PhotometricInterpretation == photometric
    assert out.PlanarConfiguration == planar


def test_a_palette_is_blanked_with_its_darkest_entry() -> None:
    ds = ultrasound(grey(), photometric="PALETTE COLOR")
    table = np.roll(np.arange(256), 7).astype("u2") * 257  # entry 7 is black
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())
    out = masking.masked_object(ds, [[BOX]])
    assert (out.pixel_array[INSIDE] == 7).all()
    assert (out.pixel_array != 7)[:3].all()


def test_each_frame_has_its_own_rectangles_and_the_kept_region_is_of_all() -> None:
    array = grey("u1", frames=3)
    ds = ultrasound(array)
    out = masking.masked_object(ds, [[], [BOX], []], keep_only=[(1, 1, 20, 20)])
    want = np.zeros_like(array)
    want[:, 1:21, 1:21] = array[:, 1:21, 1:21]
    want[1][INSIDE] = 0
    np.testing.assert_array_equal(reread(out).pixel_array, want)
    with pytest.raises(Rejection) as caught:
        masking.masked_object(ds, [[BOX]])
    assert caught.value.reason is Reason.PIXEL_DATA_MISMATCH


@pytest.mark.parametrize("chosen", encoding.encodings(), ids=str)
def test_compressed_pixels_outside_the_rectangles_are_what_the_decoder_gave(chosen: encoding.Encoding) -> None:
    data = encoding.file_of(chosen)
    before = stored(data)[0]
    out = encoding.as_bytes(masking.masked_object(dcmread(io.BytesIO(data)), [[BOX]]))
    after = stored(out)[0]
    inside = np.zeros(before.shape[:2], bool)
    inside[INSIDE] = True
    assert after.dtype.itemsize == before.dtype.itemsize
    np.testing.assert_array_equal(after[~inside], before[~inside])
    assert (after[inside] == (before.min() if before.dtype.kind == "i" else 0)).all()
    read = dcmread(io.BytesIO(out))
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.PhotometricInterpretation == ("RGB" if before.ndim == 3 else "MONOCHROME2")


def test_a_compressed_cine_becomes_native_with_all_its_frames() -> None:
    array = grey("u1", frames=2)
    frames = [encoding.by_pydicom(RLELossless, "pydicom")(frame, 8) for frame in array]
    data = encoding.wrapped(ultrasound(array[0]), RLELossless, encapsulate(frames), frames=2)
    out = reread(masking.masked_object(dcmread(io.BytesIO(data)), [[], [BOX]]))
    array[1][INSIDE] = 0
    np.testing.assert_array_equal(out.pixel_array, array)
    assert out.NumberOfFrames == 2


def test_single_bits_stay_single_bits() -> None:
    bits = (grey(rows=16, columns=16) % 2).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little")
    ds = phantoms.dataset(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = packed.tobytes()
    out = reread(masking.masked_object(ds, [[BOX]]))
    bits[INSIDE] = 0
    assert out.BitsAllocated == 1
    np.testing.assert_array_equal(out.pixel_array, bits)


def test_nothing_to_blank_changes_nothing() -> None:
    ds = ultrasound(grey("u2"))
    before = encoding.as_bytes(ds)
    assert encoding.as_bytes(masking.masked_object(ds, [[]])) == before
    edit = Edit()
    edit.add(0, searched=True)
    assert edit.is_needed
    assert masking.edited(before, edit) is before


def test_an_edit_of_a_file_blanks_what_was_asked_and_frames_of_no_volume() -> None:
    array = grey("u1", frames=3)
    edit = Edit()
    face = np.zeros((24, 30), bool)
    face[20:, 25:] = True
    edit.add(0, text=[BOX])
    edit.add(1, face=face)
    found = stored(masking.edited(encoding.as_bytes(ultrasound(array)), edit))
    array[0][INSIDE] = 0
    array[1][face] = 0
    array[2] = 0
    np.testing.assert_array_equal(np.stack(found), array)


@pytest.mark.parametrize(
    ("added", "state"),
    [
        ({}, "kept"),
        ({"searched": True}, "checked"),
        ({"searched": True, "text": [BOX]}, "masked"),
        ({"keep_only": [BOX]}, "masked"),
        ({"face": np.ones((2, 2), bool)}, "defaced"),
        ({"face": np.ones((2, 2), bool), "searched": True}, "masked_defaced"),
    ],
)
def test_an_edit_says_what_was_done(added: dict, state: str) -> None:
    edit = Edit()
    edit.add(0, **added)
    assert edit.state == state
    edit.add(1)
    assert edit.state == ("defaced" if "defaced" in state else "kept")


def test_a_mosaic_is_edited_tile_by_tile() -> None:
    edit = Edit()
    for tile in range(3):
        edit.add(tile, text=[(0, 0, 1, 1)] if tile == 2 else ())
    form = encoding.instance_of(encoding.as_bytes(ultrasound(grey("u2")))).format
    mask = masking._tiled(edit, form.model_copy(update={"tiles": (12, 15)}))[0]
    want = np.zeros((24, 30), bool)
    want[12:14, 0:2] = True  # the third tile is the first of the second row
    want[12:, 15:] = True  # the fourth belongs to no volume
    np.testing.assert_array_equal(mask, want)


def test_masks_pack_and_unpack() -> None:
    mask = np.random.default_rng(0).random((5, 7, 3)) > 0.5
    np.testing.assert_array_equal(masking.unpack(masking.pack(mask)), mask)


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(Rejection) as caught:
        call()
    return caught.value.reason


def test_looking_gives_boxes_for_each_frame() -> None:
    frames = [grey(), with_ink(grey()), grey()]
    found = masking.look_at(Decision(look=True, mask=True), frames, BrightDetector())
    assert found[0] == found[2] == ()
    ((left, top, right, bottom),) = found[1]
    assert left <= 10
    assert top <= 8
    assert right >= 21
    assert bottom >= 13


def test_looking_refuses_what_may_not_leave() -> None:
    frames = [grey(), with_ink(grey())]
    assert refused(lambda: masking.look_at(Decision(look=True), frames, BrightDetector())) is Reason.TEXT_IN_PIXELS
    stated = Decision(look=True, mask=True, must_find=True)
    unseen = BrightDetector(value="L")
    assert refused(lambda: masking.look_at(stated, frames, unseen)) is Reason.BURNED_IN_ANNOTATION
    assert refused(lambda: masking.look_at(stated, frames, None)) is Reason.BURNED_IN_TEXT_POSSIBLE
    assert masking.look_at(Decision(), frames, None) == ((), ())


def test_text_outside_the_kept_region_is_not_looked_for() -> None:
    decision = Decision(look=True, keep_only=((0, 0, 8, 23),))
    assert masking.look_at(decision, [with_ink(grey())], BrightDetector()) == ((),)


def test_an_object_is_refused_checked_or_masked() -> None:
    dirty, clean = with_ink(grey()), grey()
    _, state = masking.clean_pixels(phantoms.dataset(grey("i2")), "quarantine", None)
    assert state == "kept"
    assert refused(lambda: masking.clean_pixels(ultrasound(clean), "mask", None)) is Reason.BURNED_IN_TEXT_POSSIBLE
    assert refused(lambda: masking.clean_pixels(ultrasound(dirty), "quarantine", BrightDetector())) is (
        Reason.TEXT_IN_PIXELS
    )
    assert masking.clean_pixels(ultrasound(clean), "quarantine", BrightDetector("R"))[1] == "checked"
    out, state = masking.clean_pixels(ultrasound(dirty), "mask", BrightDetector())
    assert state == "masked"
    assert (out.pixel_array[8:14, 10:22] == 0).all()
    assert (out.pixel_array[:3] == dirty[:3]).all()
    assert masking.clean_pixels(ultrasound(dirty), "trust", None)[1] == "kept"


def test_the_declared_region_of_an_ultrasound_is_kept_and_the_rest_blanked() -> None:
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 8, 20
    ds = ultrasound(with_ink(grey()), SequenceOfUltrasoundRegions=[region])
    out, state = masking.clean_pixels(ds, "quarantine", None)
    assert state == "masked"
    assert (out.pixel_array[:, 9:] == 0).all()
    assert (out.pixel_array[:21, :9] == grey()[:21, :9]).all()


def test_objects_that_hold_no_picture_pass() -> None:
    segmentation = phantoms.dataset(grey(), modality="SEG", sop_class="1.2.840.10008.5.1.4.1.1.66.4")
    assert masking.clean_pixels(segmentation, "quarantine", None)[1] == "kept"
    assert masking.clean_pixels(Dataset(), "quarantine", None)[1] == "kept"


def test_truncated_pixels_are_refused() -> None:
    ds = phantoms.dataset(grey("u2"))
    ds.PixelData = ds.PixelData[:100]
    assert refused(lambda: masking.masked_object(ds, [[BOX]])) is Reason.TRUNCATED_PIXEL_DATA
