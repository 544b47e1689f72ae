"""The rules of the fidelity table on made results: what they explain, and that nothing else passes as explained.

Belongs here: our volumes of phantoms against outputs made from them, with one difference each. Does not belong here:
real files (`tests.golden.test_dcm2niix`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fidelity, fidelity_match, fidelity_references, fidelity_rules, fidelity_series, fidelity_voxels
from benchmarks.fidelity_rules import Results
from benchmarks.fidelity_series import Curated
from benchmarks.fidelity_verdict import Kind, Right, Verdict
from benchmarks.fidelity_voxels import Voxels
from benchmarks.oracle import Conversion, Output
from oncurate.reasons import Reason
from oncurate.records import Outcome, Repetition
from tests import phantoms

NOTHING_REFUSED: list = []


@pytest.fixture
def ct(tmp_path: Path) -> list[Path]:
    """A regular CT of 8 slices, 2 mm apart."""
    return phantoms.ct_series(tmp_path)


@pytest.fixture
def repeated(tmp_path: Path) -> list[Path]:
    """An MR of 8 slices, three times."""
    return phantoms.mr_series(tmp_path, times=3)


def theirs_of(ours: Curated, **changes: object) -> Output:
    """An output that is our first volume, but for `changes`."""
    _, image = ours.volumes[0]
    made = Output("", image.array.copy(), 1.0, 0.0, image.affine.copy(), image.is_colour)
    return replace(made, **changes)


def verdict_of(files: list[Path], *outputs: Output, ours: Curated | None = None, code: int = 0) -> Verdict:
    """The one verdict on a series whose files dcm2niix turned into `outputs`."""
    ours = ours or fidelity_series.curate(files)
    [verdict] = fidelity_rules.judge(Results(tuple(files), ours, Conversion(outputs, code)))
    return verdict


def test_the_same_image_is_identical(ct: list[Path]) -> None:
    assert verdict_of(ct, theirs_of(fidelity_series.curate(ct))).is_identical


def test_one_voxel_that_differs_is_unexplained(ct: list[Path]) -> None:
    output = theirs_of(fidelity_series.curate(ct))
    output.stored[3, 4, 5] += 7
    verdict = verdict_of(ct, output)
    assert not verdict.is_explained
    assert "0.07% of the voxels" in verdict.why  # 1 of 12 x 16 x 8


@pytest.mark.parametrize(("shift", "explained"), [(0.0009, True), (0.0011, False)])
def test_a_matrix_may_differ_by_single_precision_only(ct: list[Path], shift: float, explained: bool) -> None:
    output = theirs_of(fidelity_series.curate(ct))
    output.affine[2, 3] += shift
    assert verdict_of(ct, output).is_explained == explained


def test_turned_axes_are_the_same_places(tmp_path: Path) -> None:
    files = phantoms.ct_series(tmp_path, orientation=(0, 1, 0, 0, 0, -1))
    ours = fidelity_series.curate(files)
    _, image = ours.volumes[0]
    turned = Voxels(image.array, image.affine).turned()
    verdict = verdict_of(files, Output("", turned.stored, 1.0, 0.0, turned.affine))
    assert verdict.kinds == (Kind.IDENTICAL, Kind.TURNED)


@pytest.mark.parametrize(("noise", "kinds"), [(1e-6, (Kind.ROUNDING,)), (1e-4, (Kind.UNEXPLAINED,))])
def test_float_values_agree_voxel_by_voxel(tmp_path: Path, noise: float, kinds: tuple[Kind, ...]) -> None:
    files = phantoms.pt_series(tmp_path, slope=2.5)
    output = theirs_of(fidelity_series.curate(files))
    values = output.stored.astype(np.float64)
    values[::2] *= 1 + noise
    assert verdict_of(files, replace(output, stored=values)).kinds == kinds


def test_stored_values_without_the_rescale_are_told_as_such(ct: list[Path]) -> None:
    output = theirs_of(fidelity_series.curate(ct))
    verdict = verdict_of(ct, replace(output, stored=output.stored + 1024))
    assert (verdict.kinds, verdict.right) == ((Kind.SCALE,), Right.OURS)
    assert "the stored values" in verdict.why


def test_a_scale_that_no_header_offers_is_unexplained(ct: list[Path]) -> None:
    assert not verdict_of(ct, theirs_of(fidelity_series.curate(ct), slope=3.0)).is_explained


def test_inverted_white_is_ours(ct: list[Path]) -> None:
    [(planned, image)] = fidelity_series.curate(ct).volumes
    ours = Curated([(planned.model_copy(update={"PhotometricInterpretation": "MONOCHROME1"}), image)], [])
    verdict = verdict_of(ct, theirs_of(ours, slope=-1.0), ours=ours)
    assert (verdict.kinds, verdict.right) == ((Kind.INVERTED,), Right.OURS)


def test_repetitions_in_another_order(repeated: list[Path]) -> None:
    output = theirs_of(fidelity_series.curate(repeated))
    assert output.count == 3
    verdict = verdict_of(repeated, replace(output, stored=output.stored[..., [2, 0, 1]]))
    assert verdict.kinds == (Kind.IDENTICAL, Kind.REORDERED)


def test_each_repetition_in_a_file_of_its_own(repeated: list[Path]) -> None:
    ours = fidelity_series.curate(repeated)
    whole = theirs_of(ours)
    outputs = tuple(replace(whole, stored=whole.stored[..., n]) for n in range(3))
    verdicts = fidelity_rules.judge(Results(tuple(repeated), ours, Conversion(outputs, 0)))
    assert [v.kinds for v in verdicts] == [(Kind.IDENTICAL, Kind.SPLIT)] * 3


def test_slices_put_together_otherwise(repeated: list[Path]) -> None:
    whole = theirs_of(fidelity_series.curate(repeated))
    stacked = np.concatenate([whole.stored[..., n] for n in range(3)], axis=2)
    assert verdict_of(repeated, replace(whole, stored=stacked)).kinds == (Kind.SPLIT,)


def test_single_images_stacked(tmp_path: Path) -> None:
    files = phantoms.mr_series(tmp_path, times=3, slices=1)
    whole = theirs_of(fidelity_series.curate(files))
    stacked = np.moveaxis(whole.stored, 3, 2)[..., 0]
    assert verdict_of(files, replace(whole, stored=stacked)).kinds == (Kind.IDENTICAL, Kind.SPLIT)


def test_an_image_that_they_hold_twice(repeated: list[Path]) -> None:
    whole = theirs_of(fidelity_series.curate(repeated))
    verdict = verdict_of(repeated, replace(whole, stored=whole.stored[..., [0, 1, 2, 2]]))
    assert verdict.kinds == (Kind.IDENTICAL, Kind.REPEATED)


def test_an_image_of_one_value_is_empty_there(repeated: list[Path]) -> None:
    whole = theirs_of(fidelity_series.curate(repeated))
    whole.stored[..., 1] = 0
    assert verdict_of(repeated, whole).kinds == (Kind.EMPTY,)


def test_a_lost_sign(ct: list[Path]) -> None:
    ours = fidelity_series.curate(ct)
    _, image = ours.volumes[0]
    stored = image.array.astype(np.int64)
    output = theirs_of(ours, stored=np.where(stored < 0, stored + 2**13, stored))
    assert (stored < 0).any()
    assert verdict_of(ct, output).kinds == (Kind.SIGN,)
    assert not verdict_of(ct, replace(output, stored=np.where(stored < 0, stored + 2**13 + 1, stored))).is_explained


def test_what_no_output_holds(ct: list[Path], tmp_path: Path) -> None:
    assert verdict_of(ct, code=2).kinds == (Kind.OURS_ONLY,)
    both = ct + phantoms.ct_series(tmp_path / "other", orientation=(0, 1, 0, 0, 0, -1), seed=9, first_number=20)
    ours = fidelity_series.curate(both)
    first = theirs_of(ours)
    verdicts = fidelity_rules.judge(Results(tuple(both), ours, Conversion((first,), 0)))
    assert [v.is_explained for v in verdicts] == [True, False]


def test_two_equal_volumes_of_ours_of_which_they_keep_one(ct: list[Path]) -> None:
    ours = fidelity_series.curate(ct)
    twice = Curated(ours.volumes * 2, [])
    output = theirs_of(ours)
    verdicts = fidelity_rules.judge(Results(tuple(ct), twice, Conversion((output,), 0)))
    assert [v.kinds for v in verdicts] == [(Kind.IDENTICAL,), (Kind.REPEATED,)]
    both = fidelity_rules.judge(Results(tuple(ct), twice, Conversion((output, output), 0)))
    assert [v.kinds for v in both] == [(Kind.IDENTICAL,)] * 2


def _gapped(folder: Path, extent: float) -> list[Verdict]:
    files = phantoms.ct_series(folder, missing=[5])
    ours = fidelity_series.curate(files)
    assert ours.reasons == [Reason.MISSING_SLICES]
    plain = Output("", np.zeros((12, 16, 7), np.int16), 1.0, 0.0, np.diag([0.8, 0.8, 2.0, 1]))
    even = Output("_Eq_1", np.zeros((12, 16, 11), np.int16), 1.0, 0.0, np.diag([0.8, 0.8, extent / 10, 1]))
    return fidelity_rules.judge(Results(tuple(files), ours, Conversion((plain, even), 0)))


def test_missing_slices_agree_with_what_they_resample(tmp_path: Path) -> None:
    plain, even = _gapped(tmp_path / "right", 14.0)
    assert (plain.kinds, plain.right, plain.reasons) == ((Kind.REFUSED,), Right.OURS, (Reason.MISSING_SLICES,))
    assert "1 of 8 missing" in plain.why
    assert even.kinds == (Kind.SECOND,)
    assert not _gapped(tmp_path / "wrong", 15.2)[0].is_explained


def test_a_resampled_output_of_what_we_hold_to_be_regular_is_unexplained(ct: list[Path]) -> None:
    ours = fidelity_series.curate(ct)
    plain = theirs_of(ours)
    even = replace(plain, suffix="_Eq_1", stored=plain.stored[:, :, ::2] + 1)
    verdicts = fidelity_rules.judge(Results(tuple(ct), ours, Conversion((plain, even), 0)))
    assert [v.is_explained for v in verdicts] == [True, False]


@pytest.mark.parametrize(
    ("reason", "kind", "right"),
    [
        (Reason.LOCALIZER, Kind.EXCLUDED, Right.OURS),
        (Reason.SECONDARY_CAPTURE, Kind.EXCLUDED, Right.OURS),
        (Reason.UNSUPPORTED_SYNTAX, Kind.REFUSED, Right.OPEN),
        (Reason.TRUNCATED_PIXEL_DATA, Kind.REFUSED, Right.OPEN),
    ],
)
def test_a_refused_series_says_why(reason: Reason, kind: Kind, right: Right) -> None:
    ours = Curated([], [Outcome.refused("x", "index", reason)])
    output = Output("", np.zeros((4, 4, 2), np.int16), 1.0, 0.0, np.eye(4))
    verdict = verdict_of([], output, ours=ours)
    assert (verdict.kinds, verdict.right, verdict.reasons) == ((kind,), right, (reason,))


def test_a_series_that_ends_nowhere_is_unexplained() -> None:
    output = Output("", np.zeros((4, 4, 2), np.int16), 1.0, 0.0, np.eye(4))
    assert not verdict_of([], output, ours=Curated([], NOTHING_REFUSED)).is_explained


def _diffusion(files: list[Path], b_values: list[float], directions: np.ndarray) -> Verdict:
    ours = fidelity_series.curate(files)
    [(planned, image)] = ours.volumes
    tables = (
        Repetition(b_value=0.0),
        Repetition(b_value=1000.0, gradient=(1.0, 0.0, 0.0)),
        Repetition(b_value=1000.0, gradient=(0.0, 0.6, 0.8)),
    )
    ours = Curated([(planned.model_copy(update={"repetitions": tables}), image)], [])
    output = theirs_of(ours, b_values=np.array(b_values), directions=directions)
    return verdict_of(files, output, ours=ours)


def test_diffusion_tables(repeated: list[Path]) -> None:
    # The axial phantom's first axis runs to the left, as its row does; its second to the front, against its column.
    same = np.array([[0, 1, 0], [0, 0, -0.6], [0, 0, 0.8]])
    agreed = _diffusion(repeated, [0, 1000, 1000], same)
    assert agreed.is_identical
    assert "2 directions agree" in agreed.why
    assert "1 opposite" in _diffusion(repeated, [0, 1000, 1000], same * [1, -1, 1]).why
    assert not _diffusion(repeated, [0, 1000, 900], same).is_explained
    assert not _diffusion(repeated, [0, 1000, 1000], same * [1, 1, 0]).is_explained
    mirrored = same * np.array([[1], [-1], [1]])
    assert not _diffusion(repeated, [0, 1000, 1000], mirrored).is_explained


def test_colours_and_palettes() -> None:
    index = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    colours = np.stack([index * 3, index, 255 - index], axis=-1)
    eye = np.eye(4)
    ours = Voxels(colours, eye, is_colour=True)
    assert fidelity_voxels.relate(ours, Voxels(index, eye)).kind is fidelity_voxels.Kind.PALETTE
    assert not fidelity_voxels.relate(ours, Voxels(index // 2, eye)).is_same
    near, far = (Voxels(colours.astype(np.int16) + n, eye, is_colour=True) for n in (2, 20))
    assert fidelity_voxels.relate(ours, near).kind is fidelity_voxels.Kind.COLOUR_ROUNDING
    assert not fidelity_voxels.relate(ours, far).is_same


def test_a_slice_has_one_digest_however_it_lies() -> None:
    plane = phantoms.voxels(1, 5, 7)[0]
    assert fidelity_match.digest(plane) == fidelity_match.digest(plane[::-1].T)
    assert fidelity_match.digest(plane) != fidelity_match.digest(plane + 1)


def test_the_whole_table_of_a_made_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantoms.ct_series(tmp_path / "archive/Doe/1")
    phantoms.mr_series(tmp_path / "archive/Doe/2", times=2)
    figures = fidelity.run([tmp_path / "archive"])
    printed = capsys.readouterr().out
    assert (figures["series"], figures["outputs_identical"], figures["unexplained"]) == (2, 2, 0)
    fidelity.exit_if_unexplained(figures)
    identifying = ("Doe", "PHANTOM", "MADE", phantoms.uid("study", "PHANTOM-1"))
    assert [text for text in identifying if text in printed] == []
    with pytest.raises(SystemExit, match="1"):
        fidelity.exit_if_unexplained(figures | {"unexplained": 1})


def test_a_mask_lies_on_the_grid_of_its_image(ct: list[Path], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    [(_, image)] = fidelity_series.curate(ct).volumes
    mask = (image.array > 0).astype(np.uint8)
    moved = image.affine.copy()
    moved[0, 3] += 0.4
    for name, affine in (("a", image.affine), ("b", moved)):
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / f"{name}.nii.gz")
    found = list(fidelity_references.judge_folder(tmp_path))
    assert [one.verdict.kinds for one in found] == [(Kind.GRID,), (Kind.UNEXPLAINED,)]
