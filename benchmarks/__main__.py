"""The command line: `python -m benchmarks [NAME ...]`, of chain, scaling, stages, fidelity, antialias, dice,
deidentify, phi, pixel-text, pull; unnamed, the first two.

Belongs here: arguments. Does not belong here: any measurement.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import antialias, archive, chain, deidentify, dice, fidelity, meter, pixel_text, pull, scaling, stages
from benchmarks.phi import bench as phi


def main() -> None:
    """Run the benchmarks that were asked for, print their tables, and keep their figures in bench-out/."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="chain scaling (the default) stages fidelity antialias dice deidentify phi pixel-text pull",
    )
    parser.add_argument("--data", type=Path, action="append", help="folder of DICOM files for chain, fidelity and dice")
    parser.add_argument("--megabytes", type=int, default=archive.MEGABYTES, help="size of the archive of chain, pull")
    parser.add_argument("--repetitions", type=int, default=1, help="turns of chain and deidentify")
    parser.add_argument("--series", type=int, nargs="+", default=[10, 100, 1000], help="sizes for scaling")
    arguments = parser.parse_args()
    names = arguments.names or ["chain", "scaling"]
    unknown = set(names) - {
        "chain",
        "scaling",
        "stages",
        "fidelity",
        "antialias",
        "dice",
        "deidentify",
        "phi",
        "pixel-text",
        "pull",
    }
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
            elif name == "deidentify":
                figures = deidentify.run(arguments.data or archive.default_data(), Path(folder), arguments.repetitions)
            elif name == "antialias":
                figures = antialias.run()
            elif name == "pixel-text":
                figures = pixel_text.run(arguments.data or archive.default_data())
            elif name == "pull":
                figures = pull.run(Path(folder), arguments.megabytes)
            elif name == "phi":
                figures = phi.run(Path(folder))
            elif name == "dice":
                figures = dice.run(arguments.data or archive.default_data())
            else:
                figures = stages.run()
        print(f"\n{meter.save(name, figures)}\n")
        if name == "fidelity":
            fidelity.exit_if_unexplained(figures)
        if name == "phi":
            phi.exit_if_bad(figures)


if __name__ == "__main__":
    main()
