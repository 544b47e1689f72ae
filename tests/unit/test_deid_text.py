"""What a closed vocabulary leaves of free text."""

from __future__ import annotations

import pytest

from oncurate.deid import text


@pytest.mark.parametrize(
    "value",
    [
        *("T2 AX FS", "CT thorax p.v.", "t2_tse_tra_p2", "b1000", "3mm", "5.0 B30f", "AbdomenRoutine 3 mm"),
        *("Schädel nativ", "rachis lombaire", "ginocchio destro", "rodilla izquierda", "knie rechts", "GTV_Mass"),
        *("MPRAGE 1mm iso", "Abd/Pel w/wo", "PeripheralZone", "IRM cérébrale sans contraste", "tfl3d1", "L5", "w/o"),
        "Liver",
    ],
)
def test_descriptions_stay_as_they_are(value: str) -> None:
    assert text.clean(value) == value
    assert text.harmless(value)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("JANSSEN knie links 12-03-1960", "knie links"),
        ("MRI J.D. Head", "MRI Head"),
        ("patient 0612345678", "patient"),
        ("CT Thorax for Dr. Kowalska-Nowak", "CT Thorax for"),
        ("KNEE_1960-03-12_LEFT", "KNEE LEFT"),
        ("b1234567 DWI", "DWI"),
        ("1234T Liver", "Liver"),
        ("P1234 spine", "spine"),
        ("12.03.1960", ""),
        ("3.4.60 Head", "Head"),
        ("Jean.Dupont@hopital.example", ""),
        ("", ""),
        ("山田^太郎 CT", "CT"),
    ],
)
def test_everything_else_goes(value: str, left: str) -> None:
    assert text.clean(value) == left


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("Long^Anna", "CT Long axis ANNA", "CT axis"),
        ("Müller^Hans", "MR Mueller axial MULLER müller Hans", "MR axial"),
        ("Hand^Lars", "HAND MRI left", "MRI left"),
        ("B30f", "5.0 B30f Head", "Head"),
        ("T2-AX-77", "MR T2 AX 77 left", "MR left"),
        ("Herz^Bein", "Thorax Bein-Herz BeinHerz", "Thorax"),
        ("O'Hara^Eva", "EVA O HARA liver", "liver"),
    ],
)
def test_words_that_name_somebody_go_even_if_the_vocabulary_has_them(name: str, value: str, left: str) -> None:
    assert text.clean(value, text.identifiers({name})) == left


def test_initials_and_titles_name_nobody() -> None:
    assert text.clean("MR brain", text.identifiers({"Meier^M^R^^Dr"})) == "MR brain"


def test_kept_text_loses_only_who_it_names() -> None:
    harvested = text.identifiers({"Jansen^Piet", "PAT-0042"})
    assert text.without("Room 7 scanner of jansen, PAT 0042", harvested) == "Room 7 scanner of"
    assert text.without("CT-4711 (basement)", harvested) == "CT-4711 (basement)"


def test_long_text_is_cut() -> None:
    assert len(text.clean("liver " * 2000)) <= text.LONGEST


@pytest.mark.parametrize(
    ("value", "is_so"), [("CT Thorax 3", True), ("Jansen", False), ("123456", False), ("12", True)]
)
def test_harmless_is_what_cleaning_leaves(value: str, is_so: bool) -> None:
    assert text.harmless(value) is is_so
