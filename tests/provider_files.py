"""Provider files of made data sets.

Belongs here: writing one with the keys that a test asks for. Does not belong here: the archive that it names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def provider_file(folder: Path, **keys: Any) -> Path:
    """A provider file in `folder` for `folder`/archive; `keys` are put over the usual ones, None removes one."""
    value = {
        "dataset": "made",
        "title": "Made images",
        "provider": {"name": "Nobody", "country": "XX"},
        "source": "archive",
        "target": "curated",
        "work": "work",
        **keys,
    }
    path = folder / "provider.yaml"
    kept = {key: said for key, said in value.items() if said is not None}
    path.write_text(yaml.safe_dump(kept), encoding="utf-8")
    return path
