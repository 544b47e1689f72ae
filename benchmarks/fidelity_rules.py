"""Verdicts on the outputs of one series: rules evaluated on the two results, never a list of known cases.

Belongs here: what a pairing of images says, and who is right. Does not belong here: pairing
(`benchmarks.fidelity_match`), refusals (`benchmarks.fidelity_refused`), scales (`benchmarks.fidelity_scale`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import (
    fidelity_diffusion,
    fidelity_match,
    fidelity_refused,
    fidelity_scale,
    fidelity_series,
    fidelity_voxels,
)
from benchmarks.fidelity_match import Pair, Piece
from benchmarks.fidelity_series import Curated
from benchmarks.fidelity_verdict import Kind, Right, Verdict, unexplained
from benchmarks.fidelity_voxels import AFFINE_TOLERANCE_MM, Relation, Voxels
from benchmarks.oracle import Conversion, Output
from oncurate.decoders import is_encapsulated, syntax_name
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason, State
from oncurate.records import PixelFormat

CORRECTING = GeometryPolicy(gantry_tilt="shear", variable_spacing="resample")
SMOOTHER = 4.0
"""Of two decodings, the right one has neighbours this many times as alike at least; noise alone would give 1."""

_BY_RELATION = {
    fidelity_voxels.Kind.ROUNDING: (Kind.ROUNDING, Right.BOTH, "float values agree within 1e-5, voxel by voxel"),
    fidelity_voxels.Kind.PALETTE: (Kind.COLOUR, Right.OURS, "they keep the palette's index, we its colour"),
    fidelity_voxels.Kind.COLOUR_ROUNDING: (Kind.COLOUR, Right.BOTH, "YBR to RGB is rounded at another place"),
}


@dataclass(frozen=True, eq=False)
class Results:
    """Both results of one series, and its files."""

    files: tuple[Path, ...]
    ours: Curated
    theirs: Conversion

    @cached_property
    def pieces(self) -> list[Piece]:
        """Our 3-D images."""
        return fidelity_match.pieces_of(self.ours)

    @cached_property
    def scales(self) -> fidelity_scale.Offered:
        """What the headers offer to turn stored values into others."""
        return fidelity_scale.offered(self.files)

    @cached_property
    def corrected(self) -> Curated:
        """What becomes of the series where the provider allows tilt and spacing to be corrected."""
        return fidelity_series.curate(self.files, CORRECTING)

    @cached_property
    def slices(self) -> Counter[str]:
        """Digests of our slices."""
        return sum((fidelity_match.slice_digests(p) for p in self.pieces), Counter())

    @cached_property
    def refused_slices(self) -> dict[str, Reason]:
        """Digests of the frames of the files that we refused, and why: pydicom decodes them."""
        return {
            found: outcome.reason
            for outcome in self.ours.outcomes
            if outcome.reason is not None and outcome.state is not State.DUPLICATE
            for found in fidelity_match.decoded_digests(Path(outcome.key))
        }


def judge(results: Results) -> list[Verdict]:
    """A verdict on each output, in order, and one more for volumes of ours that no output holds."""
    verdicts: list[Verdict] = []
    held: set[int] = set()
    for output in results.theirs.outputs:
        verdict, pieces = _judge_output(output, results, held)
        verdicts.append(verdict)
        held |= pieces
    return verdicts + list(_left_over(results, held, all(v.is_explained for v in verdicts)))


def judge_one(output: Output, results: Results) -> Verdict:
    """The verdict on one output alone."""
    return _judge_output(output, results, frozenset())[0]


def _judge_output(output: Output, results: Results, held: Set[int]) -> tuple[Verdict, set[int]]:
    """The verdict, and the indices of our pieces that it speaks of; `held` are those of earlier outputs."""
    pieces = results.pieces
    volumes = fidelity_match.volumes_of(output, pieces)
    pairs = fidelity_match.pair(volumes, pieces, held)
    used = {p.piece for p in pairs if p.piece is not None}
    if all(p.piece is not None for p in pairs):
        return _same_images(output, pairs, results), used
    second = fidelity_refused.second_output(output, results.theirs.outputs, results.ours, lambda: results.corrected)
    if second is not None:
        return second, used
    if not pieces:
        return fidelity_refused.whole_series(output, results.theirs.outputs, results.ours), set()
    return _other_images(volumes, pairs, results)


def _same_images(output: Output, pairs: Sequence[Pair], results: Results) -> Verdict:
    """Every image of theirs is one of ours: what differs beside the voxels."""
    verdicts = [Verdict((Kind.IDENTICAL,), Right.BOTH, "")]
    verdicts += _values(output, pairs, results)
    verdicts += _places(pairs, results.pieces)
    verdicts += _order(output, pairs, results.pieces)
    pieces = [results.pieces[p.piece] for p in pairs if p.piece is not None]
    verdicts += fidelity_diffusion.judge(output, pieces, results.files)
    return combined(verdicts)


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """All that holds of one output. IDENTICAL stays only where the values are; one side is right only if always."""
    kinds = {kind for verdict in verdicts for kind in verdict.kinds}
    if Kind.UNEXPLAINED in kinds:
        return next(v for v in verdicts if Kind.UNEXPLAINED in v.kinds)
    if kinds & {Kind.ROUNDING, Kind.SCALE, Kind.INVERTED, Kind.COLOUR, Kind.SIGN, Kind.DECODED}:
        kinds -= {Kind.IDENTICAL}
    sides = {v.right for v in verdicts} - {Right.BOTH}
    right = Right.BOTH if not sides else sides.pop() if len(sides) == 1 else Right.OPEN
    why = "; ".join(dict.fromkeys(v.why for v in verdicts if v.why))
    return Verdict(tuple(k for k in Kind if k in kinds), right, why or "the same voxels at the same places")


def _values(output: Output, pairs: Sequence[Pair], results: Results) -> Iterator[Verdict]:
    for one in pairs:
        relation = one.relation
        if relation.kind is fidelity_voxels.Kind.LINEAR:
            yield fidelity_scale.explain(relation, results.pieces[one.piece or 0].planned, output, results.scales)
        elif relation.kind in _BY_RELATION:
            kind, right, why = _BY_RELATION[relation.kind]
            yield Verdict((kind,), right, why)
        elif relation.kind in (fidelity_voxels.Kind.CODES, fidelity_voxels.Kind.WRAPPED):
            yield _codes(relation, results.ours.formats.get(results.pieces[one.piece or 0].planned.slices[0].object))
        if relation.turned:
            why = "they turn 3-D acquisitions to the nearest patient axes; we keep the acquired ones: same places"
            yield Verdict((Kind.TURNED,), Right.BOTH, why)


def _codes(relation: Relation, form: PixelFormat | None) -> Verdict:
    """Stored values that differ: by the rounding of a lossy decoder, or by their sign."""
    if form is not None and relation.kind is fidelity_voxels.Kind.WRAPPED and form.PixelRepresentation == 1:
        return Verdict((Kind.SIGN,), Right.OURS, "they lose the sign that PixelRepresentation states")
    if form is not None and relation.kind is fidelity_voxels.Kind.CODES and is_encapsulated(form):
        why = (
            f"{syntax_name(form.TransferSyntaxUID)}: {relation.share:.1%} of the voxels are decoded a code or two apart"
        )
        return Verdict((Kind.DECODED,), Right.BOTH, why)
    return unexplained(f"stored values: {relation.share:.2%} of the voxels differ")


def _places(pairs: Sequence[Pair], pieces: Sequence[Piece]) -> Iterator[Verdict]:
    """Whether each image lies where theirs does."""
    for one in pairs:
        piece = pieces[one.piece or 0]
        if not piece.in_patient:
            if piece.planned.geometry.spacing_source != "none" and one.distance_mm > AFFINE_TOLERANCE_MM:
                yield _pixel_size(piece, one.distance_mm)
            why = "no position or orientation: only the pixel size is compared, their matrix is made up"
            yield Verdict((Kind.NO_PLACE,), Right.OURS, why)
        elif one.distance_mm > AFFINE_TOLERANCE_MM:
            first = pairs[0].piece is not None and pairs[0].distance_mm <= AFFINE_TOLERANCE_MM
            if not (first and one.repetition > 0):
                yield unexplained(f"matrix: {one.distance_mm:.4g} mm apart, the voxels agree")
                continue
            why = "their 4-D image gives all its images the place of the first; ours are apart, each at its own"
            yield Verdict((Kind.STACKED,), Right.OURS, why)


def _pixel_size(piece: Piece, apart: float) -> Verdict:
    source = piece.planned.geometry.spacing_source
    if source == "PixelSpacing":
        return unexplained(f"pixel size: {apart:.4g} mm apart")
    return Verdict((Kind.NO_PLACE,), Right.OURS, f"the pixel size is in {source}, which they do not take")


def _order(output: Output, pairs: Sequence[Pair], pieces: Sequence[Piece]) -> Iterator[Verdict]:
    """Whether the repetitions come in our order, and make one image on both sides."""
    order = [p.piece for p in pairs if p.piece is not None]
    if len(set(order)) < len(order):
        yield Verdict((Kind.REPEATED,), Right.OURS, "they hold an image twice that we keep once")
    elif order != sorted(order):
        yield Verdict((Kind.REORDERED,), Right.BOTH, "the same images in another order")
    volumes = {pieces[n].volume for n in order}
    if len(volumes) > 1:
        keys = sorted({key for n in order for key in pieces[n].planned.split_by})
        yield Verdict((Kind.SPLIT,), Right.BOTH, f"theirs joins {len(volumes)} volumes of ours ({', '.join(keys)})")
    elif len(set(order)) < sum(p.volume in volumes for p in pieces):
        yield Verdict((Kind.SPLIT,), Right.BOTH, "ours is 4-D and holds this image among others")
    if output.count == 1 and len(order) > 1:
        yield Verdict((Kind.SPLIT,), Right.OURS, "single images, stacked there along a third axis that has no distance")


def _other_images(volumes: Sequence[Voxels], pairs: Sequence[Pair], results: Results) -> tuple[Verdict, set[int]]:
    """Some image of theirs is none of ours: the same slices otherwise arranged, slices that we refused, another
    decoding, or no rule.
    """
    theirs = Counter(fidelity_match.digest(v.stored[:, :, k]) for v in volumes for k in range(v.shape[2]))
    shared = theirs & results.slices
    holders = {n for n, p in enumerate(results.pieces) if shared & fidelity_match.slice_digests(p)}
    left = theirs - shared
    if not left:
        count = len({results.pieces[n].volume for n in holders})
        why = f"the same slices, which we keep in {count} volumes"
        return Verdict((Kind.SPLIT,), Right.BOTH, why), holders
    if set(left) <= set(results.slices):
        return Verdict(
            (Kind.REPEATED,), Right.OURS, f"they hold {left.total()} slices twice that we keep once"
        ), holders
    refused = {results.refused_slices[found] for found in left if found in results.refused_slices}
    if refused and all(found in results.refused_slices or found in results.slices for found in left):
        why = f"{left.total()} of {theirs.total()} slices are of files that we refused"
        kind = Kind.PARTLY_REFUSED if shared else _state_of(refused)
        return Verdict((kind,), Right.OURS if shared else Right.OPEN, why, tuple(sorted(refused))), holders
    mosaics = [o for o in results.ours.outcomes if o.reason is Reason.MOSAIC]
    if mosaics and not shared and len(volumes) == len(mosaics):
        why = f"{len(mosaics)} mosaics whose tiles we cannot place: one image of theirs for each"
        return Verdict((Kind.REFUSED,), Right.OPEN, why, (Reason.MOSAIC,)), holders
    missing = [v for v, p in zip(volumes, pairs, strict=True) if p.piece is None]
    if all(v.stored.min() == v.stored.max() for v in missing):
        why = f"{len(missing)} of {len(volumes)} images hold one value throughout"
        return Verdict((Kind.EMPTY,), Right.OURS, why), {p.piece for p in pairs if p.piece is not None}
    return _no_rule(missing[0], results)


def _state_of(reasons: Iterable[Reason]) -> Kind:
    return Kind.EXCLUDED if all(r.state is State.EXCLUDED for r in reasons) else Kind.REFUSED


def _no_rule(theirs: Voxels, results: Results) -> tuple[Verdict, set[int]]:
    found = fidelity_match.nearest(theirs, results.pieces)
    if found is None:
        shapes = sorted({p.voxels.shape for p in results.pieces})
        return unexplained(f"shape: theirs {theirs.shape}, ours {', '.join(map(str, shapes))}"), set()
    piece, relation, apart = found
    decoded = _decoded(piece, theirs, results) if apart <= AFFINE_TOLERANCE_MM else None
    if decoded is not None:
        return decoded, {results.pieces.index(piece)}
    fact = f"{relation.share:.2%} of the voxels, by {relation.largest:.3g} relatively; matrix {apart:.4g} mm apart"
    return unexplained(f"values: {fact}"), set()


def _decoded(piece: Piece, theirs: Voxels, results: Results) -> Verdict | None:
    """A compressed image on one grid that two decoders read differently: the far smoother one is right."""
    form = results.ours.formats.get(piece.planned.slices[0].object)
    if form is None or not is_encapsulated(form):
        return None
    mine, other = (fidelity_voxels.roughness(v.stored[:, :, 0]) for v in (piece.voxels, theirs))
    other *= abs(theirs.slope)
    if max(mine, other) < SMOOTHER * min(mine, other):
        return None
    right = Right.THEIRS if other < mine else Right.OURS
    ratio = max(mine, other) / max(min(mine, other), 1e-9)
    name = syntax_name(form.TransferSyntaxUID)
    return Verdict((Kind.DECODED,), right, f"{name}: neighbouring voxels of the other differ {ratio:.0f} times as much")


def _left_over(results: Results, held: Set[int], all_explained: bool) -> Iterator[Verdict]:
    """Our volumes that no output holds."""
    pieces = results.pieces
    volumes = {p.volume for p in pieces} - {pieces[n].volume for n in held}
    if not volumes:
        return
    if not results.theirs.outputs:
        why = f"dcm2niix writes nothing of these files (exit code {results.theirs.code})"
        yield Verdict((Kind.OURS_ONLY,), Right.OURS, f"{len(volumes)} volumes: {why}")
        return
    known = {found for n in held for found in fidelity_match.slice_digests(pieces[n])}
    if all(found in known for p in pieces if p.volume in volumes for found in fidelity_match.slice_digests(p)):
        why = (
            f"{len(volumes)} volumes of ours have the voxels of another, under another SOP Instance UID; they keep one"
        )
        yield Verdict((Kind.REPEATED,), Right.OPEN, why)
    elif all_explained:
        yield unexplained(f"no output holds {len(volumes)} of our volumes")
