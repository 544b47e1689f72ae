"""Properties of de-identified objects: intervals and references survive, identifiers do not."""

from __future__ import annotations

import io
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from oncurate import deid
from oncurate.deid import text
from oncurate.identity import Keys, parse_date
from tests import phantoms

KEYS = Keys(b"s" * 32)
few = settings(max_examples=40, deadline=None)
days = st.dates(min_value=date(1950, 1, 1), max_value=date(2050, 1, 1))
uids = st.lists(st.integers(1, 10**9), min_size=3, max_size=6).map(lambda parts: "1." + ".".join(map(str, parts)))
names = st.text(alphabet="bcdfghjkqvwxz", min_size=6, max_size=12)


def clean(ds: Dataset, subject: str = "subject") -> Dataset:
    return deid.clean_object(ds, KEYS, deid.DeidPolicy(), subject)[0]


@few
@given(days, days, st.text(alphabet="abc234", min_size=4, max_size=8))
def test_intervals_survive_within_and_across_files(one: date, other: date, subject: str) -> None:
    inner = Dataset()
    inner.StudyDate = f"{other:%Y%m%d}"
    first = clean(phantoms.dataset(StudyDate=f"{one:%Y%m%d}", ReferencedStudySequence=Sequence([inner])), subject)
    second = clean(phantoms.dataset(StudyDate=f"{other:%Y%m%d}"), subject)
    moved, moved_other = parse_date(first.StudyDate), parse_date(second.StudyDate)
    assert moved is not None
    assert moved_other is not None
    assert moved_other - moved == other - one
    assert moved < one


@few
@given(uids)
def test_a_reference_meets_its_object(uid: str) -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = uid
    holder = clean(phantoms.dataset(ReferencedImageSequence=Sequence([item])))
    image = clean(phantoms.dataset(instance_uid=uid))
    assert holder.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID != uid
    assert uid.encode() not in deid.write(image)


@few
@given(names, names, st.sampled_from(["{0} {1}", "{1} {0}", "{1}, {0}", "{1}{0}", "{0}_{1}_T2", "ct-{0}-{1}"]))
def test_a_name_is_found_nowhere(family: str, given_name: str, form: str) -> None:
    told = form.format(family, given_name)
    ds = phantoms.dataset(SeriesDescription=told.upper(), ProtocolName=told, ImageComments=f"of {told} liver")
    ds.PatientName = f"{family}^{given_name}"
    data = deid.write(clean(ds)).lower()
    assert family.encode() not in data
    assert given_name.encode() not in data


@few
@given(st.text(max_size=60))
def test_cleaning_is_idempotent_and_only_takes_away(value: str) -> None:
    left = text.clean(value)
    assert text.clean(left) == left
    assert set(left) <= set(value) | {" "}


@few
@given(names)
def test_a_cleaned_object_stays_as_it_is_but_for_its_uids(name: str) -> None:
    ds = phantoms.dataset(SeriesDescription=f"{name} T2 AX", BodyPartExamined="CHEST")
    once = clean(ds)
    twice = clean(dcmread(io.BytesIO(deid.write(once))))
    moving = {"UI", "DA", "DT"}
    assert [e for e in once if e.VR not in moving] == [e for e in twice if e.VR not in moving]
