"""Seconds between the injection and the scan."""

from __future__ import annotations

import pytest

from oncurate.intervals import since_injection

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
