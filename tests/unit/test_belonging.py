"""Which volume an annotation belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from oncurate.belonging import volume_of
from oncurate.errors import Rejection
from oncurate.plan import plan_series
from oncurate.reasons import Reason
from oncurate.records import Companion, SourceSeries
from tests.unit import made


def series(uid: str, *, frame: str = "1.2.840.1", modality: str = "CT") -> SourceSeries:
    stack = made.stack([0.0, 2.5, 5.0], SeriesInstanceUID=uid, FrameOfReferenceUID=frame, Modality=modality)
    stack = [i.model_copy(update={"SOPInstanceUID": f"{uid}.{n}"}) for n, i in enumerate(stack)]
    planned, refused = plan_series(stack, lambda _: None)
    assert planned is not None
    assert not refused
    return planned


def companion(**given: Any) -> Companion:
    blank = {
        **dict.fromkeys(("object", "source_path", "url", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"), "x"),
        **dict.fromkeys(("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "IssuerOfPatientID"), ""),
        **dict.fromkeys(("Modality", "StudyDate", "referenced_frame_of_reference"), ""),
        **dict.fromkeys(("referenced_series", "referenced_instances", "identifiers"), ()),
    }
    return Companion(**{**blank, "bytes": 1, "kind": "seg", **given})


FIRST, SECOND = "1.2.3", "1.2.4"


def test_the_instances_decide_before_the_series() -> None:
    both = [series(FIRST), series(SECOND)]
    found = companion(referenced_instances=(f"{SECOND}.0", f"{SECOND}.1", f"{FIRST}.0"), referenced_series=(FIRST,))
    assert volume_of(found, both, {}, {}) == (1, 0)


def test_the_series_decides_where_no_instance_is_named() -> None:
    both = [series(FIRST), series(SECOND)]
    assert volume_of(companion(referenced_series=(SECOND,)), both, {}, {}) == (1, 0)


@pytest.mark.parametrize("where", ["FrameOfReferenceUID", "referenced_frame_of_reference"])
def test_the_frame_of_reference_decides_last_and_prefers_the_one_ct(where: str) -> None:
    both = [series(FIRST, frame="1.9", modality="MR"), series(SECOND, frame="1.9")]
    assert volume_of(companion(kind="rtdose", **{where: "1.9"}), both, {}, {}) == (1, 0)


def test_a_report_belongs_to_the_image_of_what_it_measures_and_a_dose_to_that_of_its_plan() -> None:
    both = [series(FIRST, frame="1.9", modality="MR"), series(SECOND, frame="1.9")]
    drawn = companion(SOPInstanceUID="1.5", referenced_instances=(f"{SECOND}.1",))
    report = companion(kind="sr", SOPInstanceUID="1.6", referenced_instances=("1.5", "1.6"))
    assert volume_of(report, both, {}, {"1.5": drawn, "1.6": report}) == (1, 0)
    dose = companion(kind="rtdose", referenced_instances=("1.7",), FrameOfReferenceUID="1.9")
    assert volume_of(dose, both, {}, {}) == (1, 0)


@pytest.mark.parametrize(
    ("given", "reason", "detail"),
    [
        ({"referenced_instances": ("1.2.9.1",)}, Reason.UNRESOLVED_REFERENCE, ""),
        ({"referenced_instances": ("1.2.9.1",), "FrameOfReferenceUID": "1.9"}, Reason.UNRESOLVED_REFERENCE, ""),
        ({"referenced_instances": ("1.2.8.1",)}, Reason.IMAGE_REFUSED, "missing_slices"),
        ({"FrameOfReferenceUID": "1.9"}, Reason.AMBIGUOUS_REFERENCE, "2 images"),
        ({}, Reason.UNRESOLVED_REFERENCE, ""),
    ],
    ids=["no instance", "no instance, same frame", "refused", "two images", "nothing named"],
)
def test_nothing_is_guessed(given: dict[str, Any], reason: Reason, detail: str) -> None:
    both = [series(FIRST, frame="1.9"), series(SECOND, frame="1.9")]
    with pytest.raises(Rejection) as caught:
        volume_of(companion(**given), both, {"1.2.8.1": Reason.MISSING_SLICES}, {})
    assert (caught.value.reason, caught.value.detail) == (reason, detail)
