"""Clinical rows and the studies of a release: relative days, episodes, timepoints, ages, and who is missing."""

from __future__ import annotations

import pytest

from oncurate import tables
from oncurate.clinical import ages, links


def study(name: str, day: str | None, subject: str = "s1", age: float | None = None) -> dict:
    return {
        "study_id": name,
        "subject_id": subject,
        "StudyInstanceUID": f"2.25.{len(name)}",
        "StudyDate": day,
        "days_from_baseline": None,
        "patient_age_years": age,
    }


def row(subject: str = "s1", number: int = 1, **fields) -> dict:
    return {"subject_id": subject, "episode_number": number, "study_ids": [], **fields}


STUDIES = [study("b", "20190110"), study("a", "20190101"), study("c", "20190601")]


def test_days_count_from_the_first_study():
    clinical = row(diagnosis_date="20190111", radiological_detection_date="20181231", first_treatment_date="20190201")
    [found] = links.finish([clinical], STUDIES).clinical
    assert (found["diagnosis_days"], found["radiological_detection_days"], found["first_treatment_days"]) == (
        10,
        -1,
        31,
    )
    assert found["last_contact_days"] is None
    assert found["studies"] == 3
    assert "study_ids" not in found


def test_without_study_dates_there_are_no_days():
    [found] = links.finish([row(diagnosis_date="20190111")], [study("a", None)]).clinical
    assert found["diagnosis_days"] is None


def test_patients_without_images_are_left_out_and_counted_on_both_sides():
    finished = links.finish([row(), row("s2"), row("s3")], [*STUDIES, study("d", "20190101", "s9")])
    assert [found["subject_id"] for found in finished.clinical] == ["s1"]
    assert {link["subject_id"] for link in finished.links} == {"s1", "s9"}
    assert links.match({"s1", "s2", "s3"}, {"s1", "s9"}) == (1, 2, 1)


def test_timepoints_count_the_studies_of_a_patient_in_order_of_date():
    finished = links.finish([], [*STUDIES, study("d", "20180101", "s2")])
    assert [(link["study_id"], link["timepoint"]) for link in finished.links] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 1),
    ]


def test_a_study_without_a_date_has_a_timepoint_only_where_it_is_alone():
    finished = links.finish([], [study("a", None), study("b", "20190101"), study("x", None, "s2")])
    assert {link["study_id"]: link["timepoint"] for link in finished.links} == {"b": 1, "a": None, "x": 1}


def episodes(*rows: dict, studies=STUDIES) -> dict[str, tuple]:
    return {link["study_id"]: (link["episode"], link["episode_source"]) for link in links.finish(rows, studies).links}


def test_a_study_belongs_to_the_last_episode_that_has_started():
    found = episodes(
        row(episode="Diagnosis", episode_date="20190105"), row(number=2, episode="Relapse", episode_date="20190301")
    )
    assert found == {"a": ("Diagnosis", "date"), "b": ("Diagnosis", "date"), "c": ("Relapse", "date")}


def test_before_the_first_episode_only_a_diagnosis_is_known():
    assert episodes(row(episode="Treatment", episode_date="20190105"))["a"] == (None, None)


def test_the_study_that_the_file_names_counts_more_than_the_date():
    stated = row(episode="Relapse", episode_date="20190301", study_ids=["a"])
    assert episodes(row(episode="Diagnosis", episode_date="20180101", number=2), stated)["a"] == ("Relapse", "study")


def test_a_study_that_two_episodes_name_is_placed_by_its_date():
    rows = [row(number=n, episode=e, study_ids=["a"]) for n, e in ((1, "Diagnosis"), (2, "Relapse"))]
    assert episodes(*rows)["a"] == (None, None)


@pytest.mark.parametrize(
    ("clinical", "found"),
    [
        ({"episode": "Diagnosis", "diagnosis_date": "20190105"}, "Diagnosis"),
        ({"episode": "Treatment", "first_treatment_date": "20190105"}, "Treatment"),
        ({"episode": "Relapse", "first_treatment_date": "20190105"}, None),
        ({"diagnosis_date": "20190105"}, None),
    ],
)
def test_an_episode_without_a_date_starts_with_the_event_that_it_is(clinical, found):
    assert episodes(row(**clinical))["c"][0] == found


def test_every_link_fits_the_table():
    assert tables.to_arrow("links", links.finish([row()], STUDIES).links).num_rows == 3


@pytest.mark.parametrize(
    ("sex", "header", "agrees"), [("male", "M", True), ("male", "F", False), ("male", None, None), (None, "M", None)]
)
def test_the_sex_is_compared_with_the_headers(sex, header, agrees):
    clinical = row(sex=sex) if sex else row()
    [found] = links.finish([clinical], STUDIES, [{"subject_id": "s1", "PatientSex": header}]).clinical
    assert found["sex_agrees"] is agrees


@pytest.mark.parametrize(("age", "agrees"), [(60.0, True), (61.4, True), (63.0, False), (None, None)])
def test_the_age_is_compared_with_the_headers(age, agrees):
    clinical = row(age_at_diagnosis_years=60.0, diagnosis_date="20190101")
    [found] = links.finish([clinical], [study("a", "20190110", age=age)]).clinical
    assert found["age_agrees"] is agrees


def test_an_age_is_compared_at_the_time_of_the_study():
    clinical = row(age_at_diagnosis_years=60.0, diagnosis_date="20090101")
    [found] = links.finish([clinical], [study("a", "20190101", age=70.0)]).clinical
    assert found["age_agrees"] is True


def test_a_study_that_implies_an_age_over_89_hides_the_age_at_diagnosis():
    clinical = row(age_at_diagnosis_years=85.0, diagnosis_date="20100101")
    finished = links.finish([clinical], [study("a", "20130101", age=88.0), study("b", "20160101", age=90.0)])
    assert finished.clinical[0]["age_at_diagnosis_years"] is None
    assert finished.clinical[0]["age_agrees"] is None
    assert finished.pooled == {"s1"}


def test_a_clinical_date_that_implies_an_age_over_89_pools_the_studies():
    finished = links.finish([row(last_contact_date="20160101")], [study("a", "20130101", age=88.0)])
    assert finished.pooled == {"s1"}
    assert links.finish([row(last_contact_date="20131201")], [study("a", "20130101", age=88.0)]).pooled == frozenset()


def test_a_pooled_age_at_diagnosis_stays_pooled_and_hides_the_others():
    rows = [row(age_at_diagnosis_years=90.0, number=2), row(age_at_diagnosis_years=84.0)]
    finished = links.finish(rows, STUDIES)
    assert [found["age_at_diagnosis_years"] for found in finished.clinical] == [90.0, None]
    assert finished.pooled == {"s1"}


def test_showing_ages_twice_changes_nothing():
    rows = [{"age_at_diagnosis_years": 88.97}, {"age_at_diagnosis_years": None}]
    first = ages.shown(rows)
    assert first == [89.0, None]
    assert ages.shown([{"age_at_diagnosis_years": age} for age in first]) == first
