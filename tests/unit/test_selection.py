"""What a selection wants, by header; its lists are read once and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from oncurate.errors import UsageError
from oncurate.sources.selection import HEAD_BYTES, Wanted, listed_values
from oncurate.sources.settings import Selection
from tests.phantoms import ct_series

HEADER = {
    "Modality": "CT",
    "StudyDate": "20180305",
    "StudyDescription": "Thorax with contrast",
    "SeriesDescription": "lung 1.0",
    "PatientID": "P1",
    "AccessionNumber": "A1",
}


def matches(selection: dict[str, Any], **changed: str) -> bool:
    return Wanted(Selection.model_validate(selection)).matches({**HEADER, **changed}.get)


@pytest.mark.parametrize(
    ("selection", "is_wanted"),
    [
        ({}, True),
        ({"modalities": ["CT", "PT"]}, True),
        ({"modalities": ["ct"]}, True),
        ({"modalities": ["MR"]}, False),
        ({"study_date": {"from": "2018-03-05"}}, True),
        ({"study_date": {"from": "2018-03-06"}}, False),
        ({"study_date": {"to": "2018-03-05"}}, True),
        ({"study_date": {"from": "2017-01-01", "to": "2018-03-04"}}, False),
        ({"description": "LUNG|liver"}, True),
        ({"description": "^contrast"}, False),
        ({"modalities": ["CT"], "description": "brain"}, False),
    ],
)
def test_conditions(selection: dict[str, Any], is_wanted: bool) -> None:
    assert matches(selection) is is_wanted


def test_what_is_not_stated_is_not_wanted() -> None:
    assert not matches({"study_date": {"from": "1900-01-01"}}, StudyDate="")
    assert not matches({"modalities": ["CT"]}, Modality="")
    assert matches({"study_date": {"from": "2018-01-01"}}, StudyDate="2018.03.05")  # the form before 1993


def test_lists_of_patients_and_accessions(tmp_path: Path) -> None:
    one, two = tmp_path / "ids.csv", tmp_path / "with columns.csv"
    one.write_text("P1\n\n P2 \n")
    two.write_text("site,AccessionNumber\nx,A1\ny,\n")
    assert listed_values(str(one), "PatientID") == {"P1", "P2"}
    assert listed_values(str(two), "AccessionNumber") == {"A1"}
    both = {"patients": str(one), "accessions": str(two)}
    assert matches(both)
    assert not matches(both, PatientID="P3")
    assert not matches(both, AccessionNumber="A2")


@pytest.mark.parametrize("text", ["", "\n", "a,b\nsecret,1\n"])
def test_a_list_that_is_none_says_so_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match="select") as error:
        listed_values(str(path), "PatientID")
    assert "secret" not in str(error.value)
    with pytest.raises(UsageError, match="cannot read"):
        listed_values(str(tmp_path / "none.csv"), "PatientID")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a pattern"):
        Selection(description="(")


def test_the_head_of_a_file_is_enough(tmp_path: Path) -> None:
    data = ct_series(tmp_path, slices=1, rows=400, columns=400)[0].read_bytes()
    assert len(data) > HEAD_BYTES
    head = data[:HEAD_BYTES]
    assert Wanted(Selection(modalities=("CT",))).wants(head)
    assert not Wanted(Selection(modalities=("MR",))).wants(head)


@pytest.mark.parametrize("head", [b"", b"no image at all", bytes(128) + b"DICM\x08\x00\x05\x00CS\xff\xffIS"])
def test_what_cannot_be_judged_is_left_to_the_stages(head: bytes) -> None:
    assert Wanted(Selection(modalities=("MR",))).wants(head)


def test_the_digest_changes_with_the_lists(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("P1\nP2\n")
    first = Wanted(Selection(patients=str(path))).digest
    path.write_text("P2\nP1\n")
    assert Wanted(Selection(patients=str(path))).digest == first
    path.write_text("P3\n")
    assert Wanted(Selection(patients=str(path))).digest != first
    assert Wanted(Selection()).digest != first
