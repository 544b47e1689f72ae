"""Daily time windows in which a source may be asked.

Belongs here: reading "20:00-06:00 Europe/Amsterdam" and telling when it is open. Does not belong here: waiting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Windows:
    """Daily windows on the clock of one time zone; each opens at its first time and closes at its second."""

    spans: tuple[tuple[time, time], ...]
    zone: str

    @classmethod
    def parse(cls, text: str) -> Windows:
        """From "20:00-06:00 Europe/Amsterdam"; several spans are separated by commas. Raises ValueError."""
        spans, _, zone = text.strip().rpartition(" ")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError('write it as "20:00-06:00 Europe/Amsterdam": the last word is a time zone') from None
        found = [_FORM.fullmatch(span.strip()) for span in spans.split(",")]
        try:
            times = tuple((time(int(m[1]), int(m[2])), time(int(m[3]), int(m[4]))) for m in found if m)
        except ValueError:
            raise ValueError("a time of day lies between 00:00 and 23:59") from None
        if len(times) != len(found) or any(start == end for start, end in times):
            raise ValueError('write it as "20:00-06:00 Europe/Amsterdam"')
        return cls(times, zone)

    def is_open(self, now: datetime) -> bool:
        """Whether one of the windows is open at `now` (with a time zone)."""
        clock = now.astimezone(ZoneInfo(self.zone)).time()
        return any(a <= clock < b if a < b else clock >= a or clock < b for a, b in self.spans)

    def opens_at(self, now: datetime) -> datetime:
        """The next opening on the zone's own clock and calendar; `now` while a window is open."""
        local = now.astimezone(ZoneInfo(self.zone))
        if self.is_open(now):
            return local
        starts = (
            datetime.combine(local.date() + timedelta(days=day), start, ZoneInfo(self.zone))
            for day in (0, 1, 2)
            for start, _ in self.spans
        )
        return min((start for start in starts if start.astimezone(UTC) > now), key=lambda start: start.astimezone(UTC))

    def opens_in(self, now: datetime) -> float:
        """Seconds from `now` until the next opening; 0 while one is open."""
        return (self.opens_at(now).astimezone(UTC) - now).total_seconds()
