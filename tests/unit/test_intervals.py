"""Seconds between the injection and the scan."""

from __future__ import annotations

from datetime import datetime

import pytest

from oncurate.intervals import injected_at, injected_before, moment, moment_of, since_injection

at = datetime.fromisoformat
START = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStart"


@pytest.mark.parametrize(
    ("raw", "day", "clock", "seconds"),
    [
        ({START + "Time": "091200"}, "20230405", "101200.500000", 3600.5),
        ({START + "Time": "233000"}, "20230405", "003000", 3600.0),  # across midnight
        ({START + "Time": "233000"}, None, "003000", 3600.0),
        ({START + "DateTime": "20230404233000.0"}, "20230405", "003000", 3600.0),
        ({START + "DateTime": "20230401233000"}, "20230405", "003000", None),  # days before: an error of entry
        ({START + "DateTime": "20230406000000"}, "20230405", "003000", None),  # after the scan
        ({START + "DateTime": "20230404233000+0100", START + "Time": "233000"}, "20230405", "003000", 3600.0),
        ({START + "Time": "0912"}, "20230405", "101200", None),
        ({START + "Time": "JOHN^D"}, "20230405", "101200", None),
        ({START + "Time": "091200"}, "20230405", "256000", None),
        ({START + "Time": "091200"}, "20230405", None, None),
        ({}, "20230405", "101200", None),
    ],
)
def test_the_interval(raw, day, clock, seconds):
    assert since_injection(raw, day, clock) == seconds


def test_moments():
    assert moment("20230405", "101200.5") == at("2023-04-05T10:12:00.500")
    assert moment_of(" 20230405101200.00\0") == at("2023-04-05T10:12:00")
    assert injected_at({START + "DateTime": "20230404233000"}) == at("2023-04-04T23:30:00")
    for nothing in (None, 20230405101200.0, "", "20230405", "2023040510", "20230405101200+0100", "JOHN^DOE"):
        assert moment_of(nothing) is None
        assert moment("20230405", nothing) is None
        assert injected_at({START + "DateTime": nothing}) is None


def test_a_time_of_injection_is_of_the_day_before_at_most():
    scan = at("2023-04-05T00:30:00")
    assert injected_before({START + "Time": "233000"}, scan) == 3600.0
    assert injected_before({START + "Time": "003000"}, scan) == 0.0
    assert injected_before({START + "Time": "003001"}, scan) == 86399.0
    assert injected_before({START + "DateTime": "20230404233000"}, scan) is None
