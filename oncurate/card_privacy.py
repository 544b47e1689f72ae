"""What the card says about privacy: what this release's options really did.

Belongs here: words for each option. Does not belong here: the options themselves (`oncurate.deidentify`), the rest of
the card (`oncurate.card`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DATES = {
    "modified": (
        "Dates are shifted into the past by a number of days that is the same for everything of one patient and "
        "different between patients: intervals are true, calendar dates are not."
    ),
    "full": "Dates are those of the provider.",
    "none": "Dates were removed.",
}
_UIDS = {
    False: "UIDs are new and keyed in the same way; what referred to another object still does.",
    True: "UIDs are those of the provider: whoever has the source can tell which image became which.",
}
_UNSEEN = (
    "Images of kinds that often carry text in their pixels were refused, unless the header declares where the image "
    "lies (all else is blanked) or rules text out. Pixels themselves were not searched for text."
)
_SEEN = "Every frame of an ultrasound, a radiograph or a capture was searched for text, and"
_TEXT = {
    "quarantine": f"{_SEEN} images with text were refused; slices of CT, MR and PET were not searched.",
    "mask": f"{_SEEN} text was blanked; slices of CT, MR and PET were not searched.",
}
_TRUSTED = "The provider declared its images free of text in their pixels, so none was refused or blanked."
_FACES = {
    "flag": "Faces were not removed: the column `recognisable_face_possible` says where one could be recognised.",
    "deface": "Faces were removed from images that may show one (`face_removed`); what was drawn on them was spared.",
}
_RETAINED = {
    "retain_device_identity": "serial numbers and names of devices",
    "retain_institution_identity": "names and addresses of institutions",
}


def privacy(parameters: Mapping[str, Any]) -> str:
    """The section as Markdown, by the parameters of a release."""
    options = parameters.get("deidentify", {})
    tools = parameters.get("pixels", {})
    lines = [
        "Patients, studies and series have keyed pseudonyms (HMAC-SHA-256 with a secret of the provider): a patient "
        "has the same one in every table and in every release of this data set.",
        f"{_DATES[options.get('dates', 'modified')]} Ages over 89 are given as 90.",
        _UIDS[bool(options.get("retain_uids", False))],
        "Of the image headers, tables and sidecars hold only technical attributes on an allow-list, and of those only "
        "values that were recognised; of descriptions, words of a closed vocabulary of radiology, from which all names "
        "were taken out.",
        *_objects(parameters, options),
        "What was written was read again and searched for the identifying values of the source before it was released.",
        _text(options.get("burned_in_text", "quarantine"), searched=tools.get("text") is not None),
        _FACES[options.get("faces", "flag")],
    ]
    return "\n".join(f"- {line}" for line in lines)


def _text(policy: str, *, searched: bool) -> str:
    if policy == "trust":
        return _TRUSTED
    return _TEXT[policy] if searched else _UNSEEN


def _objects(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    if "dicom" not in parameters.get("outputs", ()):
        return []
    kept = [what for option, what in _RETAINED.items() if options.get(option)]
    retained = f" They keep {' and '.join(kept)}." if kept else ""
    return [
        "DICOM objects were de-identified by PS3.15 Annex E, every element at any depth; the table `deidentification` "
        f"says which rule did what to how many elements.{retained}"
    ]
