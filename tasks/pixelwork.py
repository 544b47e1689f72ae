"""The pixels of a batch that have to be looked at before they leave: text is searched for, faces are located.

Belongs here: reading the frames, and what the looks gave until the objects and volumes are written. Does not belong
here: what counts as text or as a face (`oncurate.pixeltext`, `oncurate.faces`), when to look (`oncurate.pixelplan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from oncurate import faces, masking, pixeltext
from oncurate.annotations.decoding import as_image, decode, grid_of
from oncurate.annotations.model import FractionalMap, LabelMap
from oncurate.burnedin import Decision
from oncurate.convert import convert
from oncurate.errors import Rejection
from oncurate.masking import Edit
from oncurate.pixelplan import PixelPlan, VolumePixels
from oncurate.pixels import decode_frames
from oncurate.provider import Provider
from oncurate.records import CohortSeries, CohortVolume, Geometry, PlannedVolume, Region, SourceSeries
from oncurate.store import Store
from tasks import zone
from tasks.index import Locators, locators_key
from tasks.reading import read_object
from tasks.zone import Part

Labels = Callable[[SourceSeries, int], Iterable[tuple[str, bytes]]]
"""Kind and bytes of the objects that were drawn on one volume of a series."""


class PixelWork:
    """What was seen in the pixels of one batch of patients."""

    def __init__(self, provider: Provider, store: Store, plan: Part) -> None:
        self._policy, self._store = provider.deidentify, store
        located = zone.unpack(store.read(locators_key(plan)), Locators).locators
        self._locators = {locator.object: locator for locator in located}
        self._detector = pixeltext.detector()
        self._faces: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def can_look(self) -> bool:
        """Whether something that finds text is installed."""
        return self._detector is not None

    def urls(self, objects: Iterable[str]) -> dict[str, str]:
        """Where each object is."""
        return {name: self._locators[name].url for name in objects}

    def look(self, volume: PlannedVolume, decision: Decision) -> tuple[tuple[Region, ...], ...]:
        """Rectangles with text in each slice of a volume. Raises `Rejection` as `masking.look_at` does."""
        frames: list[np.ndarray] = [np.empty((0, 0))] * len(volume.slices)
        wanted: dict[str, list[int]] = {}
        for k, piece in enumerate(volume.slices):
            wanted.setdefault(piece.object, []).append(k)
        for name, places in wanted.items():
            locator = self._locators[name]
            decoded = decode_frames(locator, read_object(locator.url), [volume.slices[k].frame for k in places])
            for k, frame in zip(places, decoded, strict=True):
                frames[k] = frame
        return masking.look_at(decision, frames, self._detector)

    def remove_faces(self, series: SourceSeries, plan: PixelPlan, labels: Labels) -> None:
        """Locate the faces of a series' volumes where the policy asks for it; a volume of which it fails is refused.

        `labels` gives what was drawn on a volume, which is spared.
        """
        self._faces = {}
        if self._policy.faces != "deface":
            return
        for index in plan.going():
            if plan.done[index].face == "possible":
                try:
                    self._faces[index] = self._located(series, index, plan.done[index], labels(series, index))
                except Rejection as rejection:
                    plan.refused[index] = rejection
                else:
                    plan.done[index] = replace(plan.done[index], face="removed")
        plan.refuse_objects(series, {})

    def keep_faces(self, plan: PixelPlan, cohort: CohortSeries) -> None:
        """Write the masks of the faces that were located, for `convert`."""
        for index, volume in zip(plan.going(), cohort.volumes, strict=True):
            if index in self._faces:
                self._store.write(face_key(volume), masking.pack(self._faces[index][0]))

    def edits(self, series: SourceSeries, plan: PixelPlan) -> dict[str, Edit]:
        """What is to be blanked in each object of the volumes that are going on; frames of no volume are blanked."""
        found: dict[str, Edit] = {name: Edit() for name in plan.objects(series)}
        for index in plan.going():
            pixels, volume = plan.done[index], series.volumes[index]
            masks = list(faces.slice_masks(*self._faces[index], volume)) if index in self._faces else ()
            for k, piece in enumerate(volume.slices):
                found[piece.object].add(
                    piece.frame,
                    searched=pixels.searched_for_text,
                    keep_only=pixels.kept if pixels.masked else (),
                    text=pixels.text[k] if pixels.text else (),
                    face=masks[k] if masks else None,
                )
        return found

    def _located(
        self, series: SourceSeries, index: int, pixels: VolumePixels, labels: Iterable[tuple[str, bytes]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mask of the face, on the grid of the native image, and that grid's matrix."""
        planned = series.volumes[index]
        bare = CohortVolume(volume_id="", recipe="", planned=planned, masked=pixels.masked, regions=pixels.kept)
        image, *_ = convert(bare, series.Modality, self._locators, read_object)
        grid = grid_of(planned, image.affine, image.shape)
        spare = [
            as_image(layer > 0, grid).array
            for kind, data in labels
            for layer in _layers(kind, data, planned, grid, series.FrameOfReferenceUID)
        ]
        return faces.face_mask(image, series.Modality, spare), image.affine


def _layers(kind: str, data: bytes, planned: PlannedVolume, grid: Geometry, frame: str) -> tuple[np.ndarray, ...]:
    """What was drawn, as label maps; none of what cannot be decoded, which `annotate` will refuse."""
    try:
        found = decode(kind, data, planned, grid, frame)
    except Rejection:
        return ()
    label_map = found.label_map if isinstance(found, FractionalMap) else found
    return label_map.layers if isinstance(label_map, LabelMap) else ()


def face_key(volume: CohortVolume) -> str:
    """Where the mask of a volume's face waits in the work zone."""
    return f"faces/{volume.volume_id}.gz"


def face_of(store: Store, volume: CohortVolume) -> np.ndarray | None:
    """The mask of a volume's face, bool `[i, j, k]` of its native image; None where none is removed."""
    return masking.unpack(store.read(face_key(volume))) if volume.face == "removed" else None
