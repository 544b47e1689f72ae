"""Placing the objects of a staged release in the target, under keys that name their content.

Belongs here: copying what is missing, reading everything back, and mending what was left half or has been damaged. Does
not belong here: making a release of them (`oncurate.release`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from oncurate import committed, manifest
from oncurate.errors import Defect, StoreUnreachable
from oncurate.manifest import Entry, Problem
from oncurate.staged import Staged, StagedObject
from oncurate.store import Store


@dataclass(frozen=True)
class Placement:
    """The volume objects of a release as they lie in the target, each read back and found right."""

    entries: tuple[Entry, ...]
    copied: int  # how many of them were not there before


def place(dataset_store: Store, work: Store, staged: Staged, done: Callable[[Entry], None] | None = None) -> Placement:
    """Copy the objects that are missing, and read all of them back; `done` is called after each.

    An object that is there with other bytes is debris or damage, and replaced, unless a committed release lists those
    bytes: then one key means two contents, which is a `Defect`. What still differs after that is `StoreUnreachable`.
    """
    committed.refuse_foreign(dataset_store, staged.about.dataset)
    if len({o.key for o in staged.objects}) != len(staged.objects):
        raise Defect("two staged objects have the same key")
    copied, wrong = 0, []
    placed = manifest.spread(partial(_place_one, dataset_store, work), staged.objects)
    for staged_object, (is_copied, problem) in zip(staged.objects, placed, strict=True):
        copied += is_copied
        if problem:
            wrong.append(staged_object)
        if done:
            done(_entry(staged_object))
    if wrong:
        _mend(dataset_store, work, wrong)
    return Placement(tuple(_entry(o) for o in staged.objects), copied)


def _entry(staged_object: StagedObject) -> Entry:
    return Entry(staged_object.key, staged_object.bytes, staged_object.sha256)


def _place_one(dataset_store: Store, work: Store, staged_object: StagedObject) -> tuple[bool, Problem | None]:
    """Whether the object had to be copied, and what is wrong with it now that it is there."""
    is_missing = not dataset_store.exists(staged_object.key)
    if is_missing:
        _copy(dataset_store, work, staged_object)
    return is_missing, manifest.check(dataset_store, _entry(staged_object))


def _copy(dataset_store: Store, work: Store, staged_object: StagedObject) -> None:
    try:
        dataset_store.copy_in(staged_object.key, work, staged_object.work_key)
    except FileNotFoundError:
        raise StoreUnreachable(
            f"an object of the release is missing or altered in {dataset_store.url}, and {work.url} holds it no more; "
            "restore it there, or remove the data set's work zone to have it made again"
        ) from None


def _mend(dataset_store: Store, work: Store, wrong: Sequence[StagedObject]) -> None:
    """Replace objects that are not as staged, unless a committed release lists what is there."""
    digests = {o.key: o.sha256 for o in wrong}
    conflicts = {
        entry.path
        for number in committed.numbers(dataset_store)
        for entry in committed.entries_of(dataset_store, f"v{number}")
        if digests.get(entry.path, entry.sha256) != entry.sha256
    }
    if conflicts:
        raise Defect(
            f"{len(conflicts)} objects would change under keys that an earlier release lists; the same key must mean "
            "the same content, so a stage's version has to be raised"
        )
    for staged_object in wrong:
        _copy(dataset_store, work, staged_object)
    still = manifest.compare(dataset_store, [_entry(o) for o in wrong])
    if still:
        raise StoreUnreachable(f"{dataset_store.url} gives back other bytes than were staged for {len(still)} objects")
