"""Files of one series that hold the same image more than once.

Belongs here: which copy is used and what becomes of the others. Does not belong here: different images at one position
(`oncurate.plan`). Pixels are decoded only where two files with different bytes claim one SOP Instance UID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from oncurate.decoders import syntax_name
from oncurate.policies import Duplicates
from oncurate.reasons import Reason
from oncurate.records import Companion, Instance, Outcome

STAGE = "index"
UNWANTED = "policy duplicates: quarantine"
"""Detail of a refusal that only the policy asks for."""

T = TypeVar("T", Instance, Companion)

PixelDigest = Callable[[Instance], str | None]
"""SHA-256 over the decoded pixels of a file; None if they cannot be decoded."""


def refused(instances: Iterable[Instance | Companion], reason: Reason, detail: str = "") -> list[Outcome]:
    """An outcome for each file."""
    return [Outcome.refused(i.source_path, STAGE, reason, detail) for i in instances]


def resolve(
    instances: Sequence[Instance], pixel_digest: PixelDigest, duplicates: Duplicates = "keep_one"
) -> tuple[list[Instance], list[Outcome]]:
    """The instances to go on with, one for each SOP Instance UID and content, and an outcome for every other.

    Under `duplicates` "quarantine", files that share a UID but not their bytes are all refused as CONFLICTING_COPIES.
    """
    kept: list[Instance] = []
    by_uid, outcomes = _by_uid(instances)
    for same_uid in by_uid:
        if len(same_uid) == 1:
            kept += same_uid
        else:
            used, others = _choose(same_uid, pixel_digest, duplicates)
            kept += used
            outcomes += others
    return kept, outcomes


def of_companions(
    companions: Sequence[Companion], content_digest: Callable[[Companion], str | None]
) -> tuple[list[Companion], list[Outcome]]:
    """The objects that are no images to go on with, and an outcome for every other.

    Of objects of one UID that say the same in other bytes, one is used; if they say different things, all are refused.
    """
    kept: list[Companion] = []
    by_uid, outcomes = _by_uid(companions)
    for same_uid in by_uid:
        digests = {content_digest(item) for item in same_uid} if len(same_uid) > 1 else {""}
        if len(digests) == 1 and None not in digests:
            kept.append(same_uid[0])
            outcomes += refused(same_uid[1:], Reason.SAME_PIXELS)
        else:
            outcomes += refused(same_uid, Reason.CONFLICTING_COPIES)
    return kept, outcomes


def _by_uid(items: Sequence[T]) -> tuple[list[list[T]], list[Outcome]]:
    """The files of each SOP Instance UID that differ in their bytes; an outcome for each copy of the same bytes."""
    outcomes: list[Outcome] = []
    by_uid: dict[str, dict[str, T]] = {}
    for item in sorted(items, key=lambda i: i.source_path):
        same_uid = by_uid.setdefault(item.SOPInstanceUID, {})
        if item.object in same_uid:
            outcomes += refused([item], Reason.SAME_BYTES)
        else:
            same_uid[item.object] = item
    return [list(same_uid.values()) for same_uid in by_uid.values()], outcomes


def _choose(
    copies: list[Instance], pixel_digest: PixelDigest, duplicates: Duplicates
) -> tuple[list[Instance], list[Outcome]]:
    """The copy to use of files that share a SOP Instance UID but not their bytes."""
    digests = {copy.source_path: pixel_digest(copy) for copy in copies}
    outcomes = [
        outcome
        for copy in copies
        if digests[copy.source_path] is None
        for outcome in refused([copy], Reason.UNDECODABLE, syntax_name(copy.format.TransferSyntaxUID))
    ]
    copies = [c for c in copies if digests[c.source_path] is not None]
    if len(copies) < 2:
        return copies, outcomes
    if duplicates == "quarantine":
        return [], outcomes + refused(copies, Reason.CONFLICTING_COPIES, UNWANTED)
    distinct = {digests[c.source_path] for c in copies}
    if len(distinct) == 1:
        first, *rest = sorted(copies, key=_preference)
        return [first], outcomes + refused(rest, Reason.SAME_PIXELS)
    lossless = [c for c in copies if not c.lossy]
    if lossless and len({digests[c.source_path] for c in lossless}) == 1:
        first, *rest = sorted(lossless, key=_preference)
        lossy = [c for c in copies if c.lossy]
        return [first], outcomes + refused(rest, Reason.SAME_PIXELS) + refused(lossy, Reason.LOSSY_COPY)
    return [], outcomes + refused(copies, Reason.CONFLICTING_COPIES)


def _preference(instance: Instance) -> tuple[bool, bool, str]:
    """Lossless first, then what needs no decoder, then the first path."""
    return (instance.lossy, instance.offset is None, instance.source_path)
