"""The keys `pull` and `select` of the provider file: checked at once, mistakes named, no credentials in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oncurate.errors import UsageError
from oncurate.provider import Provider, parse
from oncurate.sources import source_of


def provider(base: Path, **more: Any) -> Provider:
    raw = {"dataset": "x", "title": "x", "provider": {"name": "x", "country": "NL"}, "source": "archive", **more}
    return parse(raw, base=base)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"pull": {"rates": {}}}, "pull.rates.*did you mean 'rate'"),
        ({"pull": {"only": "at night"}}, "pull.only.*20:00-06:00"),
        ({"pull": {"limits": {"depth": "deep"}}}, "pull.limits.depth"),
        ({"pull": {"password_env": "X"}}, "pull.*user_env"),
        ({"pull": {"token_env": "X", "user_env": "Y"}}, "pull.*not both"),
        ({"pull": {"retries": {"attempts": 0}}}, "pull.retries.attempts"),
        ({"select": {"modality": ["CT"]}}, "select.modality.*did you mean 'modalities'"),
        ({"select": {"study_date": {"from": "soon"}}}, "select.study_date.from"),
        ({"select": {"description": "["}}, "select.description.*not a pattern"),
        ({"source": "https://user:secret@host/x/"}, "source.*credentials"),
        ({"source": "ftp://host/x"}, "source.*ftp"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        provider(tmp_path, **more)
    assert "secret" not in str(error.value)


def test_lists_are_relative_to_the_file(tmp_path: Path) -> None:
    found = provider(tmp_path, select={"patients": "ids.csv", "study_date": {"from": "2020-01-02"}}).select
    assert found.patients == str(tmp_path.resolve() / "ids.csv")
    assert str(found.study_date.first) == "2020-01-02"


def test_the_url_of_a_listing_keeps_its_slash(tmp_path: Path) -> None:
    assert provider(tmp_path, source="https://host/x/").source == "https://host/x/"
    assert provider(tmp_path, source="s3://bucket/x/").source == "s3://bucket/x"


def test_a_provider_survives_the_way_to_a_worker(tmp_path: Path) -> None:
    made = provider(tmp_path, pull={"only": "20:00-06:00 UTC"}, select={"study_date": {"to": "2020-01-02"}})
    assert Provider.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("url", ["https://user@host/", "sftp://user:secret@host/x", "s3://key:secret@bucket/x"])
def test_no_source_takes_credentials_from_a_url(url: str) -> None:
    with pytest.raises(UsageError, match="credentials") as error:
        source_of(url)
    assert "secret" not in str(error.value)


def test_credentials_that_are_not_set_are_named() -> None:
    settings = provider(Path("/"), source="https://host/", pull={"token_env": "NO_SUCH_TOKEN"}).pull
    with pytest.raises(UsageError, match="NO_SUCH_TOKEN"):
        source_of("https://host/", settings)
