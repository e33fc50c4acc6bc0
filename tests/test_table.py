"""CSV, TSV and Parquet files are read back with the values that were written."""

import gzip
import io
import math
import string

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Config
from pipeline.dataset import csv_file, loading
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError
from pipeline.preprocessing.column_values import LARGEST

TEXTS = st.text(string.ascii_letters + string.digits + " ,;'\"\n#é|", max_size=8).map(
    lambda text: f"t{text}"
)
FLOATS = st.floats(-LARGEST, LARGEST, width=32).filter(lambda x: x == 0 or abs(x) >= 1e-29)


@pytest.fixture
def load(tmp_path, make_config):
    """Write text, bytes or a data frame as a file and load it with some overrides."""
    configs: dict[tuple[str, ...], Config] = {}

    def load(content, *overrides: str, file: str = "t.csv") -> Dataset:
        path = tmp_path / file
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path) if file.endswith("parquet") else content.to_csv(
                path, index=False, sep="\t" if "tsv" in file else ","
            )
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        key = (file, *overrides)
        if key not in configs:
            configs[key] = make_config("dataset=table", f"dataset.path='{path}'", *overrides)
        return loading.load(configs[key].dataset)

    return load


def texts(dataset: Dataset, column: int) -> list[str | None]:
    categories = dataset.categories[column]
    return [None if np.isnan(v) else categories[int(v)] for v in dataset.X[:, column]]


def numbers(dataset: Dataset, column: int) -> np.ndarray:
    """Return the numbers of a feature as they are in the file."""
    return dataset.X[:, column] + dataset.schema.offsets[column]


RATED = ("dataset.labels=[l]", "dataset.weight_column=w")
SIMPLE = "a,b,tag_x,tag_y\n1,2.5,0,1\n3,,1,0\n"


def test_a_csv_file_is_read(load):
    dataset = load(SIMPLE, "dataset.labels=['tag_*']")
    assert dataset.name == "t"
    assert dataset.feature_names == ("a", "b")
    assert dataset.label_names == ("tag_x", "tag_y")
    np.testing.assert_array_equal(dataset.X, np.array([[1, 2.5], [3, np.nan]], np.float32))
    np.testing.assert_array_equal(dataset.y, [[0, 1], [1, 0]])
    assert dataset.X.dtype == np.float32
    assert dataset.y.dtype == np.int8
    assert dataset.categories == ()
    assert dataset.warnings == ()


@pytest.mark.parametrize("file", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.parquet"])
def test_every_format_gives_the_same(load, file):
    frame = pd.DataFrame(
        {"a": [1.5, math.nan, -2], "b": ["x", "y", None], "l": [True, False, True], "m": [0, 1, 1]}
    )
    dataset = load(frame, "dataset.last_labels=2", file=file)
    assert dataset.name == "t"
    assert dataset.label_names == ("l", "m")
    np.testing.assert_array_equal(dataset.X[:, 0], [1.5, np.nan, -2])
    assert texts(dataset, 1) == ["x", "y", None]
    np.testing.assert_array_equal(dataset.y, [[1, 0], [0, 1], [1, 1]])
    assert dataset.digest == load(frame, "dataset.last_labels=2").digest


@given(
    rows=st.lists(st.tuples(FLOATS, st.integers(-(2**24), 2**24), TEXTS, st.booleans()), min_size=1)
)
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example writes its file
)
@pytest.mark.parametrize("file", ["t.csv", "t.parquet", "t.tsv.gz"])
def test_written_values_are_read_back(load, file, rows):
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "l"])
    dataset = load(frame, "dataset.labels=[l]", file=file)
    for column, name in enumerate("ab"):
        offset = dataset.schema.columns[column].offset
        written = (frame[name].to_numpy(np.float64) - offset).astype(np.float32)
        np.testing.assert_array_equal(dataset.X[:, column], written)
    assert texts(dataset, 2) == frame["c"].tolist()
    assert dataset.categories[2] == tuple(sorted(set(frame["c"])))
    np.testing.assert_array_equal(dataset.y[:, 0], frame["l"])
    assert dataset.X.dtype == np.float32


@pytest.mark.parametrize(
    ("overrides", "features", "labels"),
    [
        (["dataset.labels=[tag_y,tag_x]"], "ab", ("tag_y", "tag_x")),
        (["dataset.labels=['tag_[xy]']"], "ab", ("tag_x", "tag_y")),
        (["dataset.last_labels=2"], "ab", ("tag_x", "tag_y")),
        (["dataset.last_labels=1"], ("a", "b", "tag_x"), ("tag_y",)),
        (["dataset.last_labels=1", "dataset.drop=[tag_y]"], "ab", ("tag_x",)),
        (["dataset.labels=['tag_*']", "dataset.features=[b]"], "b", ("tag_x", "tag_y")),
        (["dataset.labels=['tag_*']", "dataset.features=['*']"], "ab", ("tag_x", "tag_y")),
        (["dataset.labels=['tag_*']", "dataset.drop=['a*']"], "b", ("tag_x", "tag_y")),
    ],
)
def test_columns_have_the_configured_roles(load, overrides, features, labels):
    dataset = load(SIMPLE, *overrides)
    assert dataset.feature_names == tuple(features)
    assert dataset.label_names == labels


@pytest.mark.parametrize(
    ("separator", "cells"),
    [("|", ["x|y", "", "y", "x | x"]), (";", ["x;y", "", "y;", "x"]),
     ("json", ['"[""x"",""y""]"', "", '"[""y""]"', '"[""x""]"'])],
)  # fmt: skip
def test_one_column_lists_labels(load, separator, cells):
    content = "tags,a\n" + "".join(f"{cell},1\n" for cell in cells)
    dataset = load(
        content, "dataset.label_list_column=tags", f"dataset.label_separator='{separator}'"
    )
    assert dataset.label_names == ("x", "y")
    np.testing.assert_array_equal(dataset.y, [[1, 1], [0, 0], [0, 1], [1, 0]])


def test_a_parquet_column_of_lists_lists_labels(load):
    frame = pd.DataFrame({"a": [1, 2, 3], "tags": [["x"], [], ["x", "y"]]})
    dataset = load(frame, "dataset.label_list_column=tags", file="t.parquet")
    assert dataset.label_names == ("x", "y")
    np.testing.assert_array_equal(dataset.y, [[1, 0], [0, 0], [1, 1]])


def test_a_blank_label_means_no_where_it_is_configured(load):
    settings = ("dataset.labels=[l,m]", "dataset.true_values=[x,1]", "dataset.false_values=['']")
    dataset = load("a,l,m\n1,x,\n2,,1\n,X,1\n", *settings)
    np.testing.assert_array_equal(dataset.y, [[1, 0], [0, 1], [1, 1]])
    assert np.isnan(dataset.X[2, 0])
    with pytest.raises(UserError, match=r"'NA' in label 'l', row 1"):
        load("a,l,m\n1,x,\n2,NA,1\n", *settings)


def test_numbers_can_be_declared_categories(load):
    content = "zone,a,l\n01,1,0\n2,2,1\n01,3,0\n"
    assert load(content, "dataset.labels=[l]").categories == ()
    dataset = load(content, "dataset.labels=[l]", "dataset.categorical=[zone]")
    assert dataset.categories == (("01", "2"), None)
    assert texts(dataset, 0) == ["01", "2", "01"]


def test_group_and_id_columns_are_no_features(load):
    content = "p,i,a,l\nann,7,1,0\nbob,8,2,1\nann,9,3,1\n"
    dataset = load(content, "dataset.labels=[l]", "dataset.group_column=p", "dataset.id_column=i")
    assert dataset.feature_names == ("a",)
    assert dataset.groups.tolist() == [0, 1, 0]
    assert dataset.groups.dtype == np.int64
    assert dataset.ids.tolist() == ["7", "8", "9"]


@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_weights_are_no_features(load, file):
    frame = pd.DataFrame({"a": [1, 2, 3], "w": [0.5, 0, 2], "l": [1, 0, 1]})
    dataset = load(frame, "dataset.labels=[l]", "dataset.weight_column=w", file=file)
    assert dataset.feature_names == ("a",)
    assert dataset.sample_weight.tolist() == [0.5, 0, 2]
    assert dataset.digest != load(frame.assign(w=1), *RATED, file=file).digest


def test_weights_with_decimal_commas(load):
    dataset = load("a;w;l\n1,5;0,5;1\n2,5;1,25;0\n", *RATED)
    assert dataset.sample_weight.tolist() == [0.5, 1.25]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["1", "-2", "1"], r"weight of at least 0 for each row. Received: -2 in row 1"),
        (["1", "inf", "1"], r"weight of at least 0 for each row. Received: inf in row 1"),
        (["1", "", "1"], r"dataset\.weight_column. Received: a missing value in column 'w', row 1"),
        (
            ["1", "x", "1"],
            r"numbers in the column of dataset\.weight_column. Received: 'x' .*row 1",
        ),
        (["0", "0", "0"], r"a weight above 0 for at least one row. Received: 0 for all 3 rows"),
    ],
)
def test_other_weights_are_errors(load, weights, message):
    rows = "".join(f"{i},{weight},{i % 2}\n" for i, weight in enumerate(weights))
    with pytest.raises(UserError, match=message):
        load(f"a,w,l\n{rows}", *RATED)


def test_a_file_without_a_header(load):
    dataset = load("1,2,0\n3,4,1\n", "dataset.header=false", "dataset.last_labels=1")
    assert dataset.feature_names == ("f0", "f1")
    np.testing.assert_array_equal(dataset.X, [[1, 2], [3, 4]])


def test_another_separator_and_encoding(load):
    content = "größe;l\nklein;0\ngroß;1\n".encode("latin-1")
    dataset = load(
        content, "dataset.labels=[l]", "dataset.separator=';'", "dataset.encoding=latin-1"
    )
    assert dataset.feature_names == ("größe",)
    assert texts(dataset, 0) == ["klein", "groß"]


def test_a_decimal_comma(load):
    dataset = load(
        "a;l\n1,5;0\n-2,25;1\n",
        "dataset.labels=[l]",
        "dataset.separator=';'",
        "dataset.decimal=','",
    )
    assert dataset.X.ravel().tolist() == [1.5, -2.25]


def test_missing_values_have_the_configured_texts(load):
    content = "a,b,l\n-999,NA,0\n1,x,1\n"
    assert load(content, "dataset.labels=[l]").X[0, 0] == -999
    dataset = load(content, "dataset.labels=[l]", "dataset.na_values=['-999']")
    assert np.isnan(dataset.X[0, 0])
    assert texts(dataset, 1) == ["NA", "x"]


@pytest.mark.parametrize("value", ["16777217", "1700000001", "1099511627777", "9e29", "0.1"])
@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_large_numbers_keep_their_digits(load, value, file):
    frame = pd.DataFrame({"a": [float(value), float(value) * (1 + 2e-8)], "l": [0, 1]})
    dataset = load(frame, "dataset.labels=[l]", file=file)
    assert dataset.X.dtype == np.float32
    written = frame["a"].to_numpy() - frame["a"].iloc[0]
    read = numbers(dataset, 0) - numbers(dataset, 0)[0]
    np.testing.assert_allclose(read, written, rtol=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [(["3.5e39", "1"], r"up to 1e\+30 in size\. Received: 3\.5e\+39 in column 'a', row 0 \(the f"),
     (["-inf", "inf"], r"Received: -inf in column 'a', row 0 .*, one of 2 such values\. Correct"),
     (["1e-60", "0"], r"at least 1e-30 in size. Received: at most 1e-60 in feature 'a'\.")],
)  # fmt: skip
def test_numbers_out_of_the_range_of_float32_are_errors(load, values, message):
    with pytest.raises(UserError, match=rf"t\.csv: expected .*{message}"):
        load(f"a,b,l\n{values[0]},1,0\n{values[1]},2,1\n", "dataset.labels=[l]")


def test_a_small_number_beside_others_is_zero(load):
    assert load("a,l\n1e-60,0\n1,1\n", "dataset.labels=[l]").X[:, 0].tolist() == [0, 1]


def test_dates_are_numbers_only_if_declared(load):
    content = "d,l\n1970-01-02,0\n1970-01-03 00:00:01,1\n"
    dataset = load(content, "dataset.labels=[l]", "dataset.numeric=[d]")
    np.testing.assert_array_equal(numbers(dataset, 0), [86400, 172801])
    dataset = load(content, "dataset.labels=[l]", "dataset.categorical=[d]")
    assert texts(dataset, 0) == ["1970-01-02", "1970-01-03 00:00:01"]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (pa.array([86400, None], pa.timestamp("s", "UTC")), [86400, np.nan]),
        (pd.to_timedelta([90, 0.5], unit="s"), [90, 0.5]),
        (pa.array([60, None], pa.time32("s")), [60, np.nan]),
    ],
)
def test_times_are_seconds_if_declared_numbers(load, values, seconds):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"t": pa.array(values), "l": [0, 1]}), buffer)
    dataset = load(buffer.getvalue(), "dataset.labels=[l]", "dataset.numeric=[t]", file="t.parquet")
    np.testing.assert_array_equal(numbers(dataset, 0), seconds)


@pytest.mark.parametrize(
    ("first", "late"),
    [("1", "2.5"), ("1", "x"), ("", "3"), ("true", "maybe"), ("2020-01-01", "never")],
)
def test_a_late_row_can_change_the_type_of_a_column(load, first, late, monkeypatch):
    monkeypatch.setattr(csv_file, "_BLOCK_SIZE", 2**10)
    rows = [f"{first},{i % 2}\n" for i in range(2000)]
    declared = ["dataset.categorical=[a]"] if late in {"x", "never"} else []
    dataset = load("a,l\n" + "".join(rows) + f"{late},1\n", "dataset.labels=[l]", *declared)
    assert dataset.n_samples == 2001
    if dataset.categories:
        assert texts(dataset, 0) == [*[first] * 2000, late]
    else:
        last = [float(first or "nan"), float(late)]
        np.testing.assert_array_equal(dataset.X[-2:, 0], np.array(last, np.float32))


def test_line_breaks_between_quotes_are_text(load):
    dataset = load('a,l\n"x\ny",0\n"z, ""q""",1\n', "dataset.labels=[l]")
    assert texts(dataset, 0) == ["x\ny", 'z, "q"']


def test_parquet_types_that_are_not_floats(load):
    frame = pd.DataFrame(
        {
            "small": pd.array([1, None, 3], dtype="Int8"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "kind": pd.Categorical(["b", None, "a"]),
            "a.b": [1.5, 2.5, 3.5],
            "l": ["yes", "No", "YES"],
        }
    )
    dataset = load(frame, "dataset.labels=[l]", file="t.parquet")
    np.testing.assert_array_equal(dataset.X[:, 0], [1, np.nan, 3])
    np.testing.assert_array_equal(dataset.X[:, 1], [1, np.nan, 0])
    assert texts(dataset, 2) == ["b", None, "a"]
    np.testing.assert_array_equal(dataset.X[:, 3], [1.5, 2.5, 3.5])
    assert dataset.y.ravel().tolist() == [1, 0, 1]


def test_a_constant_label_is_a_warning(load):
    dataset = load("a,l,m\n1,0,1\n2,1,1\n", "dataset.last_labels=2")
    assert dataset.warnings == (
        "label 'm' is 1 in every row: metrics that compare its rows with and without it are "
        "undefined",
    )


def test_many_categories_are_a_warning(load):
    rows = "".join(f"word{i},{i % 2}\n" for i in range(300))
    dataset = load(f"a,l\n{rows}", "dataset.labels=[l]")
    assert not dataset.warnings  # the check MF005 calls it an id
    rows = "".join(f"word {i},{i % 2}\n" for i in range(300))
    (warning,) = load(f"a,l\n{rows}", "dataset.labels=[l]").warnings
    assert "feature 'a' has 300 categories in 300 rows" in warning


@given(content=st.binary(max_size=60) | st.text('a,b"l\n01.x \r', max_size=60).map(str.encode))
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.parametrize("file", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet"])
def test_garbage_is_an_error_or_read(load, file, content):
    table = b"a,l\n1,0\n" + content
    for written in (table, gzip.compress(table), content):
        try:
            load(written, "dataset.last_labels=1", file=file)
        except UserError as error:
            assert "expected" in str(error)  # noqa: PT017
