"""Moments of a scan and of the injection of its tracer, and the interval, which may leave although they may not.

Belongs here: reading DICOM times and their difference. Does not belong here: dates that are shifted and ages
(`oncurate.identity`), or computing SUV from the interval (`oncurate.suv`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from oncurate.identity import parse_date

INJECTION_MAX_S = 86400.0
"""Seconds. A tracer given more than a day before the scan is an error of entry."""

START_DATETIME = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartDateTime"
START_TIME = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartTime"


def moment(day: Any, clock: Any) -> datetime | None:
    """The moment of a date (DA) and a time (TM) as local time without a zone, or None."""
    date, at = parse_date(day), _clock(clock)
    return None if date is None or at is None else datetime.combine(date, at)


def moment_of(value: Any) -> datetime | None:
    """The moment of a DICOM DT down to the second, or None; None with an offset from UTC, as the clocks may differ."""
    if not isinstance(value, str):
        return None
    text = value.strip(" \0")
    return moment(text[:8], text[8:])


def injected_at(raw: Mapping[str, Any]) -> datetime | None:
    """The moment of the injection, where the header gives both its date and its time."""
    return moment_of(raw.get(START_DATETIME))


def injected_before(raw: Mapping[str, Any], scan: datetime) -> float | None:
    """Seconds, 0 up to a day, from the time of day of the injection to `scan`, or None where no time is given.

    Where only the time is known (59 % of PET series in the field), an injection later on the clock than the scan was on
    the day before: tracers are given minutes to hours before a scan, also across midnight.
    """
    return _since_clock(raw, scan.time())


def since_injection(raw: Mapping[str, Any], day: Any, clock: Any) -> float | None:
    """Seconds from the injection to the moment `day` (DA), `clock` (TM) of the scan, or None.

    `raw` holds the radiopharmaceutical's start time, with or without its date; see `injected_before` for the latter.
    """
    scanned = _clock(clock)
    if scanned is None:
        return None
    injected, scan = injected_at(raw), moment(day, clock)
    if injected is not None and scan is not None:
        seconds = (scan - injected).total_seconds()
        return seconds if 0 <= seconds <= INJECTION_MAX_S else None
    return _since_clock(raw, scanned)


def _since_clock(raw: Mapping[str, Any], scanned: time) -> float | None:
    injected = _clock(raw.get(START_TIME))
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
