"""Clinical files of made patients, as hospitals write them: Dutch and German headers, semicolons, decimal commas.

Belongs here: seeded, obviously made files and the policies that read them. Does not belong here: what must become of
them, which each test says itself.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from oncurate.clinical.mapping import ClinicalPolicy
from oncurate.identity import Keys

KEYS = Keys(b"a secret made for the tests only")
TODAY = date(2026, 1, 1)

DUTCH_HEADER = (
    *("Pat_ID", "Naam", "Geboortedatum", "Geslacht", "Leeftijd", "Datum diagnose", "Eerste echo", "Lokalisatie"),
    *("Morfologie", "cT", "cN", "cM", "Behandeling", "Start behandeling", "Status", "Laatste contact", "Protocol"),
    "Opmerking",
)
DUTCH = {
    "file": "klinisch.csv",
    "decimal": ",",
    "safe_text": ["Protocol"],
    "mapping": {
        "subject": "Pat_ID",
        "birth_date": {"column": "Geboortedatum", "format": "%d-%m-%Y"},
        "population": {"constant": "patient with cancer"},
        "sex": {"column": "Geslacht", "values": {"M": "male", "V": "female"}},
        "age_at_diagnosis_years": "Leeftijd",
        "diagnosis_date": {"column": "Datum diagnose", "format": "%d-%m-%Y"},
        "radiological_detection_date": {"column": "Eerste echo", "format": "%d-%m-%Y"},
        "topography": "Lokalisatie",
        "pathology": "Morfologie",
        "t_category": "cT",
        "n_category": "cN",
        "m_category": "cM",
        "tnm_edition": {"constant": 8},
        "treatment": "Behandeling",
        "first_treatment_date": {"column": "Start behandeling", "format": "%d-%m-%Y"},
        "vital_status": "Status",
        "last_contact_date": {"column": "Laatste contact", "format": "%d-%m-%Y"},
        "imaging_protocol": "Protocol",
    },
}

GERMAN_HEADER = (
    "Patienten-Nr.",
    "Nachname",
    "Geschlecht",
    "Alter (Monate)",
    "Diagnosedatum",
    "Seite",
    "TNM",
    "Grading",
)
GERMAN = {
    "file": "klinik.csv",
    "mapping": {
        "subject": {"column": "Patienten-Nr.", "width": 8},
        "sex": "Geschlecht",
        "age_at_diagnosis_years": {"column": "Alter (Monate)", "unit": "months"},
        "diagnosis_date": {"column": "Diagnosedatum", "format": "%d.%m.%Y"},
        "laterality": "Seite",
        "tnm": "TNM",
        "grade": "Grading",
    },
}


def patient_id(number: int) -> str:
    """The id of a made patient, in the images and in the Dutch file."""
    return f"TEST{number:04d}"


def dutch(patients: int = 12, seed: int = 5) -> bytes:
    """A Dutch file of `patients` rows: UTF-8 with a mark, semicolons, decimal commas, a name in each row."""
    chance = random.Random(seed)
    rows = []
    for number in range(1, patients + 1):
        born = date(1935, 1, 1) + timedelta(days=chance.randrange(18_000))
        found = date(2015, 1, 1) + timedelta(days=chance.randrange(1_500))
        diagnosed, treated, seen = (found + timedelta(days=days) for days in (12, 40, 40 + chance.randrange(1_000)))
        rows.append(
            [
                patient_id(number),
                f"Doe^Test{number}",
                f"{born:%d-%m-%Y}",
                chance.choice("MV"),
                f"{(diagnosed - born).days / 365.25:.1f}".replace(".", ","),
                f"{diagnosed:%d-%m-%Y}",
                f"{found:%d-%m-%Y}",
                chance.choice(["C34.1", "C341", "c18.7", "C50"]),
                chance.choice(["8140/3", "M-8500/3", "80703"]),
                chance.choice(["cT1a", "2b", "T4"]),
                chance.choice(["N0", "cN1", "X"]),
                chance.choice(["M0", "cM0", "M1b"]),
                chance.choice(["operatie", "chemo + bestraling", "geen", "immuuntherapie en operatie"]),
                f"{treated:%d-%m-%Y}",
                chance.choice(["in leven", "overleden"]),
                f"{seen:%d-%m-%Y}",
                chance.choice(["CT thorax met contrast", f"CT thorax Doe Test{number}", "onbekend"]),
                f"gezien door Dr. Test; belt {number}",
            ]
        )
    return "\ufeff".encode() + written([DUTCH_HEADER, *rows], ";").encode()


def german(patients: int = 6, seed: int = 7) -> bytes:
    """A German file of `patients` rows: Windows-1252, semicolons, ages in months, ids without their leading zeros."""
    chance = random.Random(seed)
    rows = [
        [
            str(number),
            f"Müller-Test{number}",
            chance.choice(["männlich", "weiblich"]),
            str(chance.randrange(480, 960)),
            f"{date(2012, 1, 1) + timedelta(days=chance.randrange(2_000)):%d.%m.%Y}",
            chance.choice(["links", "rechts", "beidseits"]),
            chance.choice(["pT2a pN0 M0", "cT1cN1M0 ".replace("cN", " cN"), "ypT0N0M0"]),
            chance.choice(["G2", "3", "niedriggradig"]),
        ]
        for number in range(1, patients + 1)
    ]
    return written([GERMAN_HEADER, *rows], ";").encode("cp1252")


def written(rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """Rows as CSV text."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()


def policy(raw: dict[str, Any] | str) -> ClinicalPolicy:
    """The `clinical` section of a provider file."""
    return ClinicalPolicy.model_validate(raw)
