"""Every series of a folder through dcm2niix and through our own path, voxel by voxel: a table, totals, an exit code.

Belongs here: going through the series, and what is printed. Does not belong here: the rules
(`benchmarks.fidelity_rules`), running the oracle (`benchmarks.oracle`), the authors' own references
(`benchmarks.fidelity_references`).

A row names its series by a number and the label of its folder: no header value is printed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fidelity_references, fidelity_rules, fidelity_series, oracle
from benchmarks.fidelity_references import Reference
from benchmarks.fidelity_rules import Results
from benchmarks.fidelity_series import Curated, Found
from benchmarks.fidelity_verdict import Kind, Right, Verdict
from benchmarks.oracle import Output
from oncurate.reasons import State

REFERENCES = "other references: NIfTI files that lie beside the DICOM files, made by other people and programs"
HEAD = ("series", "folder", "modality", "ours", "oracle", "verdict", "right", "why")
_OURS_SHOWN = 3
_IRREGULAR = frozenset({Kind.SECOND, Kind.EXCLUDED})


@dataclass(frozen=True)
class Row:
    """One output of dcm2niix, or volumes of ours that have none; `number` counts the series of the run."""

    number: int
    label: str
    modality: str
    ours: str
    theirs: str
    verdict: Verdict
    is_output: bool
    is_regular: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """As printed."""
        verdict = self.verdict
        return (
            str(self.number),
            self.label[:27],
            self.modality,
            self.ours,
            self.theirs,
            verdict.label,
            verdict.right.value,
            verdict.why,
        )


@dataclass(frozen=True)
class Judged:
    """The rows of one series, and what became of it on both sides."""

    found: Found
    ours: Curated
    outputs: tuple[Output, ...]
    rows: tuple[Row, ...]


def run(folders: Sequence[Path]) -> dict[str, object]:
    """Print the tables and totals of everything below the folders; returns the totals."""
    judged: list[Judged] = []
    print_row(HEAD)
    for folder in folders:
        for one in judge_folder(folder, len(judged) + 1):
            judged.append(one)
            for row in one.rows:
                print_row(row.cells)
    print(f"\n{REFERENCES}")
    print_row(("file", "folder", "", "ours", "theirs", "verdict", "right", "why"))
    references = list(_print_references(folders))
    figures = totals(judged) | {
        "references": len(references),
        "references_explained": dict(Counter(one.verdict.label for one in references).most_common()),
        "references_unexplained": sum(not one.verdict.is_explained for one in references),
    }
    print_totals(figures)
    return figures


def _print_references(folders: Iterable[Path]) -> Iterator[Reference]:
    number = 1
    for folder in folders:
        for one in fidelity_references.judge_folder(folder, number):
            number = one.number + 1
            verdict = one.verdict
            cells = (one.label[:27], "", one.ours, one.theirs, verdict.label, verdict.right.value, verdict.why)
            print_row((str(one.number), *cells))
            yield one


def judge_folder(folder: Path, first: int = 1) -> Iterator[Judged]:
    """Every series below a folder, numbered from `first`."""
    for number, found in enumerate(fidelity_series.find_series(folder), first):
        yield judge_series(found, number)


def judge_series(found: Found, number: int) -> Judged:
    """Run both sides on one series and compare."""
    ours, theirs = fidelity_series.curate(found.files), oracle.convert(found.files)
    verdicts = fidelity_rules.judge(Results(found.files, ours, theirs))
    second = any(o.is_resampled for o in theirs.outputs)
    rows = []
    for verdict, output in zip(verdicts, [*theirs.outputs, *[None] * len(verdicts)], strict=False):
        regular = output is not None and not second and not _IRREGULAR & set(verdict.kinds)
        rows.append(
            Row(
                number,
                found.label,
                found.modality,
                _ours(ours),
                "-" if output is None else _shape(output.shape),
                verdict,
                is_output=output is not None,
                is_regular=regular,
            )
        )
    return Judged(found, ours, theirs.outputs, tuple(rows))


def totals(judged: Sequence[Judged]) -> dict[str, object]:
    """Counts over all series; `missed`: outputs of regular images that we quarantine, by reason."""
    rows = [row for one in judged for row in one.rows]
    outputs = [row for row in rows if row.is_output]
    kinds = Counter(row.verdict.label for row in rows if row.verdict.is_explained and not row.verdict.is_identical)
    refused = Counter(
        outcome.reason.value
        for one in judged
        for outcome in one.ours.outcomes
        if outcome.reason is not None and outcome.state is State.QUARANTINED
    )
    missed = [row for row in outputs if row.is_regular and Kind.REFUSED in row.verdict.kinds]
    both = [one for one in judged if one.outputs and one.ours.volumes]
    return {
        "series": len(judged),
        "series_neither_converts": sum(not one.outputs and not one.ours.volumes for one in judged),
        "series_only_dcm2niix_converts": sum(bool(one.outputs) and not one.ours.volumes for one in judged),
        "series_only_we_convert": sum(bool(one.ours.volumes) and not one.outputs for one in judged),
        "series_both_convert": len(both),
        "outputs": len(outputs),
        "outputs_both_convert": sum(row.verdict.is_same_image for row in outputs),
        "outputs_identical": sum(row.verdict.is_identical for row in outputs),
        "explained": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        "theirs_right": sum(row.verdict.right is Right.THEIRS for row in rows),
        "unexplained": sum(not row.verdict.is_explained for row in rows),
        "quarantined_files": dict(refused.most_common()),
        "missed_series": len({row.number for row in missed}),
        "missed": dict(Counter(reason.value for row in missed for reason in row.verdict.reasons)),
    }


def print_row(cells: Sequence[str]) -> None:
    """One line of the table: the columns have fixed widths, so that each line can be printed when it is known."""
    widths = (6, 27, 8, 30, 16, 44, 6, 0)
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip(), flush=True)


def print_totals(figures: dict[str, object]) -> None:
    """The totals, one a line."""
    print(f"\ndcm2niix {oracle.version()}")
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name.replace('_', ' ')}:")
            for key, count in value.items():
                print(f"  {count:5}  {key}")
        else:
            print(f"{value:7}  {name.replace('_', ' ')}")


def exit_if_unexplained(figures: dict[str, object]) -> None:
    """End with code 1 if any difference has no explanation."""
    if figures["unexplained"] or figures["references_unexplained"]:
        sys.exit(1)


def _ours(ours: Curated) -> str:
    if not ours.volumes:
        return "-"
    shapes = [_shape((*image.shape, *((image.count,) if image.is_4d else ()))) for _, image in ours.volumes]
    counted = Counter(shapes)
    shown = [shape if count == 1 else f"{count} of {shape}" for shape, count in counted.items()]
    more = f", {len(shown) - _OURS_SHOWN} more" if len(shown) > _OURS_SHOWN else ""
    return ", ".join(shown[:_OURS_SHOWN]) + more


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
