"""The structures (ROIs) of a structure set: what each is called, and the contours that it has.

Belongs here: putting together what the three sequences of a structure set say of one structure, and refusing one that
cannot be trusted. Does not belong here: single contours (`oncurate.annotations.contours`), drawing them
(`oncurate.annotations.rtstruct`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.annotations import codes, contours
from oncurate.annotations.contours import Contour
from oncurate.annotations.model import LARGEST_LABEL, Code, Grid, Label, grid_affine_lps
from oncurate.errors import Rejection
from oncurate.reasons import Reason

INTERPRETED_TYPES = frozenset(
    {
        *("EXTERNAL", "PTV", "CTV", "GTV", "TREATED_VOLUME", "IRRAD_VOLUME", "OAR", "BOLUS", "AVOIDANCE", "ORGAN"),
        *("MARKER", "REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "BRACHY_CHANNEL", "BRACHY_ACCESSORY"),
        *("BRACHY_SRC_APP", "BRACHY_CHNL_SHLD", "SUPPORT", "FIXATION", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT"),
    }
)
"""Defined terms of RTROIInterpretedType (PS3.3 C.8.8.8.1)."""
INTERPRETED = "RTROIInterpretedType"
"""Stands for the coding scheme where a structure has an interpreted type and no coded category."""
ALGORITHM_TYPES = frozenset({"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"})

DECLARED_EMPTY = "declared_empty"
WITHOUT_AREA = "contours_without_area"  # number of contours with fewer than three points, or in a line: left out
REPEATED = "repeated_contours"  # number of contours that repeat another on their plane: left out
SELF_CROSSING = "self_crossing"  # a contour crosses itself: the even-odd rule decided
OVERLAPPING = "overlapping_contours"  # contours of one plane overlap in part: united
OTHER_SPACING = "contour_spacing_differs"  # contours are not spaced as slices are: each fills the slices of its slab
OUTSIDE = "contours_outside"  # number of contours wholly outside the image: left out
CLIPPED = "contours_clipped"  # number of contours that reach beyond the columns or rows of the image
UNREFERENCED = "no_image_reference"  # no contour says which image it was drawn on
UNRESOLVED = "unresolved_references"  # number of contours whose image is not one of this volume
DISAGREEING = "reference_disagrees"  # number of contours that lie on another slice than the image they reference
"""Flags of a label; those that count are written as `flag=number`."""


@dataclass(eq=False)
class Structure:
    """One structure on its way: what it is called, its contours, and what to know of it."""

    label: Label
    contours: list[Contour]
    flags: dict[str, int | None] = field(default_factory=dict)

    def count(self, flag: str, number: int) -> None:
        if number:
            self.flags[flag] = number

    def written_flags(self) -> tuple[str, ...]:
        return tuple(flag if number is None else f"{flag}={number}" for flag, number in self.flags.items())


class Reader:
    """The sequences of a structure set, by ROI number."""

    def __init__(self, ds: Dataset, grid: Grid, sop_positions: Mapping[str, int], frame_of_reference: str) -> None:
        self._declared = Counter(map(roi_number, elements.items(ds, "StructureSetROISequence")))
        self._drawn: dict[int, list[Dataset]] = {}
        for item in elements.items(ds, "ROIContourSequence"):
            self._drawn.setdefault(_referenced(item), []).append(item)
        self._observed: dict[int, Dataset] = {}
        for item in elements.items(ds, "RTROIObservationsSequence"):
            self._observed.setdefault(_referenced(item), item)
        self._to_index = np.linalg.inv(grid_affine_lps(grid))
        self._spacing = grid.spacing
        self._images = sop_positions
        self._frame = frame_of_reference
        self._resolves = any(
            uid in sop_positions
            for items in self._drawn.values()
            for item in items
            for contour in elements.items(item, "ContourSequence")
            for uid in contours.references_of(contour)
        )

    def undeclared(self) -> list[tuple[int, Reason]]:
        """ROI numbers that have contours and no name."""
        return [(number, Reason.UNDECLARED_STRUCTURE) for number in self._drawn if number not in self._declared]

    def structure(self, item: Dataset, number: int) -> Structure:
        """The structure of an item of StructureSetROISequence, as label `number`."""
        roi = roi_number(item)
        drawn = self._drawn.get(roi, [])
        if self._declared[roi] > 1 or len(drawn) > 1:
            raise Rejection(Reason.DUPLICATE_STRUCTURE_NUMBER)
        drawn_item = drawn[0] if drawn else None
        label = _label(item, self._observed.get(roi), drawn_item, number)
        found = elements.items(drawn_item, "ContourSequence")
        if not found:
            return Structure(label, [], {DECLARED_EMPTY: None})
        self._check_references(item, found)
        read = [contours.read(one, self._to_index, self._spacing) for one in found]
        kept = [contour for contour in read if contour is not None]
        if not kept:
            raise Rejection(Reason.CONTOURS_WITHOUT_AREA)
        structure = Structure(label, _distinct(kept))
        structure.count(WITHOUT_AREA, len(read) - len(kept))
        structure.count(REPEATED, len(kept) - len(structure.contours))
        return structure

    def _check_references(self, item: Dataset, found: Sequence[Dataset]) -> None:
        """Refuse a structure that was drawn on another image, or in another frame of reference."""
        references = [uid for one in found for uid in contours.references_of(one)]
        if any(uid in self._images for uid in references):
            return
        frame = elements.text(item, "ReferencedFrameOfReferenceUID")
        same_frame = bool(frame) and frame == self._frame
        if references and self._images and (self._resolves or not same_frame):
            raise Rejection(Reason.UNRESOLVED_REFERENCE)
        if frame and self._frame and not same_frame:
            raise Rejection(Reason.OTHER_FRAME_OF_REFERENCE)


def _distinct(found: Sequence[Contour]) -> list[Contour]:
    """The contours without exact repetitions; those that are combined by XOR cancel, and stay."""
    seen: set[tuple[float, bytes]] = set()
    kept = []
    for contour in found:
        key = (round(contour.position, contours.SLAB_DECIMALS), contour.points.tobytes())
        if contour.xor or key not in seen:
            kept.append(contour)
        seen.add(key)
    return kept


def label_numbers(declared: Sequence[Dataset]) -> list[int]:
    """A voxel value for each structure: its ROI number, or the next free one where no voxel can hold that."""
    own = {number for item in declared if 0 < (number := roi_number(item)) <= LARGEST_LABEL}
    free = iter([n for n in range(1, LARGEST_LABEL + 1) if n not in own])
    found: list[int] = []
    for item in declared:
        number = roi_number(item)
        if number in own:
            own.remove(number)  # only the first of several
        else:
            number = next(free, 0)
        if not number:
            raise Rejection(Reason.TOO_MANY_LABELS, f"{len(declared)} structures, at most {LARGEST_LABEL}")
        found.append(number)
    return found


def _label(item: Dataset, observed: Dataset | None, drawn: Dataset | None, number: int) -> Label:
    algorithm = elements.text(item, "ROIGenerationAlgorithm")
    colour = elements.numbers(drawn, "ROIDisplayColor") if drawn is not None else []
    return Label(
        number=number,
        name=elements.text(item, "ROIName"),
        category=_category(observed),
        type=codes.first_code(observed, "RTROIIdentificationCodeSequence")
        or codes.first_code(observed, "TherapeuticRoleTypeCodeSequence"),
        type_modifiers=codes.codes_in(observed, "SegmentedPropertyTypeModifierCodeSequence"),
        region=codes.codes_in(observed, "AnatomicRegionSequence"),
        colour=tuple(map(int, colour)) if len(colour) == 3 and all(0 <= c <= 255 for c in colour) else None,  # type: ignore[arg-type]
        algorithm_type=algorithm if algorithm in ALGORITHM_TYPES else "",
        algorithm_name=elements.text(item, "ROIGenerationDescription"),
        source_number=roi_number(item),
    )


def _category(observed: Dataset | None) -> Code | None:
    if observed is None:
        return None
    term = elements.text(observed, INTERPRETED).upper()
    return (
        codes.first_code(observed, "SegmentedPropertyCategoryCodeSequence")
        or codes.first_code(observed, "TherapeuticRoleCategoryCodeSequence")
        or (Code(term, INTERPRETED, term) if term in INTERPRETED_TYPES else None)
    )


def roi_number(item: Dataset) -> int:
    """The ROI number; -1 where there is none, which no structure references."""
    number = elements.integer(item, "ROINumber")
    return -1 if number is None else number


def _referenced(item: Dataset) -> int:
    number = elements.integer(item, "ReferencedROINumber")
    return -2 if number is None else number
