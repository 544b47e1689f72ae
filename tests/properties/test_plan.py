"""Planning loses nothing, whatever a series holds, and does not depend on the order of its files."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from oncurate.plan import plan_series
from oncurate.records import Instance
from tests.phantoms import MR, PLANAR
from tests.unit import made

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
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


@settings(max_examples=150, deadline=None)
@given(series(), st.integers(0, 2), st.integers(0, 100))
def test_every_file_ends_exactly_once_in_any_order(files: list[Instance], pixels: int, seed: int) -> None:
    def digest(instance: Instance) -> str | None:
        return None if pixels == 0 and instance.lossy else str(pixels == 1 or instance.source_path)

    planned, outcomes = plan_series(files, digest)
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
    assert plan_series(shuffled, digest) == (planned, outcomes)
