"""The catalogue of a target: one row for each data set that is released there.

Belongs here: finding the data sets, and writing the catalogue's files so that several data sets can be released into
one target at the same time. Does not belong here: how a data set looks as DCAT (`oncurate.dcat`) or on a page
(`oncurate.catalogue_page`).

Everything is computed from the data sets' own pointers and records, so a lost catalogue is rebuilt by the next update.
`catalogue/datasets/<dataset>` are empty objects that only say which folders to look into.
"""

from __future__ import annotations

from typing import Any

from oncurate import catalogue_page, dcat, tables
from oncurate.committed import current, read_record
from oncurate.staged import POINTER, Current, ReleaseRecord, pretty_json
from oncurate.store import Store

FOLDER = "catalogue"
_MEMBERS = f"{FOLDER}/datasets"
_ROUNDS = 10
"""How often the files are written again because another data set was released meanwhile."""

Listed = tuple[Current, ReleaseRecord]


def update(target: Store, dataset: str) -> list[dict[str, Any]]:
    """Enter a data set into the target's catalogue and bring all of it up to date; the rows of table `catalogue`.

    Whoever writes last sees everything that was released before its last look: after writing, the state is read again,
    and what changed meanwhile is written again.
    """
    if not target.exists(f"{FOLDER}/catalogue.parquet"):
        _find_members(target)
    target.put_if_absent(f"{_MEMBERS}/{dataset}", b"")
    listed = _listed(target)
    for _ in range(_ROUNDS):
        _write(target, listed)
        before, listed = listed, _listed(target)
        if listed == before:
            break
    return [row(*one) for one in listed]


def row(pointed: Current, record: ReleaseRecord) -> dict[str, Any]:
    """A data set's row of table `catalogue`."""
    content = record.content
    return {
        "dataset": record.dataset,
        "title": record.title,
        "provider": record.provider,
        "country": record.country,
        "cancer_types": list(record.cancer_types),
        "version": pointed.version,
        "released_at": pointed.released_at,
        "subjects": record.counts.subjects,
        "studies": record.counts.studies,
        "series": record.counts.series,
        "volumes": record.counts.volumes,
        "modalities": list(content.modalities),
        "body_parts": list(content.body_parts),
        "manufacturers": list(content.manufacturers),
        "sexes": list(content.sexes),
        "age_min_years": content.age_min_years,
        "age_max_years": content.age_max_years,
        "bytes": pointed.bytes,
        "manifest_sha256": pointed.manifest_sha256,
    }


def _find_members(target: Store) -> None:
    """Look through the whole target for data sets; only done where there is no catalogue yet, or no more."""
    for key in target.list():
        dataset, _, rest = key.partition("/")
        if rest == POINTER:
            target.put_if_absent(f"{_MEMBERS}/{dataset}", b"")


def _listed(target: Store) -> list[Listed]:
    """Pointer and record of every data set whose release can be read, by name."""
    found = []
    for key in target.list(_MEMBERS):
        dataset = target.child(key.rpartition("/")[2])
        pointed = current(dataset)
        record = pointed and read_record(dataset, pointed.version)
        if pointed and record:
            found.append((pointed, record))
    return found


def _write(target: Store, listed: list[Listed]) -> None:
    rows = [row(*one) for one in listed]
    target.write(f"{FOLDER}/catalogue.parquet", tables.to_parquet("catalogue", rows))
    target.write(f"{FOLDER}/catalogue.jsonld", pretty_json(dcat.catalogue(listed)))
    target.write(f"{FOLDER}/index.html", catalogue_page.render(rows).encode())
