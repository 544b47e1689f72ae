"""Files of one series that hold the same image more than once.

Belongs here: which copy is used and what becomes of the others. Does not belong here: different images at one position
(`oncurate.plan`). Pixels are decoded only where two files with different bytes claim one SOP Instance UID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from oncurate.decoders import syntax_name
from oncurate.policies import Duplicates
from oncurate.reasons import Reason
from oncurate.records import Instance, Outcome

STAGE = "index"
UNWANTED = "policy duplicates: quarantine"
"""Detail of a refusal that only the policy asks for."""

PixelDigest = Callable[[Instance], str | None]
"""SHA-256 over the decoded pixels of a file; None if they cannot be decoded."""


def refused(instances: Iterable[Instance], reason: Reason, detail: str = "") -> list[Outcome]:
    """An outcome for each file."""
    return [Outcome.refused(i.source_path, STAGE, reason, detail) for i in instances]


def resolve(
    instances: Sequence[Instance], pixel_digest: PixelDigest, duplicates: Duplicates = "keep_one"
) -> tuple[list[Instance], list[Outcome]]:
    """The instances to go on with, one for each SOP Instance UID and content, and an outcome for every other.

    Under `duplicates` "quarantine", files that share a UID but not their bytes are all refused as CONFLICTING_COPIES.
    """
    kept: list[Instance] = []
    outcomes: list[Outcome] = []
    by_uid: dict[str, dict[str, Instance]] = {}
    for instance in sorted(instances, key=lambda i: i.source_path):
        same_uid = by_uid.setdefault(instance.SOPInstanceUID, {})
        if instance.object in same_uid:
            outcomes += refused([instance], Reason.SAME_BYTES)
        else:
            same_uid[instance.object] = instance
    for same_uid in by_uid.values():
        if len(same_uid) == 1:
            kept += same_uid.values()
        else:
            used, others = _choose(list(same_uid.values()), pixel_digest, duplicates)
            kept += used
            outcomes += others
    return kept, outcomes


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
