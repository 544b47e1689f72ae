"""The running account of one flow: which file, series and volume ended where, so that the ledger can be closed.

Belongs here: translating outcomes about objects, series and volumes into outcomes about files. Does not belong here:
the conservation law (`oncurate.ledger`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from oncurate.ledger import Identity, Place
from oncurate.reasons import Reason
from oncurate.records import CohortAnnotation, CohortObject, Outcome, SourceObject


class Account:
    """Collects what the stages report. Keys of files are source paths throughout."""

    def __init__(self, *, are_objects_released: bool = False) -> None:
        self.are_objects_released = are_objects_released  # DICOM objects are part of the release
        self.objects: list[SourceObject] = []
        self.identities: dict[str, Identity] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._path_of: dict[str, list[str]] = defaultdict(list)  # object digest -> source paths
        self.volumes: dict[str, dict[str, Any]] = {}  # volume_id -> {"objects", "series", "subject"}
        self.refused_volumes: dict[str, Outcome] = {}
        self.objects_written: dict[str, CohortObject] = {}  # by digest of the source file
        self.annotations: dict[str, CohortAnnotation] = {}
        self.refused_annotations: dict[str, Outcome] = {}

    def found(self, objects: Iterable[SourceObject]) -> None:
        """Everything that pull found."""
        self.objects = sorted(objects, key=lambda o: o.source_path)

    def read(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The header rows: identities of the files that hold an image."""
        for row in rows:
            self.identities[row["source_path"]] = Identity(row["SOPInstanceUID"], row["SeriesInstanceUID"])
            self._path_of[row["object"]].append(row["source_path"])

    def track(self, objects: Iterable[SourceObject]) -> None:
        """Files whose outcomes will come by their digest, though no header of theirs was read."""
        for item in objects:
            self._path_of[item.sha256].append(item.source_path)

    @property
    def paths_of(self) -> Mapping[str, list[str]]:
        """Source paths of each object, by its digest."""
        return self._path_of

    def files(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes whose key is a source path; the first for a file stands."""
        for outcome in outcomes:
            self.outcomes.setdefault(outcome.key, outcome)

    def by_object(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes whose key is an object's digest."""
        for outcome in outcomes:
            self.files(outcome.model_copy(update={"key": path}) for path in self._open(outcome.key))

    def series(self, outcomes: Iterable[Outcome], objects_of: Mapping[str, list[str]]) -> list[str]:
        """Outcomes whose key is a series key; returns the keys, for the next stage to skip."""
        keys = []
        for outcome in outcomes:
            keys.append(outcome.key)
            self.by_object(outcome.model_copy(update={"key": o}) for o in objects_of[outcome.key])
        return keys

    def refuse(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes whose key is a volume_id."""
        for outcome in outcomes:
            self.refused_volumes.setdefault(outcome.key, outcome)

    def refuse_annotations(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes whose key is an annotation_id."""
        for outcome in outcomes:
            self.refused_annotations.setdefault(outcome.key, outcome)

    def curated_annotations(self) -> list[str]:
        """Annotations that are left, with the volume that each was made on."""
        return sorted(
            name
            for name, annotation in self.annotations.items()
            if name not in self.refused_annotations and annotation.volume_id not in self.refused_volumes
        )

    def skip(self) -> set[str]:
        """Volumes that no later stage takes up."""
        return set(self.refused_volumes)

    def places(self) -> dict[str, Place]:
        """Where each file went. A file whose frames made several volumes is curated if one of them is.

        Closes the account: files whose every volume was refused get the first refusal as their outcome.
        """
        of_object: dict[str, list[str]] = defaultdict(list)
        for volume_id, link in sorted(self.volumes.items()):
            for item in link["objects"]:
                of_object[item].append(volume_id)
        places: dict[str, Place] = {}
        for item, volume_ids in of_object.items():
            series = self.volumes[volume_ids[0]]["series"]
            curated = [v for v in volume_ids if v not in self.refused_volumes]
            written = self.objects_written.get(item)
            for path in self._open(item):
                places[path] = Place(series)
                if curated:
                    places[path] = Place(series, volume_id=curated[0], dicom_path=written and written.key)
            if not curated:
                self.by_object([self.refused_volumes[volume_ids[0]].model_copy(update={"key": item})])
        self._place_annotations(places)
        for item, written in self.objects_written.items():
            for path in self._open(item) if item not in of_object else ():
                places[path] = Place(written.SeriesInstanceUID, dicom_path=written.key)
        return places

    def _place_annotations(self, places: dict[str, Place]) -> None:
        curated = set(self.curated_annotations())
        for name, annotation in self.annotations.items():
            source = annotation.source
            if name in curated:
                key = source.key if self.are_objects_released and annotation.is_dicom else None
                for path in self._open(source.object):
                    places[path] = Place(source.SeriesInstanceUID, annotation_id=name, dicom_path=key)
                continue
            outcome = self.refused_annotations.get(name)
            if outcome is None:
                image = self.refused_volumes[annotation.volume_id]
                slug = image.reason.value if image.reason else ""
                outcome = Outcome.refused(name, image.stage, Reason.IMAGE_REFUSED, slug)
            self.by_object([outcome.model_copy(update={"key": source.object})])

    def released_objects(self) -> list[CohortObject]:
        """The DICOM objects that go with the volumes and annotations that are left, and those that belong to none."""
        annotations = self.curated_annotations() if self.are_objects_released else []
        found = [self.annotations[name].source for name in annotations if self.annotations[name].is_dicom]
        for item in self.objects_written.values():
            volume_ids = tuple(v for v in item.volume_ids if v not in self.refused_volumes)
            if volume_ids or not item.volume_ids:
                found.append(item.model_copy(update={"volume_ids": volume_ids}))
        return sorted(found, key=lambda o: o.key)

    def sums(self) -> dict[Reason, int]:
        """Files by reason so far."""
        sums: dict[Reason, int] = defaultdict(int)
        for outcome in self.outcomes.values():
            if outcome.reason is not None:
                sums[outcome.reason] += 1
        return dict(sorted(sums.items()))

    def _open(self, item: str) -> list[str]:
        """Source paths of an object that have no outcome yet: the copy that was kept."""
        return [path for path in self._path_of[item] if path not in self.outcomes]
