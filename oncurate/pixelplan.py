"""What is done to the pixels of a series before they leave, decided volume by volume.

Belongs here: which volumes are refused, blanked or looked at because of text, and which may show a face. Does not
belong here: the decision about one image (`oncurate.burnedin`), looking (`oncurate.pixeltext`), blanking
(`oncurate.masking`, `oncurate.convert`), finding the face (`oncurate.faces`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oncurate import burnedin, faces
from oncurate.burnedin import Decision
from oncurate.errors import Rejection
from oncurate.records import PlannedVolume, Region, SourceSeries

Look = Callable[[PlannedVolume, Decision], tuple[tuple[Region, ...], ...]]
"""Rectangles with text in each slice of a volume. Raises `Rejection` where they may not leave at all."""


@dataclass(frozen=True)
class VolumePixels:
    """What is done to one volume: `kept` rectangles (all outside is blanked), `text` to be blanked in each slice."""

    masked: bool = False
    kept: tuple[Region, ...] = ()
    searched_for_text: bool = False
    text: tuple[tuple[Region, ...], ...] = ()
    face: Literal["none", "possible", "removed"] = "none"


@dataclass
class PixelPlan:
    """By the volume's index in its series: what is done to it, or why it is refused."""

    done: dict[int, VolumePixels] = field(default_factory=dict)
    refused: dict[int, Rejection] = field(default_factory=dict)

    def going(self) -> list[int]:
        """Volumes that are not refused."""
        return sorted(self.done.keys() - self.refused.keys())

    def objects(self, series: SourceSeries) -> list[str]:
        """Digests of the files of the volumes that are not refused."""
        return sorted({s.object for index in self.going() for s in series.volumes[index].slices})

    def refuse_objects(self, series: SourceSeries, rejections: Mapping[str, Rejection]) -> None:
        """Refuse the volumes that hold one of these objects, and whatever shares a file with them."""
        for index, volume in enumerate(series.volumes):
            held = sorted({s.object for s in volume.slices} & rejections.keys())
            if held:
                self.refused.setdefault(index, rejections[held[0]])
        spread(series, self.refused)


def plan_pixels(series: SourceSeries, policy: burnedin.Policy, look: Look | None) -> PixelPlan:
    """Decide about every volume of a series; `look` is asked only where the decision needs the pixels.

    None: nothing that could find text is installed.
    """
    plan = PixelPlan()
    for index, volume in enumerate(series.volumes):
        try:
            plan.done[index] = _pixels(volume, series.Modality, policy, look)
        except Rejection as rejection:
            plan.refused[index] = rejection
    spread(series, plan.refused)
    return plan


def _pixels(volume: PlannedVolume, modality: str, policy: burnedin.Policy, look: Look | None) -> VolumePixels:
    size = volume.geometry.shape[:2]
    sop_class = str(volume.attributes.get("SOPClassUID") or "")
    decision = burnedin.decide(
        volume.attributes, modality, policy, size=size, sop_class=sop_class, can_look=look is not None
    )
    text = look(volume, decision) if look is not None and decision.look else ()
    shows = faces.recognisable_face_possible(volume.attributes, modality, volume.geometry)
    return VolumePixels(
        masked=bool(decision.keep_only),
        kept=decision.keep_only,
        searched_for_text=decision.look,
        text=text,
        face="possible" if shows else "none",
    )


def spread(series: SourceSeries, refused: dict[int, Rejection]) -> None:
    """A file ends in one state: refuse every volume that shares a file with a refused one, and so on."""
    objects = [{s.object for s in volume.slices} for volume in series.volumes]
    waiting: list[int] = list(refused)
    while waiting:
        bad = waiting.pop()
        for index, held in enumerate(objects):
            if index not in refused and held & objects[bad]:
                refused[index] = refused[bad]
                waiting.append(index)
