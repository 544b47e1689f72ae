"""Planning loses nothing, whatever a series holds, and does not depend on the order of its files."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate import regrid
from oncurate.plan import plan_series
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason
from oncurate.records import Instance
from tests.phantoms import MR, PLANAR, turned
from tests.unit import made

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORRECTED_BY = {"shear": "gantry_tilt", "resample": "variable_spacing"}
maybe_key = st.one_of(st.none(), st.integers(1, 2))


@st.composite
def frames(draw: st.DrawFn, number: int, index: int) -> object:
    keys = {k: draw(maybe_key) for k in ("echo_time", "temporal_position", "acquisition_number")}
    place = draw(st.sampled_from([0.0, 2.0, 4.0, 6.0, 6.5, None]))
    return made.frame(
        index,
        number,
        position=None if place is None else (0.0, draw(st.sampled_from([0.0, 0.0, 0.5])), place),
        orientation=draw(st.sampled_from([made.AXIAL, made.AXIAL, made.AXIAL, SAGITTAL, None, (0.0,) * 6])),
        spacing=draw(st.sampled_from([(0.8, 0.8), (0.8, 0.8), (0.8, 0.9), None, (0.0, 1.0), (float("nan"), 1.0)])),
        keys={k: v for k, v in keys.items() if v is not None},
    )


@st.composite
def instances(draw: st.DrawFn, number: int) -> Instance:
    count = draw(st.sampled_from([1, 1, 1, 3]))
    copied = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return made.instance(
        number,
        frames=tuple(draw(frames(number, k)) for k in range(count)),
        object=f"{number if copied != 1 else 1:064d}",
        SOPInstanceUID=f"2.25.{number if copied == 0 else 1}",
        SOPClassUID=draw(st.sampled_from([made.CT, MR, MR, PLANAR["DX"]])),
        lossy=draw(st.booleans()),
        format=made.pixel_format(NumberOfFrames=count, Rows=draw(st.sampled_from([16, 16, 17]))),
    )


@st.composite
def series(draw: st.DrawFn) -> list[Instance]:
    return [draw(instances(n)) for n in range(1, draw(st.integers(2, 9)))]


choices = st.builds(
    GeometryPolicy,
    gantry_tilt=st.sampled_from(["quarantine", "shear"]),
    variable_spacing=st.sampled_from(["quarantine", "resample"]),
    missing_slices=st.sampled_from(["quarantine", "split"]),
    duplicates=st.sampled_from(["keep_one", "quarantine"]),
)
EVERY = GeometryPolicy(gantry_tilt="shear", variable_spacing="resample", missing_slices="split")


@settings(max_examples=250, deadline=None)
@given(series(), st.integers(0, 2), st.integers(0, 100), choices)
def test_every_file_ends_exactly_once_in_any_order(
    files: list[Instance], pixels: int, seed: int, policy: GeometryPolicy
) -> None:
    def digest(instance: Instance) -> str | None:
        return None if pixels == 0 and instance.lossy else str(pixels == 1 or instance.source_path)

    planned, outcomes = plan_series(files, digest, policy)
    refused = [o.key for o in outcomes]
    assert len(refused) == len(set(refused))
    used = {s.object for v in planned.volumes for s in v.slices} if planned else set()
    paths = {i.source_path: i for i in files}
    kept = [p for p in paths if p not in refused]
    assert {paths[p].object for p in kept} == used
    assert len({paths[p].object for p in kept}) == len(kept)
    slices = [(s.object, s.frame) for v in planned.volumes for s in v.slices] if planned else []
    assert len(slices) == len(set(slices)) == sum(len(paths[p].frames) for p in kept)

    shuffled = files.copy()
    random.Random(seed).shuffle(shuffled)
    assert plan_series(shuffled, digest, policy) == (planned, outcomes)
    for volume in planned.volumes if planned else ():
        allowed = volume.correction is None or getattr(policy, CORRECTED_BY[volume.correction]) == volume.correction
        assert allowed
        assert all((s.position is not None) == (volume.correction is not None) for s in volume.slices)


@st.composite
def stacks(draw: st.DrawFn, first: int) -> list[Instance]:
    """A volume in any orientation: regular, or tilted, uneven or both; its instance numbers are in any order."""
    orientation = turned(*(draw(st.floats(-180, 180)) for _ in range(3)))
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    steps = draw(st.one_of(st.just([2.0] * 5), st.lists(st.floats(0.5, 9.0), min_size=3, max_size=8)))
    along = np.cumsum([0.0, *steps])
    tilt = draw(st.sampled_from([0.0, 0.3, -0.2]))
    positions = np.array([draw(st.floats(-300, 300)), 4.0, 7.0]) + np.outer(
        along, np.cross(row, column) + tilt * column
    )
    numbers = draw(st.permutations(range(first, first + len(along))))
    return [
        made.instance(n, position=tuple(p), orientation=orientation, keys={"kernel": f"kernel {first}"})
        for n, p in zip(numbers, positions.tolist(), strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(stacks(100), stacks(200), st.randoms(use_true_random=False))
def test_neither_file_order_nor_another_volume_changes_a_volume(
    one: list[Instance], other: list[Instance], random: object
) -> None:
    def digest(instance: Instance) -> str:
        return instance.object

    alone = [plan_series(files, digest, EVERY) for files in (one, other)]
    mixed = [*one, *other]
    random.shuffle(mixed)  # type: ignore[attr-defined]  # Hypothesis' random is a Random
    together, outcomes = plan_series(mixed, digest, EVERY)
    volumes = [v.model_copy(update={"split_by": ()}) for v in (together.volumes if together else ())]
    expected = [v.model_copy(update={"split_by": ()}) for found, _ in alone if found for v in found.volumes]
    assert sorted(volumes, key=lambda v: v.slices[0].object) == sorted(expected, key=lambda v: v.slices[0].object)
    assert outcomes == sorted((o for _, some in alone for o in some), key=lambda o: o.key)


@settings(max_examples=150, deadline=None)
@given(stacks(100))
def test_a_corrected_stack_loses_no_file_and_keeps_the_order_in_the_patient(files: list[Instance]) -> None:
    planned, outcomes = plan_series(files, lambda i: i.object, EVERY)
    assert {o.reason for o in outcomes} <= {Reason.MISSING_SLICES}
    where = {i.object: np.array(i.frames[0].position) for i in files}
    for volume in planned.volumes if planned else ():
        geometry = volume.geometry
        along = [float(where[s.object] @ np.array(geometry.normal)) for s in volume.slices]
        assert along == sorted(along)
        if volume.correction is None:
            assert geometry.regularly_spaced_3d_volume
            continue
        positions = np.array([s.position for s in volume.slices], float)
        correct = regrid.shear if volume.correction == "shear" else regrid.even_out
        array, grid, step = correct(np.ones((len(positions), 16, 12), np.int16), positions, geometry, outside=0)
        assert array.shape == grid.shape[::-1]
        assert grid.regularly_spaced_3d_volume
        assert abs(grid.spacing[2] * (grid.shape[2] - 1) - (along[-1] - along[0])) < 1e-6
        assert array[0].sum() == array[-1].sum() == 16 * 12
        assert step.name in ("shear", "even_out")
    used = {s.object for v in planned.volumes for s in v.slices} if planned else set()
    assert len(used) + len(outcomes) == len(files)
