"""Keyed names, shifted dates, pooled ages."""

from __future__ import annotations

import pickle
import re

import pytest

from oncurate import identity
from oncurate.errors import UsageError
from oncurate.identity import Keys

SECRET = b"phantom secret 0123456789"


@pytest.fixture
def keys() -> Keys:
    return Keys(SECRET)


def test_a_short_secret_is_refused_without_being_shown():
    with pytest.raises(UsageError) as caught:
        Keys(b"hush-hush")
    assert "hush" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_secret_is_never_shown(keys):
    assert "phantom" not in repr(keys) + str(keys) + f"{[keys]}"


def test_keys_reach_a_worker(keys):
    assert pickle.loads(pickle.dumps(keys)).check_value() == keys.check_value()


def test_names_are_path_safe_and_whole(keys):
    for name in (keys.subject_id("P1", ""), keys.subject_from_study("1.2.3"), keys.study_id("1.2.3")):
        assert re.fullmatch(r"[a-z2-7]{52}", name)


def test_names_of_one_input_differ_by_kind(keys):
    assert len({keys.subject_id("1.2.3", ""), keys.subject_from_study("1.2.3"), keys.study_id("1.2.3")}) == 3


def test_parts_do_not_run_together(keys):
    assert keys.subject_id("AB", "C") != keys.subject_id("A", "BC")


def test_padding_and_unicode_form_do_not_make_another_patient_but_case_does(keys):
    assert keys.subject_id(" M\u00fcller1\0", "X ") == keys.subject_id("Mu\u0308ller1", "X")
    assert keys.subject_id("abc1", "") != keys.subject_id("ABC1", "")


def test_dicoms_own_uids_stay_and_nothing_that_only_begins_like_them(keys):
    assert keys.uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert keys.uid("1.2.840.10008.CANARY7F3A").startswith("2.25.")
    assert keys.uid("") == ""
    assert keys.uid("1.2.3\0") == keys.uid("1.2.3")


def test_names_are_stable_across_versions_of_this_code(keys):
    """These values must never change: a release that is continued would tell one patient apart from himself."""
    assert keys.subject_id("PHANTOM-1", "") == "7nxd6brq5475pxwxyczb5qfmxgru74iw4t6y44yul4q7m24zxufq"
    assert keys.uid("1.2.3") == "2.25.307778082006874604110648209079370618519"
    assert keys.date_shift_days("a" * 52) == 1007


@pytest.mark.parametrize(
    "value", ["", "20230231", "2023-01-01", "202301", "2023010a", "00000000", "00020101", "²0230101"]
)
def test_what_is_not_a_date_is_not_shifted(keys, value):
    assert keys.shift_date(value, "a" * 52) is None


@pytest.mark.parametrize(
    ("text", "years"),
    [("045Y", 45.0), ("45Y", 45.0), ("018M", 1.5), ("026W", 0.498), ("010D", 0.0274), ("000Y", 0.0), (" 045y ", 45.0)],
)
def test_ages_are_read(text, years):
    assert identity.parse_age(text) == pytest.approx(years, abs=0.001)


@pytest.mark.parametrize("text", ["", "Y", "45", "***", "0450Y", "200Y", "JOHN", "4.5Y", None, 45])
def test_what_is_not_an_age_is_none(text):
    assert identity.parse_age(text) is None


@pytest.mark.parametrize(("years", "pooled"), [(None, None), (88.96, 89.0), (89.0, 89.0), (89.01, 90.0), (104.0, 90.0)])
def test_high_ages_are_pooled(years, pooled):
    assert identity.pool_age(years) == pooled


@pytest.mark.parametrize(
    ("stated", "born", "studied", "years"),
    [
        ("063Y", "19600203", "20230405", 63.2),  # the dates give the decimal
        ("", "19600203", "20230405", 63.2),
        ("063Y", "", "20230405", 63.0),
        ("063Y", "19000101", "20230405", 63.0),  # a dummy birth date
        ("000Y", "19600203", "20230405", 63.2),  # a dummy age
        ("", "20230406", "20230405", None),  # born after the study
        ("", "19300101", "20230405", 90.0),
        ("", "", "", None),
    ],
)
def test_the_age_at_the_study(stated, born, studied, years):
    assert identity.age_years(stated, born, studied) == years


def test_what_is_made_of_source_digests_is_keyed(keys):
    other = Keys(b"another secret 0123456789")
    for name in ("volume_id", "inputs_digest"):
        content = {"slices": [["ab" * 32, 0]]}
        given = getattr(keys, name)(content)
        assert given == getattr(keys, name)(content)
        assert given != getattr(keys, name)({"slices": [["ab" * 32, 1]]})
        assert given != getattr(other, name)(content)
    assert re.fullmatch(r"[a-z2-7]{52}", keys.volume_id([]))
    assert re.fullmatch(r"[0-9a-f]{64}", keys.inputs_digest([]))


@pytest.mark.parametrize("name", ["", " \0", "0000", "ANON", "Anonymized^", "Un-Known", "n/a", "---", "No ID"])
def test_a_placeholder_names_nobody(name):
    assert not identity.has_patient_id(name)


@pytest.mark.parametrize("name", ["ANON-0042", "7", "0007", "Unknown 3", "\u738b\u4e94"])
def test_whatever_may_be_one_persons_names_somebody(name):
    assert identity.has_patient_id(name)
