"""The clinical section of a provider file says what it must, and is refused where it says what cannot be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from oncurate.clinical import columns, mapping, vocabularies
from oncurate.clinical.mapping import ClinicalMapping, ClinicalPolicy
from oncurate.errors import UsageError
from tests.clinical_files import DUTCH, policy


def test_a_file_name_is_enough():
    assert policy("clinical.csv") == ClinicalPolicy(file="clinical.csv")


def test_a_bare_column_name_stands_for_a_column():
    made = ClinicalMapping.model_validate({"subject": "Pat_ID", "sex": {"column": "Sex"}})
    assert (made.subject.column, made.sex.column, list(made.fields())) == ("Pat_ID", "Sex", ["subject", "sex"])


def test_numbers_of_yaml_are_text():
    made = ClinicalMapping.model_validate(
        {"subject": 1, "sex": {"column": 2, "values": {1: "male", 2: "female"}, "missing": [9]}, "tnm_edition": 3}
    )
    assert made.sex.values == {"1": "male", "2": "female"}
    assert (made.subject.column, made.sex.missing) == ("1", ("9",))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"mapping": {"sex": "Sex"}}, "subject"),
        ({"mapping": {"subject": "Id", "sexe": "Sex"}}, "sexe"),
        ({"mapping": {"subject": {"column": "Id", "constant": "1"}}}, "either 'column' or 'constant'"),
        ({"mapping": {"subject": "Id", "sex": {"column": "Sex", "values": {"V": "vrouwtje"}}}}, "male, female, other"),
        ({"mapping": {"subject": "Id", "topography": {"column": "T", "values": {"huid": "C43"}}}}, "topography"),
        ({"mapping": {"subject": "Id", "age_at_diagnosis_years": {"column": "A", "unit": "weeks"}}}, "years"),
        ({"mapping": {"subject": "Id", "imaging_protocol": "Protocol"}}, "safe_text"),
        ({"mapping": {"subject": "Id", "pathology_text": "Naam"}, "safe_text": ["Naam"]}, "identifies a person"),
        ({"mapping": {"subject": "Id"}, "mapping_file": "m.yaml"}, "not both"),
        ({"encoding": "utf-9"}, "encoding"),
        ({"decimal": "·"}, "decimal"),
        ({"delimiter": "::"}, "delimiter"),
    ],
)
def test_what_cannot_be_is_refused(raw, said):
    with pytest.raises(ValidationError, match=said):
        policy({"file": "clinical.csv", **raw})


def test_free_text_may_be_mapped_value_by_value():
    raw = {"subject": "Id", "imaging_protocol": {"column": "P", "values": {"1": "CT thorax"}}}
    assert policy({"file": "a.csv", "mapping": raw}).mapping.imaging_protocol.values == {"1": "CT thorax"}


def test_a_mapping_may_be_a_file_of_its_own(tmp_path):
    (tmp_path / "map.yaml").write_text("subject: Pat_ID\nsex: {column: Geslacht, values: {M: male, V: female}}\n")
    short = policy({"file": "clinical.csv", "mapping": "map.yaml"})
    assert short.mapping_file == "map.yaml"
    made = mapping.with_mapping(short, tmp_path)
    assert made.mapping.sex.values["V"] == "female"
    assert made.mapping_file is None
    assert mapping.with_mapping(made, tmp_path) is made


@pytest.mark.parametrize(
    ("text", "said"), [(None, "no file"), (": : :", "cannot read"), ("sex: Sex", "subject"), ("- a", "map.yaml")]
)
def test_a_mapping_file_that_is_wrong_is_a_usage_error(tmp_path, text, said):
    if text is not None:
        (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        mapping.with_mapping(policy({"file": "clinical.csv", "mapping": "map.yaml"}), tmp_path)


def test_without_a_mapping_the_names_of_the_fields_and_of_the_handbook_are_known():
    made = mapping.by_names(
        ["Patient ID", "SEX", "Age at diagnosis", "first_treatment_date", "Remarks", "pathology_text"]
    )
    assert {name: source.column for name, source in made.fields().items()} == {
        "subject": "Patient ID",
        "sex": "SEX",
        "age_at_diagnosis_years": "Age at diagnosis",
        "first_treatment_date": "first_treatment_date",
    }


def test_without_an_id_nothing_can_be_mapped_and_no_header_is_told():
    with pytest.raises(UsageError, match="patient id") as caught:
        mapping.by_names(["Doe^Test", "19700101"])
    assert "Doe" not in str(caught.value)


def test_every_field_leaves_as_a_column_or_never():
    leaving = {name for name, _, _ in columns.CLINICAL}
    assert set(ClinicalMapping.model_fields) - leaving == {"subject", "issuer", "study", "birth_date", "tnm"}


def test_every_header_of_the_handbook_leads_to_a_field():
    assert vocabularies.field_of_header("Date of first treatment") == "first_treatment_date"
    assert {vocabularies.field_of_header(h) for h in ("PatientID", "pat_id")} == {"subject"}
    for field in vocabularies._headers().values():
        assert field in ClinicalMapping.model_fields


def test_the_dutch_example_is_a_policy():
    assert policy(DUTCH).mapping.tnm_edition.constant == "8"
