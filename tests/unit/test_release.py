"""A release is visible whole or not at all, whatever is killed in between, and never changes afterwards."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from oncurate import committed, manifest, placement, release, staged
from oncurate.errors import Defect, StoreUnreachable, UsageError
from oncurate.recipe import sha256_hex
from oncurate.store import Store
from oncurate.verify import verify
from tests.staging import ABOUT, flip, stage, zones


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test may catch it."""


class MortalStore(Store):
    """A store whose process dies before its next write once `writes` have been done."""

    writes: int

    def __init__(self, url: str, writes: int) -> None:
        super().__init__(url)
        object.__setattr__(self, "writes", writes)

    def _spend(self) -> None:
        if self.writes <= 0:
            raise Killed
        object.__setattr__(self, "writes", self.writes - 1)

    def write(self, key, data):
        self._spend()
        super().write(key, data)

    def create(self, key, data):
        self._spend()
        super().create(key, data)

    def copy_in(self, key, other, other_key):
        self._spend()
        super().copy_in(key, other, other_key)


def snapshot(store: Store) -> dict[str, str]:
    return {key: store.sha256(key) for key in store.list()}


def test_a_release_is_complete_and_refers_only_to_itself(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    released = release.publish(target, work, ready)
    current = released.current
    assert released.is_new
    assert release.current(target) == current
    assert (current.dataset, current.version) == ("lung-ct", "v1")
    assert current.manifest_sha256 == sha256_hex(target.read("releases/v1/manifest.parquet"))
    listed = {entry.path for entry in manifest.decode(target.read("releases/v1/manifest.parquet"))}
    assert listed == set(target.list()) - {"current.json", "releases/v1/manifest.parquet"}
    assert {o.key for o in ready.objects} < listed
    assert (current.objects, current.bytes) == (len(listed), sum(target.size(key) for key in listed))
    record = json.loads(target.read("releases/v1/release.json"))
    assert record["counts"] == {"subjects": 2, "studies": 2, "series": 3, "volumes": 3, "annotations": 0}
    assert sum(record["ledger"]["by_state"].values()) == record["ledger"]["files"] == 27
    assert verify(target).ok


def test_the_same_staged_release_gives_the_same_bytes(tmp_path):
    one, two = zones(tmp_path / "1"), zones(tmp_path / "2")
    for target, work in (one, two):
        release.publish(target, work, stage(work))
    assert snapshot(one[0]) == snapshot(two[0])


def test_killed_before_any_write_the_next_run_finishes_the_same_release(tmp_path):
    reference, work = zones(tmp_path / "reference")
    ready = stage(work)
    release.publish(reference, work, ready)
    wanted = snapshot(reference)
    writes = 0
    while True:
        target = Store(str(tmp_path / f"target{writes}"))
        mortal = MortalStore(target.url, writes)
        try:
            release.publish(mortal, work, ready)
            break
        except Killed:
            pass
        assert release.current(target) is None  # nothing to be seen before the very last write
        later = replace(ready, released_at="2027-01-01T00:00:00+00:00")
        released = release.publish(target, work, later).current
        after = snapshot(target)
        assert released.version == "v1"
        assert verify(target).ok
        assert not [key for key in after if key.startswith("releases/v2")]
        record_was_written = writes > len(ready.objects)
        assert (after == wanted) == record_was_written
        writes += 1
    assert writes == len(wanted)  # every single write was a place to die


def test_an_update_killed_anywhere_leaves_the_earlier_release_to_readers(tmp_path):
    target, work = zones(tmp_path)
    release.publish(target, work, stage(work, volumes=2))
    first = release.current(target)
    update = stage(work, volumes=3, inputs="more")
    lives = 0
    while True:
        try:
            second = release.publish(MortalStore(target.url, 1), work, update).current
            break
        except Killed:
            lives += 1
        assert release.current(target) == first
        assert verify(target).ok
    assert lives == 4 + len(update.tables) + len(update.gates) + 3  # volume objects, then record, card and manifest
    assert release.current(target) == second
    assert second.version == "v2"
    assert verify(target).ok
    assert verify(target, "v1").ok


def test_debris_of_other_inputs_is_left_behind_and_never_mixed_in(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work, volumes=1)
    with pytest.raises(Killed):
        release.publish(MortalStore(target.url, len(ready.objects) + 2), work, ready)
    debris = {key: sha for key, sha in snapshot(target).items() if key.startswith("releases/v1/")}
    released = release.publish(target, work, stage(work, volumes=2, inputs="other"))
    assert released.current.version == "v2"
    assert {key: sha for key, sha in snapshot(target).items() if key.startswith("releases/v1/")} == debris
    assert verify(target).ok


def test_nothing_new_makes_no_second_release(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    first = release.publish(target, work, ready).current
    before = snapshot(target)
    again = release.publish(target, work, replace(ready, released_at="2027-01-01T00:00:00+00:00"))
    assert (again.current, again.is_new) == (first, False)
    assert snapshot(target) == before
    assert release.is_current(target, ready.inputs_digest, ready.recipe) == first
    assert release.is_current(target, "other", ready.recipe) is None
    assert release.is_current(target, ready.inputs_digest, "other") is None


def test_a_second_release_shares_the_objects_of_the_first(tmp_path):
    target, work = zones(tmp_path)
    release.publish(target, work, stage(work, volumes=2))
    before = snapshot(target)
    update = stage(work, volumes=3, inputs="more")
    assert placement.place(target, work, update).copied == 4
    assert release.publish(target, work, update).current.version == "v2"
    after = snapshot(target)
    assert {key: after[key] for key in before if key != "current.json"} == {
        key: sha for key, sha in before.items() if key != "current.json"
    }
    assert sum(key.startswith("volumes/") for key in after) == 12


def test_a_lost_pointer_is_set_again_only_to_a_release_that_is_whole(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    first = release.publish(target, work, ready).current
    target.write("current.json", b"{")
    assert release.current(target) is None
    assert release.publish(target, work, ready).current == first
    target.delete("current.json")
    flip(target.local_path("releases/v1/README.md"))
    with pytest.raises(StoreUnreachable, match="1 of its objects are missing or altered"):
        release.publish(target, work, ready)
    assert release.current(target) is None


def test_a_damaged_shared_object_is_mended_and_a_conflicting_one_refused(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    release.publish(target, work, ready)
    flip(target.local_path(ready.objects[0].key))
    target.delete(ready.objects[1].key)
    assert {problem.finding.value for problem in verify(target).problems} == {"altered", "missing"}
    release.publish(target, work, stage(work, inputs="again"))
    assert verify(target).ok
    assert verify(target, "v1").ok
    work.write(ready.objects[0].work_key, b"other content")
    changed = replace(ready.objects[0], sha256=sha256_hex(b"other content"), bytes=13)
    with pytest.raises(Defect, match="1 objects would change under keys that an earlier release lists"):
        release.publish(target, work, replace(ready, inputs_digest="new", objects=(changed, *ready.objects[1:])))
    assert verify(target).ok


def test_objects_that_are_not_as_staged_are_not_released(tmp_path):
    target, work = zones(tmp_path)
    ready = stage(work)
    flip(work.local_path(ready.objects[0].work_key))
    with pytest.raises(StoreUnreachable, match="for 1 objects"):
        release.publish(target, work, ready)
    work.delete(ready.objects[1].work_key)
    with pytest.raises(StoreUnreachable, match="holds it no more"):
        release.publish(Store(str(tmp_path / "elsewhere")), work, ready)
    assert committed.numbers(target) == []


def test_only_what_was_placed_can_be_committed(tmp_path):
    target, work = zones(tmp_path)
    placed = placement.place(target, work, stage(work, volumes=1))
    with pytest.raises(Defect, match="not those of the staged release"):
        release.commit(target, stage(work, volumes=2), placed)


def test_another_data_sets_folder_is_refused(tmp_path):
    target, work = zones(tmp_path)
    release.publish(target, work, stage(work))
    before = snapshot(target)
    other = stage(work, about=ABOUT.model_copy(update={"dataset": "brain-mr"}))
    with pytest.raises(UsageError, match="another data set, not of 'brain-mr'"):
        release.publish(target, work, other)
    target.delete("current.json")
    with pytest.raises(UsageError, match="another data set"):
        release.publish(target, work, other)
    assert snapshot(target) == {key: sha for key, sha in before.items() if key != "current.json"}
    strange = Store(str(tmp_path / "strange"))
    strange.write("current.json", b'{"name": "somebody else"}')
    with pytest.raises(UsageError, match=r"holds a current\.json that is not a release's"):
        release.publish(strange, work, stage(work))


@pytest.mark.parametrize("inputs", [["same"] * 4, ["a", "b", "c", "d"]], ids=["one content", "four contents"])
def test_racing_publishers_never_mix_contents(tmp_path, inputs):
    target, work = zones(tmp_path)
    ready = [stage(work, inputs=name, released_at=f"2026-01-0{i + 1}T00:00:00+00:00") for i, name in enumerate(inputs)]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(release.publish, target, work, one) for one in ready]
    assert all(future.exception() is None for future in futures)
    numbers = committed.numbers(target)
    assert all(verify(target, f"v{number}").ok for number in numbers)
    assert {committed.read_record(target, f"v{number}").inputs_digest for number in numbers} == set(inputs)
    assert release.current(target).version in {f"v{number}" for number in numbers}
    assert release.next_version(target) == f"v{numbers[-1] + 1}"


@pytest.mark.parametrize(("name", "number"), [("v1", 1), ("v12", 12), ("1", None), ("vx", None), ("v", None)])
def test_version_names(name, number):
    assert staged.number_of(name) == number
