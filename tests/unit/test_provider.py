"""The provider file: what it means, and that every mistake in it is a sentence that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from oncurate.errors import UsageError
from oncurate.provider import Provider, parse, read

LEAST = {"dataset": "lung-ct", "title": "Lung CT", "provider": {"name": "Nobody", "country": "NL"}, "source": "archive"}
PROVIDERS = Path(__file__).resolve().parents[2] / "deployments" / "providers"


def made(base: Path, **keys: Any) -> Provider:
    return parse({**LEAST, **keys}, base=base)


def refusal(base: Path, **keys: Any) -> str:
    with pytest.raises(UsageError) as caught:
        made(base, **keys)
    return str(caught.value)


def test_the_least_file_gets_zones_beside_it(tmp_path: Path) -> None:
    provider = made(tmp_path)
    assert provider.source == (tmp_path / "archive").as_uri()
    assert provider.target == (tmp_path / "curated").as_uri()
    assert provider.work_url == (tmp_path / "curated-work" / "lung-ct").as_uri()
    assert provider.dataset_url == (tmp_path / "curated" / "lung-ct").as_uri()
    assert provider.limits.refused_share == 1.0


def test_folders_are_relative_to_the_file_and_urls_stay(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "provider.yaml"
    path.write_text(yaml.safe_dump({**LEAST, "source": "../in", "target": "s3://curated/", "work": "s3://work/x"}))
    provider = read(path)
    assert provider.source == (tmp_path / "in").as_uri()
    assert (provider.dataset_url, provider.work_url) == ("s3://curated/lung-ct", "s3://work/x/lung-ct")


@pytest.mark.parametrize("example", sorted(PROVIDERS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_are_valid(example: Path) -> None:
    assert read(example).dataset


def test_the_example_shows_every_key() -> None:
    shown = yaml.safe_load((PROVIDERS / "example.yaml").read_text(encoding="utf-8"))
    assert set(Provider.model_fields) - set(shown) <= {"quality"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sorce": "x"}, ("'sorce'", "'source'")),
        ({"limits": {"refused_shre": 0.1}}, ("'limits.refused_shre'", "'refused_share'")),
        ({"provider": {"name": "x", "country": "NL", "zzz": "y"}}, ("'provider.zzz'", "known keys")),
        ({"deidentify": {"date": "removed"}}, ("'deidentify.date'", "'dates'")),
        ({"provider": {"name": "x"}}, ("'provider.country'", "missing")),
        ({"provider": {"name": "x", "country": "Netherlands"}}, ("'provider.country'",)),
        ({"dataset": "Lung CT"}, ("'dataset'",)),
        ({"dataset": "catalogue"}, ("'dataset'", "catalogue")),
        ({"limits": {"refused_share": 1.5}}, ("'limits.refused_share'",)),
        ({"outputs": ["dicom"]}, ("'outputs'", "nifti")),
        ({"outputs": ["nifti", "png"]}, ("'outputs.1'",)),
        ({"harmonise": {"CTT": {"spacing_mm": [1, 1, 1]}}}, ("CTT",)),
        ({"harmonise": {"CT": {"spacing": [1, 1, 1]}}}, ("spacing",)),
        ({"clinical": {"fille": "clinical.csv"}}, ("clinical", "fille")),
        ({"clinical": "curated/clinical.csv"}, ("clinical.file", "target")),
        ({"source": "ftp://host/x"}, ("source", "ftp://", "s3://")),
        ({"target": "https://host/x"}, ("target", "https://")),
        ({"source": "s3://key:word@bucket/x"}, ("credentials",)),
        ({"target": "s3://"}, ("target", "bucket")),
        ({"target": "s3://curated"}, ("work", "key table")),
        ({"source": "curated/in"}, ("inside the target",)),
        ({"work": "curated/work"}, ("inside the target",)),
        ({"target": "archive/curated"}, ("inside the source",)),
        ({"target": "archive"}, ("inside",)),
        ({"secret_env": "my secret"}, ("'secret_env'",)),
    ],
)
def test_a_mistake_is_a_sentence_that_names_it(tmp_path: Path, keys: dict[str, Any], words: tuple[str, ...]) -> None:
    said = refusal(tmp_path, **keys)
    assert all(word in said for word in words), said
    assert "\n" not in said


@pytest.mark.parametrize("missing", sorted(LEAST))
def test_a_missing_key_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(UsageError, match=f"'{missing}' is missing"):
        parse({k: v for k, v in LEAST.items() if k != missing}, base=tmp_path)


def test_credentials_in_a_url_are_not_repeated(tmp_path: Path) -> None:
    assert "word" not in refusal(tmp_path, source="s3://key:word@bucket/x")


@pytest.mark.parametrize(
    ("text", "word"),
    [(b"a: [1,\nb: 2", "line 2"), (b"just text", "keys and values"), (b"\xff\xfe\x00", "cannot read"), (b"", "keys")],
)
def test_what_is_no_provider_file_is_refused(tmp_path: Path, text: bytes, word: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=word):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no provider file at .*gone\.yaml"):
        read(tmp_path / "gone.yaml")


def test_the_secret_comes_from_the_named_variable_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = made(tmp_path, secret_env="MADE_SECRET")
    monkeypatch.delenv("MADE_SECRET", raising=False)
    with pytest.raises(UsageError, match="MADE_SECRET is not set"):
        provider.secret()
    monkeypatch.setenv("MADE_SECRET", "sixteen characters")
    assert provider.secret() == b"sixteen characters"
    assert "sixteen" not in repr(provider)
    assert "sixteen" not in provider.model_dump_json()


def test_a_profile_is_put_over_the_usual_one(tmp_path: Path) -> None:
    provider = made(tmp_path, harmonise={"CT": {"spacing_mm": [2.0, 2.0, 2.0]}})
    assert provider.profiles() != made(tmp_path).profiles()
    assert provider.profiles().by_name["CT"].spacing_mm == (2.0, 2.0, 2.0)
