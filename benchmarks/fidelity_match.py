"""Which of our 3-D images is which of theirs, by voxel content.

Belongs here: pairing. Does not belong here: what a pairing says (`benchmarks.fidelity_rules`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from benchmarks.fidelity_series import Curated
from benchmarks.fidelity_voxels import Kind, Relation, Voxels, distance_mm, in_plane_distance_mm, relate
from benchmarks.oracle import Output
from oncurate.elements import PARSE_ERRORS
from oncurate.records import PlannedVolume

DECODE_ERRORS = (*PARSE_ERRORS, OSError, RuntimeError)
"""What pydicom and its decoders raise on files that they cannot read."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One 3-D image of ours: repetition `repetition` of volume `volume` of its series."""

    volume: int
    repetition: int
    voxels: Voxels
    in_patient: bool
    planned: PlannedVolume


@dataclass(frozen=True, eq=False)
class Pair:
    """Repetition of theirs, the index of the piece that holds it (None: no piece does), and how the two relate."""

    repetition: int
    piece: int | None
    relation: Relation
    distance_mm: float


def pieces_of(curated: Curated) -> list[Piece]:
    """Every repetition of every volume, in order."""
    return [
        Piece(number, n, Voxels(one.array, one.affine, is_colour=one.is_colour), one.in_patient, planned)
        for number, (planned, image) in enumerate(curated.volumes)
        for n in range(image.count)
        for one in [image.repetition(n)]
    ]


def volumes_of(output: Output, pieces: Sequence[Piece]) -> list[Voxels]:
    """Their 3-D images. Where ours are only single images of that matrix (a cine, radiographs), each slice is one."""
    stored = list(output.volumes)
    depths = {p.voxels.shape[2] for p in pieces if p.voxels.shape[:2] == output.shape[:2]}
    if depths == {1} and output.count == 1 and output.shape[2] > 1:
        stored = [stored[0][:, :, k : k + 1] for k in range(output.shape[2])]
    return [Voxels(one, output.affine, output.slope, output.intercept, output.is_colour) for one in stored]


def pair(volumes: Sequence[Voxels], pieces: Sequence[Piece], taken: Collection[int] = ()) -> list[Pair]:
    """The best piece for each of their images. A piece is taken once, unless no other holds the image.

    `taken` are the pieces that an earlier output holds: of equal ones, others come first.
    """
    found: list[Pair] = []
    free = list(range(len(pieces)))
    following = 0
    for repetition, theirs in enumerate(volumes):
        order = sorted(free, key=lambda n: (n in taken, (n - following) % max(1, len(pieces))))
        best = _best(repetition, theirs, pieces, order)
        if best.piece is None and len(order) < len(pieces):
            best = _best(repetition, theirs, pieces, range(len(pieces)))
        if best.piece is not None:
            following = best.piece + 1
            free = [n for n in free if n != best.piece]
        found.append(best)
    return found


def _best(repetition: int, theirs: Voxels, pieces: Sequence[Piece], order: Sequence[int]) -> Pair:
    best = Pair(repetition, None, Relation(Kind.DIFFERENT, share=1.0), float("inf"))
    for n in order:
        relation = relate(pieces[n].voxels, theirs)
        if not relation.is_same:
            continue
        apart = _apart(pieces[n], theirs, relation)
        if best.piece is None or (relation.rank, round(apart, 3)) < (best.relation.rank, round(best.distance_mm, 3)):
            best = Pair(repetition, n, relation, apart)
        if relation.kind is Kind.IDENTICAL and apart == 0:
            break
    return best


def _apart(piece: Piece, theirs: Voxels, relation: Relation) -> float:
    ours = piece.voxels
    if not piece.in_patient:
        return in_plane_distance_mm(ours, theirs)
    return distance_mm(ours.turned(), theirs.turned()) if relation.turned else distance_mm(ours, theirs)


def nearest(theirs: Voxels, pieces: Sequence[Piece]) -> tuple[Piece, Relation, float] | None:
    """The piece of the same shape that differs least in values, and how far its grid is; None if none has the shape."""
    alike = [p for p in pieces if p.voxels.shape == theirs.shape and p.voxels.is_colour == theirs.is_colour]
    related = [(p, relate(p.voxels, theirs)) for p in alike]
    best = min(related, key=lambda found: found[1].rank, default=None)
    return None if best is None else (*best, _apart(best[0], theirs, best[1]))


def slice_digests(piece: Piece) -> Counter[str]:
    """Digests of the stored codes of every slice of ours: the rescale of each is undone."""
    return Counter(digest(codes) for codes in _codes(piece))


def _codes(piece: Piece) -> Iterator[np.ndarray]:
    voxels = piece.voxels
    depth = voxels.shape[2]
    for k in range(depth):
        plane = voxels.stored[:, :, k]
        if voxels.is_colour or piece.planned.correction:
            yield plane
        else:
            origin = piece.planned.slices[piece.repetition * depth + k]
            yield np.round((plane.astype(np.float64) - origin.intercept) / origin.slope)


def digest(plane: np.ndarray) -> str:
    """SHA-256 of the whole numbers of a slice, `[i, j]` or `[i, j, channel]`: one however it is turned or flipped."""
    whole = np.asarray(plane, np.int64)
    turned = [each[::i, ::j] for each in (whole, np.swapaxes(whole, 0, 1)) for i in (1, -1) for j in (1, -1)]
    return min(hashlib.sha256(repr(each.shape).encode() + each.tobytes()).hexdigest() for each in turned)


def decoded_digests(path: Path) -> set[str]:
    """Digests of the frames of a file as pydicom decodes them; empty if it cannot."""
    try:
        header = dcmread(path, force=True)
        pixels = header.pixel_array
        return {digest(frame) for frame in (pixels if int(header.get("NumberOfFrames") or 1) > 1 else pixels[None])}
    except DECODE_ERRORS:
        return set()
