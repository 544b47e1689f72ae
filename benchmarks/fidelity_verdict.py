"""What a comparison says: kinds, who is right, and why.

Belongs here: the closed list of kinds and the record of one verdict. Does not belong here: reaching it
(`benchmarks.fidelity_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from oncurate.reasons import Reason


class Kind(StrEnum):
    """How one output of dcm2niix relates to our volumes. Several may hold at once."""

    IDENTICAL = "identical"
    ROUNDING = "float rounding"
    TURNED = "turned to patient axes"
    REORDERED = "reordered"
    SPLIT = "split differently"
    SCALE = "other scale"
    INVERTED = "inverted"
    COLOUR = "colour"
    SIGN = "other sign"
    DECODED = "decoded differently"
    EMPTY = "empty there"
    GRID = "same grid"
    NO_PLACE = "no place in the patient"
    STACKED = "stacked over places"
    CORRECTED = "grid corrected"
    SECOND = "second output"
    PARTLY_REFUSED = "partly refused"
    REFUSED = "quarantined"
    EXCLUDED = "excluded"
    REPEATED = "duplicates kept"
    OURS_ONLY = "ours only"
    NO_DIFFUSION = "no diffusion table"
    UNEXPLAINED = "unexplained"


class Right(StrEnum):
    """Whose result is the right one."""

    BOTH = "both"
    OURS = "ours"
    THEIRS = "theirs"
    OPEN = "-"


@dataclass(frozen=True)
class Verdict:
    """`kinds` in the order of `Kind`; `reasons` are ours for refusing files that dcm2niix made the output of."""

    kinds: tuple[Kind, ...]
    right: Right
    why: str
    reasons: tuple[Reason, ...] = ()

    @property
    def is_explained(self) -> bool:
        """Whether a rule says where the difference comes from."""
        return Kind.UNEXPLAINED not in self.kinds

    @property
    def is_identical(self) -> bool:
        """Every voxel and the matrix are the same, and nothing else differs."""
        return self.kinds == (Kind.IDENTICAL,)

    @property
    def is_same_image(self) -> bool:
        """Both converted it: no voxel of the output is missing on our side."""
        return not set(self.kinds) & _WITHOUT_OURS

    @property
    def label(self) -> str:
        """For tables and totals: the kinds, and why we refused."""
        return " + ".join([*self.kinds, *(r.value for r in self.reasons)])


_WITHOUT_OURS = frozenset({Kind.SECOND, Kind.REFUSED, Kind.EXCLUDED, Kind.OURS_ONLY, Kind.UNEXPLAINED})


def unexplained(fact: str) -> Verdict:
    """No rule holds; `fact` is the first thing that differs."""
    return Verdict((Kind.UNEXPLAINED,), Right.OPEN, fact)
