"""Each gate passes a good table, and is broken on purpose in every way that it must notice."""

from __future__ import annotations

import io
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import gate, suites
from oncurate.errors import Defect, UsageError
from oncurate.tables import TABLES
from oncurate.verdict import GateReport, markdown
from tests.gates.breaking import alone, broken_for
from tests.gates.tables_for import good, with_values

ALL = suites.names()
EACH = [pytest.param(n, e, id=f"{n}-{e.meta.id}") for n in ALL for e in suites.load(n).expectations]

# A column, a value that quarantines a row, and the expectation that says so.
ROW = {
    "objects": ("url", None, "url_present"),
    "series": ("Modality", "XX", "modality_known"),
    "cohort": ("Modality", "XX", "modality_known"),
    "volumes": ("native_sha256", "0", "native_digest_form"),
    "harmonised": ("harmonised_sha256", "0", "harmonised_digest_form"),
    "quality": ("constant", True, "content_exists"),
    "annotations": ("kind", "XX", "kind_known"),
    "clinical": ("grade", "G9", "grade_known"),
}
# A column, a value that is only reported, and the expectation that reports it.
WARNING = {
    "objects": ("version", "", "version_present"),
    "series": ("has_patient_id", False, "patient_id_given"),
    "cohort": ("attributes_kept", 0, "attributes_kept"),
    "volumes": ("native_max", 1e6, "ct_greatest_value"),
    "harmonised": ("native_min", -1000.0, "no_value_below"),
    "quality": ("stratum", None, "stratum_present"),
    "annotations": ("labels_skipped", 1, "none_skipped"),
    "clinical": ("sex", None, "sex_present"),
    "release": ("refused_share", 0.2, "yield_high"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_good_table_passes_without_a_warning(name):
    report = gate.check(name, good(name))
    assert report.passed
    assert (report.refusals, report.warnings, report.quarantined) == ((), (), ())
    assert [e.id for e in report.expectations] == [e.meta.id for e in suites.load(name).expectations]
    assert all(e.evaluated and e.success for e in report.expectations)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_table_is_refused(name):
    report = gate.check(name, good(name).slice(0, 0))
    assert not report.passed
    assert "rows_exist" in report.refusals
    assert report.rows == 0


@pytest.mark.parametrize("name", ALL)
def test_a_missing_column_is_refused_with_all_that_is_about_it(name):
    suite = suites.load(name)
    warned = WARNING[name][0]
    report = gate.check(name, good(name).drop_columns([warned]))
    about = {e.meta.id for e in suite.expectations if warned in {b for c in e.needs for b, _ in suites.terms(c)}}
    assert not report.passed
    assert set(report.refusals) == {"columns_exist", *about}
    assert {e.id for e in report.expectations if not e.evaluated} == about


@pytest.mark.parametrize("name", ALL)
def test_a_missing_key_is_refused(name):
    report = gate.check(name, good(name).drop_columns(list(TABLES[suites.load(name).meta.table].key)))
    assert "columns_exist" in report.refusals
    assert report.quarantined == ()


@pytest.mark.parametrize("name", ALL)
def test_a_misspelt_type_is_a_defect(name):
    suite = suites.load(name)
    last = suite.expectations[-1]
    misspelt = last.model_copy(update={"type": last.type.replace("expect_column", "expect_colum")})
    with pytest.raises(Defect, match=last.meta.id):
        gate.check(suite.model_copy(update={"expectations": (*suite.expectations[:-1], misspelt)}), good(name))


@pytest.mark.parametrize("name", ALL)
def test_a_misspelt_argument_is_a_defect(name):
    suite = suites.load(name)
    last = suite.expectations[-1]
    misspelt = last.model_copy(update={"kwargs": last.kwargs | {"max_valeu": 3}})
    with pytest.raises(Defect, match="arguments"):
        gate.check(suite.model_copy(update={"expectations": (*suite.expectations[:-1], misspelt)}), good(name))


def test_a_result_that_is_missing_is_a_defect(monkeypatch):
    declare = gate._declare

    def forgetful(*arguments):
        declared = declare(*arguments)
        declared.expectations = declared.expectations[:-1]
        return declared

    monkeypatch.setattr(gate, "_declare", forgetful)
    with pytest.raises(Defect, match="16 expectations, 15 results"):
        gate.check("series", good("series"))


@pytest.mark.parametrize("name", ROW)
def test_one_bad_row_is_quarantined_and_the_rest_goes_on(name):
    column, value, expectation = ROW[name]
    table = good(name)
    report = gate.check(name, with_values(table, column, value))
    key = tuple(str(table.column(k)[0].as_py()) for k in TABLES[report.table].key)
    assert report.passed
    assert report.quarantined == ((key, expectation),)
    assert report.quarantined_rows == 1
    result = next(e for e in report.expectations if e.id == expectation)
    assert (result.success, result.unexpected_count) == (True, 1)


@pytest.mark.parametrize("name", ROW)
def test_half_of_the_rows_may_be_bad_and_no_more(name):
    column, value, expectation = ROW[name]
    half = gate.check(name, with_values(good(name), column, value, rows=5))
    assert half.passed
    assert half.quarantined_rows == 5
    more = gate.check(name, with_values(good(name), column, value, rows=6))
    assert more.refusals == (expectation,)
    assert not more.passed


@pytest.mark.parametrize("name", ALL)
def test_a_warning_only_reports(name):
    column, value, expectation = WARNING[name]
    report = gate.check(name, with_values(good(name), column, value, rows=good(name).num_rows))
    assert report.warnings == (expectation,)
    assert report.passed
    assert report.quarantined == ()


@pytest.mark.parametrize(("name", "expectation"), EACH)
def test_every_expectation_can_fail(name, expectation):
    suite = alone(suites.load(name), expectation)
    report = gate.check(suite, broken_for(expectation, good(name)))
    result = next(e for e in report.expectations if e.id == expectation.meta.id)
    assert result.evaluated
    assert result.success == (expectation.kwargs.get("mostly") == 0)
    assert result.unexpected_count is None or result.unexpected_count > 0
    if expectation.severity == "warning":
        assert report.passed
    elif expectation.meta.level == "table":
        assert report.refusals == (expectation.meta.id,)
    else:
        assert report.quarantined_rows == result.unexpected_count
        assert {e for _, e in report.quarantined} == {expectation.meta.id}


def test_a_row_that_fails_twice_is_named_once_with_the_first_expectation():
    table = with_values(with_values(good("quality"), "constant", True, rows=2), "nan_share", 0.5)
    report = gate.check("quality", table)
    assert [e for _, e in report.quarantined] == ["voxels_finite", "content_exists"]


def test_a_list_that_is_null_or_too_short_has_no_element():
    table = good("volumes", 4)
    lists = [[1, 2, 3], None, [1, 2], [4, 5, 6]]
    place = table.column_names.index("native_shape")
    sliced = table.set_column(place, table.field(place), pa.array(lists, table.field(place).type)).slice(1)
    assert gate._element(sliced.column("native_shape"), 2).to_pylist() == [None, None, 6]
    assert gate._element(pa.chunked_array([], pa.list_(pa.int64())), 0).to_pylist() == []


@pytest.mark.parametrize("name", ALL)
def test_pandas_and_arrow_give_the_same_report(name):
    table = good(name)
    if name in ROW:
        table = with_values(table, *ROW[name][:2], rows=2)
    from_arrow, from_pandas = gate.check(name, table), gate.check(name, table.to_pandas())
    assert from_arrow == from_pandas


def test_a_column_of_mixed_types_is_a_defect_without_its_values():
    frame = good("objects").to_pandas().astype({"bytes": object})
    frame.loc[0, "bytes"] = "MARKER^ONE"
    with pytest.raises(Defect) as caught:
        gate.check("objects", frame)
    assert "MARKER" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.fixture
def heard():
    """What reaches the root logger; caplog also listens at loggers that pass nothing on."""
    said = io.StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.setLevel(before)
    root.removeHandler(handler)


@pytest.fixture(scope="module")
def loaded():
    """Great Expectations once imported: Python's own warnings about its imports come once a process."""
    return gate.check("objects", good("objects"))


@pytest.mark.usefixtures("loaded")
def test_great_expectations_says_nothing(heard, capfd):
    logging.getLogger("tests").info("listening")
    gate.check("objects", good("objects"))
    assert heard.getvalue() == "listening\n"
    assert not any(capfd.readouterr())


def test_a_column_of_another_type_refuses_and_no_value_leaves(heard, capfd):
    table = good("objects")
    place = table.column_names.index("bytes")
    wrong = table.set_column(place, "bytes", pa.array(["MARKER^ONE"] * table.num_rows))
    report = gate.check("objects", with_values(wrong, "source_path", "MARKER^ONE", rows=2))
    assert {"size_not_negative", "path_unique"} <= set(report.refusals)
    said = [report.model_dump_json(), markdown(report), repr(report), heard.getvalue(), *capfd.readouterr()]
    assert not any("MARKER" in text for text in said)


@pytest.mark.parametrize("name", ROW)
def test_a_report_holds_no_key_once_it_is_written(name):
    report = gate.check(name, with_values(good(name), *ROW[name][:2]))
    [((key, *_), _)] = report.quarantined
    assert key not in report.model_dump_json() + repr(report) + markdown(report)
    again = GateReport.model_validate_json(report.model_dump_json())
    assert again.quarantined_rows == 1
    assert again.model_dump_json() == report.model_dump_json()


def test_the_same_table_gives_the_same_bytes():
    table = with_values(good("volumes"), *ROW["volumes"][:2])
    first, second = gate.check("volumes", table), gate.check("volumes", table)
    assert first.model_dump_json() == second.model_dump_json()
    assert json.loads(first.model_dump_json())["suite"] == "volumes"


def test_a_file_is_checked_like_its_table(tmp_path):
    path = tmp_path / "volumes.parquet"
    pq.write_table(with_values(good("volumes"), *ROW["volumes"][:2]), path)
    assert gate.check_file("volumes", path) == gate.check("volumes", pq.read_table(path))


def test_what_is_not_a_table_is_a_usage_error(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    for path in (tmp_path / "text.parquet", tmp_path, tmp_path / "nowhere.parquet"):
        with pytest.raises(UsageError):
            gate.check_file("volumes", path)
    with pytest.raises(UsageError, match="no gate"):
        gate.check_file("volume", tmp_path / "text.parquet")
