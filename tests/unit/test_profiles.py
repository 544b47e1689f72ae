"""Profiles: the shipped file loads, overrides reach exactly one setting, mistakes name the right key."""

from importlib import resources

import pytest
import yaml

from oncurate.errors import UsageError
from oncurate.profiles import Profile, load


def test_every_shipped_profile_says_why():
    shipped = yaml.safe_load(resources.files("oncurate").joinpath("data/profiles.yaml").read_text())
    assert set(shipped["profiles"]) == set(load().by_name)
    assert all(len(entry["why"]) > 20 for entry in shipped["profiles"].values())


@pytest.mark.parametrize(
    ("modality", "kind", "name"),
    [
        ("CT", "volume", "CT"),
        ("MR", "volume", "MR"),
        ("PT", "volume", "PT"),
        ("MG", "volume", "other"),
        ("US", "volume", "other"),
        ("CT", "planar", "planar"),
        ("MG", "planar", "planar"),
    ],
)
def test_choice(modality, kind, name):
    assert load().choose(modality, kind, "HU" if modality == "CT" else "stored").name == name


def test_ct_is_clipped_whole_numbers_on_1_mm():
    ct = load().choose("CT", "volume", "HU")
    assert (ct.orientation, ct.spacing_mm, ct.clip, ct.dtype) == ("RAS", (1, 1, 1), (-1024, 3071), "int16")


def test_planar_keeps_its_grid():
    planar = load().choose("DX", "planar", "stored")
    assert (planar.orientation, planar.spacing_mm, planar.clip, planar.dtype) == (None, None, None, "float32")


def test_defaults_do_nothing():
    plain = Profile(name="plain", version="1", modalities=(), max_voxels=1)
    assert (plain.orientation, plain.spacing_mm, plain.anti_alias, plain.clip, plain.dtype) == (
        None,
        None,
        False,
        None,
        "keep",
    )


def test_an_override_changes_one_setting_and_shows_in_the_version():
    shipped, changed = load(), load({"CT": {"spacing_mm": [1, 1, 2.5]}})
    ct = changed.choose("CT", "volume", "HU")
    assert ct.spacing_mm == (1, 1, 2.5)
    assert ct.label != shipped.choose("CT", "volume", "HU").label
    assert "spacing_mm" in ct.label
    assert ct.model_copy(update={"spacing_mm": (1.0, 1.0, 1.0), "version": "1"}) == shipped.choose("CT", "volume", "HU")
    assert changed.choose("MR", "volume", "stored") == shipped.choose("MR", "volume", "stored")


def test_an_override_can_turn_resampling_off():
    assert load({"MR": {"spacing_mm": None}}).choose("MR", "volume", "stored").spacing_mm is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"CTT": {}}, "'CT'"),
        ({"CT": {"spacing": [1, 1, 1]}}, "'spacing_mm'"),
        ({"CT": {"name": "x"}}, "unknown key 'name'"),
        ({"CT": {"spacing_mm": [1, 1]}}, "harmonise.CT.spacing_mm"),
        ({"CT": {"spacing_mm": [1, 1, 0]}}, "harmonise.CT.spacing_mm.2"),
        ({"CT": {"clip": [5, 5]}}, "low < high"),
        ({"CT": {"clip": None}}, "int16"),
        ({"CT": {"clip": [-1024, 40000]}}, "int16"),
        ({"CT": [1]}, "harmonise.CT"),
        ([1], "harmonise"),
    ],
)
def test_mistakes_are_usage_errors_that_name_the_key(overrides, words):
    with pytest.raises(UsageError, match=words):
        load(overrides)


def test_a_ct_that_is_not_in_hu_is_not_clipped_as_if_it_were() -> None:
    assert load().choose("CT", "volume", "stored").name == "other"
    assert {p.name for p in load().possible("CT")} == {"CT", "planar", "other"}
