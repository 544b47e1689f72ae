"""What is checked before any work is done, so that a mistake costs seconds and not hours.

Belongs here: secret, zones, and whose data set lies in the target. Does not belong here: opening a lease or a cluster.
"""

from __future__ import annotations

from oncurate import release, sources
from oncurate.errors import UsageError
from oncurate.provider import Provider
from oncurate.store import Store
from tasks import zone
from tasks.deidentify import check_secret


def prepare(provider: Provider) -> None:
    """Raise the error that says what is wrong with secret, source, target or work zone."""
    provider.secret()
    _check_source(provider.source)
    Store(provider.target).check_writable()
    held = release.current(zone.target(provider))
    if held is not None and held.dataset != provider.dataset:
        raise UsageError(f"{provider.dataset_url} holds releases of another data set; choose another target or name")
    zone.work(provider).make_private()  # key table, ledger and identified records
    zone.work(provider).check_writable()
    check_secret(provider)


def _check_source(source: str) -> None:
    """Raise `StoreUnreachable` unless the source is there and lets us list it."""
    if source.startswith("s3://"):
        Store(source).check_readable()
    else:
        next(iter(sources.list_objects(source)), None)
