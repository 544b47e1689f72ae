"""The card says what the tables hold, hides small groups, and what it prints works."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from oncurate import release, summary, tables
from tests.staging import ABOUT, stage, zones


@pytest.fixture
def published(tmp_path):
    target, work = zones(tmp_path)

    def publish(**changes) -> str:
        release.publish(target, work, stage(work, **changes))
        return target.read("releases/v1/README.md").decode()

    publish.target = target
    return publish


def test_numbers_come_from_the_tables(published):
    text = published(volumes=12, subjects=6)
    for line in (
        "| subjects | 6 |",
        "| volumes | 12 |",
        "| CT | 6 | 12 | 12 |",
        "| CHEST | 6 | 11 | 11 |",
        "| CT | 12 | 0.8 mm | 2.5 mm | 1 mm |",
        "| `missing_slices` | quarantined | 1 | There is a gap",
        "| volumes | passed | 12 |",
        "Ages at the studies: 40 to 45 years.",
        "As agreed with the provider.",
    ):
        assert line in text


def test_small_groups_of_people_are_not_counted(published):
    text = published(volumes=3, subjects=2)
    assert "| CT | < 5 | 3 | 3 |" in text
    assert "| female | < 5 |\n| male | < 5 |" in text
    assert "The range of ages is not shown" in text


@pytest.mark.parametrize(
    ("groups", "shown"),
    [
        ({"F": 9, "M": 7}, {"F": "9", "M": "7"}),
        ({"F": 9, "M": 7, "O": 1}, {"F": "9", "M": "not shown", "O": "< 5"}),
        ({"F": 9, "M": 2, "O": 1}, {"F": "9", "M": "< 5", "O": "< 5"}),
        ({"F": 3}, {"F": "< 5"}),
        ({}, {}),
    ],
)
def test_no_hidden_count_can_be_computed_from_the_others(groups, shown):
    assert summary.disclosed(groups) == shown


def test_text_from_outside_opens_no_cell_and_no_element(published):
    hostile = ABOUT.model_copy(update={"title": "a|b <script>", "provider": "x\n# y", "access_rights": "`z` <b>"})
    text = published(about=hostile)
    assert text.startswith("# a\\|b &lt;script>\n")
    assert "<script" not in text
    assert "<b>" not in text
    assert "\n# y" not in text


def test_what_the_card_prints_runs_in_the_data_sets_folder(published):
    blocks = re.findall(r"```python\n(.*?)```", published(), re.DOTALL)
    assert len(blocks) == 2
    root = published.target.local_path("current.json").parent
    said = [subprocess.run([sys.executable, "-c", b], cwd=root, capture_output=True, text=True) for b in blocks]
    assert [done.returncode for done in said] == [0, 0], said
    assert said[0].stdout.startswith("CT (2, 3, 4) (0.8")
    assert "native_path - " in said[1].stdout


def test_a_release_without_volumes_still_has_a_card(published):
    assert "0 volumes (no) of 0 subjects" in published(volumes=0)


def test_units_unknown_to_a_modality_give_no_spacing(tmp_path):
    _, work = zones(tmp_path)
    ready = stage(work)
    rows = [{**row, "spacing_source": "none", "Modality": "US"} for row in tables.from_parquet(ready.tables["volumes"])]
    facts = summary.summarise({**ready.tables, "volumes": tables.to_parquet("volumes", rows)})
    (extent,) = facts.extents
    assert (extent.modality, extent.native_in_plane, extent.harmonised) == ("US", None, None)


@pytest.mark.parametrize(
    ("options", "detector", "said"),
    [
        ({"burned_in_text": "quarantine"}, None, "Pixels themselves were not searched for text"),
        ({"burned_in_text": "quarantine"}, "made 1.0", "images with text were refused"),
        ({"burned_in_text": "mask"}, "made 1.0", "text was blanked"),
        ({"burned_in_text": "trust"}, None, "declared its images free of text"),
        ({"faces": "deface"}, None, "Faces were removed"),
        ({"faces": "flag"}, None, "recognisable_face_possible"),
        ({"dates": "none"}, None, "Dates were removed"),
        ({"dates": "full"}, None, "Dates are those of the provider"),
        ({"retain_uids": True}, None, "UIDs are those of the provider"),
        ({"retain_device_identity": True}, None, "They keep serial numbers"),
    ],
)
def test_the_card_says_what_the_policy_did(tmp_path, options, detector, said):
    target, work = zones(tmp_path)
    parameters = {"deidentify": options, "pixels": {"text": detector}, "outputs": ["nifti", "dicom"]}
    staged = replace(stage(work), parameters=parameters)
    release.publish(target, work, staged)
    text = " ".join(target.read("releases/v1/README.md").decode().split())
    assert said in text
