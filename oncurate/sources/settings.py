"""What a provider file says about pulling: the keys `pull:` and `select:`.

Belongs here: the settings, their checks, and no secret: credentials are named by environment variable. Does not belong
here: keeping to them (`oncurate.sources.pace`, `oncurate.sources.selection`).
"""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oncurate.archives import ArchiveLimits
from oncurate.errors import UsageError
from oncurate.sources.windows import Windows

_ENV = r"^[A-Za-z_][A-Za-z0-9_]*$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(_Section):
    """What the whole pull may ask of the source; None bounds nothing."""

    requests_per_s: float | None = Field(None, gt=0)
    bytes_per_s: float | None = Field(None, gt=0)

    def share(self, of: int) -> Rate:
        """The part of the rate that one of `of` workers may use."""
        return Rate(
            requests_per_s=self.requests_per_s and self.requests_per_s / of,
            bytes_per_s=self.bytes_per_s and self.bytes_per_s / of,
        )


class Retries(_Section):
    """How often a failing request is tried again: waits double from `first_wait_s`, with jitter of the same size."""

    attempts: int = Field(6, ge=1, description="of one request, the first counted")
    first_wait_s: float = Field(1.0, gt=0)
    longest_wait_s: float = Field(60.0, gt=0, description="also the most that a server's Retry-After may ask")
    total_s: float = Field(600.0, gt=0, description="after which no new attempt starts")


class PullSettings(_Section):
    """How the source is read. The defaults suit a server that nobody else waits for."""

    limits: ArchiveLimits = ArchiveLimits()
    rate: Rate = Rate()
    only: str | None = Field(None, description='daily windows, such as "20:00-06:00 Europe/Amsterdam"')
    retries: Retries = Retries()
    connections: int = Field(8, ge=1, le=64, description="small objects that one worker fetches at a time")
    timeout_s: float = Field(60.0, gt=0, description="without a byte, after which a connection counts as broken")
    user_env: str | None = Field(None, pattern=_ENV, description="variable that holds the user's name")
    password_env: str | None = Field(None, pattern=_ENV, description="variable that holds the password")
    token_env: str | None = Field(None, pattern=_ENV, description="variable that holds a bearer token")
    key_file_env: str | None = Field(None, pattern=_ENV, description="variable that holds the path of an SSH key")
    known_hosts: str | None = Field(None, description="file of SSH host keys; default: the user's own")
    ca_file: str | None = Field(None, description="PEM file of certificate authorities; default: the system's")
    client_cert: str | None = Field(None, description="PEM file of our TLS certificate")
    client_key: str | None = Field(None, description="PEM file of our TLS key")
    requester_pays: bool = Field(False, description="S3: we pay for the transfer")
    versions: Literal["latest", "all"] = Field("latest", description="S3: which versions of an object")
    endpoint: str | None = Field(None, description="S3: address of the source's server, if not AWS_ENDPOINT_URL")
    calling_aet: str = Field("ONCURATE", min_length=1, max_length=16, description="DIMSE: our title")
    move_to: str | None = Field(None, description="DIMSE: TITLE:PORT that the PACS sends C-MOVE to; default: C-GET")

    @field_validator("only")
    @classmethod
    def _windows(cls, value: str | None) -> str | None:
        if value is not None:
            Windows.parse(value)
        return value

    @model_validator(mode="after")
    def _one_login(self) -> PullSettings:
        if self.token_env and self.user_env:
            raise ValueError("give token_env, or user_env and password_env, not both")
        if self.password_env and not self.user_env:
            raise ValueError("password_env needs user_env")
        return self

    def windows(self) -> Windows | None:
        """The time windows of `only`."""
        return Windows.parse(self.only) if self.only else None

    def basic(self) -> tuple[str, str] | None:
        """User and password from the environment, where `user_env` is set."""
        if self.user_env is None:
            return None
        return _variable(self.user_env), _variable(self.password_env) if self.password_env else ""

    def token(self) -> str | None:
        """The bearer token from the environment, where `token_env` is set."""
        return _variable(self.token_env) if self.token_env else None

    def key_file(self) -> str | None:
        """The path of the SSH key from the environment, where `key_file_env` is set."""
        return _variable(self.key_file_env) if self.key_file_env else None

    def for_worker(self, of: int) -> PullSettings:
        """These settings for one of `of` workers that pull at the same time: its share of the rate."""
        return self.model_copy(update={"rate": self.rate.share(max(1, of))})


class DateRange(_Section):
    """Dates from `first` to `last`, both included; None leaves the side open."""

    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Selection(_Section):
    """Which files of the source are wanted. Conditions on several keys all have to hold; none selects all."""

    modalities: tuple[str, ...] = ()
    study_date: DateRange = DateRange()
    description: str | None = Field(None, description="pattern (Python re) in study or series description, any case")
    patients: str | None = Field(None, description="CSV file of PatientID, one a line or a column of that name")
    accessions: str | None = Field(None, description="CSV file of AccessionNumber, one a line or a column of that name")

    @field_validator("description")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a pattern: {error.msg} at position {error.pos}") from None
        return value

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def at(self, base: Path) -> Selection:
        """With the paths of the lists absolute; relative ones are relative to `base`."""
        lists = {
            name: str((base / Path(value).expanduser()).resolve())
            for name in ("patients", "accessions")
            if (value := getattr(self, name)) is not None
        }
        return self.model_copy(update=lists)


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"the environment variable {name} is not set: the provider file's key pull names it")
    return value
