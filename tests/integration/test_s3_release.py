"""A release on a real S3 server: the create-only commit, reading back, and the catalogue."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from oncurate import catalogue, committed, release
from oncurate.store import Store
from oncurate.verify import verify
from tests.staging import stage

pytestmark = pytest.mark.s3


def test_releases_on_s3_are_whole_even_when_publishers_race(aws):
    target = Store(aws.url("curated", uuid.uuid4().hex))
    work = Store(aws.url("work", uuid.uuid4().hex))
    dataset = target.child("lung-ct")
    first = release.publish(dataset, work, stage(work)).current
    assert (first.version, verify(dataset).ok) == ("v1", True)
    updates = [stage(work, volumes=4, inputs=name) for name in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda update: release.publish(dataset, work, update), updates))
    numbers = committed.numbers(dataset)
    assert {committed.read_record(dataset, f"v{n}").inputs_digest for n in numbers} == {"i", "a", "b", "c", "d"}
    assert all(verify(dataset, f"v{number}").ok for number in numbers)
    (row,) = catalogue.update(target, "lung-ct")
    assert row["version"] == release.current(dataset).version
