"""Blanking: rectangles and masks made black, in decoded frames and in DICOM objects.

Belongs here: what is blanked in each frame, the steps from decision to masked object. Does not belong here: the
decision (`oncurate.burnedin`), finding text (`oncurate.pixeltext`), faces (`oncurate.faces`), how pixels are edited
(`oncurate.pixeledit`), all other elements of an object (`oncurate.deid`).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from isal import igzip
from pydicom import dcmread
from pydicom.dataset import Dataset

from oncurate import burnedin, elements, kinds, pixeltext
from oncurate.burnedin import Decision, Policy
from oncurate.deid.policy import Pixels
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.frames import attributes_of
from oncurate.functional_groups import headers_of
from oncurate.headers import read_instance
from oncurate.part10 import inflate
from oncurate.pixeledit import KEYWORDS, blank, bytes_of, decoded, format_of, write_masked
from oncurate.pixeltext import Detector
from oncurate.reasons import Reason
from oncurate.records import PixelFormat, Region

_SHAPE = struct.Struct("<3L")


@dataclass(frozen=True, eq=False)
class Blank:
    """What is blanked in one frame: all outside `keep_only` (None: nothing outside), `text`, and `face` (bool mask)."""

    keep_only: tuple[Region, ...] | None = None
    text: tuple[Region, ...] = ()
    face: np.ndarray | None = None

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """(rows, columns) bool: what is blanked."""
        out = np.zeros(shape, bool)
        if self.keep_only is not None:
            out[:] = True
            for left, top, right, bottom in self.keep_only:
                out[top : bottom + 1, left : right + 1] = False
        for left, top, right, bottom in self.text:
            out[top : bottom + 1, left : right + 1] = True
        return out if self.face is None else out | self.face


EVERYTHING = Blank(keep_only=())


@dataclass
class Edit:
    """What is done to the pixels of one object, frame by frame (tiles, where it is a mosaic)."""

    frames: dict[int, list[Blank]] = field(default_factory=dict)
    searched: set[int] = field(default_factory=set)

    def add(
        self,
        frame: int,
        *,
        searched: bool = False,
        keep_only: Sequence[Region] = (),
        text: Sequence[Region] = (),
        face: np.ndarray | None = None,
    ) -> None:
        """A frame (0-based) that leaves: whether text was searched for in it, what is blanked; several calls add up."""
        self.frames.setdefault(frame, []).append(Blank(tuple(keep_only) or None, tuple(text), face))
        if searched:
            self.searched.add(frame)

    @property
    def is_needed(self) -> bool:
        """Whether something is to be blanked, or frames that nobody looked at may be."""
        return bool(self.searched) or any(self._blanks())

    @property
    def state(self) -> Pixels:
        """What was done to the object, in the words of the de-identification marks."""
        text_gone = bool(self.frames) and all(
            frame in self.searched or any(b.keep_only is not None for b in blanks)
            for frame, blanks in self.frames.items()
        )
        face_gone = any(b.face is not None for blanks in self.frames.values() for b in blanks)
        if face_gone:
            return "masked_defaced" if text_gone else "defaced"
        if not text_gone:
            return "kept"
        return "masked" if any(self._blanks()) else "checked"

    def masks(self, count: int, shape: tuple[int, int]) -> list[np.ndarray]:
        """What is blanked in each of `count` frames; a frame that was never added is blanked as a whole."""
        found = []
        for frame in range(count):
            blanks = self.frames.get(frame, [EVERYTHING])
            found.append(np.logical_or.reduce([blank.mask(shape) for blank in blanks]))
        return found

    def _blanks(self) -> Iterator[bool]:
        for blanks in self.frames.values():
            for each in blanks:
                yield each.keep_only is not None or bool(each.text) or each.face is not None


def look_at(
    decision: Decision, frames: Iterable[np.ndarray], detector: Detector | None
) -> tuple[tuple[Region, ...], ...]:
    """The rectangles of text in each decoded frame, which are to be blanked; empty ones where nothing is.

    All outside `decision.keep_only` is blanked before the detector looks. Raises `Rejection`: TEXT_IN_PIXELS where text
    is found and the policy is to refuse it, BURNED_IN_ANNOTATION where the header knows of text and none is found,
    BURNED_IN_TEXT_POSSIBLE without a detector.
    """
    if not decision.look:
        return tuple(() for _ in frames)
    if detector is None:
        raise Rejection(Reason.BURNED_IN_TEXT_POSSIBLE)
    shown = (_kept(frame, decision.keep_only) for frame in frames)
    found = []
    for number, boxes in enumerate(pixeltext.findings(shown, detector)):
        if boxes and not decision.mask:
            raise Rejection(Reason.TEXT_IN_PIXELS, f"frame {number + 1}, {len(boxes)} regions")
        found.append(boxes)
    if decision.must_find and not any(found):
        raise Rejection(Reason.BURNED_IN_ANNOTATION, "no text found")
    return tuple(found)


def _kept(frame: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    if not regions:
        return frame
    out = frame.copy()
    out[Blank(tuple(regions)).mask(frame.shape[:2])] = frame.min()
    return out


def blanked(
    frame: np.ndarray, form: PixelFormat, *, keep_only: Sequence[Region] | None = None, text: Sequence[Region] = ()
) -> np.ndarray:
    """A decoded frame, (rows, columns) or (rows, columns, 3) RGB, with all outside `keep_only` and in `text` black.

    `keep_only` None blanks nothing outside. The same array comes back where there is nothing to blank.
    """
    if keep_only is None and not text:
        return frame
    return blank(frame, Blank(None if keep_only is None else tuple(keep_only), tuple(text)).mask(frame.shape[:2]), form)


def masked_object(
    ds: Dataset, regions: Sequence[Sequence[Region]], keep_only: Sequence[Region] | None = None
) -> Dataset:
    """`ds` with the rectangles of each frame black, and all outside `keep_only` unless that is None.

    `ds` is changed and returned. Native pixels are edited where they stand. Compressed, packed and subsampled ones are
    decoded and written as Explicit VR Little Endian; each pixel outside the rectangles is what the decoder gave, colour
    and palettes as RGB. Raises what decoding raises, PIXEL_DATA_MISMATCH where frames and `regions` differ in number.
    """
    form = format_of(ds)
    if len(regions) != form.NumberOfFrames:
        raise Rejection(Reason.PIXEL_DATA_MISMATCH, f"regions of {len(regions)} of {form.NumberOfFrames} frames")
    kept = None if keep_only is None else tuple(keep_only)
    shape = (form.Rows, form.Columns)
    return write_masked(ds, form, [Blank(kept, tuple(boxes)).mask(shape) for boxes in regions])


def edited(data: bytes, edit: Edit) -> bytes:
    """The file `data` after an edit; the same bytes where it blanks nothing. Raises `Rejection` as `masked_object`."""
    form = read_instance(
        io.BytesIO(data),
        object="",
        source_path="",
        url="",
        size=len(data),
        keywords=frozenset(),
        harvest=lambda _: (),
    ).format
    masks = _tiled(edit, form) if form.tiles else edit.masks(form.NumberOfFrames, (form.Rows, form.Columns))
    if not any(mask.any() for mask in masks):
        return data
    try:
        ds = dcmread(io.BytesIO(inflate(data)), force=True)
        return bytes_of(write_masked(ds, format_of(ds), masks))
    except PARSE_ERRORS:
        raise Rejection(Reason.BROKEN_HEADER) from None


def _tiled(edit: Edit, form: PixelFormat) -> list[np.ndarray]:
    """The masks of the tiles of a mosaic, as one of the whole frame."""
    rows, columns = form.frame_size
    across, down = form.Columns // columns, form.Rows // rows
    whole = np.ones((form.Rows, form.Columns), bool)
    for tile, mask in enumerate(edit.masks(across * down, (rows, columns))):
        top, left = tile // across * rows, tile % across * columns
        whole[top : top + rows, left : left + columns] = mask
    return [whole]


def clean_pixels(ds: Dataset, policy: Policy, detector: Detector | None) -> tuple[Dataset, Pixels]:
    """Decide about one object, look at it and blank it: the object, and what was done to its pixels.

    `ds` is changed where something is blanked. Objects without image pixels pass. Raises `Rejection` as
    `burnedin.decide`, `look_at` and decoding do.
    """
    sop_class = elements.text(ds, "SOPClassUID")
    if not any(keyword in ds for keyword in KEYWORDS) or kinds.refusal(sop_class, ()) is Reason.NOT_AN_IMAGE:
        return ds, "kept"
    form = format_of(ds)
    decision = burnedin.decide(
        attributes_of(headers_of(ds, form.NumberOfFrames)[0], burnedin.KEYWORDS),
        kinds.modality_of(sop_class, elements.text(ds, "Modality")),
        policy,
        size=(form.Columns, form.Rows),
        sop_class=sop_class,
        can_look=detector is not None,
    )
    text = look_at(decision, decoded(ds, form) if decision.look else (), detector)
    if decision.keep_only or any(text):
        return masked_object(ds, text or [()] * form.NumberOfFrames, decision.keep_only or None), "masked"
    return ds, "checked" if decision.look else "kept"


def pack(mask: np.ndarray) -> bytes:
    """A bool array of three axes, compressed."""
    return igzip.compress(_SHAPE.pack(*mask.shape) + np.packbits(mask).tobytes(), 1)


def unpack(data: bytes) -> np.ndarray:
    """What `pack` packed."""
    plain = igzip.decompress(data)
    shape = _SHAPE.unpack_from(plain)
    bits = np.frombuffer(plain, np.uint8, offset=_SHAPE.size)
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
