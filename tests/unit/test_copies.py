"""Copies: which one is used, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest

from oncurate import copies
from oncurate.reasons import Reason
from oncurate.records import Instance
from tests.unit import made


def copy(path: str, content: str, **options: Any) -> Instance:
    return made.instance(1, source_path=path, object=content * 64, **options)


def resolved(instances: list[Instance], pixels: dict[str, str | None]) -> tuple[list[str], dict[str, Reason | None]]:
    kept, outcomes = copies.resolve(instances, lambda i: pixels[i.source_path])
    return [i.source_path for i in kept], {o.key: o.reason for o in outcomes}


def test_equal_bytes_keep_the_first_path_and_decode_nothing() -> None:
    instances = [copy("c", "a"), copy("a", "a"), copy("b", "a")]
    assert resolved(instances, {}) == (["a"], {"b": Reason.SAME_BYTES, "c": Reason.SAME_BYTES})


def test_different_instances_decode_nothing() -> None:
    instances = [made.instance(1), made.instance(2)]
    assert len(resolved(instances, {})[0]) == 2


def test_equal_pixels_keep_the_native_copy() -> None:
    instances = [copy("a", "a", offset=None), copy("b", "b")]
    assert resolved(instances, {"a": "x", "b": "x"}) == (["b"], {"a": Reason.SAME_PIXELS})


def test_a_lossy_copy_gives_way_to_the_lossless_one() -> None:
    instances = [copy("a", "a", lossy=True), copy("b", "b"), copy("c", "c", offset=None)]
    assert resolved(instances, {"a": "y", "b": "x", "c": "x"}) == (
        ["b"],
        {"a": Reason.LOSSY_COPY, "c": Reason.SAME_PIXELS},
    )


@pytest.mark.parametrize("lossy", [False, True])
def test_copies_that_show_different_images_are_all_refused(lossy: bool) -> None:
    instances = [copy("a", "a", lossy=lossy), copy("b", "b", lossy=lossy)]
    conflict = Reason.CONFLICTING_COPIES
    assert resolved(instances, {"a": "x", "b": "y"}) == ([], {"a": conflict, "b": conflict})


def test_a_copy_that_cannot_be_decoded_is_refused_alone() -> None:
    syntax = "1.2.840.10008.1.2.4.51"
    broken = copy("a", "a", offset=None, format=made.pixel_format(TransferSyntaxUID=syntax))
    kept, outcomes = copies.resolve([broken, copy("b", "b")], lambda i: None if i is broken else "x")
    assert [i.source_path for i in kept] == ["b"]
    assert (outcomes[0].reason, outcomes[0].detail) == (Reason.UNDECODABLE, "JPEG Extended (Process 2 and 4)")


@pytest.mark.parametrize("lossy", [False, True])
def test_a_provider_may_have_every_copy_refused(lossy: bool) -> None:
    instances = [copy("a", "a", lossy=lossy), copy("b", "b"), copy("c", "b"), made.instance(2, source_path="d")]
    kept, outcomes = copies.resolve(instances, lambda _: "x", "quarantine")
    assert [i.source_path for i in kept] == ["d"]
    assert {o.key: (o.reason, o.detail) for o in outcomes} == {
        "a": (Reason.CONFLICTING_COPIES, "policy duplicates: quarantine"),
        "b": (Reason.CONFLICTING_COPIES, "policy duplicates: quarantine"),
        "c": (Reason.SAME_BYTES, ""),
    }
