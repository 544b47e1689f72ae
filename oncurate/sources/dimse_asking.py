"""How long a PACS is asked for the instances of a series: until they are there, or asking again is in vain.

Belongs here: which outcomes of a retrieve are final, and when instances are asked for one by one. Does not belong here:
the requests (`oncurate.sources.dimse_link`), waiting before the next attempt (`oncurate.sources.pace`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from enum import IntEnum
from functools import partial

from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.sources.pace import Again, Pace


class Outcome(IntEnum):
    """How one C-GET or C-MOVE ended, the least final first."""

    LATER = 0
    """It broke off, the PACS is out of resources, or what it sent may still be on its way."""
    UNEXPLAINED = 1
    """Answered to the end, and nothing said of single objects; one that cannot be sent keeps some from sending any."""
    DONE = 2
    """Answered to the end: the objects that did not come could not be sent."""


class Attempts:
    """Called once an attempt: returns when nothing is missing, raises `Again` while something may still come, and
    `Rejection` (TRANSFER_INCOMPLETE) where it will not.

    `missing` shrinks as objects arrive. `send` asks for some of them. A PACS that lists what it cannot send is not
    asked for as long as one that is down: the second answer that brings nothing new is the last. Where a list brings
    nothing and no word on its objects, each is asked for alone, once and for `limit_s` at most, so that one bad object
    does not keep the others away. With `has_other_way` (C-MOVE after C-GET) the first attempt that brings nothing new
    is the last, as some servers refuse C-GET by breaking off.
    """

    def __init__(
        self,
        missing: Collection[str],
        send: Callable[[Sequence[str]], Outcome],
        pace: Pace,
        limit_s: float,
        *,
        has_other_way: bool = False,
    ) -> None:
        self._missing, self._send, self._pace, self._has_other_way = missing, send, pace, has_other_way
        self._until = time.monotonic() + limit_s
        self._was_answered = False
        self._may_ask_singly = True
        self._is_stuck = False

    def __call__(self) -> None:
        before, singly = len(self._missing), self._is_stuck
        outcome = self._one_by_one() if singly else self._send(sorted(self._missing))
        if not self._missing:
            return
        is_vain = len(self._missing) == before
        if is_vain and self._has_other_way:
            raise Rejection(Reason.TRANSFER_INCOMPLETE)
        if outcome is not Outcome.LATER:
            if singly or (is_vain and self._was_answered):
                raise Rejection(Reason.TRANSFER_INCOMPLETE)
            self._was_answered = True
        self._is_stuck = is_vain and outcome is not Outcome.DONE and self._may_ask_singly and len(self._missing) > 1
        raise Again("does not send all of a series", cut=True)

    def _one_by_one(self) -> Outcome:
        """Each on its own; the least final outcome of those that did not come."""
        self._may_ask_singly = self._is_stuck = False
        outcomes = [Outcome.DONE]
        for uid in sorted(self._missing):
            if time.monotonic() > self._until:
                return Outcome.LATER
            outcome = self._pace.ask(partial(self._send, [uid]))
            if uid in self._missing:
                outcomes.append(outcome)
        return min(outcomes)
