"""The clinical gate passes what the reader makes of a clinical file, whatever is missing in it."""

from __future__ import annotations

import pytest

from expectations import gate
from oncurate.clinical.links import finish
from oncurate.clinical.table import read_clinical
from oncurate.tables import TABLES, to_arrow
from tests.clinical_files import DUTCH, GERMAN, KEYS, TODAY, dutch, german, patient_id, policy
from tests.gates.tables_for import name, uid

FILES = {
    "dutch": (dutch(12), DUTCH, [patient_id(number) for number in range(1, 13)]),
    "german": (german(6), GERMAN, [f"{number:08d}" for number in range(1, 7)]),
}


def released(key: str):
    data, raw, ids = FILES[key]
    clinical = read_clinical(data, "clinical.csv", policy(raw), KEYS, {pid: {""} for pid in ids}, today=TODAY)
    studies = [
        {
            "study_id": name("study", number),
            "subject_id": KEYS.subject_id(pid, ""),
            "StudyInstanceUID": uid("study", number),
            "StudyDate": "20120101",
            "days_from_baseline": 0,
            "patient_age_years": None,
        }
        for number, pid in enumerate(ids)
    ]
    return to_arrow("clinical", finish(clinical.rows, studies).clinical)


@pytest.mark.parametrize("key", FILES)
def test_what_the_reader_makes_passes(key):
    report = gate.check("clinical", released(key))
    assert report.passed
    assert report.quarantined == ()
    assert set(report.warnings) <= {"population_present", "topography_present", "age_present"}


def test_a_table_with_nothing_but_its_keys_passes_with_warnings():
    rows = [{"subject_id": name("subject", n), "episode_number": 1, "studies": 1} for n in range(6)]
    report = gate.check("clinical", to_arrow("clinical", rows))
    assert report.passed
    assert report.quarantined == ()
    assert set(report.warnings) == {"population_present", "sex_present", "age_present", "topography_present"}


def test_an_identifier_in_place_of_a_pseudonym_stops_the_run():
    rows = [{"subject_id": "TEST0001", "episode_number": 1, "studies": 1}]
    assert "subject_id_form" in gate.check("clinical", to_arrow("clinical", rows)).refusals


def test_a_number_in_a_text_is_quarantined():
    rows = [
        {"subject_id": name("subject", n), "episode_number": 1, "studies": 1, "imaging_protocol": text}
        for n, text in enumerate(("CT thorax 2", "MRI", "CT 0612345678"))
    ]
    report = gate.check("clinical", to_arrow("clinical", rows))
    assert report.quarantined == (((name("subject", 2), "1"), "imaging_protocol_clean"),)


def test_the_table_is_named_by_patient_and_episode():
    assert TABLES["clinical"].key == ("subject_id", "episode_number")
