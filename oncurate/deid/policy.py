"""What a provider decides about the de-identification of DICOM objects.

Belongs here: the options of PS3.15 E.3 as a frozen model, and their names in the tables and in CID 7050. Does not
belong here: what an option does to an attribute (`oncurate.deid.rules`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Pixels = Literal["kept", "checked", "masked", "defaced", "masked_defaced"]
"""What the caller did with the pixels: nothing, looked for text and found none, blanked text, blanked faces, both."""

PROFILE = ("113100", "Basic Application Confidentiality Profile")
"""Code and meaning of the profile itself (PS3.16 CID 7050)."""

OPTION_CODES = {
    "clean_pixel_data": ("113101", "Clean Pixel Data Option"),
    "clean_recognizable_visual_features": ("113102", "Clean Recognizable Visual Features Option"),
    "clean_graphics": ("113103", "Clean Graphics Option"),
    "clean_structured_content": ("113104", "Clean Structured Content Option"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    "retain_longitudinal_full_dates": (
        "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
    ),
    "retain_longitudinal_modified_dates": (
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    "retain_patient_characteristics": ("113108", "Retain Patient Characteristics Option"),
    "retain_device_identity": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "retain_safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution_identity": ("113112", "Retain Institution Identity Option"),
}
"""Options by the names of the table columns: code and meaning (PS3.16 CID 7050)."""

DATE_OPTIONS = {
    "modified": frozenset({"retain_longitudinal_modified_dates"}),
    "full": frozenset({"retain_longitudinal_full_dates"}),
    "none": frozenset[str](),
}

DATE_MARKS = {"modified": "MODIFIED", "full": "UNMODIFIED", "none": "REMOVED"}
"""Longitudinal Temporal Information Modified (0028,0303) (PS3.3 C.12.1)."""


class DeidPolicy(BaseModel):
    """The de-identification options of a provider file; the defaults are the careful ones.

    Patient characteristics (sex, age, size, weight) are kept by default, because an SUV needs the weight and the
    federation's minimum metadata the age; ages above 89 are pooled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dates: Literal["modified", "full", "none"] = Field(
        "modified", description="one shift for all dates of a patient, dates as they are, or no dates"
    )
    clean_pixel_data: bool = Field(
        True, description="refuse an object that says that text is burned into pixels which nobody has masked"
    )
    clean_graphics: bool = Field(True, description="keep graphic annotations with their text cleaned, or dummies")
    roi_overlays: Literal["remove", "keep"] = Field(
        "remove", description="overlays (60xx) that outline a region of interest; others are always removed"
    )
    clean_structured_content: bool = Field(True, description="keep the content tree of reports, cleaned item by item")
    clean_descriptors: bool = Field(True, description="keep what a closed vocabulary leaves of free text")
    retain_patient_characteristics: bool = Field(True, description="sex, pooled age, size, weight and the like")
    retain_device_identity: bool = Field(False, description="serial numbers, station names and the like")
    retain_institution_identity: bool = Field(False, description="name and address of the institution")
    retain_safe_private: bool = Field(True, description="private elements of the safe list")
    retain_uids: bool = Field(False, description="UIDs as they are: objects can be traced back to the source")

    def options(self) -> frozenset[str]:
        """The options that apply to attributes, by the names of the table columns."""
        switches = {name for name in OPTION_CODES if getattr(self, name, False)} - {"clean_pixel_data"}
        return frozenset(switches) | DATE_OPTIONS[self.dates]
