"""Separation: which key is applied, and when."""

from __future__ import annotations

from oncurate import split
from oncurate.records import Instance
from oncurate.split import Part, Unit
from tests.unit import made

ZS = [0.0, 2.0, 4.0]


def part(instances: list[Instance]) -> Part:
    return Part(tuple(Unit(i, f) for i in instances for f in i.frames), ())


def hard(instances: list[Instance]) -> list[tuple[int, tuple[str, ...]]]:
    units = [Unit(i, f) for i in instances for f in i.frames]
    return [(len(p.units), p.split_by) for p in split.by_hard_keys(units)]


def found(parts: list[Part] | None) -> list[tuple[int, tuple[str, ...]]] | None:
    return None if parts is None else [(len(p.units), p.split_by) for p in parts]


def test_every_hard_key_separates() -> None:
    for key in split.HARD_KEYS:
        two = made.stack(ZS, keys={key: 1}) + made.stack(ZS, first=10, keys={key: 2})
        assert hard(two) == [(3, (key,)), (3, (key,))], key


def test_orientation_separates_beyond_its_tolerance() -> None:
    near = (1.0, 0.0, 0.0, 0.0, 0.99999, 0.004)
    far = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    assert hard(made.stack(ZS) + made.stack(ZS, first=10, orientation=near)) == [(6, ())]
    assert hard(made.stack(ZS) + made.stack(ZS, first=10, orientation=far)) == [
        (3, ("orientation",)),
        (3, ("orientation",)),
    ]


def test_frame_of_reference_and_class_separate() -> None:
    assert hard(made.stack(ZS) + made.stack(ZS, first=10, FrameOfReferenceUID="2.25.9"))[0][1] == (
        "frame_of_reference",
    )
    assert hard(made.stack(ZS) + made.mr_stack(ZS, first=10))[0][1] == ("sop_class",)


def test_size_separates_with_a_tolerance_for_rounding() -> None:
    rounded = part(made.stack(ZS, spacing=(0.703125, 0.703125)) + made.stack(ZS, first=9, spacing=(0.7031, 0.7031)))
    assert found(split.by_size(rounded)) == [(6, ())]
    other = part(made.stack(ZS) + made.stack(ZS, first=9, format=made.pixel_format(Rows=17)))
    assert found(split.by_size(other)) == [(3, ("matrix",)), (3, ("matrix",))]


def test_a_soft_key_separates_repeated_positions() -> None:
    times = [i for t in (1, 2) for i in made.stack(ZS, first=10 * t, keys={"temporal_position": t})]
    assert found(split.by_soft_keys(part(times))) == [(3, ("temporal_position",))] * 2


def test_soft_keys_are_combined_where_one_alone_is_not_enough() -> None:
    four = [
        i
        for n, (t, a) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)])
        for i in made.stack(ZS, first=10 * n + 1, keys={"temporal_position": t, "acquisition_number": a})
    ]
    both = ("temporal_position", "acquisition_number")
    assert found(split.by_soft_keys(part(four))) == [(3, both)] * 4


def test_two_slices_are_no_evidence_of_regularity() -> None:
    zs = [0.0, 2.0, 9.0, 11.0]
    pairs = [made.instance(n, position=(0.0, 0.0, z), keys={"acquisition_number": n // 2}) for n, z in enumerate(zs)]
    assert split.by_soft_keys(part(pairs)) is None
    slabs = made.stack(ZS, keys={"acquisition_number": 1})
    slabs += made.stack([9.0, 11.0, 13.0], first=9, keys={"acquisition_number": 2})
    assert found(split.by_soft_keys(part(slabs))) == [(3, ("acquisition_number",))] * 2


def test_files_of_many_frames_are_separated_by_file() -> None:
    def many(number: int) -> Instance:
        return made.instance(
            number, frames=tuple(made.frame(k, number, position=(0.0, 0.0, z)) for k, z in enumerate(ZS))
        )

    assert found(split.by_soft_keys(part([many(1), many(2)]))) == [(3, ("instance",))] * 2


def test_rank_is_for_mr_and_pt_and_complete_repetitions() -> None:
    twice = made.mr_stack(ZS) + made.mr_stack(ZS, first=10)
    assert found(split.by_rank(part(twice))) == [(3, ("repetition",))] * 2
    assert split.by_rank(part(twice[:-1])) is None
    assert split.by_rank(part(made.stack(ZS) + made.stack(ZS, first=10))) is None


def test_an_incomplete_repetition_does_not_take_the_others_with_it() -> None:
    times = [i for t in (1, 2, 3) for i in made.mr_stack(ZS, first=10 * t, keys={"temporal_position": t})][:-1]
    assert found(split.by_repetition(part(times))) == [
        (3, ("temporal_position",)),
        (3, ("temporal_position",)),
        (2, ("temporal_position",)),
    ]


def test_repeats_are_the_units_that_share_a_position() -> None:
    groups = split.repeats(part(made.stack([0.0, 2.0, 2.0, 4.0])))
    assert [[u.frame.number for u in g] for g in groups] == [[2, 3]]


def test_interleaved_thicknesses_always_separate_and_stretches_do_not() -> None:
    thin = made.stack(ZS, keys={"thickness": 1.0})
    between = made.stack([z + 1 for z in ZS], first=10, keys={"thickness": 5.0})
    beyond = made.stack([z + 6 for z in ZS], first=10, keys={"thickness": 5.0})
    assert hard(thin + between) == [(3, ("thickness",))] * 2
    assert hard(thin + beyond) == [(6, ())]


def test_stretches_of_two_spacings_separate_where_each_is_regular() -> None:
    thin = made.stack([0.0, 2.0, 4.0, 6.0], keys={"thickness": 2.0})
    thick = made.stack([10.0, 16.0, 22.0, 28.0], first=10, keys={"thickness": 6.0})
    assert found(split.by_soft_keys(part(thin + thick))) == [(4, ("thickness",))] * 2
