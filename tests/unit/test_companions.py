"""Objects that belong to images: whose they are, what they point to, and copies of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from oncurate import copies
from oncurate.companions import content_digest, read_companion
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from oncurate.records import Companion
from tests import annotated, phantoms


def read(data: bytes, path: str = "a.dcm") -> Companion:
    given = {"object": path, "source_path": path, "url": path, "size": len(data), "harvest": lambda _: ("Doe",)}
    return read_companion(io.BytesIO(data), **given)


def segmentation(**attributes: object) -> bytes:
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:7] = True
    ds = annotated.segmentation([(1, 2, mask)], annotated.grid(), sources=["1.2.3"])
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return annotated.as_bytes(ds)


def test_a_segmentation_names_its_images() -> None:
    found = read(segmentation())
    assert (found.kind, found.referenced_instances, found.identifiers) == ("seg", ("1.2.3",), ("Doe",))


def test_anything_else_is_other_and_without_identity_nothing() -> None:
    presentation = phantoms.dataset(sop_class="1.2.840.10008.5.1.4.1.1.11.1", modality="PR")
    assert read(annotated.as_bytes(presentation)).kind == "other"
    del presentation.SeriesInstanceUID
    with pytest.raises(Rejection) as caught:
        read(annotated.as_bytes(presentation))
    assert caught.value.reason is Reason.NOT_AN_IMAGE
    with pytest.raises(Rejection) as caught:
        read(segmentation(StudyInstanceUID=""))
    assert caught.value.reason is Reason.MISSING_IDENTITY


def test_content_is_the_same_in_every_encoding() -> None:
    plain = annotated.as_bytes(annotated.segmentation([(1, 2, np.eye(8, 10))], annotated.grid(), kind="FRACTIONAL"))
    packed = dcmread(io.BytesIO(plain))
    packed.compress(RLELossless, generate_instance_uid=False)
    assert content_digest(plain) is not None
    assert content_digest(plain) == content_digest(annotated.as_bytes(packed))
    assert content_digest(plain) != content_digest(segmentation())
    assert content_digest(plain[: len(plain) - 60]) is None


def test_of_copies_that_say_the_same_one_is_used() -> None:
    found = [read(segmentation(), path) for path in ("b.dcm", "a.dcm", "c.dcm")]
    kept, outcomes = copies.of_companions(found, lambda _: "same")
    assert [item.source_path for item in kept] == ["a.dcm"]
    assert {(o.key, o.reason) for o in outcomes} == {("b.dcm", Reason.SAME_PIXELS), ("c.dcm", Reason.SAME_PIXELS)}
    for digest in (lambda item: item.object, lambda _: None):
        kept, outcomes = copies.of_companions(found, digest)
        assert (kept, {o.reason for o in outcomes}) == ([], {Reason.CONFLICTING_COPIES})
