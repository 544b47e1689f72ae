"""Conservation: whatever the stages say, files in equals the sum of the four ends, and order does not matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate import ledger
from oncurate.ledger import Place
from oncurate.reasons import Reason, State
from oncurate.records import Outcome, SourceObject

END = st.one_of(st.none(), st.sampled_from(Reason))


@st.composite
def archives(draw):
    """Objects, the outcomes about them, and the volumes of those without one; None is a curated file."""
    ends = draw(
        st.dictionaries(st.text("abc/!.é ", min_size=1, max_size=8), st.tuples(END, st.booleans()), max_size=30)
    )
    objects, outcomes, places = [], [], {}
    for path, (reason, at_pull) in ends.items():
        pulled = reason if at_pull else None
        objects.append(SourceObject(source_path=path, url="", bytes=1, version="", sha256="", reason=pulled))
        if reason is None:
            places[path] = Place("2.25.1", "volume")
        elif not at_pull:
            outcomes.append(Outcome(key=path, stage="index", state=reason.state, reason=reason))
    return ends, objects, outcomes, places


@given(archives(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_files_in_equal_the_sum_of_their_ends(archive, random):
    ends, objects, outcomes, places = archive
    rows = ledger.build(objects, {}, outcomes, places)
    sums = ledger.counts(rows)
    assert len(rows) == len(objects) == sums.files == sum(sums.by_state.values())
    assert sum(sums.by_reason.values()) == sums.files - sums.by_state[State.CURATED]
    assert {row["source_path"]: row["reason"] for row in rows} == {p: reason for p, (reason, _) in ends.items()}
    random.shuffle(objects)
    random.shuffle(outcomes)
    assert list(ledger.build(objects, {}, outcomes, places)) == list(rows)
