"""The commands of de-identification alone: `deidentify` and `pseudonym`.

Belongs here: their arguments and what they print. Does not belong here: the work (`tasks.standalone`), the other
commands (`flows.cli`). Neither Prefect nor Dask is imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from oncurate.errors import Defect, UsageError
from oncurate.identity import Keys, has_patient_id
from oncurate.provider import read

LOG_EVERY_S = 30.0
"""Seconds between two lines of progress where nobody looks on."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(deidentify)
    app.command()(pseudonym)


def deidentify(
    source: Annotated[
        str | None, typer.Argument(help="A folder, a DICOM, zip or tar file, or s3://bucket/prefix.", metavar="SOURCE")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder (or s3://) of the de-identified objects.", metavar="DIR")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Take the `deidentify` section of this file.", metavar="PROVIDER.yaml")
    ] = None,
    dates: Annotated[
        Literal["modified", "full", "none"] | None,
        typer.Option(help="Dates: one shift a patient, as they are, or none.  [default: modified]"),
    ] = None,
    burned_in_text: Annotated[
        Literal["quarantine", "mask", "trust"] | None,
        typer.Option(help="Text in pixels: refuse the image, blank it, or trust it.  [default: quarantine]"),
    ] = None,
    secret_env: Annotated[
        str | None, typer.Option(help="Variable that holds the secret.  [default: ONCURATE_SECRET]", metavar="NAME")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Write what was done to each element, without values.", metavar="FILE.parquet")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.  [default: one a core]")] = None,
    files: Annotated[
        bool, typer.Option("--files", help="List every refused file (source paths: keep the output).")
    ] = False,
    fail_on_refused: Annotated[
        bool, typer.Option("--fail-on-refused", help="End with exit code 3 if a file was quarantined.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what happens to each element; reads and writes no image.")
    ] = False,
    element: Annotated[
        list[str] | None,
        typer.Option(help="With --explain: only this keyword (* stands for any letters) or tag.", metavar="NAME"),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="With --explain: comma-separated.")] = False,
) -> None:
    """De-identify DICOM files (PS3.15 Annex E): DIR/subject/study/series/instance.dcm, all names keyed.

    Works alone: no provider file, no server. What was written is searched for the source's identifiers before it is put
    in its place. A second run writes only what is missing.
    """
    from tasks.standalone import policy_of

    provider = read(policy) if policy is not None else None
    chosen, text = policy_of(provider.deidentify if provider else None, dates, burned_in_text)
    if explain:
        from flows import explained

        explained.show(chosen, text, element or [], as_json=as_json, as_csv=as_csv)
        return
    if element or as_csv:
        raise UsageError("--element and --csv belong to --explain")
    if source is None or out is None:
        raise UsageError("say what to de-identify and where to: oncurate deidentify SOURCE --out DIR")

    from tasks import secret, standalone

    key = secret.secret_in(secret_env or (provider.secret_env if provider else "ONCURATE_SECRET"))
    if provider is not None:
        secret.check_same(provider, Keys(key))
    job = standalone.Job(out=out, secret=key, policy=chosen, text=text, is_audited=audit is not None)
    since = time.monotonic()
    with _Watch(quiet=as_json) as watch:
        report = standalone.deidentify(source, job, workers=workers, audit=audit, progress=watch.seen)
    _print_report(report, time.monotonic() - since, out, files, as_json)
    if report.defects:
        places = Counter(end.detail for end in report.defects)
        raise Defect("; ".join(f"{place} ({number} files)" for place, number in places.most_common(5)))
    if fail_on_refused and report.quarantined:
        raise typer.Exit(3)


def pseudonym(
    provider_file: Annotated[Path, typer.Argument(help="The provider file (YAML).", metavar="PROVIDER.yaml")],
    as_json: AsJson = False,
) -> None:
    """Print the pseudonym of each patient id on standard input: one a line, ID or ID^^^ISSUER. For the custodian."""
    from tasks import secret

    provider = read(provider_file)
    keys = Keys(provider.secret())
    secret.remember(provider, keys)
    rows = [(line, _pseudonym(keys, line)) for line in _lines()]
    if as_json:
        print(json.dumps([{"id": line, "pseudonym": name or None} for line, name in rows], ensure_ascii=False))
    else:
        for line, name in rows:
            print(f"{line}\t{name}")
    _warn(rows, secret.issued(provider))


def _pseudonym(keys: Keys, line: str) -> str:
    """The subject's name; "" where the id names nobody, as in the pipeline, which then goes by the study."""
    patient_id, _, issuer = line.partition("^^^")
    return keys.subject_id(patient_id, issuer) if has_patient_id(patient_id) else ""


def _lines() -> Iterator[str]:
    """The lines of standard input."""
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(f"line {number} of the ids is not UTF-8 text") from None
        if "\t" in line:
            raise UsageError(f"line {number} of the ids holds a tab: give one id a line, ID or ID^^^ISSUER")
        yield line


def _warn(rows: list[tuple[str, str]], issued: set[str]) -> None:
    """Say how many ids have no pseudonym, and how many would have another one with their issuer."""
    nobody = sum(not name for _, name in rows)
    if nobody:
        print(f"oncurate: {nobody} of {len(rows)} ids are blank or placeholders and have no pseudonym", file=sys.stderr)
    bare = {name.partition("^^^")[0] for name in issued if "^^^" in name}
    other = sum(line not in issued and line in bare for line, _ in rows)
    if other:
        print(
            f"oncurate: {other} ids were given without an issuer, but the images of this data set name one: give "
            "ID^^^ISSUER, or the pseudonyms are not those of the images",
            file=sys.stderr,
        )


class _Watch:
    """Progress on standard error: a live line on a terminal, now and then a line elsewhere."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal and not quiet
        self._quiet = quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._progress.add_task("starting")
        self._said = time.monotonic()

    def __enter__(self) -> _Watch:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def seen(self, files: int, size: int) -> None:
        """So many files and bytes are done."""
        text = f"{files} files, {size / 1e6:.0f} MB"
        self._progress.update(self._task, description=text)
        if not self._live and not self._quiet and time.monotonic() - self._said > LOG_EVERY_S:
            self._said = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def _print_report(report: Any, seconds: float, out: str, files: bool, as_json: bool) -> None:
    reasons = report.reasons()
    refused = sorted((end.reason.value, end.source_path, end.detail) for end in report.refused)
    if as_json:
        found = {
            "files": report.files,
            "written": report.written,
            "present": report.present,
            "duplicate": report.duplicate,
            "refused": {reason.value: number for reason, number in reasons.items()},
            "defects": len(report.defects),
            "subjects": len(report.subjects),
            "series": len(report.series),
            "bytes_read": report.bytes_read,
            "bytes_written": report.bytes_written,
            "seconds": round(seconds, 2),
            "out": out,
        }
        if files:
            keys = ("reason", "source_path", "detail")
            found["refused_files"] = [dict(zip(keys, row, strict=True)) for row in refused]
        print(json.dumps(found))
        return
    table = Table("end", "reason", "files", "meaning and what to do", title=f"{report.files} files, each in one line")
    table.add_row("written", "", str(report.written), "De-identified, verified, new in the output folder.")
    if report.present:
        table.add_row("present", "", str(report.present), "The same object lay in the output folder before.")
    if report.duplicate:
        table.add_row("duplicate", "", str(report.duplicate), "Gives the same object as another file of the source.")
    for reason, number in sorted(reasons.items(), key=lambda item: (item[0].state, item[0])):
        table.add_row(reason.state.value, reason.value, str(number), reason.advice)
    if report.defects:
        table.add_row("defect", "", str(len(report.defects)), "A fault of oncurate: nothing was written; see below.")
    console = Console()
    console.print(table)
    console.print(
        f"{len(report.series)} series of {len(report.subjects)} subjects in {out}: {report.bytes_read / 1e6:.1f} MB "
        f"read, {report.bytes_written / 1e6:.1f} MB written, {report.files / max(seconds, 1e-3):.0f} files/s",
        highlight=False,
        soft_wrap=True,
    )
    if files:
        for row in refused:
            print("\t".join(row))
