"""Harmonisation profiles: which grid, value range and voxel type each modality's volumes get.

Belongs here: the settings as a frozen model, reading them from `data/profiles.yaml`, a provider's overrides, and the
choice of a profile for a volume. Does not belong here: applying one (`oncurate.harmonise`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncurate.errors import UsageError

Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Voxels = Annotated[int, Field(gt=0, le=32767)]  # what an axis of NIfTI-1 holds

_VOLUME = "volume"
"""The only kind of image that has a third axis in space."""
_PLANAR, _OTHER = "planar", "other"
_FIXED = frozenset({"name", "version", "modalities", "value_unit"})
"""What a provider file may not override: they say which profile it is, not what it does."""


class Profile(BaseModel):
    """Settings of one profile; the default of every setting does nothing.

    `spacing_mm` is along the axes of the oriented image (right, anterior, superior). `clip` is in the unit of the
    native volume and acts before interpolation; its low end also stands for padding. `max_voxels` bounds the target
    grid, all repetitions together. `suv` turns values into SUVbw where the header allows. `crop` and `margin_mm` cut
    the grid to the body; `pad_to` fills each axis up to the next multiple of that many voxels. `normalise` asks for a
    second, normalised derivative, by these methods in this order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    modalities: tuple[str, ...]
    max_voxels: Annotated[int, Field(gt=0)]
    value_unit: str | None = None  # the profile is only for volumes in this unit
    orientation: Literal["RAS"] | None = None
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    interpolation: Literal["linear"] = "linear"
    anti_alias: bool = False
    clip: tuple[Bound, Bound] | None = None
    suv: bool = False
    dtype: Literal["int16", "float32", "keep"] = "keep"
    crop: Literal["body"] | None = None
    margin_mm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    pad_to: tuple[Voxels, Voxels, Voxels] | None = None
    normalise: tuple[Literal["n4", "zscore"], ...] = ()

    @model_validator(mode="after")
    def _settings_fit(self) -> Profile:
        if self.suv and self.dtype != "float32":
            raise ValueError("suv gives fractions: it needs dtype float32")
        if self.margin_mm and self.crop is None:
            raise ValueError("margin_mm needs crop: body")
        if self.normalise and self.modalities != ("MR",):
            raise ValueError("normalise is for MR alone: the values of other modalities have a unit")
        if len(set(self.normalise)) < len(self.normalise):
            raise ValueError("normalise names a method twice")
        return self

    @model_validator(mode="after")
    def _values_fit(self) -> Profile:
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError("clip must be [low, high] with low < high")
        if self.dtype == "int16":
            limits = np.iinfo(np.int16)
            if self.clip is None or self.clip[0] < limits.min or self.clip[1] > limits.max:
                raise ValueError("dtype int16 needs a clip range that int16 holds")
        return self

    @property
    def label(self) -> str:
        """Name and version, as tables and recipes show it; a provider's overrides are part of the version."""
        return f"{self.name} {self.version}"


class Profiles(BaseModel):
    """The profiles of one run, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by_name: dict[str, Profile]

    def possible(self, modality: str) -> list[Profile]:
        """The profiles that a volume of this modality may get, whatever its kind and unit."""
        return [p for p in self.by_name.values() if modality in p.modalities or p.name in (_PLANAR, _OTHER)]

    def choose(self, modality: str, kind: str, value_unit: str) -> Profile:
        """The profile for a volume: `planar` for single images and cines, else its modality's, else `other`.

        A CT whose values are not HU gets `other`: a range in HU would cut values that mean something else.
        """
        if kind != _VOLUME:
            return self.by_name[_PLANAR]
        fitting = (p for p in self.by_name.values() if modality in p.modalities and p.value_unit in (None, value_unit))
        return next(fitting, self.by_name[_OTHER])


def load(overrides: Mapping[str, Any] | None = None) -> Profiles:
    """The shipped profiles with a provider's settings put over them.

    `overrides` maps profile names to settings. Raises UsageError that names the key, and the nearest right one.
    """
    text = resources.files("oncurate").joinpath("data/profiles.yaml").read_text(encoding="utf-8")
    shipped = yaml.safe_load(text)
    wanted = overrides or {}
    if not isinstance(wanted, Mapping):
        raise UsageError("harmonise: must map a profile's name to its settings")
    for name in wanted:
        _known(name, shipped["profiles"], "harmonise")
    by_name = {}
    for name, entry in shipped["profiles"].items():
        settings = {key: value for key, value in entry.items() if key != "why"}
        by_name[name] = _build(name, str(shipped["version"]), settings, wanted.get(name) or {})
    return Profiles(by_name=by_name)


def _build(name: str, version: str, settings: Mapping[str, Any], changed: Any) -> Profile:
    if not isinstance(changed, Mapping):
        raise UsageError(f"harmonise.{name}: must map settings to values")
    for key in changed:
        _known(key, Profile.model_fields.keys() - _FIXED, f"harmonise.{name}")
    version = "+".join([version, *sorted(changed)])
    try:
        return Profile(**{**settings, **changed, "name": name, "version": version})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(("harmonise", name, *(str(part) for part in first["loc"])))
        raise UsageError(f"{where}: {first['msg']}") from None


def _known(key: Any, known: Iterable[str], where: str) -> None:
    names = sorted(known)
    if key not in names:
        near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)[0]
        raise UsageError(f"{where}: unknown key {key!r}; did you mean {near!r}?")
