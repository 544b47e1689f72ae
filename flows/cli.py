"""The command line: the outer rim, where exit codes and messages for people are made.

Belongs here: arguments, output, exit codes. Does not belong here: anything that another program could want to call.
Prefect and Dask are imported only by the commands that run flows, so that the others answer at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows import cli_deidentify, cli_pull
from oncurate import tables
from oncurate.errors import OncurateError, StoreUnreachable
from oncurate.garbage import relax
from oncurate.guard import guarded
from oncurate.provider import Provider, read
from oncurate.reasons import Reason
from oncurate.store import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Archives of cancer images (DICOM) in, curated, de-identified, harmonised releases out.",
    epilog="Exit codes: 0 released or nothing new, 2 usage or provider file, 3 a gate refused, 4 source or target "
    "cannot be used, 5 a defect of ours.",
)
out = Console()

ProviderFile = Annotated[Path, typer.Argument(help="The provider file (YAML).", metavar="PROVIDER.yaml")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result for machines.")]


def main() -> None:
    """Entry point: errors of ours become one clear sentence and their exit code."""
    settings = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # errors are said once, below; all else is in the UI
        "AWS_EC2_METADATA_DISABLED": "true",  # a slow look-up that no on-premise store answers
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    relax()
    try:
        guarded("a defect of ours", app)()
    except OncurateError as error:
        print(f"oncurate: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@app.command()
def curate(
    provider_file: ProviderFile,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask cluster that exists, tcp://host:port.")] = None,
    as_json: AsJson = False,
) -> None:
    """Curate an archive: pull, index, deidentify, convert, harmonise, check, publish."""
    provider = read(provider_file)
    finished = _curate(provider, provider_file, dask, quiet=as_json)
    _report(provider, finished, as_json)


def _curate(provider: Provider, provider_file: Path, dask: str | None, quiet: bool) -> dict[str, Any]:
    from tasks.prepare import prepare
    from tasks.publish import finished_before, nothing_new
    from tasks.pull import unchanged

    prepare(provider)
    same, inputs = unchanged(provider)
    current = nothing_new(provider, inputs) if same else None
    if current is not None:
        return finished_before(provider, current).model_dump(mode="json")
    from flows.curate import run_here

    return run_here(provider_file, dask, quiet)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demonstration's archive, work zone and target go.")] = Path(
        "demo"
    ),
) -> None:
    """Run the whole job on the real images that pydicom and pydicom-data ship."""
    from flows.demo import SECRET, set_up

    provider_file = set_up(folder)
    provider = read(provider_file)
    os.environ.setdefault(provider.secret_env, SECRET)
    out.print(f"The archive: {folder}/archive, real images that the packages pydicom and pydicom-data ship.\n")
    finished = _curate(provider, provider_file, None, quiet=False)
    _report(provider, finished, as_json=False)
    base = Path(provider.dataset_url.removeprefix("file://"))
    release = base / "releases" / finished["current"]["version"]
    out.print("\nLook at:", highlight=False)
    for what, path in (
        ("the data set's card", release / "README.md"),
        ("its tables", release / "tables"),
        ("volumes and previews", base / "volumes"),
        ("the catalogue", base.parent / "catalogue" / "index.html"),
    ):
        out.print(f"  {what:<22} {os.path.relpath(path)}", highlight=False, soft_wrap=True)
    out.print(f"\nWhat was refused, file by file: oncurate quarantine {provider_file} --files", highlight=False)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(help="A folder, an archive file, a source's URL, or a provider file.")],
    as_json: AsJson = False,
) -> None:
    """Say what an archive holds and what would become of it. Reads headers only, writes nothing, moves nothing."""
    from tasks.inspect import inspect as look

    found = look(source)
    if as_json:
        print(json.dumps(found))
        return
    patients = "" if found["patients"] is None else f", {found['patients']} patients"
    out.print(f"{found['files']} files, {found['bytes'] / 1e6:.1f} MB{patients}\n", highlight=False)
    series = Table("modality", "series", "volumes", "planar images", "cines", "files", title="Would be curated")
    for row in found["modalities"]:
        series.add_row(
            row["modality"],
            *("-" if row[k] is None else str(row[k]) for k in ("series", "volumes", "planar", "cines", "files")),
        )
    out.print(series)
    _reasons(found["reasons"])


@app.command()
def status(provider_file: ProviderFile, as_json: AsJson = False) -> None:
    """Say what is released, what the last run found, and whether a run is under way."""
    from tasks.status import status as state_of

    provider = read(provider_file)
    found = state_of(provider)
    if as_json:
        print(json.dumps(found))
        return
    current = found["current"]
    if current:
        out.print(
            f"release {current['version']} of {current['released_at']}: {current['objects']} objects, "
            f"{current['bytes'] / 1e6:.1f} MB",
            highlight=False,
        )
    else:
        out.print("no release yet", highlight=False)
    out.print(f"run: {found['run']}", highlight=False)
    if found["ledger"]:
        _ledger(found["ledger"])


@app.command()
def quarantine(
    provider_file: ProviderFile,
    files: Annotated[
        bool, typer.Option("--files", help="List every quarantined file (source paths: keep the output).")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what was quarantined, why, and what to do about it."""
    provider = read(provider_file)
    try:
        rows = tables.from_parquet(Store(provider.work_url).read("ledger/ledger.parquet"))
    except FileNotFoundError:
        raise StoreUnreachable("no run has finished on this data set yet, so there is no ledger") from None
    rows = [r for r in rows if r["state"] == "quarantined" and (reason is None or r["reason"] == reason)]
    if as_json:
        shown = rows if files else [{"reason": k, "files": n} for k, n in Counter(r["reason"] for r in rows).items()]
        print(json.dumps(shown))
        return
    _reasons(dict(Counter(r["reason"] for r in rows)), details=rows)
    if files:
        for row in sorted(rows, key=lambda r: (r["reason"], r["source_path"])):
            print(f"{row['reason']}\t{row['source_path']}\t{row['detail']}")
    for line in _clinical_lines(provider):
        out.print(line, highlight=False)


def _clinical_lines(provider: Provider) -> list[str]:
    """What the last run found in the clinical file: counts and advice, no row and no value."""
    from tasks import zone

    try:
        return zone.unpack_json(zone.work(provider).read(zone.CLINICAL_REPORT))
    except FileNotFoundError:
        return []


@app.command()
def verify(
    dataset: Annotated[str, typer.Argument(help="The data set's folder: TARGET/DATASET, a path or s3:// URL.")],
    version: Annotated[str | None, typer.Option(help="A version other than the current one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every checksum of a release."""
    from oncurate.verify import verify as check

    report = check(Store(dataset), version)
    if as_json:
        print(report.model_dump_json())
    else:
        for problem in report.problems:
            print(f"{problem.finding.value}\t{problem.path}")
        verdict = "every checksum holds" if not report.problems else f"{len(report.problems)} problems"
        print(f"release {report.version}: {report.objects} objects, {report.bytes / 1e6:.1f} MB, {verdict}")
    if report.problems:
        raise typer.Exit(3)


@app.command()
def gate(
    suite: Annotated[str, typer.Argument(help="objects, series, cohort, volumes, harmonised, quality or release.")],
    table: Annotated[Path, typer.Argument(help="A Parquet file.", metavar="TABLE.parquet")],
    as_json: AsJson = False,
) -> None:
    """Check a table against a suite of expectations, as the stages do."""
    from expectations.gate import check_file
    from oncurate.verdict import markdown

    report = check_file(suite, table)
    print(report.model_dump_json(indent=1) if as_json else markdown(report))
    if not report.passed:
        raise typer.Exit(3)


cli_deidentify.register(app)
cli_pull.register(app)


def _report(provider: Provider, finished: dict[str, Any], as_json: bool) -> None:
    current = finished["current"]
    if as_json:
        print(json.dumps({**finished, "dataset_url": provider.dataset_url}))
        return
    if not finished["is_new"]:
        out.print(
            f"nothing new: release {current['version']} of {current['released_at']} holds all of it", highlight=False
        )
    _ledger(finished["ledger"])
    word = "released" if finished["is_new"] else "current release"
    out.print(
        f"{word} {provider.dataset} {current['version']}: {finished['volumes']} volumes of {finished['subjects']} "
        f"subjects, {current['objects']} objects, {current['bytes'] / 1e6:.1f} MB\n{provider.dataset_url}",
        highlight=False,
        soft_wrap=True,
    )


def _ledger(sums: dict[str, Any]) -> None:
    table = Table("state", "reason", "files", "meaning", title=f"{sums['files']} files, each in exactly one state")
    for state, number in sums["by_state"].items():
        table.add_row(state, "", str(number), "", style="bold")
        for slug, files in sums["by_reason"].items():
            if Reason(slug).state == state:
                table.add_row("", slug, str(files), Reason(slug).advice)
    out.print(table)


def _reasons(counts: dict[str, int], details: list[dict[str, Any]] | None = None) -> None:
    table = Table("state", "reason", "files", "meaning and what to do", "details")
    for slug, number in sorted(counts.items()):
        said = Counter(r["detail"] for r in details or [] if r["reason"] == slug and r["detail"])
        shown = "; ".join(f"{text} ({n})" for text, n in said.most_common(3))
        table.add_row(Reason(slug).state.value, slug, str(number), Reason(slug).advice, shown)
    out.print(table)
