"""The one function that turns an identified series into a de-identified one.

Belongs here: composing keyed names, shifted dates, pooled ages and allow-listed attributes into a `CohortSeries`, the
proof that no identifier survived in it, and the rows of the restricted key table. Does not belong here: what is allowed
(`oncurate.allowlist`), how names are keyed (`oncurate.identity`), how leaks are found (`oncurate.leaks`).

A cohort record is built from nothing; no field of the source is carried over unless it is a number, a name of ours, or
has been judged. Relative days are not computed here: they depend on all studies of a release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydicom.uid import UID_dictionary

from oncurate import allowlist, burnedin, identity, intervals, leaks, scaling, suv, views
from oncurate.errors import Defect, Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason
from oncurate.records import RESCALE, CohortSeries, CohortVolume, Outcome, PlannedVolume, Repetition, SourceSeries

STAGE = "deidentify"

SCALINGS = frozenset({RESCALE, scaling.PHILIPS, scaling.REAL_WORLD})
UNITS = frozenset(scaling.UNITS.values())
"""What may stand in `PlannedVolume.scaling` and `unit`."""

UNKNOWN_MODALITY = "OT"
"""The defined term for a modality that is none of the listed ones (PS3.3 C.7.3.1.1.1)."""


class DeidentifyPolicy(BaseModel):
    """What a provider may decide. The defaults are the careful ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    burned_in_text: burnedin.Policy = "quarantine"  # "trust": the provider vouches that no image carries text
    dates: Literal["shifted", "removed"] = "shifted"


def to_cohort(
    series: SourceSeries, keys: Keys, recipe_digest: str, policy: DeidentifyPolicy
) -> tuple[CohortSeries | None, list[dict[str, Any]], list[Outcome]]:
    """The de-identified series, its rows of the `cohort` table, and an outcome for each file of a refused volume.

    None where no volume is left. Files that share a volume, and volumes that share a file, are refused together. What
    would be written is written, read again and searched for the identifiers of the source; one hit refuses the series.
    """
    masks: dict[int, tuple[bool, tuple[burnedin.Region, ...]]] = {}
    refused: dict[int, Rejection] = {}
    for index, volume in enumerate(series.volumes):
        try:
            size = volume.geometry.shape[:2]
            masks[index] = burnedin.decide(volume.attributes, series.Modality, policy.burned_in_text, size=size)
        except Rejection as rejection:
            refused[index] = rejection
    _spread(series, refused)
    going = [index for index in range(len(series.volumes)) if index not in refused]
    if not going:
        return None, [], _outcomes(series, refused)

    head = _head(series, keys, policy)
    volumes, counts = [], []
    for index in going:
        volume, count = _volume(series, index, masks[index], head, keys, recipe_digest, policy)
        volumes.append(volume)
        counts.append(count)
    cohort = CohortSeries(**head, volumes=tuple(volumes))
    identifiers = _identifiers(series)
    if _survivors(cohort, identifiers):
        refused.update({index: Rejection(Reason.IDENTIFIER_SURVIVED) for index in going})
        return None, [], _outcomes(series, refused)
    searched = leaks.searchable(identifiers)
    rows = [_row(cohort, v, series.StudyDate, searched, count) for v, count in zip(volumes, counts, strict=True)]
    return cohort, rows, _outcomes(series, refused)


def key_rows(series: SourceSeries, cohort: CohortSeries) -> list[dict[str, str]]:
    """Rows `kind`, `source`, `cohort` of the restricted key table: what stands for what. It never leaves the site.

    Instances are not in it: there are a hundred times as many, the ledger leads from each to its series, and
    `Keys.uid` gives their cohort UIDs.
    """
    pairs = {
        ("StudyInstanceUID", series.StudyInstanceUID, cohort.StudyInstanceUID),
        ("study_id", series.StudyInstanceUID, cohort.study_id),
        ("SeriesInstanceUID", series.SeriesInstanceUID, cohort.SeriesInstanceUID),
        ("FrameOfReferenceUID", series.FrameOfReferenceUID, cohort.FrameOfReferenceUID),
    }
    if cohort.subject_id_source == "PatientID":
        issuer = f"^^^{series.IssuerOfPatientID}" if series.IssuerOfPatientID else ""  # as in HL7 type CX
        pairs.add(("PatientID", series.PatientID + issuer, cohort.subject_id))
    else:
        pairs.add(("subject_id", series.StudyInstanceUID, cohort.subject_id))
    return [{"kind": k, "source": s, "cohort": c} for k, s, c in sorted(pairs) if s]


def _spread(series: SourceSeries, refused: dict[int, Rejection]) -> None:
    """A file ends in one state: refuse every volume that shares a file with a refused one, and so on."""
    objects = [{s.object for s in volume.slices} for volume in series.volumes]
    waiting = list(refused)
    while waiting:
        bad = waiting.pop()
        for index, held in enumerate(objects):
            if index not in refused and held & objects[bad]:
                refused[index] = refused[bad]
                waiting.append(index)


def _outcomes(series: SourceSeries, refused: Mapping[int, Rejection]) -> list[Outcome]:
    found: dict[str, Outcome] = {}
    for index in sorted(refused):
        rejection = refused[index]
        for piece in series.volumes[index].slices:
            found.setdefault(piece.object, Outcome.refused(piece.object, STAGE, rejection.reason, rejection.detail))
    return [found[key] for key in sorted(found)]


def _head(series: SourceSeries, keys: Keys, policy: DeidentifyPolicy) -> dict[str, Any]:
    """The fields of the cohort series but its volumes."""
    named = identity.has_patient_id(series.PatientID)
    subject = (
        keys.subject_id(series.PatientID, series.IssuerOfPatientID)
        if named
        else keys.subject_from_study(series.StudyInstanceUID)
    )
    return {
        "subject_id": subject,
        "subject_id_source": "PatientID" if named else "StudyInstanceUID",
        "study_id": keys.study_id(series.StudyInstanceUID),
        "StudyInstanceUID": keys.uid(series.StudyInstanceUID),
        "SeriesInstanceUID": keys.uid(series.SeriesInstanceUID),
        "FrameOfReferenceUID": keys.uid(series.FrameOfReferenceUID),
        "Modality": allowlist.term("modality", series.Modality) or UNKNOWN_MODALITY,
        "StudyDate": keys.shift_date(series.StudyDate, subject) if policy.dates == "shifted" else None,
    }


def _volume(
    series: SourceSeries,
    index: int,
    mask: tuple[bool, tuple[burnedin.Region, ...]],
    head: Mapping[str, Any],
    keys: Keys,
    recipe_digest: str,
    policy: DeidentifyPolicy,
) -> tuple[CohortVolume, tuple[int, int]]:
    """A cohort volume, and how many attributes were kept and dropped."""
    planned = series.volumes[index]
    _require_ours(planned)
    kept, dropped = allowlist.clean({**planned.attributes, "Modality": head["Modality"]})
    kept.update(_derived(planned.attributes, series.StudyDate, head["subject_id"], keys, policy))
    if head["Modality"] in views.MODALITIES:
        shown = {"laterality": views.laterality(planned.attributes), "view": views.view(planned.attributes)}
        kept.update({name: term for name, term in shown.items() if term is not None})
    slices = tuple(s.model_copy(update={"SOPInstanceUID": keys.uid(s.SOPInstanceUID)}) for s in planned.slices)
    name = keys.volume_id(
        {
            "recipe": recipe_digest,
            "series": head["SeriesInstanceUID"],
            "kind": planned.kind,
            "slices": [[s.object, s.frame] for s in planned.slices],
        }
    )
    cleaned = PlannedVolume(
        kind=planned.kind,
        slices=slices,
        geometry=planned.geometry,
        split_by=planned.split_by,
        SamplesPerPixel=planned.SamplesPerPixel,
        PhotometricInterpretation=allowlist.term("photometric", planned.PhotometricInterpretation) or "",
        attributes=kept,
        repetitions=tuple(_repetition(each) for each in planned.repetitions),
        repeated_by=planned.repeated_by,
        correction=planned.correction,
        scaling=planned.scaling,
        unit=planned.unit,
        padding=planned.padding,
        suv=planned.suv,
        derived=planned.derived,
        projection=planned.projection,
    )
    volume = CohortVolume(volume_id=name, recipe=recipe_digest, planned=cleaned, masked=mask[0], regions=mask[1])
    return volume, (len(kept), len(dropped))


def _repetition(raw: Repetition) -> Repetition:
    """What tells a repetition from the others, judged as the attribute it comes from: a number out of range leaves."""
    kept, _ = allowlist.clean({"DiffusionBValue": raw.b_value})
    return raw.model_copy(update={"b_value": kept.get("DiffusionBValue")})


def _require_ours(planned: PlannedVolume) -> None:
    """What is carried over besides numbers must be names of ours: anything else came from a header, and is a bug."""
    own = planned.scaling in SCALINGS and (planned.unit is None or planned.unit in UNITS)
    own &= set(planned.repeated_by) <= leaks.SPLIT_NAMES
    own &= planned.suv is None or planned.suv.status in suv.STATUSES
    if not own:
        raise Defect("a planned volume holds a scaling, unit, repetition key or SUV status that is none of ours")


def _derived(
    raw: Mapping[str, Any], study_date: str, subject: str, keys: Keys, policy: DeidentifyPolicy
) -> dict[str, Any]:
    """What leaves in place of attributes that never do: age, shifted dates, intervals."""
    found: dict[str, Any] = {
        "patient_age_years": identity.age_years(raw.get("PatientAge"), raw.get("PatientBirthDate"), study_date)
    }
    if policy.dates == "shifted":
        acquired = raw.get("AcquisitionDate") or str(raw.get("AcquisitionDateTime") or "")[:8]
        for name, value in (("AcquisitionDate", acquired), ("SeriesDate", raw.get("SeriesDate"))):
            found[name] = keys.shift_date(value, subject) if isinstance(value, str) else None
    for name, date_of, time_of in (
        ("injection_to_series_s", "SeriesDate", "SeriesTime"),
        ("injection_to_acquisition_s", "AcquisitionDate", "AcquisitionTime"),
    ):
        found[name] = intervals.since_injection(raw, raw.get(date_of), raw.get(time_of))
    return {name: value for name, value in found.items() if value is not None}


def _identifiers(series: SourceSeries) -> frozenset[str]:
    own = {series.PatientID, series.IssuerOfPatientID, series.StudyInstanceUID, series.SeriesInstanceUID}
    own.add(series.FrameOfReferenceUID)
    own.update(s.SOPInstanceUID for v in series.volumes for s in v.slices)
    own.difference_update(UID_dictionary)  # DICOM's own UIDs stay, and identify nobody
    return frozenset(own.union(series.identifiers))


def _survivors(cohort: CohortSeries, identifiers: Iterable[str]) -> int:
    """How many identifiers are in the record as it would be written; the record must read back as it was."""
    text = cohort.model_dump_json()
    if CohortSeries.model_validate_json(text).model_dump_json() != text:
        raise Defect("a cohort record does not read back as it was written")
    return leaks.search(text, identifiers)


def _row(
    cohort: CohortSeries, volume: CohortVolume, source_date: str, searched: int, count: tuple[int, int]
) -> dict[str, Any]:
    return {
        "volume_id": volume.volume_id,
        "subject_id": cohort.subject_id,
        "study_id": cohort.study_id,
        "StudyInstanceUID": cohort.StudyInstanceUID,
        "SeriesInstanceUID": cohort.SeriesInstanceUID,
        "Modality": cohort.Modality,
        "StudyDate": cohort.StudyDate,
        "date_is_shifted": cohort.StudyDate != source_date.strip(" \0"),
        "identifiers_searched": searched,
        "identifiers_found": 0,
        "attributes_kept": count[0],
        "attributes_dropped": count[1],
    }
