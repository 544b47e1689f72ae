"""RT structure sets: closed contours drawn on the planes of an image, as a label map on that image's grid.

Belongs here: drawing structures, and which of them can be drawn. Does not belong here: what a structure set says of
them (`oncurate.annotations.structures`), contours and slices (`oncurate.annotations.contours`), filling
(`oncurate.annotations.rasterise`), finding the image (`oncurate.annotations.references`).

A structure is drawn whole or not at all: one with a contour that is damaged, or does not lie in the image's planes, is
skipped with its reason and the others stay. Contours without area hold no voxel; they are left out and counted. Points
and open contours are no regions and are skipped. A structure without contours is declared to be empty and stays an
empty label. Several contours on a plane: see `rasterise.polygons`; centres on a contour belong to its structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.annotations import contours, rasterise
from oncurate.annotations.contours import Plane
from oncurate.annotations.model import Grid, LabelMap, LayerStack
from oncurate.annotations.structures import (
    CLIPPED,
    DECLARED_EMPTY,
    DISAGREEING,
    OTHER_SPACING,
    OUTSIDE,
    OVERLAPPING,
    SELF_CROSSING,
    UNREFERENCED,
    UNRESOLVED,
    Reader,
    Structure,
    label_numbers,
    roi_number,
)
from oncurate.errors import Rejection
from oncurate.geometry import SLICE_SPACING_TOLERANCE
from oncurate.reasons import Reason


def decode(ds: Dataset, grid: Grid, sop_positions: Mapping[str, int], *, frame_of_reference: str = "") -> LabelMap:
    """The structures of a structure set as labels on `grid`, and the reason of each that is not there.

    `sop_positions` gives the slice index of each SOP instance of the image, `frame_of_reference` is the image's. A
    structure that references images, but none of these, is drawn only if it lies in this frame of reference and no
    other structure references these images: a copy of the image then, whose instances were given new UIDs. One without
    references is skipped if it names another frame. Without `sop_positions` (empty) references are not looked at.
    Labels keep their ROI number where a voxel can hold it. Raises `Rejection` if nothing can be drawn: the reason that
    all structures share, or NO_USABLE_STRUCTURE; EMPTY_STRUCTURE_SET if there is no contour at all.
    """
    if not grid.in_patient:
        raise Rejection(Reason.MISSING_GEOMETRY, "the image has no place in the patient")
    declared = elements.items(ds, "StructureSetROISequence")
    if not declared:
        raise Rejection(Reason.MISSING_ATTRIBUTE, "StructureSetROISequence")
    reader = Reader(ds, grid, sop_positions, frame_of_reference)
    skipped = reader.undeclared()
    structures: list[Structure] = []
    for item, number in zip(declared, label_numbers(declared), strict=True):
        try:
            structures.append(reader.structure(item, number))
        except Rejection as refusal:
            skipped.append((roi_number(item), refusal.reason))
    spacing = _common_spacing(structures)
    stack, labels, flags = LayerStack(grid.shape), [], {}
    for structure in structures:
        try:
            _draw(structure, grid, sop_positions, spacing, stack)
        except Rejection as refusal:
            skipped.append((structure.label.source_number, refusal.reason))
        else:
            labels.append(structure.label)
            flags[structure.label.number] = structure.written_flags()
    if not any(DECLARED_EMPTY not in flags[label.number] for label in labels):
        raise _nothing([reason for _, reason in skipped])
    named = tuple((number, reason.value) for number, reason in skipped)
    return stack.label_map(labels, skipped=named, flags={n: f for n, f in flags.items() if f})


def _common_spacing(structures: Sequence[Structure]) -> float:
    """The contour spacing, in slices, of structures that are too small to show one: the others', else the slices'."""
    spacings = [s for one in structures if one.contours and (s := contours.spacing_of(one.contours)) is not None]
    return float(np.median(spacings)) if spacings else 1.0


def _draw(
    structure: Structure, grid: Grid, sop_positions: Mapping[str, int], spacing: float, stack: LayerStack
) -> None:
    """Put a structure into the stack and complete its flags. Raises `Rejection` if it has no voxel there."""
    if not structure.contours:
        stack.add(structure.label.number, np.zeros((0, 0, 0), bool))
        return
    own = contours.spacing_of(structure.contours) or spacing
    planes = contours.planes_of(structure.contours, own)
    _flag_places(structure, planes, grid)
    _flag_references(structure, planes, sop_positions)
    if abs(own - 1) > SLICE_SPACING_TOLERANCE:
        structure.flags[OTHER_SPACING] = None
    patches: list[tuple[int, rasterise.Patch]] = []
    for plane in planes:
        slices = plane.slices(grid.shape[2])
        if not slices:
            continue
        patch = rasterise.polygons(
            [c.points for c in plane.contours], grid.shape[:2], xor=any(c.xor for c in plane.contours), closed=True
        )
        if patch.crosses_itself:
            structure.flags[SELF_CROSSING] = None
        if patch.overlap:
            structure.flags[OVERLAPPING] = None
        if patch.mask.any():
            patches += [(k, patch) for k in slices]
    if not patches:
        raise Rejection(Reason.STRUCTURE_SMALLER_THAN_VOXEL)
    corner, mask = _joined(patches)
    stack.add(structure.label.number, mask, corner)


def _joined(patches: Sequence[tuple[int, rasterise.Patch]]) -> tuple[tuple[int, int, int], np.ndarray]:
    """The smallest box around patches of slices: its first voxel and the mask, both `[i, j, k]`."""
    first = np.array([(k, p.row, p.column) for k, p in patches])
    last = np.array([(k + 1, p.row + p.mask.shape[0], p.column + p.mask.shape[1]) for k, p in patches])
    low, high = first.min(axis=0), last.max(axis=0)
    mask = np.zeros(high - low, bool)
    for k, patch in patches:
        rows, columns = patch.box
        mask[k - low[0], rows.start - low[1] : rows.stop - low[1], columns.start - low[2] : columns.stop - low[2]] = (
            patch.mask
        )
    k, j, i = low.tolist()
    return (i, j, k), mask.T


def _flag_places(structure: Structure, planes: Sequence[Plane], grid: Grid) -> None:
    """Count contours beyond the image; CONTOURS_OUTSIDE_IMAGE if all are."""
    places = Counter(
        "outside" if plane.is_outside(grid.shape[2]) else contour.lies(grid.shape)
        for plane in planes
        for contour in plane.contours
    )
    if places["outside"] == places.total():
        raise Rejection(Reason.CONTOURS_OUTSIDE_IMAGE)
    structure.count(OUTSIDE, places["outside"])
    structure.count(CLIPPED, places["across"])


def _flag_references(structure: Structure, planes: Sequence[Plane], sop_positions: Mapping[str, int]) -> None:
    """Count contours whose references lead nowhere, or to a slice that their slab does not touch."""
    if not any(c.references for c in structure.contours):
        structure.flags[UNREFERENCED] = None
        return
    if not sop_positions:
        return
    unresolved = disagreeing = 0
    for plane in planes:
        for contour in plane.contours:
            slices = [sop_positions[uid] for uid in contour.references if uid in sop_positions]
            unresolved += not slices
            disagreeing += bool(slices) and not any(plane.low - 0.5 <= k <= plane.high + 0.5 for k in slices)
    structure.count(UNRESOLVED, unresolved)
    structure.count(DISAGREEING, disagreeing)


def _nothing(reasons: Sequence[Reason]) -> Rejection:
    """Why a structure set gives no label map."""
    if not reasons:
        return Rejection(Reason.EMPTY_STRUCTURE_SET)
    counts = Counter(reasons)
    detail = ", ".join(f"{number} {reason.value}" for reason, number in counts.most_common())
    return Rejection(next(iter(counts)) if len(counts) == 1 else Reason.NO_USABLE_STRUCTURE, detail)
