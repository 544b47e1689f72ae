"""The pseudonymisation secret outside a run: from the environment, and compared with what a work zone knows of it.

Belongs here: reading it by the name of its variable, and the keyed check value. Does not belong here: what the secret
is used for (`oncurate.identity`).
"""

from __future__ import annotations

from oncurate import tables
from oncurate.errors import UsageError
from oncurate.identity import Keys
from oncurate.provider import Provider
from tasks import zone


def secret_in(variable: str) -> bytes:
    """The secret in the environment variable `variable`; `UsageError` where there is none or it is too short."""
    return Provider.model_construct(secret_env=variable).secret()


def check_same(provider: Provider, keys: Keys) -> None:
    """Refuse keys other than those that the work zone was made with, if it has been made; writes nothing."""
    try:
        known = zone.work(provider).read(zone.KEY_CHECK)
    except FileNotFoundError:
        return
    if known != keys.check_value().encode():
        raise UsageError(
            f"the secret in {provider.secret_env} is not the one that the work zone was made with, so pseudonyms would "
            "change. Set the former secret, or start a new data set with a work zone of its own"
        )


def remember(provider: Provider, keys: Keys) -> None:
    """As `check_same`; a work zone that knows no secret yet is made, and knows this one from now on."""
    check_same(provider, keys)
    store = zone.work(provider)
    store.make_private()
    if not store.put_if_absent(zone.KEY_CHECK, keys.check_value().encode()):
        check_same(provider, keys)


def issued(provider: Provider) -> set[str]:
    """The patient ids of the restricted key table, as ID or ID^^^ISSUER; none before the first run."""
    try:
        table = zone.work(provider).read(zone.KEY_TABLE)
    except FileNotFoundError:
        return set()
    return {row["source"] for row in tables.from_parquet(table) if row["kind"] == "PatientID"}
