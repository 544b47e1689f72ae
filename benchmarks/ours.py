"""Our side: `oncurate curate` as a command on a local folder, with a fresh work zone and target.

Belongs here: the provider file and the command. Does not belong here: measuring (`benchmarks.meter`).
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from benchmarks import meter
from benchmarks.meter import Cost

SECRET = "benchmark-secret-no-patient-behind-it"
_STAGE = re.compile(r"^(\w+)\s+([\d.]+) s  ", re.MULTILINE)


def curate(source: Path, folder: Path, name: str) -> tuple[Cost, dict[str, float]]:
    """Curate `source` from nothing; what it cost, and the wall seconds of each stage.

    Prefect's database is that of the runs before in `folder`: only a machine's first run pays for making one.
    """
    base, log = folder / name, folder / f"{name}.log"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    provider_file = base / "provider.yaml"
    provider = {
        "dataset": name,
        "title": "A benchmark",
        "provider": {"name": "Made", "country": "XX"},
        "source": str(source.resolve()),
        "target": str(base.resolve() / "curated"),
        "work": str(base.resolve() / "work"),
        "secret_env": "ONCURATE_BENCH_SECRET",
    }
    provider_file.write_text(json.dumps(provider), encoding="utf-8")  # JSON is YAML
    env = {"ONCURATE_BENCH_SECRET": SECRET, "PREFECT_HOME": str((folder / "prefect").resolve())}
    command = Path(sys.executable).with_name("oncurate")
    cost = meter.measure([command, "curate", provider_file], log, env)
    stages = {stage: float(seconds) for stage, seconds in _STAGE.findall(log.read_text(encoding="utf-8"))}
    shutil.rmtree(base)
    return cost, stages
