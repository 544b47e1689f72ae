"""Keyed pseudonyms, keyed date shifts and pooled ages: what stands in a release for a person, a UID or a day.

Belongs here: every function of the provider's secret, and the reading of DICOM dates and ages that they need. Does not
belong here: which attributes may leave (`oncurate.allowlist`) or the act of de-identifying (`oncurate.deidentify`).

All are pure functions of (secret, input): the same on every worker, run and retry, and nothing is remembered. Each use
of the secret has a label of its own, so that a pseudonym of one kind says nothing about another kind. PS3.15 E.1.1
advises against unkeyed hashes; HMAC-SHA-256 (RFC 2104) is keyed.
"""

from __future__ import annotations

import hmac
import unicodedata
from datetime import date, timedelta
from typing import Any, Literal

from pydicom.uid import UID_dictionary

from oncurate import recipe
from oncurate.errors import UsageError

SECRET_BYTES_MIN = 16
"""Bytes, that is 128 bits. NIST SP 800-131A asks for at least 112 bits in an HMAC key."""

SHIFT_DAYS_MAX = 3652
"""Days. Dates move 1 to 3652 days (ten years) into the past: far enough to hide a birthday or a news story."""

AGE_POOLED_ABOVE_YEARS = 89.0
"""Years. Ages above it are one class (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C))."""

AGE_POOLED_YEARS = 90.0
"""Years. What stands for every age above `AGE_POOLED_ABOVE_YEARS`."""

AGE_MAX_YEARS = 125.0
"""Years. Nobody is known to have lived longer; a greater age is an error of entry."""

AGES_AGREE_YEARS = 1.5
"""Years. PatientAge counts completed years and may have been written a while before the study."""

DAYS_A_YEAR = 365.25

PLACEHOLDERS = frozenset(
    {"anon", "anonymous", "anonymised", "anonymized", "deidentified", "unknown", "unk", "none", "null", "na", "nn"}
    | {"nil", "noid", "noname", "nopatientid", "notavailable", "notapplicable", "patient", "patientid", "removed"}
)
"""What stands in PatientID, folded to letters and digits, where somebody took the ID away or had none: everybody's."""

SubjectSource = Literal["PatientID", "StudyInstanceUID"]

_AGE_UNIT_DAYS = {"D": 1.0, "W": 7.0, "M": DAYS_A_YEAR / 12, "Y": DAYS_A_YEAR}  # PS3.5 6.2, VR AS


class Keys:
    """The keyed functions of one provider's secret. It never shows the secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise UsageError(f"the pseudonymisation secret is too short: give at least {SECRET_BYTES_MIN} bytes")
        self._secret = bytes(secret)

    def __repr__(self) -> str:
        return "Keys(secret not shown)"

    def subject_id(self, patient_id: str, issuer: str) -> str:
        """The 52-character name of a patient. `patient_id` must not be blank; see `has_patient_id`."""
        return recipe.name_of(self._mac("subject/PatientID", _normalised(patient_id), _normalised(issuer)))

    def subject_from_study(self, study_uid: str) -> str:
        """The 52-character name of a patient of whom the provider gave only a study: one study, one subject."""
        return recipe.name_of(self._mac("subject/StudyInstanceUID", _bare(study_uid)))

    def study_id(self, study_uid: str) -> str:
        """The 52-character name of a study."""
        return recipe.name_of(self._mac("study", _bare(study_uid)))

    def uid(self, source_uid: str) -> str:
        """`2.25.` and a keyed 128-bit number (PS3.5 B.2, laid out as a version 8 UUID, RFC 9562).

        UIDs that DICOM itself defines stay as they are, and "" stays "". A UID that only begins like one of DICOM's is
        not trusted: it could carry anything.
        """
        bare = _bare(source_uid)
        if not bare or bare in UID_dictionary:
            return bare
        number = int.from_bytes(self._mac("uid", bare)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76  # version
        number = number & ~(0x3 << 62) | 2 << 62  # variant
        return f"2.25.{number}"

    def volume_id(self, content: Any) -> str:
        """The 52-character name of a volume made of `content`, a JSON value that holds digests of source files.

        Without the key, whoever holds a file could tell from its digest which volume, and so which subject, it became.
        """
        return recipe.name_of(self._mac("volume", recipe.digest(content)))

    def annotation_id(self, content: Any) -> str:
        """The 52-character name of an annotation made of `content`; keyed for the same reason."""
        return recipe.name_of(self._mac("annotation", recipe.digest(content)))

    def object_name(self, content: Any) -> str:
        """The 52-character name of a de-identified object made of `content`; keyed for the same reason."""
        return recipe.name_of(self._mac("object", recipe.digest(content)))

    def inputs_digest(self, inputs: Any) -> str:
        """64 hexadecimal digits that change exactly when `inputs` do, a JSON value that holds paths and digests."""
        return self._mac("inputs", recipe.digest(inputs)).hex()

    def date_shift_days(self, subject_id: str) -> int:
        """How many days a subject's dates move into the past: 1 to `SHIFT_DAYS_MAX`, never 0, one number a subject."""
        return 1 + int.from_bytes(self._mac("date shift", subject_id), "big") % SHIFT_DAYS_MAX

    def shift_date(self, value: str, subject_id: str) -> str | None:
        """A DICOM date (YYYYMMDD) moved by the subject's shift, or None where it is not a date."""
        day = parse_date(value)
        if day is None:
            return None
        try:
            shifted = day - timedelta(days=self.date_shift_days(subject_id))
        except OverflowError:  # a day in the first ten years of our era has no place to go
            return None
        return f"{shifted.year:04d}{shifted.month:02d}{shifted.day:02d}"

    def check_value(self) -> str:
        """A keyed value that tells whether the secret is still the same, and nothing else about it."""
        return self._mac("check value").hex()

    def _mac(self, label: str, *parts: str) -> bytes:
        framed = bytearray()  # each part with its length, so that no two lists of parts give the same message
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            framed += len(raw).to_bytes(8, "big") + raw
        return hmac.digest(self._secret, b"oncurate/" + label.encode() + b"\0" + framed, "sha256")


def has_patient_id(patient_id: str) -> bool:
    """Whether a PatientID names anybody: blanks and zeros do not, nor do `PLACEHOLDERS`, which make many people one."""
    folded = "".join(c for c in _normalised(patient_id).casefold() if c.isalnum())
    return folded.strip("0") != "" and folded not in PLACEHOLDERS


def subject_of(keys: Keys, patient_id: str, issuer: str, study_uid: str) -> tuple[str, SubjectSource]:
    """The 52-character name of whose image it is, and the attribute that it was made from."""
    if has_patient_id(patient_id):
        return keys.subject_id(patient_id, issuer), "PatientID"
    return keys.subject_from_study(study_uid), "StudyInstanceUID"


def parse_date(value: object) -> date | None:
    """A DICOM date (VR DA: YYYYMMDD, ASCII digits), or None."""
    if not isinstance(value, str):
        return None
    text = value.strip(" \0")
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def parse_age(value: object) -> float | None:
    """Years from a DICOM age string (VR AS: 045Y, 018M, 003W, 010D; leading zeros may be missing), or None."""
    if not isinstance(value, str):
        return None
    text = value.strip(" \0").upper()
    number, unit = text[:-1], text[-1:]
    if unit not in _AGE_UNIT_DAYS or not 1 <= len(number) <= 3 or not number.isascii() or not number.isdigit():
        return None
    return _plausible(int(number) * _AGE_UNIT_DAYS[unit] / DAYS_A_YEAR)


def age_years(patient_age: object, birth_date: object, study_date: object) -> float | None:
    """Age at the study in years with one decimal, pooled above 89; None where nothing gives a plausible one.

    The dates give the decimal. Where they contradict PatientAge, PatientAge counts: a birth date is often a
    dummy. An age of exactly 0 beside a plausible birth date is the usual dummy the other way round.
    """
    born, studied = parse_date(birth_date), parse_date(study_date)
    from_dates = None
    if born is not None and studied is not None:
        from_dates = _plausible((studied - born).days / DAYS_A_YEAR)
    stated = parse_age(patient_age)
    if stated is None or (stated == 0 and from_dates is not None):
        return pool_age(from_dates)
    if from_dates is not None and abs(from_dates - stated) <= AGES_AGREE_YEARS:
        return pool_age(from_dates)
    return pool_age(stated)


def pool_age(years: float | None) -> float | None:
    """`years` with one decimal; everything above 89 becomes 90."""
    if years is None:
        return None
    return AGE_POOLED_YEARS if years > AGE_POOLED_ABOVE_YEARS else round(years, 1)


def _plausible(years: float) -> float | None:
    return years if 0 <= years <= AGE_MAX_YEARS else None


def _bare(uid: str) -> str:
    """Without the padding that PS3.5 allows after a UID."""
    return uid.strip(" \0")


def _normalised(name: str) -> str:
    """One form for one identifier: no padding, one Unicode form. Case is kept: some sites tell patients apart by it."""
    return unicodedata.normalize("NFC", name).strip(" \0\t\r\n")
