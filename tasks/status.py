"""What can be said of a data set without running anything.

Belongs here: the current release, the last ledger's sums, whether a run is under way. Does not belong here: printing.
"""

from __future__ import annotations

from typing import Any

from oncurate import ledger, release, tables
from oncurate.lease import holder
from oncurate.provider import Provider
from tasks import zone


def status(provider: Provider) -> dict[str, Any]:
    """Current release, ledger sums and the holder of the lease; each null where there is none."""
    work = zone.work(provider)
    current = release.current(zone.target(provider))
    try:
        sums = ledger.counts(tables.stream(work.read(zone.LEDGER), ("state", "reason"))).model_dump(mode="json")
    except FileNotFoundError:
        sums = None
    running = holder(work)
    return {
        "dataset": provider.dataset,
        "current": current.model_dump(mode="json") if current else None,
        "ledger": sums,
        "run": f"under way since {running.since} on {running.host}, process {running.pid}"
        if running
        else "none under way",
    }
