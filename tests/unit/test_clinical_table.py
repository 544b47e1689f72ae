"""From a provider's clinical file to de-identified rows: who, when, how old, and what was refused."""

from __future__ import annotations

import json
from datetime import date

import pytest

from expectations import suites
from oncurate import identity, tables
from oncurate.clinical import links, rows, table
from oncurate.clinical.problems import Fault
from oncurate.clinical.table import Clinical, read_clinical
from oncurate.errors import UsageError
from tests.clinical_files import DUTCH, GERMAN, KEYS, TODAY, dutch, german, patient_id, policy, written

IMAGES = {patient_id(number): {""} for number in range(1, 13)}
SIMPLE = {"subject": "id", "birth_date": "born", "sex": "sex", "diagnosis_date": "diagnosed"}
SIMPLE_HEADER = ("id", "born", "sex", "diagnosed")


def made(lines, mapping, images=None, dates="modified", **options) -> Clinical:
    """The clinical table of a CSV file with the given rows, header first."""
    chosen = policy({"file": "clinical.csv", "mapping": mapping, **options})
    data = written(lines).encode()
    return read_clinical(data, "clinical.csv", chosen, KEYS, images or {}, dates=dates, today=TODAY)


def one(*cells, mapping=SIMPLE, header=SIMPLE_HEADER, **options) -> dict:
    """The only row of a file with one row."""
    found = made([header, cells], mapping, **options)
    assert len(found.rows) == 1, found.problems
    return found.rows[0]


def faults(found: Clinical) -> list[tuple[int, str, Fault]]:
    return [tuple(problem) for problem in found.problems]


def test_the_dutch_file_becomes_rows_without_a_problem():
    found = read_clinical(dutch(12), "klinisch.csv", policy(DUTCH), KEYS, IMAGES, today=TODAY)
    assert found.rows_read == len(found.rows) == 12
    assert {problem.reason for problem in found.problems} == set()
    assert found.subjects == {KEYS.subject_id(pid, "") for pid in IMAGES}
    assert {row["tnm_edition"] for row in found.rows} == {8}
    assert {row["sex"] for row in found.rows} == {"male", "female"}
    assert {row["topography"] for row in found.rows} <= {"C34.1", "C18.7", "C50"}
    assert {row["pathology"] for row in found.rows} <= {"8140/3", "8500/3", "8070/3"}
    assert "chemotherapy + radiotherapy" in {row["treatment"] for row in found.rows}


def test_nothing_of_the_source_is_in_what_was_read():
    found = read_clinical(dutch(12), "klinisch.csv", policy(DUTCH), KEYS, IMAGES, today=TODAY)
    written_ = json.dumps(found.rows)
    for number in range(1, 13):
        assert patient_id(number) not in written_
    assert not any(word in written_ for word in ("Doe", "Test", "gezien", "belt"))
    assert any(row.get("imaging_protocol") == "CT thorax" for row in found.rows)
    assert "Doe^Test3" in found.identifiers
    for identifier in found.identifiers:
        assert identifier not in written_


def test_rows_are_in_the_order_of_the_pseudonyms_not_of_the_file():
    found = read_clinical(dutch(12), "klinisch.csv", policy(DUTCH), KEYS, IMAGES, today=TODAY)
    subjects = [row["subject_id"] for row in found.rows]
    assert subjects == sorted(subjects)


def test_the_german_file_is_read_with_filled_up_ids_months_and_whole_tnm():
    images = {f"{number:08d}": {"HOSP"} for number in range(1, 7)}
    found = read_clinical(german(6), "klinik.csv", policy(GERMAN), KEYS, images, today=TODAY)
    assert found.subjects == {KEYS.subject_id(pid, "HOSP") for pid in images}
    assert not found.problems
    assert {row["t_category"] for row in found.rows} <= {"pT2a", "cT1", "ypT0"}
    assert all(40 <= row["age_at_diagnosis_years"] < 80 for row in found.rows)
    assert {row["grade"] for row in found.rows} <= {"G2", "G3", "low"}


def test_ids_are_compared_as_those_of_the_images_are():
    found = made([("id",), (" A-1\u0000 ",), ("Ze\u0308",)], {"subject": "id"}, {"A-1": {""}, "Z\u00eb": {""}})
    assert found.subjects == {KEYS.subject_id("A-1", ""), KEYS.subject_id("Z\u00eb", "")}
    assert found.subjects_without_images == 0


def test_dates_move_with_the_images_of_the_patient():
    row = one("A1", "1950-06-01", "M", "2019-03-04")
    assert row["diagnosis_date"] == KEYS.shift_date("20190304", row["subject_id"])
    assert row["diagnosis_date"] != "20190304"


def test_dates_stay_or_go_where_the_policy_says_so():
    assert one("A1", "1950-06-01", "M", "2019-03-04", dates="full")["diagnosis_date"] == "20190304"
    row = one("A1", "1950-06-01", "M", "2019-03-04", dates="none")
    assert "diagnosis_date" not in row
    assert row["age_at_diagnosis_years"] == 68.8


def test_the_birth_date_never_leaves():
    row = one("A1", "1950-06-01", "M", "2019-03-04", dates="full")
    assert "birth_date" not in row
    assert "1950" not in json.dumps(row)


@pytest.mark.parametrize(
    ("born", "age"),
    [("1950-06-01", 68.8), ("2019-03-01", 0.0), ("1930-03-10", 89.0), ("1929-06-01", 90.0), ("1899-01-01", 90.0)],
)
def test_the_age_comes_from_the_dates_with_one_decimal_and_is_pooled_over_89(born, age):
    assert one("A1", born, "M", "2019-03-04")["age_at_diagnosis_years"] == age


AGED = {**SIMPLE, "age_at_diagnosis_years": "age", "last_contact_date": "last", "survival_days": "survived"}
AGED_HEADER = (*SIMPLE_HEADER, "age", "last", "survived")


def aged(*cells) -> Clinical:
    return made([AGED_HEADER, cells], AGED)


def test_a_stated_age_in_completed_years_gets_its_decimal_from_the_dates():
    assert aged("A1", "1950-06-01", "M", "2019-03-04", "68", "", "").rows[0]["age_at_diagnosis_years"] == 68.8
    assert aged("A1", "", "M", "2019-03-04", "68,4", "", "").rows[0]["age_at_diagnosis_years"] == 68.4


def test_a_stated_age_that_the_dates_contradict_is_not_believed():
    found = aged("A1", "1950-06-01", "M", "2019-03-04", "86", "", "")
    assert found.rows[0]["age_at_diagnosis_years"] is None
    assert faults(found) == [(2, "age_at_diagnosis_years", Fault.CONTRADICTS_DATES)]


def test_an_age_is_not_shown_where_the_last_contact_implies_one_over_89():
    shown = aged("A1", "", "M", "2010-03-04", "85", "2013-03-04", "")
    assert shown.rows[0]["age_at_diagnosis_years"] == 85.0
    assert aged("A1", "", "M", "2010-03-04", "85", "2014-06-04", "").rows[0]["age_at_diagnosis_years"] is None
    assert aged("A1", "", "M", "", "85", "", "1600").rows[0]["age_at_diagnosis_years"] is None


def test_survival_comes_from_the_dates_and_must_fit_the_stated_one():
    assert aged("A1", "", "M", "2019-03-04", "", "2019-03-14", "").rows[0]["survival_days"] == 10
    assert aged("A1", "", "M", "2019-03-04", "", "2019-03-14", "11").rows[0]["survival_days"] == 10
    wrong = aged("A1", "", "M", "2019-03-04", "", "2019-03-14", "400")
    assert "survival_days" not in wrong.rows[0]
    assert faults(wrong) == [(2, "survival_days", Fault.CONTRADICTS_DATES)]
    assert faults(aged("A1", "", "M", "2019-03-04", "", "2018-03-04", "")) == [
        (2, "survival_days", Fault.DATES_OUT_OF_ORDER)
    ]


def test_impossible_values_become_null_and_are_told_by_row_and_field():
    mapping = {
        "subject": "id",
        "birth_date": "born",
        "sex": "sex",
        "age_at_diagnosis_years": "age",
        "diagnosis_date": "diagnosed",
        "topography": "site",
        "t_category": "t",
        "treatment": "treated",
    }
    lines = [
        ("id", "born", "sex", "age", "diagnosed", "site", "t", "treated"),
        ("A1", "1970-01-01", "Q", "130", "1960-01-01", "C99", "T9", "prayer"),
        ("A2", "2030-01-01", "male", "x", "04/03/2019", "C34", "T1", "surgery"),
    ]
    found = made(lines, mapping)
    assert set(faults(found)) == {
        (2, "sex", Fault.UNKNOWN_TERM),
        (2, "age_at_diagnosis_years", Fault.OUT_OF_RANGE),
        (2, "diagnosis_date", Fault.DATE_BEFORE_BIRTH),
        (2, "topography", Fault.NOT_ICDO3),
        (2, "t_category", Fault.NOT_TNM),
        (2, "treatment", Fault.UNKNOWN_TERM),
        (3, "birth_date", Fault.IMPLAUSIBLE_DATE),
        (3, "age_at_diagnosis_years", Fault.UNREADABLE_NUMBER),
        (3, "diagnosis_date", Fault.UNREADABLE_DATE),
    }
    empty = next(row for row in found.rows if row["subject_id"] == KEYS.subject_id("A1", ""))
    assert {name for name, value in empty.items() if value is not None} == {"subject_id", "episode_number", "study_ids"}
    assert len(found.rows) == 2


def test_a_problem_holds_no_value():
    found = made([SIMPLE_HEADER, ("A1", "MARKER1", "MARKER2", "MARKER3")], SIMPLE)
    assert len(found.problems) == 3
    assert "MARKER" not in repr(found.problems)


def test_missing_is_no_problem():
    assert not made([SIMPLE_HEADER, ("A1", "onbekend", "?", "")], SIMPLE).problems
    mapping = {**SIMPLE, "sex": {"column": "sex", "values": {"0": None}, "missing": ["9"]}}
    assert not made([SIMPLE_HEADER, ("A1", "", "9", "-"), ("A2", "", "0", "-")], mapping).problems


@pytest.mark.parametrize("code", ["", "anonymous", "0000", "N/A", "PATIENT"])
def test_a_row_of_nobody_is_refused(code):
    found = made([("id", "sex"), (code, "M")], {"subject": "id", "sex": "sex"})
    assert not found.rows
    assert faults(found) == [(2, "", Fault.NO_PATIENT_ID)]


def test_an_id_of_two_patients_is_refused_unless_an_issuer_tells_them_apart():
    images = {"A1": {"North", "South"}, "A2": {"North"}}
    lines = [("id", "issuer", "sex"), ("A1", "North", "M"), ("A1", "South", "F"), ("A2", "", "F")]
    without = made(lines, {"subject": "id", "sex": "sex"}, images)
    assert faults(without) == [(2, "", Fault.AMBIGUOUS_PATIENT), (3, "", Fault.AMBIGUOUS_PATIENT)]
    assert without.subjects == {KEYS.subject_id("A2", "North")}
    told = made(lines, {"subject": "id", "issuer": "issuer", "sex": "sex"}, images)
    assert told.subjects == {KEYS.subject_id(*who) for who in (("A1", "North"), ("A1", "South"), ("A2", "North"))}
    assert not told.problems


def test_patients_without_images_are_counted():
    found = made([("id",), ("A1",), ("A2",), ("A3",)], {"subject": "id"}, {"A1": {""}})
    assert found.subjects_without_images == 2


def test_identical_rows_of_a_patient_are_one():
    lines = [SIMPLE_HEADER, *[("A1", "1950-06-01", sex, "2019-03-04") for sex in ("M", "male", "man")]]
    found = made(lines, SIMPLE)
    assert (len(found.rows), found.rows_repeated, found.rows_read) == (1, 2, 3)
    assert not found.problems


def test_rows_of_a_patient_that_differ_are_all_refused():
    lines = [SIMPLE_HEADER, ("A1", "", "M", "2019-03-04"), ("A1", "", "M", "2019-03-05"), ("A2", "", "F", "2019-03-05")]
    found = made(lines, SIMPLE)
    assert faults(found) == [(2, "", Fault.CONFLICTING_ROWS), (3, "", Fault.CONFLICTING_ROWS)]
    assert found.subjects == {KEYS.subject_id("A2", "")}


EPISODES = {"subject": "id", "sex": "sex", "episode": "episode", "episode_date": "start", "treatment": "treated"}


def test_episodes_make_several_rows_of_a_patient_legitimate():
    lines = [
        ("id", "sex", "episode", "start", "treated"),
        ("A1", "M", "Recidief", "2020-01-01", "chemo"),
        ("A1", "M", "Diagnose", "2019-01-01", ""),
    ]
    found = made(lines, EPISODES)
    assert [(row["episode_number"], row["episode"]) for row in found.rows] == [(1, "Diagnosis"), (2, "Relapse")]
    assert not found.problems


def test_two_rows_of_one_episode_are_refused():
    lines = [
        ("id", "sex", "episode", "start", "treated"),
        ("A1", "M", "Relapse", "", "chemo"),
        ("A1", "M", "Relapse", "", ""),
    ]
    assert {fault for _, _, fault in faults(made(lines, EPISODES))} == {Fault.CONFLICTING_ROWS}


def test_a_patient_of_two_sexes_has_none():
    lines = [
        ("id", "sex", "episode", "start", "treated"),
        ("A1", "M", "Diagnosis", "", ""),
        ("A1", "F", "Relapse", "", ""),
    ]
    found = made(lines, EPISODES)
    assert [row.get("sex") for row in found.rows] == [None, None]
    assert faults(found) == [(2, "sex", Fault.CONFLICTING_VALUES), (3, "sex", Fault.CONFLICTING_VALUES)]


@pytest.mark.parametrize(
    ("letters", "believed"), [("MF", True), ("MFU", True), ("MW", True), ("HM", False), ("VM", False), ("MVX", False)]
)
def test_a_letter_is_a_sex_only_beside_letters_of_one_language(letters, believed):
    lines = [("id", "sex"), *[(f"A{number}", letter) for number, letter in enumerate(letters, 1)]]
    found = made(lines, {"subject": "id", "sex": "sex"})
    assert ("male" in {row.get("sex") for row in found.rows}) == believed


def test_unmapped_columns_do_not_leave():
    found = made([("id", "sex", "HIV"), ("A1", "M", "positive")], {"subject": "id", "sex": "sex"})
    assert "positive" not in json.dumps(found.rows)


TEXT = {"subject": "id", "imaging_protocol": "protocol"}


def protocol(written_, name="", extra="", **options) -> Clinical:
    lines = [("id", "protocol", "Nachname", "contact"), ("TX-9981", written_, name, extra)]
    return made(lines, TEXT, safe_text=["protocol"], **options)


@pytest.mark.parametrize(
    ("written_", "left"),
    [
        ("CT thorax with contrast", "CT thorax with contrast"),
        ("MRI prostate, mevr. Jansen 12-03-1950", "MRI prostate"),
        ("CT abdomen TX-9981", "CT abdomen"),
        ("CT Thorax 0612345678", "CT Thorax"),
    ],
)
def test_safe_text_is_cleaned_all_the_same(written_, left):
    assert protocol(written_).rows[0]["imaging_protocol"] == left


def test_text_of_which_nothing_is_safe_is_a_problem():
    found = protocol("mevrouw Jansen uit Utrecht")
    assert "imaging_protocol" not in found.rows[0]
    assert faults(found) == [(2, "imaging_protocol", Fault.NOTHING_SAFE_LEFT)]


def test_a_name_that_is_a_word_of_radiology_is_taken_out_of_the_text():
    assert protocol("CT Thorax Bauch").rows[0]["imaging_protocol"] == "CT Thorax Bauch"
    assert protocol("CT Thorax Bauch", name="Bauch").rows[0]["imaging_protocol"] == "CT Thorax"
    declared = protocol("CT Thorax Bauch", extra="Bauch", identifiers=["contact"])
    assert declared.rows[0]["imaging_protocol"] == "CT Thorax"


def test_text_that_still_holds_an_identifier_after_cleaning_is_refused(monkeypatch):
    monkeypatch.setattr(rows.text, "clean", lambda value, _: value)
    found = protocol("CT Quuxington", name="Quuxington")
    assert faults(found) == [(2, "imaging_protocol", Fault.IDENTIFIER_IN_TEXT)]
    assert "imaging_protocol" not in found.rows[0]


def test_text_mapped_value_by_value_is_cleaned_too():
    mapping = {"subject": "id", "imaging_protocol": {"column": "p", "values": {"1": "CT thorax Jansen"}}}
    found = made([("id", "p"), ("A1", "1"), ("A2", "2")], mapping)
    assert [row.get("imaging_protocol") for row in sorted(found.rows, key=str)].count("CT thorax") == 1


@pytest.mark.parametrize("column", ["mapping", "safe_text", "identifiers"])
def test_a_column_that_is_not_there_is_named_from_the_provider_file_only(column):
    options = {"safe_text": ["Geheim"]} if column == "safe_text" else {"identifiers": ["Geheim"]}
    mapping = {"subject": "id", **({"sex": "Geheim"} if column == "mapping" else {})}
    with pytest.raises(UsageError, match="Geheim") as caught:
        made([("id", "MARKER"), ("A1", "x")], mapping, **({} if column == "mapping" else options))
    assert "MARKER" not in str(caught.value)


def test_a_mapped_column_that_is_there_twice_is_refused():
    with pytest.raises(UsageError, match="more than one"):
        made([("id", "sex", "sex"), ("A1", "M", "F")], {"subject": "id", "sex": "sex"})


def test_without_a_mapping_the_handbook_s_names_are_read():
    chosen = policy("clinical.csv")
    data = b"Patient ID,Sex,Age at diagnosis,Topography,Remarks\nA1,Female,45.5,C34.9,x\n"
    [row] = read_clinical(data, "clinical.csv", chosen, KEYS, {}, today=TODAY).rows
    assert (row["sex"], row["age_at_diagnosis_years"], row["topography"]) == ("female", 45.5, "C34.9")


def test_the_studies_of_a_row_are_the_cohort_s():
    mapping = {"subject": "id", "study": "study", "episode": "episode"}
    lines = [("id", "study", "episode"), *[("A1", f"1.2.{number}", "Diagnosis") for number in (1, 2)]]
    [row] = made(lines, mapping).rows
    assert row["study_ids"] == sorted(KEYS.study_id(f"1.2.{number}") for number in (1, 2))


def test_a_date_in_the_future_is_judged_by_today():
    data = written([("id", "diagnosed"), ("A1", "2020-01-01")]).encode()
    chosen = policy({"file": "c.csv", "mapping": {"subject": "id", "diagnosis_date": "diagnosed"}})
    found = read_clinical(data, "c.csv", chosen, KEYS, {}, today=date(2019, 12, 31))
    assert faults(found) == [(2, "diagnosis_date", Fault.IMPLAUSIBLE_DATE)]
    assert not read_clinical(data, "c.csv", chosen, KEYS, {}).problems


def test_the_same_file_gives_the_same_rows():
    first, second = (read_clinical(dutch(8), "k.csv", policy(DUTCH), KEYS, IMAGES, today=TODAY) for _ in range(2))
    assert first == second


def test_rows_fit_the_declared_table_and_no_other_column_may_leave():
    found = read_clinical(dutch(12), "klinisch.csv", policy(DUTCH), KEYS, IMAGES, today=TODAY)
    studies = [
        {
            "study_id": KEYS.study_id(f"1.2.{row['subject_id']}"),
            "subject_id": row["subject_id"],
            "StudyInstanceUID": "2.25.1",
            "StudyDate": row["diagnosis_date"],
            "days_from_baseline": 0,
            "patient_age_years": None,
        }
        for row in found.rows
    ]
    finished = links.finish(found.rows, studies)
    arrow = tables.to_arrow("clinical", finished.clinical)
    assert arrow.num_rows == 12
    assert set(suites.load("clinical").columns) <= set(arrow.column_names)
    assert tables.to_arrow("links", finished.links).num_rows == 12
    with pytest.raises(KeyError, match="PatientName"):
        tables.to_arrow("clinical", [{**finished.clinical[0], "PatientName": "Doe^Test"}])


def test_the_shift_is_that_of_the_images():
    assert table.LAST > "99991231"
    subject = KEYS.subject_id("A1", "")
    row = one("A1", "", "M", "2019-03-04")
    moved = identity.parse_date(row["diagnosis_date"])
    assert (date(2019, 3, 4) - moved).days == KEYS.date_shift_days(subject)
