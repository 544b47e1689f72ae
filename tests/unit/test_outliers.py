"""Outliers: robust z within strata, silence where there is nothing to compare with."""

import pytest

from oncurate.outliers import ROBUST_Z, flag, robust_z


def row(snr: float | None, manufacturer: str | None = "PHANTOM WORKS", **more) -> dict:
    return {
        "volume_id": "v",
        "Modality": "MR",
        "Manufacturer": manufacturer,
        "ScanningSequence": "SE\\IR",
        "snr": snr,
    } | more


def test_one_that_stands_out_is_named():
    rows = flag([row(snr) for snr in (10, 11, 12, 10, 11, 12, 11, 10, 40)])
    assert [r["outlier_metrics"] for r in rows] == [[]] * 8 + [["snr"]]
    assert rows[-1]["robust_z_max"] == pytest.approx(0.6745 * 29 / 1)
    assert rows[0]["stratum"] == "PHANTOM WORKS|MR|SE\\IR"


def test_inputs_that_are_no_columns_are_taken_out_and_the_rest_stays():
    flagged = flag([row(1.0)])[0]
    assert set(flagged) == {"volume_id", "Modality", "snr", "stratum", "outlier_metrics", "robust_z_max"}


def test_strata_are_not_compared_with_each_other():
    rows = [row(snr) for snr in (10, 11, 12, 10, 11, 12, 11, 10)] + [row(100, "OTHER WORKS")]
    flagged = flag(rows)
    assert flagged[-1]["outlier_metrics"] == []
    assert flagged[-1]["robust_z_max"] is None


def test_small_strata_say_nothing():
    assert all(r["robust_z_max"] is None for r in flag([row(snr) for snr in (1, 2, 3, 4, 5, 6, 1000)]))


def test_missing_metrics_and_an_empty_background_do_not_count():
    assert robust_z([None, 1, 2, 3, 4, 5, 6, 7, 8])[0] is None
    rows = flag([row(1.0 + n / 10, fber=-1.0 if n == 8 else 10.0 + n) for n in range(9)])
    assert rows[8]["outlier_metrics"] == []


def test_equal_values_have_no_outliers():
    assert robust_z([0.0] * 9 + [5.0]) == [None] * 10


def test_below_is_an_outlier_too_and_the_threshold_is_exclusive():
    values = [float(v) for v in (-2, -1, -1, 0, 0, 1, 1, 2)]
    edge = ROBUST_Z / 0.6745
    z = robust_z([*values, -edge])
    assert abs(z[-1]) <= ROBUST_Z + 1e-9
    assert flag([row(v) for v in [*values, -50.0]])[-1]["outlier_metrics"] == ["snr"]


def test_unknown_attributes_form_a_stratum_and_order_is_kept():
    rows = flag([row(float(n), None if n % 2 else "PHANTOM WORKS") for n in range(6)])
    assert [r["snr"] for r in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[1]["stratum"] == "unknown|MR|SE\\IR"


def test_nothing_gives_nothing():
    assert flag([]) == []
