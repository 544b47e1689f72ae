"""The series of a folder, and what our own path makes of each: in memory, without stages, ledger or engine.

Belongs here: finding series; headers, plan and conversion as the stages call them. Does not belong here: comparing.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from oncurate import allowlist, nifti
from oncurate.convert import convert
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.headers import quiet, read_instance
from oncurate.image import Image
from oncurate.pixels import digest
from oncurate.plan import plan_series
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason
from oncurate.records import CohortVolume, Instance, Outcome, PixelFormat, PlannedVolume

_CATALOGUE = "CATALOG.csv"
_MODALITIES = frozenset(
    {"CT", "MR", "PT", "NM", "US", "MG", "DX", "CR", "XA", "RF", "IO", "PX", "OT", "SC", "ES", "GM"}
)
_MODALITIES |= {"SEG", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "PR", "KO", "REG", "ECG", "RWV", "IVUS", "OCT"}
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1); nothing else of a header is ever printed."""


@dataclass(frozen=True)
class Found:
    """The files of one series of one folder; `uid` is empty for files that state none."""

    label: str
    uid: str
    files: tuple[Path, ...]
    modality: str


@dataclass(frozen=True, eq=False)
class Curated:
    """What became of one series: volumes, each read back from the bytes of its .nii.gz, and refused files."""

    volumes: list[tuple[PlannedVolume, Image]]
    outcomes: list[Outcome]
    formats: Mapping[str, PixelFormat] = field(default_factory=dict)  # of each file, by its digest

    @property
    def reasons(self) -> list[Reason]:
        """Why files are in no volume, the commonest first."""
        return [reason for reason, _ in Counter(o.reason for o in self.outcomes if o.reason).most_common()]


def find_series(folder: Path) -> list[Found]:
    """All series below a folder. The same UID under two labels of its catalogue makes two."""
    quiet()
    labels = _labels(folder)
    grouped: dict[tuple[str, str], list[Path]] = defaultdict(list)
    modalities: dict[tuple[str, str], str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        inner = path.relative_to(folder).parts[0]
        header = _header(path)
        key = (inner if inner in labels else folder.name, str(header.get("SeriesInstanceUID", "")))
        grouped[key].append(path)
        modality = str(header.get("Modality", ""))
        modalities.setdefault(key, modality if modality in _MODALITIES else "?")
    return [Found(*key, tuple(files), modalities[key]) for key, files in sorted(grouped.items())]


def _labels(folder: Path) -> frozenset[str]:
    """Names of sources that the folder's own catalogue lists: without one, no inner name is printed."""
    path = folder / _CATALOGUE
    if not path.is_file():
        return frozenset()
    with path.open(encoding="utf-8", newline="") as stream:
        return frozenset(row.get("source") or "" for row in csv.DictReader(stream))


def _header(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SeriesInstanceUID", "Modality"])
    except (*PARSE_ERRORS, OSError):
        return Dataset()


def curate(files: Iterable[Path], policy: GeometryPolicy | None = None) -> Curated:
    """Plan and convert the files of one series, by default without correcting any grid."""
    instances: list[Instance] = []
    outcomes: list[Outcome] = []
    for path in files:
        try:
            instances.append(read(path))
        except Rejection as refusal:
            outcomes.append(Outcome.refused(str(path), "index", refusal.reason, refusal.detail))
    return curate_instances(instances, outcomes, policy)


def curate_instances(
    instances: Sequence[Instance], refused: Sequence[Outcome], policy: GeometryPolicy | None = None
) -> Curated:
    """Plan and convert what was read of one series; `refused` are the outcomes of its other files."""
    outcomes = list(refused)
    if len({(i.PatientID, i.IssuerOfPatientID, i.StudyInstanceUID) for i in instances}) > 1:
        refusal = Rejection(Reason.INCONSISTENT_IDENTITY)
        return Curated(
            [], outcomes + [Outcome.refused(i.source_path, "index", refusal.reason, refusal.detail) for i in instances]
        )
    if not instances:
        return Curated([], outcomes)
    volumes, more = _plan_and_convert(instances, policy)
    return Curated(volumes, outcomes + more, {i.object: i.format for i in instances})


def read(path: Path) -> Instance:
    """The instance of one file; raises `Rejection` as `headers.read_instance` does."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        return read_instance(
            stream,
            object=sha256,
            source_path=str(path),
            url=str(path),
            size=path.stat().st_size,
            keywords=allowlist.KEYWORDS,
            harvest=lambda _: (),
        )


def _plan_and_convert(
    instances: Sequence[Instance], policy: GeometryPolicy | None
) -> tuple[list[tuple[PlannedVolume, Image]], list[Outcome]]:
    """The volumes of one series, as they read back, and an outcome for every file that is in none."""
    series, outcomes = plan_series(instances, lambda i: digest(i.locator, Path(i.url).read_bytes()), policy)
    locators = {i.object: i.locator for i in instances}
    paths = {i.object: i.source_path for i in instances}
    volumes = []
    for planned in series.volumes if series else ():
        wrapped = CohortVolume(volume_id="x", recipe="x", planned=planned, masked=False)
        try:
            image, *_ = convert(wrapped, series.Modality, locators, lambda url: Path(url).read_bytes())
        except Rejection as refusal:
            outcomes += [
                Outcome.refused(path, "convert", refusal.reason, refusal.detail)
                for path in {paths[s.object] for s in planned.slices}
            ]
        else:
            volumes.append((planned, nifti.read(nifti.write(image))))
    return volumes, outcomes
