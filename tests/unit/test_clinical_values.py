"""One cell at a time: what may leave, in which spelling, and the fault of what may not."""

from __future__ import annotations

import json
import re
from datetime import date
from importlib import resources

import pytest

from oncurate.clinical import values, vocabularies
from oncurate.clinical.problems import Fault, Problem, Unfit, count

TODAY = date(2026, 1, 1)


def fault(function, *arguments, **options) -> Fault:
    with pytest.raises(Unfit) as caught:
        function(*arguments, **options)
    return caught.value.fault


@pytest.mark.parametrize(
    ("cell", "decimal", "found"),
    [("63", None, 63.0), ("63,5", None, 63.5), ("63.5", None, 63.5), (" 63,5 ", ",", 63.5), ("-1", ".", -1.0)],
)
def test_numbers(cell, decimal, found):
    assert values.number(cell, decimal) == found


@pytest.mark.parametrize(
    ("cell", "decimal"),
    [("63.5", ","), ("63,5", "."), ("1.234,5", None), ("1 234", None), ("63 jaar", None), ("", None), ("1e3", None)],
)
def test_what_is_no_number_in_the_declared_form(cell, decimal):
    assert fault(values.number, cell, decimal) is Fault.UNREADABLE_NUMBER


@pytest.mark.parametrize(
    ("cell", "unit", "years"), [("63,5", "years", 63.5), ("762", "months", 63.5), ("0", "days", 0)]
)
def test_ages(cell, unit, years):
    assert values.age(cell, unit) == pytest.approx(years)


@pytest.mark.parametrize(("cell", "unit"), [("130", "years"), ("-1", "years"), ("2000", "months"), ("47000", "days")])
def test_ages_that_nobody_had(cell, unit):
    assert fault(values.age, cell, unit) is Fault.OUT_OF_RANGE


def test_survival_is_whole_days():
    assert values.survival("12", "months") == 365
    assert values.survival("700", "days") == 700
    assert fault(values.survival, "-3", "days") is Fault.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("cell", "form"),
    [
        ("2019-03-04", None),
        ("20190304", None),
        ("2019-03-04 00:00:00", None),
        ("2019-03-04T13:05", None),
        ("04-03-2019", "%d-%m-%Y"),
        ("4.3.2019", "%d.%m.%Y"),
        ("43528", "excel"),
        (date(2019, 3, 4), "%d-%m-%Y"),
    ],
)
def test_dates(cell, form):
    assert values.day(cell, form, latest=TODAY) == date(2019, 3, 4)


@pytest.mark.parametrize(
    ("cell", "form", "why"),
    [
        ("04-03-2019", None, Fault.UNREADABLE_DATE),  # could be April
        ("2019-13-04", None, Fault.UNREADABLE_DATE),
        ("2019-0304", None, Fault.UNREADABLE_DATE),
        ("2019", None, Fault.UNREADABLE_DATE),
        ("31-02-2019", "%d-%m-%Y", Fault.UNREADABLE_DATE),
        ("99999999999", "excel", Fault.UNREADABLE_DATE),
        ("2026-01-02", None, Fault.IMPLAUSIBLE_DATE),
        ("1900-01-01", None, Fault.IMPLAUSIBLE_DATE),
        ("0", "excel", Fault.IMPLAUSIBLE_DATE),
    ],
)
def test_dates_that_are_none(cell, form, why):
    assert fault(values.day, cell, form, latest=TODAY) is why


@pytest.mark.parametrize(
    ("cell", "found"), [("C34.1", "C34.1"), ("c341", "C34.1"), ("C34", "C34"), ("C34,9 ", "C34.9"), ("C80.9", "C80.9")]
)
def test_topography(cell, found):
    assert values.topography(cell) == found


@pytest.mark.parametrize("cell", ["C99", "C43.9", "C45", "C81.0", "D05.1", "34.1", "C34.12", "lung", ""])
def test_what_is_no_topography(cell):
    assert fault(values.topography, cell) is Fault.NOT_ICDO3


def test_there_are_70_categories_of_topography():
    known = vocabularies.topography_categories()
    assert len(known) == 70
    assert min(known) == "C00"
    assert max(known) == "C80"
    assert not known & {"C43", "C45", "C46", "C78", "C79"}


@pytest.mark.parametrize(
    ("cell", "found"),
    [("8140/3", "8140/3"), ("M8140/3", "8140/3"), ("m-81403", "8140/3"), ("8140/32", "8140/3"), ("9993/3", "9993/3")],
)
def test_morphology(cell, found):
    assert values.morphology(cell) == found


@pytest.mark.parametrize("cell", ["8140", "8140/4", "7999/3", "9994/3", "adenocarcinoma", "8140-3-3"])
def test_what_is_no_morphology(cell):
    assert fault(values.morphology, cell) is Fault.NOT_ICDO3


@pytest.mark.parametrize(
    ("field", "cell", "found"),
    [
        ("t_category", "cT1a", "cT1a"),
        ("t_category", "PT1MI", "pT1mi"),
        ("t_category", "2b", "T2b"),
        ("t_category", "YPTX", "ypTX"),
        ("t_category", "tis(dcis)", "Tis(DCIS)"),
        ("t_category", "pT2 (m)", "pT2(m)"),
        ("t_category", "Ta", "Ta"),
        ("t_category", "T1a1", "T1a1"),
        ("n_category", "x", "NX"),
        ("n_category", "pn1MI", "pN1mi"),
        ("n_category", "N0(i+)", "N0(i+)"),
        ("n_category", "pN1a(sn)", "pN1a(sn)"),
        ("m_category", "0", "M0"),
        ("m_category", "M1c2", "M1c2"),
        ("m_category", "cM0(i+)", "cM0(i+)"),
    ],
)
def test_tnm_categories(field, cell, found):
    assert values.tnm_category(cell, field) == found


@pytest.mark.parametrize(
    ("field", "cell"),
    [("t_category", "T5"), ("t_category", "N1"), ("t_category", "xT2"), ("n_category", "N4"), ("n_category", "pT1"),
     ("m_category", "M2"), ("m_category", "M"), ("t_category", "T2 or T3")],
)  # fmt: skip
def test_what_is_no_tnm_category(field, cell):
    assert fault(values.tnm_category, cell, field) is Fault.NOT_TNM


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("pT2a pN0 cM0", ("pT2a", "pN0", "cM0")),
        ("ypT0N0M0", ("ypT0", "N0", "M0")),
        ("T2, N1; M0", ("T2", "N1", "M0")),
        ("T 2 N 0 M X", ("T2", "N0", "MX")),
        ("cT2c cN1", ("cT2c", "cN1")),
    ],
)
def test_whole_tnm(cell, found):
    assert tuple(values.tnm(cell).values()) == found


@pytest.mark.parametrize("cell", ["T2cN1M0", "stage IIIA", "T2 N9", "N1 T2", "", "pT2a pN0 cM0 R0"])
def test_a_whole_tnm_that_says_two_things_or_nothing(cell):
    assert fault(values.tnm, cell) is Fault.NOT_TNM


@pytest.mark.parametrize("cell", ["8", "TNM 8", "8th edition", "UICC8", "8e editie", "8. Auflage", "8.0"])
def test_editions(cell):
    assert values.tnm_edition(cell) == 8


def test_an_edition_that_was_never_printed():
    assert fault(values.tnm_edition, "12") is Fault.NOT_TNM
    assert fault(values.tnm_edition, "2017") is Fault.NOT_TNM


@pytest.mark.parametrize(
    ("field", "cell", "found"),
    [
        ("sex", "MÄNNLICH", "male"),
        ("sex", "maennlich", "male"),
        ("sex", "Vrouw", "female"),
        ("treatment", "Chemo + Operatie", "chemotherapy + surgery"),
        ("treatment", "immuuntherapie en bestraling", "immunotherapy + radiotherapy"),
        ("treatment", "OP", None),
        ("treatment", "surgery, magic", None),
        ("treatment", "surgery;surgery", "surgery"),
        ("treatment", "geen", "none"),
        ("grade", "II", "G2"),
        ("grade", "G9", None),
        ("laterality", "beidseits", "bilateral"),
        ("vital_status", "overleden", "deceased"),
        ("episode", "active_surveillance", "Active Surveillance"),
        ("episode", "baseline", "Diagnosis"),
        ("population", "Screening-negative", "screening negative"),
    ],
)
def test_terms_in_several_languages(field, cell, found):
    if found is None:
        assert fault(values.term, field, cell) is Fault.UNKNOWN_TERM
    else:
        assert values.term(field, cell) == found


@pytest.mark.parametrize("cell", ["", " - ", "?", "N/A", "n.v.t.", "k.A.", "Onbekend", "unbekannt", "#N/A"])
def test_cells_that_stand_for_nothing(cell):
    assert vocabularies.is_missing(cell)


def test_a_letter_of_a_cell_is_not_nothing():
    assert not vocabularies.is_missing("M")
    assert not vocabularies.is_missing("0")


def test_every_fault_says_what_to_do():
    assert all(each.advice.endswith(".") and len(each.advice) <= 120 for each in Fault)
    assert {each for each in Fault if each.refuses_row} == {
        Fault.BROKEN_ROW,
        Fault.NO_PATIENT_ID,
        Fault.AMBIGUOUS_PATIENT,
        Fault.CONFLICTING_ROWS,
    }


def test_problems_are_counted_by_field_and_fault():
    problems = [
        Problem(2, "sex", Fault.UNKNOWN_TERM),
        Problem(9, "sex", Fault.UNKNOWN_TERM),
        Problem(3, "", Fault.BROKEN_ROW),
    ]
    assert count(problems) == {("", Fault.BROKEN_ROW): 1, ("sex", Fault.UNKNOWN_TERM): 2}


def _kwargs(expectation: str) -> dict:
    suite = json.loads(resources.files("expectations").joinpath("clinical.json").read_text())
    return next(e["kwargs"] for e in suite["expectations"] if e["meta"]["id"] == expectation)


def test_the_gate_knows_the_terms_that_the_mapping_gives():
    for field in ("sex", "population", "episode", "laterality", "pathology_confirmation", "grade", "vital_status"):
        assert tuple(_kwargs(f"{field}_known")["value_set"]) == vocabularies.terms(field)
    pattern = re.compile(_kwargs("treatment_known")["regex"])
    assert all(pattern.match(term) for term in vocabularies.terms("treatment"))
    assert pattern.match("chemotherapy + surgery")
    assert not pattern.match("chemotherapy + magic")


def test_the_gate_knows_the_codes_that_the_values_give():
    topography = re.compile(_kwargs("topography_form")["regex"])
    matching = {f"C{number:02d}" for number in range(100) if topography.match(f"C{number:02d}")}
    assert matching == vocabularies.topography_categories()
    for field, pattern in (("t", values.T_CATEGORY), ("n", values.N_CATEGORY), ("m", values.M_CATEGORY)):
        assert _kwargs(f"{field}_category_form")["regex"] == rf"^{values.PREFIX}{pattern}\Z"
    assert re.match(_kwargs("pathology_form")["regex"], values.morphology("M-9993/3"))
