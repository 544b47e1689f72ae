"""Properties of the keyed functions: determinism, dependence on the secret, preserved intervals."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID, UID_dictionary

from oncurate.identity import SHIFT_DAYS_MAX, Keys, parse_date

secrets = st.binary(min_size=16, max_size=64)
texts = st.text(min_size=1, max_size=32)
uids = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
days = st.dates(min_value=date(1950, 1, 1), max_value=date(2050, 1, 1))
subjects = st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52)
few = settings(max_examples=60, deadline=None)


@few
@given(secrets, texts, texts)
def test_same_key_same_name(secret, patient, issuer):
    assert Keys(secret).subject_id(patient, issuer) == Keys(secret).subject_id(patient, issuer)


@few
@given(secrets, secrets, uids)
def test_another_secret_another_name(one, other, uid):
    if one != other:
        assert Keys(one).uid(uid) != Keys(other).uid(uid)
        assert Keys(one).study_id(uid) != Keys(other).study_id(uid)
        assert Keys(one).subject_id(uid, "") != Keys(other).subject_id(uid, "")
        assert Keys(one).check_value() != Keys(other).check_value()


@few
@given(secrets, uids)
def test_a_uid_becomes_a_valid_uid_that_does_not_hold_the_old_one(secret, uid):
    new = Keys(secret).uid(uid)
    assert len(new) <= 64
    assert UID(new).is_valid
    assert new.startswith("2.25.")
    assert new != uid


@few
@given(secrets, st.sampled_from(sorted(UID_dictionary)))
def test_well_known_uids_are_untouched(secret, uid):
    assert Keys(secret).uid(uid) == uid


@few
@given(secrets, subjects)
def test_the_shift_is_never_zero_and_bounded(secret, subject):
    assert 1 <= Keys(secret).date_shift_days(subject) <= SHIFT_DAYS_MAX


@few
@given(secrets, subjects, days, days)
def test_intervals_within_a_patient_survive(secret, subject, first, second):
    keys = Keys(secret)
    shifted = [parse_date(keys.shift_date(f"{day:%Y%m%d}", subject)) for day in (first, second)]
    assert shifted[1] - shifted[0] == second - first
    assert shifted[0] < first
