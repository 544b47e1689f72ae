"""The interval between the injection of a tracer and the scan, which may leave although neither time may.

Belongs here: reading DICOM times and their difference. Does not belong here: dates that are shifted and ages
(`oncurate.identity`), or computing SUV from the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from oncurate.identity import parse_date

INJECTION_MAX_S = 86400.0
"""Seconds. A tracer given more than a day before the scan is an error of entry."""


def since_injection(raw: Mapping[str, Any], day: Any, clock: Any) -> float | None:
    """Seconds from the injection to the moment `day` (DA), `clock` (TM) of the scan, or None.

    `raw` holds the radiopharmaceutical's start time, with or without its date. Where only the time is known (59 % of
    PET series in the field), an injection later on the clock than the scan was on the day before: tracers are given
    minutes to hours before a scan, also across midnight.
    """
    scanned = _clock(clock)
    if scanned is None:
        return None
    moment = raw.get("RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartDateTime")
    if isinstance(moment, str) and "+" not in moment and "-" not in moment:  # an offset from UTC: the clocks may differ
        injected_day, injected = parse_date(moment[:8]), _clock(moment[8:])
        scan_day = parse_date(day)
        if injected_day is not None and injected is not None and scan_day is not None:
            gap = datetime.combine(scan_day, scanned) - datetime.combine(injected_day, injected)
            seconds = gap.total_seconds()
            return seconds if 0 <= seconds <= INJECTION_MAX_S else None
    injected = _clock(raw.get("RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartTime"))
    if injected is None:
        return None
    return (_of_day(scanned) - _of_day(injected)) % timedelta(days=1) / timedelta(seconds=1)


def _clock(value: Any) -> time | None:
    """A DICOM time (VR TM: HHMMSS, with an optional fraction), or None."""
    if not isinstance(value, str):
        return None
    whole, _, fraction = value.strip(" \0").partition(".")
    if len(whole) != 6 or not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        return None
    try:
        return time(int(whole[:2]), int(whole[2:4]), int(whole[4:]), int(fraction[:6].ljust(6, "0")))
    except ValueError:
        return None


def _of_day(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)
