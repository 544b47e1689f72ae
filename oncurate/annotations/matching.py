"""Which image a delivered label file belongs to.

Belongs here: the three rules (a manifest, the file's name, its grid) and their order. Does not belong here: references
inside DICOM objects (`oncurate.annotations.references`), reading label files (`oncurate.annotations.labelfiles`).

A manifest's line decides; else the name rule narrows the images down; what is left must have the grid of the file. A
file that neither names belongs to the images in its own folder, or in the nearest one above that has any whose grid it
fits. An image that it covers goes before one that it is a part of; several that fit alike are never guessed between.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from oncurate.annotations import lattice
from oncurate.annotations.labelfiles import Delivered
from oncurate.errors import Rejection, UsageError
from oncurate.reasons import Reason
from oncurate.records import Geometry

LABEL_FILE = "label_file"
IMAGE = "image"
"""Columns of a manifest: the label file's path, and the path of an image file or of a folder of them; both relative to
the manifest."""
UIDS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
"""Further columns of a manifest, and the groups that a name rule may have."""


@dataclass(frozen=True)
class Candidate:
    """An image that a label file may belong to. Identified: UIDs and paths are the source's."""

    key: str  # what the caller knows it by
    geometry: Geometry
    SeriesInstanceUID: str
    StudyInstanceUID: str
    PatientID: str
    source_paths: tuple[str, ...]  # of its files, relative to the source


@dataclass(frozen=True)
class Rules:
    """How label files name their images: a manifest's `rows` by label file, and the `name` rule."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    name: re.Pattern[str] | None = None


def rules_of(*, manifest: bytes | None = None, manifest_path: str = "", name: str | None = None) -> Rules:
    """The rules of a provider: the bytes of a manifest CSV and its path in the source, a regular expression with groups
    out of UIDS that is searched in the label file's path. UsageError where they are not so.
    """
    pattern = None
    if name is not None:
        try:
            pattern = re.compile(name)
        except re.error:
            raise UsageError("the name rule for label files is no regular expression") from None
        if not pattern.groupindex or set(pattern.groupindex) - set(UIDS):
            raise UsageError(f"the name rule for label files needs groups named out of {', '.join(UIDS)}")
    return Rules(_rows(manifest, PurePosixPath(manifest_path).parent) if manifest is not None else {}, pattern)


def _rows(manifest: bytes, folder: PurePosixPath) -> dict[str, dict[str, str]]:
    try:
        text = manifest.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("the manifest of label files is not UTF-8") from None
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    columns = {(name or "").strip() for name in reader.fieldnames or ()}
    if LABEL_FILE not in columns or not columns & {IMAGE, *UIDS}:
        raise UsageError(
            f"the manifest of label files needs the columns {LABEL_FILE} and one of {IMAGE}, {', '.join(UIDS)}"
        )
    rows: dict[str, dict[str, str]] = {}
    for line in reader:
        row = {
            name.strip(): (value or "").strip() for name, value in line.items() if name and not isinstance(value, list)
        }
        path = _joined(folder, row.get(LABEL_FILE, ""))
        if path in rows:
            raise UsageError("the manifest of label files names a file twice")
        image = {IMAGE: _joined(folder, row[IMAGE])} if row.get(IMAGE) else {}
        rows[path] = {**{name: row[name] for name in UIDS if row.get(name)}, **image}
    return rows


def _joined(folder: PurePosixPath, path: str) -> str:
    return str(folder / path.replace("\\", "/"))


def match(path: str, delivered: Delivered, candidates: Sequence[Candidate], rules: Rules) -> Candidate:
    """The image of the label file at `path`, relative to the source.

    Raises `Rejection`: UNRESOLVED_REFERENCE where nothing is the image that manifest or name rule say, or no grid fits;
    ANNOTATION_OFF_GRID where the only image named has another grid; AMBIGUOUS_REFERENCE where several fit.
    """
    named = _named(path, rules)
    if named is not None:
        wanted = [one for one in candidates if _is(one, named)]
        if not wanted:
            raise Rejection(Reason.UNRESOLVED_REFERENCE, "manifest or name rule")
        fitting = _fitting(delivered, wanted)
        if not fitting and len(wanted) == 1:
            raise Rejection(Reason.ANNOTATION_OFF_GRID, "the image that manifest or name rule say")
        return _only(fitting)
    for folder in PurePosixPath(path).parents:
        fitting = _fitting(delivered, [one for one in candidates if _is_below(one, folder)])
        if fitting:
            return _only(fitting)
    raise Rejection(Reason.UNRESOLVED_REFERENCE, "no image has its grid")


def _named(path: str, rules: Rules) -> dict[str, str] | None:
    """What manifest or name rule say of the image; None if they say nothing."""
    if path in rules.rows:
        return rules.rows[path]
    found = rules.name.search(path) if rules.name else None
    return {name: value for name, value in found.groupdict().items() if value} if found else None


def _is(candidate: Candidate, named: dict[str, str]) -> bool:
    uids = all(getattr(candidate, name) == value for name, value in named.items() if name != IMAGE)
    return uids and (IMAGE not in named or _is_below(candidate, PurePosixPath(named[IMAGE])))


def _is_below(candidate: Candidate, folder: PurePosixPath) -> bool:
    """Whether one of the image's files is `folder`, or in it."""
    return any(path.is_relative_to(folder) for path in map(PurePosixPath, candidate.source_paths))


def _fitting(delivered: Delivered, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The images whose voxels the file's are: those that it covers, else those of which it is a part."""
    whole, part = [], []
    for candidate in candidates:
        if not candidate.geometry.in_patient:
            continue
        found = lattice.fit_volume(delivered.affine, delivered.shape, candidate.geometry)
        laid, corner = found.laid(np.empty(delivered.shape, bool), 0, (0, 0, 0))
        if found.fits and not lattice.overhang(corner, laid.shape, candidate.geometry):
            (whole if laid.shape == candidate.geometry.shape else part).append(candidate)
    return whole or part


def _only(fitting: Iterable[Candidate]) -> Candidate:
    found = list(fitting)
    if not found:
        raise Rejection(Reason.UNRESOLVED_REFERENCE, "no image has its grid")
    if len(found) > 1:
        raise Rejection(Reason.AMBIGUOUS_REFERENCE, f"{len(found)} images")
    return found[0]
