"""What a release says of an annotation: rows of the `annotations` table, and labels.json.

Belongs here: sizes and shapes of labels in words and numbers. Does not belong here: decoding, files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from oncurate.annotations import codes, rtstruct, seg
from oncurate.annotations.model import Code, Label, LabelMap
from oncurate.deid import codes as codes_cleaned
from oncurate.deid import values
from oncurate.image import Image
from oncurate.labels import LabelVolume
from oncurate.staged import pretty_json

ML = 1000.0
"""mm3 in a millilitre."""

EVERY_NEIGHBOUR = np.ones((3, 3, 3), bool)
"""Voxels that touch by a face, an edge or a corner are one component."""

EMPTY_FLAGS = frozenset({seg.EMPTY, rtstruct.DECLARED_EMPTY})
"""Flags of labels that their source declares without drawing anything."""

UNNAMED = "label"
"""What stands for a name of which the vocabulary leaves nothing; the label's number follows."""


def name_of(label: Label) -> str:
    """The label's name; where de-identification left none, what its code means, or a name of ours."""
    return _stated(label.name) or _stated(label.type.meaning if label.type else "") or f"{UNNAMED} {label.number}"


def _stated(text: str) -> str | None:
    """Text of the cleaned object, None where it is what stands for text that may not."""
    return text if text and text != codes_cleaned.UNNAMED and text not in values.DUMMIES.values() else None


def shape_facts(layer: Image, number: int) -> dict[str, Any]:
    """Voxels, volume, components, bounding box (voxel indices, last included) and whether a label touches the border.

    `layer` is in the storage order of native images. A label without a voxel has no box and no component.
    """
    mask = layer.array == number
    voxels = int(np.count_nonzero(mask))
    size_ml = float(abs(np.linalg.det(layer.affine[:3, :3]))) / ML
    facts = {"voxels": voxels, "volume_ml": voxels * size_ml if layer.has_unit else None}
    if not voxels:
        return {**facts, "components": 0, "bounding_box": None, "touches_border": False}
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    first, last = [s.start for s in box], [s.stop - 1 for s in box]
    touches = any(a == 0 or b == n - 1 for a, b, n in zip(first, last, mask.shape, strict=True))
    return {
        **facts,
        "components": int(ndimage.label(mask[box], EVERY_NEIGHBOUR)[1]),
        "bounding_box": [*first, *last],
        "touches_border": touches,
    }


def labels_found(found: LabelMap) -> int:
    """Labels that have voxels, declared or not, and those that are declared to have none."""
    drawn = {int(number) for layer in found.layers for number in np.unique(layer)} - {0}
    empty = {number for number, flags in found.flags.items() if not EMPTY_FLAGS.isdisjoint(flags)}
    return len(drawn | empty)


def label_row(
    label: Label, native: Mapping[str, Any], resampled: LabelVolume | None, flags: Sequence[str]
) -> dict[str, Any]:
    """The columns of `annotations` that one label fills; `native` as from `shape_facts`."""
    mapped = next((c for c in (codes.snomed(label.type), codes.snomed(label.name)) if c is not None), None)
    return {
        "label": label.number,
        "label_name": name_of(label),
        "snomed_code": mapped.value if mapped else None,
        "snomed_meaning": mapped.meaning if mapped else None,
        "algorithm_type": label.algorithm_type or None,
        "algorithm_name": _stated(label.algorithm_name),
        "native_voxels": native["voxels"],
        "native_volume_ml": native["volume_ml"],
        "components": native["components"],
        "bounding_box": native["bounding_box"],
        "touches_border": native["touches_border"],
        "declared_empty": (empty := not EMPTY_FLAGS.isdisjoint(flags)),
        "unexpectedly_empty": not native["voxels"] and not empty,
        "flags": list(flags),
        **_harmonised(resampled),
    }


def _harmonised(resampled: LabelVolume | None) -> dict[str, Any]:
    if resampled is None:
        return {"harmonised_voxels": None, "harmonised_volume_ml": None, "volume_change": None, "volume_kept": True}
    return {
        "harmonised_voxels": resampled.voxels_after,
        "harmonised_volume_ml": resampled.volume_after_mm3 / ML,
        "volume_change": resampled.relative_change,
        "volume_kept": resampled.within_tolerance or not resampled.grid_allows,
    }


def labels_json(head: Mapping[str, Any], labels: Sequence[Label], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """labels.json: the `head` of the annotation, and of each label what its row says and its codes, as given."""
    described = [
        {
            **{key: value for key, value in row.items() if key not in head},
            "category": code(label.category),
            "type": code(label.type),
            "type_modifiers": [code(c) for c in label.type_modifiers],
            "region": [code(c) for c in label.region],
            "colour": list(label.colour) if label.colour else None,
            "annotator": label.annotator,
            "source_number": label.source_number,
        }
        for label, row in zip(labels, rows, strict=True)
    ]
    return pretty_json({**head, "labels": described})


def code(given: Code | None) -> dict[str, str] | None:
    """A coded concept as JSON."""
    return {"value": given.value, "scheme": given.scheme, "meaning": given.meaning} if given else None
