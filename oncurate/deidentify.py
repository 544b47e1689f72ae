"""The one function that turns an identified series into a de-identified one.

Belongs here: composing keyed names, shifted dates, pooled ages and allow-listed attributes into a `CohortSeries`, the
proof that no identifier survived in it, and the rows of the restricted key table. Does not belong here: what is allowed
(`oncurate.allowlist`), how names are keyed (`oncurate.identity`), how leaks are found (`oncurate.leaks`).

A cohort record is built from nothing; no field of the source is carried over unless it is a number, a name of ours, or
has been judged. Relative days are not computed here: they depend on all studies of a release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field
from pydicom.uid import UID_dictionary

from oncurate import allowlist, burnedin, identity, intervals, leaks, scaling, suv, views
from oncurate.deid import text, values
from oncurate.deid.policy import DeidPolicy
from oncurate.errors import Defect, Rejection
from oncurate.identity import Keys
from oncurate.pixelplan import PixelPlan, VolumePixels
from oncurate.reasons import Reason
from oncurate.records import RESCALE, CohortSeries, CohortVolume, Outcome, PlannedVolume, Repetition, SourceSeries

STAGE = "deidentify"

SCALINGS = frozenset({RESCALE, scaling.PHILIPS, scaling.REAL_WORLD})
UNITS = frozenset(scaling.UNITS.values())
"""What may stand in `PlannedVolume.scaling` and `unit`."""

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")

DESCRIPTIONS = ("SeriesDescription", "StudyDescription", "ProtocolName")
"""Free text of which a closed vocabulary leaves what is of use."""

UNKNOWN_MODALITY = "OT"
"""The defined term for a modality that is none of the listed ones (PS3.3 C.7.3.1.1.1)."""


class DeidentifyPolicy(DeidPolicy):
    """What a provider may decide: the options of PS3.15 and what is done about pixels. The defaults are careful."""

    burned_in_text: burnedin.Policy = Field(
        "quarantine",
        description="images that may carry text are refused, or looked at and the text blanked; trust: the provider's "
        "word that no image carries any",
    )
    faces: Literal["flag", "deface"] = Field("flag", description="say which images may show a face, or remove it")


class Deidentified(NamedTuple):
    """What became of a series: None where no volume is left; an outcome for each file of a refused volume."""

    cohort: CohortSeries | None
    rows: list[dict[str, Any]]  # of table `cohort`
    outcomes: list[Outcome]
    audit: list[dict[str, str]]  # of table `audit`: what became of the attributes; no value


def to_cohort(
    series: SourceSeries, keys: Keys, recipe_digest: str, policy: DeidentifyPolicy, plan: PixelPlan
) -> Deidentified:
    """The de-identified series. `plan` says what is done to the pixels of each volume, and which are refused.

    What would be written is written, read again and searched for the identifiers of the source; one hit refuses the
    series.
    """
    refused = dict(plan.refused)
    going = plan.going()
    if not going:
        return Deidentified(None, [], _outcomes(series, refused), [])

    head = _head(series, keys, policy)
    volumes, dropped = [], []
    for index in going:
        volume, names = _volume(series, index, plan.done[index], head, keys, recipe_digest, policy)
        volumes.append(volume)
        dropped.append(names)
    cohort = CohortSeries(**head, volumes=tuple(volumes))
    identifiers = _identifiers(series, policy)
    if _survivors(cohort, identifiers):
        refused.update({index: Rejection(Reason.IDENTIFIER_SURVIVED) for index in going})
        return Deidentified(None, [], _outcomes(series, refused), [])
    searched = leaks.searchable(identifiers)
    rows = [_row(cohort, v, series, searched, names, policy) for v, names in zip(volumes, dropped, strict=True)]
    audit = [_removed(v, name) for v, names in zip(volumes, dropped, strict=True) for name in names]
    return Deidentified(cohort, rows, _outcomes(series, refused), audit)


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


def _outcomes(series: SourceSeries, refused: Mapping[int, Rejection]) -> list[Outcome]:
    found: dict[str, Outcome] = {}
    for index in sorted(refused):
        rejection = refused[index]
        for piece in series.volumes[index].slices:
            found.setdefault(piece.object, Outcome.refused(piece.object, STAGE, rejection.reason, rejection.detail))
    return [found[key] for key in sorted(found)]


def _head(series: SourceSeries, keys: Keys, policy: DeidentifyPolicy) -> dict[str, Any]:
    """The fields of the cohort series but its volumes."""
    subject, made_from = identity.subject_of(keys, series.PatientID, series.IssuerOfPatientID, series.StudyInstanceUID)
    return {
        "subject_id": subject,
        "subject_id_source": made_from,
        "study_id": keys.study_id(series.StudyInstanceUID),
        **{name: _uid(getattr(series, name), keys, policy) for name in _UIDS},
        "Modality": allowlist.term("modality", series.Modality) or UNKNOWN_MODALITY,
        "StudyDate": _date(series.StudyDate, subject, keys, policy),
    }


def _volume(
    series: SourceSeries,
    index: int,
    pixels: VolumePixels,
    head: Mapping[str, Any],
    keys: Keys,
    recipe_digest: str,
    policy: DeidentifyPolicy,
) -> tuple[CohortVolume, tuple[str, ...]]:
    """A cohort volume, and the attributes of which nothing stayed."""
    planned = series.volumes[index]
    _require_ours(planned)
    kept, dropped = allowlist.clean({**planned.attributes, "Modality": head["Modality"]})
    kept.update(_derived(planned.attributes, series.StudyDate, head["subject_id"], keys, policy))
    kept.update(_descriptions(planned.attributes, series.people, policy))
    if head["Modality"] in views.MODALITIES:
        shown = {"laterality": views.laterality(planned.attributes), "view": views.view(planned.attributes)}
        kept.update({name: term for name, term in shown.items() if term is not None})
    text_in = pixels.text or ((),) * len(planned.slices)
    slices = tuple(
        s.model_copy(update={"SOPInstanceUID": _uid(s.SOPInstanceUID, keys, policy), "text": found})
        for s, found in zip(planned.slices, text_in, strict=True)
    )
    name = keys.volume_id(
        {
            "recipe": recipe_digest,
            "series": head["SeriesInstanceUID"],
            "kind": planned.kind,
            "slices": [[s.content, s.frame] for s in planned.slices],
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
    volume = CohortVolume(
        volume_id=name,
        recipe=recipe_digest,
        planned=cleaned,
        masked=pixels.masked,
        regions=pixels.kept,
        searched_for_text=pixels.searched_for_text,
        face=pixels.face,
    )
    return volume, dropped


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
    acquired = raw.get("AcquisitionDate") or str(raw.get("AcquisitionDateTime") or "")[:8]
    for name, value in (("AcquisitionDate", acquired), ("SeriesDate", raw.get("SeriesDate"))):
        found[name] = _date(value, subject, keys, policy)
    for name, date_of, time_of in (
        ("injection_to_series_s", "SeriesDate", "SeriesTime"),
        ("injection_to_acquisition_s", "AcquisitionDate", "AcquisitionTime"),
    ):
        found[name] = intervals.since_injection(raw, raw.get(date_of), raw.get(time_of))
    return {name: value for name, value in found.items() if value is not None}


def _descriptions(raw: Mapping[str, Any], people: Iterable[str], policy: DeidPolicy) -> dict[str, str]:
    """What a closed vocabulary leaves of free text from which everybody's names were taken out; no empty text."""
    if not policy.clean_descriptors:
        return {}
    named = text.identifiers(frozenset(people))
    cleaned = {k: text.clean(raw[k], named) for k in DESCRIPTIONS if isinstance(raw.get(k), str)}
    return {keyword: value for keyword, value in cleaned.items() if value}


def _uid(source: str, keys: Keys, policy: DeidPolicy) -> str:
    return source.strip(" \0") if policy.retain_uids and values.is_uid(source.strip(" \0")) else keys.uid(source)


def _date(source: object, subject: str, keys: Keys, policy: DeidPolicy) -> str | None:
    """A date as the policy has it: shifted, as it is, or none."""
    if not isinstance(source, str) or policy.dates == "none":
        return None
    if policy.dates == "modified":
        return keys.shift_date(source, subject)
    return None if identity.parse_date(source) is None else source.strip(" \0")


def _identifiers(series: SourceSeries, policy: DeidPolicy) -> frozenset[str]:
    """What must not be in the record: nothing that the policy keeps, and no words that name nobody in this archive."""
    own = {series.PatientID, series.IssuerOfPatientID, series.StudyInstanceUID, series.SeriesInstanceUID}
    own.add(series.FrameOfReferenceUID)
    own.update(s.SOPInstanceUID for v in series.volumes for s in v.slices)
    own.difference_update(UID_dictionary)  # DICOM's own UIDs stay, and identify nobody
    own.update(series.identifiers)
    if policy.retain_uids:
        own = {value for value in own if not values.is_uid(value)}
    named = text.identifiers(frozenset(series.people))
    return frozenset(v for v in own if text.fold(v) in named.words or not text.harmless(v))


def _survivors(cohort: CohortSeries, identifiers: Iterable[str]) -> int:
    """How many identifiers are in the record as it would be written; the record must read back as it was."""
    written = cohort.model_dump_json()
    if CohortSeries.model_validate_json(written).model_dump_json() != written:
        raise Defect("a cohort record does not read back as it was written")
    return leaks.search(written, identifiers)


def _removed(volume: CohortVolume, keyword: str) -> dict[str, str]:
    made = {"output": "metadata", "object": volume.volume_id, "element": keyword}
    return {**made, "action": "X", "rule": "allow-list"}


def _row(
    cohort: CohortSeries,
    volume: CohortVolume,
    source: SourceSeries,
    searched: int,
    dropped: tuple[str, ...],
    policy: DeidPolicy,
) -> dict[str, Any]:
    return {
        "volume_id": volume.volume_id,
        "subject_id": cohort.subject_id,
        "study_id": cohort.study_id,
        "StudyInstanceUID": cohort.StudyInstanceUID,
        "SeriesInstanceUID": cohort.SeriesInstanceUID,
        "Modality": cohort.Modality,
        "StudyDate": cohort.StudyDate,
        "date_follows_policy": _follows(cohort.StudyDate, source.StudyDate, policy),
        "uids_follow_policy": policy.retain_uids
        or all(getattr(cohort, name) != getattr(source, name) for name in ("StudyInstanceUID", "SeriesInstanceUID")),
        "identifiers_searched": searched,
        "identifiers_found": 0,
        "attributes_kept": len(volume.planned.attributes),
        "attributes_dropped": len(dropped),
        "dicom_objects_expected": 0,
        "dicom_objects_written": 0,
    }


def _follows(date: str | None, source: str, policy: DeidPolicy) -> bool:
    """Whether a study date is what the policy asks for."""
    if policy.dates == "none":
        return date is None
    return (date == source.strip(" \0")) is (policy.dates == "full") or identity.parse_date(source) is None
