"""Looking for identifiers: among pixels, many at once; in headers, each pair of identifier and piece once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate import leaks
from oncurate.deid import haystack, written
from oncurate.deid.proof import Proof

RNG = np.random.default_rng(7)
BUFFERS = {
    "air and tissue": RNG.normal(60, 30, 4096).astype(np.int16).tobytes(),
    "8 bits": RNG.normal(80, 20, 4096).astype(np.uint8).tobytes(),
    "16 bits": RNG.integers(0, 65536, 4096).astype(np.uint16).tobytes(),
    "empty": bytes(4096),
}
NAMES = ["Kowalska^Anna", "PAT-0042", "abcdef", "1.2.840.99999.3.44", "zo'n-naam_", "Q:W.E-R"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(BUFFERS)),
    st.sampled_from(NAMES),
    st.sampled_from(["ascii", "utf-16-le", "utf-16-be"]),
    st.sampled_from([str.lower, str.upper, str.swapcase, str]),
    st.integers(0, 4),
    st.integers(0, 4090),
)
def test_an_identifier_is_found_wherever_it_stands(kind, name, codec, spelt, cut, at) -> None:
    buffer = bytearray(BUFFERS[kind][: len(BUFFERS[kind]) - cut])
    raw = spelt(name).encode(codec)
    at = min(at, len(buffer) - len(raw))
    buffer[at : at + len(raw)] = raw
    assert haystack.needles(NAMES).found(bytes(buffer)) == {name}


@pytest.mark.parametrize("kind", sorted(BUFFERS))
def test_nothing_is_found_where_nothing_is(kind: str) -> None:
    assert haystack.needles(NAMES).found(BUFFERS[kind]) == set()
    assert haystack.needles([]).found(BUFFERS[kind]) == set()
    assert haystack.needles(NAMES).found(b"abcde") == set()


def test_short_names_and_numbers_stand_there_by_chance() -> None:
    assert haystack.needles(["Wu^Li", "123456789"]).found(b"Wu^Li 123456789 ") == set()
    assert haystack.needles(["1234567890"]).found(b" 1234567890 ") == {"1234567890"}


@pytest.mark.parametrize("codec", ["utf-8", "latin-1", "utf-16-le", "utf-16-be"])
def test_names_beyond_ascii_are_found_by_their_encodings(codec: str) -> None:
    assert haystack.needles(["Müller^Jörg"]).found(b"\1\2\3" + "Müller^Jörg".encode(codec)) == {"Müller^Jörg"}


def test_more_identifiers_can_be_added() -> None:
    some = haystack.needles(["Kowalska^Anna"])
    assert some.plus(["PAT-0042"]).found(b" PAT-0042 kowalska^anna ") == {"PAT-0042", "Kowalska^Anna"}
    assert some.found(b" PAT-0042 ") == set()


WORDS = st.text("ab12.-^ ÜKow", min_size=1, max_size=14)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(WORDS, st.sampled_from(["Kowalska^Anna", "4711-0815", "1.2.840.99.77"])), max_size=4),
    st.lists(st.one_of(WORDS, st.sampled_from(["xkowalskaannax", "4711-0815.0", "1.2.840.99.77"])), max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_proof_doubts_all_that_a_search_finds(values, texts, random) -> None:
    steps = [("value", value) for value in values] + [("piece", text.encode()) for text in texts]
    random.shuffle(steps)
    proof = Proof()
    for kind, what in steps:
        if kind == "value":
            proof.add_identifiers([what])
        else:
            proof.add_piece(what, what)
    for text in texts:
        piece = text.encode()
        for value in values:
            if leaks.search(written.shown(piece), [value]):
                assert not proof.holds([value, piece])


def test_the_proof_holds_for_what_has_nothing_in_common() -> None:
    proof = Proof()
    proof.add_identifiers(["Kowalska^Anna", "Müller", "4711-0815"])
    proof.add_piece("one", b"\x08\0\x70\0LO\x08\0SIEMENS ")
    proof.add_identifiers(["1.2.840.99.77.1"])
    assert proof.holds(["one", "Kowalska^Anna", "Müller", "4711-0815", "1.2.840.99.77.1"])
    proof.add_piece("two", b"LO\x08\0anna kowalska^anna")
    assert not proof.holds(["two"])
    assert proof.holds(["one", "Kowalska^Anna"])
    proof.add_piece("three", "Müller".encode("latin-1"))
    assert not proof.holds(["three"])
