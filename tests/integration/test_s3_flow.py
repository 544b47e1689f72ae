"""The whole job with source, work zone and target in buckets of a real S3 server, and the same from a folder."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.s3server import S3Server
from oncurate import tables
from oncurate.store import Store
from oncurate.verify import verify
from tests.command import oncurate
from tests.engine import prefect_and_dask
from tests.phantoms import ct_series, pt_series
from tests.provider_files import provider_file

pytestmark = [pytest.mark.s3, pytest.mark.flows]


@pytest.fixture(scope="module")
def dask(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose workers know the S3 server."""
    with prefect_and_dask(tmp_path_factory.mktemp("prefect"), s3.environment) as address:
        yield address


def _upload(folder: Path, bucket: Store) -> None:
    for path in sorted(folder.rglob("*.dcm")):
        bucket.write(path.relative_to(folder).as_posix(), path.read_bytes())


def _rows(dataset: Store, version: str) -> dict[str, tuple[Any, ...]]:
    rows = tables.from_parquet(dataset.read(f"releases/{version}/tables/volumes.parquet"))
    return {r["volume_id"]: (r["native_sha256"], r["harmonised_sha256"], r["subject_id"]) for r in rows}


@pytest.mark.slow
def test_a_data_set_lives_in_buckets(aws: S3Server, dask: str, tmp_path: Path) -> None:
    from flows.curate import curate

    prefix = uuid.uuid4().hex
    zones = {name: aws.url(bucket, prefix) for name, bucket in (("source", "source"), ("work", "work"))}
    zones["target"] = aws.url("curated", prefix)
    ct_series(tmp_path / "archive/ct", slices=4)
    pt_series(tmp_path / "archive/pt", slices=4)
    _upload(tmp_path / "archive", Store(zones["source"]))
    provider = provider_file(tmp_path, **zones)
    dataset = Store(f"{zones['target']}/made")

    first = curate(str(provider), dask)
    assert (first["is_new"], first["volumes"]) == (True, 2)
    assert verify(dataset).problems == ()
    in_buckets = _rows(dataset, "v1")

    etags = {entry.key: entry.version for entry in dataset.entries()}
    again = oncurate("curate", provider, "--json", home=tmp_path / "prefect", extra=aws.environment)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["is_new"] is False
    assert {entry.key: entry.version for entry in dataset.entries()} == etags

    ct_series(tmp_path / "archive/more", slices=3, patient="MADE-3")
    _upload(tmp_path / "archive/more", Store(f"{zones['source']}/more"))
    added = curate(str(provider), dask)
    assert (added["current"]["version"], added["volumes"]) == ("v2", 3)
    assert [verify(dataset, version).problems for version in ("v1", "v2")] == [(), ()]

    local = provider_file(tmp_path)
    assert curate(str(local), dask)["volumes"] == 3
    in_folder = _rows(Store((tmp_path / "curated/made").as_uri()), "v1")
    assert in_folder == _rows(dataset, "v2")
    assert in_buckets.items() < in_folder.items()


@pytest.mark.parametrize(
    ("keys", "variables", "word"),
    [
        ({"target": "s3://no-such-bucket/x", "work": "work"}, {}, "no-such-bucket"),
        ({"source": "s3://no-such-bucket/x"}, {}, "no-such-bucket"),
        ({"target": "s3://curated/x", "work": "work"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "curated"),
    ],
)
def test_a_bucket_that_cannot_be_used_ends_with_a_sentence(
    s3: S3Server, tmp_path: Path, keys: dict[str, str], variables: dict[str, str], word: str
) -> None:
    ct_series(tmp_path / "archive", slices=3)
    ended = oncurate(
        "curate", provider_file(tmp_path, **keys), home=tmp_path / "prefect", extra={**s3.environment, **variables}
    )
    assert ended.returncode == 4, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("oncurate: ")
    assert word in line
    assert "Traceback" not in ended.stderr
    assert s3.secret_key not in ended.stderr


def test_an_empty_prefix_is_no_source(s3: S3Server, tmp_path: Path) -> None:
    ended = oncurate("inspect", s3.url("source", "nothing-here"), home=tmp_path, extra=s3.environment)
    assert ended.returncode == 4
    assert ended.stderr.strip() == "oncurate: the source s3://source/nothing-here does not exist or is empty"
