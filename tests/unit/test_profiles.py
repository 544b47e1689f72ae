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
        ("US", "cine", "planar"),
        ("MR", "cine", "planar"),
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
    given = plain.model_dump(exclude={"name", "version", "modalities", "max_voxels"})
    assert given == {
        "value_unit": None,
        "orientation": None,
        "spacing_mm": None,
        "interpolation": "linear",
        "anti_alias": False,
        "clip": None,
        "suv": False,
        "dtype": "keep",
        "crop": None,
        "margin_mm": 0,
        "pad_to": None,
        "normalise": (),
    }


def test_an_override_changes_one_setting_and_shows_in_the_version():
    shipped, changed = load(), load({"CT": {"spacing_mm": [1, 1, 2.5]}})
    ct = changed.choose("CT", "volume", "HU")
    assert ct.spacing_mm == (1, 1, 2.5)
    assert ct.label != shipped.choose("CT", "volume", "HU").label
    assert "spacing_mm" in ct.label
    version = shipped.by_name["CT"].version
    assert ct.model_copy(update={"spacing_mm": (1.0, 1.0, 1.0), "version": version}) == shipped.by_name["CT"]
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
        ({"CT": {"crop": "head"}}, "harmonise.CT.crop"),
        ({"CT": {"margin_mm": 5}}, "margin_mm needs crop"),
        ({"CT": {"crop": "body", "margin_mm": -1}}, "harmonise.CT.margin_mm"),
        ({"CT": {"pad_to": [32, 32]}}, "harmonise.CT.pad_to"),
        ({"CT": {"pad_to": [32, 32, 0]}}, "harmonise.CT.pad_to.2"),
        ({"CT": {"pad_too": [32, 32, 1]}}, "'pad_to'"),
        ({"CT": {"normalise": ["n4"]}}, "MR alone"),
        ({"MR": {"normalise": ["n5"]}}, "harmonise.MR.normalise.0"),
        ({"MR": {"normalise": ["n4", "n4"]}}, "twice"),
        ({"PT": {"dtype": "keep"}}, "suv gives fractions"),
        ({"PT": {"suv": "perhaps"}}, "harmonise.PT.suv"),
        ([1], "harmonise"),
    ],
)
def test_mistakes_are_usage_errors_that_name_the_key(overrides, words):
    with pytest.raises(UsageError, match=words):
        load(overrides)


def test_a_ct_that_is_not_in_hu_is_not_clipped_as_if_it_were() -> None:
    assert load().choose("CT", "volume", "stored").name == "other"
    assert {p.name for p in load().possible("CT")} == {"CT", "planar", "other"}


def test_only_pet_is_brought_to_suv_and_nothing_is_cropped_padded_or_normalised_by_default() -> None:
    for name, profile in load().by_name.items():
        assert profile.suv == (name == "PT")
        assert (profile.crop, profile.pad_to, profile.normalise) == (None, None, ())


def test_what_is_off_by_default_can_be_asked_for() -> None:
    asked = load({"MR": {"crop": "body", "margin_mm": 10, "pad_to": [32, 32, 32], "normalise": ["n4", "zscore"]}})
    mr = asked.by_name["MR"]
    assert (mr.crop, mr.margin_mm, mr.pad_to, mr.normalise) == ("body", 10, (32, 32, 32), ("n4", "zscore"))
    assert mr.label.endswith("+crop+margin_mm+normalise+pad_to")
    assert load({"PT": {"suv": False}}).by_name["PT"].suv is False


def test_the_shipped_file_names_every_setting() -> None:
    text = resources.files("oncurate").joinpath("data/profiles.yaml").read_text()
    for setting in Profile.model_fields.keys() - {"name", "version", "interpolation"}:
        assert f"{setting}:" in text, setting
