"""Sharing out voxels: each label gets what it asks for, the background loses where it has no share."""

import numpy as np
import pytest

from oncurate.contest import Contest


def decided(labels: int, entries: list[tuple[int, list[int], list[float]]], wanted: list[int]) -> dict[int, int]:
    """Voxel -> winner, for (label, voxels, shares) and what each label wants; earlier entries lie nearer."""
    contest = Contest(labels)
    for label, voxels, shares in entries:
        distance = np.arange(len(voxels), dtype=np.float32)
        contest.enter(label, np.array(voxels, np.int64), np.array(shares, np.float32), distance)
    for label, number in enumerate(wanted):
        contest.ask(label, number, slack=0)
    voxels, winners = contest.decide()
    assert len(set(voxels.tolist())) == len(voxels)
    return dict(zip(voxels.tolist(), winners.tolist(), strict=True))


@pytest.mark.parametrize("wanted", range(6))
def test_a_label_alone_gets_its_largest_shares(wanted):
    won = decided(1, [(0, [9, 8, 7, 6, 5], [0.1, 0.9, 0.3, 0.7, 0.5])], [wanted])
    assert set(won) == set([8, 6, 5, 7, 9][:wanted])


def test_of_equal_shares_the_nearest_are_won():
    assert set(decided(1, [(0, [4, 3, 2, 1, 0], [0.4] * 5)], [2])) == {4, 3}


def test_more_than_there_is_gives_all_there_is():
    assert set(decided(1, [(0, [1, 2], [0.2, 0.1])], [9])) == {1, 2}


def test_between_two_labels_the_larger_share_wins_where_both_can_be_served():
    entries = [(0, [0, 1, 2, 3], [0.9, 0.6, 0.4, 0.1]), (1, [0, 1, 2, 3], [0.1, 0.4, 0.6, 0.9])]
    assert decided(2, entries, [2, 2]) == {0: 0, 1: 0, 2: 1, 3: 1}
    assert decided(2, entries, [3, 1]) == {0: 0, 1: 0, 2: 0, 3: 1}


def test_where_the_background_has_no_share_no_voxel_is_left_empty():
    seam = [(0, [0, 1, 2, 3], [0.5] * 4), (1, [3, 2, 1, 0], [0.5] * 4)]
    outside = [(0, [10, 11, 12], [0.6, 0.5, 0.4]), (1, [20, 21, 22], [0.6, 0.5, 0.4])]
    contest = [(label, a + b, x + y) for (label, a, x), (_, b, y) in zip(seam, outside, strict=True)]
    won = decided(2, contest, [3, 3])
    assert {0, 1, 2, 3} <= set(won)
    assert sorted(won.values()) == [0, 0, 0, 1, 1, 1]


def test_a_weak_label_gets_its_voxel_from_the_background():
    assert decided(2, [(0, [0, 1], [0.9, 0.8]), (1, [5], [0.01])], [2, 1]) == {0: 0, 1: 0, 5: 1}


def test_a_chain_of_labels_passes_a_surplus_on_to_the_background():
    entries = []
    for label in range(5):  # each shares three voxels with the next; the last has a face to the background
        voxels = [v for v in range(label * 3 - 3, label * 3 + 3) if v >= 0]
        entries.append(
            (label, voxels, [0.5 + 0.01 * (v % 3) if v < label * 3 else 0.49 - 0.01 * (v % 3) for v in voxels])
        )
    won = decided(5, entries, [3, 3, 3, 3, 1])
    assert np.bincount(list(won.values()), minlength=5).tolist() == [3, 3, 3, 3, 1]


def test_no_entries_no_winners():
    assert decided(3, [], [0, 0, 0]) == {}
