"""Sharing out voxels that several labels have a part of, such that each label gets the number that it asks for.

Belongs here: entries (label, voxel, share), handicaps, who wins. Does not belong here: where shares come from
(`oncurate.labels`).

In a voxel the label with the largest share plus handicap wins, if that is more than the background's share, which is
what the labels leave of 1. The handicap that wins a label k voxels lies between its k-th and next largest margin over
the others. Labels that miss their number take turns to move theirs so, until none does: like bidders at an auction.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 300
"""Times that handicaps are adjusted at most; what is still missing then shows in the labels' volumes."""

TIE = 0.03
"""Share that a label's nearest entry gains over its farthest: less than a boundary moves by in a thirtieth of a voxel.
On even grids whole faces have one share; this tells their voxels apart, and handicaps settle in few rounds."""

NO_BACKGROUND = 0.01
"""A share of the background below it is none, and some label wins: the tails of shares that were left out add up."""

TURN = 0.5
"""Chance that a label with contenders moves in a round: were all to move, each would undo what its neighbour did."""


class Contest:
    """Takes entries and demands label by label (numbered from 0, in order), then decides."""

    def __init__(self, labels: int) -> None:
        self.wanted = np.zeros(labels, np.int64)
        self.slack = np.zeros(labels, np.int64)
        self._label: list[np.ndarray] = []
        self._voxel: list[np.ndarray] = []
        self._share: list[np.ndarray] = []
        self._distance: list[np.ndarray] = []

    def enter(self, label: int, voxel: np.ndarray, share: np.ndarray, distance: np.ndarray) -> None:
        """Add a label's shares (above 0, below 1) of some voxels; of equal shares the lesser `distance` goes first."""
        self._label.append(np.full(voxel.shape, label, np.int32))
        self._voxel.append(voxel)
        self._share.append(share)
        self._distance.append(distance)

    def ask(self, label: int, voxels: int, *, slack: int) -> None:
        """How many of its entries a label should win, and by how many it may miss that without another round."""
        self.wanted[label], self.slack[label] = voxels, slack

    def decide(self) -> tuple[np.ndarray, np.ndarray]:
        """Voxels and the label that wins each; the same entries give the same winners. To be called once."""
        if not sum(map(len, self._voxel)):
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        label, voxel = np.concatenate(self._label), np.concatenate(self._voxel)
        share = np.concatenate(self._share).astype(np.float64)
        distance = np.concatenate(self._distance)
        self._label = self._voxel = self._share = self._distance = []
        ends = np.searchsorted(label, np.arange(len(self.wanted) + 1))
        field = _Field(label, voxel, share, _nearness(distance, ends), ends)
        won = field.settle(self.wanted, self.slack)
        return field.voxel[won], field.label[won]


def _nearness(distance: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """1 for the nearest possible entry of each label, 0 for its farthest; an earlier one is a trace nearer."""
    counts = np.diff(ends)[np.diff(ends) > 0]
    starts = np.repeat(ends[:-1][np.diff(ends) > 0], counts)
    farthest = np.repeat(np.maximum.reduceat(distance, np.unique(starts)), counts).astype(np.float64)
    place = (np.arange(len(distance)) - starts) / np.repeat(counts, counts)
    return 1 - distance / np.maximum(farthest, 1e-9) - 1e-4 * place


class _Field:
    """The entries, sorted by voxel: those of one voxel are neighbours."""

    def __init__(
        self, label: np.ndarray, voxel: np.ndarray, share: np.ndarray, nearness: np.ndarray, ends: np.ndarray
    ) -> None:
        order = np.argsort(voxel, kind="stable")
        self.ends = ends
        self.by_label = np.empty_like(order)  # where each entry, label by label, lies now
        self.by_label[order] = np.arange(len(order))
        self.label, self.voxel = label[order], voxel[order]
        share = share[order]
        self.first = np.flatnonzero(np.r_[True, self.voxel[1:] != self.voxel[:-1]])
        self.sizes = np.diff(np.r_[self.first, len(order)])
        self.group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        self.background = 1 - np.add.reduceat(share, self.first)
        self.background[self.background < NO_BACKGROUND] = -np.inf
        self.share = share + TIE * nearness[order]
        self.contended = np.zeros(len(ends) - 1, bool)
        self.contended[self.label[(self.sizes > 1)[self.group]]] = True

    def settle(self, wanted: np.ndarray, slack: np.ndarray) -> np.ndarray:
        """Which entries win, of the round in which the labels missed the least beyond their slack."""
        wanted = np.minimum(wanted, np.diff(self.ends))
        handicap = np.zeros(len(wanted))
        dice = np.random.default_rng(0)
        margin = self._margin(handicap, np.arange(len(self.sizes)))[1]
        counts = np.bincount(self.label[margin > 0], minlength=len(wanted))
        best, least = margin > 0, np.inf
        for _ in range(ROUNDS):
            missed = np.abs(wanted - counts)
            beyond = missed > slack
            total = float((missed / (slack + 1))[beyond].sum())
            if total < least:
                best, least = margin > 0, total
            if not beyond.any():
                break
            movers = np.flatnonzero(beyond & (~self.contended | (dice.random(len(wanted)) < TURN)))
            touched = np.zeros(len(self.sizes), bool)
            for label in movers:
                own = self.by_label[self.ends[label] : self.ends[label + 1]]
                handicap[label] -= _threshold(margin[own], int(wanted[label]))
                touched[self.group[own]] = True
            entries, changed = self._margin(handicap, np.flatnonzero(touched))
            labels = self.label[entries]
            counts -= np.bincount(labels[margin[entries] > 0], minlength=len(wanted))
            counts += np.bincount(labels[changed > 0], minlength=len(wanted))
            margin[entries] = changed
        return best

    def _margin(self, handicap: np.ndarray, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The entries of some voxels (numbered by `group`), and the score of each less the best of all others there."""
        sizes, background = self.sizes[voxels], self.background[voxels]
        first = np.cumsum(sizes) - sizes
        group = np.repeat(np.arange(len(voxels)), sizes)
        entries = np.arange(len(group)) + (self.first[voxels] - first)[group]
        score = self.share[entries] + handicap[self.label[entries]]
        if not len(voxels):
            return entries, score
        top = np.maximum.reduceat(score, first)
        leaders = np.flatnonzero(score == top[group])
        leaders = leaders[np.r_[True, group[leaders][1:] != group[leaders][:-1]]]
        other = np.maximum(top, background)[group]
        rest = score.copy()
        rest[leaders] = -np.inf
        other[leaders] = np.maximum(np.maximum.reduceat(rest, first), background)
        return entries, score - other


def _threshold(margin: np.ndarray, wanted: int) -> float:
    """A value that `wanted` of the margins exceed."""
    count = len(margin)
    if wanted == 0:
        return float(margin.max()) + TIE
    if wanted == count:
        return float(margin.min()) - TIE
    upper = np.partition(margin, (count - wanted - 1, count - wanted))
    return float(upper[count - wanted - 1] + upper[count - wanted]) / 2
