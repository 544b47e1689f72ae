"""Which volumes are repetitions of each other, in which order, and what is said of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oncurate import plan as planning
from oncurate.records import Instance, PlannedVolume
from tests.unit import made

ZS = (0.0, 2.0, 4.0, 6.0)


def planned(instances: list[Instance]) -> list[PlannedVolume]:
    series, outcomes = planning.plan_series(instances, lambda i: i.object)
    assert series is not None
    assert not outcomes
    return list(series.volumes)


def stacks(count: int, keys: Any = None, **options: Any) -> list[Instance]:
    """`count` MR stacks, numbered one after the other; `keys(n)` are the frame keys of the n-th."""
    found = []
    for n in range(count):
        extra = {"keys": keys(n)} if keys else {}
        found += made.mr_stack(ZS, first=100 * (n + 1), **extra, **options)
    return found


def test_time_points_are_one_volume_in_order_of_their_label() -> None:
    instances = stacks(3, lambda n: {"temporal_position": 3 - n})
    [volume] = planned(list(reversed(instances)))
    assert (volume.kind, len(volume.slices), volume.repeated_by) == ("volume", 12, ("temporal_position",))
    objects = {i.SOPInstanceUID: i for i in instances}
    labels = [objects[s.SOPInstanceUID].frames[0].keys["temporal_position"] for s in volume.slices]
    assert labels == [1] * 4 + [2] * 4 + [3] * 4
    heights = [objects[s.SOPInstanceUID].frames[0].position[2] for s in volume.slices]
    assert heights == [*ZS] * 3


def test_diffusion_weightings_are_one_volume_with_b_values_in_order_of_acquisition() -> None:
    b_values = [0.0, 1000.0, 500.0]
    [volume] = planned(stacks(3, lambda n: {"b_value": b_values[n]}))
    assert [r.b_value for r in volume.repetitions] == b_values
    assert volume.repeated_by == ("b_value",)


def test_echoes_and_components_stay_apart() -> None:
    for key in ("echo_number", "component", "image_type"):
        volumes = planned(stacks(2, lambda n, key=key: {key: f"value {n}"}))
        assert [(len(v.slices), v.split_by) for v in volumes] == [(4, (key,)), (4, (key,))]


def test_echoes_of_a_dynamic_series_are_two_volumes_of_many_repetitions() -> None:
    volumes = planned(stacks(6, lambda n: {"echo_number": n % 2, "temporal_position": n // 2}))
    assert [(len(v.slices), len(v.repetitions), v.split_by) for v in volumes] == [(12, 3, ("echo_number",))] * 2


def test_another_grid_is_another_volume() -> None:
    moved = tuple(z + 100.0 for z in ZS)
    instances = made.mr_stack(ZS, keys={"b_value": 0.0}) + made.mr_stack(moved, first=50, keys={"b_value": 500.0})
    assert [len(v.slices) for v in planned(instances)] == [4, 4]


def test_one_slice_many_times_is_a_cine() -> None:
    instances = [i for n in range(5) for i in made.mr_stack((3.0,), first=n + 1, keys={"trigger_time": 40.0 * n})]
    [volume] = planned(instances)
    assert (volume.kind, len(volume.repetitions), volume.geometry.in_patient) == ("cine", 5, True)
    assert [r.time_s for r in volume.repetitions] == pytest.approx(np.arange(5) * 0.04)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["101500", "101502.5", "101505"], [0.0, 2.5, 5.0]),
        (["235959", "000001", "000003"], [0.0, 2.0, 4.0]),
        (["101500", "", "101505"], [None, None, None]),
        (["101500", "noon", "101505"], [None, None, None]),
    ],
)
def test_times_are_relative_to_the_first(times: list[str], expected: list[float | None]) -> None:
    instances = [
        i.model_copy(update={"attributes": {**i.attributes, "AcquisitionTime": time}})
        for n, time in enumerate(times)
        for i in made.mr_stack(ZS, first=100 * n + 1, keys={"temporal_position": n})
    ]
    [volume] = planned(instances)
    assert [r.time_s for r in volume.repetitions] == expected
