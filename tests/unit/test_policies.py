"""Policies: what a provider may choose, and that a choice reaches every key that depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncurate import policies
from oncurate.errors import UsageError
from oncurate.geometry import lay_out
from oncurate.policies import GeometryPolicy
from oncurate.provider import Provider, parse
from tasks.deidentify import volume_recipe
from tasks.index import write_plan_batches
from tasks.publish import release_recipe
from tests.phantoms import AXIAL

LEAST = {"dataset": "made", "title": "Made", "provider": {"name": "Nobody", "country": "NL"}, "source": "archive"}
CHOICES = {
    "gantry_tilt": "shear",
    "variable_spacing": "resample",
    "missing_slices": "split",
    "duplicates": "quarantine",
}


def provider(base: Path, **geometry: Any) -> Provider:
    return parse({**LEAST, "geometry": geometry}, base=base)


def test_the_default_invents_no_voxel() -> None:
    assert GeometryPolicy().model_dump() == {
        "gantry_tilt": "quarantine",
        "variable_spacing": "quarantine",
        "missing_slices": "quarantine",
        "duplicates": "keep_one",
    }


def test_every_choice_is_described() -> None:
    assert all(field.description for field in GeometryPolicy.model_fields.values())
    assert set(GeometryPolicy.model_fields) == set(CHOICES)


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_a_bad_choice_names_the_key_and_the_choices(key: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        provider(tmp_path, **{key: "interpolate"})
    default = getattr(GeometryPolicy(), key)
    assert all(word in str(caught.value) for word in (f"'geometry.{key}'", f"'{default}'", f"'{CHOICES[key]}'"))


def test_a_misspelt_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'geometry.gantry_tlt'; did you mean 'gantry_tilt'"):
        provider(tmp_path, gantry_tlt="shear")


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_another_choice_is_another_plan_and_another_recipe(key: str, tmp_path: Path) -> None:
    rows = [{"patient": "p", "source_path": "a.dcm", "object": "0" * 64, "bytes": 1}]
    plain, chosen = provider(tmp_path), provider(tmp_path, **{key: CHOICES[key]})
    for made in (
        lambda p: write_plan_batches(p, rows, {"a.dcm": "part"}, 1),
        lambda p: volume_recipe(p, "CT"),
        release_recipe,
    ):
        assert made(plain) == made(provider(tmp_path))
        assert made(plain) != made(chosen)


EVEN, UNEVEN, GAP = [0, 2, 4, 6], [0, 2, 5, 9.5], [0, 2, 4, 8]


@pytest.mark.parametrize(
    ("along", "tilt", "shears", "resamples", "expected"),
    [
        (EVEN, 0, True, True, None),
        (EVEN, 0.3, True, False, "shear"),
        (EVEN, 0.3, True, True, "shear"),
        (EVEN, 0.3, False, True, None),
        (UNEVEN, 0, False, True, "resample"),
        (UNEVEN, 0, True, False, None),
        (UNEVEN, 0.3, True, True, "resample"),
        (UNEVEN, 0.3, False, True, None),
        (UNEVEN, 0.3, True, False, None),
        (GAP, 0, True, True, None),
        (GAP, 0.3, True, True, None),
    ],
)
def test_each_fault_needs_its_own_permission(
    along: list[float], tilt: float, shears: bool, resamples: bool, expected: str | None
) -> None:
    layout = lay_out(
        np.array([[0, z * tilt, z] for z in along], float),
        np.tile(AXIAL, (4, 1)),
        np.full((4, 2), 0.8),
        np.tile((16, 12), (4, 1)),
    )
    policy = GeometryPolicy(
        gantry_tilt="shear" if shears else "quarantine", variable_spacing="resample" if resamples else "quarantine"
    )
    assert policies.correction(layout, policy) == expected
