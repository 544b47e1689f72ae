"""Every way in which oncurate stops, in one tree, with the exit code of each kind.

Belongs here: errors that end a run, and the rejection of one thing. Does not belong here: reasons
(`oncurate.reasons`).

An error stops a run and tells its reader what to do. What concerns one file, series or volume is not an error but a
`Rejection`, which ends as a row of the ledger. No message ever holds a value read from an image.
"""

from __future__ import annotations

from oncurate.reasons import Reason


class OncurateError(Exception):
    """Base of the errors that end a run; `exit_code` is what the command line returns."""

    exit_code = 5


class UsageError(OncurateError):
    """The command line, the provider file or the environment asks for something that cannot be."""

    exit_code = 2


class GateRefused(OncurateError):
    """A gate refused to let a stage's output pass, or the run refused more than its limit."""

    exit_code = 3


class StoreUnreachable(OncurateError):
    """A source, work zone or target cannot be reached, refuses us, is full or is in use by another run."""

    exit_code = 4


class Defect(OncurateError):
    """An invariant of ours does not hold: a bug, never the provider's fault."""

    exit_code = 5


class AlreadyExists(Exception):
    """A create-only write found its key taken. Callers decide whether that is good news."""


class Rejection(Exception):
    """One file, series or volume cannot go on; `reason` says why, from the closed list.

    `detail` may hold names of attributes, syntaxes or expectations and numbers that we computed, never a value read
    from a header. Raise it `from None`, so that no library's message travels along.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple:  # exceptions with two arguments do not unpickle by themselves
        return (type(self), (self.reason, self.detail))
