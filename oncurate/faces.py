"""Recognisable faces: may an image show one, where it is, and the image without it.

Belongs here: the judgement from the header, the mask of the face on the image's own grid, removing it, the same mask on
the source's slices. Does not belong here: the registration (`oncurate.faces_register`), the template
(`oncurate.faces_template`), the policy (`oncurate.deidentify`).

Commercial face recognition matched surfaces rendered from 97 % of head MR to photographs, and up to 42 % of brain PET
(Schwarz et al., NeuroImage 231:117845, 2021, and 2022). After common defacing 28 to 38 % of the MR still matched (the
former), because eyes and brow stayed; the region here takes them too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from oncurate import allowlist, faces_template
from oncurate.errors import Defect, Rejection
from oncurate.faces_register import Fit, register
from oncurate.faces_search import on_grid
from oncurate.image import Image
from oncurate.reasons import Reason
from oncurate.records import Geometry, PlannedVolume, Step

MODALITIES = frozenset({"CT", "MR", "PT"})

_ELSEWHERE = """
ABDOMEN ABDOMENPELVIS ADRENAL ANKLE BILEDUCT BLADDER BREAST BUTTOCK CALCANEUS CALF CERVIX CHEST CHESTABDOMEN
CHESTABDPELVIS COCCYX COLON CORONARYARTERY DUODENUM EXTREMITY FEMUR FIBULA FOOT GALLBLADDER HEART HIP ILEUM ILIUM
JEJUNUM KIDNEY KNEE LARGEINTESTINE LEG LIVER LSPINE LSSPINE LUNG OVARY PANCREAS PATELLA PELVIS PENIS PROSTATE RECTUM
RIB SCROTUM SIJOINT SMALLINTESTINE SPLEEN SSPINE STERNUM STOMACH TESTIS THIGH TIBIA TIBIAFIBULA TLSPINE TOE TSPINE
URETER URETHRA UTERUS VAGINA VULVA
"""
ELSEWHERE = frozenset(_ELSEWHERE.split())
"""Body parts whose images end below the chin, unless they are longer than TRUNK_MM. Arms and hands are not among them:
they are often imaged beside or above the head."""

MAPS = frozenset({"ADC", "EADC", "FA", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP"})
"""Terms of ImageType for quantities that are computed from echo-planar images, in which fat and skin are suppressed."""

LEAST_EXTENT_MM = 40.0
"""What a grid must span along each axis: on the template, eyes and nose together take 45 mm."""
LARGEST_SPACING_MM = 10.0
"""Twice the resolution of the PET images that were matched to photographs (see above), about 5 mm."""
TRUNK_MM = 600.0
"""An image longer than that along the body is taken to reach from hip to chin, whatever body part its header names: a
whole-body PET named EXTREMITY is 870 mm long."""

LEAST_INFORMATION = 0.5
"""Nats of mutual information with the template. Heads: 0.54 to 1.04 (CT, MR, echo-planar MR, PET, whole or in part);
abdomen, breast, pelvis, prostate, phantoms: at most 0.49."""
LEAST_AGREEMENT = {"CT": 0.17, "MR": 0.17, "PT": 0.06}
"""Nats within the head. Heads: CT and MR 0.20 to 0.74, PET 0.09; elsewhere in CT and MR at most 0.14."""
LEAST_COVERED = 0.2
"""Share of the template's head. Less than a fifth of a head looks like any round part of the body: a thigh fits."""


def recognisable_face_possible(attributes: Mapping[str, Any], modality: str, geometry: Geometry) -> bool:
    """Whether a volume may show a face, told from the header alone; on doubt, yes.

    `attributes`: raw or cleaned. No: other modalities, images without a place in the patient, single slices, maps,
    grids too small or too coarse for a face, and body parts ELSEWHERE of ordinary length. A missing body part rules
    out nothing.
    """
    if modality not in MODALITIES or not geometry.in_patient:
        return False
    extent = np.multiply(geometry.spacing, geometry.shape)
    if extent.min() < LEAST_EXTENT_MM or max(geometry.spacing) > LARGEST_SPACING_MM:
        return False
    stated = attributes.get("ImageType") or ()
    terms = stated.split("\\") if isinstance(stated, str) else stated
    if MAPS & {str(term).strip().upper() for term in terms}:
        return False
    part = allowlist.term("body_part", attributes.get("BodyPartExamined"))
    return part not in ELSEWHERE or _length(geometry) > TRUNK_MM


def face_mask(image: Image, modality: str, spare: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Bool `[i, j, k]` on the grid of `image`: True where the face is to be removed. It may be empty.

    The image, its first repetition if it has several, is registered to the template. The template's brain is never in
    the mask, nor is what is True in one of `spare` (on the same grid) with its neighbours, which interpolation mixes
    into it. Raises `Rejection` FACE_NOT_LOCATED where the fit is not good enough to be a head.
    """
    if not (image.in_patient and image.has_unit) or image.is_colour:
        raise Rejection(Reason.FACE_NOT_LOCATED, "no place in the patient")
    fit = register(image, modality)
    _require_head(fit, modality)
    mask = on_image(faces_template.read().face, image, fit)
    for spared in spare:
        if spared.shape != mask.shape:
            raise Defect("a mask of what to spare is not on the grid of its image")
        mask &= ~ndimage.binary_dilation(spared, ndimage.generate_binary_structure(3, 3))
    return mask


def on_image(region: np.ndarray, image: Image, fit: Fit) -> np.ndarray:
    """A region of the template, bool, on the grid of `image`; only the box that can hold it is computed."""
    template = faces_template.read()
    index = np.linalg.solve(template.affine, fit.affine @ image.affine)
    ends = [np.flatnonzero(region.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    corners = np.array(list(itertools.product(*[(e[0] - 1, e[-1] + 1) for e in ends]))).T
    seen = np.linalg.inv(index)[:3] @ np.vstack([corners, np.ones(8)])
    start = np.clip(np.floor(seen.min(axis=1)), 0, image.shape).astype(int)
    stop = np.clip(np.ceil(seen.max(axis=1)) + 1, start, image.shape).astype(int)
    mask = np.zeros(image.shape, bool)
    if (stop > start).all():
        moved = index.copy()
        moved[:3, 3] += index[:3, :3] @ start
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        mask[box] = on_grid(region, moved, tuple(int(n) for n in stop - start)) > 0.5
    return mask


def fill_value(image: Image, unit: str, padding: tuple[float, float] | None = None) -> float:
    """What stands for a removed voxel: the padding's first value, air (-1000 HU), or 0; the nearest that occurs."""
    if padding is not None:
        return padding[0]
    if unit == "HU":
        return -1000.0
    return float(np.clip(0, image.array.min(), image.array.max()))


def deface(image: Image, mask: np.ndarray, fill: float) -> tuple[Image, Step]:
    """`image` with `fill` where `mask` is True, in every repetition, and the step. `image` itself stays as it is.

    Where the voxel type does not hold `fill`, the nearest value that it holds.
    """
    array = image.array.copy(order="K")
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        fill = min(max(round(fill), limits.min), limits.max)
    array[mask] = fill
    arguments = {
        "template": faces_template.NAME,
        "version": faces_template.VERSION,
        "share": float(mask.mean()),
        "value": float(fill),
    }
    return replace(image, array=array), Step(name="deface", arguments=arguments)


def slice_masks(mask: np.ndarray, affine: np.ndarray, planned: PlannedVolume) -> Iterator[np.ndarray]:
    """The mask for each of `planned.slices`, bool (rows, columns).

    `mask` is on the grid of the converted image, whose matrix is `affine`. `convert` stores `[column, row from the
    last, slice]`, so that slice k has `mask[:, ::-1, k].T`; repetitions follow each other. Where conversion corrects
    the grid, each pixel takes the mask's voxel nearest to its own place.
    """
    count = planned.geometry.shape[2]
    for number, piece in enumerate(planned.slices):
        if planned.correction is None:
            yield mask[:, ::-1, number % count].T
        elif piece.position is None:
            raise Defect("a slice of a volume to be corrected has no position")
        else:
            yield _at_pixels(mask, affine, planned.geometry, piece.position)


def _at_pixels(mask: np.ndarray, affine: np.ndarray, geometry: Geometry, position: Sequence[float]) -> np.ndarray:
    columns, rows, _ = geometry.shape
    pixel = np.zeros((3, 3))  # row, column, 1 -> LPS mm
    pixel[:, 0] = np.array(geometry.column) * geometry.spacing[1]
    pixel[:, 1] = np.array(geometry.row) * geometry.spacing[0]
    pixel[:, 2] = position
    back = np.linalg.inv(affine)
    index = back[:3, :3] @ (pixel * np.array([[-1.0], [-1.0], [1.0]]))
    index[:, 2] += back[:3, 3]
    row, column = np.mgrid[:rows, :columns]
    places = np.round(np.einsum("ab,bij->aij", index, np.stack([row, column, np.ones_like(row)]))).astype(int)
    inside = ((places >= 0) & (places < np.array(mask.shape)[:, None, None])).all(axis=0)
    found = np.zeros((rows, columns), bool)
    found[inside] = mask[tuple(places[:, inside])]
    return found


def _require_head(fit: Fit, modality: str) -> None:
    enough = fit.information >= LEAST_INFORMATION and fit.covered >= LEAST_COVERED
    if not enough or fit.agreement < LEAST_AGREEMENT.get(modality, LEAST_AGREEMENT["MR"]):
        measured = f"information {fit.information:.2f}, agreement {fit.agreement:.2f}, covered {fit.covered:.2f}"
        raise Rejection(Reason.FACE_NOT_LOCATED, measured)


def _length(geometry: Geometry) -> float:
    """Extent of the grid from foot to head, mm."""
    directions = np.array([geometry.row, geometry.column, geometry.normal])
    return float(np.abs(directions[:, 2] * geometry.spacing * np.array(geometry.shape)).sum())
