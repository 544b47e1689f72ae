"""The main job as a Prefect flow: from a provider's archive to a curated release.

Belongs here: the two flows (`curate` opens what a run needs and holds the lease; `stages` runs on it) and how a run
ends. Does not belong here: what a stage does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, tags
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect_dask import DaskTaskRunner

from flows import progress
from flows.engine import dask_cluster, prefect_api, untagged
from flows.progress import Reporter
from flows.stages import Stages
from oncurate.guard import guarded
from oncurate.lease import Lease
from oncurate.provider import Provider, read
from tasks import zone
from tasks.prepare import prepare
from tasks.publish import Finished, finished_before, nothing_new
from tasks.pull import inputs_digest


@flow(name="stages", flow_run_name="{provider.dataset}", persist_result=False, log_prints=False)
def stages(provider: Provider, workers: int) -> Finished:
    """All stages in order. A release that would hold what the current one holds is not made again."""
    with untagged():
        return _all_stages(provider, workers)


def _all_stages(provider: Provider, workers: int) -> Finished:
    run = Stages(provider, workers, progress.current())
    if provider.limits.pull_concurrency:
        with concurrency(provider.limits.pull_concurrency, strict=True):
            objects = run.pull()
    else:
        objects = run.pull()
    unchanged = nothing_new(provider, inputs_digest(run.account.objects))
    if unchanged is not None:
        return finished_before(provider, unchanged)
    lines = run.index(objects)
    run.deidentify(lines)
    run.convert(lines)
    run.harmonise(lines)
    run.annotate(lines)
    quality = run.check(lines)
    return run.publish(lines, quality)


@flow(
    name="curate",
    flow_run_name="curate {provider_file}",
    persist_result=False,
    log_prints=False,
)
def curate(provider_file: str, dask: str | None = None) -> dict[str, Any]:
    """Curate one provider's archive.

    `provider_file` is a path that the process running the flow can read; `dask` is the address of a cluster that exists
    (default: one worker process a core). Returns counts, never data.
    """
    return guarded("the flow", _curate)(read(Path(provider_file)), dask).model_dump(mode="json")


def _curate(provider: Provider, dask: str | None) -> Finished:
    """Wait for the source's hours before anything is held: lease, cluster and slot are for runs that work."""
    prepare(provider, _say)
    with (
        Lease(zone.work(provider)) as lease,
        dask_cluster(dask) as (address, workers),
        progress.current(),
        tags("oncurate", f"dataset:{provider.dataset}", f"country:{provider.provider.country}"),
    ):
        zone.work(provider).sweep()
        finished = stages.with_options(task_runner=DaskTaskRunner(address=address))(provider, workers)
        lease.ensure()
    _show(provider, finished)
    return finished


def _say(line: str) -> None:
    """To whoever looks on: at the terminal, and in the run's log."""
    progress.current().line(line)
    get_run_logger().info("%s", line)


def run_here(provider_file: Path, dask: str | None, quiet: bool) -> dict[str, Any]:
    """The flow in this process, on the configured Prefect API or on one that lives as long as the run."""
    progress.watch(Reporter(quiet))
    with prefect_api():
        return curate(str(provider_file.resolve()), dask)


def _show(provider: Provider, finished: Finished) -> None:
    """What an operator sees at the end: where every file went, a link to the release, and an event others can wait
    for.
    """
    sums = finished.ledger
    create_table_artifact(
        key=f"{provider.dataset}-ledger",
        table=[{"state": state.value, "files": n} for state, n in sums.by_state.items()]
        + [
            {"state": f"{r.state.value}: {r.value}", "files": n, "meaning": r.advice} for r, n in sums.by_reason.items()
        ],
        description=f"{sums.files} files found, each in exactly one state",
    )
    create_link_artifact(
        link=f"{provider.dataset_url}/releases/{finished.current.version}/README.md",
        key=f"{provider.dataset}-release",
        description=f"{'New release' if finished.is_new else 'Nothing new: release'} {finished.current.version}",
    )
    emit_event(
        event="oncurate.released" if finished.is_new else "oncurate.unchanged",
        resource={"prefect.resource.id": f"oncurate.dataset.{provider.dataset}"},
        payload={"version": finished.current.version, "volumes": finished.volumes, "files": sums.files},
    )
