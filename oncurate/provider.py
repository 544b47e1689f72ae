"""The provider file: what a data engineer writes to have one archive curated.

Belongs here: its model, reading it, and errors that name the key and the nearest right one. Does not belong here:
reaching any of the zones it names.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from oncurate.annotations.delivered import AnnotationsPolicy
from oncurate.clinical.mapping import ClinicalPolicy, with_mapping
from oncurate.deidentify import DeidentifyPolicy
from oncurate.errors import UsageError
from oncurate.identity import SECRET_BYTES_MIN
from oncurate.policies import GeometryPolicy
from oncurate.profiles import Profiles
from oncurate.profiles import load as load_profiles
from oncurate.sources.interface import SCHEMES, PullSettings, Selection

SOURCE_SCHEMES = SCHEMES
ZONE_SCHEMES = ("file", "s3")


class Section(BaseModel):
    """A frozen part of the provider file that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Organisation(Section):
    """Who provides the images: shown in the card and the catalogue."""

    name: str
    country: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")


class Limits(Section):
    """Bounds on a run. The defaults bound nothing."""

    refused_share: float = Field(1.0, ge=0.0, le=1.0, description="fail when a greater share of files is quarantined")
    pull_concurrency: str | None = Field(None, description="name of a Prefect global concurrency limit to pull under")


class Quality(Section):
    """Choices of the check stage. None exist yet; the section is accepted empty."""


class Provider(Section):
    """A provider file after validation. Zones are absolute URLs."""

    dataset: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)
    title: str = Field(min_length=1)
    provider: Organisation
    cancer_types: tuple[str, ...] = ()
    description: str = ""
    access_rights: str = ""
    contact: str = ""
    source: str
    target: str = "curated"
    work: str | None = None
    secret_env: str = Field("ONCURATE_SECRET", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    deidentify: DeidentifyPolicy = DeidentifyPolicy()
    geometry: GeometryPolicy = GeometryPolicy()
    harmonise: dict[str, dict[str, Any]] = {}
    quality: Quality = Quality()
    annotations: AnnotationsPolicy = AnnotationsPolicy()
    clinical: ClinicalPolicy | None = None
    outputs: tuple[Literal["nifti", "dicom"], ...] = ("nifti",)
    limits: Limits = Limits()
    pull: PullSettings = PullSettings()
    select: Selection = Selection()

    @field_validator("dataset")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == "catalogue":
            raise ValueError("'catalogue' is the name of a folder of every target")
        return value

    @field_validator("outputs")
    @classmethod
    def _nifti_always(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "nifti" not in value or len(set(value)) != len(value):
            raise ValueError("give [nifti], or [nifti, dicom] to have the de-identified DICOM objects, too")
        return value

    @property
    def work_url(self) -> str:
        """The data set's own folder in the work zone."""
        assert self.work is not None  # `read` fills it
        return f"{self.work.rstrip('/')}/{self.dataset}"

    @property
    def dataset_url(self) -> str:
        """The data set's folder in the target."""
        return f"{self.target.rstrip('/')}/{self.dataset}"

    def secret(self) -> bytes:
        """The pseudonymisation key from the environment; `UsageError` names the variable if it is not set or short."""
        value = os.environ.get(self.secret_env, "")
        if not value:
            raise UsageError(
                f"the environment variable {self.secret_env} is not set: it holds the secret that pseudonyms, UIDs and "
                f"date shifts are made with (at least {SECRET_BYTES_MIN} bytes; keep it, the same one is needed for "
                "every run)"
            )
        if len(value.encode()) < SECRET_BYTES_MIN:
            raise UsageError(
                f"the secret in the environment variable {self.secret_env} is too short: give at least "
                f"{SECRET_BYTES_MIN} bytes"
            )
        return value.encode()

    def profiles(self) -> Profiles:
        """The harmonisation profiles with this file's overrides."""
        return load_profiles(self.harmonise)


def read(path: str | Path) -> Provider:
    """Read and check a provider file; every mistake is a `UsageError` that names the key and what to write instead."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"no provider file at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the provider file {path}: {type(error).__name__}") from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is not valid YAML{where}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must hold keys and values, such as 'dataset: lung-ct'")
    return parse(raw, base=path.resolve().parent)


def parse(raw: dict[str, Any], *, base: Path) -> Provider:
    """Check the mapping of a provider file; relative folders are relative to `base`."""
    try:
        provider = Provider.model_validate(raw)
        provider.profiles()
    except ValidationError as error:
        raise UsageError(_explain(error)) from None
    source = _zone(provider.source, base, "source", SOURCE_SCHEMES)
    target = _zone(provider.target, base, "target", ZONE_SCHEMES)
    work = _zone(provider.work, base, "work", ZONE_SCHEMES) if provider.work else _beside(target)
    for one, other, what in ((work, target, "target"), (source, target, "target")):
        if _inside(one, other):
            raise UsageError(
                f"the {'work' if one is work else 'source'} zone lies inside the {what}: consumers read the {what}, "
                "so identified data must not be there"
            )
    if source.startswith("file://") and (_inside(target, source) or _inside(work, source)):
        raise UsageError("target and work zone must not lie inside the source folder: they would be read as input")
    annotations = provider.annotations
    if annotations.manifest is not None:
        manifest = _zone(annotations.manifest, base, "annotations.manifest", ZONE_SCHEMES)
        annotations = annotations.model_copy(update={"manifest": manifest})
    clinical = provider.clinical and with_mapping(provider.clinical, base)
    if clinical is not None:
        place = _zone(clinical.file, base, "clinical.file", ZONE_SCHEMES)
        if _inside(place, target):
            raise UsageError("clinical.file lies inside the target: consumers read the target")
        clinical = clinical.model_copy(update={"file": place})
    select = provider.select.at(base)
    return provider.model_copy(
        update={
            "select": select,
            "source": source,
            "target": target,
            "work": work,
            "annotations": annotations,
            "clinical": clinical,
        }
    )


def _zone(value: str, base: Path, key: str, schemes: tuple[str, ...]) -> str:
    parts = urlsplit(value)
    if "://" not in value:
        return (base / Path(value).expanduser()).resolve().as_uri()
    if "@" in parts.netloc and parts.scheme != "dimse":
        raise UsageError(f"{key}: credentials do not belong in a URL; use environment variables, see the key pull")
    if parts.scheme not in schemes:
        raise UsageError(
            f"{key}: '{parts.scheme}://' is not supported; use a folder, {', '.join(f'{s}://' for s in schemes)}"
        )
    if parts.scheme == "file":
        return Path(parts.path).resolve().as_uri()
    if not parts.netloc:
        raise UsageError(f"{key}: the URL names no bucket or host")
    return value if parts.scheme in ("http", "https") else value.rstrip("/")  # a listing's URL ends in a slash


def _beside(target: str) -> str:
    """The default work zone: a folder beside a local target. Beside a bucket nothing can be guessed."""
    if not target.startswith("file://"):
        raise UsageError("work: name a work zone; it holds the key table, so none is guessed for an object store")
    path = Path(urlsplit(target).path)
    return path.with_name(path.name + "-work").as_uri()


def _inside(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key '{where}'{_nearest(item['loc'])}")
        elif item["type"] == "missing":
            lines.append(f"the key '{where}' is missing")
        else:
            lines.append(f"'{where}': {item['msg']}")
    return "provider file: " + "; ".join(lines)


def _nearest(location: tuple[Any, ...]) -> str:
    model: type[BaseModel] = Provider
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        model = annotation
    close = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known keys: {', '.join(model.model_fields)}"
