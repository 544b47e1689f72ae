"""What a header says of how an image shows the body: side, view and intent of a radiograph; derived image; projection.

Belongs here: bringing the several attributes that say one thing into one term of a closed vocabulary, and which views a
mammographic study lacks. Does not belong here: the vocabularies themselves (`oncurate/data/terms.csv`; codes of views:
PS3.16 CID 4010 and 4014, with their former SNOMED-RT values), how a volume is split from its series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oncurate import allowlist
from oncurate.split import Unit

MODALITIES = frozenset({"CR", "DX", "MG"})
"""Modalities whose images have a side and a view: the projections of PS3.3 C.8.1.1, C.8.11.1 and C.8.11.7."""

SCREENING_VIEWS = ("R CC", "L CC", "R MLO", "L MLO")
"""The four views of a screening mammogram, both sides in two directions (ACR Practice Parameter; BI-RADS)."""

_SIDES = ("R", "L", "B")
_PROJECTION_TERMS = frozenset({"MIP", "MINIP", "MIN_IP", "MAX_IP", "VOLUME_RENDER", "SURFACE_RENDER"})
_PROJECTION_PHRASES = ("PROJECTION IMAGE", "MIN IP", "MAX IP")


def laterality(attributes: Mapping[str, Any]) -> str | None:
    """R, L or B (both), or None where the header does not say or says unpaired.

    The image's own side (ImageLaterality, FrameLaterality) counts before that of its series (Laterality). `attributes`
    holds raw values by keyword.
    """
    for keyword in ("ImageLaterality", "FrameLaterality", "Laterality"):
        side = allowlist.term("laterality", attributes.get(keyword))
        if side is not None:
            return side if side in _SIDES else None
    return None


def view(attributes: Mapping[str, Any]) -> str | None:
    """The view as a term of the vocabulary `view` (AP, PA, LL, CC, MLO, ...), or None.

    From ViewCodeSequence, which mammograms must have (PS3.3 C.8.11.7), else from ViewPosition.
    """
    coded = allowlist.term("view", attributes.get("ViewCodeSequence.CodeValue"))
    return coded or allowlist.term("view", attributes.get("ViewPosition"))


def presentation_intent(attributes: Mapping[str, Any]) -> str | None:
    """FOR PRESENTATION or FOR PROCESSING, or None: the one is made for the eye, the other is raw."""
    return allowlist.term("presentation_intent", attributes.get("PresentationIntentType"))


def missing_views(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Those of `SCREENING_VIEWS` that a study lacks; empty where it has no digital mammogram at all.

    `rows`: one for each image of the study, with `Modality`, `PresentationIntentType`, `laterality` and `view`. Only MG
    images for presentation or for processing count; either is enough. An image of both sides shows neither whole.
    """
    found: set[str] = set()
    mammograms = 0
    for row in rows:
        if row.get("Modality") == "MG" and presentation_intent(row) is not None:
            mammograms += 1
            found.add(f"{row.get('laterality')} {row.get('view')}")
    return tuple(v for v in SCREENING_VIEWS if v not in found) if mammograms else ()


def is_derived(units: Iterable[Unit]) -> bool:
    """Whether value 1 of ImageType says DERIVED for any of the frames: computed from the values of other images."""
    return any(terms[0] == "DERIVED" for terms in _image_types(units))


def is_projection(units: Iterable[Unit]) -> bool:
    """Whether ImageType or VolumeBasedCalculationTechnique of any frame names a projection through a volume: a MIP."""
    return any(
        term in _PROJECTION_TERMS or any(phrase in term for phrase in _PROJECTION_PHRASES)
        for terms in _image_types(units)
        for term in terms
    )


def _image_types(units: Iterable[Unit]) -> set[tuple[str, ...]]:
    """The terms of ImageType that name a kind of image, in their order, then the technique of a calculated volume."""
    found = set()
    for unit in units:
        technique = unit.instance.attributes.get("VolumeBasedCalculationTechnique")
        terms = str(unit.frame.keys.get("image_type") or "").upper().split("\\")
        found.add((*terms, technique.strip().upper() if isinstance(technique, str) else ""))
    return found
