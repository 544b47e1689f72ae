"""The demonstration: real images that two packages ship, as a provider's archive.

Belongs here: laying out the archive and its provider file. Does not belong here: the job itself, which is the
ordinary one.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import yaml

from oncurate.errors import UsageError

SECRET = "oncurate-demonstration-only"
"""Not secret: the demonstration's images are public. Real archives take theirs from the environment."""

PROVIDER = {
    "dataset": "demo",
    "title": "Images that pydicom and pydicom-data ship",
    "provider": {"name": "The pydicom developers", "country": "XX"},
    "description": "Real and made test images of many kinds, among them broken ones, from two Python packages.",
    "access_rights": "See the licences of the packages pydicom and pydicom-data.",
    "source": "archive",
    "target": "curated",
    "work": "work",
}


PACKAGES = (("pydicom", "data/test_files"), ("data_store", "data"))
"""Modules that ship images, and the folder in each; data_store comes with the package pydicom-data."""


def set_up(folder: Path) -> Path:
    """Lay out the archive in `folder`, write a provider file beside it, and return its path."""
    lay_out(folder / "archive")
    provider_file = folder / "provider.yaml"
    provider_file.write_text(yaml.safe_dump(PROVIDER, sort_keys=False), encoding="utf-8")
    return provider_file


def lay_out(archive: Path) -> None:
    """Copy the packages' images into `archive`; what is there already stays."""
    for module, inner in PACKAGES:
        if find_spec(module) is None:
            raise UsageError("the demonstration needs the packages pydicom and pydicom-data; `make env` installs them")
        if not (archive / module).exists():
            ignore = shutil.ignore_patterns("*.py", "__pycache__")
            shutil.copytree(Path(str(files(module))) / inner, archive / module, ignore=ignore)
