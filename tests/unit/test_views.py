"""Side, view and intent of radiographs; derived images and projections; views that a mammographic study lacks."""

from __future__ import annotations

import pytest

from oncurate import allowlist, views
from oncurate.plan import plan_series
from oncurate.split import Unit
from tests.unit.made import frame, instance, stack

CODED = "ViewCodeSequence.CodeValue"


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"ImageLaterality": "R"}, "R"),
        ({"ImageLaterality": "l "}, "L"),
        ({"FrameLaterality": "B"}, "B"),
        ({"Laterality": "L"}, "L"),
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": "", "Laterality": "L"}, "L"),
        ({"ImageLaterality": "U", "Laterality": "L"}, None),  # unpaired: no side
        ({"ImageLaterality": "LEFT KNEE^JOHN"}, None),
        ({"Laterality": ["L", "R"]}, None),
        ({}, None),
    ],
)
def test_the_side(attributes, side):
    assert views.laterality(attributes) == side


@pytest.mark.parametrize(
    ("attributes", "term"),
    [
        ({"ViewPosition": "MLO"}, "MLO"),
        ({"ViewPosition": "pa"}, "PA"),
        ({"ViewPosition": "LL"}, "LL"),
        ({CODED: "R-10242"}, "CC"),
        ({CODED: "399162004"}, "CC"),
        ({CODED: "R-10226"}, "MLO"),
        ({CODED: "399368009"}, "MLO"),
        ({CODED: "R-10224"}, "ML"),
        ({CODED: "R-10228"}, "LM"),
        ({CODED: "R-10206"}, "AP"),
        ({CODED: "272479007"}, "PA"),
        ({CODED: "R-10214"}, "PA"),
        ({CODED: "399173006"}, "LL"),
        ({CODED: "R-10232"}, "RL"),
        ({CODED: "399067008"}, "LAT"),
        ({CODED: "Y-X1770"}, "XCCL"),
        ({CODED: "R-10242", "ViewPosition": "MLO"}, "CC"),
        ({CODED: "R-99999", "ViewPosition": "MLO"}, "MLO"),
        ({"ViewPosition": "JOHN DOE"}, None),
        ({CODED: 5}, None),
        ({}, None),
    ],
)
def test_the_view(attributes, term):
    assert views.view(attributes) == term


def test_every_code_of_the_standard_that_pydicom_knows_is_the_same_view():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    from pydicom.sr._snomed_dict import mapping

    former = {sct: srt for srt, sct in mapping["SRT"].items()}
    known = 0
    for name, codes in concepts.items():
        for code, (_, groups) in codes.items():
            if not {4010, 4014} & set(groups):
                continue
            term = views.view({CODED: code})
            assert views.view({CODED: former[code]}) == term, name
            assert term is not None or 4014 not in groups, name
            known += term is not None
    assert known >= 22


def test_the_intent():
    assert views.presentation_intent({"PresentationIntentType": "FOR PROCESSING"}) == "FOR PROCESSING"
    assert views.presentation_intent({"PresentationIntentType": "for presentation"}) == "FOR PRESENTATION"
    assert views.presentation_intent({"PresentationIntentType": "JOHN"}) is None
    assert views.presentation_intent({}) is None


def mammogram(side: str | None, view: str | None, **changes: str | None) -> dict[str, str | None]:
    base = {"Modality": "MG", "PresentationIntentType": "FOR PRESENTATION", "laterality": side, "view": view}
    return {**base, **changes}


FOUR = [mammogram(side, view) for side in "RL" for view in ("CC", "MLO")]


def test_a_complete_study_lacks_nothing():
    assert views.missing_views(FOUR) == ()
    assert views.missing_views(iter([*FOUR, mammogram("L", "ML"), mammogram("R", "CC")])) == ()


@pytest.mark.parametrize("left_out", range(4))
def test_a_missing_view_is_named(left_out):
    gone = FOUR[left_out]
    rest = [row for row in FOUR if row is not gone]
    assert views.missing_views(rest) == (f"{gone['laterality']} {gone['view']}",)


def test_views_are_named_in_one_order():
    assert views.missing_views([mammogram("L", "ML")]) == ("R CC", "L CC", "R MLO", "L MLO")
    assert views.missing_views([mammogram("B", "CC"), mammogram(None, "MLO")]) == views.SCREENING_VIEWS


def test_raw_and_processed_images_both_count():
    mixed = [*FOUR[:3], {**FOUR[3], "PresentationIntentType": "FOR PROCESSING"}]
    assert views.missing_views(mixed) == ()


def test_only_digital_mammograms_count():
    film = [{**row, "PresentationIntentType": None} for row in FOUR]
    assert views.missing_views(film) == ()
    assert views.missing_views([{**row, "Modality": "DX"} for row in FOUR]) == ()
    assert views.missing_views([*film, mammogram("R", "CC")]) == ("L CC", "R MLO", "L MLO")
    assert views.missing_views([]) == ()


def units(*image_types: str | None, **attributes: str) -> list[Unit]:
    made = []
    for image_type in image_types:
        one = instance(frames=(frame(keys={} if image_type is None else {"image_type": image_type}),))
        made.append(Unit(one.model_copy(update={"attributes": attributes}), one.frames[0]))
    return made


@pytest.mark.parametrize(
    ("image_types", "derived", "projection"),
    [
        (["ORIGINAL"], False, False),
        ([None], False, False),
        (["DERIVED"], True, False),
        (["ORIGINAL", "DERIVED"], True, False),
        (["ORIGINAL\\DERIVED"], False, False),
        (["DERIVED\\MIP"], True, True),
        (["DERIVED\\PROJECTION IMAGE"], True, True),
        (["DERIVED\\MIN IP"], True, True),
        (["ORIGINAL\\MAX_IP"], False, True),
        (["DERIVED\\MINIP", "DERIVED"], True, True),
        (["DERIVED\\MPR"], True, False),  # a plane through the volume, not a projection of it
    ],
)
def test_derived_images_and_projections(image_types, derived, projection):
    made = units(*image_types)
    assert (views.is_derived(made), views.is_projection(made)) == (derived, projection)


def test_the_technique_of_a_calculated_volume_tells_too():
    assert views.is_projection(units("DERIVED", VolumeBasedCalculationTechnique="MAX_IP"))
    assert not views.is_projection(units("DERIVED", VolumeBasedCalculationTechnique="NONE"))
    assert not views.is_projection(units("DERIVED", VolumeBasedCalculationTechnique="MPR"))


def test_a_planned_volume_says_so():
    positions = [0.0, 2.0, 4.0]
    made = stack(positions, keys={"image_type": "ORIGINAL"}) + stack(
        positions, first=10, keys={"image_type": "DERIVED\\MIP"}
    )
    planned, _ = plan_series(made, lambda _: None)
    assert planned is not None
    assert [(v.derived, v.projection) for v in planned.volumes] == [(False, False), (True, True)]
    assert [v.suv for v in planned.volumes] == [None, None]


def test_screening_views_are_made_of_terms():
    for pair in views.SCREENING_VIEWS:
        side, view = pair.split()
        assert side in allowlist.VOCABULARIES["laterality"].terms
        assert view in allowlist.VOCABULARIES["view"].terms
