"""What is checked before any work is done, so that a mistake costs seconds and not hours.

Belongs here: secret, zones, and whose data set lies in the target. Does not belong here: opening a lease or a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from oncurate import release
from oncurate.errors import UsageError
from oncurate.identity import Keys
from oncurate.provider import Provider
from oncurate.sources.pace import say, wait_for_window
from oncurate.store import Store
from tasks import zone
from tasks.pull import open_source
from tasks.secret import remember


def prepare(provider: Provider, tell: Callable[[str], None] = say) -> None:
    """Raise the error that says what is wrong with secret, source, target or work zone.

    Where the source may not be asked yet, all that can be checked without it is checked first; `tell` hears how long
    it takes.
    """
    provider.secret()
    Store(provider.target).check_writable()
    held = release.current(zone.target(provider))
    if held is not None and held.dataset != provider.dataset:
        raise UsageError(f"{provider.dataset_url} holds releases of another data set; choose another target or name")
    wait_for_window(provider.pull, tell)
    _check_source(provider)
    zone.work(provider).make_private()  # key table, ledger and identified records
    zone.work(provider).check_writable()
    remember(provider, Keys(provider.secret()))


def _check_source(provider: Provider) -> None:
    """Raise `StoreUnreachable` unless the source is there and lets us list it."""
    with closing(open_source(provider)) as source:
        next(iter(source.entries()), None)
