"""What a closed vocabulary leaves of free text."""

from __future__ import annotations

import unicodedata

import pytest

from oncurate.deid import cleaning, text
from oncurate.identity import Keys


@pytest.mark.parametrize(
    "value",
    [
        *("T2 AX FS", "CT thorax p.v.", "t2_tse_tra_p2", "b1000", "3mm", "5.0 B30f", "AbdomenRoutine 3 mm"),
        *("Schädel nativ", "rachis lombaire", "ginocchio destro", "rodilla izquierda", "knie rechts", "GTV_Mass"),
        *("MPRAGE 1mm iso", "Abd/Pel w/wo", "PeripheralZone", "IRM cérébrale sans contraste", "tfl3d1", "L5", "w/o"),
        *(
            "Liver",
            "TAP sans injection",
            "tórax con contraste",
            "MRT Kopf nativ und KM",
            "foie artériel",
            "HWS sagittal",
        ),
        *("RM addome superiore con mdc", "fegato fase portale", "hígado fase arterial", "próstata multiparamétrica"),
        *("rectum hoge resolutie", "borst MRI subtractie", "Leber Spätphase", "scanner thoraco-abdomino-pelvien"),
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


DAY = text.identifiers({"19700131"})
SPELT_DAYS = [
    *("19700131", "31.01.1970", "31/01/70", "Jan 31 1970", "1970-01-31", "31-JAN-1970", "January 31, 1970", "31.1.70"),
    *(
        "01/31/1970",
        "700131",
        "31 januari 1970",
        "31. Januar 1970",
        "31 janvier 1970",
        "31 enero 1970",
        "31 gennaio 1970",
    ),
]


@pytest.mark.parametrize("spelt", SPELT_DAYS)
def test_days_go_in_every_format(spelt: str) -> None:
    assert text.clean(f"CT thorax {spelt} axial") == "CT thorax axial"
    assert text.without(f"Room A {spelt} north", DAY) == "Room A north"


def test_what_is_no_day_of_the_person_stays_in_kept_text() -> None:
    assert text.without("Room 31-1 of 02.03.1999", DAY) == "Room 31-1 of 02.03.1999"
    assert text.date_spellings("19701301") == frozenset()
    assert not DAY.joined & text.date_spellings("19700201")


def test_a_number_that_looks_like_a_day_stays() -> None:
    """A coordinate is no date, though its digits may be: 31.0170 mm."""
    context = cleaning.Context(Keys(b"s" * 32), "subject", DAY, True, False)
    assert cleaning.cleaned("number", "DS", "-100.5\\31.0170\\700131", context) == "-100.5\\31.0170\\700131"
    assert cleaning.cleaned("number", "DS", "19700131", context) == ""


@pytest.mark.parametrize("name", ["Doe^Jane^Marie", "Müller-Lüdenscheidt^Jürgen", "van der Test^Jan", "O'Test^Sean"])
def test_names_go_in_every_order_and_spelling(name: str) -> None:
    parts = name.replace("^", " ").split()
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spellings = [name, " ".join(parts), " ".join(reversed(parts)), "".join(parts), "_".join(parts).upper(), plain]
    spellings += [name.replace("^", ", "), plain.replace("^", "").upper(), name.replace("ü", "ue").replace("^", " ")]
    for spelt in spellings:
        assert text.clean(f"CT thorax {spelt} axial", text.identifiers({name})) == "CT thorax axial"


@pytest.mark.parametrize(
    "phone", ["+31 6 12345678", "0612345678", "020-1234567", "(555) 123-4567", "+49 (0)30 123456", "0171/1234567"]
)
def test_phone_numbers_go(phone: str) -> None:
    assert text.clean(f"CT thorax {phone} axial") == "CT thorax axial"
