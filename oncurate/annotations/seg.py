"""DICOM segmentations as label maps on the grid of their image.

Belongs here: which frame shows which segment on which slice, for binary, fractional and label map segmentations. Does
not belong here: what the segments are (`oncurate.annotations.segments`), which image a segmentation belongs to
(`oncurate.annotations.references`), decoders.

The result always covers the image's grid: slices that the writer left out are empty, and nothing is cropped. A
segmentation whose frames are voxels of the image, whatever way they are turned, is placed as it is. One that makes a
regular grid of its own along the image's axes is resampled with `oncurate.labels`, which keeps each label's volume,
and marked `resampled`; any other is refused. Fractions are only placed, never resampled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from oncurate import elements
from oncurate.annotations import lattice, segments
from oncurate.annotations.lattice import Fit
from oncurate.annotations.model import (
    FractionalMap,
    Label,
    LabelMap,
    LayerStack,
    grid_affine_lps,
)
from oncurate.annotations.planes import Planes, own_grid, planes_of, refuse_tiles
from oncurate.annotations.references import references_of
from oncurate.annotations.source import Source, opened
from oncurate.errors import Rejection
from oncurate.functional_groups import Header, headers_of
from oncurate.image import Image
from oncurate.labels import resample_labels
from oncurate.reasons import Reason
from oncurate.records import Geometry
from oncurate.regrid import MAX_VOXELS

LABEL_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
THRESHOLD = 0.5
"""The fraction from which a voxel counts as the label's."""
EMPTY = Reason.EMPTY_ANNOTATION.value
"""Flag of a label that is declared but has no voxel."""
NOT_STATED = "segment_not_stated"
"""Flag of the only label of a segmentation whose frames do not say which segment they show."""

_FRACTIONS = ("PROBABILITY", "OCCUPANCY")


@dataclass(frozen=True)
class _Piece:
    """What one frame shows of one label: cropped voxels `[i, j, k]`, bool or float32, and where the first one lies."""

    corner: np.ndarray
    voxels: np.ndarray


def decode(
    data: bytes, grid: Geometry, *, frame_of_reference: str = "", slices: Mapping[str, int] | None = None
) -> LabelMap | FractionalMap:
    """The segmentation in the bytes of a DICOM object, on `grid`.

    `frame_of_reference` is that of the image, "" if it has none. `slices` gives the slice index of each SOP Instance
    UID of single-frame images of the volume: what frames without a position are placed by, and what the positions of
    others are compared with. Label numbers are segment numbers, which need not be contiguous. Declared segments
    without a voxel stay, with the flag EMPTY.

    Raises `Rejection`: OTHER_FRAME_OF_REFERENCE where it is not the image's, FALSE_FRAME_OF_REFERENCE where it is not
    although the segmentation names images of the volume, MISPLACED_ANNOTATION where frames lie elsewhere than the
    images that they name, ANNOTATION_OFF_GRID, ANNOTATION_OUTSIDE_IMAGE, EMPTY_ANNOTATION, UNDECLARED_STRUCTURE,
    TILED_IMAGE, GRID_TOO_LARGE, and what `segments.labels_of`, `planes.planes_of` and `source.Source.frames` raise.
    """
    source = opened(data)
    _check_frame_of_reference(source, frame_of_reference, slices or {})
    labels = segments.labels_of(source.ds)
    headers = headers_of(source.ds, source.format().NumberOfFrames)
    refuse_tiles(headers)
    planes = planes_of(headers)
    if planes is None or not grid.in_patient:
        return _drawn(source, labels, headers, _fit_by_reference(source, headers, grid, slices or {}), grid)
    found = _fit(source, planes, grid)
    if found.fits:
        _check_places(headers, found, slices or {})
        return _drawn(source, labels, headers, found, grid)
    own = own_grid(planes, _size(source), grid)
    if own is None or lattice.is_turned(grid_affine_lps(own), own.shape, grid):
        raise Rejection(Reason.ANNOTATION_OFF_GRID, f"{found.error_mm:.2f} mm off the grid of the image")
    if np.prod(own.shape, dtype=float) > MAX_VOXELS:
        raise Rejection(Reason.GRID_TOO_LARGE)
    drawn = _drawn(source, labels, headers, _fit(source, planes, own), own)
    if isinstance(drawn, FractionalMap):
        raise Rejection(Reason.ANNOTATION_OFF_GRID, f"fractions {found.error_mm:.2f} mm off the grid of the image")
    return _resampled(drawn, own, grid)


def _check_frame_of_reference(source: Source, wanted: str, slices: Mapping[str, int]) -> None:
    stated = elements.text(source.ds, "FrameOfReferenceUID")
    if stated and wanted and stated != wanted:
        named = any(uid in slices for uid in references_of(source.ds).instances)
        reason = Reason.FALSE_FRAME_OF_REFERENCE if named else Reason.OTHER_FRAME_OF_REFERENCE
        raise Rejection(reason, "FrameOfReferenceUID")


def _size(source: Source) -> tuple[int, int]:
    form = source.format()
    return form.Rows, form.Columns


def _fit(source: Source, planes: Planes, grid: Geometry) -> Fit:
    """How the frames lie on the grid; frames of several orientations do not."""
    rows, columns = _size(source)
    found = lattice.fit(planes.steps(), planes.positions, (columns, rows), grid)
    return found if planes.is_one_plane else replace(found, fits=False)


def _fit_by_reference(source: Source, headers: list[Header], grid: Geometry, slices: Mapping[str, int]) -> Fit:
    """How frames lie where they or the image have no place: as the image that each names, or the only one there is."""
    if _size(source) != (grid.shape[1], grid.shape[0]):
        raise Rejection(Reason.ANNOTATION_OFF_GRID, "rows and columns")
    places = [0 if grid.shape[2] == 1 else slices.get(_only_source(header)) for header in headers]
    if None in places:
        raise Rejection(Reason.MISSING_GEOMETRY, "ImagePositionPatient")
    first = np.array([(0, 0, place) for place in places], np.int64)
    return Fit((0, 1, 2), (1, 1, 1), first, 0.0, True)


def _check_places(headers: list[Header], found: Fit, slices: Mapping[str, int]) -> None:
    """Refuse frames whose position is that of another slice than the one image that they were drawn on."""
    if found.order[2] != 2 or not slices:
        return
    named = [slices.get(_only_source(header)) for header in headers]
    wrong = sum(place is not None and place != k for place, k in zip(named, found.first[:, 2], strict=True))
    if wrong:
        raise Rejection(Reason.MISPLACED_ANNOTATION, f"{wrong} of {len(named)} frames")


def _only_source(header: Header) -> str:
    """The SOP Instance UID of the single-frame image that a frame was drawn on; "" if it names none, or several."""
    uids = {
        elements.text(image, "ReferencedSOPInstanceUID")
        for derivation in header.items("DerivationImageSequence")
        for image in elements.items(derivation, "SourceImageSequence")
        if not elements.values(image, "ReferencedFrameNumber")
    }
    return uids.pop() if len(uids) == 1 else ""


def _drawn(
    source: Source, labels: dict[int, Label], headers: list[Header], found: Fit, grid: Geometry
) -> LabelMap | FractionalMap:
    """The segments on a grid on which the frames lie as they are."""
    kind = elements.text(source.ds, "SegmentationType").upper()
    if kind == "LABELMAP" or source.sop_class == LABEL_MAP_CLASS:
        pieces = _of_label_map(source, labels, found)
        return _label_map(_inside(pieces, grid), labels, grid, {})
    numbers, flags = _shown(headers, labels)
    if kind == "FRACTIONAL":
        return _fractional(source, labels, numbers, found, grid, flags)
    if kind not in ("BINARY", ""):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "SegmentationType")
    pieces: dict[int, list[_Piece]] = defaultdict(list)
    for index, frame in enumerate(source.frames()):
        _collect(pieces[numbers[index]], found, index, frame != 0)
    return _label_map(_inside(pieces, grid), labels, grid, flags)


def _shown(headers: list[Header], labels: dict[int, Label]) -> tuple[list[int], dict[int, tuple[str, ...]]]:
    """The segment number of each frame, and the flags of labels that follow from how it is said."""
    numbers = [_segment_number(header) for header in headers]
    only = next(iter(labels)) if len(labels) == 1 else None
    flags = {}
    if only is not None and all(number is None for number in numbers):
        numbers, flags = [only] * len(headers), {only: (NOT_STATED,)}
    if None in numbers:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "ReferencedSegmentNumber")
    undeclared = sum(number not in labels for number in numbers)
    if undeclared:
        raise Rejection(Reason.UNDECLARED_STRUCTURE, f"{undeclared} of {len(numbers)} frames")
    return [int(number) for number in numbers if number is not None], flags


def _segment_number(header: Header) -> int | None:
    item = next(iter(header.items("SegmentIdentificationSequence")), None)
    return elements.integer(item, "ReferencedSegmentNumber") if item is not None else None


def _of_label_map(source: Source, labels: dict[int, Label], found: Fit) -> dict[int, list[_Piece]]:
    nothing = segments.backgrounds(source.ds)
    if nothing & labels.keys():
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "PixelPaddingValue")
    pieces: dict[int, list[_Piece]] = defaultdict(list)
    for index, frame in enumerate(source.frames()):
        for value in np.flatnonzero(np.bincount(frame.ravel())).tolist():
            if value in nothing:
                continue
            if value not in labels:
                raise Rejection(Reason.UNDECLARED_STRUCTURE, "PixelData")
            _collect(pieces[value], found, index, frame == value)
    return pieces


def _collect(pieces: list[_Piece], found: Fit, index: int, frame: np.ndarray) -> None:
    """Add what a frame (rows, columns) shows, cropped to where it is not zero; nothing if it is zero everywhere."""
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    if rows.size:
        part = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].T[:, :, None].copy()
        voxels, corner = found.laid(part, index, (int(columns[0]), int(rows[0]), 0))
        pieces.append(_Piece(corner, voxels))


def _inside(pieces: Mapping[int, list[_Piece]], grid: Geometry) -> Mapping[int, list[_Piece]]:
    """The pieces, if all of them lie on the grid."""
    every = [piece for of_label in pieces.values() for piece in of_label]
    outside = sum(lattice.overhang(piece.corner, piece.voxels.shape, grid) for piece in every)
    if outside:
        raise Rejection(Reason.ANNOTATION_OUTSIDE_IMAGE, f"{outside} of {len(every)} drawn frames")
    return pieces


def _label_map(
    pieces: Mapping[int, list[_Piece]], labels: dict[int, Label], grid: Geometry, flags: Mapping[int, tuple[str, ...]]
) -> LabelMap:
    stack = LayerStack(grid.shape)
    seen = dict(flags)
    drawn = 0
    for number in labels:
        of_label = pieces.get(number)
        if not of_label:
            stack.layer_of[number] = 0
            seen[number] = (*seen.get(number, ()), EMPTY)
            continue
        low = np.min([piece.corner for piece in of_label], axis=0)
        high = np.max([piece.corner + piece.voxels.shape for piece in of_label], axis=0)
        mask = np.zeros(high - low, bool)
        for piece in of_label:
            mask[_box(piece, low)] |= piece.voxels
        stack.add(number, mask, (int(low[0]), int(low[1]), int(low[2])))
        drawn += 1
    if not drawn:
        raise Rejection(Reason.EMPTY_ANNOTATION, f"{len(labels)} labels declared")
    return stack.label_map(labels.values(), flags=seen)


def _box(piece: _Piece, low: Iterable[int] = (0, 0, 0)) -> tuple[slice, ...]:
    starts = piece.corner - np.asarray(low)
    return tuple(slice(int(start), int(start) + n) for start, n in zip(starts, piece.voxels.shape, strict=True))


def _fractional(
    source: Source,
    labels: dict[int, Label],
    numbers: list[int],
    found: Fit,
    grid: Geometry,
    flags: Mapping[int, tuple[str, ...]],
) -> FractionalMap:
    most = elements.integer(source.ds, "MaximumFractionalValue")
    kind = elements.text(source.ds, "SegmentationFractionalType").upper()
    if not most or most < 0:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "MaximumFractionalValue")
    if np.prod(grid.shape, dtype=float) * len(labels) > MAX_VOXELS:
        raise Rejection(Reason.GRID_TOO_LARGE, f"{len(labels)} fractional segments")
    pieces: dict[int, list[_Piece]] = defaultdict(list)
    for index, frame in enumerate(source.frames()):
        if int(frame.max()) > most:
            raise Rejection(Reason.PIXEL_DATA_MISMATCH, "MaximumFractionalValue")
        _collect(pieces[numbers[index]], found, index, frame.astype(np.float32) / np.float32(most))
    arrays, inside = [], _inside(pieces, grid)
    for number in labels:
        array = np.zeros(grid.shape, np.float32)
        for piece in inside.get(number, ()):
            view = array[_box(piece)]
            np.maximum(view, piece.voxels, out=view)
        arrays.append(array)
    halves = {
        number: [_Piece(piece.corner, piece.voxels >= THRESHOLD) for piece in of_label]
        for number, of_label in pieces.items()
    }
    solid = {number: [p for p in of_label if p.voxels.any()] for number, of_label in halves.items()}
    label_map = _label_map(solid, labels, grid, flags)
    return FractionalMap(
        tuple(arrays), tuple(labels.values()), kind if kind in _FRACTIONS else "", THRESHOLD, label_map
    )


def _resampled(drawn: LabelMap, own: Geometry, grid: Geometry) -> LabelMap:
    """The layers on the image's grid, each label with the volume it had; refused if some of it lies beyond."""
    like = Image(np.empty(grid.shape, np.uint8), grid_affine_lps(grid))
    layers, outside = [], 0
    for layer in drawn.layers:
        turned, rows = resample_labels(Image(layer, grid_affine_lps(own)), like)
        outside += sum(row.voxels_outside > 0 for row in rows)
        layers.append(turned.array)
    if outside:
        raise Rejection(Reason.ANNOTATION_OUTSIDE_IMAGE, f"{outside} of {len(drawn.labels)} labels")
    return replace(drawn, layers=tuple(layers), resampled=True)
