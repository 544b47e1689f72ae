"""The verdict over a run: thresholds, the table, and whether it passes.

Belongs here: what is enough, and how it is shown. Does not belong here: judging items (`score`), finding leaks
(`search`). Values of real headers are never shown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.phi.answers import SURVIVORS, Action, Key
from benchmarks.phi.score import NOT_LEFT, Score
from benchmarks.phi.search import Found
from benchmarks.show import print_table

ACTIONS_RIGHT = 0.9995
"""Share of actions that must be right: the best team of the MIDI-B challenge reached 99.93 %."""
SURVIVING = 0.98
"""Share of what must survive that does."""
LINES = 25
"""Lines of each list that are shown."""


@dataclass
class Verdict:
    """What came out of one run, and whether it is good enough."""

    name: str
    score: Score = field(repr=False)
    leaks: list[Found] = field(repr=False)
    refused: Counter[str]
    faults: list[str] = field(default_factory=list)

    @property
    def actions(self) -> tuple[int, int]:
        """Right and judged actions."""
        return sum(self.score.right.values()), sum(self.score.all.values())

    @property
    def survivors(self) -> tuple[int, int]:
        """Right and judged actions of what must survive."""
        return sum(self.score.right[a] for a in SURVIVORS), sum(self.score.all[a] for a in SURVIVORS)

    def failures(self) -> list[str]:
        """Why the run is not good enough; nothing if it is. A run that judged nothing is not."""
        found = list(self.faults)
        if self.leaks:
            found.append(f"{len(self.leaks)} leaks")
        for said, (right, judged), least in (
            ("actions", self.actions, ACTIONS_RIGHT),
            ("what must survive", self.survivors, SURVIVING),
        ):
            if not judged or right < least * judged:
                found.append(f"{said}: {right} of {judged} right, {least:.2%} wanted")
        if self.score.references_broken or not self.score.references_intact:
            broken = len(self.score.references_broken)
            found.append(f"references: {broken} broken, {self.score.references_intact} intact")
        if self.score.should_not_have_left:
            found.append(f"{len(self.score.should_not_have_left)} files left that should not have")
        return found

    def as_json(self) -> dict[str, Any]:
        """For the result file; no values."""
        return {
            "actions": {action.value: [self.score.right[action], self.score.all[action]] for action in Action},
            "leaks": len(self.leaks),
            "references": [self.score.references_intact, len(self.score.references_broken)],
            "unresolved": self.score.unresolved,
            "refused": dict(self.refused),
            "failures": self.failures(),
        }


def show(verdict: Verdict, key: Key) -> None:
    """Print the tables of a run."""
    score = verdict.score
    print(f"\n{verdict.name}\n")
    rows = [_row(action.value, score.right[action], score.all[action]) for action in Action if score.all[action]]
    rows.append(_row("all actions", *verdict.actions))
    rows.append(_row("what must survive", *verdict.survivors))
    broken = len(score.references_broken)
    rows.append(_row("references intact", score.references_intact, score.references_intact + broken))
    print_table(("action", "checked", "right", "share"), rows)
    kinds = sorted(score.found)
    print()
    print_table(
        ("kind", "planted in", "left"),
        [(f"{k or '-'}, {'made' if m else 'real'}", str(score.found[k, m]), str(score.left[k, m])) for k, m in kinds],
    )
    print(f"\nidentifiers looked for: {len(key.identifiers)} planted, {len(key.real)} of real headers")
    print(f"leaks found: {len(verdict.leaks)}")
    print(f"references to files that did not leave: {score.unresolved}")
    _list("refused", [f"{count} x {reason}" for reason, count in verdict.refused.most_common()])
    _list("LEAKS", _leaks(verdict.leaks, key))
    _list("wrong", _wrong(score, key))
    _list("broken references", score.references_broken)
    _list("left, and should not have", [f"{file.kind} {file.number}" for file in score.should_not_have_left])
    _list("did not leave, and should have", [f"{file.kind} {file.number}" for file in score.refused])
    failures = verdict.failures()
    print(f"\n{verdict.name}: " + ("passes" if not failures else "FAILS: " + "; ".join(failures)))


def _row(name: str, right: int, judged: int) -> tuple[str, str, str, str]:
    return name, str(judged), str(right), f"{right / judged:.3%}" if judged else "-"


def _leaks(leaks: list[Found], key: Key) -> list[str]:
    """Leaks by where they were planted and where they are; an example of each, if it is of a made person."""
    groups: dict[tuple[str, ...], list[Found]] = {}
    for leak in leaks:
        planted = key.identifiers.get(leak.identifier, "a real header")
        where = leak.place if leak.layer == "elements" else ""
        groups.setdefault((planted, leak.layer, leak.form, where), []).append(leak)
    lines = []
    for (planted, layer, form, where), found in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        example = f", e.g. {found[0].identifier!r}" if found[0].identifier in key.identifiers else ""
        at = f" at {where}" if where else f" at {found[0].place}"
        lines.append(f"{len(found)} x {planted} -> {layer}, {form}{at} of {found[0].file}{example}")
    return lines


def _wrong(score: Score, key: Key) -> list[str]:
    """Wrong items by action, place and path; the planted value of an example, if the file is made."""
    kinds = {file.number: file for file in key.files}
    groups: dict[tuple[str, ...], list[str]] = {}
    for wrong in score.wrong:
        if wrong.why == NOT_LEFT:
            continue  # listed by file
        item, file = wrong.item, kinds[wrong.item.file]
        path = item.path if file.made or item.path.count(" > ") < 2 else f"{item.path.partition(' > ')[0]} > ..."
        example = f", e.g. {item.value!r}" if file.made and item.value else ""
        made = file.kind if file.made else f"real {file.kind}"
        group = (item.action.value, item.place, path, wrong.why)
        groups.setdefault(group, []).append(f"{made} {item.file}{example}")
    return [
        f"{len(found)} x {action}, {place}, {path}: {why} ({found[0]})"
        for (action, place, path, why), found in sorted(groups.items(), key=lambda pair: -len(pair[1]))
    ]


def _list(title: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{title}:")
        for line in lines[:LINES]:
            print(f"  {line}")
        if len(lines) > LINES:
            print(f"  ... and {len(lines) - LINES} more")
