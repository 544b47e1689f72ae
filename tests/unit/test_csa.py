"""CSA headers: both kinds give the same values, and bytes that are none give nothing."""

from __future__ import annotations

import pytest

from oncurate import csa
from tests import mosaics

FIELDS = {
    "EchoLinePosition": ["64", "", ""],
    "SliceNormalVector": ["0.00000000", "0.05582123", "0.99844078"],
    "B_value": [1000],
    "PhaseGradientAmplitude": [],
}


@pytest.mark.parametrize("second", [True, False])
def test_both_kinds_give_the_same_values(second: bool) -> None:
    found = csa.values(mosaics.csa_header(FIELDS, second=second), ("SliceNormalVector", "B_value", "Absent"))
    assert found == {"SliceNormalVector": ["0.00000000", "0.05582123", "0.99844078"], "B_value": ["1000"]}
    assert csa.numbers(found, "SliceNormalVector", 3) == [0.0, 0.05582123, 0.99844078]


@pytest.mark.parametrize(("name", "length"), [("SliceNormalVector", 2), ("B_value", 3), ("Absent", 1)])
def test_another_number_of_values_is_none(name: str, length: int) -> None:
    found = csa.values(mosaics.csa_header(FIELDS), FIELDS)
    assert csa.numbers(found, name, length) == []


@pytest.mark.parametrize("text", ["nan", "inf", "one"])
def test_what_is_no_number_is_none(text: str) -> None:
    assert csa.numbers({"B_value": [text]}, "B_value", 1) == []


def test_bytes_that_are_no_csa_header_give_nothing() -> None:
    raw = mosaics.csa_header(FIELDS)
    for end in range(len(raw)):
        assert set(csa.values(raw[:end], FIELDS)) <= set(FIELDS)
    for other in (b"", b"SV10", b"\xff" * 400, b"\0" * 400, raw[:16] + b"\xff" * 200):
        assert csa.values(other, FIELDS) == {}


def test_the_protocol_places_slices_and_leaves_out_zeros() -> None:
    centres = [(0.0, -19.25, -32.5), (0.0, 0.0, 1e-7), (2.5, 0.0, 0.0)]
    assert csa.slice_centres(mosaics.protocol(centres)) == centres


@pytest.mark.parametrize("raw", [b"", b"sSliceArray.lSize = 3", b"sSliceArray.lSize = 0", b"sSliceArray.lSize = 9999"])
def test_a_protocol_without_slices_places_none(raw: bytes) -> None:
    assert csa.slice_centres(raw) == []
