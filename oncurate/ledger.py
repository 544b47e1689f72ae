"""The ledger: what became of every file that the provider's archive holds, one row each.

Belongs here: folding the stages' outcomes into rows, summing rows, and the law that nothing is lost and nothing counted
twice. Does not belong here: deciding an outcome, or storing the table.

Rows name source paths and identified UIDs: they stay in the work zone. `Sums` names nothing and may leave it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, overload

from oncurate.errors import Defect
from oncurate.reasons import Reason, State
from oncurate.records import Outcome, Record, SourceObject

Row = dict[str, Any]


class Identity(NamedTuple):
    """The source's own UIDs of one file."""

    SOPInstanceUID: str
    SeriesInstanceUID: str


class Place(NamedTuple):
    """Where a file went: the cohort's series, and what was made of it and curated (None where nothing was)."""

    cohort_series_uid: str | None
    volume_id: str | None = None
    annotation_id: str | None = None
    dicom_path: str | None = None

    @property
    def is_curated(self) -> bool:
        """Whether anything of it is released."""
        return any(self[1:])


_NOWHERE = Place(None)


class Sums(Record):
    """Files by state (all four states are present) and by reason (only those that occur)."""

    files: int
    by_state: dict[State, int]
    by_reason: dict[Reason, int]


PLACES = ("volume_id", "annotation_id", "dicom_path")
"""Columns of the ledger that say what a file became; a curated file has at least one of them, any other none."""


class _Decision(NamedTuple):
    state: State
    reason: Reason
    detail: str
    stage: str


def build(
    objects: Sequence[SourceObject],
    identities: Mapping[str, Identity],
    outcomes: Iterable[Outcome],
    places: Mapping[str, Place],
) -> Ledger:
    """One row of table `ledger` for each object, ordered by source path.

    `outcomes` are about files (`Outcome.key` is a source path) and come in the order of the stages; the first that
    takes a file out decides, and what pull itself refused counts as before all of them. All mappings are keyed by
    source path. A `Defect` is raised if a file has no end, two ends, or was never found; messages hold counts only.
    """
    decisions = _decide(objects, outcomes)
    rows = Ledger(sorted(objects, key=lambda o: o.source_path), identities, decisions, places)
    assert_conserved(objects, rows)
    unknown = (decisions.keys() | places.keys()) - {found.source_path for found in objects}
    if unknown:
        raise Defect(f"{len(unknown)} files have an outcome or a place but were never found in the source")
    return rows


class Ledger(Sequence[Row]):
    """The rows, each made when it is asked for: those of millions of files would not fit into memory together."""

    def __init__(
        self,
        objects: Sequence[SourceObject],
        identities: Mapping[str, Identity],
        decisions: Mapping[str, _Decision],
        places: Mapping[str, Place],
    ) -> None:
        self._objects = objects
        self._row = partial(_row, identities=identities, decisions=decisions, places=places)

    def __len__(self) -> int:
        return len(self._objects)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(found) for found in self._objects[index]]
        return self._row(self._objects[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._objects)


def _decide(objects: Sequence[SourceObject], outcomes: Iterable[Outcome]) -> dict[str, _Decision]:
    decisions = {o.source_path: _Decision(o.reason.state, o.reason, "", "pull") for o in objects if o.reason}
    contradicted = set()
    for outcome in outcomes:
        if outcome.state is State.CURATED:
            continue
        if outcome.reason is None or outcome.reason.state is not outcome.state:
            raise Defect(f"an outcome of stage {outcome.stage} has no reason, or one that leads to another state")
        decision = _Decision(outcome.state, outcome.reason, outcome.detail, outcome.stage)
        first = decisions.setdefault(outcome.key, decision)
        if first.state is not decision.state:
            contradicted.add(outcome.key)
    if contradicted:
        raise Defect(f"{len(contradicted)} files have two different ends")
    return decisions


def _row(
    found: SourceObject,
    identities: Mapping[str, Identity],
    decisions: Mapping[str, _Decision],
    places: Mapping[str, Place],
) -> Row:
    path = found.source_path
    identity = identities.get(path)
    decision = decisions.get(path)
    place = places.get(path)
    return {
        "source_path": path,
        "bytes": found.bytes,
        "SOPInstanceUID": identity and identity[0],
        "SeriesInstanceUID": identity and identity[1],
        "state": decision.state.value if decision else State.CURATED.value,
        "reason": decision.reason.value if decision else None,
        "detail": decision.detail if decision else "",
        "stage": decision.stage if decision else "publish",
        **(place or _NOWHERE)._asdict(),
    }


def assert_conserved(objects: Sequence[SourceObject], rows: Sequence[Row]) -> None:
    """Raise a `Defect` unless `rows` hold each object exactly once, in one state that its other columns bear out."""
    found = {o.source_path for o in objects}
    told = {row["source_path"] for row in rows}
    if len(found) != len(objects):
        raise Defect(f"{len(objects) - len(found)} source paths were found more than once")
    if len(told) != len(rows):
        raise Defect(f"{len(rows) - len(told)} files have more than one row in the ledger")
    if found != told:
        missing, extra = len(found - told), len(told - found)
        raise Defect(f"the ledger lacks {missing} files that were found and has {extra} that were not")
    lost = both = unexplained = 0
    for row in rows:
        curated = row["state"] == State.CURATED
        is_released = any(row[name] is not None for name in PLACES)
        lost += curated and not is_released
        both += not curated and is_released
        unexplained += (row["reason"] is not None) if curated else Reason(row["reason"]).state != row["state"]
    if lost:
        raise Defect(f"{lost} files were lost: they have neither an outcome nor anything that was made of them")
    if both:
        raise Defect(f"{both} files are part of what is curated although a stage took them out")
    if unexplained:
        raise Defect(f"{unexplained} files are in a state that their reason does not lead to")


def counts(rows: Iterable[Row]) -> Sums:
    """How many files ended in each state and for each reason, in the order in which states and reasons are declared."""
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in rows:
        states[row["state"]] += 1
        if row["reason"] is not None:
            reasons[row["reason"]] += 1
    return Sums(
        files=states.total(),
        by_state={state: states[state] for state in State},
        by_reason={reason: reasons[reason] for reason in Reason if reasons[reason]},
    )
