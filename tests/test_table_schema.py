"""Raw rows are encoded like the file that the schema was inferred from."""

import datetime
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.dataset import loading
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.column_values import canonical
from pipeline.preprocessing.table_schema import FORMAT, FORMAT_OF_DERIVED, TableSchema
from tests.test_preprocessor import SCHEMA, mixed_table


@pytest.fixture
def load(tmp_path, make_config):
    """Write a table, load it with some overrides, and return it with the path of the file."""

    def load(content, *overrides: str):
        path = tmp_path / ("t.csv" if isinstance(content, str) else "t.parquet")
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pa.parquet.write_table(content, path)
        settings = ("dataset=table", f"dataset.path='{path}'", "dataset.labels=[l]")
        return loading.load(make_config(*settings, *overrides).dataset), path

    return load


def assert_encodes(dataset, rows, n_missing=0):
    """Compare rows with the data set, bit for bit, also after a roundtrip through JSON."""
    assert np.isnan(dataset.X).sum() == n_missing
    schema = TableSchema.from_dict(json.loads(json.dumps(dataset.schema.as_dict())))
    assert schema == dataset.schema
    for sent in (rows, rows[rows.columns[::-1]]):
        encoded = schema.encode(sent)
        assert encoded.dtype == np.float32
        np.testing.assert_array_equal(encoded, dataset.X)
    each = [schema.encode(rows.iloc[row : row + 1]) for row in range(len(rows))]
    np.testing.assert_array_equal(np.concatenate(each), dataset.X)


CSV_FILES = {
    # name: (content, overrides, number of missing values)
    "plain numbers": ("a,b,l\n1,0.1,0\n-3,2e-7,1\n,1e9,0\n", [], 1),
    "default texts of missing values": (
        "a,c,l\n1,x,0\nNA,NA,1\n?,?,0\nnan,,1\nnull,N/A,0\n2,y,0\n", [], 8
    ),
    "configured texts of missing values": (
        "a,c,l\n1,x,0\nnone,none,1\n2,NA,0\n", ["dataset.na_values=[none]"], 2
    ),
    "numbers of missing values": (
        "a,b,c,l\n-999,-999.0,-999,0\n1,-99,x,1\n2,-999,NA,0\n",
        ["dataset.na_values=['-999']", "dataset.categorical=[c]"],
        4,
    ),
    "numbers of missing values in whole numbers": (
        "a,l\n-1,0\n1,1\n3,0\n", ["dataset.na_values=['-1.0']"], 1
    ),
    "categories": ("c,d,l\nred,b,0\nblue,,1\nred,a,0\n", [], 1),
    "categories that look like numbers": (
        "c,d,e,l\n8,01,1.50,0\n9,2,2,1\n8,01,1.50,0\n", ["dataset.categorical=[c,d,e]"], 0
    ),
    "decimal categories": ("c,l\n8.0,0\n9.5,1\n8.0,1\n", ["dataset.categorical=[c]"], 0),
    "several spellings of one number": (
        "c,l\n8,0\n8.0,1\neight,1\n", ["dataset.categorical=[c]"], 0
    ),
    "booleans": ("a,b,l\nTRUE,true,0\nFALSE,,1\nTRUE,false,0\n", [], 1),
    "booleans as categories": (
        "c,d,l\nTRUE,true,0\nFALSE,,1\nTRUE,false,0\n", ["dataset.categorical=[c,d]"], 1
    ),
    "dates": (
        "d,e,l\n1970-01-02,2026-01-31,0\n1970-01-03,,1\n1970-01-09,2026-02-01,1\n",
        ["dataset.numeric=[d,e]"],
        1,
    ),
    "dates and times": (
        "d,e,l\n2026-01-31 12:30:00,2026-01-31T12:30:00.25Z,0\n2025-01-31,,1\n"
        "2026-01-31 12:30:01,2026-02-01T00:00:00+01:00,1\n",
        ["dataset.numeric=[d,e]"],
        1,
    ),
    "dates as categories": (
        "d,l\n2026-01-31,0\n2026-02-01 12:00:00,1\n,1\n", ["dataset.categorical=[d]"], 1
    ),
    "times of day": ("t,l\n12:30:00,0\n00:00:01,1\n,1\n", ["dataset.numeric=[t]"], 1),
    "large offsets": (
        "a,b,c,l\n16000001,5412345.67,1099511627777,0\n16000000,5412346.01,1099511627778,1\n"
        "16000001,,1099511627779,1\n",
        [],
        1,
    ),
    "unicode names": ("größe,日本,naïve café,l\n1,x,2,0\n3,y,4,1\n", [], 0),
    "a quoted comma and quotes": ('"a ""b"", c",l\n"x, ""y""",0\nz,1\n', [], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CSV_FILES)
def test_a_csv_file_is_encoded_as_it_was_read(name, load):
    content, overrides, n_missing = CSV_FILES[name]
    dataset, path = load(content, *overrides)
    assert_encodes(dataset, pd.read_csv(path, keep_default_na=False), n_missing)
    assert_encodes(dataset, pd.read_csv(path, keep_default_na=False, dtype=str), n_missing)


def test_decimal_commas(load):
    content = "a;c;l\n1,5;8,0;0\n-2,25;9,5;1\n;8,0;0\n-3;;1\n"
    overrides = ["dataset.separator=';'", "dataset.decimal=','", "dataset.categorical=[c]"]
    dataset, path = load(content, *overrides)
    texts = pd.read_csv(path, sep=";", keep_default_na=False)
    assert texts["a"].tolist() == ["1,5", "-2,25", "", "-3"]
    assert_encodes(dataset, texts, 2)
    numbers = texts.assign(a=[1.5, -2.25, None, -3])
    np.testing.assert_array_equal(dataset.schema.encode(numbers), dataset.X)
    mixed = texts.assign(a=pd.Series([1.5, "-2,25", None, -3], dtype=object))
    np.testing.assert_array_equal(dataset.schema.encode(mixed), dataset.X)
    with pytest.raises(ValueError, match=r"numbers in column 'a'\. Received: '1\.5' in row 0"):
        dataset.schema.encode(texts.assign(a="1.5"))


SECONDS = [86_400, None, 1_772_000_000]
PARQUET_COLUMNS = {
    "dates": (pa.array([1, None, 20_000], pa.date32()), "numeric"),
    "seconds since 1970": (pa.array(SECONDS, pa.timestamp("s")), "numeric"),
    "milliseconds": (pa.array(SECONDS, pa.timestamp("ms", "Europe/Berlin")), "numeric"),
    "nanoseconds": (pa.array([10**18 + 1, None, 10**18 + 2_001], pa.timestamp("ns")), "numeric"),
    "time of day": (pa.array([60, None, 61], pa.time32("s")), "numeric"),
    "time in nanoseconds": (pa.array([60_000_500_000, None, 0], pa.time64("ns")), "numeric"),
    "duration": (pa.array([90, None, -5], pa.duration("s")), "numeric"),
    "duration in nanoseconds": (pa.array([1_500, None, 10**15], pa.duration("ns")), "numeric"),
    "date as category": (pa.array([1, None, 20_000], pa.date32()), "categorical"),
    "timestamp as category": (pa.array(SECONDS, pa.timestamp("s")), "categorical"),
    "time as category": (pa.array([60, None, 61], pa.time32("s")), "categorical"),
    "duration as category": (pa.array([90, None, -5], pa.duration("s")), "categorical"),
    "booleans": (pa.array([True, None, False]), None),
    "booleans as category": (pa.array([True, None, False]), "categorical"),
    "whole numbers": (pa.array([2**40, None, 2**40 + 1]), None),
    "unsigned": (pa.array([2**53 - 1, None, 2**53 - 2], pa.uint64()), None),
    "whole numbers as category": (pa.array([8, None, 10]), "categorical"),
    "floats as category": (pa.array([8.0, None, 0.1], pa.float32()), "categorical"),
    "decimals": (pa.array([1, None, 2]).cast(pa.decimal128(21, 2)), None),
    "decimals as category": (pa.array([1, None, 2]).cast(pa.decimal128(21, 2)), "categorical"),
    "texts": (pa.array(["b", None, "a"]), None),
    "dates in texts": (pa.array(["2026-01-31T00:00:00.000", "", "2026-02-01"]), "numeric"),
    "times in texts": (pa.array(["12:30:00", None, "00:01"]), "numeric"),
    "durations in texts": (pa.array(["1 days 12:30:00", "?", "0 days 00:00:05"]), "numeric"),
    "numbers in texts": (pa.array(["8", None, "8.0"]), None),
    "numbers in texts, declared": (pa.array(["8", None, "8.5"]), "numeric"),
    "dictionary": (pa.array(["b", None, "a"]).dictionary_encode(), None),
    "dictionary of numbers": (pa.array([8, None, 9]).dictionary_encode(), None),
}


@pytest.mark.parametrize("name", PARQUET_COLUMNS)
def test_a_parquet_column_is_encoded_as_it_was_read(name, load):
    values, role = PARQUET_COLUMNS[name]
    declared = [f"dataset.{role}=[a]"] if role else []
    dataset, path = load(pa.table({"a": values, "l": [0, 1, 1]}), *declared)
    assert len(set(dataset.X[:, 0].tolist())) == 3
    assert_encodes(dataset, pd.read_parquet(path), 1)
    assert_encodes(dataset, pd.read_parquet(path, dtype_backend="pyarrow"), 1)
    np.testing.assert_array_equal(dataset.schema.encode(pa.parquet.read_table(path)), dataset.X)


def test_dates_in_texts_are_recognised_like_dates(load):
    table = pa.table({"a": ["2026-01-31", None, "2026-02-01"], "l": [0, 1, 1]})
    assert load(table)[0].schema.columns[0].kind == "datetime"
    assert load(table, "dataset.categorical=[a]")[0].schema.columns[0].kind == "category"


def test_texts_of_dates_times_and_durations_are_encoded_like_their_types(load):
    table = pa.table(
        {
            "d": pa.array([10**9, 1_800_000_000], pa.timestamp("s")),
            "t": pa.array([3_600, 86_399], pa.time32("s")),
            "w": pa.array([90, 172_805], pa.duration("s")),
            "l": [0, 1],
        }
    )
    dataset, _ = load(table, "dataset.numeric=[d,t,w]")
    texts = pd.DataFrame(
        {
            "d": ["2001-09-09T01:46:40", "2027-01-15T09:00:00+01:00"],
            "t": ["01:00", "23:59:59"],
            "w": ["0 days 00:01:30", "2 days 00:00:05"],
        }
    )
    assert_encodes(dataset, texts)
    for name, number in (("d", 1.8e9), ("t", 3_600), ("w", 90)):  # seconds, or milliseconds?
        with pytest.raises(ValueError, match=rf"^Expected .* in column '{name}'\. Received: "):
            dataset.schema.encode(texts.assign(**{name: number}))
    objects = pd.DataFrame(
        {
            "d": [datetime.datetime(2001, 9, 9, 1, 46, 40), datetime.datetime(2027, 1, 15, 8)],
            "t": [datetime.time(1), datetime.time(23, 59, 59)],
            "w": [datetime.timedelta(0, 90), datetime.timedelta(2, 5)],
        },
        dtype=object,
    )
    assert_encodes(dataset, objects)


CATEGORIES = TableSchema((Column("c", "category", ("8", "TRUE", "x", "?")),), na_values=("?", "-1"))


@pytest.mark.parametrize(
    ("value", "code"),
    [(8, 0), (8.0, 0), ("8", 0), ("8.0", 0), (" 8 ", 0), (np.float32(8), 0)]
    + [(True, 1), ("True", 1), ("true", 1), ("TRUE", 1), (np.bool_(True), 1), ("x", 2), ("?", 3)]
    + [(it, np.nan) for it in (9, "X", "False", 1, "never seen", None, np.nan, pd.NA, -1, "-1.0")],
)
def test_any_spelling_of_a_category_has_its_code(value, code):
    for values in ([value], [value, "x"], [value, 2.5]):
        rows = pd.DataFrame({"c": pd.Series(values, dtype=object)})
        np.testing.assert_array_equal(CATEGORIES.encode(rows)[0], [np.float32(code)])


def test_an_ambiguous_spelling_is_no_other_category():
    schema = TableSchema((Column("c", "category", ("08", "8.0", "9.0")),))
    texts = ["08", "8.0", "8", "8.00", "9", "9.00", "09"]
    encoded = schema.encode(pd.DataFrame({"c": texts})).ravel()
    np.testing.assert_array_equal(encoded, [0, 1, np.nan, np.nan, 2, 2, 2])


@given(st.one_of(st.text(max_size=8), st.floats(-1e300, 1e300).map(str), st.integers().map(str)))
def test_the_canonical_spelling_is_a_fixed_point(text):
    assert canonical(canonical(text)) == canonical(text)


VALID = pd.DataFrame({"a": [1.0, 2.0, 3.0], "c": ["x", "y", None], "d": ["2026-01-31"] * 3})
VALIDATED = TableSchema(
    (Column("a", offset=2.0), Column("c", "category", ("x", "y")), Column("d", "datetime"))
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"a": [1, np.inf, -np.inf]},
            r"Expected finite numbers up to 1e\+30 in size\. Received: inf in column 'a', row 1 "
            r"\(the first is 0\), one of 2 such values\.",
        ),
        ({"a": [1, 2, 1e31]}, r".* Received: 1e\+31 in column 'a', row 2 \(the first is 0\)\."),
        (
            {"a": ["1", "two", "three"]},
            r"Expected numbers in column 'a'\. Received: 'two' in row 1 \(the first is 0\)\.",
        ),
        ({"a": ["1", "1_000", "3"]}, r"Expected numbers in column 'a'\. Received: '1_000' in .*"),
        (
            {"a": pd.to_datetime(["2026-01-31"] * 3)},
            r"Expected numbers in column 'a'\. Received: .*",
        ),
        (
            {"d": ["2026-01-31", "31.1.2026", None]},
            r"Expected dates such as .* Received: '31\.1\..*",
        ),
        ({"d": pd.to_timedelta([1, 2, 3])}, r"Expected dates .* in column 'd'\. Received: dur.*"),
    ],
)
def test_unsuitable_values_are_errors_that_name_column_row_and_value(changes, message):
    VALIDATED.encode(VALID)
    with pytest.raises(ValueError, match=f"^{message}$"):
        VALIDATED.encode(VALID.assign(**changes))
    if "a" in changes and not isinstance(changes["a"], pd.DatetimeIndex):
        with pytest.raises(ValueError, match=f"^{message}$"):
            VALIDATED.encode(pa.table(VALID.assign(**changes)))


def test_a_missing_column_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"Received: none named 'a', 'd', but 'c', 'b'\."):
        VALIDATED.encode(VALID.drop(columns=["a", "d"]).assign(b=1))
    wide = TableSchema.of_numbers(f"x{j}" for j in range(9))
    with pytest.raises(ValueError, match=r"none named 'x0', .*'x4' and 4 more, but 'a', 'c', 'd'"):
        wide.encode(VALID)


def test_other_columns_and_their_order_do_not_matter():
    expected = VALIDATED.encode(VALID)
    other = VALID[["d", "c", "a"]].assign(b="free text", e=np.inf)
    np.testing.assert_array_equal(VALIDATED.encode(other), expected)
    assert expected[:, 0].tolist() == [-1, 0, 1]


def test_an_array_has_the_columns_in_order():
    X = np.array([[3.0, 1, 0], [np.nan, np.nan, 86_400]])
    np.testing.assert_array_equal(VALIDATED.encode(X), [[1, 1, 0], [np.nan, np.nan, 86_400]])
    assert X[0, 0] == 3
    with pytest.raises(ValueError, match=r"rows of 3 features\. Received: .* shape \(2, 2\)"):
        VALIDATED.encode(X[:, :2])
    with pytest.raises(ValueError, match=r"Received: -inf in column 'a', row 0 "):
        VALIDATED.encode(np.where(X == 3, -np.inf, X))


@pytest.mark.parametrize("changes", [{"format": FORMAT_OF_DERIVED + 1}, {"format": None}])
def test_another_format_is_an_error(changes):
    values = VALIDATED.as_dict() | changes
    with pytest.raises(
        ValueError, match=rf"schema of format {FORMAT} or 2\. Received: format {changes['format']}"
    ):
        TableSchema.from_dict(values)


def test_rows_are_decoded_and_encoded_again():
    X = mixed_table()
    X[3] = np.nan
    schema = replace(SCHEMA, na_values=("?",), decimal=",")
    rows = schema.decode(X)
    assert list(rows) == list(schema.names)
    assert set(rows["q"].dropna()) <= {"a", "b", "c", "d"}
    np.testing.assert_array_equal(schema.encode(rows), X)
    sent = pd.DataFrame(json.loads(rows.to_json(orient="records", double_precision=15)))
    np.testing.assert_array_equal(schema.encode(sent), X)


@given(
    arrays(np.float32, (5, 2), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)),
    st.integers(10**6, 10**12).map(lambda it: float(np.float32(it))),
)
def test_offsets_survive_a_roundtrip(X, offset):
    schema = TableSchema((Column("a", offset=offset), Column("b", "datetime", offset=-offset)))
    again = schema.encode(schema.decode(X))
    np.testing.assert_allclose(again[:, 0], X[:, 0], rtol=0, atol=np.spacing(offset))
    tolerance = 1e-6 + np.spacing(offset)  # dates have microseconds
    np.testing.assert_allclose(again[:, 1], X[:, 1], rtol=1e-6, atol=tolerance)


def test_no_rows_are_encoded_as_no_rows():
    for rows in (VALID[:0], pa.table(VALID)[:0], np.empty((0, 3))):
        assert VALIDATED.encode(rows).shape == (0, 3)
