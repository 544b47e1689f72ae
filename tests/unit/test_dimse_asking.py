"""How long a PACS is asked for what it does not send."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from oncurate.errors import Rejection, StoreUnreachable
from oncurate.sources.dimse_asking import Attempts, Outcome
from oncurate.sources.pace import Again, Pace
from oncurate.sources.settings import PullSettings

ATTEMPTS = 6
PACE = Pace(
    PullSettings.model_validate({"retries": {"attempts": ATTEMPTS, "first_wait_s": 1e-6, "longest_wait_s": 1e-6}}), "x"
)
Send = Callable[[set[str], Sequence[str]], Outcome]


def asked(send: Send, count: int = 4, limit_s: float = 60.0, **keys: bool) -> tuple[list[int], set[str]]:
    """How many objects each request asked for, and what is missing in the end."""
    missing, requests = {str(number) for number in range(count)}, []

    def recorded(uids: Sequence[str]) -> Outcome:
        requests.append(len(uids))
        return send(missing, uids)

    try:
        PACE.ask(Attempts(missing, recorded, PACE, limit_s, **keys))
    except Rejection:
        assert missing
    return requests, missing


def sends_but(bad: str, outcome: Outcome) -> Send:
    """A PACS that sends all but one, and then says so."""

    def send(missing: set[str], uids: Sequence[str]) -> Outcome:
        missing -= set(uids) - {bad}
        return outcome

    return send


def chokes_on(bad: str, outcome: Outcome) -> Send:
    """A PACS that sends nothing where one object is asked for."""

    def send(missing: set[str], uids: Sequence[str]) -> Outcome:
        if bad not in uids:
            missing -= set(uids)
        return outcome

    return send


def test_what_comes_is_asked_for_once() -> None:
    assert asked(sends_but("", Outcome.DONE)) == ([4], set())


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.UNEXPLAINED])
def test_the_second_answer_without_news_is_the_last(outcome: Outcome) -> None:
    assert asked(sends_but("2", outcome)) == ([4, 1], {"2"})
    assert asked(sends_but("0", outcome), count=1) == ([1, 1], {"0"})


def test_what_may_still_come_is_asked_for_until_patience_ends() -> None:
    assert asked(sends_but("2", Outcome.LATER)) == ([4, *[1] * (ATTEMPTS - 1)], {"2"})


def test_objects_that_are_named_as_failed_are_not_asked_for_one_by_one() -> None:
    assert asked(lambda *_: Outcome.DONE) == ([4, 4], {"0", "1", "2", "3"})


def test_a_list_that_brings_nothing_is_asked_for_one_by_one_once() -> None:
    assert asked(chokes_on("1", Outcome.UNEXPLAINED)) == ([4, 1, 1, 1, 1], {"1"})
    assert asked(chokes_on("1", Outcome.LATER)) == ([4, 1, 1, 1, 1, *[1] * (ATTEMPTS - 2)], {"1"})
    assert asked(lambda *_: Outcome.LATER) == ([4, 1, 1, 1, 1, *[4] * (ATTEMPTS - 2)], {"0", "1", "2", "3"})


def test_where_there_is_another_way_it_is_gone_at_once() -> None:
    assert asked(lambda *_: Outcome.LATER, has_other_way=True) == ([4], {"0", "1", "2", "3"})
    assert asked(sends_but("2", Outcome.LATER), has_other_way=True) == ([4, 1], {"2"})


def test_asking_one_by_one_ends_in_time() -> None:
    assert asked(chokes_on("1", Outcome.UNEXPLAINED), limit_s=-1.0)[0] == [4, 4]


def test_a_pacs_that_is_down_is_no_fault_of_the_objects() -> None:
    def down(_: set[str], uids: Sequence[str]) -> Outcome:
        if len(uids) > 1:
            return Outcome.UNEXPLAINED
        raise Again("does not answer")

    with pytest.raises(StoreUnreachable, match="does not answer"):
        asked(down)
