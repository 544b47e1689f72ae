"""Whether the cost per series grows with their number: 10, 100, 1,000 small made CT series.

Belongs here: the ladder and its table. Does not belong here: measuring (`benchmarks.meter`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import archive
from benchmarks.ours import curate
from benchmarks.show import print_table


def run(folder: Path, counts: list[int]) -> list[dict[str, object]]:
    """Curate archives of growing size; print and return cost per series with the fixed cost apart.

    The fixed cost is that of an archive of one series.
    """
    found = []
    archive.make_series(folder / "warm-up", 1)
    curate(folder / "warm-up", folder, "scaling-0")
    for count in [1, *counts]:
        source = folder / f"series-{count}"
        size = archive.make_series(source, count)
        cost, stages = curate(source, folder, f"scaling-{count}")
        shutil.rmtree(source)
        found.append({"series": count, "bytes": size, "stages_wall_s": stages, **cost.as_json()})
        print(f"{count} series: {cost.cpu_s:.1f} CPU s, {cost.wall_s:.1f} s", flush=True)
    fixed = found[0]
    rows = [
        (
            str(entry["series"]),
            f"{entry['cpu_s']:.1f}",
            f"{entry['wall_s']:.1f}",
            f"{entry['peak_mb']:.0f}",
            f"{1000 * (entry['cpu_s'] - fixed['cpu_s']) / entry['series']:.0f}",
            f"{1000 * (entry['wall_s'] - fixed['wall_s']) / entry['series']:.0f}",
        )
        for entry in found[1:]
    ]
    print()
    print_table(("series", "CPU s", "wall s", "peak MB", "CPU ms a series", "wall ms a series"), rows)
    print(f"fixed, apart: {fixed['cpu_s']:.1f} CPU s, {fixed['wall_s']:.1f} s (one series)\n")
    names = list(dict.fromkeys(name for entry in found for name in entry["stages_wall_s"]))
    print_table(
        ("wall s by stage", *names),
        [(str(e["series"]), *(f"{e['stages_wall_s'].get(n, 0):.1f}" for n in names)) for e in found],
    )
    return found
