"""The command line: `python -m benchmarks [chain | scaling | stages | fidelity | antialias]`; unnamed, the first two.

Belongs here: arguments. Does not belong here: any measurement.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import antialias, archive, chain, fidelity, meter, scaling, stages


def main() -> None:
    """Run the benchmarks that were asked for, print their tables, and keep their figures in bench-out/."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="chain, scaling, stages, fidelity, antialias (default: chain scaling)"
    )
    parser.add_argument("--data", type=Path, action="append", help="folder of DICOM files for chain and fidelity")
    parser.add_argument("--megabytes", type=int, default=archive.MEGABYTES, help="size of chain's archive at least")
    parser.add_argument("--repetitions", type=int, default=1, help="turns of chain")
    parser.add_argument("--series", type=int, nargs="+", default=[10, 100, 1000], help="sizes for scaling")
    arguments = parser.parse_args()
    names = arguments.names or ["chain", "scaling"]
    unknown = set(names) - {"chain", "scaling", "stages", "fidelity", "antialias"}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in names:
        print(f"== {name} ==")
        with tempfile.TemporaryDirectory(prefix="oncurate-bench-") as folder:
            if name == "chain":
                data = arguments.data or archive.default_data()
                figures: object = chain.run(data, Path(folder), arguments.repetitions, arguments.megabytes)
            elif name == "scaling":
                figures = scaling.run(Path(folder), arguments.series)
            elif name == "fidelity":
                figures = fidelity.run(arguments.data or archive.default_data())
            elif name == "antialias":
                figures = antialias.run()
            else:
                figures = stages.run()
        print(f"\n{meter.save(name, figures)}\n")
        if name == "fidelity":
            fidelity.exit_if_unexplained(figures)


if __name__ == "__main__":
    main()
