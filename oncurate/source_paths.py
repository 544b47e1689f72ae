"""Names of files as they stand in a `source_path`: valid text, unique, and nothing that passes for something else.

Belongs here: turning the names of folders, buckets and archives into paths of the ledger. Does not belong here: paths
on a disk; no name from an archive ever becomes one.
"""

from __future__ import annotations

import re

INSIDE = "!/"
"""Stands between the path of an archive file and the path of a member in it."""


def clean(name: str) -> str:
    """`name` as valid text, without empty and "." parts, and with a second "!" on folders that end in one.

    The latter keeps `INSIDE` for archives: no file can pass for the member of an archive beside it.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "/".join(part for part in text.split("/") if part not in ("", ".")).replace("!/", "!!/")


def folder_prefix(path: str) -> str:
    """What the paths of the files in the folder `path`, itself clean, start with."""
    return f"{path}!/" if path.endswith("!") else f"{path}/"


def is_unsafe(name: str) -> bool:
    """Whether a member's name is absolute, leads upwards, or is none at all."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or "\x00" in name or bool(re.match(r"[A-Za-z]:", name)) or not clean(name)


def unique(path: str, taken: set[str]) -> str:
    """`path`, or with "#2", "#3", ... where it is `taken`, which then holds it, too."""
    free, number = path, 1
    while free in taken:
        number += 1
        free = f"{path}#{number}"
    taken.add(free)
    return free
