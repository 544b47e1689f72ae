"""Plans: what becomes of each file of a series."""

from __future__ import annotations

from typing import Any

import pytest

from oncurate.plan import plan_series
from oncurate.policies import GeometryPolicy
from oncurate.reasons import Reason, State
from oncurate.records import Instance, PlannedVolume
from tests.phantoms import PLANAR, PT
from tests.unit import made

ZS = [0.0, 2.0, 4.0, 6.0]


def plan(
    instances: list[Instance], pixels: Any = None, **policy: str
) -> tuple[list[PlannedVolume], dict[str, Reason | None]]:
    series, outcomes = plan_series(instances, pixels or (lambda i: i.object), GeometryPolicy(**policy))
    assert all(o.stage == "index" and o.state is not State.CURATED for o in outcomes)
    return list(series.volumes) if series else [], {o.key: o.reason for o in outcomes}


def sizes(volumes: list[PlannedVolume]) -> list[int]:
    return [len(v.slices) for v in volumes]


def reasons_of(instances: list[Instance], **options: Any) -> set[Reason | None]:
    volumes, outcomes = plan(instances, **options)
    assert not volumes
    assert set(outcomes) == {i.source_path for i in instances}
    return set(outcomes.values())


def test_a_regular_series_is_one_volume_in_order_along_the_normal() -> None:
    [volume], outcomes = plan(made.stack(list(reversed(ZS))))
    assert not outcomes
    assert volume.kind == "volume"
    assert volume.split_by == ()
    assert [s.SOPInstanceUID for s in volume.slices] == ["2.25.4", "2.25.3", "2.25.2", "2.25.1"]
    assert volume.geometry.spacing == (0.8, 0.8, 2.0)
    assert volume.attributes == {"KVP": 120.0, "SliceThickness": 2.0}


def test_interleaved_reconstructions_of_two_thicknesses_are_two_volumes() -> None:
    thin = made.stack(ZS, keys={"thickness": 1.0})
    thick = made.stack([z + 1 for z in ZS], first=10, keys={"thickness": 5.0})
    volumes, outcomes = plan(thin + thick)
    assert not outcomes
    assert [(len(v.slices), v.split_by) for v in volumes] == [(4, ("thickness",))] * 2


@pytest.mark.parametrize("stated", ["YES", "Yes", "yes "])
def test_one_image_with_text_makes_its_volume_one(stated: str) -> None:
    instances = made.stack(ZS, attributes={"BurnedInAnnotation": "NO"})
    instances[2] = instances[2].model_copy(update={"attributes": {"BurnedInAnnotation": stated}})
    [volume], _ = plan(instances)
    assert volume.attributes["BurnedInAnnotation"] == "YES"


def test_only_shared_attributes_stay() -> None:
    instances = made.stack(ZS)
    instances[1] = instances[1].model_copy(update={"attributes": {"KVP": 100.0, "SliceThickness": 2.0}})
    [volume], _ = plan(instances)
    assert volume.attributes == {"SliceThickness": 2.0}


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        (made.stack([0.0, 2.0, 4.0, 8.0]), Reason.MISSING_SLICES),
        (made.stack([0.0, 2.0, 4.0, 7.0]), Reason.UNEVEN_SPACING),
        (made.stack(ZS, shift=0.5), Reason.GANTRY_TILT),
        (made.stack([0.0, 2.0, 2.0, 4.0]), Reason.REPEATED_POSITIONS),
        (made.stack(ZS, orientation=(1, 0, 0, 1, 0, 0)), Reason.SHEARED_ORIENTATION),
        (made.stack(ZS, spacing=(0.0, 0.8)), Reason.IMPLAUSIBLE_HEADER),
        (made.stack(ZS, spacing=None), Reason.MISSING_GEOMETRY),
    ],
)
def test_an_irregular_series_is_refused_whole(instances: list[Instance], reason: Reason) -> None:
    assert reasons_of(instances) == {reason}


def test_slices_of_another_size_within_one_stack_are_mixed_sizes() -> None:
    instances = made.stack(ZS)
    instances[2] = instances[2].model_copy(update={"format": made.pixel_format(Columns=13)})
    assert reasons_of(instances) == {Reason.MIXED_SIZES}


def test_volumes_of_different_size_are_two_volumes() -> None:
    volumes, outcomes = plan(made.stack(ZS) + made.stack(ZS, first=10, format=made.pixel_format(Columns=13)))
    assert sizes(volumes) == [4, 4]
    assert not outcomes
    assert volumes[0].split_by == ("matrix",)


def test_one_slice_is_a_planar_image_in_the_patient() -> None:
    [volume], _ = plan(made.stack([7.0]))
    assert volume.kind == "planar"
    assert volume.geometry.in_patient
    assert volume.geometry.spacing[2] == 2.0
    assert volume.geometry.origin == (0.0, 0.0, 7.0)


def test_duplicates_with_equal_pixels_leave_one_copy() -> None:
    instances = made.stack(ZS) + made.stack([2.0], first=50)
    [volume], outcomes = plan(instances, pixels=lambda i: i.frames[0].position)
    assert len(volume.slices) == 4
    assert outcomes == {"0050.dcm": Reason.SAME_PIXELS}


def test_a_repeated_position_with_other_pixels_is_ambiguous() -> None:
    assert reasons_of(made.stack(ZS) + made.stack([2.0], first=50)) == {Reason.REPEATED_POSITIONS}


def test_a_gap_beside_a_duplicate_is_still_a_gap() -> None:
    instances = made.stack([0.0, 2.0, 4.0, 8.0]) + made.stack([2.0], first=50)
    _, outcomes = plan(instances, pixels=lambda i: i.frames[0].position)
    assert set(outcomes.values()) == {Reason.SAME_PIXELS, Reason.MISSING_SLICES}


def test_time_points_with_equal_outermost_slices_are_not_duplicates() -> None:
    instances = made.mr_stack(ZS) + made.mr_stack(ZS, first=10)
    volumes, outcomes = plan(instances, pixels=lambda i: "empty" if i.frames[0].position[2] == 0 else i.object)
    assert [(len(v.slices), len(v.repetitions)) for v in volumes] == [(8, 2)]
    assert (volumes[0].split_by, volumes[0].repeated_by) == ((), ("repetition",))
    assert not outcomes


def test_an_incomplete_last_time_point_is_refused_alone() -> None:
    instances = [i for t in (1, 2, 3) for i in made.mr_stack(ZS, first=10 * t, keys={"temporal_position": t})]
    del instances[9]
    volumes, outcomes = plan(instances)
    assert [(len(v.slices), len(v.repetitions)) for v in volumes] == [(8, 2)]
    assert set(outcomes.values()) == {Reason.MISSING_SLICES}
    assert len(outcomes) == 3


def test_projections_stand_alone() -> None:
    views = [
        made.instance(n, SOPClassUID=PLANAR["MG"], Modality="MG", position=None, orientation=None, keys={"view": v})
        for n, v in enumerate(("CC", "MLO"))
    ]
    volumes, outcomes = plan(views)
    assert not outcomes
    assert [(v.kind, v.geometry.in_patient, v.split_by) for v in volumes] == [("planar", False, ("instance",))] * 2


def many_frames(number: int, zs: list[float | None], **options: Any) -> Instance:
    frames = tuple(
        made.frame(k, number, position=None if z is None else (0.0, 0.0, z), **options) for k, z in enumerate(zs)
    )
    return made.instance(number, frames=frames)


def test_frames_without_a_place_are_not_a_volume_but_a_cine_of_ultrasound() -> None:
    assert reasons_of([many_frames(1, [None] * 5)]) == {Reason.MULTIFRAME_NOT_A_VOLUME}
    us = made.instance(1, SOPClassUID=PLANAR["US"], frames=many_frames(1, [None] * 3).frames)
    [cine], _ = plan([us])
    assert (cine.kind, cine.geometry.shape[2], len(cine.repetitions), cine.repeated_by) == ("cine", 1, 3, ("frame",))


def test_a_file_of_many_frames_is_refused_whole_even_if_one_of_its_volumes_is_regular() -> None:
    good = [made.frame(k, 1, position=(0.0, 0.0, z), keys={"b_value": 0.0}) for k, z in enumerate(ZS)]
    bad = [made.frame(k + 4, 1, position=(0.0, 0.0, z), keys={"b_value": 9.0}) for k, z in enumerate([0.0, 2.0, 3.3])]
    assert reasons_of([made.instance(1, frames=tuple(good + bad))]) == {Reason.UNEVEN_SPACING}


def test_the_attributes_of_a_volume_are_those_of_its_frames() -> None:
    frames = [
        made.frame(4 * e + k, 1, position=(0.0, 0.0, z), keys={"echo_time": float(10 * e)})
        for e in (1, 2)
        for k, z in enumerate(ZS)
    ]
    frames = [f.model_copy(update={"index": n}) for n, f in enumerate(frames)]
    volumes, _ = plan([made.instance(1, frames=tuple(frames), attributes={"EchoTime": 10.0})])
    assert [v.attributes for v in volumes] == [{"EchoTime": 10.0}, {"EchoTime": 20.0}]


def zs_of(volume: PlannedVolume, instances: list[Instance]) -> list[float]:
    z = {i.object: i.frames[0].position[2] for i in instances}
    return [z[s.object] for s in volume.slices]


@pytest.mark.parametrize(
    ("instances", "policy", "correction"),
    [
        (made.stack(ZS, shift=0.5), {"gantry_tilt": "shear"}, "shear"),
        (made.stack([0.0, 2.0, 5.0, 9.5]), {"variable_spacing": "resample"}, "resample"),
    ],
)
def test_a_policy_plans_a_correction_and_keeps_the_positions(
    instances: list[Instance], policy: dict[str, str], correction: str
) -> None:
    [volume], outcomes = plan(list(reversed(instances)), **policy)
    assert not outcomes
    assert volume.correction == correction
    assert [s.position for s in volume.slices] == [i.frames[0].position for i in instances]
    assert not volume.geometry.regularly_spaced_3d_volume
    tilt = 14.036 if correction == "shear" else 0.0
    assert volume.geometry.gantry_tilt_degrees == pytest.approx(tilt, abs=1e-3)


def test_a_regular_volume_under_every_policy_is_not_corrected() -> None:
    every = {"gantry_tilt": "shear", "variable_spacing": "resample", "missing_slices": "split"}
    assert plan(made.stack(ZS), **every) == plan(made.stack(ZS))
    [volume], _ = plan(made.stack(ZS), **every)
    assert volume.correction is None
    assert {s.position for s in volume.slices} == {None}


def test_a_tilted_stack_at_uneven_distances_needs_both_policies() -> None:
    zs = (0.0, 2.0, 5.0, 9.5)
    instances = [made.instance(n, position=(0.0, 0.3 * z, z)) for n, z in enumerate(zs, start=1)]
    assert reasons_of(instances, variable_spacing="resample") == {Reason.UNEVEN_SPACING}
    [volume], _ = plan(instances, variable_spacing="resample", gantry_tilt="shear")
    assert volume.correction == "resample"


def test_uneven_slices_out_of_line_are_refused_under_every_policy() -> None:
    instances = [
        made.instance(n, position=(0.0, 3.0 * (n % 2), z)) for n, z in enumerate((0.0, 2.0, 5.0, 9.5), start=1)
    ]
    assert reasons_of(instances, variable_spacing="resample", gantry_tilt="shear") == {Reason.UNEVEN_SPACING}
    assert reasons_of(made.stack([0.0, 2.0], shift=0.5), gantry_tilt="shear") == {Reason.IN_PLANE_DRIFT}


def test_a_missing_slice_is_never_interpolated() -> None:
    instances = made.stack([0.0, 2.0, 4.0, 8.0])
    assert reasons_of(instances, variable_spacing="resample", gantry_tilt="shear") == {Reason.MISSING_SLICES}
    tilted = [made.instance(n, position=(0.0, 0.3 * z, z)) for n, z in enumerate((0.0, 2.0, 4.0, 8.0, 10.0), start=1)]
    assert reasons_of(tilted, variable_spacing="resample", gantry_tilt="shear") == {Reason.MISSING_SLICES}


def test_runs_without_a_gap_become_volumes_and_lone_slices_do_not() -> None:
    instances = made.stack([0.0, 2.0, 4.0, 8.0, 10.0, 16.0])
    volumes, outcomes = plan(instances, missing_slices="split")
    assert [(zs_of(v, instances), v.split_by, v.correction) for v in volumes] == [
        ([0.0, 2.0, 4.0], ("gap",), None),
        ([8.0, 10.0], ("gap",), None),
    ]
    assert all(v.geometry.regularly_spaced_3d_volume for v in volumes)
    assert outcomes == {"0006.dcm": Reason.MISSING_SLICES}


def test_runs_of_a_tilted_stack_are_sheared_where_that_is_allowed() -> None:
    zs = (0.0, 2.0, 4.0, 8.0, 10.0, 12.0, 16.0, 18.0)
    instances = [made.instance(n, position=(0.0, 0.3 * z, z)) for n, z in enumerate(zs, start=1)]
    assert reasons_of(instances, missing_slices="split") == {Reason.MISSING_SLICES}
    volumes, outcomes = plan(instances, missing_slices="split", gantry_tilt="shear")
    assert [(len(v.slices), v.correction) for v in volumes] == [(3, "shear"), (3, "shear")]
    assert outcomes == {"0007.dcm": Reason.MISSING_SLICES, "0008.dcm": Reason.MISSING_SLICES}  # two show no tilt


def test_a_file_of_many_frames_with_a_lone_slice_is_refused_whole() -> None:
    assert reasons_of([many_frames(1, [0.0, 2.0, 4.0, 8.0])], missing_slices="split") == {Reason.MISSING_SLICES}
    volumes, outcomes = plan([many_frames(1, [0.0, 2.0, 4.0, 8.0, 10.0])], missing_slices="split")
    assert sizes(volumes) == [3, 2]
    assert not outcomes


def test_slices_of_another_size_are_mixed_sizes_under_every_policy() -> None:
    instances = made.stack([*ZS, 8.0])
    instances[2] = instances[2].model_copy(update={"format": made.pixel_format(Columns=13)})
    assert reasons_of(instances, missing_slices="split", variable_spacing="resample") == {Reason.MIXED_SIZES}


def test_duplicates_may_be_refused_though_their_pixels_are_equal() -> None:
    instances = made.stack(ZS) + made.stack([2.0], first=50)
    assert reasons_of(instances, pixels=lambda i: i.frames[0].position, duplicates="quarantine") == {
        Reason.REPEATED_POSITIONS
    }
    _, outcomes = plan_series(instances, lambda i: str(i.frames[0].position), GeometryPolicy(duplicates="quarantine"))
    assert {o.detail for o in outcomes} == {"1 equal images; policy duplicates: quarantine"}


@pytest.mark.parametrize(
    ("broken", "reason", "detail"),
    [
        ({"position": (0.0, 0.0, float("nan"))}, Reason.IMPLAUSIBLE_HEADER, "ImagePositionPatient"),
        ({"position": (1e9, 0.0, 2.0)}, Reason.IMPLAUSIBLE_HEADER, "ImagePositionPatient"),
        ({"orientation": (float("inf"), 0, 0, 0, 1, 0)}, Reason.IMPLAUSIBLE_HEADER, "ImageOrientationPatient"),
        ({"orientation": (0.0,) * 6}, Reason.SHEARED_ORIENTATION, ""),
        ({"orientation": (1.0, 0, 0, 1.0, 0, 0)}, Reason.SHEARED_ORIENTATION, ""),
        ({"spacing": (float("nan"), 0.8)}, Reason.IMPLAUSIBLE_HEADER, "PixelSpacing"),
        ({"spacing": (-0.8, 0.8)}, Reason.IMPLAUSIBLE_HEADER, "PixelSpacing"),
        ({"spacing": (0.8, 1e6)}, Reason.IMPLAUSIBLE_HEADER, "PixelSpacing"),
    ],
)
@pytest.mark.parametrize("how_many", ["one", "all"])
def test_numbers_that_cannot_be_have_their_reason(
    broken: dict[str, Any], reason: Reason, detail: str, how_many: str
) -> None:
    every = GeometryPolicy(gantry_tilt="shear", variable_spacing="resample", missing_slices="split")
    bad = range(4) if how_many == "all" else [1]
    instances = [
        made.instance(n + 1, **{"position": (0.0, 0.0, z), **(broken if n in bad else {})}) for n, z in enumerate(ZS)
    ]
    for policy in (GeometryPolicy(), every):
        _, outcomes = plan_series(instances, lambda i: i.object, policy)
        found = {o.key: (o.reason, o.detail) for o in outcomes}
        assert all(found.pop(f"{n + 1:04d}.dcm") == (reason, detail) for n in bad)
        if policy == GeometryPolicy():  # the others lack a slice now, and say so
            assert {why for why, _ in found.values()} <= {Reason.MISSING_SLICES}
            assert len(found) == 4 - len(bad)


def test_spacing_between_slices_beyond_a_body_is_no_volume() -> None:
    assert reasons_of(made.stack([0.0, 5000.0, 10000.0])) == {Reason.IMPLAUSIBLE_HEADER}


@pytest.mark.parametrize(
    ("stated", "policy", "reasons"),
    [
        (4, {}, set()),
        (3, {}, set()),
        (None, {}, set()),
        ("", {}, set()),
        (6, {}, {Reason.MISSING_SLICES}),
        (6, {"missing_slices": "split"}, set()),
    ],
)
def test_a_pet_that_counts_more_slices_than_there_are_lacks_an_end(
    stated: Any, policy: dict[str, str], reasons: set[Reason]
) -> None:
    pet = {"SOPClassUID": PT, "Modality": "PT", "attributes": {"NumberOfSlices": stated}}
    volumes, outcomes = plan(made.stack(ZS, **pet), **policy)
    assert set(outcomes.values()) == reasons
    assert len(outcomes) == 4 * len(reasons)
    assert len(volumes) == 1 - len(reasons)
    assert sizes(plan(made.stack(ZS, attributes=pet["attributes"]))[0]) == [4]  # no other modality counts them
