"""The chain's first step: dicom-anonymizer over every folder of a tree, as its command line does for one folder.

Belongs here: walking the folders, in one process. Does not belong here: measuring.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dicomanonymizer.anonymizer import anonymize


def main(source: Path, target: Path) -> None:
    """Anonymise the tree `source` into a tree of the same shape."""
    for folder, _, files in sorted(os.walk(source)):
        if files:
            out = target / Path(folder).relative_to(source)
            out.mkdir(parents=True)
            anonymize(folder, str(out), {}, True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
