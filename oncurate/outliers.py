"""Which volumes stand out among their like.

Belongs here: strata and robust z scores over the rows of the quality table. Does not belong here: measuring
(`oncurate.quality`). No fixed threshold of an image-quality metric holds across vendors and sequences, so a volume is
compared only within its stratum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from oncurate.quality import EMPTY_BACKGROUND_FBER, INTENSITY_METRICS

ROBUST_Z = 3.5
"""Absolute modified z score above which a value is an outlier (Iglewicz and Hoaglin 1993)."""
CONSISTENCY = 0.6745
"""Third quartile of the normal distribution: scales the MAD to a standard deviation (Iglewicz and Hoaglin 1993)."""
LEAST_IN_STRATUM = 8
"""Values without which a median and a MAD say nothing about a ninth."""
STRATUM_KEYS = ("Manufacturer", "Modality", "ScanningSequence")
_INPUTS_ONLY = frozenset({"Manufacturer", "ScanningSequence"})
"""Keys of the rows that are not columns of the quality table."""


def flag(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows in their order with `stratum`, `outlier_metrics` and `robust_z_max`.

    Each row holds the metrics and STRATUM_KEYS; those that are no column of the quality table are taken out.
    """
    rows = list(rows)
    strata: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        strata["|".join(str(row.get(key) or "unknown") for key in STRATUM_KEYS)].append(number)
    flagged: list[dict[str, Any]] = [{}] * len(rows)
    for stratum, numbers in strata.items():
        scores = {metric: robust_z([_number(rows[n], metric) for n in numbers]) for metric in INTENSITY_METRICS}
        for place, number in enumerate(numbers):
            mine = {metric: z[place] for metric, z in scores.items() if z[place] is not None}
            flagged[number] = {key: value for key, value in rows[number].items() if key not in _INPUTS_ONLY} | {
                "stratum": stratum,
                "outlier_metrics": [metric for metric, z in mine.items() if abs(z) > ROBUST_Z],
                "robust_z_max": max(map(abs, mine.values()), default=None),
            }
    return flagged


def robust_z(values: list[float | None]) -> list[float | None]:
    """0.6745 (x - median) / MAD for each value; None for None, in small strata, and where most values are equal."""
    present = np.array([value for value in values if value is not None], dtype=np.float64)
    if present.size < LEAST_IN_STRATUM:
        return [None] * len(values)
    median = np.median(present)
    spread = float(np.median(np.abs(present - median)))
    if spread == 0:
        return [None] * len(values)
    return [None if value is None else float(CONSISTENCY * (value - median) / spread) for value in values]


def _number(row: Mapping[str, Any], metric: str) -> float | None:
    value = row.get(metric)
    return None if metric == "fber" and value == EMPTY_BACKGROUND_FBER else value
