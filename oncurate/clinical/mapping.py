"""What a provider says about a clinical file: which column is which field, and how its cells are written.

Belongs here: the `clinical` section of a provider file, a mapping file of its own, and the mapping of a file that has
none. Does not belong here: reading the clinical file (`oncurate.clinical.reading`), judging its cells.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncurate.clinical import values, vocabularies
from oncurate.clinical.problems import Unfit
from oncurate.errors import UsageError

TERM_FIELDS = ("population", "sex", "laterality", "pathology_confirmation", "grade", "vital_status", "episode")
"""Fields whose value is one term of the vocabulary of the same name."""

TEXT_FIELDS = ("imaging_protocol", "pathology_text", "treatment_text")
"""Fields of free text: refused unless declared safe or mapped value by value; cleaned in both cases."""

DATE_FIELDS = (
    "episode_date",
    "radiological_detection_date",
    "diagnosis_date",
    "pathology_confirmation_date",
    "first_treatment_date",
    "last_contact_date",
)
"""Dates that leave shifted. `birth_date` never leaves."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class ColumnOf(_Section):
    """Where a field comes from: a column, or one value for all rows. A bare name stands for `{column: name}`."""

    column: str | None = None
    constant: str | None = None
    missing: tuple[str, ...] = Field((), description="cells that stand for nothing, besides blanks and 'unknown'")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, raw: Any) -> Any:
        return {"column": raw} if isinstance(raw, str | int | float) and not isinstance(raw, bool) else raw

    @model_validator(mode="after")
    def _one(self) -> ColumnOf:
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either 'column' or 'constant'")
        return self


class IdOf(ColumnOf):
    """A column of identifiers."""

    width: int | None = Field(None, ge=1, le=64, description="fill up with zeros on the left to so many characters")


class TermOf(ColumnOf):
    """A column of terms or codes."""

    values: dict[str, str | None] = Field({}, description="cell to term; null for a cell that stands for nothing")


class DateOf(ColumnOf):
    """A column of dates."""

    format: str | None = Field(None, description="as strptime takes it, or 'excel' for day numbers")


class AgeOf(ColumnOf):
    """A column of ages."""

    unit: Literal["years", "months", "days"] = "years"


class SurvivalOf(ColumnOf):
    """A column of times since the diagnosis."""

    unit: Literal["years", "months", "days"] = "days"


class ClinicalMapping(_Section):
    """Field to column. `subject`, `issuer`, `study` and `birth_date` are read and never leave."""

    subject: IdOf = Field(description="PatientID of the images (0010,0020)")
    issuer: ColumnOf | None = Field(None, description="IssuerOfPatientID of the images (0010,0021)")
    study: ColumnOf | None = Field(None, description="StudyInstanceUID of the images (0020,000D)")
    birth_date: DateOf | None = None
    episode: TermOf | None = None
    episode_date: DateOf | None = None
    population: TermOf | None = None
    sex: TermOf | None = None
    age_at_diagnosis_years: AgeOf | None = None
    topography: TermOf | None = None
    laterality: TermOf | None = None
    radiological_detection_date: DateOf | None = None
    diagnosis_date: DateOf | None = None
    pathology_confirmation: TermOf | None = None
    pathology_confirmation_date: DateOf | None = None
    pathology: TermOf | None = None
    pathology_text: TermOf | None = None
    tnm: TermOf | None = Field(None, description="all three categories in one cell")
    t_category: TermOf | None = None
    n_category: TermOf | None = None
    m_category: TermOf | None = None
    tnm_edition: TermOf | None = None
    grade: TermOf | None = None
    imaging_protocol: TermOf | None = None
    treatment: TermOf | None = None
    treatment_text: TermOf | None = None
    first_treatment_date: DateOf | None = None
    vital_status: TermOf | None = None
    last_contact_date: DateOf | None = None
    survival_days: SurvivalOf | None = None

    def fields(self) -> dict[str, ColumnOf]:
        """The fields that the provider maps, in the order of the model."""
        mapped = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: source for name, source in mapped if source is not None}

    @model_validator(mode="after")
    def _terms_exist(self) -> ClinicalMapping:
        for name, source in self.fields().items():
            if isinstance(source, TermOf) and name not in TEXT_FIELDS:
                given = [*filter(None, source.values.values()), *filter(None, [source.constant])]
                if not all(_accepted(name, term) for term in given):
                    raise ValueError(f"{name}: 'values' or 'constant' holds what is no {_known(name)}")
        return self


class ClinicalPolicy(_Section):
    """The `clinical` section of a provider file; a bare file name stands for `{file: name}`."""

    file: str = Field(min_length=1, description="CSV, TSV, Parquet or Excel (.xlsx), relative to the provider file")
    sheet: str | None = Field(None, description="of an Excel file; the first one by default")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="found out by default")
    decimal: Literal[".", ","] | None = Field(None, description="either by default")
    encoding: str | None = Field(None, description="found out by default: UTF-8, UTF-16 with a mark, or Windows-1252")
    mapping: ClinicalMapping | None = Field(None, description="by the names of the fields by default")
    mapping_file: str | None = Field(None, description="YAML file of the mapping; 'mapping: name.yaml' does the same")
    safe_text: tuple[str, ...] = Field((), description="columns of free text that the provider vouches for")
    identifiers: tuple[str, ...] = Field((), description="columns that identify: taken out of text, searched for in it")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"file": raw}
        if isinstance(raw, dict) and isinstance(raw.get("mapping"), str) and "mapping_file" not in raw:
            return {**raw, "mapping": None, "mapping_file": raw["mapping"]}
        return raw

    @model_validator(mode="after")
    def _sound(self) -> ClinicalPolicy:
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError("'encoding' is none that Python knows, such as utf-8 or cp1252") from None
        if self.mapping is not None:
            if self.mapping_file is not None:
                raise ValueError("give 'mapping' or 'mapping_file', not both")
            self._check_texts(self.mapping)
        return self

    def _check_texts(self, mapping: ClinicalMapping) -> None:
        for name in TEXT_FIELDS:
            source = getattr(mapping, name)
            if source is None or source.column is None or source.values:
                continue
            if source.column not in self.safe_text:
                raise ValueError(f"{name} is free text: name its column in 'safe_text', or map each value by 'values'")
            if vocabularies.identifies(source.column) or source.column in self.identifiers:
                raise ValueError(f"{name}: a column that identifies a person is never safe text")


def with_mapping(policy: ClinicalPolicy, base: Path) -> ClinicalPolicy:
    """`policy` with the mapping of its mapping file, which is relative to `base`; as it is where there is none."""
    if policy.mapping_file is None:
        return policy
    path = base / policy.mapping_file
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"clinical.mapping: there is no file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"clinical.mapping: cannot read {path}: {type(error).__name__}") from None
    try:
        return ClinicalPolicy.model_validate(policy.model_dump(exclude={"mapping_file", "mapping"}) | {"mapping": raw})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path.name}: '{where}': {first['msg']}") from None


def by_names(columns: Sequence[str]) -> ClinicalMapping:
    """The mapping of a file without one: columns that bear the name of a field, or one of the handbook's variables.

    Free text and everything else is left out. `UsageError` where no column is the patient's id.
    """
    found: dict[str, str] = {}
    own = {vocabularies.fold(name): name for name in ClinicalMapping.model_fields}
    for column in columns:
        field = own.get(vocabularies.fold(column)) or vocabularies.field_of_header(column)
        if field is not None and field not in TEXT_FIELDS:
            found.setdefault(field, column)
    if "subject" not in found:
        raise UsageError("clinical: no column is called 'subject' or 'patient id'; write a 'mapping' of its columns")
    return ClinicalMapping.model_validate(found)


def _accepted(field: str, term: str) -> bool:
    try:
        values.term(field, term)
    except Unfit:
        return False
    return True


def _known(field: str) -> str:
    if field in (*TERM_FIELDS, "treatment"):
        return f"term of it; known are {', '.join(vocabularies.terms(field))}"
    return "value of it; see the description of the column"
