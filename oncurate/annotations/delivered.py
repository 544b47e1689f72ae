"""Label files between deidentify and annotate: voxels, place and cleaned names, nothing else of the file.

Belongs here: what a provider file says of label files, and the form in which they wait. Does not belong here: reading
the files (`oncurate.annotations.labelfiles`), which image they belong to (`oncurate.annotations.matching`).
"""

from __future__ import annotations

import fnmatch
import io
import json
from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from oncurate.annotations import codes
from oncurate.annotations.labelfiles import SUFFIXES, Delivered
from oncurate.annotations.model import Code, Label
from oncurate.deid import text


class AnnotationsPolicy(BaseModel):
    """The `annotations` section of a provider file: label maps that come as files of their own, not as DICOM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_files: str | None = Field(None, description="pattern of their paths in the source, such as masks/*.nii.gz")
    manifest: str | None = Field(None, description="CSV of label files and their images, relative to the provider file")
    name: str | None = Field(None, description="regular expression with groups SeriesInstanceUID, PatientID, ...")

    def takes(self, source_path: str) -> bool:
        """Whether a file of the source is a label file."""
        if self.label_files is None or not source_path.lower().endswith(SUFFIXES):
            return False
        return fnmatch.fnmatchcase(source_path, self.label_files)


def packed(delivered: Delivered, people: Iterable[str]) -> bytes:
    """A label file as it may leave the identified zones: no header text, names through the closed vocabulary."""
    named = text.identifiers(frozenset(people))
    described = [
        {
            "layer": layer,
            "value": value,
            "name": text.clean(label.name, named),
            "type": _public(label.type),
            "colour": list(label.colour) if label.colour else None,
        }
        for (layer, value), label in sorted(delivered.names.items())
    ]
    out = io.BytesIO()
    arrays = {f"layer{index}": layer for index, layer in enumerate(delivered.layers)}
    np.savez_compressed(out, affine=delivered.affine, labels=np.array(json.dumps(described)), **arrays)
    return out.getvalue()


def unpacked(data: bytes) -> Delivered:
    """What `packed` packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        layers = tuple(held[f"layer{index}"] for index in range(len(held.files) - 2))
        names = {(d["layer"], d["value"]): _label(d) for d in json.loads(str(held["labels"]))}
        return Delivered(layers, held["affine"], names)


def _public(code: Code | None) -> list[str] | None:
    """The SNOMED CT concept of a code, with the meaning that the table has."""
    found = codes.snomed(code)
    return [found.value, found.scheme, found.meaning] if found else None


def _label(described: dict) -> Label:
    colour = described["colour"]
    return Label(
        number=described["value"],
        name=described["name"],
        type=Code(*described["type"]) if described["type"] else None,
        colour=tuple(colour) if colour else None,
        source_number=described["value"],
    )
