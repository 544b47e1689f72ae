"""Every kind of damage to a release is found and named, and none makes verify raise."""

from __future__ import annotations

import pytest

from oncurate import manifest, release, tables
from oncurate.errors import UsageError
from oncurate.manifest import Entry, Finding
from oncurate.store import Store
from oncurate.verify import VerifyReport, verify
from tests.staging import flip, stage, zones

MANIFEST = "releases/v1/manifest.parquet"
VOLUMES = "releases/v1/tables/volumes.parquet"


@pytest.fixture
def target(tmp_path) -> Store:
    target, work = zones(tmp_path)
    release.publish(target, work, stage(work))
    return target


def found(report: VerifyReport) -> tuple[tuple[Finding, str], ...]:
    return tuple((problem.finding, problem.path) for problem in report.problems)


def test_a_good_release_has_no_findings_and_every_object_is_read(target):
    seen = []
    report = verify(target, done=seen.append)
    assert report.ok
    assert (report.version, report.is_current) == ("v1", True)
    assert report.objects == len(seen) == len(list(target.list())) - 2
    assert report.manifest_sha256 == release.current(target).manifest_sha256
    assert report.bytes == release.current(target).bytes


def first_native(target: Store) -> str:
    return next(key for key in target.list("volumes") if key.endswith("native.nii.gz"))


@pytest.mark.parametrize("pick", [first_native, lambda _: VOLUMES, lambda _: "releases/v1/release.json"])
def test_one_flipped_bit_is_found(target, pick):
    key = pick(target)
    flip(target.local_path(key))
    assert (Finding.ALTERED, key) in found(verify(target))


def test_missing_cut_and_additional_files_are_told_apart(target):
    keys = [key for key in target.list("volumes") if key.endswith("native.nii.gz")]
    target.delete(keys[0])
    target.write(keys[1], target.read(keys[1])[:-1])
    target.write("releases/v1/tables/more.parquet", b"more")
    target.write("volumes/unreferenced/object", b"objects of other releases do not matter")
    assert set(found(verify(target))) == {
        (Finding.MISSING, keys[0]),
        (Finding.ALTERED, keys[1]),
        (Finding.UNLISTED_FILE, "releases/v1/tables/more.parquet"),
    }


@pytest.mark.parametrize("cut", [0, 1, 200])
def test_a_truncated_manifest_is_found(target, cut):
    target.write(MANIFEST, target.read(MANIFEST)[:cut])
    assert found(verify(target)) == ((Finding.MANIFEST_ALTERED, MANIFEST), (Finding.MANIFEST_UNREADABLE, MANIFEST))


def test_a_rewritten_manifest_does_not_hide_an_altered_object(target):
    key = first_native(target)
    entries = manifest.decode(target.read(MANIFEST))
    flip(target.local_path(key))
    changed = [Entry(e.path, e.bytes, target.sha256(e.path)) for e in entries]
    target.write(MANIFEST, manifest.encode(changed))
    assert found(verify(target)) == ((Finding.MANIFEST_ALTERED, MANIFEST),)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "a//b", "a\\b", ""])
def test_a_manifest_that_leads_out_of_the_data_set_is_not_followed(target, path):
    target.write(MANIFEST, manifest.encode([Entry(path, 1, "0" * 64)]))
    assert (Finding.MANIFEST_UNREADABLE, MANIFEST) in found(verify(target))


def test_a_flipped_bit_anywhere_in_the_manifest_never_raises(target):
    good = target.read(MANIFEST)
    for place in range(0, len(good), 43):
        target.write(MANIFEST, good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        assert (Finding.MANIFEST_ALTERED, MANIFEST) in found(verify(target))


def test_paths_in_the_tables_must_be_in_the_manifest(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    rows = tables.from_parquet(ready.tables["volumes"])
    rows[0]["preview_path"] = "volumes/nowhere/preview.png"
    ready.tables["volumes"] = tables.to_parquet("volumes", rows)
    release.publish(target, work, ready)
    assert found(verify(target)) == ((Finding.PATH_NOT_IN_MANIFEST, "volumes/nowhere/preview.png"),)


def test_a_table_that_cannot_be_read_is_found(target):
    target.write(VOLUMES, b"PAR1 no more")
    assert found(verify(target)) == ((Finding.ALTERED, VOLUMES), (Finding.TABLE_UNREADABLE, VOLUMES))
    target.delete(VOLUMES)
    assert found(verify(target)) == ((Finding.MISSING, VOLUMES),)


def test_damaged_and_missing_pointer_or_manifest(target):
    target.write("current.json", b"not JSON")
    report = verify(target)
    assert found(report) == ((Finding.POINTER_DAMAGED, "current.json"),)
    assert not report.is_current
    target.delete("current.json")
    assert verify(target).ok
    target.delete(MANIFEST)
    assert found(verify(target, "v1")) == ((Finding.MANIFEST_MISSING, MANIFEST),)


def test_no_release_is_a_usage_error(tmp_path, target):
    with pytest.raises(UsageError, match=r"holds no release$"):
        verify(Store(str(tmp_path / "empty")))
    for version in ("v2", "latest"):
        with pytest.raises(UsageError, match=f"holds no release {version}"):
            verify(target, version)
